package heartbeat_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hapair/heartbeat"
)

// seedCount is how many seeds a simulation has: as many as usual, or as SIM_SEEDS says, or few with -short.
func seedCount(t *testing.T, usual, short uint64) uint64 {
	t.Helper()
	if testing.Short() {
		return short
	}
	if count, given := fromEnvironment(t, "SIM_SEEDS"); given {
		return count
	}
	return usual
}

// seedsToRun are so many seeds from SIM_FIRST on, after those that once found something. With SIM_SEED it is that one alone, to be replayed.
func seedsToRun(t *testing.T, count uint64, found ...uint64) []uint64 {
	t.Helper()
	if seed, given := fromEnvironment(t, "SIM_SEED"); given {
		return []uint64{seed}
	}
	first, _ := fromEnvironment(t, "SIM_FIRST")
	seeds := slices.Clone(found)
	for seed := range count {
		seeds = append(seeds, first+seed)
	}
	return seeds
}

// fromEnvironment reads one of the numbers by which a person chooses seeds.
func fromEnvironment(t *testing.T, name string) (number uint64, given bool) {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// replaying says whether a person wants to see one seed, with its whole trace.
func replaying() bool { return os.Getenv("SIM_SEED") != "" }

// report shows how a seed ended, and how to replay it.
func (w *world) report(t *testing.T, seed uint64) {
	t.Helper()
	tail := w.trace[max(0, len(w.trace)-100):]
	if replaying() {
		tail = w.trace
	}
	text := fmt.Sprintf("seed %d (replay: SIM_SEED=%d go test -run %s ./heartbeat)\noptions %+v\n%s\n%s",
		seed, seed, t.Name(), w.opt, strings.Join(tail, "\n"), w.fault)
	if w.fault != "" {
		t.Error(text)
	} else {
		t.Log(text)
	}
}

// endFaults mends everything that is broken; again starts a machine's daemon, and its scripts.
func (w *world) endFaults(again func(*machine)) {
	w.logf("calm")
	w.opt.loss, w.opt.startFails, w.opt.stopFails, w.opt.hangs = 0, 0, 0, 0
	w.serviceCut, w.mirrorCut, w.routerOff = false, false, false
	for _, m := range w.nodes {
		m.detached = 0
		m.tellCarrier()
	}
	w.deaf = [2]bool{}
	for _, c := range w.links {
		c.up = [2]bool{true, true}
	}
	for _, m := range w.nodes {
		m.resume()
		m.powered = true
		again(m)
		m.request(heartbeat.RequestCleanup, "")
	}
}

// beliefs holds what the nodes of ours report against what is.
func (w *world) beliefs() {
	for _, m := range w.nodes {
		if _, ours := m.node.(*heartbeat.Node); !ours || w.fault != "" {
			continue
		}
		for _, g := range m.node.Status().Groups {
			if owners := w.owners(g.Name); len(owners) == 1 && g.Owner != owners[0] {
				w.violate("%s believes that %q owns %s, it runs on %s", m.name, g.Owner, g.Name, owners[0])
			}
		}
	}
}
