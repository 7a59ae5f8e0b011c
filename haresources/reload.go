package haresources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// carryOut begins to change all groups, side by side; those that give resources to each other, together.
func (m *Manager) carryOut(ctx context.Context, t Table, d Difference, updates map[string]*update) *reloadWork {
	w := &reloadWork{busy: map[string]bool{}}
	for _, def := range t.Groups {
		w.busy[def.Name] = true
	}
	done := func(names []string, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, name := range names {
			delete(w.busy, name)
		}
		if err != nil {
			w.errs = append(w.errs, err)
		}
	}
	for _, c := range m.changes(t, d, updates) {
		w.all.Go(func() { done(c.names(), c.apply(ctx)) })
	}
	for _, def := range t.Groups {
		if !slices.Contains(d.Changed, def.Name) && !slices.Contains(d.Added, def.Name) {
			w.all.Go(func() { done([]string{def.Name}, updates[def.Name].restate()) })
		}
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
		if !m.Held(name) && !g.mayRun() {
			m.forget(g)
		}
	default:
	}
}

// mayRun says whether something of a group was last seen to run, or could not be stopped.
func (g *group) mayRun() bool {
	return slices.ContainsFunc(g.snapshot(), func(it *item) bool {
		it.mu.Lock()
		defer it.mu.Unlock()
		return it.status.State == Running || it.status.State == Failed
	})
}

// update is what a Reload does to one group.
type update struct {
	def    Group
	fresh  map[int]*item  // opened agents of resources that are new on the line, by index in def
	source *group         // where the others are
	target *group         // source itself, unless the group has another name now
	from   map[int]*group // which group gives a resource that is new on the line, by index in def
	held   bool           // by this node, while it is applied
}

