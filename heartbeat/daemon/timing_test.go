package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/wire"
)

// beat is a heartbeat with that number of that run.
func beat(generation, seq uint64) wire.Message {
	m := wire.New("status")
	m.Add("seq", fmt.Sprintf("%x", seq))
	m.Add("hg", fmt.Sprintf("%x", generation))
	return m
}

// TestTimingCountsWhatIsLostAndLate plays heartbeats of 100 ms: some lost, some late, one sent again, one replayed, an outage, a new run.
func TestTimingCountsWhatIsLostAndLate(t *testing.T) {
	var k timing
	begin := time.Now()
	at := begin
	arrive := func(after time.Duration, generation, seq uint64) {
		at = at.Add(after)
		k.arrived(at, beat(generation, seq), 100*time.Millisecond, time.Second)
	}
	if k.view(100*time.Millisecond) != nil {
		t.Error("something is known before anything came")
	}
	arrive(0, 5, 16)
	for seq := uint64(17); seq < 116; seq++ {
		arrive(100*time.Millisecond, 5, seq)
	}
	arrive(130*time.Millisecond, 5, 116) // late by 30 ms
	arrive(0, 5, 100)                    // sent again
	arrive(0, 4, 900)                    // of an older run
	arrive(300*time.Millisecond, 5, 119) // two lost
	arrive(5*time.Second, 5, 169)        // an outage: 49 lost, and no silence to judge by
	arrive(time.Minute, 6, 1)            // a new run
	arrive(100*time.Millisecond, 6, 2)
	v := k.view(100 * time.Millisecond)
	if v.Heartbeats != 105 || v.Lost != 51 || v.JitterMaxMS != 30 || v.SilenceMS != 300 || v.SafeMS != 600 || v.RTTMS != -1 {
		t.Errorf("%+v", v)
	}
	if v.LossPercent < 32 || v.LossPercent > 33 {
		t.Errorf("%v %% lost, want 51 of 156", v.LossPercent)
	}
	arrive(2*lossWindow, 6, 3)
	if v := k.view(100 * time.Millisecond); v.LossPercent != 0 || v.Lost != 51 {
		t.Errorf("after ten minutes without loss: %+v", v)
	}
	k.arrived(at, wire.New("NS_ackmsg"), time.Second, time.Second)
	if v := k.view(100 * time.Millisecond); v.Heartbeats != 106 {
		t.Errorf("a message without a number was counted: %+v", v)
	}
}

func TestTimingMeasuresTheWayThereAndBack(t *testing.T) {
	var k timing
	now := time.Now()
	k.arrived(now, beat(1, 1), time.Second, 10*time.Second)
	k.ask("a", now)
	if k.answered("b", now) || k.answered("", now) {
		t.Error("a strange answer was taken")
	}
	if !k.answered("a", now.Add(230*time.Microsecond)) || k.answered("a", now.Add(time.Second)) {
		t.Error("an answer was not taken, or twice")
	}
	if v := k.view(time.Second); v.RTTMS != 0.23 || v.RTTMaxMS != 0.23 {
		t.Errorf("%+v", v)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	if histogramBounds[0] != 100*time.Microsecond || histogramBounds[histogramSize-1] != 100*time.Second || h.quantile(0.5) != 0 {
		t.Errorf("bounds from %v to %v", histogramBounds[0], histogramBounds[histogramSize-1])
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	h.add(5 * time.Minute)
	for _, q := range []struct {
		share       float64
		least, most time.Duration
	}{{0, 0, 1 * time.Millisecond}, {0.5, 500 * time.Millisecond, 630 * time.Millisecond}, {0.99, 990 * time.Millisecond, time.Second}, {1, 5 * time.Minute, 5 * time.Minute}} {
		if got := h.quantile(q.share); got < q.least || got > q.most {
			t.Errorf("quantile %v is %v, want %v to %v", q.share, got, q.least, q.most)
		}
	}
	if h.upTo(100*time.Millisecond) != 100 || h.upTo(50*time.Second) != 1000 || h.n != 1001 || h.most != 5*time.Minute {
		t.Errorf("%d, %d, %d, %v", h.upTo(100*time.Millisecond), h.upTo(50*time.Second), h.n, h.most)
	}
	for _, bound := range exportedBounds {
		found := false
		for _, b := range histogramBounds {
			found = found || b == bound
		}
		if !found {
			t.Errorf("%v is exported, and no bound of the histogram", bound)
		}
	}
}

func TestSafeDeadtime(t *testing.T) {
	for _, tt := range []struct{ longest, keepalive, want time.Duration }{
		{103 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond},
		{313 * time.Millisecond, 100 * time.Millisecond, 630 * time.Millisecond},
		{1111 * time.Millisecond, 100 * time.Millisecond, 2300 * time.Millisecond},
		{5 * time.Millisecond, 2 * time.Millisecond, 10 * time.Millisecond},
	} {
		if got := safeDeadtime(tt.longest, tt.keepalive); got != tt.want {
			t.Errorf("longest silence %v, keepalive %v: %v, want %v", tt.longest, tt.keepalive, got, tt.want)
		}
	}
}

// TestCausesOfTheScenarios: each reason for a move that the scenarios of the core show has a cause.
func TestCausesOfTheScenarios(t *testing.T) {
	files, _ := filepath.Glob("../../testdata/cluster/*.txt")
	seen := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:Acquiring|Releasing) resource group: \S+ \S+ \((.*)\)`).FindAllStringSubmatch(string(text), -1) {
			cause := causeOf(m[1])
			if seen[cause] = true; cause == otherCause {
				t.Errorf("%s: %q has no cause", filepath.Base(name), m[1])
			}
		}
	}
	if len(seen) < 8 {
		t.Errorf("only the causes %v", seen)
	}
	// And each reason that stands in the core as it is.
	sources, _ := filepath.Glob("../*.go")
	for _, name := range sources {
		text, err := os.ReadFile(name)
		if err != nil || strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`n\.(?:acquire|release)\(g, (?:[\w.]+\+)?"([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			if causeOf(m[1]) == otherCause {
				t.Errorf("%s: %q has no cause", filepath.Base(name), m[1])
			}
		}
	}
	if causeOf("because it rains") != otherCause {
		t.Error("everything has a cause")
	}
}
