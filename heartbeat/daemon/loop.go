package daemon

import (
	"context"
	"sync/atomic"
	"time"

	"hapair/heartbeat"
)

// core is what the loop needs of *heartbeat.Node.
type core interface {
	Step(now heartbeat.Instant, ev heartbeat.Event) []heartbeat.Action
	Wake() heartbeat.Instant
	Status() heartbeat.Status
}

// alarm wakes the loop at an instant of the boot clock; *host.Alarm is the real one.
type alarm interface {
	C() <-chan struct{}
	Set(boot time.Duration) error
	Close() error
}

// loop is the only goroutine that touches the core. It never waits for anything but its inbox and its alarm.
type loop struct {
	core  core
	clock func() heartbeat.Instant
	alarm alarm
	in    *inbox
	act   func(heartbeat.Action)  // carries one action out, without blocking
	after func(heartbeat.Instant) // called at the end of each turn, without blocking; may be nil
	log   *Log

	armed time.Duration   // what the alarm is set to, 0 for nothing
	halt  *heartbeat.Halt // set by the action that ends the loop
	worst atomic.Int64    // nanoseconds: the latest that the loop was ever woken
}

// The loop suspects itself: when it is woken later than it asked by more than stall, its link readers may be late as well,
// so it gives them up to settleMost to bring in what waits in the kernel, until nothing came for settleQuiet.
const (
	stall       = 5 * time.Millisecond
	settleQuiet = time.Millisecond
	settleMost  = 20 * time.Millisecond
)

// run works until the core halts or the context ends; the context is for emergencies, a polite stop is a request.
func (l *loop) run(ctx context.Context) *heartbeat.Halt {
	l.step(l.clock(), heartbeat.Tick{})
	for l.halt == nil && ctx.Err() == nil {
		l.turn()
		if l.halt == nil {
			l.wait(ctx)
		}
	}
	return l.halt
}

// turn does everything that is there to be done now. The clock is read once for what was waiting, and again before anything
// that took time.
func (l *loop) turn() {
	now := l.clock()
	if late := l.late(now); late > 0 {
		l.worst.Store(max(l.worst.Load(), int64(late)))
		if late > stall {
			l.settle(late)
			now = l.clock()
		}
	}
	l.in.drain(func(m heartbeat.Received) { l.step(now, m) })
	if posted := l.in.takePosted(); len(posted) > 0 {
		now = l.handle(posted)
	}
	if l.halt == nil && l.late(now) >= 0 {
		l.step(now, heartbeat.Tick{})
	}
	if l.after != nil {
		l.after(now)
	}
}

// late is how long before now the core wanted to be woken; negative before that. A machine that was suspended is late by
// the boot clock alone.
func (l *loop) late(now heartbeat.Instant) time.Duration {
	due := l.core.Wake()
	return max(now.Mono-due.Mono, now.Boot-due.Boot)
}

// settle lets the readers empty the kernel's buffers after this process was held up.
func (l *loop) settle(late time.Duration) {
	l.log.Debugf("Woken %v late: draining the links before any decision", late.Round(time.Microsecond))
	end := time.Now().Add(settleMost)
	quiet := time.NewTimer(settleQuiet)
	defer quiet.Stop()
	for {
		select {
		case <-l.in.wake: // what it announces is drained after this in any case
			wait := min(settleQuiet, time.Until(end))
			if wait <= 0 {
				return
			}
			quiet.Reset(wait)
		case <-quiet.C:
			return
		}
	}
}

// handle works off what was posted: completions, requests, and functions that want to run in the loop. It returns the time
// after that.
func (l *loop) handle(posted []any) heartbeat.Instant {
	for _, v := range posted {
		if l.halt != nil {
			break
		}
		switch v := v.(type) {
		case heartbeat.Event:
			l.step(l.clock(), v)
		case func():
			v()
		}
	}
	return l.clock()
}

// step gives the core one event and carries out its answer, in order.
func (l *loop) step(now heartbeat.Instant, ev heartbeat.Event) {
	for _, a := range l.core.Step(now, ev) {
		if h, ok := a.(heartbeat.Halt); ok {
			l.halt = &h
		}
		l.act(a)
	}
}

// wait sleeps until something is in the inbox or the core is due.
func (l *loop) wait(ctx context.Context) {
	due := l.core.Wake().Boot
	if due == l.armed { // most messages change no deadline
		l.sleep(ctx)
		return
	}
	l.armed = due
	if err := l.alarm.Set(due); err != nil {
		l.armed = 0
		l.log.Critf("Cannot set the timer (%v): running on a coarse one", err)
		select {
		case <-l.in.wake:
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
		return
	}
	l.sleep(ctx)
}

// sleep waits for whatever comes first.
func (l *loop) sleep(ctx context.Context) {
	select {
	case <-l.in.wake:
	case <-l.alarm.C():
		l.armed = 0
	case <-ctx.Done():
	}
}
