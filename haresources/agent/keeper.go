package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// chunk is how many addresses are added before they are announced: the first of them must not wait for the last.
const chunk = 64

// keeper looks after all addresses that this node holds: it adds and removes them, announces them as long as they are held,
// and puts them back when somebody else removes them.
type keeper struct {
	mu        sync.Mutex
	users     int // agents that are open
	netlink   *host.Netlink
	announcer *host.Announcer
	watch     *host.AddressWatch
	held      map[*address]*holding
	mute      map[*address]host.Address // added ahead of a hand-over, see addMute
	places    map[place]*address        // where they are, for news of the kernel
	bursts    map[int]burst             // by index of the interface
	wake      chan struct{}             // the schedule has changed
	ended     chan struct{}             // closed to end the goroutines
	running   sync.WaitGroup
}

// holding is one address that is held.
type holding struct {
	address   host.Address
	device    *host.Device // as it was last seen; shared by the holdings on it
	broken    error        // why the address is not there, nil when it is
	repairs   []time.Time  // the last times when it was put back
	step      int          // in the schedule
	due       time.Time    // of the next announcement, or attempt to put it back; zero for never
	announced uint64       // frames sent
	failed    uint64       // frames that could not be sent
	repaired  uint64
	early     bool // held before its turn on the line, see voice
	lastError error
}

// place is one address on one interface.
type place struct {
	prefix netip.Prefix
	index  int
}

func placeOf(a host.Address) place { return place{a.Prefix, a.Index} }

func newKeeper() *keeper {
	return &keeper{mute: map[*address]host.Address{}, held: map[*address]*holding{}, places: map[place]*address{}, bursts: map[int]burst{}}
}

// keep begins to look after an address; call it locked.
func (k *keeper) keep(a *address, h *holding) {
	k.leave(a)
	k.held[a], k.places[placeOf(h.address)] = h, a
}

// leave ends looking after an address; call it locked.
func (k *keeper) leave(a *address) {
	delete(k.mute, a)
	h := k.held[a]
	if h == nil {
		return
	}
	delete(k.held, a)
	if at := placeOf(h.address); k.places[at] == a {
		delete(k.places, at)
	}
}

// use counts an open agent.
func (k *keeper) use() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users++
}

// release counts an agent out, and ends everything with the last one.
func (k *keeper) release(a *address) error {
	k.mu.Lock()
	k.removeMute(a)
	k.leave(a)
	k.users--
	last := k.users <= 0
	var errs []error
	if last && k.netlink != nil {
		errs = append(errs, k.netlink.Close())
		k.netlink = nil
	}
	if last && k.watch != nil {
		close(k.ended)
		errs = append(errs, k.announcer.Close(), k.watch.Close())
		k.watch = nil
	}
	k.mu.Unlock()
	if last {
		k.running.Wait()
	}
	return errors.Join(errs...)
}

// addMute adds addresses that the kernel keeps mute, for hold to find them there. Those that are there already are not touched.
func (k *keeper) addMute(list []*address) error {
	states, err := k.examine(list)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.start(); err != nil { // now, so that nothing is left to be opened when they are to be heard
		return err
	}
	var known devices
	var owners []*address
	var wanted []host.Address
	for i, a := range list {
		if a.probe > 0 {
			break // the other node still answers for it: it is asked for, and added, when that has ended
		}
		if states[i] != haresources.Stopped || k.held[a] != nil {
			continue
		}
		address, _, err := a.want.resolve(k.netlink, &known)
		if err != nil {
			return err
		}
		address.Passive = true // or what this node sends would be mute too
		owners, wanted = append(owners, a), append(wanted, address)
	}
	errs := k.netlink.AddAddresses(wanted) // nil when all were added
	for i, a := range owners {
		if errs == nil || errs[i] == nil {
			k.mute[a] = wanted[i]
		}
	}
	return errors.Join(errs...)
}

// activate has this machine use for itself, too, what addMute has added; call it locked. The result is as that of AddAddresses.
func (k *keeper) activate(list []*address, there []host.Address) (errs []error) {
	for i, a := range list {
		if _, added := k.mute[a]; !added || !a.want.addr.Is6() {
			continue
		}
		if err := k.netlink.MendAddress(there[i]); err != nil {
			if errs == nil {
				errs = make([]error, len(list))
			}
			errs[i] = err
		}
	}
	return errs
}

