package daemon

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
)

// manager is what the workers need of *haresources.Manager.
type manager interface {
	Acquire(ctx context.Context, group string) error
	Release(ctx context.Context, group string) error
	Examine(ctx context.Context, group string) (running bool, err error)
	Announce(ctx context.Context, group string) error
	Resources(group string) []haresources.ResourceStatus
}

// groups carries out what the core wants done to resource groups: one worker for each group in motion, in the order asked
// for, and a Release cancels an Acquire that is still running. Only the loop calls its methods.
type groups struct {
	manager manager
	hooks   *hookQueues
	culprit func(group string, err error)            // is told why an Acquire failed; nil: nobody is
	mute    func(group string) func(netip.Addr) bool // which addresses the kernel keeps mute until the group is acquired; nil for none
	in      *inbox
	log     *Log

	ctx    context.Context // ends when the daemon must end whatever scripts do
	calm   context.Context // ends when nothing more is to be made ready for later
	hurry  context.CancelFunc
	queues map[string]*groupQueue
	tasks  sync.WaitGroup

	mu       sync.Mutex
	prepared map[string]int // how often each group was prepared
}

// groupQueue is the work of one group.
type groupQueue struct {
	running heartbeat.Action
	cancel  context.CancelCauseFunc
	waiting []heartbeat.Action
}

// newGroups makes workers for a manager, without hooks; ctx ends them.
func newGroups(ctx context.Context, m manager, in *inbox, log *Log) *groups {
	g := &groups{manager: m, hooks: newHookQueues(ctx, nil, log), in: in, log: log, ctx: ctx, queues: map[string]*groupQueue{}, prepared: map[string]int{}}
	g.calm, g.hurry = context.WithCancel(ctx)
	return g
}

// settlePatience is how long the end waits for what lingers of the last releases.
const settlePatience = 10 * time.Second

// end waits for everything that still works; the loop has ended.
func (g *groups) end() {
	g.hurry()
	g.tasks.Wait()
	if m, ok := g.manager.(interface{ Settle(time.Duration) }); ok {
		m.Settle(settlePatience)
	}
}

// do queues one action for its group and cancels what it supersedes.
func (g *groups) do(group string, a heartbeat.Action) {
	q := g.queues[group]
	if q == nil {
		q = &groupQueue{}
		g.queues[group] = q
	}
	_, isRelease := a.(heartbeat.Release)
	_, isAcquire := a.(heartbeat.Acquire)
	switch q.running.(type) {
	case heartbeat.Acquire:
		if isRelease {
			q.cancel(haresources.ErrReleased)
		}
	case heartbeat.Prepare:
		if isRelease || isAcquire {
			q.cancel(errSuperseded)
		}
	}
	q.waiting = append(q.waiting, a)
	if q.running == nil {
		g.next(group, q)
	}
}

// next starts the group's next piece of work, if there is one. An Acquire that a Release waits behind is not even begun.
func (g *groups) next(group string, q *groupQueue) {
	if len(q.waiting) == 0 {
		delete(g.queues, group)
		return
	}
	q.running, q.waiting = q.waiting[0], q.waiting[1:]
	ctx, cancel := context.WithCancelCause(g.ctx)
	q.cancel = cancel
	if _, acquire := q.running.(heartbeat.Acquire); acquire {
		for _, a := range q.waiting {
			if _, superseded := a.(heartbeat.Release); superseded {
				cancel(haresources.ErrReleased)
			}
		}
	}
	action := q.running
	g.tasks.Go(func() {
		defer cancel(nil)
		done := g.work(ctx, action)
		g.in.post(func() { g.finished(group, q) })
		if done.Op != 0 {
			g.in.post(done)
		}
	})
}

// finished runs in the loop when a piece of work ended.
func (g *groups) finished(group string, q *groupQueue) {
	q.running = nil
	g.next(group, q)
}

// stander is a manager that can make a group ready that this node does not hold.
type stander interface {
	Standby(ctx context.Context, group string) error
}

// preparer is a manager that can do a part of an Acquire while the peer holds the group.
type preparer interface {
	Prepares(group string) bool
	Prepare(ctx context.Context, group string, mute func(netip.Addr) bool) error
}

// preparedFor is how long a node that prepared for a group waits for it, before it goes back to what a standby node is; preparedLonger is how
// much longer than within the time in which it was to come, where that was known.
const (
	preparedFor    = 15 * time.Second
	preparedLonger = 2 * time.Second
)

