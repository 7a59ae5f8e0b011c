package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"github.com/mdlayher/arp"
	"golang.org/x/sys/unix"
)

// Form is one of the two ways to announce an IPv4 address. Some devices believe only the one, some only the other.
type Form int

// The forms of an announcement.
const (
	FormRequest Form = iota // a request for the own address, from the own address (RFC 5227 calls it an announcement)
	FormReply               // an unasked reply
)

// Announcement says that an address is at a device.
type Announcement struct {
	Addr   netip.Addr
	Device *Device
	Form   Form // IPv4 only; IPv6 knows one form: an unsolicited neighbour advertisement with the override flag
}

// Announcer sends announcements for every interface of one network namespace: through one packet socket for IPv4 and one
// ICMPv6 socket for IPv6. Neither is bound to an interface, so that they outlive every one of them, nor do they receive
// anything. Safe for concurrent use.
type Announcer struct {
	mu     sync.Mutex
	packet int // socket of family AF_PACKET
	icmp   int // raw ICMPv6 socket, -1 while none was needed
	closed bool
}

// OpenAnnouncer opens the packet socket in the network namespace of the calling thread.
func OpenAnnouncer() (*Announcer, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket for announcements: %w", err)
	}
	// A thousand addresses are announced in one burst.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20)
	return &Announcer{packet: fd, icmp: -1}, nil
}

// Close releases the sockets.
func (a *Announcer) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	errs := []error{unix.Close(a.packet)}
	if a.icmp >= 0 {
		errs = append(errs, unix.Close(a.icmp))
	}
	return errors.Join(errs...)
}

// Send announces all of list, in its order for each family, and does not wait: what does not fit into the queue of an
// interface is an error like any other. It returns one error, or nil, for each announcement, or nil when all are on their
// way. An announcement on a device that has no neighbours to tell is on its way at once.
func (a *Announcer) Send(list []Announcement) []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	fail := func(i int, err error) {
		if errs == nil {
			errs = make([]error, len(list))
		}
		errs[i] = fmt.Errorf("announce %v on %s: %w", list[i].Addr, list[i].Device.Name, err)
	}
	var burst frames
	for i, an := range list {
		switch {
		case a.closed:
			fail(i, os.ErrClosed)
		case !an.Device.Announces():
		case an.Addr.Is4():
			if err := burst.add(i, an); err != nil {
				fail(i, err)
			}
		default:
			if err := a.advertise(an); err != nil {
				fail(i, err)
			}
		}
	}
	burst.send(a.packet, fail)
	return errs
}

// arpFrame encodes an announcement as an ARP packet, for any hardware type: the library knows Ethernet only.
func arpFrame(an Announcement) ([]byte, error) {
	target, operation := make(net.HardwareAddr, len(an.Device.Addr)), arp.OperationRequest
	if an.Form == FormReply {
		target, operation = an.Device.Addr, arp.OperationReply // Linux believes an unasked reply only if target is sender
	}
	p, err := arp.NewPacket(operation, an.Device.Addr, an.Addr, target, an.Addr)
	if err != nil {
		return nil, err
	}
	p.HardwareType = an.Device.Type
	return p.MarshalBinary()
}

// linkSockaddr encodes where a packet goes, as the kernel's struct sockaddr_ll. Its address is as long as the device's: 20
// bytes on IPoIB, which unix.SockaddrLinklayer has no room for.
func linkSockaddr(d *Device, protocol uint16) []byte {
	b := make([]byte, 12, 32)
	binary.NativeEndian.PutUint16(b, unix.AF_PACKET)
	binary.BigEndian.PutUint16(b[2:], protocol)
	binary.NativeEndian.PutUint32(b[4:], uint32(d.Index))
	binary.NativeEndian.PutUint16(b[8:], d.Type)
	b[11] = byte(len(d.Broadcast))
	b = append(b, d.Broadcast...)
	for len(b) < unix.SizeofSockaddrLinklayer {
		b = append(b, 0)
	}
	return b
}

// frames are packets to be sent by few system calls.
type frames struct {
	index    []int // of each frame in the caller's list
	messages []mmsghdr
	last     *Device
	to       []byte // where last is
}

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

// add appends one announcement.
func (f *frames) add(i int, an Announcement) error {
	data, err := arpFrame(an)
	if err != nil {
		return err
	}
	if f.last != an.Device {
		f.last, f.to = an.Device, linkSockaddr(an.Device, unix.ETH_P_ARP)
	}
	vector := &unix.Iovec{Base: &data[0]}
	vector.SetLen(len(data))
	m := mmsghdr{header: unix.Msghdr{Name: &f.to[0], Namelen: uint32(len(f.to)), Iov: vector}}
	m.header.SetIovlen(1)
	f.index, f.messages = append(f.index, i), append(f.messages, m)
	return nil
}

// send sends all frames, and passes over those that fail.
func (f *frames) send(fd int, fail func(int, error)) {
	for done := 0; done < len(f.messages); {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&f.messages[done])),
			uintptr(len(f.messages)-done), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			fail(f.index[done], errno)
			done++
		default:
			done += int(n)
		}
	}
	runtime.KeepAlive(f)
}