// removeMute takes back what addMute added, where it was not held since; call it locked.
func (k *keeper) removeMute(a *address) error {
	added, ok := k.mute[a]
	if !ok {
		return nil
	}
	delete(k.mute, a)
	return errors.Join(k.netlink.RemoveAddresses([]host.Address{added})...)
}

// voice holds those addresses that addMute has added, before their turn on the line.
func (k *keeper) voice(ctx context.Context, list []*address) error {
	k.mu.Lock()
	var added []*address
	for _, a := range list {
		if _, ok := k.mute[a]; ok {
			added = append(added, a)
		}
	}
	k.mu.Unlock()
	_, err := k.hold(ctx, added)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range added {
		if h := k.held[a]; h != nil {
			h.early = true
		}
	}
	return err
}

// heldEarly says whether voice has held all of these, and they are still there; it does so once. Call it locked.
func (k *keeper) heldEarly(list []*address) bool {
	all := true
	for _, a := range list {
		h := k.held[a]
		if h == nil || !h.early || h.broken != nil {
			all = false
		}
		if h != nil {
			h.early = false
		}
	}
	return all
}

// open opens what is needed to look at addresses; call it locked.
func (k *keeper) open() (err error) {
	if k.netlink == nil {
		k.netlink, err = host.OpenNetlink()
	}
	return err
}

// start opens what is needed to hold addresses, and begins to look after them; call it locked.
func (k *keeper) start() error {
	if err := k.open(); err != nil {
		return err
	}
	if k.watch != nil {
		return nil
	}
	announcer, err := host.OpenAnnouncer()
	if err != nil {
		return err
	}
	watch, err := host.WatchAddresses()
	if err != nil {
		return errors.Join(err, announcer.Close())
	}
	k.announcer, k.watch = announcer, watch
	k.wake, k.ended = make(chan struct{}, 1), make(chan struct{})
	k.running.Go(func() { k.follow(watch) })
	k.running.Go(func() { k.schedule(k.wake, k.ended) })
	return nil
}

