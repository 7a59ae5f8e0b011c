package haresources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Reload changes the Manager to another table. Resources that stand in both are never touched, wherever they stand on their
// line. In groups that are held, resources that are gone are stopped and then new ones started; what is not held is only
// replaced. A group that got another name (Difference.Renamed) is treated in the same way, under its new name; any other removed group that
// is held stays known until it is released.
//
// When a new resource cannot be opened nothing is changed, nor while a Reload before this one still works. Otherwise the error joins the
// OperationErrors and StuckErrors of what could not be started or stopped. Scripts of changed groups are waited for until patience is over;
// then the error names the groups that are still being changed: that goes on, ctx or not, until it is done or the group is released, and
// what becomes of it is told as events.
func (m *Manager) Reload(ctx context.Context, t Table, patience time.Duration) (Difference, error) {
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case m.reloading <- struct{}{}:
	case <-wait.C:
		return Difference{}, errors.New("a reload before this one still works on its groups: `heartbeat status` shows on which; try again when it is done")
	case <-ctx.Done():
		return Difference{}, context.Cause(ctx)
	}
	d := Diff(m.Table(), t)
	updates, err := m.updates(t, d)
	if err != nil {
		<-m.reloading
		return Difference{}, err
	}
	m.mu.Lock()
	m.table = t
	for _, name := range d.Added {
		m.groups[name] = updates[name].target
	}
	m.mu.Unlock()
	work := m.carryOut(context.WithoutCancel(ctx), t, d, updates)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work.all.Wait()
		for _, name := range d.Removed {
			m.dropIdle(name)
		}
		<-m.reloading
	}()
	select {
	case <-done:
	case <-wait.C:
	}
	return d, work.outcome()
}

// reloadWork is what a Reload has to do, group by group.
type reloadWork struct {
	all  sync.WaitGroup
	mu   sync.Mutex
	busy map[string]bool // the groups that are not done
	errs []error
}

// outcome is what went wrong so far, and what is not done.
func (w *reloadWork) outcome() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := slices.Clone(w.errs)
	for _, name := range slices.Sorted(maps.Keys(w.busy)) {
		errs = append(errs, fmt.Errorf("group %s is still being changed: its scripts take long", quote(name)))
	}
	return errors.Join(errs...)
}

// carryOut begins to change all groups, side by side.
func (m *Manager) carryOut(ctx context.Context, t Table, d Difference, updates map[string]*update) *reloadWork {
	w := &reloadWork{busy: map[string]bool{}}
	for _, def := range t.Groups {
		w.busy[def.Name] = true
	}
	for _, def := range t.Groups {
		u := updates[def.Name]
		do := u.restate
		if slices.Contains(d.Changed, def.Name) || slices.Contains(d.Added, def.Name) {
			do = func() error { return u.apply(ctx) }
		}
		w.all.Go(func() {
			err := do()
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.busy, def.Name)
			if err != nil {
				w.errs = append(w.errs, err)
			}
		})
	}
	return w
}

// dropIdle forgets a removed group that is neither held nor in motion.
func (m *Manager) dropIdle(name string) {
	g, err := m.find(name)
	if err != nil {
		return
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
		if !m.Held(name) {
			m.forget(g)
		}
	default:
	}
}

// update is what a Reload does to one group.
type update struct {
	def    Group
	fresh  map[int]*item // opened agents of new resources, by index in def
	source *group        // where the others are
	target *group        // source itself, unless the group has another name now
}

// updates opens the agents of all new resources, and changes nothing.
func (m *Manager) updates(t Table, d Difference) (map[string]*update, error) {
	all := map[string]*update{}
	var errs []error
	for _, def := range t.Groups {
		u := &update{def: def, fresh: map[int]*item{}, source: &group{}}
		name := def.Name
		for old, heir := range d.Renamed {
			if heir == name {
				name = old
			}
		}
		if g, err := m.find(name); err == nil {
			u.source = g
		}
		u.target = u.source
		if slices.Contains(d.Added, def.Name) {
			u.target = &group{manager: m, turn: make(chan struct{}, 1), def: def}
			u.target.turn <- struct{}{} // nobody acquires or releases it before it is what it is to be
		}
		known := u.source.snapshot()
		for i, r := range def.Resources {
			if k := indexOf(known, r); k >= 0 {
				known = slices.Delete(known, k, k+1)
				continue
			}
			it, err := m.openItem(def, r)
			errs = append(errs, err)
			u.fresh[i] = it
		}
		all[def.Name] = u
	}
	return all, errors.Join(errs...)
}

