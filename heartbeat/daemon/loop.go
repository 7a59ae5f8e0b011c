package daemon

import (
	"context"
	"sync"
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
	Each(f func()) error // f, which must not wait, is called at each expiry
	Set(boot time.Duration) error
	Close() error
}

// loop is the only place that touches the core, one goroutine at a time. It never waits for anything but its inbox and its
// alarm. Whoever brings a message or an expiry takes a turn itself when nobody else is at it: handing over to another
// goroutine would wake a second thread, which costs several times what a heartbeat does.
type loop struct {
	clock func() heartbeat.Instant
	alarm alarm
	in    *inbox
	act   func(heartbeat.Action)  // carries one action out, without blocking
	after func(heartbeat.Instant) // called at the end of each turn, without blocking; may be nil
	log   *Log
	worst atomic.Int64 // nanoseconds: the latest that the loop was ever woken
	fired atomic.Bool  // the alarm went off since it was set

	turning sync.Mutex // held during a turn; guards the core and what follows
	core    core
	armed   heartbeat.Instant // what the alarm is set to, zero for nothing
	halt    *heartbeat.Halt   // set by the action that ends the loop
	delays  histogram         // how late the loop was whenever it was due
	stalls  uint64            // how often that was more than stall
}

// The loop suspects itself: when it is woken later than it asked by more than stall, its link readers may be late as well,
// so it gives them up to settleMost to bring in what waits in the kernel, until nothing came for settleQuiet.
const (
	stall       = 5 * time.Millisecond
	settleQuiet = time.Millisecond
	settleMost  = 20 * time.Millisecond
)

// run works until the core halts or the context ends; the context is for emergencies, a polite stop is a request. Closing
// the alarm ends what run leaves behind.
func (l *loop) run(ctx context.Context) *heartbeat.Halt {
	l.in.arrived(l.received)
	l.turning.Lock()
	l.step(l.clock(), heartbeat.Tick{})
	l.turning.Unlock()
	if err := l.alarm.Each(l.rang); err != nil {
		l.log.Critf("Heartbeat ends: %v", err)
		return nil
	}
	for {
		l.turning.Lock()
		l.turn()
		halt := l.halt
		l.turning.Unlock()
		if halt != nil || ctx.Err() != nil {
			return halt
		}
		select {
		case <-l.in.wake:
		case <-ctx.Done():
		}
	}
}

// rang is called at each expiry of the alarm.
func (l *loop) rang() {
	l.fired.Store(true)
	l.received()
}

// received is called by a link's reader after it put a message into the inbox. It leaves to run what a reader must not do:
// wait for readers, and whatever was posted, which may stop this link.
func (l *loop) received() {
	if !l.turning.TryLock() {
		wake(l.in.wake)
		return
	}
	defer l.turning.Unlock()
	now := l.clock()
	if l.late(now) > stall {
		wake(l.in.wake)
		return
	}
	l.work(now)
}

// turn does everything that is there to be done now. The clock is read once for what was waiting, and again before anything
// that took time.
func (l *loop) turn() {
	now := l.clock()
	if late := l.late(now); late > stall {
		l.worst.Store(max(l.worst.Load(), int64(late)))
		l.stalls++
		l.delays.add(late)
		l.settle(late)
		now = l.clock()
	}
	if posted := l.in.takePosted(); len(posted) > 0 {
		l.drain(now) // first what was there before
		now = l.handle(posted)
	}
	l.work(now)
}

// work is the part of a turn that a reader may do.
func (l *loop) work(now heartbeat.Instant) {
	l.drain(now)
	if late := l.late(now); l.halt == nil && late >= 0 {
		l.worst.Store(max(l.worst.Load(), int64(late)))
		if late <= stall { // else it has been counted
			l.delays.add(late)
		}
		l.step(now, heartbeat.Tick{})
	}
	if l.halt != nil {
		wake(l.in.wake) // for run to see it
		return
	}
	if l.after != nil {
		l.after(now)
	}
	l.arm()
}

// drain gives the core the messages that wait.
func (l *loop) drain(now heartbeat.Instant) {
	l.in.drain(func(m heartbeat.Received) {
		if l.halt == nil {
			l.step(now, m)
		}
	})
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

// clocksApart is how far the same deadline may seem to have moved on the boot clock, which is read a moment after the other one: no reason to
// set the alarm anew. A suspended machine moves it further.
const clocksApart = 200 * time.Microsecond

// arm sets the alarm to when the core is due.
func (l *loop) arm() {
	if l.fired.Swap(false) {
		l.armed = heartbeat.Instant{}
	}
	due := l.core.Wake()
	if due.Mono == l.armed.Mono && (due.Boot-l.armed.Boot).Abs() < clocksApart { // most messages change no deadline
		return
	}
	l.armed = due
	if err := l.alarm.Set(due.Boot); err != nil {
		l.armed = heartbeat.Instant{}
		l.log.Critf("Cannot set the timer (%v): running on a coarse one", err)
		time.AfterFunc(10*time.Millisecond, func() { wake(l.in.wake) })
	}
}
