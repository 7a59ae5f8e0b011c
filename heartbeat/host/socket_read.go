package host

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxDatagram is the largest UDP payload there is over IPv4 (65507 bytes) and then some: nothing that arrives is longer.
const MaxDatagram = 64 << 10

// Reader takes datagrams from a Socket one at a time, without allocating. Its fields describe the last one until the next
// Read. It is not safe for concurrent use.
type Reader struct {
	Data      []byte     // the datagram; of a raw IPv4 socket with the IP header
	From      netip.Addr // sender, without zone
	Port      uint16     // sender's port; 0 on a raw socket
	To        netip.Addr // destination in the IP header; invalid on a raw socket
	Unicast   bool       // To is one of this machine's own addresses: neither broadcast nor multicast
	Own       bool       // our own broadcast, which the kernel hands back to us
	Truncated bool       // it was longer than the buffer

	stamp   int64 // kernel receive time, wall clock, ns; 0 unknown
	err     error
	buffer  []byte
	control [256]byte
	name    unix.RawSockaddrInet6 // the larger of the two
	vector  unix.Iovec
	header  unix.Msghdr
	receive func(fd uintptr) bool // kept, so that Read does not allocate a closure
	attempt func(fd uintptr)      // the same for TryRead
	there   bool                  // what it found
}

// NewReader returns a Reader with room for datagrams of size bytes.
func NewReader(size int) *Reader {
	r := &Reader{buffer: make([]byte, size)}
	r.vector.Base = &r.buffer[0]
	r.vector.SetLen(size)
	r.header.Name = (*byte)(unsafe.Pointer(&r.name))
	r.header.Iov = &r.vector
	r.header.SetIovlen(1)
	r.header.Control = &r.control[0]
	r.receive = r.recvmsg
	r.attempt = func(fd uintptr) { r.there = r.recvmsg(fd) }
	return r
}

// Read waits for the next datagram. Errors: os.ErrClosed after Close, else the kernel's.
func (s *Socket) Read(r *Reader) error {
	if s.raw.Read(r.receive) != nil {
		return os.ErrClosed // the poller's own word for it is not exported
	}
	return r.err
}

// TryRead takes a datagram that is there, and says whether one was. Errors as Read's.
func (s *Socket) TryRead(r *Reader) (there bool, err error) {
	r.there = false
	if s.raw.Control(r.attempt) != nil {
		return false, os.ErrClosed
	}
	if !r.there {
		return false, nil
	}
	return true, r.err
}

func (r *Reader) recvmsg(fd uintptr) bool {
	r.header.Namelen = uint32(unsafe.Sizeof(r.name))
	r.header.SetControllen(len(r.control))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.header)), unix.MSG_DONTWAIT) // raw: see readClock
	switch errno {
	case 0:
		r.err = nil
		r.Data = r.buffer[:n]
		r.Truncated = r.header.Flags&unix.MSG_TRUNC != 0
		r.From, r.Port = r.sender()
		r.ancillary(r.control[:r.header.Controllen])
	case unix.EAGAIN:
		return false
	default:
		r.err = os.NewSyscallError("receive", errno)
	}
	return true
}

func (r *Reader) sender() (netip.Addr, uint16) {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&r.name.Port))[:])
	switch r.name.Family {
	case unix.AF_INET:
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&r.name)).Addr), port
	case unix.AF_INET6:
		return netip.AddrFrom16(r.name.Addr), port
	}
	return netip.Addr{}, 0
}

// ancillary reads the receive time and the packet information.
func (r *Reader) ancillary(control []byte) {
	r.stamp, r.To, r.Unicast, r.Own = 0, netip.Addr{}, false, false
	for len(control) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return
		}
		control = rest
		switch {
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SO_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			r.stamp = (*unix.Timespec)(unsafe.Pointer(&data[0])).Nano()
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			r.To = netip.AddrFrom4(info.Addr)
			// Spec_dst is the address of ours that would answer: the destination itself, or, of a broadcast or multicast, the
			// one that faces the sender. That is the sender's own only when we sent it.
			r.Unicast = info.Addr == info.Spec_dst
			r.Own = !r.Unicast && !r.To.IsMulticast() && r.From == netip.AddrFrom4(info.Spec_dst)
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			r.To = netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])).Addr)
			r.Unicast = !r.To.IsMulticast()
		}
	}
}

// maxAge is how long a datagram may have waited in the socket for its receive time to be believed: an older one comes from a
// step of the wall clock.
const maxAge = time.Minute

// Received is when the kernel received the last datagram, with a monotonic reading; now where it did not tell.
func (r *Reader) Received() time.Time {
	now := time.Now()
	age := time.Duration(now.UnixNano() - r.stamp)
	if r.stamp == 0 || age < 0 || age > maxAge {
		return now
	}
	return now.Add(-age)
}

// Stamp is the kernel's receive time of the last datagram in nanoseconds of the wall clock, 0 where it did not tell. It is
// for pacing only: it may jump.
func (r *Reader) Stamp() int64 { return r.stamp }

// IsTemporary says whether a Read error is about one datagram or a passing condition, not about the socket.
func IsTemporary(err error) bool {
	for _, e := range []error{unix.EINTR, unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
