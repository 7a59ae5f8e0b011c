package daemon

import (
	"testing"
	"time"

	"hapair/heartbeat"
)

// dueCore is a core that wants to be woken at one instant.
type dueCore struct{ due heartbeat.Instant }

func (c *dueCore) Step(heartbeat.Instant, heartbeat.Event) []heartbeat.Action { return nil }
func (c *dueCore) Wake() heartbeat.Instant                                    { return c.due }
func (c *dueCore) Status() heartbeat.Status                                   { return heartbeat.Status{} }

// countingAlarm counts how often it is set.
type countingAlarm struct {
	sets int
	at   time.Duration
}

func (a *countingAlarm) Each(func()) error { return nil }
func (a *countingAlarm) Close() error      { return nil }
func (a *countingAlarm) Set(boot time.Duration) error {
	a.sets, a.at = a.sets+1, boot
	return nil
}

// TestAlarmIsSetWhenADeadlineMoves, and not when only the two clocks were read a little apart: each message would cost a system call.
func TestAlarmIsSetWhenADeadlineMoves(t *testing.T) {
	core, alarm := &dueCore{}, &countingAlarm{}
	l := &loop{core: core, alarm: alarm}
	steps := []struct {
		name       string
		mono, boot time.Duration
		fires      bool
		set        bool
	}{
		{"first", 100 * time.Millisecond, 1100 * time.Millisecond, false, true},
		{"the same", 100 * time.Millisecond, 1100 * time.Millisecond, false, false},
		{"clocks read apart", 100 * time.Millisecond, 1100*time.Millisecond - 90*time.Microsecond, false, false},
		{"sooner by as little", 100*time.Millisecond - 90*time.Microsecond, 1100*time.Millisecond - 90*time.Microsecond, false, true},
		{"the machine was suspended", 100*time.Millisecond - 90*time.Microsecond, 900 * time.Millisecond, false, true},
		{"went off", 100*time.Millisecond - 90*time.Microsecond, 900 * time.Millisecond, true, true},
	}
	for _, s := range steps {
		core.due = heartbeat.Instant{Mono: s.mono, Boot: s.boot}
		l.fired.Store(s.fires)
		before := alarm.sets
		l.arm()
		if set := alarm.sets > before; set != s.set || set && alarm.at != s.boot {
			t.Errorf("%s: set %v to %v, want %v", s.name, set, alarm.at, s.set)
		}
	}
}
