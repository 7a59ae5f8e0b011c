package rehearsal_test

import (
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

// TestDeafStart: Linux-HA's first second excuses nothing that comes later, or that lasts longer, and nothing between two of ours.
func TestDeafStart(t *testing.T) {
	late := func(interval string) []string {
		return []string{"10.77.0.200: alpha answers in the end, not beta",
			"the log of beta complains: CRIT: Late heartbeat: Node alpha: interval " + interval + " ms (> deadtime) (1 times)"}
	}
	mixed, ours := [2]string{rehearsal.Hapair, rehearsal.LinuxHA}, [2]string{rehearsal.Hapair, rehearsal.Hapair}
	for _, c := range []struct {
		impls  [2]string
		phases [][]string
		want   bool
	}{
		{mixed, [][]string{late("1000"), nil}, true},
		{mixed, [][]string{late("1010"), late("1010")}, true},
		{mixed, [][]string{nil, late("1000")}, false},
		{mixed, [][]string{late("2000")}, false},
		{mixed, [][]string{late("400")}, false},
		{mixed, nil, false},
		{ours, [][]string{late("1000")}, false},
	} {
		if got := rehearsal.DeafStart(c.impls, c.phases...); got != c.want {
			t.Errorf("%v %q: %v, want %v", c.impls, c.phases, got, c.want)
		}
	}
}
