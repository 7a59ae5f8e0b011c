package lab

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Switch is an Ethernet switch: a bridge that forwards at once and knows no spanning tree.
type Switch struct {
	Name string // what is printed; not an interface name

	link  *netlink.Bridge
	ports int
	index int
}

// Port is an interface of a machine or host and where its cable goes.
type Port struct {
	Switch    *Switch
	Device    string           // the interface's name on the machine
	MAC       net.HardwareAddr // nil lets the kernel choose
	Addresses []netip.Prefix   // the host's own address, with the length of the network
}

// Route is a way to a network by a gateway.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Plug is the switch's end of a port's cable.
type Plug struct {
	Name   string // of the interface in the laboratory, for rules that match it
	Switch *Switch
	link   netlink.Link
}

// NewSwitch makes a switch with no ports.
func (l *Lab) NewSwitch(name string) (*Switch, error) {
	s := &Switch{Name: name, index: l.switches}
	l.switches++
	s.link = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("switch%d", s.index)}}
	off := false
	s.link.MulticastSnooping = &off
	if err := netlink.LinkAdd(s.link); err != nil {
		return nil, fmt.Errorf("make switch %s: %w", name, err)
	}
	if err := writeSysctl("net/ipv6/conf/"+s.link.Name+"/disable_ipv6", "1"); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(s.link); err != nil {
		return nil, fmt.Errorf("switch on %s: %w", name, err)
	}
	return s, nil
}

// plugAll connects every port of one network namespace.
func plugAll(ns netns.NsHandle, ports []Port, routes []Route) ([]*Plug, error) {
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, fmt.Errorf("talk to its kernel: %w", err)
	}
	defer h.Close()
	var plugs []*Plug
	for _, p := range ports {
		plug, err := p.plug(h, ns)
		if err != nil {
			return plugs, fmt.Errorf("connect %s to %s: %w", p.Device, p.Switch.Name, err)
		}
		plugs = append(plugs, plug)
	}
	for _, r := range routes {
		to := net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), r.To.Addr().BitLen())}
		if err := h.RouteReplace(&netlink.Route{Dst: &to, Gw: r.Via.AsSlice()}); err != nil {
			return plugs, fmt.Errorf("route %s via %s: %w", r.To, r.Via, err)
		}
	}
	for i, p := range ports {
		if err := awaitCarrier(h, p.Device); err != nil {
			return plugs, err
		}
		if err := awaitCarrier(&netlink.Handle{}, plugs[i].Name); err != nil {
			return plugs, err
		}
	}
	return plugs, nil
}

// awaitCarrier waits until an interface really sends: the kernel makes a fresh one ready in the background, at times a
// second later, and drops until then.
func awaitCarrier(h *netlink.Handle, device string) error {
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(time.Millisecond) {
		link, err := h.LinkByName(device)
		if err != nil {
			return fmt.Errorf("find %s: %w", device, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for a carrier on %s: it stays %s", device, link.Attrs().OperState)
		}
	}
}

// plug makes the cable of one port, sets the interface up and switches both ends on.
func (p Port) plug(h *netlink.Handle, ns netns.NsHandle) (*Plug, error) {
	p.Switch.ports++
	name := fmt.Sprintf("s%dp%d", p.Switch.index, p.Switch.ports)
	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MasterIndex: p.Switch.link.Attrs().Index},
		PeerName: p.Device, PeerHardwareAddr: p.MAC, PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(cable); err != nil {
		return nil, fmt.Errorf("make a cable: %w", err)
	}
	if err := writeSysctl("net/ipv6/conf/"+name+"/disable_ipv6", "1"); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(cable); err != nil {
		return nil, fmt.Errorf("switch the port on: %w", err)
	}
	device, err := h.LinkByName(p.Device)
	if err != nil {
		return nil, fmt.Errorf("find the interface: %w", err)
	}
	for _, a := range p.Addresses {
		address := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}}
		if a.Addr().Is6() {
			address.Flags = unix.IFA_F_NODAD
		} else {
			address.Broadcast = broadcast(a)
		}
		if err := h.AddrAdd(device, address); err != nil {
			return nil, fmt.Errorf("give it the address %s: %w", a, err)
		}
	}
	if err := h.LinkSetUp(device); err != nil {
		return nil, fmt.Errorf("switch it on: %w", err)
	}
	return &Plug{Name: name, Switch: p.Switch, link: cable}, nil
}

// broadcast is the last address of an IPv4 network; nil for one too small to have it.
func broadcast(p netip.Prefix) net.IP {
	if p.Bits() > 30 {
		return nil
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return b[:]
}

// Pull pulls the cable out: the machine loses its carrier.
func (p *Plug) Pull() error { return netlink.LinkSetDown(p.link) }

// Insert plugs the cable in again.
func (p *Plug) Insert() error { return netlink.LinkSetUp(p.link) }

// Isolate keeps a port from talking to the other isolated ports of its switch, and only to them: neither loses its
// carrier, and everyone else still reaches both.
func (p *Plug) Isolate(on bool) error { return netlink.LinkSetIsolated(p.link, on) }

// Frames counts what the machine has sent through the port.
func (p *Plug) Frames() uint64 {
	link, err := netlink.LinkByIndex(p.link.Attrs().Index)
	if err != nil || link.Attrs().Statistics == nil {
		return 0
	}
	return link.Attrs().Statistics.RxPackets
}

// Index is the interface's number in the laboratory, to listen at.
func (p *Plug) Index() (int, error) {
	link, err := netlink.LinkByName(p.Name)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", p.Name, err)
	}
	return link.Attrs().Index, nil
}

// remove takes the cable away. It may be gone already, with the namespace of its other end.
func (p *Plug) remove() { netlink.LinkDel(p.link) }

// Host is a bare network stack without processes, to measure and disturb from.
type Host struct {
	Name  string
	Ports []*Plug
	ns    netns.NsHandle
}

// NewHost makes a host and connects it.
func (l *Lab) NewHost(name string, ports []Port, routes []Route) (*Host, error) {
	h := &Host{Name: name}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if h.ns, err = netns.Get(); err != nil {
			return fmt.Errorf("open the network namespace: %w", err)
		}
		if err := upLoopback(); err != nil {
			return err
		}
		for name, value := range QuietSysctls() {
			if err := writeSysctl(name, value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	if h.Ports, err = plugAll(h.ns, ports, routes); err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	return h, nil
}

// Do runs f on a thread that is inside the host's network: sockets that f opens stay there.
func (h *Host) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("enter the network of %s: %w", h.Name, err)
		}
		return f()
	})
}

// QuietSysctls make an interface usable at once: no wait for duplicate addresses, no routers asked for.
func QuietSysctls() map[string]string {
	return map[string]string{
		"net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0",
		"net/ipv6/conf/default/dad_transmits": "0", "net/ipv6/conf/default/router_solicitations": "0",
		"net/ipv6/conf/default/accept_redirects": "0", "net/ipv4/conf/all/accept_redirects": "0",
		"net/ipv4/conf/default/accept_redirects": "0",
	}
}

// onOwnThread runs f on a thread that is thrown away afterwards, whatever f did to it.
func onOwnThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		result <- f()
	}()
	return <-result
}

// upLoopback switches lo on in the present network namespace.
func upLoopback() error {
	h, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("talk to the kernel: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("switch the loopback interface on: %w", err)
	}
	return nil
}
