package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/host"
)

// watcher is what a manager offers that watches what it holds.
type watcher interface {
	OnFailed(func(group string, why error))
}

// handy is what a manager offers to a person.
type handy interface {
	Place(spec string) (group string, r haresources.Resource, err error)
	ByHand(ctx context.Context, spec string, op haresources.Operation, force bool) (haresources.ResourceStatus, error)
}

// tellHealth has the core told of every group that failed for good.
func (e *engine) tellHealth() {
	if w, ok := e.manager.(watcher); ok {
		w.OnFailed(func(group string, why error) {
			e.culprit(group, why)
			e.in.post(heartbeat.Health{Group: group, Failed: true, Reason: why.Error()})
		})
	}
}

// resetSelf resets this machine, because something on it can neither be stopped nor left to the peer.
func (e *engine) resetSelf(a heartbeat.ResetSelf) {
	e.alarms.raise("reset "+a.Group, "resource group "+a.Group+" cannot be stopped: this machine is reset ("+a.Reason+")")
	reset := e.reset
	if reset == nil {
		return
	}
	go reset("resource group " + a.Group + ": " + a.Reason)
}

// resetMachine ends this machine as on-stop-failure=fence-self wants it.
func (n *node) resetMachine(reason string) {
	e := n.engine
	n.log.Critf("Resetting this machine now: %s", reason)
	if e.journal != nil {
		e.journal.add(JournalEntry{Time: e.clock().Wall, Node: n.config.Node, Level: sevCrit.String(), What: "Resetting this machine", Reason: reason})
		time.Sleep(200 * time.Millisecond) // for the journal and the log to be written
	}
	if err := host.Reboot(); err != nil {
		n.log.Critf("Unable to reset this machine (%v): its resources stay blocked. Reset it by hand", err)
	}
}

// checks runs the check scripts of the configuration, each in a goroutine of its own, and tells the core when their verdict changes.
type checks struct {
	run    func(ctx context.Context, k config.Check) error
	post   func(heartbeat.Unfit)
	log    *Log
	alarms *alarms
	ctx    context.Context
	tasks  sync.WaitGroup

	mu      sync.Mutex
	running map[string]checkRun
	bad     map[string]string // reasons, by name, of those that hand over
}

// checkRun is one check script that is being run now and then.
type checkRun struct {
	is     config.Check
	cancel context.CancelFunc
}

// newChecks makes the runner; ctx ends it.
func newChecks(ctx context.Context, in *inbox, log *Log, a *alarms) *checks {
	return &checks{post: func(u heartbeat.Unfit) { in.post(u) }, log: log, alarms: a, ctx: ctx, running: map[string]checkRun{}, bad: map[string]string{}}
}

// apply makes the checks of a configuration the ones that run. Those that did not change go on.
func (c *checks) apply(list []config.Check) {
	c.mu.Lock()
	for name, r := range c.running {
		if !slices.ContainsFunc(list, func(k config.Check) bool { return same(k, r.is) }) {
			r.cancel()
			delete(c.running, name)
			delete(c.bad, name)
			c.alarms.clear("check " + name)
		}
	}
	verdict := c.verdict()
	for _, k := range list {
		if _, runs := c.running[k.Name]; !runs {
			ctx, cancel := context.WithCancel(c.ctx)
			c.running[k.Name] = checkRun{k, cancel}
			c.tasks.Go(func() { c.watch(ctx, k) })
		}
	}
	c.mu.Unlock()
	c.post(verdict)
}

// same compares checks, wherever they stand.
func same(a, b config.Check) bool {
	a.Line, b.Line = 0, 0
	return a == b
}

// verdict is what all checks together say; call it locked.
func (c *checks) verdict() heartbeat.Unfit {
	var reasons []string
	for _, name := range slices.Sorted(maps.Keys(c.bad)) {
		reasons = append(reasons, c.bad[name])
	}
	return heartbeat.Unfit{Reason: strings.Join(reasons, "; ")}
}

// watch runs one check until ctx ends: never two at a time, and none is made up for.
func (c *checks) watch(ctx context.Context, k config.Check) {
	count := agent.Counter{Rise: k.Rise, Fall: k.Fall}
	ticker := time.NewTicker(k.Interval)
	defer ticker.Stop()
	for {
		err := c.run(ctx, k)
		if ctx.Err() != nil {
			return
		}
		if count.Add(err == nil) {
			c.changed(ctx, k, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// changed tells that a check's verdict has changed. err is its last result.
func (c *checks) changed(ctx context.Context, k config.Check, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		c.alarms.clear("check " + k.Name)
		delete(c.bad, k.Name)
	} else {
		text := fmt.Sprintf("check %s has failed %d times in a row: %v", k.Name, k.Fall, err)
		c.alarms.raise("check "+k.Name, text)
		if !k.Tell {
			c.bad[k.Name] = text
		}
	}
	c.post(c.verdict())
}

// check runs one check script.
func (r *runner) check(ctx context.Context, k config.Check) error {
	return agent.RunCheck(ctx, *r.env.Load(), k.Path, k.Timeout, func(line string) { r.log.Debugf("check %s: %s", k.Name, line) })
}

// answerResource starts, stops or examines one resource for a person.
func (e *engine) answerResource(ctx context.Context, who caller, r Request) Reply {
	m, ok := e.manager.(handy)
	if !ok {
		return Reply{Error: "this daemon has no resources"}
	}
	op := haresources.Operation(r.Which)
	if op != haresources.OpMonitor {
		e.log.Noticef("Resource %s: %s asked for by %s", r.Name, op, who)
	}
	s, err := m.ByHand(ctx, r.Name, op, r.Level > 0)
	return Reply{OK: err == nil, Error: sentence(err), Value: s.State.String(), Resource: &s}
}

// journalOutput keeps what scripts write, with resource, operation and how long it had run by then, and how each operation ended.
func (e *engine) journalOutput(ev haresources.Event) {
	if e.journal == nil {
		return
	}
	entry := JournalEntry{Time: time.Now(), Node: e.conf().Node, Generation: e.boot.Generation, Level: sevInfo.String(),
		Group: ev.Group, Resource: ev.Resource, Operation: string(ev.Operation), TookMS: ev.Took.Milliseconds()}
	switch {
	case ev.Phase == haresources.Output:
		entry.What = ev.Line
	case ev.Phase == haresources.End && (ev.Operation == haresources.OpStart || ev.Operation == haresources.OpStop), ev.Err != nil && ev.Phase != haresources.Skip:
		entry.What = fmt.Sprintf("%s %s: %s", ev.Resource, ev.Operation, ev.Phase)
		if ev.Err != nil {
			entry.Level, entry.Reason = sevError.String(), ev.Err.Error()
		}
	default:
		return
	}
	e.journal.add(entry)
}
