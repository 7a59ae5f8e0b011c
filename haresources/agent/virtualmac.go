package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// virtualMAC is the resource VirtualMAC::ADDRESS[/PREFIX[/INTERFACE]][::MAC]: an IP address together with a hardware address
// that moves with it, so that no neighbour has anything to learn but the switches. The address is on a macvlan interface
// above INTERFACE; heartbeats, and everything else, stay on INTERFACE and its own hardware address.
type virtualMAC struct {
	want    placement // as written: its device is the interface below
	mac     net.HardwareAddr
	name    string   // of the macvlan
	address *address // on the macvlan

	mu     sync.Mutex
	before string // the note on our interface, in case somebody removes that
}

// virtualPrefix is how the names of our interfaces begin.
const virtualPrefix = "hv"

// openVirtualMAC makes the agent.
func openVirtualMAC(_ Environment, r haresources.Resource) (haresources.Agent, error) {
	a, err := parseArguments(r)
	if err == nil && len(a.plain) > 2 {
		err = errors.New("more than two arguments")
	}
	var mac net.HardwareAddr
	if err == nil && len(a.plain) == 2 {
		mac, err = parseMAC(a.plain[1])
	}
	if err != nil {
		return nil, fmt.Errorf("%w; write VirtualMAC::ADDRESS/PREFIX/INTERFACE[::MAC]", err)
	}
	r.Args = a.plain[:min(1, len(a.plain))]
	p, err := parsePlacement(r)
	if err != nil {
		return nil, err
	}
	if mac == nil {
		mac = derivedMAC(p.addr)
	}
	v := &virtualMAC{want: p, mac: mac, name: virtualPrefix + mix(p.addr.String(), p.device)[:8]}
	keeper := newKeeper()
	keeper.use()
	v.address = &address{keeper: keeper, want: placement{addr: p.addr, bits: p.bits, device: v.name}, refresh: DefaultRefresh}
	return v, nil
}

// parseMAC reads a hardware address that one interface of a pair may have.
func parseMAC(s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	switch {
	case err != nil || len(mac) != 6:
		return nil, fmt.Errorf("%q is not a hardware address of six bytes", s)
	case mac[0]&1 != 0:
		return nil, fmt.Errorf("%v is a multicast address", mac)
	case mac.String() == "00:00:00:00:00:00":
		return nil, fmt.Errorf("%v is no address", mac)
	}
	return mac, nil
}

// derivedMAC is the hardware address for an IP address for which none was given: locally administered, the same on both
// nodes, and different for each IP address of a network.
func derivedMAC(a netip.Addr) net.HardwareAddr {
	if a.Is4() {
		four := a.As4()
		return append(net.HardwareAddr{0x02, 0x48}, four[:]...)
	}
	sixteen := a.As16()
	sum := mix(string(sixteen[:]), "virtual MAC")
	mac := net.HardwareAddr{0x02, 0x49, 0, 0, 0, 0}
	fmt.Sscanf(sum[:8], "%02x%02x%02x%02x", &mac[2], &mac[3], &mac[4], &mac[5])
	return mac
}

// HardwareAddr is the address that moves.
func (v *virtualMAC) HardwareAddr() net.HardwareAddr { return v.mac }

// Configure reads the pragma announce-refresh.
func (v *virtualMAC) Configure(pragma func(string) string) error { return v.address.Configure(pragma) }

// Timeout is the same for every operation.
func (v *virtualMAC) Timeout(haresources.Operation) time.Duration { return addressTimeout }

// Describe says where the address is.
func (v *virtualMAC) Describe() string {
	return fmt.Sprintf("hardware address %v; %s", v.mac, v.address.Describe())
}

// Close ends the looking after; the address stays.
func (v *virtualMAC) Close() error { return v.address.Close() }

// Announce tells the neighbours, and so the switches, at once and then on the schedule.
func (v *virtualMAC) Announce(ctx context.Context) error { return v.address.Announce(ctx) }

// below is the interface that ours stands on.
func (v *virtualMAC) below(n *host.Netlink) (d host.Device, place host.Place, err error) {
	place, placeErr := n.FindPlace(v.want.addr)
	if v.want.device != "" {
		d, err = n.Device(v.want.device)
		return d, place, err
	}
	if placeErr != nil {
		return d, place, fmt.Errorf("no interface of this machine is on a network with %v: write %v/PREFIX/INTERFACE", v.want.addr, v.want.addr)
	}
	d, err = n.DeviceByIndex(place.Index)
	return d, place, err
}

// virtualState is what is there.
type virtualState struct {
	own    *host.Macvlan  // ours, nil when it is not there
	others []host.Macvlan // those of other resources on the same interface
	parent host.Device
	place  host.Place
}

// look finds everything.
func (v *virtualMAC) look(n *host.Netlink) (s virtualState, err error) {
	if s.parent, s.place, err = v.below(n); err != nil {
		return s, err
	}
	list, err := n.Macvlans()
	if err != nil {
		return s, err
	}
	for i, m := range list {
		switch {
		case m.Name == v.name:
			s.own = &list[i]
		case m.Parent == s.parent.Index && strings.HasPrefix(m.Alias, aliasMark):
			s.others = append(s.others, m)
		}
	}
	return s, nil
}

// with opens netlink for one operation.
func (v *virtualMAC) with(f func(*host.Netlink) error) error {
	n, err := host.OpenNetlink()
	if err != nil {
		return err
	}
	defer n.Close()
	return f(n)
}

// Prepare makes the interface, down, so that nothing is received or sent there yet.
func (v *virtualMAC) Prepare(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.with(func(n *host.Netlink) error {
		_, err := v.make(n)
		return err
	})
}

