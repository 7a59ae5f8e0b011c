package daemon

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hapair/haresources"
	"hapair/heartbeat"
)

// TestLeftovers are what ran by the lines of a predecessor and is on none any more: not what only stands elsewhere, or is spelled otherwise.
func TestLeftovers(t *testing.T) {
	now, faults := haresources.Parse("haresources", strings.NewReader("alpha 10.0.0.1/24/eth0 web\nbeta mail IPaddr2::10.0.0.5/16\n"))
	if faults.Err() != nil {
		t.Fatal(faults)
	}
	lines := []string{"alpha 10.0.0.1/24/eth0 web disk::1 #hapair: stop-timeout=5s", "alpha 10.0.0.2/24 10.0.0.5/24", "alpha web", "beta mail"}
	want := "alpha disk::1 #hapair: stop-timeout=5s\nalpha 10.0.0.2/24\n"
	if got := leftovers(lines, now).String(); got != want {
		t.Errorf("leftovers\n%s, want\n%s", got, want)
	}
}

// TestStateKeepsTheLinesOfWhatRuns, for a successor in the same boot of the machine only.
func TestStateKeepsTheLinesOfWhatRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	log := newLog(0, lineSink(func(string) {}))
	defer log.Close()
	k := newKeeper(path, "boot-1", newAlarms(log))
	k.line = func(group string) string {
		if group == "web" {
			return "alpha web x"
		}
		return ""
	}
	if err := k.write(heartbeat.Persist{Held: []string{"web"}, Runs: []string{"web", "unknown"}}); err != nil {
		t.Fatal(err)
	}
	if got := loadLines(path, "boot-1"); !slices.Equal(got, []string{"alpha web x"}) {
		t.Errorf("lines %q", got)
	}
	for _, boot := range []string{"boot-2", ""} {
		if got := loadLines(path, boot); got != nil {
			t.Errorf("boot %q: lines %q", boot, got)
		}
	}
}
