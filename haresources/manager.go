package haresources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Defaults of a Manager.
const (
	DefaultRetries    = 10          // HA_STOPRETRYMAX of Linux-HA
	DefaultRetryPause = time.Second // as Linux-HA
	DefaultParallel   = 16
)

// slotTime is how long a group whose scripts are being started counts as one of DefaultParallel. A group that takes longer
// waits for something else than this machine's processors, and must not hold up the others.
const slotTime = 50 * time.Millisecond

// lingerPause is how long what is stopped after a Release is left alone. The other node takes over in that time, told by a message that this
// machine sends, and maybe by way of it: neither is to wait for its processors while they take a ruleset apart.
const lingerPause = 25 * time.Millisecond

// Manager starts and stops the groups of a table. Its methods may be called from several goroutines: operations on one
// group happen one after the other, those on different groups independently of each other.
type Manager struct {
	// Retries is how often a failed stop is tried again; 0 or less is for ever. A pragma overrides it. Set it before use.
	Retries int
	// RetryPause is the time between two tries of a stop. A pragma overrides it. Set it before use.
	RetryPause time.Duration
	// Mutes tells of a group's addresses which of them the kernel keeps mute from when Release has returned until the next Acquire; a nil
	// function stands for none. Set it before use; nil is for no group.
	Mutes func(group string) func(netip.Addr) bool

	open   Opener
	notify func(Event)
	slots  chan struct{}

	reloading chan struct{} // one Reload at a time

	mu       sync.Mutex
	table    Table
	groups   map[string]*group
	onFailed func(group string, why error)
}

// New opens an agent for every resource of the table, and starts nothing. notify is called for everything that is done to a
// resource, from the goroutine that does it: it must not block; nil drops the events. The error holds one line for each
// resource that cannot be opened.
func New(t Table, open Opener, notify func(Event)) (*Manager, error) {
	if notify == nil {
		notify = func(Event) {}
	}
	m := &Manager{
		Retries: DefaultRetries, RetryPause: DefaultRetryPause,
		open: open, notify: notify, slots: make(chan struct{}, DefaultParallel), reloading: make(chan struct{}, 1), groups: map[string]*group{},
	}
	var errs []error
	for _, def := range t.Groups {
		g, err := m.openGroup(def)
		errs = append(errs, err)
		m.groups[def.Name] = g
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.table = t
	return m, nil
}

// openGroup makes a group with an agent for each resource.
func (m *Manager) openGroup(def Group) (*group, error) {
	g := &group{manager: m, def: def, turn: make(chan struct{}, 1)}
	var errs []error
	for _, r := range def.Resources {
		item, err := m.openItem(def, r)
		errs = append(errs, err)
		g.items = append(g.items, item)
	}
	return g, errors.Join(errs...)
}

// openItem makes the agent of one resource.
func (m *Manager) openItem(def Group, r Resource) (*item, error) {
	a, err := m.open(r)
	if err != nil {
		return nil, fmt.Errorf("%d:%d: %s: %w", r.Line, r.Col, quote(r.Spec), err)
	}
	it := &item{place: r, agent: a, turn: make(chan struct{}, 1), status: ResourceStatus{Spec: r.Spec}}
	return it, it.configure(def)
}

// configure hands the pragmas of its line to the agent.
func (it *item) configure(def Group) error {
	c, ok := it.agent.(Configurer)
	if !ok {
		return nil
	}
	r := it.resource()
	if err := c.Configure(func(key string) string { return def.Pragma(key, r) }); err != nil {
		return fmt.Errorf("%d:%d: %s: %w", r.Line, r.Col, quote(r.Spec), err)
	}
	return nil
}

// ErrNoGroup is in the error of what is asked of a group that the table does not have, or no longer has.
var ErrNoGroup = errors.New("no group")

// find is the group of that name.
func (m *Manager) find(name string) (*group, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.groups[name]; g != nil {
		return g, nil
	}
	return nil, fmt.Errorf("%w %s", ErrNoGroup, quote(name))
}

// everyGroup lists the groups as of now, also those that a Reload has removed and that are not released yet.
func (m *Manager) everyGroup() []*group {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.groups))
}

