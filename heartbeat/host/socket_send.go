package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SendOptions says how datagrams leave. The zero value sends plain unicast by the routing table.
type SendOptions struct {
	Device    string     // SO_BINDTODEVICE; "" leaves the choice to the routing table
	Source    netip.Addr // IPv6: where datagrams come from; invalid leaves the choice to the kernel
	Index     int        // of Device; for multicast and link-local destinations
	Broadcast bool       // SO_BROADCAST and SO_DONTROUTE
	Multicast bool       // TTL and Loop apply
	TTL       int        // hops of multicast, 0 to 255
	Loop      bool       // hand our own multicast back to this machine
}

// Sender sends datagrams from one socket that keeps the network namespace in which it was opened. It never blocks.
// Safe for concurrent use.
type Sender struct {
	mu sync.Mutex // held over the system call, so that Close cannot hand the descriptor to somebody else meanwhile
	fd int        // -1 once closed
}

// OpenSender opens a UDP socket for sending to addresses of that family; it marks its datagrams "low delay".
func OpenSender(v6 bool, o SendOptions) (*Sender, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := prepareSend(fd, v6, o); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Sender{fd: fd}, nil
}

// OpenEchoSender opens a raw socket for sending ICMP (ICMPv6) messages. Needs CAP_NET_RAW.
func OpenEchoSender(v6 bool) (*Sender, error) {
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if v6 {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, os.NewSyscallError("open raw ICMP socket", err)
	}
	if err := refuseAll(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Sender{fd: fd}, nil
}

func prepareSend(fd int, v6 bool, o SendOptions) error {
	if o.Device != "" {
		if err := unix.BindToDevice(fd, o.Device); err != nil {
			return os.NewSyscallError("bind to device", err)
		}
	}
	var options []option
	if v6 {
		options = append(options, option{"IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tosLowDelay})
	} else {
		options = append(options, option{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, tosLowDelay})
	}
	if o.Broadcast {
		options = append(options, option{"SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 1},
			option{"SO_DONTROUTE", unix.SOL_SOCKET, unix.SO_DONTROUTE, 1})
	}
	if o.Multicast {
		options = append(options, multicastOptions(v6, o)...)
	}
	if err := setOptions(fd, options); err != nil {
		return err
	}
	if o.Multicast && !v6 {
		err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(o.Index)})
		if err != nil {
			return os.NewSyscallError("set IP_MULTICAST_IF", err)
		}
	}
	if v6 && o.Source.IsValid() {
		_ = unix.Bind(fd, &unix.SockaddrInet6{Addr: o.Source.As16()}) // where it has just gone, the kernel chooses another
	}
	return refuseAll(fd)
}

func multicastOptions(v6 bool, o SendOptions) []option {
	loop := 0
	if o.Loop {
		loop = 1
	}
	if v6 {
		return []option{
			{"IPV6_MULTICAST_IF", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, o.Index},
			{"IPV6_MULTICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, o.TTL},
			{"IPV6_MULTICAST_LOOP", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, loop},
		}
	}
	return []option{
		{"IP_MULTICAST_TTL", unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, o.TTL},
		{"IP_MULTICAST_LOOP", unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, loop},
	}
}

// Send makes one attempt. Errors are the kernel's: EPERM where the machine's own firewall drops the datagram, EAGAIN or
// ENOBUFS where the device's queue is full, ENETUNREACH and its like where the way is gone; os.ErrClosed after Close.
func (s *Sender) Send(data []byte, to unix.Sockaddr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return os.ErrClosed
	}
	return sendNow(s.fd, data, to)
}

// sendNow is sendto by a raw system call, for the reason given at readClock: it never waits.
func sendNow(fd int, data []byte, to unix.Sockaddr) error {
	var address unix.RawSockaddrInet6 // the larger of the two
	size := unsafe.Sizeof(address)
	switch to := to.(type) {
	case *unix.SockaddrInet4:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&address))
		v4.Family, v4.Addr = unix.AF_INET, to.Addr
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&v4.Port))[:], uint16(to.Port))
		size = unsafe.Sizeof(*v4)
	case *unix.SockaddrInet6:
		address.Family, address.Addr, address.Scope_id = unix.AF_INET6, to.Addr, to.ZoneId
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&address.Port))[:], uint16(to.Port))
	default:
		return unix.EAFNOSUPPORT
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&address)), size)
	if errno != 0 {
		return errno
	}
	return nil
}

// Close releases the socket; a second Close does nothing.
func (s *Sender) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

// Sockaddr makes the kernel's form of an address and port. index is the interface of a link-local or multicast IPv6 address.
func Sockaddr(addr netip.Addr, port, index int) (unix.Sockaddr, error) {
	addr = addr.Unmap()
	switch {
	case addr.Is4():
		return &unix.SockaddrInet4{Port: port, Addr: addr.As4()}, nil
	case addr.Is6():
		at := &unix.SockaddrInet6{Port: port, Addr: addr.As16()}
		if addr.IsLinkLocalUnicast() || addr.IsMulticast() {
			at.ZoneId = uint32(index)
		}
		return at, nil
	}
	return nil, fmt.Errorf("no address")
}