// hold adds addresses, announces them and looks after them from then on. Those that are there already are adopted. It says
// how many were done, in their order, before the error.
func (k *keeper) hold(ctx context.Context, list []*address) (done int, err error) {
	var known devices
	for done < len(list) {
		if ctx.Err() != nil {
			return done, context.Cause(ctx)
		}
		some := list[done:min(done+chunk, len(list))]
		if err := k.askForDuplicates(ctx, some); err != nil {
			return done, err
		}
		n, err := k.holdSome(some, &known)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// holdSome is hold for one chunk. The lock keeps it in one piece for those who look after the addresses.
func (k *keeper) holdSome(list []*address, known *devices) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.start(); err != nil {
		return 0, err
	}
	if k.heldEarly(list) {
		return len(list), nil
	}
	wanted := make([]host.Address, 0, len(list))
	found := make([]*host.Device, 0, len(list))
	var failure error
	for _, a := range list {
		address, device, err := a.want.resolve(k.netlink, known)
		if err != nil {
			failure = err
			break
		}
		wanted, found = append(wanted, address), append(found, device)
	}
	errs := k.netlink.AddAddresses(wanted)
	if errs == nil {
		errs = k.activate(list[:len(wanted)], wanted)
	}
	for i, err := range errs {
		if err != nil { // what came after it is taken back
			k.netlink.RemoveAddresses(wanted[i+1:])
			wanted, failure = wanted[:i], err
			break
		}
	}
	batch := make([]*holding, len(wanted))
	for i := range wanted {
		batch[i] = &holding{address: wanted[i], device: found[i]}
		if before := k.held[list[i]]; before != nil {
			batch[i].announced, batch[i].failed, batch[i].repaired = before.announced, before.failed, before.repaired
		}
		k.keep(list[i], batch[i])
		batch[i].restart(time.Now())
	}
	k.announce(batch)
	for i, h := range batch {
		h.advance(list[i].refresh, time.Now())
	}
	k.rouse()
	return len(wanted), failure
}

// drop stops looking after addresses and removes them, wherever on their interfaces they are. It says how many were done,
// in their order, before the error.
func (k *keeper) drop(ctx context.Context, list []*address) (done int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.open(); err != nil {
		return 0, err
	}
	for _, a := range list {
		k.leave(a)
	}
	entries, owner, err := k.entries(list)
	if err != nil {
		return 0, err
	}
	defer k.keepSecondaries(entries)()
	errs := k.netlink.RemoveAddresses(entries)
	done = len(list)
	for i, e := range errs {
		if e != nil && owner[i] < done {
			done, err = owner[i], e
		}
	}
	return done, err
}

// entries are the addresses of the machine that belong to list, and the index in list of each; call it locked. They come in
// an order in which they can be removed quickly: the first address of a subnet, which the kernel would have to replace by
// the next one, after all others.
func (k *keeper) entries(list []*address) (entries []host.Address, owner []int, err error) {
	all, err := k.netlink.ListAddresses(0)
	if err != nil {
		return nil, nil, err
	}
	wanted := make(map[netip.Addr][]int, len(list))
	for i, a := range list {
		wanted[a.want.addr] = append(wanted[a.want.addr], i)
	}
	var known devices
	for _, entry := range slices.Backward(all) {
		for _, i := range wanted[entry.Prefix.Addr()] {
			here, err := list[i].want.here(k.netlink, &known, entry)
			if err != nil {
				return nil, nil, err
			}
			if here {
				entries, owner = append(entries, entry), append(owner, i)
				break
			}
		}
	}
	return entries, owner, nil
}

// here says whether an address of the machine is this resource.
func (p placement) here(n *host.Netlink, known *devices, entry host.Address) (bool, error) {
	index := 0
	if p.device != "" {
		device, err := known.byName(n, p.device)
		if errors.Is(err, host.ErrNoInterface) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		index = device.Index
	}
	const loopback = 1 // in every network namespace
	return p.entryOf(entry, index, loopback), nil
}

// keepSecondaries sees to it that the kernel does not remove other addresses of a subnet together with its first one. The
// returned function undoes that.
func (k *keeper) keepSecondaries(entries []host.Address) (restore func()) {
	var restores []func()
	done := map[int]bool{}
	for _, e := range entries {
		if done[e.Index] || !e.Prefix.Addr().Is4() || e.Secondary() {
			continue
		}
		done[e.Index] = true
		if d, err := k.netlink.DeviceByIndex(e.Index); err == nil {
			restores = append(restores, host.PromoteSecondaries(d.Name))
		}
	}
	return func() {
		for _, restore := range restores {
			restore()
		}
	}
}

// examine says which addresses are there.
func (k *keeper) examine(list []*address) ([]haresources.State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.open(); err != nil {
		return nil, err
	}
	entries, owner, err := k.entries(list)
	if err != nil {
		return nil, err
	}
	states := make([]haresources.State, len(list))
	for i := range states {
		states[i] = haresources.Stopped
	}
	for i, e := range entries {
		states[owner[i]] = haresources.Running
		if e.DADFailed() {
			states[owner[i]] = haresources.Failed
		}
	}
	return states, nil
}

// describe says where an address is and how often it was announced.
func (k *keeper) describe(a *address) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[a]
	if h == nil {
		return ""
	}
	text := fmt.Sprintf("%v on %s, announced by %d frames", h.address.Prefix, h.device.Name, h.announced)
	if h.failed > 0 {
		text += fmt.Sprintf(", %d not sent: %v", h.failed, h.lastError)
	}
	if h.repaired > 0 {
		text += fmt.Sprintf(", put back %d times", h.repaired)
	}
	if !h.device.Ready() {
		text += ", no carrier"
	}
	return text
}

// counters says how often an address was announced and put back; nil while it is not held.
func (k *keeper) counters(a *address) map[string]uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[a]
	if h == nil {
		return nil
	}
	return map[string]uint64{haresources.CountAnnounced: h.announced, haresources.CountUnannounced: h.failed, haresources.CountRepaired: uint64(h.repaired)}
}