// restate notes where a group that did not change stands now, and has its agents look again at what they are made of. One that is in motion,
// for as long as its scripts take, is not waited for: its agents do so when it is at rest.
func (u *update) restate() error {
	g := u.source
	items := g.snapshot()
	for i, r := range u.def.Resources {
		items[i].move(r)
	}
	g.replace(u.def, items)
	again := func(failed func(*item, error)) {
		for _, it := range items {
			if err := it.configure(u.def); err != nil {
				failed(it, err)
			}
		}
		<-g.turn
	}
	var errs []error
	select {
	case g.turn <- struct{}{}:
		again(func(_ *item, err error) { errs = append(errs, err) })
	default:
		go func() {
			g.turn <- struct{}{}
			again(func(it *item, err error) { g.event(it, OpWatch, Event{Phase: End, Err: err}) })
		}()
	}
	return errors.Join(errs...)
}

// apply carries the update out. A Release of the group cuts its starts short.
func (u *update) apply(ctx context.Context) error {
	starts, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer u.target.acquiring(cancel)()
	if u.target != u.source {
		defer func() { <-u.target.turn }()
	}
	if u.source.turn != nil {
		end, err := u.source.begin(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	items, gone := u.sort()
	var errs []error
	for _, it := range items {
		errs = append(errs, it.configure(u.def))
	}
	g := u.source
	g.mu.Lock()
	held := g.held
	g.mu.Unlock()
	if held {
		g.unwatch(gone)
		slices.Reverse(gone)
		errs = append(errs, g.stopAll(ctx, gone))
	}
	closeAll(gone)
	if g != u.target {
		u.hand(items, held)
	}
	u.target.replace(u.def, items)
	if held {
		if g != u.target {
			u.target.watch(u.kept(items))
		}
		errs = append(errs, u.startFresh(starts, items))
		u.target.rewatch(items)
	}
	return errors.Join(errs...)
}

// kept are the items that are not new.
func (u *update) kept(items []*item) []*item {
	var kept []*item
	for i, it := range items {
		if u.fresh[i] == nil {
			kept = append(kept, it)
		}
	}
	return kept
}

// hand gives everything to the group of another name.
func (u *update) hand(items []*item, held bool) {
	u.source.unwatch(items) // whoever watches them is to work for the group that they are in
	u.source.mu.Lock()
	u.source.items, u.source.held = nil, false
	u.source.mu.Unlock()
	u.target.mu.Lock()
	u.target.held = held
	u.target.mu.Unlock()
}

// sort puts old and new items into the new order, and finds those that are not in it.
func (u *update) sort() (items, gone []*item) {
	gone = u.source.snapshot()
	for i, r := range u.def.Resources {
		it := u.fresh[i]
		if it == nil {
			k := indexOf(gone, r)
			it = gone[k]
			it.move(r)
			gone = slices.Delete(gone, k, k+1)
		}
		items = append(items, it)
	}
	return items, gone
}

// startFresh starts the new items, left to right. One that fails is stopped again and leaves the others alone.
func (u *update) startFresh(ctx context.Context, items []*item) error {
	var fresh, started []*item
	for i, it := range items {
		if u.fresh[i] != nil {
			fresh = append(fresh, it)
		}
	}
	var errs []error
	for len(fresh) > 0 {
		n, err := u.target.startUnit(ctx, fresh[:unit(fresh)])
		started, fresh = append(started, fresh[:n]...), fresh[n:]
		if err != nil {
			errs = append(errs, err, u.target.stop(context.WithoutCancel(ctx), fresh[0]))
			fresh = fresh[1:]
		}
	}
	u.target.watch(started)
	return errors.Join(errs...)
}

// replace changes what the group consists of.
func (g *group) replace(def Group, items []*item) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.def, g.items = def, items
}

// move notes where the resource stands now, and how it is spelled.
func (it *item) move(r Resource) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.place, it.status.Spec = r, r.Spec
}

// closeAll ends what agents do on their own.
func closeAll(items []*item) {
	for _, it := range items {
		if c, ok := it.agent.(interface{ Close() error }); ok {
			_ = c.Close() // their resource is stopped: there is nothing left that could be lost
		}
	}
}
