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
