package haresources

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of the watching of held resources. Pragmas override each of them.
const (
	DefaultMonitorInterval = 10 * time.Second // between the end of one examination and the next
	DefaultMonitorRestarts = 3                // restarts in place within DefaultMonitorWindow
	DefaultMonitorWindow   = 10 * time.Minute
)

// restartPause is the time between a restart in place that failed and the next one.
const restartPause = time.Second

// errSilent says why a resource is not watched.
var errSilent = errors.New("its status does not say that it runs: it is not watched until it does")

// monitor watches one resource of a held group: by listening to its agent where that reports on its own, else by asking it now
// and then. Between two examinations it is one timer.
type monitor struct {
	group  *group
	it     *item
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	stop      func() // ends the agent's own watching; nil where it has none
	timer     *time.Timer
	ended     bool
	examining bool
	repairing bool
	told      string // what was said last about a status that tells nothing

	answers  bool        // its status has said that it runs, so that the opposite means something; the examiner's own
	restarts []time.Time // within the window; the repairer's own
}

// watch begins to watch the items that are not watched yet.
func (g *group) watch(items []*item) {
	var fresh []*monitor
	g.mu.Lock()
	for _, it := range items {
		if it.monitor == nil {
			m := &monitor{group: g, it: it}
			m.ctx, m.cancel = context.WithCancel(context.Background())
			it.monitor = m
			fresh = append(fresh, m)
		}
	}
	g.mu.Unlock()
	for _, m := range fresh {
		m.begin()
	}
}

// unwatch ends what watch began, for these items. An examination that runs is cut short, and not waited for.
func (g *group) unwatch(items []*item) {
	var old []*monitor
	g.mu.Lock()
	for _, it := range items {
		if it.monitor != nil {
			old = append(old, it.monitor)
			it.monitor = nil
		}
	}
	g.mu.Unlock()
	for _, m := range old {
		m.end()
	}
}

// begin begins to listen, or sets the first examination.
func (m *monitor) begin() {
	m.listen()
	_, listens := m.it.agent.(Watcher)
	if every := m.group.definition().monitorInterval(m.it.resource(), listens); every > 0 {
		m.schedule(min(every, time.Second) + m.spread(min(every, 2*time.Second)))
	}
}

// end ends the monitor.
func (m *monitor) end() {
	m.cancel()
	m.mu.Lock()
	stop := m.stop
	m.ended, m.stop = true, nil
	if m.timer != nil {
		m.timer.Stop()
	}
	m.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// listen lets the agent report on its own, where it can.
func (m *monitor) listen() {
	w, ok := m.it.agent.(Watcher)
	if !ok {
		return
	}
	stop := w.Watch(m.reported)
	m.mu.Lock()
	ended := m.ended
	if !ended {
		m.stop = stop
	}
	m.mu.Unlock()
	if ended {
		stop()
	}
}

// deafen ends listening, so that an agent does not put back what is stopped on purpose.
func (m *monitor) deafen() {
	m.mu.Lock()
	stop := m.stop
	m.stop = nil
	m.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// spread is a part of d by the resource's name, so that the scripts of many groups do not all run at one time.
func (m *monitor) spread(d time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(m.group.definition().Name + "\x00" + m.it.spec()))
	return d / 256 * time.Duration(h.Sum32()%256)
}

// schedule sets the next examination.
func (m *monitor) schedule(after time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return
	}
	if m.timer == nil {
		m.timer = time.AfterFunc(after, m.tick)
	} else {
		m.timer.Reset(after)
	}
}

// tick has the resource examined and sets the next examination: never two at a time.
func (m *monitor) tick() {
	m.mu.Lock()
	again := m.examining
	m.examining = true
	m.mu.Unlock()
	if again {
		return
	}
	m.examine()
	m.mu.Lock()
	m.examining = false
	m.mu.Unlock()
	_, listens := m.it.agent.(Watcher)
	if every := m.group.definition().monitorInterval(m.it.resource(), listens); every > 0 && m.ctx.Err() == nil {
		m.schedule(every)
	}
}

// examine examines the resource once, and does what follows from it.
func (m *monitor) examine() {
	if !m.it.pausedByHand() {
		state, err := m.group.ask(m.ctx, m.it)
		if m.ctx.Err() != nil {
			return
		}
		if why := m.judge(state, err); why != nil {
			m.failed(why)
		}
	}
}

// judge says what is wrong, nil for nothing. A status that could not be asked for proves nothing, unless it took too long.
func (m *monitor) judge(state State, err error) error {
	switch late := new(timeoutError); {
	case state == Running:
		m.answers = true
		m.tell("", nil)
		return nil
	case errors.As(err, late), errors.Is(err, ErrUnkillable):
	case state == Unknown && err != nil:
		m.tell(err.Error(), Event{Phase: End, Err: err})
		return nil
	}
	if !m.answers && m.it.resource().Class == ClassHeartbeat {
		m.tell(errSilent.Error(), Event{Phase: Skip, Err: errSilent})
		return nil
	}
	switch {
	case err != nil:
		return err
	case state == Unknown:
		return &OperationError{m.it.spec(), OpMonitor, errors.New("its status does not say any more that it runs")}
	}
	return &OperationError{m.it.spec(), OpMonitor, fmt.Errorf("it is %s, and nobody stopped it", state)}
}