// make sees to it that the interface is there, with all that belongs to it but the address.
func (v *virtualMAC) make(n *host.Netlink) (virtualState, error) {
	s, err := v.look(n)
	if err != nil {
		return s, err
	}
	if s.own != nil && (s.own.Parent != s.parent.Index || s.own.Addr.String() != v.mac.String()) {
		if err := n.RemoveDevice(s.own.Index); err != nil {
			return s, err
		}
		s.own = nil
	}
	if s.own == nil {
		if v.before == "" {
			if v.before, err = v.settingsBefore(s); err != nil {
				return s, err
			}
		}
		if err := n.AddMacvlan(host.Macvlan{Name: v.name, Parent: s.parent.Index, Addr: v.mac, Alias: v.before}); err != nil {
			return s, err
		}
		if s, err = v.look(n); err != nil || s.own == nil {
			return s, errors.Join(err, fmt.Errorf("interface %s went as soon as it was made", v.name))
		}
	}
	v.before = s.own.Alias
	return s, v.apply(s.parent.Name)
}

// Start makes the interface, sets it up and adds the address to it.
func (v *virtualMAC) Start(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.with(func(n *host.Netlink) error {
		s, err := v.make(n)
		if err != nil {
			return err
		}
		if err := n.SetUp(s.own.Index, true); err != nil {
			return err
		}
		v.setPrefix(n, s)
		return v.address.Start(ctx)
	})
}

// Adopt begins to look after what is there already.
func (v *virtualMAC) Adopt(ctx context.Context) error { return v.Start(ctx) }

// setPrefix decides how long the prefix on our interface is: where the interface below is on the subnet itself, everything
// keeps going out there, and the address stands alone.
func (v *virtualMAC) setPrefix(n *host.Netlink, s virtualState) {
	bits := v.want.bits
	list, err := n.ListAddresses(s.parent.Index)
	for _, a := range list {
		if err == nil && !a.Prefix.IsSingleIP() && a.Prefix.Contains(v.want.addr) {
			bits = v.want.addr.BitLen()
		}
	}
	if bits < 0 {
		bits = v.want.addr.BitLen()
	}
	v.address.keeper.mu.Lock()
	defer v.address.keeper.mu.Unlock()
	v.address.want.bits = bits
}

// Stop removes the address with its interface, and gives the interface below its settings back.
func (v *virtualMAC) Stop(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.address.Stop(ctx); err != nil {
		return err
	}
	return v.with(func(n *host.Netlink) error {
		s, err := v.look(n)
		if errors.Is(err, host.ErrNoInterface) {
			return nil // ours went with it
		}
		if err != nil {
			return err
		}
		if s.own == nil {
			return nil
		}
		v.before = ""
		if err := n.RemoveDevice(s.own.Index); err != nil {
			return err
		}
		return v.restore(s)
	})
}

// restore gives the interface below its settings back, if no other of our interfaces there needs them.
func (v *virtualMAC) restore(s virtualState) error {
	for _, m := range s.others {
		if strings.Contains(m.Alias, "=") {
			return nil
		}
	}
	return restoreSettings(s.parent.Name, s.own.Alias)
}

// Standby takes back what Prepare has made: the interface is down still.
func (v *virtualMAC) Standby(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.with(func(n *host.Netlink) error {
		s, err := v.look(n)
		if errors.Is(err, host.ErrNoInterface) || err == nil && (s.own == nil || s.own.Up) {
			return nil
		}
		if err != nil {
			return err
		}
		v.before = ""
		if err := n.RemoveDevice(s.own.Index); err != nil {
			return err
		}
		return v.restore(s)
	})
}

// Status looks at the interface, its address and its settings.
func (v *virtualMAC) Status(ctx context.Context) (state haresources.State, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	err = v.with(func(n *host.Netlink) error {
		s, err := v.look(n)
		if err != nil {
			return err
		}
		if s.own == nil || !s.own.Up {
			state = haresources.Stopped
			return nil
		}
		if state, err = v.address.Status(ctx); state != haresources.Running {
			return err
		}
		if why := v.wrong(s); why != "" {
			state = haresources.Failed
			return errors.New(why)
		}
		return nil
	})
	if errors.Is(err, host.ErrNoInterface) {
		return haresources.Stopped, nil
	}
	return state, err
}

// wrong says what of the interface is not as we made it, "" when all is.
func (v *virtualMAC) wrong(s virtualState) string {
	if s.own.Addr.String() != v.mac.String() {
		return fmt.Sprintf("the hardware address of %s is %v, not %v", v.name, s.own.Addr, v.mac)
	}
	for _, set := range v.settings(s.parent.Name) {
		if now, err := host.ReadSysctl(set.key); err == nil && !set.holds(now) {
			return fmt.Sprintf("somebody has set sysctl %s to %s; it must be %s", set.key, now, set.value)
		}
	}
	return ""
}

// Watch puts the interface back when somebody removes it.
func (v *virtualMAC) Watch(report func(haresources.State, error)) func() {
	return (&repairer{watch: host.WatchRouting, status: v.Status, start: v.Start, report: report}).begin()
}

// Check looks at the interface below, and at settings of the whole machine that would be in the way.
func (v *virtualMAC) Check() (list fault.List) {
	err := v.with(func(n *host.Netlink) error {
		s, err := v.look(n)
		if err != nil {
			return err
		}
		if s.parent.Type != host.HardwareEthernet {
			list.Addf(fault.Fault{Severity: fault.Error}, "use IPaddr there", "%s is not an Ethernet interface, and cannot have a second hardware address", s.parent.Name)
		}
		return nil
	})
	if err != nil {
		list.Addf(fault.Fault{Severity: fault.Warning}, "", "%v", err)
	}
	if err := obstacles(v.want.addr); err != nil {
		list.Addf(fault.Fault{Severity: fault.Error}, "", "%v", err)
	}
	return list
}