// Table is what the Manager works from.
func (m *Manager) Table() Table {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.table
}

// Acquire starts the resources of a group from left to right; those that run already are left alone. If one cannot be
// started, the whole group is stopped again and the error, an *OperationError, names it; if that failed too, the error is
// also a *StuckError. A Release of the same group cuts Acquire short, with ErrReleased. What lingers of a Release before it is
// cut short.
func (m *Manager) Acquire(ctx context.Context, name string) error {
	g, err := m.find(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer g.acquiring(cancel)()
	g.linger(nil)
	end, err := g.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if ctx.Err() != nil {
		return context.Cause(ctx) // nothing was touched
	}
	return g.acquire(ctx)
}

// slot waits until fewer than the allowed number of groups start their scripts, or ctx ends. The returned function gives the
// place back, if time has not already.
func (m *Manager) slot(ctx context.Context) func() {
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return func() {}
	}
	leave := sync.OnceFunc(func() { <-m.slots })
	timer := time.AfterFunc(slotTime, leave)
	return func() {
		timer.Stop()
		leave()
	}
}

// Release stops the resources of a group from right to left. A stop that fails is tried again; where that does not help
// and the resource may still run, the rest of the group is left as it is and the error is a *StuckError. A running Acquire
// of the group is cut short first. Resources that are a Lingerer are stopped last, after Release has returned, and so are addresses
// that are mute by then: see Settle.
func (m *Manager) Release(ctx context.Context, name string) error {
	g, err := m.find(name)
	if err != nil {
		return err
	}
	g.cutShort(ErrReleased)
	end, err := g.begin(ctx)
	if err != nil {
		return &StuckError{Group: name, Resource: name, Err: err}
	}
	later, err := g.release(ctx)
	if err != nil {
		end()
		return err
	}
	m.forget(g)
	if len(later) == 0 {
		end()
		return nil
	}
	lasting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	g.linger(cancel)
	go func() {
		defer end()
		defer cancel(nil)
		select {
		case <-time.After(lingerPause):
		case <-lasting.Done():
		}
		_ = g.stopAll(lasting, later) // told as an event, shown in status, and nobody waits for it
	}()
	return nil
}

// forget drops a group that a Reload has removed, once it is released.
func (m *Manager) forget(g *group) {
	name := g.definition().Name
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, listed := m.table.Group(name); !listed && m.groups[name] == g {
		delete(m.groups, name)
	}
}

// Examine asks whether anything of a group runs here, in whatever state. The error names the first resource that could not
// be asked, or is ErrUnsure where one was asked and told nothing; running is true then only if another one certainly runs.
func (m *Manager) Examine(ctx context.Context, name string) (running bool, err error) {
	g, err := m.find(name)
	if err != nil {
		return false, err
	}
	end, err := g.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	return g.examine(ctx)
}

// ErrUnsure says that a resource of a group does not say whether it runs, and that nothing else of the group does.
var ErrUnsure = errors.New("a resource does not say whether it runs")

