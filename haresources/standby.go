package haresources

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Stander is an agent that can be made ready on a node that does not hold its group, so that a takeover finds less to do: a firewall
// loads its standby rules, conntrackd begins to listen.
type Stander interface {
	Standby(ctx context.Context) error
}

// Foreseer is an agent that can work ahead for its next change without changing anything, such as trying rules. Foresee may run
// while any other method of the agent does.
type Foreseer interface {
	Foresee(ctx context.Context) error
}

// Preparer is an agent that can do a part of Start while the other node still holds the group, since it disturbs nobody there: what
// is left then takes less time, in which nobody answers.
type Preparer interface {
	Prepare(ctx context.Context) error
}

// Transparent is an agent that, once it was prepared, leaves nothing to Start that an address has to wait for: addresses after it on
// the line may answer before it has started.
type Transparent interface {
	Transparent() bool
}

// Muter is an address that can be added before its group is acquired, while the kernel keeps it mute. Standby takes it away again.
// AddMute and Voice are for several of the same BatchKey.
type Muter interface {
	Addr() netip.Addr
	AddMute(ctx context.Context, agents []Agent) error
	// Voice starts those of them that AddMute has added, as soon as their group is acquired.
	Voice(ctx context.Context, agents []Agent) error
}

// Follower is an agent that can be started while the other node still holds the group, as soon as the addresses before it on the line
// are there, mute: a route by a gateway that is reached from one of them. Standby stops it again.
type Follower interface {
	Follow(ctx context.Context) error
}

// Lingerer is an agent whose Stop changes nothing but what this node is left with: it may come after that of everything else, when
// another node has begun to start the group. A firewall goes back to the rules of a standby node, a route to what was there before.
type Lingerer interface {
	Lingers() bool
}

// Standby makes a group ready for its next change: for a takeover by this node, or, where it is held, for being given away. While
// the group is being worked on it does no more than work ahead.
func (m *Manager) Standby(ctx context.Context, name string) error {
	g, err := m.find(name)
	if err != nil {
		return err
	}
	errs := g.foresee(ctx)
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	default:
		return errors.Join(errs...)
	}
	if m.Held(name) {
		return errors.Join(errs...)
	}
	for _, it := range g.snapshot() {
		if a, ok := it.agent.(Stander); ok {
			errs = append(errs, it.unready(a.Standby(ctx)))
		}
	}
	return errors.Join(errs...)
}

// foresee has every agent work ahead that can.
func (g *group) foresee(ctx context.Context) (errs []error) {
	for _, it := range g.snapshot() {
		if a, ok := it.agent.(Foreseer); ok {
			errs = append(errs, it.unready(a.Foresee(ctx)))
		}
	}
	return errs
}

// unready says which resource is not ready, and why; nil for nil.
func (it *item) unready(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("make %s ready: %w", quote(it.spec()), err)
}

// Prepares says whether a part of the start of a group can be done while another node holds it: there is more in it than addresses.
func (m *Manager) Prepares(name string) bool {
	g, err := m.find(name)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(g.snapshot(), func(it *item) bool { return batchKey(it) == "" })
}

// Prepare does what can be done of the start of a group while another node holds it. The error joins those of all resources; none
// of them keeps the group from being acquired. Standby undoes what it did where the group was not acquired after all.
//
// mute, which may be nil, says of an address that the kernel keeps it from answering until the group is acquired. Such addresses are
// added too, as far as nothing stands before them on the line that they would have to wait for.
func (m *Manager) Prepare(ctx context.Context, name string, mute func(netip.Addr) bool) error {
	g, err := m.find(name)
	if err != nil {
		return err
	}
	errs := g.foresee(ctx)
	end, err := g.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if m.Held(name) {
		return nil
	}
	for _, it := range g.snapshot() {
		if a, ok := it.agent.(Preparer); ok {
			errs = append(errs, it.unready(a.Prepare(ctx)))
		}
	}
	err = errors.Join(errs...)
	if err == nil && mute != nil {
		err = g.addMute(ctx, mute)
	}
	g.learn(ctx)
	return err
}

// addMute adds the addresses that may answer as soon as the group is acquired, and are mute until then, and what follows them.
func (g *group) addMute(ctx context.Context, mute func(netip.Addr) bool) error {
	var list []Agent
	add := func() (err error) {
		if len(list) > 0 {
			err = list[0].(Muter).AddMute(ctx, list)
		}
		list = nil
		return err
	}
	for _, it := range g.snapshot() {
		if a, ok := it.agent.(Muter); ok {
			if !mute(a.Addr()) {
				break
			}
			list = append(list, it.agent)
			continue
		}
		if a, ok := it.agent.(Follower); ok {
			if err := add(); err != nil {
				return err
			}
			if a.Follow(ctx) != nil {
				break // its start may still succeed, and then says why not
			}
		}
		if t, ok := it.agent.(Transparent); !ok || !t.Transparent() {
			break
		}
	}
	return add()
}

// voice starts the addresses that were added mute, before anything else: all that they have to wait for is there. What keeps one from
// answering is found by its start in its turn.
func (g *group) voice(ctx context.Context) {
	var list []Agent
	for _, it := range g.snapshot() {
		if _, ok := it.agent.(Muter); ok {
			list = append(list, it.agent)
		}
	}
	if len(list) > 0 {
		_ = list[0].(Muter).Voice(ctx, list)
	}
}

// mutes says which addresses of the group are mute when its release is done.
func (g *group) mutes() func(netip.Addr) bool {
	if g.manager.Mutes == nil {
		return nil
	}
	return g.manager.Mutes(g.definition().Name)
}

// lingering splits items in the order of a release: those that have to be stopped before it is done, and those that need not. An address
// need not where it is mute then, and nothing that has to be stopped stands left of it: until the release is done it answers.
func lingering(items []*item, mute func(netip.Addr) bool) (now, later []*item) {
	last := -1 // that has to be stopped before
	for i, it := range items {
		if !lingers(it) && !staysMute(it, mute) {
			last = i
		}
	}
	for i, it := range items {
		if lingers(it) || i > last {
			later = append(later, it)
		} else {
			now = append(now, it)
		}
	}
	return now, later
}

func lingers(it *item) bool {
	l, ok := it.agent.(Lingerer)
	return ok && l.Lingers()
}

// staysMute says whether an item is an address that is mute when the release is done.
func staysMute(it *item, mute func(netip.Addr) bool) bool {
	a, ok := it.agent.(Muter)
	return ok && mute != nil && mute(a.Addr())
}

// knownFor is how long what a resource said in Prepare is believed when it is started.
const knownFor = 5 * time.Second

// learn asks each item in advance whether it runs, so that its start has not to ask.
func (g *group) learn(ctx context.Context) {
	for _, it := range g.snapshot() {
		if batchKey(it) != "" {
			continue // asks nothing
		}
		if state, err := g.ask(ctx, it); err == nil {
			it.mu.Lock()
			it.known, it.knownUntil = state, time.Now().Add(knownFor)
			it.mu.Unlock()
		}
	}
}

// learnt is what the item said in advance; ok is false when it did not, or too long ago.
func (it *item) learnt() (state State, ok bool) {
	it.mu.Lock()
	defer it.mu.Unlock()
	state, ok = it.known, time.Now().Before(it.knownUntil)
	it.knownUntil = time.Time{}
	return state, ok
}

// Settle waits until nothing of a release lingers, at most for so long.
func (m *Manager) Settle(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, g := range m.everyGroup() {
		if end, err := g.begin(ctx); err == nil {
			end()
		}
	}
}
