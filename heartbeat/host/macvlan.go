package host

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Macvlan is an interface with a hardware address of its own that shares the cable of another one.
type Macvlan struct {
	Name   string
	Index  int
	Parent int // index of the interface whose cable it is
	Addr   net.HardwareAddr
	Alias  string // a note; empty for none
	Up     bool
}

// macvlanPrivate is the mode in which the interfaces on one cable do not see each other.
const macvlanPrivate = 1

// AddMacvlan makes the interface, down.
func (n *Netlink) AddMacvlan(m Macvlan) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(m.Name)))
	request.AddData(nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(m.Parent))))
	request.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, m.Addr))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("macvlan"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(macvlanPrivate))
	request.AddData(info)
	if err := n.one(request); err != nil {
		return fmt.Errorf("make virtual interface %s with address %v: %w", m.Name, m.Addr, macvlanHint(err))
	}
	if m.Alias == "" {
		return nil
	}
	return n.SetAlias(m.Name, m.Alias)
}

// macvlanHint explains the kernel's terser answers.
func macvlanHint(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: this kernel has no macvlan", err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: another interface on this cable has the address already, or the interface below is a bridge port", err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: not an address for one interface (multicast or zero)", err)
	}
	return err
}

// SetAlias writes the note of an interface.
func (n *Netlink) SetAlias(name, alias string) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias)))
	if err := n.one(request); err != nil {
		return fmt.Errorf("set alias of %s: %w", name, err)
	}
	return nil
}

// SetUp sets an interface up or down.
func (n *Netlink) SetUp(index int, up bool) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index, m.Change = int32(index), unix.IFF_UP
	if up {
		m.Flags = unix.IFF_UP
	}
	request.AddData(m)
	if err := n.one(request); err != nil {
		return fmt.Errorf("set interface %d up: %w", index, err)
	}
	return nil
}

// RemoveDevice removes a virtual interface, with its addresses. One that is not there is not an error.
func (n *Netlink) RemoveDevice(index int) error {
	request := nl.NewNetlinkRequest(unix.RTM_DELLINK, 0)
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	request.AddData(m)
	if err := n.one(request); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %d: %w", index, err)
	}
	return nil
}

// Macvlans lists all interfaces of this kind.
func (n *Netlink) Macvlans() (list []Macvlan, err error) {
	request := deviceRequest(0)
	request.Flags |= unix.NLM_F_DUMP
	err = n.dump(request, func(body []byte) {
		if m, ok := parseMacvlan(body); ok {
			list = append(list, m)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return list, nil
}

// one carries out a single change.
func (n *Netlink) one(request *nl.NetlinkRequest) error {
	return errors.Join(n.transact([]*nl.NetlinkRequest{request}, func(_ int, err error) error { return err })...)
}

// parseMacvlan decodes a message about an interface of this kind.
func parseMacvlan(body []byte) (m Macvlan, ok bool) {
	d := parseDevice(body)
	if d.Index == 0 {
		return m, false
	}
	m = Macvlan{Name: d.Name, Index: d.Index, Addr: d.Addr, Up: d.Flags&unix.IFF_UP != 0}
	attrs, err := nl.ParseRouteAttr(body[unix.SizeofIfInfomsg:])
	if err != nil {
		return m, false
	}
	for _, a := range attrs {
		switch a.Attr.Type & attributeType {
		case unix.IFLA_LINK:
			m.Parent = int(nl.NativeEndian().Uint32(a.Value))
		case unix.IFLA_IFALIAS:
			m.Alias = nl.BytesToString(append(a.Value, 0))
		case unix.IFLA_LINKINFO:
			info, err := nl.ParseRouteAttr(a.Value)
			for _, i := range info {
				ok = ok || err == nil && i.Attr.Type == nl.IFLA_INFO_KIND && nl.BytesToString(append(i.Value, 0)) == "macvlan"
			}
		}
	}
	return m, ok
}
