package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/fault"
)

// ErrNoInterface says that no interface of that name is on this machine (any more).
var ErrNoInterface = errors.New("no such interface")

// Interface is one network interface of the namespace that the calling thread is in, as it was when it was asked about.
type Interface struct {
	Name         string
	Index        int
	MTU          int
	HardwareAddr net.HardwareAddr // 6 bytes on Ethernet, 20 on IPoIB, empty where there is none (tun, ppp)
	Type         string           // kernel's hardware type: "ether", "infiniband", "loopback", "ppp", "none"
	Kind         string           // driver kind where the kernel tells: "bond", "bridge", "vlan", "veth", "device"
	Up           bool             // set up by the administrator
	Carrier      bool             // the cable, or what stands for it, is connected
	Broadcasts   bool             // the medium has a broadcast address at all
	Addrs        []InterfaceAddr  // in the kernel's order
}

// InterfaceAddr is one address of an Interface.
type InterfaceAddr struct {
	Prefix    netip.Prefix // the address itself, with its prefix length
	Broadcast netip.Addr   // IPv4 only; computed from the prefix where none was set; invalid on /31, /32
	Label     string       // "eth0:0"; IPv4 only
	Secondary bool         // another address of the same subnet came first
	Tentative bool         // IPv6: duplicate address detection runs or failed; it cannot be used yet
}

// View looks at the interfaces of the network namespace in which NewView was called, from whatever thread it is used.
// Safe for concurrent use.
type View struct {
	mu     sync.Mutex // the library's Close must not meet a question
	handle *netlink.Handle
	closed bool
}

// here looks at the namespace of the calling thread, with a socket made for each question.
var here = &View{handle: new(netlink.Handle)}

// NewView opens a View on the calling thread's namespace; Close releases it.
func NewView() (*View, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &View{handle: handle}, nil
}

// Close releases the View's socket.
func (v *View) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.handle.Close()
	v.closed = true
}

// ask runs a question unless the View is closed.
func (v *View) ask(question func() error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return os.ErrClosed
	}
	return question()
}

// Interfaces lists every interface of the calling thread's namespace, in the order of their indexes.
func Interfaces() ([]Interface, error) { return here.Interfaces() }

// InterfaceByName looks one interface of the calling thread's namespace up. Its error is ErrNoInterface, with the nearest
// existing name, when there is none.
func InterfaceByName(name string) (Interface, error) { return here.Interface(name) }

// Interfaces lists every interface, in the order of their indexes.
func (v *View) Interfaces() (list []Interface, err error) {
	err = v.ask(func() error {
		links, err := dumped(v.handle.LinkList())
		if err != nil {
			return fmt.Errorf("list interfaces: %w", err)
		}
		addrs, err := dumped(v.handle.AddrList(nil, netlink.FAMILY_ALL))
		if err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		list = make([]Interface, len(links))
		for i, l := range links {
			list[i] = newInterface(l, addrs)
		}
		slices.SortFunc(list, func(a, b Interface) int { return a.Index - b.Index })
		return nil
	})
	return list, err
}

// Interface looks one interface up. Its error is ErrNoInterface, with the nearest existing name, when there is none.
func (v *View) Interface(name string) (found Interface, err error) {
	err = v.ask(func() error {
		l, err := v.handle.LinkByName(name)
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return v.noInterface(name)
		}
		if err != nil {
			return fmt.Errorf("look up interface %q: %w", name, err)
		}
		addrs, err := dumped(v.handle.AddrList(l, netlink.FAMILY_ALL))
		if errors.Is(err, unix.ENODEV) {
			return v.noInterface(name)
		}
		if err != nil {
			return fmt.Errorf("list addresses of %s: %w", name, err)
		}
		found = newInterface(l, addrs)
		return nil
	})
	return found, err
}

// Owner is the name of the interface in list that carries addr, "" when none does.
func Owner(list []Interface, addr netip.Addr) string {
	zone, bare := addr.Zone(), addr.Unmap().WithZone("")
	for _, i := range list {
		if zone != "" && zone != i.Name {
			continue
		}
		if i.HasAddr(bare) {
			return i.Name
		}
	}
	return ""
}

// HasAddr says whether addr (without zone) is one of the interface's own.
func (i Interface) HasAddr(addr netip.Addr) bool {
	return slices.ContainsFunc(i.Addrs, func(a InterfaceAddr) bool { return a.Prefix.Addr() == addr })
}

// Broadcast is the IPv4 broadcast address that a datagram to everybody on the interface goes to: that of the first address
// that has one, as SIOCGIFBRDADDR tells it. It is invalid when there is none.
func (i Interface) Broadcast() netip.Addr {
	for _, a := range i.Addrs {
		if a.Broadcast.IsValid() && i.Broadcasts {
			return a.Broadcast
		}
	}
	return netip.Addr{}
}

// HasBroadcast says whether addr still is a broadcast address of the interface.
func (i Interface) HasBroadcast(addr netip.Addr) bool {
	return i.Broadcasts && slices.ContainsFunc(i.Addrs, func(a InterfaceAddr) bool { return a.Broadcast == addr })
}

// dumped forgives a listing during which something changed: it is inconsistent by one entry at most, and the change itself is
// announced by WatchLinks.
func dumped[T any](list []T, err error) ([]T, error) {
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		err = nil
	}
	return list, err
}

func (v *View) noInterface(name string) error {
	var names []string
	if links, err := dumped(v.handle.LinkList()); err == nil {
		for _, l := range links {
			names = append(names, l.Attrs().Name)
		}
	}
	if near := fault.Nearest(name, names); near != "" && near != name {
		return fmt.Errorf("%w %q on this machine (did you mean %q?)", ErrNoInterface, name, near)
	}
	return fmt.Errorf("%w %q on this machine", ErrNoInterface, name)
}

// newInterface picks from addrs those of l.
func newInterface(l netlink.Link, addrs []netlink.Addr) Interface {
	at := l.Attrs()
	i := Interface{
		Name: at.Name, Index: at.Index, MTU: at.MTU, HardwareAddr: at.HardwareAddr, Type: at.EncapType, Kind: l.Type(),
		Up: at.RawFlags&unix.IFF_UP != 0, Carrier: at.RawFlags&unix.IFF_LOWER_UP != 0,
		Broadcasts: at.RawFlags&unix.IFF_BROADCAST != 0,
	}
	for _, a := range addrs {
		if a.LinkIndex == at.Index && a.IPNet != nil {
			i.Addrs = append(i.Addrs, newInterfaceAddr(a))
		}
	}
	return i
}

func newInterfaceAddr(a netlink.Addr) InterfaceAddr {
	ip, _ := netip.AddrFromSlice(a.IP)
	ip = ip.Unmap()
	ones, _ := a.Mask.Size()
	out := InterfaceAddr{
		Prefix: netip.PrefixFrom(ip, ones), Label: a.Label,
		Secondary: ip.Is4() && a.Flags&unix.IFA_F_SECONDARY != 0,
		Tentative: ip.Is6() && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0,
	}
	if b, ok := netip.AddrFromSlice(a.Broadcast); ok {
		out.Broadcast = b.Unmap()
	} else if ip.Is4() && ones < 31 {
		out.Broadcast = lastAddr(ip, ones)
	}
	return out
}

// lastAddr is the subnet's highest address: its broadcast address, which the kernel accepts whether it was set or not.
func lastAddr(ip netip.Addr, ones int) netip.Addr {
	b := ip.As4()
	for bit := ones; bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}
