package heartbeat_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"hapair/heartbeat"
)

// reloads is a pair whose lines are changed on one node after the other.
type reloads struct {
	*world
	t *testing.T
}

// reloading starts a pair that prefers alpha for everything, with scripts that take up to scriptTime.
func reloading(t *testing.T, seed uint64, scriptTime time.Duration, lines ...string) *reloads {
	t.Helper()
	w := newWorld(seed, options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: time.Second, links: 2, scriptTime: scriptTime,
		lease: true, failback: heartbeat.FailbackOff})
	w.cfg.Groups = groupsOf(lines...)
	w.nodes[0].start()
	w.nodes[1].start()
	w.run(2 * time.Second)
	for _, line := range lines {
		if got := w.owners(line); !slices.Equal(got, []string{"alpha"}) {
			t.Fatalf("%s runs on %v", line, got)
		}
	}
	return &reloads{w, t}
}

// groupsOf are lines that prefer alpha.
func groupsOf(lines ...string) (groups []heartbeat.Group) {
	for _, name := range lines {
		groups = append(groups, heartbeat.Group{Name: name, Preferred: "alpha"})
	}
	return groups
}

// reload gives one node other lines.
func (r *reloads) reload(node int, change heartbeat.Reconfigure, lines ...string) {
	m := r.nodes[node]
	change.Config = r.cfg
	change.Config.Node, change.Config.Peer = m.name, r.nodes[1-node].name
	change.Config.Groups = groupsOf(lines...)
	m.step(change)
}

// TestRemovedGroupIsStoppedBeforeThePeerStartsIt: the node that holds a group reads files that do not have it any more, and takes long to
// stop it. The other node, which still has it, must not start it meanwhile.
func TestRemovedGroupIsStoppedBeforeThePeerStartsIt(t *testing.T) {
	for seed := range uint64(20) {
		r := reloading(t, seed, time.Second, "10.0.0.1", "10.0.0.2")
		r.reload(0, heartbeat.Reconfigure{}, "10.0.0.1")
		r.run(r.now + 3*time.Second)
		if r.fault != "" {
			t.Fatalf("seed %d: %s", seed, r.fault)
		}
		if got := r.owners("10.0.0.2"); !slices.Equal(got, []string{"beta"}) {
			t.Errorf("seed %d: the removed group, which beta still has, runs on %v", seed, got)
		}
		if n := len(r.nodes[0].node.Status().Groups); n != 1 {
			t.Errorf("seed %d: alpha still speaks of %d groups", seed, n)
		}
	}
}

// TestRemovedGroupThatCannotBeStopped: its policy holds, as for every other group, and the peer does not start it.
func TestRemovedGroupThatCannotBeStopped(t *testing.T) {
	r := reloading(t, 1, 10*time.Millisecond, "10.0.0.1", "10.0.0.2")
	r.opt.stopFails = 1
	r.reload(0, heartbeat.Reconfigure{}, "10.0.0.1")
	r.run(r.now + time.Second)
	groups := r.nodes[0].node.Status().Groups
	if len(groups) != 2 || groups[1].State != "stuck" || !groups[1].Removed || len(r.owners("10.0.0.2")) != 1 || r.fault != "" {
		t.Errorf("alpha says %+v, runs on %v, %s", groups, r.owners("10.0.0.2"), r.fault)
	}
	r.opt.stopFails = 0
	r.nodes[0].step(heartbeat.Request{ID: 1, Kind: heartbeat.RequestCleanup, Group: "10.0.0.2", By: "test"})
	r.run(r.now + time.Second)
	if n := len(r.nodes[0].node.Status().Groups); n != 1 || !slices.Equal(r.owners("10.0.0.2"), []string{"beta"}) {
		t.Errorf("after its cleanup alpha speaks of %d groups, and it runs on %v", n, r.owners("10.0.0.2"))
	}
}

