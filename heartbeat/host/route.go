package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The kernel's hardware types that addresses can be announced on.
const (
	HardwareEthernet   = unix.ARPHRD_ETHER
	HardwareInfiniBand = unix.ARPHRD_INFINIBAND
)

// Device is what an announcement needs to know of an interface.
type Device struct {
	Name      string
	Index     int
	Type      uint16           // hardware type: HardwareEthernet, HardwareInfiniBand, …
	Addr      net.HardwareAddr // 6 bytes on Ethernet, 20 on IPoIB
	Broadcast net.HardwareAddr // of the same length
	Flags     uint32           // unix.IFF_…
}

// Announces says whether neighbours on this interface keep a table of hardware addresses that must be told.
func (d Device) Announces() bool {
	return d.Flags&(unix.IFF_NOARP|unix.IFF_LOOPBACK|unix.IFF_POINTOPOINT) == 0 &&
		(d.Type == HardwareEthernet || d.Type == HardwareInfiniBand) && len(d.Addr) == len(d.Broadcast)
}

// Ready says whether the interface is up and has a carrier.
func (d Device) Ready() bool {
	return d.Flags&unix.IFF_UP != 0 && d.Flags&unix.IFF_LOWER_UP != 0
}

// Device looks an interface up by its name. Its error wraps ErrNoInterface when there is none.
func (n *Netlink) Device(name string) (Device, error) {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return Device{}, fmt.Errorf("%w %q on this machine", ErrNoInterface, name)
	}
	request := deviceRequest(0)
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	d, err := n.device(request)
	if errors.Is(err, unix.ENODEV) {
		return d, fmt.Errorf("%w %q on this machine", ErrNoInterface, name)
	}
	if err != nil {
		return d, fmt.Errorf("look up interface %q: %w", name, err)
	}
	return d, nil
}

// DeviceByIndex looks an interface up by its index. Its error wraps ErrNoInterface when there is none.
func (n *Netlink) DeviceByIndex(index int) (Device, error) {
	d, err := n.device(deviceRequest(index))
	if errors.Is(err, unix.ENODEV) {
		return d, fmt.Errorf("%w with index %d on this machine", ErrNoInterface, index)
	}
	if err != nil {
		return d, fmt.Errorf("look up interface %d: %w", index, err)
	}
	return d, nil
}

func deviceRequest(index int) *nl.NetlinkRequest {
	const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	request.AddData(m)
	request.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	return request
}

func (n *Netlink) device(request *nl.NetlinkRequest) (d Device, err error) {
	err = n.dump(request, func(body []byte) { d = parseDevice(body) })
	return d, err
}

// parseDevice decodes a message about an interface.
func parseDevice(body []byte) (d Device) {
	if len(body) < unix.SizeofIfInfomsg {
		return d
	}
	m := nl.DeserializeIfInfomsg(body)
	d.Index, d.Type, d.Flags = int(m.Index), m.Type, m.Flags
	attributes(body[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			d.Name = nl.BytesToString(value)
		case unix.IFLA_ADDRESS:
			d.Addr = append(net.HardwareAddr(nil), value...)
		case unix.IFLA_BROADCAST:
			d.Broadcast = append(net.HardwareAddr(nil), value...)
		}
	})
	return d
}

// Place is where an address belongs by this machine's routes.
type Place struct {
	Index  int          // of the interface
	Subnet netip.Prefix // the route that says so
	Direct bool         // the subnet is on the interface itself, not behind a gateway
}

// ErrNoPlace says that no route leads to an address, so that only its administrator knows on which interface it belongs.
var ErrNoPlace = errors.New("no route leads to it")

// FindPlace says on which interface an address belongs: the one whose subnet contains it (the longest prefix, the
// interface need not be up), else the one by which the best route goes. Its error wraps ErrNoPlace when there is none.
func (n *Netlink) FindPlace(addr netip.Addr) (Place, error) {
	p, err := n.route(addr, unix.RTM_F_FIB_MATCH)
	if err == nil && p.Direct && p.Subnet.Bits() > 0 && !p.Subnet.IsSingleIP() {
		return p, nil
	}
	list, listErr := n.ListAddresses(0)
	if listErr != nil {
		return Place{}, listErr
	}
	if here, ok := connected(list, addr); ok {
		return here, nil
	}
	if err == nil && p.Index == 0 { // a route with several next hops: ask for the one that would be taken
		p, err = n.route(addr, 0)
	}
	if err != nil || p.Index == 0 {
		return Place{}, fmt.Errorf("find interface of %v: %w", addr, ErrNoPlace)
	}
	return p, nil
}

// connected finds the longest subnet of an interface that contains addr.
func connected(list []Address, addr netip.Addr) (best Place, ok bool) {
	for _, a := range list {
		if a.Prefix.IsSingleIP() || !a.Prefix.Contains(addr) || a.Prefix.Addr().IsLoopback() {
			continue
		}
		if !ok || a.Prefix.Bits() > best.Subnet.Bits() {
			best, ok = Place{Index: a.Index, Subnet: a.Prefix.Masked(), Direct: true}, true
		}
	}
	return best, ok
}

// route asks the kernel for the route to an address.
func (n *Netlink) route(addr netip.Addr, flags uint32) (p Place, err error) {
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	request := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	m := &nl.RtMsg{}
	m.Family, m.Dst_len, m.Flags = uint8(family), uint8(addr.BitLen()), flags
	request.AddData(m)
	request.AddData(nl.NewRtAttr(unix.RTA_DST, addr.AsSlice()))
	err = n.dump(request, func(body []byte) { p = parseRoute(body, addr) })
	return p, err
}

// parseRoute decodes the route to addr. A route to an address of this machine itself, or to nowhere, is none.
func parseRoute(body []byte, addr netip.Addr) (p Place) {
	if len(body) < unix.SizeofRtMsg {
		return p
	}
	m := nl.DeserializeRtMsg(body)
	if m.Type != unix.RTN_UNICAST {
		return p
	}
	p.Direct = true
	p.Subnet, _ = addr.Prefix(int(m.Dst_len))
	attributes(body[unix.SizeofRtMsg:], func(kind uint16, value []byte) {
		switch {
		case kind == unix.RTA_OIF && len(value) == 4:
			p.Index = int(nl.NativeEndian().Uint32(value))
		case kind == unix.RTA_GATEWAY, kind == unix.RTA_VIA:
			p.Direct = false
		}
	})
	return p
}
