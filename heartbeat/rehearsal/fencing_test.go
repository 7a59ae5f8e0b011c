package rehearsal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal"
	"hapair/heartbeat/rehearsal/require"
)

// TestFencing has real daemons run a real plugin, which really switches the other machine off: for a takeover, through a second level, and between
// two healthy nodes whose heartbeats are cut. make full performs the rest, and each five times.
func TestFencing(t *testing.T) {
	report := rehearse(t, rehearsal.Options{Dir: cluster("fencing"), Scenarios: []string{"fence-power-cut", "fence-levels", "fence-partition"}})
	for _, run := range report.Runs {
		if run.Scenario == "fence-partition" {
			continue
		}
		for _, p := range run.Phases {
			// Without the second of the device the harness would not measure what it should.
			if p.Name == "cut" && (p.OutageMS < 1100 || strings.Join(p.Resets, " ") != "alpha") {
				t.Errorf("%s: taken over after %.1f ms, %v was reset", run.Scenario, p.OutageMS, p.Resets)
			}
		}
	}
}

// TestFencingNeedsADevice: files without one are not rehearsed with one, unless somebody adds it.
func TestFencingNeedsADevice(t *testing.T) {
	binary, err := theBinary()
	if err != nil {
		t.Fatal(err)
	}
	report, err := rehearsal.Rehearse(t.Context(), rehearsal.Options{Dir: cluster("two-links"), Scenarios: []string{"fence-power-cut"}, Binary: binary})
	if err != nil {
		require.Skip(t, "a pair in namespaces", err.Error())
	}
	if len(report.Runs) != 0 || len(report.Skipped) != 1 || report.Skipped[0].Reason != "these files name no fencing device" {
		t.Errorf("%d runs, skipped %+v", len(report.Runs), report.Skipped)
	}
}

// TestFencingCopies: the laboratory's devices take the place of those in the files, with all that belongs to them, and only where a scenario is about fencing.
func TestFencingCopies(t *testing.T) {
	dir := directory(t, "#hapair: fence-delay=9s mirror=off\n#hapair: fence-level=1\nstonith_host * fence_ipmilan ip=10.9.0.1\nnode alpha beta\nbcast eth0\n"+times, "alpha 10.0.0.100\n")
	tests := []struct{ scenario, want string }{
		{"power-cut", "#hapair: mirror=off\nnode alpha beta\nbcast eth0\n" + times},
		{"fence-levels", "#hapair: mirror=off\nnode alpha beta\nbcast eth0\n" + times + "#hapair: fence-delay=0\n#hapair: fence-level=1\n" +
			"stonith_host * external/rehearsed-power unreachable\n#hapair: fence-level=2\nstonith_host * external/rehearsed-power switch\n"},
	}
	for _, test := range tests {
		to := t.TempDir()
		if err := rehearsal.CopiesFor(dir, to, test.scenario); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(to, "ha.cf"))
		if err != nil || string(text) != test.want {
			t.Errorf("%s: %v, ha.cf is\n%s\nwant\n%s", test.scenario, err, text, test.want)
		}
		info, err := os.Stat(filepath.Join(to, "stonith.d", "rehearsed-power"))
		if fenced := test.scenario != "power-cut"; fenced != (err == nil) || fenced && info.Mode().Perm() != 0o755 {
			t.Errorf("%s: the plugin: %v", test.scenario, err)
		}
	}
}

// TestUplinks cuts ways that only ping nodes tell of: the active node's alone, and the ping nodes' from both.
func TestUplinks(t *testing.T) {
	report := rehearse(t, rehearsal.Options{Dir: cluster("uplink"), Scenarios: []string{"uplink-lost", "ping-lost-both"}})
	for _, run := range report.Runs {
		if run.Scenario == "uplink-lost" && run.Phases[1].OutageMS < 800 {
			t.Errorf("served again after %.1f ms, before deadping was over: the harness does not measure what it should", run.Phases[1].OutageMS)
		}
	}
}

// TestScenariosFor: what is about things that the files do not have is neither listed nor part of `all`.
func TestScenariosFor(t *testing.T) {
	tests := []struct {
		options rehearsal.Options
		fences  bool
		pings   bool
	}{
		{rehearsal.Options{}, false, false},
		{rehearsal.Options{Dir: cluster("two-links")}, false, false},
		{rehearsal.Options{Dir: cluster("two-links"), Set: map[string]string{"stonith_host": "* fence_dummy"}}, true, false},
		{rehearsal.Options{Dir: cluster("fencing")}, true, false},
		{rehearsal.Options{Dir: cluster("uplink")}, false, true},
		{rehearsal.Options{Dir: t.TempDir()}, true, true},
	}
	for _, test := range tests {
		fences, pings, other := false, false, false
		for _, s := range rehearsal.ScenariosFor(test.options) {
			fences = fences || strings.HasPrefix(s.Name, "fence-")
			pings = pings || strings.HasPrefix(s.Name, "uplink-")
			other = other || s.Name == "power-cut"
		}
		if fences != test.fences || pings != test.pings || !other {
			t.Errorf("%+v: fencing %v, ping nodes %v, the rest %v", test.options, fences, pings, other)
		}
	}
}