// tell tells something once, until something else is told.
func (m *monitor) tell(text string, e any) {
	m.mu.Lock()
	before := m.told
	m.told = text
	m.mu.Unlock()
	if ev, ok := e.(Event); ok && text != before {
		m.group.event(m.it, OpMonitor, ev)
	}
}

// reported takes the agent's own word. It does not keep the agent waiting.
func (m *monitor) reported(s State, err error) {
	if m.ctx.Err() != nil {
		return
	}
	m.it.end(s, err)
	m.group.event(m.it, OpWatch, Event{Phase: End, Err: err})
	if (s == Failed || s == Stopped) && !m.it.pausedByHand() {
		if err == nil {
			err = fmt.Errorf("it is %s, and nobody stopped it", s)
		}
		go m.failed(&OperationError{m.it.spec(), OpMonitor, err})
	}
}

// failed restarts the resource in place, as often as it may, and then gives its group up.
func (m *monitor) failed(why error) {
	m.mu.Lock()
	again := m.repairing
	m.repairing = true
	m.mu.Unlock()
	if again {
		return
	}
	defer func() {
		m.mu.Lock()
		m.repairing = false
		m.mu.Unlock()
	}()
	m.group.event(m.it, OpMonitor, Event{Phase: Failure, Err: why})
	for m.mayRestart(time.Now()) {
		m.deafen()
		err := m.group.restart(m.ctx, m.it)
		if m.ctx.Err() == nil {
			m.listen()
		}
		if err == nil || m.ctx.Err() != nil || errors.Is(err, ErrReleased) {
			return
		}
		why = err
		if stuck := (*StuckError)(nil); errors.As(err, &stuck) {
			break
		}
		select {
		case <-time.After(restartPause):
		case <-m.ctx.Done():
			return
		}
	}
	m.group.event(m.it, OpMonitor, Event{Phase: GiveUp, Err: why})
	m.group.manager.tellFailed(m.group.definition().Name, why)
}

// mayRestart counts a restart, and says whether it is still within bounds.
func (m *monitor) mayRestart(now time.Time) bool {
	def, r := m.group.definition(), m.it.resource()
	window := def.duration(PragmaMonitorWindow, r, DefaultMonitorWindow)
	m.restarts = slices.DeleteFunc(m.restarts, func(t time.Time) bool { return now.Sub(t) >= window })
	if len(m.restarts) >= def.countOf(PragmaMonitorRestarts, r, DefaultMonitorRestarts) {
		return false
	}
	m.restarts = append(m.restarts, now)
	return true
}

// restart stops a failed resource, and what stands on it, and starts them again. A Release cuts it short, with ErrReleased.
func (g *group) restart(ctx context.Context, it *item) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer g.acquiring(cancel)()
	end, err := g.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	items := g.snapshot()
	i := slices.Index(items, it)
	g.mu.Lock()
	held := g.held
	g.mu.Unlock()
	if i < 0 || !held || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	again := items[i : i+1]
	if g.definition().carries(it.resource()) {
		again = items[i:]
	}
	down := slices.Clone(again)
	slices.Reverse(down)
	down = slices.DeleteFunc(down, (*item).pausedByHand)
	if err := g.stopAll(ctx, down); err != nil {
		return err
	}
	for _, it := range slices.Backward(down) {
		if err := g.run(ctx, it, OpStart, it.agent.Start); err != nil {
			return err
		}
	}
	return nil
}

// carriers are resources that everything to the right of them stands on.
var carriers = []string{"Filesystem", "drbddisk", "drbdupper", "DRBD", "LVM", "LVM-activate", "Raid1"}

// carries says whether what stands right of a resource is restarted with it.
func (g Group) carries(r Resource) bool {
	switch g.Pragma(PragmaRestartWith, r) {
	case "right":
		return true
	case "alone":
		return false
	}
	return slices.Contains(carriers, r.Name[strings.LastIndex(r.Name, ":")+1:])
}

// monitorInterval is how often a resource is examined, 0 for never: one that reports on its own only where a pragma says so.
func (g Group) monitorInterval(r Resource, listens bool) time.Duration {
	otherwise := DefaultMonitorInterval
	if listens {
		otherwise = 0
	}
	if g.Pragma(PragmaMonitor, r) == "off" {
		return 0
	}
	return g.duration(PragmaMonitor, r, otherwise)
}

// OnFailed has f called when a resource of a held group failed and was not to be repaired in place, from the goroutine that
// found out. The group is left as it is: whoever decides about groups is to release it. Set it before the first Acquire.
func (m *Manager) OnFailed(f func(group string, why error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onFailed = f
}

// tellFailed calls what OnFailed was given.
func (m *Manager) tellFailed(group string, why error) {
	m.mu.Lock()
	f := m.onFailed
	m.mu.Unlock()
	if f != nil {
		f(group, why)
	}
}

// rewatch has the intervals of changed pragmas take effect. What reports on its own goes on doing so.
func (g *group) rewatch(items []*item) {
	for _, it := range items {
		g.mu.Lock()
		m := it.monitor
		g.mu.Unlock()
		_, listens := it.agent.(Watcher)
		if every := g.definition().monitorInterval(it.resource(), listens); m != nil && every > 0 {
			m.schedule(min(every, time.Second) + m.spread(min(every, 2*time.Second)))
		}
	}
}
