package heartbeat_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutations are single wrong steps of the core: each breaks one rule, and the simulation or a scenario has to notice. That shows that the
// invariants can fail.
var mutations = []struct{ name, file, old, new string }{
	{"take without the peer's answer", "takeover.go", "p.acked < g.wantedAt || ", ""},
	{"take what the peer holds", "takeover.go", "!p.current || g.peerHold != holdIdle", "!p.current"},
	{"both come first", "takeover.go", "	case n.peer.name:\n		return false", "	case n.peer.name:\n		return true"},
	{"both win a double holding", "takeover.go", "	win := n.wins(g)\n", "	win := true\n"},
	{"nobody wins a double holding", "takeover.go", "	win := n.wins(g)\n", "	win := false\n"},
	{"say goodbye before everything is released", "stop.go", "		default:\n			return\n		}\n	}\n	p := &n.peer\n	if s.forced", "		}\n	}\n	p := &n.peer\n	if s.forced"},
	{"adopt what the peer holds", "takeover.go", "if g.peerHold == holdIdle && p.acked >= g.wantedAt && !n.unheard()", "if true"},
	{"keep a group that failed", "group.go", "			n.release(g, \"failed: \"+ev.Reason)\n", ""},
	{"take a stuck group for released", "group.go", "	if ev.Err != nil && ev.Stuck && n.jammed(", "	if false && n.jammed("},
	{"call a living peer dead", "membership.go", "return p.lastHeard + p.patience()", "return p.lastHeard + p.deadtime/2"},
	{"judge before the queues are read", "node.go", "	n.watch(tick)\n", "	n.watch(true || tick)\n"},
	{"keep everything after a long sleep", "membership.go", "	if silent < n.cfg.Deadtime || n.member != memberActive {", "	if true || n.member != memberActive {"},
	{"stay silent for ever after a long sleep", "takeover.go", "	n.mute = false\n", ""},
	{"renew the lease of a node without a carrier", "lease.go", "if n.isolation.noCarrier != \"\" {", "if false {"},
	{"call the peer dead while mute", "membership.go", "if n.mute && p.life == lifeAlive {", "if false {"},
	{"no certainty although there is a device", "fence.go", "		return n.peerHarmless()\n", "		return true\n"},
	{"a lease longer than the dead time", "lease.go", "n.bounded(n.lastSaid() + n.leaseLength())", "n.bounded(n.lastSaid() + 2*n.leaseLength())"},
	{"a lease that goes on unheard", "lease.go", "p.hello.heard <= n.cfg.Keepalive*3/2 {", "true || p.hello.heard <= n.cfg.Keepalive*3/2 {"},
	{"a lease that is not shortened at once", "lease.go", "		if g.leased > capped {", "		if false {"},
	{"answer again without asking", "lease.go", "	if n.cfg.Lease == 0 || silent < n.cfg.Lease {", "	if true {"},
	{"forget the lease of the run before", "lease.go", "	return boot.Leases[group]\n", "	return 0\n"},
	{"no end to a fence loop", "fence_loop.go", "return n.cfg.FenceMost > 0 &&", "return false &&"},
	{"an isolated node fences", "fence.go", "	if n.cutOff() {\n", "	if false {\n"},
	{"fence who said goodbye", "fence.go", "	if p.life != lifeDead || f.done ||", "	if p.life != lifeDead && p.life != lifeLeft || f.done ||"},
	{"take before the device has answered", "fence.go", "p.life == lifeLeft || n.fence.done:", "p.life == lifeLeft || n.fence.done || n.fence.op != 0:"},
	{"an isolated node takes over", "takeover.go", "	cut := (n.isolation.cut || n.unanswered()) && !n.fence.done\n", "	cut := false\n"},
	{"an isolated node does not yield", "look.go", "			n.yield(why)\n", ""},
	{"a pulled cable tells nothing", "look.go", "		n.isolation.noCarrier = ev.Reason\n", ""},
	{"a router that was gone before isolates", "look.go", "	return n.peer.lastHeard == never || p.lastHeard", "	return true || p.lastHeard"},
	{"no mirrors", "mirror.go", "	n.do(Send{Link: LinkMirrors, Msg: n.aliveMessage(deaf || n.lapsed())})", "	n.aliveMessage(false)"},
	{"deaf to mirrors once the peer is dead", "alive.go", "!p.proven && !p.reflected && (p.life != lifeDead || !n.mirrorsSuffice())", "!p.proven"},
	{"the peer is not heard out after a sleep", "membership.go", "			p.hearOut = n.now.Mono + min(n.cfg.Keepalive*3/2, p.deadtime)\n", ""},
	{"leap without looking", "look.go", "	if !n.cfg.Look ||", "	if true ||"},
}

// TestMutations breaks the core in a copy, one rule at a time.
func TestMutations(t *testing.T) {
	if testing.Short() || os.Getenv("HEARTBEAT_MUTANT") != "" {
		return // inside a mutant, or asked for the quick tests only
	}
	dir := t.TempDir()
	copyModule(t, dir)
	for _, m := range mutations {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			name := filepath.Join(dir, "heartbeat", m.file)
			original, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			mutant := strings.Replace(string(original), m.old, m.new, 1)
			if mutant == string(original) {
				t.Fatalf("%s no longer holds %q: adapt the list", m.file, m.old)
			}
			if err := os.WriteFile(name, []byte(mutant), 0o644); err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(name, original, 0o644)
			if out, survived := survives(t, dir); survived {
				t.Errorf("nothing noticed it:\n%s", out)
			}
		})
	}
}

// survives runs the tests of a mutant.
func survives(t *testing.T, dir string) (string, bool) {
	t.Helper()
	build := exec.Command("go", "test", "-c", "-vet=off", "-o", filepath.Join(dir, "mutant.test"), "./heartbeat")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the mutant does not build: %v\n%s", err, out)
	}
	for _, which := range []string{"TestScenarios", "TestLease", "TestSimulation$", "TestNoFenceLoop"} {
		run := exec.Command(filepath.Join(dir, "mutant.test"), "-test.run", which, "-test.timeout", "60s")
		run.Dir = filepath.Join(dir, "heartbeat")
		run.Env = append(os.Environ(), "HEARTBEAT_MUTANT=1", "SIM_SEEDS=150", "SIM_FAILFAST=1")
		run.WaitDelay = time.Second
		if out, err := run.CombinedOutput(); err != nil {
			if !strings.Contains(string(out), "FAIL") && !strings.Contains(string(out), "panic") {
				t.Fatalf("the mutant's tests did not run: %v\n%s", err, out)
			}
			return "", false
		}
	}
	return "all scenarios and seeds pass", true
}

// copyModule copies what the core's tests need.
func copyModule(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range []string{"go.mod", "go.sum", "heartbeat/*.go", "heartbeat/wire/*.go", "heartbeat/fault/*.go", "testdata/cluster/*.txt", "docs/concepts.md"} {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: nothing to copy (%v)", pattern, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") && !coreTest(filepath.Base(name)) {
				continue
			}
			rel, err := filepath.Rel("..", name)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			target := filepath.Join(dir, rel)
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(target, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// coreTest names the test files that a mutant is held against.
func coreTest(name string) bool {
	switch name {
	case "sim_test.go", "sim_run_test.go", "sim_fencing_test.go", "simulation_test.go", "scenario_test.go", "lease_test.go", "export_test.go":
		return true
	}
	return false
}
