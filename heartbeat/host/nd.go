package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// allNodes is every IPv6 neighbour on a link.
var allNodes = unix.SockaddrInet6{Addr: [16]byte{0: 0xff, 1: 0x02, 15: 0x01}}

// Positions in a neighbour advertisement (RFC 4861 section 4.4).
const (
	ndOptionTargetAddress = 2    // option: target link-layer address
	ndFlagRouter          = 0x80 // in byte 4
)

// advertise sends an unsolicited neighbour advertisement from the address itself to all nodes.
func (a *Announcer) advertise(an Announcement) error {
	if a.icmp < 0 {
		fd, err := openICMPv6()
		if err != nil {
			return err
		}
		a.icmp = fd
	}
	data, err := advertisement(an.Addr, an.Device.Addr, forwards(an.Device.Name))
	if err != nil {
		return err
	}
	control := ipv6.ControlMessage{Src: net.IP(an.Addr.AsSlice()), IfIndex: an.Device.Index, HopLimit: 255}
	to := allNodes
	to.ZoneId = uint32(an.Device.Index)
	return unix.Sendmsg(a.icmp, data, control.Marshal(), &to, unix.MSG_DONTWAIT)
}

// openICMPv6 opens a socket that sends ICMPv6 and receives nothing.
func openICMPv6() (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		return -1, fmt.Errorf("open ICMPv6 socket for announcements: %w", err)
	}
	var none unix.ICMPv6Filter
	for i := range none.Data {
		none.Data[i] = ^uint32(0)
	}
	if err := errors.Join(
		unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &none),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
	); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("prepare ICMPv6 socket for announcements: %w", err)
	}
	return fd, nil
}

// advertisement encodes the message; the kernel computes its checksum. router is whether this machine forwards: a host that
// hears a router say that it is none forgets its routes through it.
func advertisement(addr netip.Addr, hardware net.HardwareAddr, router bool) ([]byte, error) {
	m := &ndp.NeighborAdvertisement{Router: router, Override: true, TargetAddress: addr.WithZone("")}
	if len(hardware) == 6 {
		m.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: hardware}}
	}
	data, err := ndp.MarshalMessage(m)
	if err != nil || len(hardware) == 6 {
		return data, err
	}
	return append(data, targetOption(hardware)...), nil
}

// targetOption encodes a target link-layer address of any length (RFC 4391 section 9.3 for IPoIB); the library knows
// Ethernet only. Its length counts units of eight bytes.
func targetOption(hardware net.HardwareAddr) []byte {
	units := (2 + len(hardware) + 7) / 8
	option := make([]byte, 8*units)
	option[0], option[1] = ndOptionTargetAddress, byte(units)
	if pad := len(option) - 2 - len(hardware); pad > 0 && len(hardware) == 20 {
		copy(option[2+pad:], hardware) // on IPoIB the padding stands before the address
	} else {
		copy(option[2:], hardware)
	}
	return option
}

// forwards says whether this machine routes IPv6 packets that arrive on an interface.
func forwards(device string) bool {
	text, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + device + "/forwarding")
	return err == nil && strings.TrimSpace(string(text)) != "0"
}
