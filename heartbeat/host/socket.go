package host

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiveBuffer is what a receive socket asks for: room for some five thousand heartbeats, so that a flood on the port, or a
// process that was stopped for a second, does not cost the frames of the peer.
const receiveBuffer = 4 << 20

// tosLowDelay is the IP type of service that Heartbeat marks its datagrams with (protocol section 4.2).
const tosLowDelay = 0x10

// Socket is a non-blocking socket that keeps the network namespace in which it was opened. Reading waits in the runtime's
// poller, so a Close from another goroutine ends a Read at once; a socket that is read through the selector is unknown to the
// poller and has TryRead and OnReadable instead.
type Socket struct {
	file *os.File
	raw  syscall.RawConn
}

// newSocket takes fd over, and closes it on error.
func newSocket(fd int, name string) (*Socket, error) {
	file := os.NewFile(uintptr(fd), name)
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Socket{file: file, raw: raw}, nil
}

// Close ends every Read with os.ErrClosed.
func (s *Socket) Close() error { return s.file.Close() }

// Control calls f with the descriptor, which must not be kept.
func (s *Socket) Control(f func(fd int) error) error { return control(s.raw, f) }

// Drops is how many datagrams the kernel dropped for this socket: its buffer was full, or a filter refused them.
func (s *Socket) Drops() (n uint64) {
	const words, dropped = 9, 8 // SK_MEMINFO_VARS, SK_MEMINFO_DROPS
	var info [words]uint32
	_ = s.Control(func(fd int) error {
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 {
			n = uint64(info[dropped])
		}
		return nil
	})
	return n
}

// ListenUDP opens the receive socket of one port on one device: bound to the device and to every address, so that it survives
// any change of addresses, and telling for each datagram where it was sent to and when the kernel received it. The port is
// the socket's alone: a second program on it is refused (EADDRINUSE) instead of taking frames away. Read it with OnReadable and TryRead.
func ListenUDP(device string, port int, v6 bool) (*Socket, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP) // blocking: not for the runtime's poller
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := prepareListen(fd, device, v6); err != nil {
		unix.Close(fd)
		return nil, err
	}
	var at unix.Sockaddr = &unix.SockaddrInet4{Port: port}
	if v6 {
		at = &unix.SockaddrInet6{Port: port}
	}
	if err := unix.Bind(fd, at); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return newSocket(fd, fmt.Sprintf("udp port %d on %s", port, device))
}

func prepareListen(fd int, device string, v6 bool) error {
	setReceiveBuffer(fd, receiveBuffer)
	if err := unix.BindToDevice(fd, device); err != nil {
		return os.NewSyscallError("bind to device", err)
	}
	options := []option{
		{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
		{"IP_MULTICAST_ALL", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0},
	}
	if v6 {
		options = []option{
			{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
			{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
			{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
		}
	}
	if err := setOptions(fd, options); err != nil {
		return err
	}
	if !v6 {
		if err := attach(fd, append(refuseOwn(), acceptPacket)); err != nil {
			return err
		}
	}
	if v6 { // Linux 4.20; without it a datagram of a group that another program joined is dropped by the reader
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
	}
	return nil
}

// JoinGroup subscribes the socket to a multicast group on the interface of that index.
func (s *Socket) JoinGroup(group netip.Addr, index int) error {
	return s.membership(group, index, unix.IP_ADD_MEMBERSHIP, unix.IPV6_JOIN_GROUP)
}

// LeaveGroup undoes JoinGroup.
func (s *Socket) LeaveGroup(group netip.Addr, index int) error {
	return s.membership(group, index, unix.IP_DROP_MEMBERSHIP, unix.IPV6_LEAVE_GROUP)
}

func (s *Socket) membership(group netip.Addr, index, option4, option6 int) error {
	err := s.Control(func(fd int) error {
		if group.Is4() {
			return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, option4,
				&unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(index)})
		}
		return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, option6,
			&unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)})
	})
	return os.NewSyscallError("change membership of "+group.String(), err)
}

// ListenEcho opens a raw socket that receives ICMP (ICMPv6) echo replies with the given identifier and nothing else: every
// other ICMP packet of the machine is refused by the kernel before it costs a wake-up. Needs CAP_NET_RAW.
func ListenEcho(identifier uint16, v6 bool) (*Socket, error) {
	family, proto, filter := unix.AF_INET, unix.IPPROTO_ICMP, echoReplies4(identifier)
	if v6 {
		family, proto, filter = unix.AF_INET6, unix.IPPROTO_ICMPV6, echoReplies6(identifier)
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, os.NewSyscallError("open raw ICMP socket", err)
	}
	err = attach(fd, filter)
	if err == nil {
		err = setOptions(fd, []option{{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1}})
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return newSocket(fd, "icmp echo")
}

// option is one integer socket option with its name for the error.
type option struct {
	name         string
	level, which int
	value        int
}

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.which, o.value); err != nil {
			return os.NewSyscallError("set "+o.name, err)
		}
	}
	return nil
}

// setReceiveBuffer gives a socket a receive buffer of that many bytes, past the system's limit where the capability
// CAP_NET_ADMIN allows it, as near as can be otherwise.
func setReceiveBuffer(fd, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	}
}
