package daemon

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

// measured is an hour of heartbeats, of which one in a thousand came late.
func measured(keepalive, late time.Duration) (t heartbeat.Timing) {
	t.Keepalive = keepalive
	for i := 0; t.Watched < time.Hour; i++ {
		gap := keepalive + 300*time.Microsecond
		if i%1000 == 0 {
			gap = late
		}
		t.Gaps.Add(gap)
		t.Watched += gap
	}
	t.Stalls.Add(3 * time.Millisecond)
	t.Lapses = 2
	return t
}

// TestTimingOutlivesARestart: the file gives back what was measured, and a broken one is said and begun anew.
func TestTimingOutlivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "timing.json")
	if got, err := loadTiming(path); err != nil || !reflect.DeepEqual(got, heartbeat.Timing{}) {
		t.Errorf("no file: %v", err)
	}
	want := measured(50*time.Millisecond, 90*time.Millisecond)
	want.Watched = want.Watched.Truncate(time.Millisecond)
	if err := saveTiming(path, want); err != nil {
		t.Fatal(err)
	}
	if got, err := loadTiming(path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: watched %v, %d gaps, %d lapses; want %v, %d, %d", err, got.Watched, got.Gaps.Total(), got.Lapses, want.Watched, want.Gaps.Total(), want.Lapses)
	}
	if err := os.WriteFile(path, []byte(`{"gaps":{"counts":{"-3":1,"99999":1}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := loadTiming(path); err != nil || got.Gaps.Total() != 0 {
		t.Errorf("steps that do not exist: %v, %d gaps", err, got.Gaps.Total())
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadTiming(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("half a file: %v", err)
	}
}

// TestCheckNamesTheSafeDeadtime: check says what a deadtime would have cost here, warns of one that is too short, and says nothing of an
// interval that was not measured.
func TestCheckNamesTheSafeDeadtime(t *testing.T) {
	p := NewPaths(t.TempDir(), t.TempDir(), t.TempDir())
	if err := saveTiming(p.Timing(), measured(50*time.Millisecond, 90*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		keepalive, deadtime time.Duration
		want                fault.Severity
		words               string // "" for nothing at all
	}{
		{50 * time.Millisecond, 95 * time.Millisecond, fault.Warning, "would be safe here"},
		{50 * time.Millisecond, 5 * time.Second, fault.Notice, "less than 0.01 false failovers a year"},
		{40 * time.Millisecond, 95 * time.Millisecond, fault.Notice, ""},
	}
	for _, test := range tests {
		list := checkTiming(&config.Config{File: "ha.cf", Peer: "beta", Keepalive: test.keepalive, Deadtime: test.deadtime}, p)
		if test.words == "" {
			if len(list) > 0 {
				t.Errorf("keepalive %v: %v", test.keepalive, list)
			}
			continue
		}
		if len(list) != 1 || list[0].Severity != test.want || !strings.Contains(list[0].Error(), test.words) {
			t.Errorf("deadtime %v: %v, want a %v with %q", test.deadtime, list, test.want, test.words)
		}
	}
	if v := adviceOf(measured(50*time.Millisecond, 90*time.Millisecond), 95*time.Millisecond); v.FailoversYear == nil || *v.FailoversYear < 1 || v.SafeMS < 180 || v.LongestGapMS != 90 || v.Lapses != 2 {
		t.Errorf("status says %+v", v)
	}
	if v := adviceOf(heartbeat.Timing{}, time.Second); v.FailoversYear != nil || v.SafeMS != 0 {
		t.Errorf("of nothing, status says %+v", v)
	}
}

// TestJudgeNamesTheState: what a partition or a pulled cable makes of this node stands among the problems, and degrades it.
func TestJudgeNamesTheState(t *testing.T) {
	for _, test := range []struct {
		s    Status
		want string
	}{
		{Status{Isolated: "no carrier on eth0"}, "this node is isolated (no carrier on eth0)"},
		{Status{ByMirror: true}, "heard only by way of hosts that answer pings"},
		{Status{PeerAnswers: true}, "still answers on the service network"},
		{Status{Links: []LinkView{{ID: "bcast eth1", State: "oneway"}}}, "link bcast eth1 works in one direction only"},
	} {
		test.s.Node, test.s.State, test.s.Peer = "alpha", "active", PeerView{Name: "beta", State: "active"}
		test.s.judge()
		if test.s.Health != Degraded || len(test.s.Problems) != 1 || !strings.Contains(test.s.Problems[0], test.want) {
			t.Errorf("%s: %v, want %q", test.s.Health, test.s.Problems, test.want)
		}
	}
}