// Announce tells the network again where the addresses of a group are. The error joins those of all its resources.
func (m *Manager) Announce(ctx context.Context, name string) error {
	g, err := m.find(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, it := range g.snapshot() {
		if a, ok := it.agent.(Announcer); ok {
			if err := a.Announce(ctx); err != nil {
				errs = append(errs, fmt.Errorf("announce %s: %w", quote(it.spec()), err))
			}
		}
	}
	return errors.Join(errs...)
}

// Resources is the state of each resource of a group, in the order of the line; nil when there is no such group. It waits
// for nothing.
func (m *Manager) Resources(name string) []ResourceStatus {
	g, err := m.find(name)
	if err != nil {
		return nil
	}
	var all []ResourceStatus
	for _, it := range g.snapshot() {
		all = append(all, it.report())
	}
	return all
}

// Line is the line of a group as it is in force, "" where there is no such group.
func (m *Manager) Line(name string) string {
	g, err := m.find(name)
	if err != nil {
		return ""
	}
	return g.definition().String()
}

// Held says whether the last thing done to a group was to acquire it, with success.
func (m *Manager) Held(name string) bool {
	g, err := m.find(name)
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// closePatience is how long Close waits for what lingers of a Release.
const closePatience = 10 * time.Second

// Close ends everything that the agents do on their own, such as announcing. What runs keeps running. No other method may
// be called afterwards.
func (m *Manager) Close() error {
	m.Settle(closePatience)
	m.mu.Lock()
	groups := m.groups
	m.groups = map[string]*group{}
	m.mu.Unlock()
	var errs []error
	for _, g := range groups {
		g.linger(nil)
		g.unwatch(g.snapshot())
		for _, it := range g.snapshot() {
			if c, ok := it.agent.(interface{ Close() error }); ok {
				errs = append(errs, c.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// ResourceStatus is one resource as `status` shows it.
type ResourceStatus struct {
	Spec       string    `json:"spec"`
	State      State     `json:"state"`
	Since      time.Time `json:"since"`                 // when the state was entered; zero while unknown
	Doing      Operation `json:"doing,omitempty"`       // the operation that runs now
	DoingSince time.Time `json:"doing_since,omitzero"`  // since when
	LastError  string    `json:"last_error,omitempty"`  // what went wrong last; cleared by success
	Detail     string    `json:"detail,omitempty"`      // what the agent has to say
	LastLine   string    `json:"last_output,omitempty"` // the last line that its script wrote

	Counters map[string]uint64 `json:"counters,omitempty"` // what the agent has counted
}

// item is one resource of a group with its agent.
type item struct {
	agent   Agent
	turn    chan struct{} // holds one token while the agent is asked to do something
	monitor *monitor      // nil while nobody watches it; guarded by the group's mutex

	mu         sync.Mutex
	place      Resource
	status     ResourceStatus
	known      State     // what Prepare learned,
	knownUntil time.Time // and until when that is believed
	paused     bool      // stopped by hand: nobody starts it again before it is started by hand, or its group is acquired
}

// claim waits until nobody else has the agent do something; the returned function ends the claim.
func (it *item) claim(ctx context.Context) (free func(), err error) {
	select {
	case it.turn <- struct{}{}:
		return func() { <-it.turn }, nil
	default:
	}
	select {
	case it.turn <- struct{}{}:
		return func() { <-it.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// claimAll is claim for several items.
func claimAll(ctx context.Context, items []*item) (free func(), err error) {
	var held []func()
	free = func() {
		for _, f := range held {
			f()
		}
	}
	for _, it := range items {
		f, err := it.claim(ctx)
		if err != nil {
			free()
			return nil, err
		}
		held = append(held, f)
	}
	return free, nil
}

// pause notes whether the resource was stopped by hand.
func (it *item) pause(byHand bool) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.paused = byHand
}

// pausedByHand tells whether the resource was stopped by hand.
func (it *item) pausedByHand() bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.paused
}

// resource is what the item is on its line.
func (it *item) resource() Resource {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.place
}

// spec is the item's word on its line.
func (it *item) spec() string { return it.resource().Spec }

// report is a copy of the status for display.
func (it *item) report() ResourceStatus {
	it.mu.Lock()
	s := it.status
	it.mu.Unlock()
	if d, ok := it.agent.(Describer); ok && s.State == Running {
		s.Detail = d.Describe()
	}
	if c, ok := it.agent.(Counter); ok {
		s.Counters = c.Counters()
	}
	return s
}

// begin notes that an operation runs.
func (it *item) begin(op Operation) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.status.Doing, it.status.DoingSince, it.status.LastLine = op, time.Now(), ""
}

// end notes the state after an operation.
func (it *item) end(s State, err error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.status.Doing, it.status.DoingSince = "", time.Time{}
	if it.status.State != s {
		it.status.State, it.status.Since = s, time.Now()
	}
	it.status.LastError = ""
	if err != nil {
		it.status.LastError = err.Error()
	}
}

// line notes a line of output.
func (it *item) line(text string) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.status.LastLine = text
}

// indexOf finds a resource among items.
func indexOf(items []*item, r Resource) int {
	return slices.IndexFunc(items, func(it *item) bool { return it.resource().Same(r) })
}
