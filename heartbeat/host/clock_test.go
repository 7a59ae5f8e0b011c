package host_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

func TestClocksMoveTogether(t *testing.T) {
	a, b := host.ReadClocks(), host.ReadClocks()
	if b.Mono < a.Mono || b.Boot < a.Boot || a.Mono == 0 || a.Boot < a.Mono {
		t.Errorf("clocks went from %+v to %+v", a, b)
	}
}

func TestAlarmIsPrecise(t *testing.T) {
	alarm, err := host.NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer alarm.Close()
	rang := ringing(t, alarm)
	var late []time.Duration
	for range 21 {
		due := host.ReadClocks().Boot + 3*time.Millisecond + 300*time.Microsecond
		if err := alarm.Set(due); err != nil {
			t.Fatal(err)
		}
		late = append(late, <-rang-due)
	}
	slices.Sort(late)
	if late[0] < 0 || late[10] > time.Millisecond {
		t.Errorf("alarm late by %v (earliest %v), want a median within 1 ms", late[10], late[0])
	}
}

func TestAlarmInThePastFiresAndDisarmedDoesNot(t *testing.T) {
	alarm, err := host.NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer alarm.Close()
	rang := ringing(t, alarm)
	for range 3 { // each setting fires
		alarm.Set(0)
		select {
		case <-rang:
		case <-time.After(time.Second):
			t.Fatal("an alarm in the past did not fire")
		}
	}
	alarm.Set(host.ReadClocks().Boot + 20*time.Millisecond)
	alarm.Set(-1)
	select {
	case <-rang:
		t.Error("a disarmed alarm fired")
	case <-time.After(60 * time.Millisecond):
	}
}

// ringing delivers the time of each expiry.
func ringing(t *testing.T, alarm *host.Alarm) <-chan time.Duration {
	rang := make(chan time.Duration, 1)
	if err := alarm.Each(func() { rang <- host.ReadClocks().Boot }); err != nil {
		t.Fatal(err)
	}
	return rang
}

func TestRealtimeCoversEveryThread(t *testing.T) {
	if err := host.Realtime(1); err != nil {
		require.Skip(t, "realtime scheduling", err.Error())
	}
	defer func() {
		if err := host.Timesharing(); err != nil {
			t.Error(err)
		}
	}()
	policies := make(chan uint32)
	for range 8 {
		go func() {
			runtime.LockOSThread()
			attr, err := unix.SchedGetAttr(0, 0)
			if err != nil {
				t.Error(err)
				attr = &unix.SchedAttr{}
			}
			policies <- attr.Policy
		}()
	}
	for range 8 {
		if p := <-policies; p != unix.SCHED_RR {
			t.Errorf("a thread runs under policy %d, want SCHED_RR", p)
		}
	}
}
