package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Connection is one TCP connection of this machine.
type Connection struct{ Local, Remote netip.AddrPort }

// Message types and states of the kernel's socket diagnosis that the library does not have.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	tcpEstablished   = 1
	tcpCloseWait     = 8
	diagIDSize       = 48
	diagRequestSize  = 8 + diagIDSize
)

// diagRequest is the kernel's struct inet_diag_req_v2.
type diagRequest struct {
	family uint8
	states uint32
	id     [diagIDSize]byte
}

// Len is its size.
func (r *diagRequest) Len() int { return diagRequestSize }

// Serialize encodes it.
func (r *diagRequest) Serialize() []byte {
	b := make([]byte, 8, diagRequestSize)
	b[0], b[1] = r.family, unix.IPPROTO_TCP
	nl.NativeEndian().PutUint32(b[4:], r.states)
	return append(b, r.id[:]...)
}

// openDiag opens a socket for questions about sockets, in the namespace of the calling thread.
func openDiag() (*Netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open socket diagnosis: %w", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &receiveTimeout); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open socket diagnosis: %w", err)
	}
	return &Netlink{fd: fd, buf: make([]byte, 64<<10)}, nil
}

// Connections lists the established TCP connections of the calling thread's namespace, those of the kernel's own servers
// included. IPv4 connections of a socket for both families are IPv4 here.
func Connections() (list []Connection, err error) {
	n, err := openDiag()
	if err != nil {
		return nil, err
	}
	defer n.Close()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		request.AddData(&diagRequest{family: family, states: 1<<tcpEstablished | 1<<tcpCloseWait})
		err := n.dump(request, func(body []byte) {
			if c, ok := parseConnection(body); ok {
				list = append(list, c)
			}
		})
		if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: no such family
			return nil, fmt.Errorf("list connections: %w", err)
		}
	}
	return list, nil
}

// parseConnection decodes the kernel's struct inet_diag_msg.
func parseConnection(body []byte) (c Connection, ok bool) {
	if len(body) < 4+diagIDSize {
		return c, false
	}
	id, size := body[4:], 4
	if body[0] == unix.AF_INET6 {
		size = 16
	}
	local, _ := netip.AddrFromSlice(id[4 : 4+size])
	remote, _ := netip.AddrFromSlice(id[20 : 20+size])
	return Connection{
		netip.AddrPortFrom(local.Unmap(), binary.BigEndian.Uint16(id)), netip.AddrPortFrom(remote.Unmap(), binary.BigEndian.Uint16(id[2:])),
	}, true
}

// Forget ends a connection of this machine without a word to the other end where packets are blocked. It reports
// errors.ErrUnsupported on a kernel that cannot do that.
func (c Connection) Forget() error {
	n, err := openDiag()
	if err != nil {
		return err
	}
	defer n.Close()
	// An IPv4 connection may belong to a socket for both families.
	for _, mapped := range []bool{false, true} {
		local, remote := c.Local.Addr(), c.Remote.Addr()
		if mapped && local.Is4() {
			local, remote = netip.AddrFrom16(local.As16()), netip.AddrFrom16(remote.As16())
		} else if mapped {
			break
		}
		r := &diagRequest{family: unix.AF_INET, states: ^uint32(0)}
		if !local.Is4() {
			r.family = unix.AF_INET6
		}
		binary.BigEndian.PutUint16(r.id[0:], c.Local.Port())
		binary.BigEndian.PutUint16(r.id[2:], c.Remote.Port())
		copy(r.id[4:], local.AsSlice())
		copy(r.id[20:], remote.AsSlice())
		for i := 40; i < diagIDSize; i++ {
			r.id[i] = 0xff // any cookie
		}
		request := nl.NewNetlinkRequest(sockDestroy, 0)
		request.AddData(r)
		err = n.one(request)
		if err == nil {
			return nil
		}
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("end connection %v: %w", c.Remote, errors.ErrUnsupported)
	}
	return fmt.Errorf("end connection of %v with %v: %w", c.Local, c.Remote, err)
}

// Tickle sends an acknowledgement that belongs to no connection from Local to Remote of each connection. A client that still
// believes in the connection answers it, learns from the reset that this answer earns that it is over, and connects anew at
// once, instead of at its next time-out. Local must be an address of this machine. It returns the errors, joined.
func Tickle(list []Connection) error {
	sockets := map[netip.Addr]int{}
	defer func() {
		for _, fd := range sockets {
			unix.Close(fd)
		}
	}()
	var errs []error
	for _, c := range list {
		fd, open := sockets[c.Local.Addr()]
		if !open {
			var err error
			if fd, err = rawTCP(c.Local.Addr()); err != nil {
				return fmt.Errorf("tickle from %v: %w", c.Local.Addr(), err)
			}
			sockets[c.Local.Addr()] = fd
		}
		if err := unix.Sendto(fd, c.acknowledgement(), unix.MSG_DONTWAIT, sockaddr(c.Remote.Addr())); err != nil {
			errs = append(errs, fmt.Errorf("tickle %v: %w", c.Remote, err))
		}
	}
	return errors.Join(errs...)
}

// rawTCP opens a socket that sends TCP segments from an address.
func rawTCP(from netip.Addr) (int, error) {
	fd, err := unix.Socket(familyOf(from), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, sockaddr(from)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0) // nothing is read from it
	return fd, nil
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

// acknowledgement is a TCP header with ACK set and sequence numbers of zero.
func (c Connection) acknowledgement() []byte {
	const headerSize, ack, window = 20, 0x10, 1234
	b := make([]byte, headerSize)
	binary.BigEndian.PutUint16(b[0:], c.Local.Port())
	binary.BigEndian.PutUint16(b[2:], c.Remote.Port())
	b[12], b[13] = headerSize/4<<4, ack
	binary.BigEndian.PutUint16(b[14:], window)
	pseudo := append(c.Local.Addr().AsSlice(), c.Remote.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP, 0, headerSize)
	binary.BigEndian.PutUint16(b[16:], Checksum(append(pseudo, b...)))
	return b
}
