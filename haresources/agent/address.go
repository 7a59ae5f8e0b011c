package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// addressTimeout bounds what is done to an address; it takes less than a millisecond unless the kernel itself hangs.
const addressTimeout = 5 * time.Second

// DefaultRefresh is how often a held address is announced again when all is quiet, so that a neighbour who missed every
// announcement, or whose table was changed by another machine, finds it again.
const DefaultRefresh = time.Minute

// address is a resource that is an IP address. Its methods are those of a haresources.Agent; the keeper does the work.
type address struct {
	keeper  *keeper
	want    placement
	refresh time.Duration // 0 is never; guarded by the keeper's mutex
	probe   time.Duration // how long to ask whether another machine has it, before it is added; 0 is not at all; guarded likewise
	report  func(haresources.State, error)
}

// openAddress makes an agent for a bare address, IPaddr, IPaddr2 or IPv6addr.
func openAddress(k *keeper, r haresources.Resource) (haresources.Agent, error) {
	p, err := parsePlacement(r)
	if err != nil {
		return nil, err
	}
	k.use()
	return &address{keeper: k, want: p, refresh: DefaultRefresh}, nil
}

// Start adds the address and announces it.
func (a *address) Start(ctx context.Context) error {
	_, err := a.keeper.hold(ctx, []*address{a})
	return err
}

// Adopt begins to look after an address that is there already.
func (a *address) Adopt(ctx context.Context) error { return a.Start(ctx) }

// Stop removes the address.
func (a *address) Stop(ctx context.Context) error {
	_, err := a.keeper.drop(ctx, []*address{a})
	return err
}

// Status looks for the address on its interface, or on any but the loopback interface where none is given.
func (a *address) Status(ctx context.Context) (haresources.State, error) {
	states, err := a.StatusAll(ctx, []haresources.Agent{a})
	if err != nil {
		return haresources.Unknown, err
	}
	if states[0] == haresources.Failed {
		err = errors.New("another machine has the address: duplicate address detection failed")
	}
	return states[0], err
}

// Announce tells the neighbours at once, and again on the schedule of an address that was just added.
func (a *address) Announce(context.Context) error { return a.keeper.announceAgain(a) }

// Watch has report called when the address was removed by somebody, and when it is back.
func (a *address) Watch(report func(haresources.State, error)) (stop func()) {
	a.keeper.mu.Lock()
	defer a.keeper.mu.Unlock()
	a.report = report
	return func() {
		a.keeper.mu.Lock()
		defer a.keeper.mu.Unlock()
		a.report = nil
	}
}

// Configure reads the pragmas announce-refresh and duplicate-probe.
func (a *address) Configure(pragma func(string) string) error {
	refresh, err := pragmaTime(pragma, haresources.PragmaRefresh, DefaultRefresh)
	if err != nil {
		return err
	}
	probe, err := pragmaTime(pragma, haresources.PragmaProbe, 0)
	if err != nil {
		return err
	}
	a.keeper.mu.Lock()
	defer a.keeper.mu.Unlock()
	a.refresh, a.probe = refresh, probe
	return nil
}

// pragmaTime reads a pragma that is a time, or off.
func pragmaTime(pragma func(string) string, key string, otherwise time.Duration) (time.Duration, error) {
	value := pragma(key)
	switch value {
	case "":
		return otherwise, nil
	case "off":
		return 0, nil
	}
	d, err := haresources.ParseDuration(value)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%s: %q is not a time", key, value)
	}
	return d, nil
}

// Timeout is the same for every operation.
func (a *address) Timeout(haresources.Operation) time.Duration { return addressTimeout }

// BatchKey is the same for all addresses of a node: neighbours on a line are handled together.
func (a *address) BatchKey() string { return "address" }

// Describe says where the address is and how often it was announced.
func (a *address) Describe() string { return a.keeper.describe(a) }

// Counters says how often it was announced and put back.
func (a *address) Counters() map[string]uint64 { return a.keeper.counters(a) }

// Close ends the looking after; the address stays.
func (a *address) Close() error { return a.keeper.release(a) }

// Addr is the address itself.
func (a *address) Addr() netip.Addr { return a.want.addr }

// AddMute adds addresses while the kernel keeps them mute: see haresources.Muter.
func (a *address) AddMute(_ context.Context, agents []haresources.Agent) error {
	return a.keeper.addMute(addresses(agents))
}

