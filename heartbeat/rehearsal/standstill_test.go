package rehearsal_test

import (
	"slices"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal"
)

// TestLongestStandstill: what ended before a performance began does not excuse it, and one that began before it does.
func TestLongestStandstill(t *testing.T) {
	begun := time.Now()
	list := map[time.Time]time.Duration{
		begun.Add(-time.Second):           3 * time.Second,
		begun.Add(100 * time.Millisecond): 900 * time.Millisecond,
		begun.Add(time.Second):            200 * time.Millisecond,
	}
	if got := rehearsal.LongestStandstill(begun, list); got != 900*time.Millisecond {
		t.Errorf("%v", got)
	}
	if got := rehearsal.LongestStandstill(begun.Add(2*time.Second), list); got != 0 {
		t.Errorf("%v after all of them", got)
	}
	if got := rehearsal.NobodyWatches(begun); got != 0 {
		t.Errorf("%v where nobody watches", got)
	}
}

// TestDeafStart: Linux-HA's first second excuses nothing where no daemon starts, or that lasts longer, and nothing between two of ours.
func TestDeafStart(t *testing.T) {
	late := func(starts bool, interval string) rehearsal.Phase {
		return rehearsal.Phase{Starts: starts, Failures: []string{"10.77.0.200: alpha answers in the end, not beta",
			"the log of beta complains: CRIT: Late heartbeat: Node alpha: interval " + interval + " ms (> deadtime) (1 times)"}}
	}
	mixed, ours := [2]string{rehearsal.Hapair, rehearsal.LinuxHA}, [2]string{rehearsal.Hapair, rehearsal.Hapair}
	for _, c := range []struct {
		impls  [2]string
		phases []rehearsal.Phase
		want   bool
	}{
		{mixed, []rehearsal.Phase{late(true, "1000"), {}}, true},
		{mixed, []rehearsal.Phase{{Starts: true}, {}, late(true, "1010")}, true},
		{mixed, []rehearsal.Phase{{Starts: true}, late(false, "1000")}, false},
		{mixed, []rehearsal.Phase{late(true, "2000")}, false},
		{mixed, []rehearsal.Phase{late(true, "400")}, false},
		{mixed, nil, false},
		{ours, []rehearsal.Phase{late(true, "1000")}, false},
	} {
		if got := rehearsal.DeafStart(c.impls, c.phases...); got != c.want {
			t.Errorf("%v %+v: %v, want %v", c.impls, c.phases, got, c.want)
		}
	}
}

// TestOverlong: a partition that lasted longer than meant excuses what failed in its own phase only, and one that lasted as long as meant nothing.
func TestOverlong(t *testing.T) {
	failures := []string{"10.77.0.100 moved 1 times between the nodes, 0 were due"}
	for _, c := range []struct {
		phases []rehearsal.Phase
		want   bool
	}{
		{[]rehearsal.Phase{{}, {OverlongMS: 14, Failures: failures}}, true},
		{[]rehearsal.Phase{{}, {OverlongMS: 0.4, Failures: failures}}, false},
		{[]rehearsal.Phase{{OverlongMS: 14}, {Failures: failures}}, false},
		{nil, false},
	} {
		if got := rehearsal.Overlong(c.phases...); got != c.want {
			t.Errorf("%+v: %v, want %v", c.phases, got, c.want)
		}
	}
}

// TestHeldUp: a daemon of Linux-HA that says that its own heartbeats were late excuses what failed in that phase; what it says of the other node does not, nor what
// it says where it was stopped.
func TestHeldUp(t *testing.T) {
	failures := []string{"the log of alpha complains: CRIT: Late heartbeat: Node beta: interval 280 ms (> deadtime) (1 times)"}
	for _, c := range []struct {
		phases []rehearsal.Phase
		want   bool
	}{
		{[]rehearsal.Phase{{}, {HeldUp: true, Failures: failures}}, true},
		{[]rehearsal.Phase{{HeldUp: true}, {Failures: failures}}, false},
		{nil, false},
	} {
		if got := rehearsal.HeldUp(c.phases...); got != c.want {
			t.Errorf("%+v: %v, want %v", c.phases, got, c.want)
		}
	}
	for _, c := range []struct {
		scenario, text string
		want           bool
	}{
		{"graceful-stop", "CRIT: Late heartbeat: Node alpha: interval 210 ms (> deadtime)", true},
		{"graceful-stop", "CRIT: Late heartbeat: Node beta: interval 280 ms (> deadtime)", false},
		{"graceful-stop", "ERROR: Message hist queue is filling up", false},
		{"freeze-long", "CRIT: Late heartbeat: Node alpha: interval 2100 ms (> deadtime)", false},
	} {
		if got := rehearsal.SaysHeldUp([2]string{rehearsal.LinuxHA, rehearsal.LinuxHA}, c.scenario, "alpha", c.text); got != c.want {
			t.Errorf("%s, %s: %v", c.scenario, c.text, got)
		}
	}
}

// TestStoppingComplains: that a daemon of Linux-HA is late while it stops says nothing of the other node; everything else that it says then does, and so does what it says
// when it has been started again.
func TestStoppingComplains(t *testing.T) {
	line := func(text string) string { return "Nov 30 10:00:00 alpha heartbeat: [1]: " + text }
	late, other := "CRIT: Late heartbeat: Node beta: interval 830 ms (> deadtime)", "ERROR: should_drop_message: attempted replay attack"
	got := rehearsal.Complaints(line(late), line("info: Heartbeat shutdown in progress. (11)"), line(late), line(other),
		line("info: Configuration validated. Starting heartbeat 3.0.6"), line(late), line("info: Link beta:eth0 up."))
	if want := []string{late, other, late}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestThreeLost: frames that are lost excuse two of Linux-HA, and nobody else.
func TestThreeLost(t *testing.T) {
	theirs, mixed := [2]string{rehearsal.LinuxHA, rehearsal.LinuxHA}, [2]string{rehearsal.LinuxHA, rehearsal.Hapair}
	for name, want := range map[string]bool{"loss": true, "loss-half": true, "cut-in-loss": true, "power-cut": false} {
		if got := rehearsal.ThreeLost(theirs, name); got != want {
			t.Errorf("%s of two of Linux-HA: %v", name, got)
		}
		if rehearsal.ThreeLost(mixed, name) {
			t.Errorf("%s of a mixed pair is excused", name)
		}
	}
}

// TestOnlyCost: processor time is measured again, and nothing else is excused by it.
func TestOnlyCost(t *testing.T) {
	costs := "alpha used 0.54 % of one core, allowed are 0.50 %"
	for _, c := range []struct {
		failures []string
		want     bool
	}{
		{[]string{costs, "beta used 0.60 % of one core, allowed are 0.50 %"}, true},
		{[]string{costs, "alpha used 31.2 MB, allowed are 25.0 MB"}, false},
		{nil, false},
	} {
		if got := rehearsal.OnlyCost(c.failures...); got != c.want {
			t.Errorf("%q: %v", c.failures, got)
		}
	}
}