// prepare does a part of an Acquire, and has it undone where the group does not come.
func (g *groups) prepare(ctx context.Context, a heartbeat.Prepare) {
	m, ok := g.manager.(preparer)
	if !ok {
		return
	}
	group, wait := a.Group, preparedFor
	if a.Within > 0 {
		wait = a.Within + preparedLonger
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	last := g.preparedAgain(group)
	var mute func(netip.Addr) bool
	if g.mute != nil {
		mute = g.mute(group)
	}
	if err := m.Prepare(limited, group, mute); err != nil && ctx.Err() == nil {
		g.log.Errorf("Resource group %s could not be prepared for its hand-over: %v", group, err)
	}
	g.tasks.Go(func() {
		ctx, cancel := g.calm, func() {}
		select {
		case <-time.After(wait):
		case <-g.calm.Done(): // what was added mute would answer as soon as this program, and with it the lease, is gone
			ctx, cancel = context.WithTimeout(context.WithoutCancel(g.ctx), settlePatience)
		}
		defer cancel()
		if last() {
			g.makeStandby(ctx, group)
		}
	})
}

// preparedAgain counts a preparation of a group. The returned function tells whether it is still the last one.
func (g *groups) preparedAgain(group string) (last func() bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prepared[group]++
	count := g.prepared[group]
	return func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.prepared[group] == count
	}
}

// standbyAfter is how long a node that starts waits before it makes groups ready that it does not hold: what it is to hold comes first.
const standbyAfter = 250 * time.Millisecond

// standBy makes a group ready for its next change, after a while.
func (g *groups) standBy(group string, after time.Duration) {
	g.tasks.Go(func() {
		select {
		case <-time.After(after):
			g.makeStandby(g.calm, group)
		case <-g.calm.Done():
		}
	})
}

// makeStandby makes a group ready for its next change, and undoes what was prepared where this node does not have it.
func (g *groups) makeStandby(ctx context.Context, group string) {
	m, ok := g.manager.(stander)
	if !ok {
		return
	}
	err := m.Standby(ctx, group)
	if errors.Is(err, haresources.ErrNoGroup) {
		return // a reload took it away meanwhile
	}
	if err != nil && ctx.Err() == nil {
		g.log.Errorf("Resource group %s is not ready for a takeover here: %v", group, err)
	}
}

// errSuperseded answers an Acquire that a Release overtook.
var errSuperseded = errors.New("cancelled: the group is released")

// work does one piece of work and says what came of it.
func (g *groups) work(ctx context.Context, a heartbeat.Action) heartbeat.Done {
	switch a := a.(type) {
	case heartbeat.Acquire:
		return g.acquire(ctx, a)
	case heartbeat.Release:
		return g.release(ctx, a)
	case heartbeat.Examine:
		running, err := g.manager.Examine(ctx, a.Group)
		unsure := errors.Is(err, haresources.ErrUnsure)
		if unsure {
			err = nil
		}
		if err == nil && !running {
			g.standBy(a.Group, standbyAfter)
		}
		if unsure {
			return heartbeat.Done{Op: a.Op, Unsure: true}
		}
		return heartbeat.Done{Op: a.Op, Running: running, Err: err}
	case heartbeat.Prepare:
		g.prepare(ctx, a)
		return heartbeat.Done{Op: a.Op}
	case heartbeat.Announce:
		if err := g.manager.Announce(ctx, a.Group); err != nil {
			g.log.Warnf("Announcing resource group %s: %v", a.Group, err)
		}
	}
	return heartbeat.Done{}
}

func (g *groups) acquire(ctx context.Context, a heartbeat.Acquire) heartbeat.Done {
	if ctx.Err() == nil {
		g.hooks.now(ctx, happening{event: "pre-acquire", group: a.Group, reason: a.Reason})
	}
	if ctx.Err() != nil {
		return heartbeat.Done{Op: a.Op, Err: errSuperseded}
	}
	if err := g.manager.Acquire(ctx, a.Group); err != nil {
		if g.culprit != nil {
			g.culprit(a.Group, err)
		}
		return heartbeat.Done{Op: a.Op, Err: err, Stuck: isStuck(err)}
	}
	g.hooks.tell(happening{event: "post-acquire", group: a.Group, reason: a.Reason})
	g.standBy(a.Group, standbyAfter)
	return heartbeat.Done{Op: a.Op}
}

func (g *groups) release(ctx context.Context, a heartbeat.Release) heartbeat.Done {
	g.hooks.now(ctx, happening{event: "pre-release", group: a.Group, reason: a.Reason})
	if err := g.manager.Release(ctx, a.Group); err != nil {
		return heartbeat.Done{Op: a.Op, Err: err, Stuck: isStuck(err)}
	}
	g.hooks.tell(happening{event: "post-release", group: a.Group, reason: a.Reason})
	g.standBy(a.Group, standbyAfter)
	return heartbeat.Done{Op: a.Op}
}

// isStuck tells whether something of the group may still run.
func isStuck(err error) bool {
	var stuck *haresources.StuckError
	return errors.As(err, &stuck)
}