// updates opens the agents of all new resources, and changes nothing.
func (m *Manager) updates(t Table, d Difference) (map[string]*update, error) {
	all := map[string]*update{}
	var errs []error
	for _, def := range t.Groups {
		u := &update{def: def, fresh: map[int]*item{}, source: &group{}, from: map[int]*group{}}
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
			for _, move := range d.Moved {
				if giver, err := m.find(move.From); err == nil && move.To == def.Name && move.Resource.Same(r) {
					u.from[i] = giver
				}
			}
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

// change is what a Reload does to groups that give resources to each other; most often that is one group, which gives none.
type change struct {
	updates []*update
	givers  []*group // groups that are gone, and of which others have resources now
}

// changes sorts the updates of all changed groups into those that can be carried out side by side.
func (m *Manager) changes(t Table, d Difference, updates map[string]*update) (all []*change) {
	of := map[string]*change{} // by new names, and by old ones of groups that are gone
	for _, def := range t.Groups {
		if slices.Contains(d.Changed, def.Name) || slices.Contains(d.Added, def.Name) {
			of[def.Name] = &change{updates: []*update{updates[def.Name]}}
		}
	}
	for _, move := range d.Moved {
		from := move.From
		if heir := d.Renamed[from]; heir != "" {
			from = heir
		}
		if of[from] == nil {
			g, err := m.find(from)
			if err != nil {
				continue
			}
			of[from] = &change{givers: []*group{g}}
		}
		a, b := of[move.To], of[from]
		if a == b {
			continue
		}
		a.updates, a.givers = append(a.updates, b.updates...), append(a.givers, b.givers...)
		for name, c := range of {
			if c == b {
				of[name] = a
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if !slices.Contains(all, of[name]) {
			all = append(all, of[name])
		}
	}
	return all
}

// names are the new names of the groups.
func (c *change) names() (names []string) {
	for _, u := range c.updates {
		names = append(names, u.def.Name)
	}
	return names
}

// sources are the groups as they are now, in an order that is the same for everybody who needs several of them.
func (c *change) sources() []*group {
	groups := slices.Clone(c.givers)
	for _, u := range c.updates {
		if u.source.turn != nil {
			groups = append(groups, u.source)
		}
	}
	slices.SortFunc(groups, func(a, b *group) int { return strings.Compare(a.definition().Name, b.definition().Name) })
	return groups
}

// apply carries the change out: what is gone is stopped before anything is started. A Release of a group cuts its starts short.
func (c *change) apply(ctx context.Context) error {
	starts := make([]context.Context, len(c.updates))
	for i, u := range c.updates {
		limited, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer u.target.acquiring(cancel)()
		if u.target != u.source {
			defer func() { <-u.target.turn }()
		}
		starts[i] = limited
	}
	for _, g := range c.sources() {
		end, err := g.begin(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	for _, u := range c.updates {
		u.held = u.source.isHeld()
		for _, giver := range u.from {
			u.held = u.held || u.source.turn == nil && giver.isHeld() // a part of a group that is held
		}
	}
	items, taken := make([][]*item, len(c.updates)), map[*item]bool{}
	for i, u := range c.updates {
		items[i] = u.take(taken)
	}
	var errs []error
	for i, u := range c.updates {
		for _, it := range items[i] {
			errs = append(errs, it.configure(u.def))
		}
		errs = append(errs, u.stopGone(ctx, items[i], taken))
	}
	for _, g := range c.givers {
		g.give(taken)
	}
	for i, u := range c.updates {
		if u.source != u.target {
			u.source.give(taken)
			u.source.hold(false)
			u.target.hold(u.held)
		}
		u.target.replace(u.def, items[i])
	}
	var all sync.WaitGroup
	failures := make([]error, len(c.updates))
	for i, u := range c.updates {
		if u.held {
			all.Go(func() {
				u.target.watch(u.unwatched(items[i]))
				failures[i] = u.startFresh(starts[i], items[i])
				u.target.rewatch(items[i])
			})
		}
	}
	all.Wait()
	return errors.Join(append(errs, failures...)...)
}

// isHeld says whether the last thing done to the group was to acquire it, with success.
func (g *group) isHeld() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// hold notes whether the group is held.
func (g *group) hold(held bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = held
}

// give takes items out of the group that are another one's now.
func (g *group) give(taken map[*item]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.items = slices.DeleteFunc(slices.Clone(g.items), func(it *item) bool { return taken[it] })
}

// take collects the items of the new line: those that stood on it, those that a held group gives to a held one and that are not touched
// either, and new ones. What is not new is noted as taken.
func (u *update) take(taken map[*item]bool) (items []*item) {
	known := u.source.snapshot()
	for i, r := range u.def.Resources {
		it := u.fresh[i]
		if it == nil {
			k := indexOf(known, r)
			it = known[k]
			known = slices.Delete(known, k, k+1)
		}
		if giver := u.from[i]; giver != nil && u.held && giver.isHeld() {
			have := slices.DeleteFunc(giver.snapshot(), func(it *item) bool { return taken[it] })
			if k := indexOf(have, r); k >= 0 {
				closeAll([]*item{it})
				delete(u.fresh, i)
				it = have[k]
				giver.unwatch([]*item{it})
			}
		}
		if u.fresh[i] == nil {
			it.move(r)
			taken[it] = true
			if u.source != u.target {
				u.source.unwatch([]*item{it}) // whoever watches it is to work for the group that it is in
			}
		}
		items = append(items, it)
	}
	return items
}

// stopGone stops what is on no line any more.
func (u *update) stopGone(ctx context.Context, items []*item, taken map[*item]bool) error {
	gone := slices.DeleteFunc(u.source.snapshot(), func(it *item) bool { return taken[it] || slices.Contains(items, it) })
	var err error
	if u.held {
		u.source.unwatch(gone)
		slices.Reverse(gone)
		err = u.source.stopAll(ctx, gone)
	}
	closeAll(gone)
	return err
}

// unwatched are the items that came from another group, and are to be watched on.
func (u *update) unwatched(items []*item) (list []*item) {
	for i, it := range items {
		if u.fresh[i] == nil && (u.from[i] != nil || u.source != u.target) && !it.pausedByHand() {
			list = append(list, it)
		}
	}
	return list
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