// TestLinesThatJoinGoOn: two lines become one, on one node after the other. The node that holds both goes on serving, and the other one,
// which still has two, does not start the second.
func TestLinesThatJoinGoOn(t *testing.T) {
	for first := range 2 {
		r := reloading(t, 1, 10*time.Millisecond, "10.0.0.1", "10.0.0.2")
		alpha, beta := r.nodes[0], r.nodes[1]
		join := heartbeat.Reconfigure{Joined: map[string]string{"10.0.0.2": "10.0.0.1"}}
		watch := func(d time.Duration) {
			for end := r.now + d; r.now < end; r.run(r.now + time.Millisecond) {
				if !alpha.answers("10.0.0.1") || beta.runs["10.0.0.1"] || beta.runs["10.0.0.2"] {
					t.Fatalf("at %v alpha runs %v and beta %v", r.now, alpha.runs, beta.runs)
				}
			}
		}
		for _, node := range []int{first, 1 - first} {
			if node == 0 {
				alpha.runs["10.0.0.2"] = false // its resources are the other group's now
			}
			r.reload(node, join, "10.0.0.1")
			watch(2 * time.Second)
		}
		if r.fault != "" {
			t.Error(r.fault)
		}
	}
}

// TestLineThatPartsGoesOn: one line becomes two, on one node after the other. The node that holds it goes on serving both, and the other one,
// which it does not hear speak of the second, does not take that for free.
func TestLineThatPartsGoesOn(t *testing.T) {
	for first := range 2 {
		r := reloading(t, 1, 10*time.Millisecond, "10.0.0.1")
		r.cfg.Groups = groupsOf("10.0.0.1", "10.0.0.2") // what the invariants look at
		alpha, beta := r.nodes[0], r.nodes[1]
		for _, node := range []int{first, 1 - first} {
			if node == 0 {
				alpha.runs["10.0.0.2"], alpha.until["10.0.0.2"] = true, alpha.until["10.0.0.1"] // as the manager and the kernel do
			}
			r.reload(node, heartbeat.Reconfigure{Parts: map[string]heartbeat.Part{"10.0.0.2": {Of: "10.0.0.1", Runs: node == 0}}}, "10.0.0.1", "10.0.0.2")
			for end := r.now + 2*time.Second; r.now < end; r.run(r.now + time.Millisecond) {
				if !alpha.answers("10.0.0.1") || alpha.runs["10.0.0.2"] && !alpha.answers("10.0.0.2") || len(slices.Collect(maps.Keys(beta.runs))) > 0 {
					t.Fatalf("at %v alpha runs %v and beta %v", r.now, alpha.runs, beta.runs)
				}
			}
		}
		if !alpha.answers("10.0.0.2") || r.fault != "" {
			t.Errorf("the part does not go on: %v, %s", alpha.runs, r.fault)
		}
		alpha.powerCut()
		r.run(r.now + time.Second)
		if !beta.answers("10.0.0.1") || !beta.answers("10.0.0.2") || r.fault != "" {
			t.Errorf("beta runs %v after the end of alpha; %s", beta.runs, r.fault)
		}
	}
}

// TestUnsureWhetherItRuns: what this node held before its daemon was restarted, and does not say whether it runs, is taken for running, so that
// it is stopped where the peer holds it by now; what it did not hold is not.
func TestUnsureWhetherItRuns(t *testing.T) {
	for held, want := range map[bool]string{true: "adopting", false: "idle"} {
		w := newWorld(1, options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: time.Second, links: 1})
		cfg := w.cfg
		cfg.Node, cfg.Peer, cfg.Groups = "alpha", "beta", groupsOf("silent")
		boot := heartbeat.Boot{Generation: 2, Epochs: map[string]uint64{"silent": 3}}
		if held {
			boot.Held = []string{"silent"}
		}
		n, err := heartbeat.New(cfg, boot, w.instant())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range n.Step(w.instant(), heartbeat.Tick{}) {
			if e, ok := a.(heartbeat.Examine); ok {
				n.Step(w.instant(), heartbeat.Done{Op: e.Op, Unsure: true})
			}
		}
		if got := n.Status().Groups[0].State; got != want {
			t.Errorf("held before %v: %s, want %s", held, got, want)
		}
	}
}
