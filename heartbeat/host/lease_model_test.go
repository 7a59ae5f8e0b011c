package host_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/require"
)

// leaseModel is the protocol that the lease is part of, for the model checker spin.
const leaseModel = "../../testdata/model/lease.pml"

// verdict runs the model checker over all runs of the model up to a depth, and returns what it says.
func verdict(t *testing.T, depth string, switches ...string) string {
	t.Helper()
	model, err := filepath.Abs(leaseModel)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "Error") {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	source, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "lease.pml"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	run("spin", append(append([]string{"-a"}, switches...), "lease.pml")...)
	optimise := "-O2"
	if len(depth) < 5 {
		optimise = "-O0" // compiling takes longer than running
	}
	run("cc", optimise, "-w", "-DSAFETY", "-DNOREDUCE", "-DHC4", "-DMEMLIM=2000", "-o", "pan", "pan.c")
	return run("./pan", "-n", "-w23", "-m"+depth)
}

// TestLeaseModel: in no run of the model are two leases in force at once, whichever daemons freeze, die and come back, and when. Every rule
// of the protocol is needed: without it there is such a run. And the model gets to where the rules matter.
func TestLeaseModel(t *testing.T) {
	require.Tool(t, "spin", "the lease protocol against all orders of events (apt-get install spin)")
	require.Tool(t, "cc", "the lease protocol against all orders of events")
	deep, shallow := "2000000", "300"
	holds := map[string][]string{
		"daemons freeze and die, no heartbeat is lost":        {"-DFREEZES", "-DLOSS=0"},
		"and a lease of four fifths":                          {"-DFREEZES", "-DLOSS=0", "-DLEASE=4"},
		"links lose one direction":                            {"-DONEWAY", "-DLOSS=0"},
		"links lose one direction, and a heartbeat the other": {"-DONEWAY", "-DLOSS=1", "-DDEADTIME=7"},
	}
	if !testing.Short() {
		holds["daemons freeze and die, and every other heartbeat may be lost"] = []string{"-DFREEZES"}
	}
	for name, switches := range holds {
		t.Run(name, func(t *testing.T) {
			if out := verdict(t, deep, switches...); !strings.Contains(out, "errors: 0") || strings.Contains(out, "search depth too small") {
				t.Errorf("%v:\n%s", switches, out)
			} else {
				t.Log(strings.TrimSpace(line(out, "states, stored")))
			}
		})
	}
	for _, switches := range [][]string{
		{"-DFREEZES", "-DRELATIVE"}, {"-DFREEZES", "-DRENEW_FIRST"}, {"-DFREEZES", "-DNO_LAPSE"}, {"-DFREEZES", "-DOLD_ANSWER"},
		{"-DFREEZES", "-DKEEP_LEASE"}, {"-DFREEZES", "-DADOPT_ALWAYS"}, {"-DFREEZES", "-DDEAF_COUNTS"}, {"-DFREEZES", "-DAT_MOST_ONE"},
		{"-DFREEZES", "-DLEASE=4"}, {"-DFREEZES", "-DLOSS=0", "-DLEASE=6"}, {"-DONEWAY", "-DLOSS=0", "-DNO_CAP"},
		{"-DFREEZES", "-DREACH=1"}, {"-DFREEZES", "-DREACH=2"}, {"-DFREEZES", "-DREACH=3"}, {"-DFREEZES", "-DREACH=4"},
		{"-DONEWAY", "-DLOSS=0", "-DREACH=5"},
	} {
		t.Run("fails"+strings.Join(switches, ""), func(t *testing.T) {
			if out := verdict(t, shallow, switches...); !strings.Contains(out, "assertion violated") {
				t.Errorf("no run shows it:\n%s", out)
			}
		})
	}
}

// line is the line of a text that has a word.
func line(text, word string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, word) {
			return l
		}
	}
	return ""
}
