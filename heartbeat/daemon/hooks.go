package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
)

// happening is what the administrator's programs in hooks/EVENT.d are told.
type happening struct {
	event, group, reason string
	at                   time.Time
	facts                map[string]string // more of it: resource, action
}

// hookRunner runs the programs for one event and returns when the last of them has ended.
type hookRunner func(ctx context.Context, h happening)

// hookQueues runs hooks that nothing waits for: those of one group one after the other, in the order in which it happened, those of different
// groups side by side, so that a program that hangs holds up the news of its own group only. What concerns no group has a queue of its own.
type hookQueues struct {
	ctx context.Context
	run hookRunner // nil runs nothing
	log *Log

	mu     sync.Mutex
	queues map[string]*series
}

// hooksWaiting is how many events of one group may wait for their programs.
const hooksWaiting = 256

// newHookQueues makes empty queues; ctx ends what runs.
func newHookQueues(ctx context.Context, run hookRunner, log *Log) *hookQueues {
	return &hookQueues{ctx: ctx, run: run, log: log, queues: map[string]*series{}}
}

// tell queues an event. It never blocks.
func (q *hookQueues) tell(h happening) {
	if q.run == nil {
		return
	}
	h.at = time.Now()
	q.mu.Lock()
	s := q.queues[h.group]
	if s == nil {
		s = newSeries(q.ctx, hooksWaiting)
		q.queues[h.group] = s
	}
	q.mu.Unlock()
	if !s.add(func(ctx context.Context) { q.run(ctx, h) }) {
		q.log.Errorf("Hook %s for %q not run: too many wait already", h.event, h.group)
	}
}

// now runs the programs for an event that something waits for.
func (q *hookQueues) now(ctx context.Context, h happening) {
	if q.run != nil {
		h.at = time.Now()
		q.run(ctx, h)
	}
}

// wait returns when everything told has been run.
func (q *hookQueues) wait() {
	q.mu.Lock()
	all := make([]*series, 0, len(q.queues))
	for _, s := range q.queues {
		all = append(all, s)
	}
	q.mu.Unlock()
	for _, s := range all {
		s.wait()
	}
}

// hook notes what status wants to know and queues the administrator's programs.
func (e *engine) hook(a heartbeat.Hook) {
	switch a.Event {
	case "split-found":
		e.double.Store(a.Group, true)
		e.figures.held(a.Group, true, e.clock().Wall)
	case "split-ended":
		e.double.Delete(a.Group)
		e.figures.held(a.Group, false, e.clock().Wall)
	}
	h := happening{event: a.Event, group: a.Group, reason: a.Reason}
	if a.Event == "resource-failed" {
		h.facts = map[string]string{"action": "give-up"}
		if spec, ok := e.culprits.Load(a.Group); ok {
			h.facts["resource"] = spec.(string)
		}
	}
	e.hooks.tell(h)
}

// culprit remembers which resource an error of a group is about, for the hook that tells of the group's failure.
func (e *engine) culprit(group string, err error) {
	if op := (*haresources.OperationError)(nil); errors.As(err, &op) {
		e.culprits.Store(group, op.Resource)
	}
}

// resourceEvent tells the administrator of a held resource that failed and is restarted in place. When its group is given up the core tells.
func (e *engine) resourceEvent(ev haresources.Event) {
	if ev.Operation == haresources.OpMonitor && ev.Phase == haresources.Failure && ev.Err != nil {
		e.hooks.tell(happening{event: "resource-failed", group: ev.Group, reason: ev.Err.Error(), facts: map[string]string{"resource": ev.Resource, "action": "restart"}})
	}
}