// Voice announces what AddMute has added: see haresources.Muter.
func (a *address) Voice(ctx context.Context, agents []haresources.Agent) error {
	return a.keeper.voice(ctx, addresses(agents))
}

// Standby takes back what AddMute added.
func (a *address) Standby(context.Context) error {
	a.keeper.mu.Lock()
	defer a.keeper.mu.Unlock()
	return a.keeper.removeMute(a)
}

// StartAll is Start for many.
func (a *address) StartAll(ctx context.Context, agents []haresources.Agent) (int, error) {
	return a.keeper.hold(ctx, addresses(agents))
}

// StopAll is Stop for many.
func (a *address) StopAll(ctx context.Context, agents []haresources.Agent) (int, error) {
	return a.keeper.drop(ctx, addresses(agents))
}

// StatusAll is Status for many.
func (a *address) StatusAll(_ context.Context, agents []haresources.Agent) ([]haresources.State, error) {
	return a.keeper.examine(addresses(agents))
}

// addresses are agents that are addresses, as those with our BatchKey are.
func addresses(agents []haresources.Agent) []*address {
	list := make([]*address, len(agents))
	for i, a := range agents {
		list[i] = a.(*address)
	}
	return list
}

// entryOf says whether an address of the machine is this resource. index is that of its interface, 0 where none is given.
func (p placement) entryOf(entry host.Address, index, loopback int) bool {
	if entry.Prefix.Addr() != p.addr {
		return false
	}
	if p.device != "" {
		return entry.Index == index
	}
	return entry.Index != loopback
}

// resolve says what exactly is to be added: on which interface, with which prefix length and broadcast address.
func (p placement) resolve(n *host.Netlink, known *devices) (host.Address, *host.Device, error) {
	bits := p.bits
	var device *host.Device
	var err error
	if p.device != "" {
		device, err = known.byName(n, p.device)
	}
	if err == nil && (device == nil || bits < 0) {
		var place host.Place
		place, err = known.place(n, p.addr)
		switch {
		case errors.Is(err, host.ErrNoPlace) && device != nil:
			bits, err = p.addr.BitLen(), nil
		case errors.Is(err, host.ErrNoPlace):
			err = fmt.Errorf("no interface of this machine is on a network with %v: write %v/PREFIX/INTERFACE", p.addr, p.addr)
		case err == nil && bits < 0 && place.Direct && (device == nil || device.Index == place.Index):
			bits = place.Subnet.Bits()
		case err == nil && bits < 0:
			bits = p.addr.BitLen()
		}
		if err == nil && device == nil {
			device, err = known.byIndex(n, place.Index)
		}
	}
	if err != nil {
		return host.Address{}, nil, err
	}
	prefix := netip.PrefixFrom(p.addr, bits)
	broadcast := p.broadcast
	if !broadcast.IsValid() {
		broadcast = defaultBroadcast(prefix)
	}
	return host.Address{Prefix: prefix, Index: device.Index, Label: p.label, Broadcast: broadcast}, device, nil
}

// devices remembers, for the length of one operation on many addresses, what the kernel said.
type devices struct {
	names   map[string]*host.Device
	indexes map[int]*host.Device
	places  []host.Place
}

// byName looks an interface up.
func (d *devices) byName(n *host.Netlink, name string) (*host.Device, error) {
	if found := d.names[name]; found != nil {
		return found, nil
	}
	found, err := n.Device(name)
	if err != nil {
		return nil, err
	}
	return d.keep(found), nil
}

// byIndex looks an interface up.
func (d *devices) byIndex(n *host.Netlink, index int) (*host.Device, error) {
	if found := d.indexes[index]; found != nil {
		return found, nil
	}
	found, err := n.DeviceByIndex(index)
	if err != nil {
		return nil, err
	}
	return d.keep(found), nil
}

func (d *devices) keep(found host.Device) *host.Device {
	if d.names == nil {
		d.names, d.indexes = map[string]*host.Device{}, map[int]*host.Device{}
	}
	d.names[found.Name], d.indexes[found.Index] = &found, &found
	return &found
}

// place finds where an address belongs. Only a subnet of an interface is remembered: what is behind a gateway is asked for
// each time.
func (d *devices) place(n *host.Netlink, addr netip.Addr) (host.Place, error) {
	for _, p := range d.places {
		if p.Subnet.Contains(addr) {
			return p, nil
		}
	}
	p, err := n.FindPlace(addr)
	if err == nil && p.Direct && !p.Subnet.IsSingleIP() {
		d.places = append(d.places, p)
	}
	return p, err
}
