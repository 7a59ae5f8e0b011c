package heartbeat_test

import (
	"slices"
	"testing"
	"time"

	"hapair/heartbeat"
)

// TestRenamedGroupGoesOn reloads a line that begins with another resource: the node that holds it goes on holding it, and the other one,
// which still has the old line, does not take it for free, whichever of them reloads first.
func TestRenamedGroupGoesOn(t *testing.T) {
	for _, first := range []int{0, 1} {
		t.Run([]string{"holder first", "other first"}[first], func(t *testing.T) {
			w := newWorld(1, options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: time.Second, groups: 1, links: 2,
				lease: true, failback: heartbeat.FailbackOff})
			alpha, beta := w.nodes[0], w.nodes[1]
			alpha.start()
			beta.start()
			w.run(time.Second)
			rename := func(m *machine) {
				cfg := w.cfg
				cfg.Node, cfg.Peer = m.name, w.nodes[1-m.index].name
				cfg.Groups = slices.Clone(cfg.Groups)
				old := cfg.Groups[0].Name
				cfg.Groups[0].Name = "10.0.0.99"
				m.runs["10.0.0.99"], m.until["10.0.0.99"] = m.runs[old], m.until[old] // as the manager and the kernel do
				delete(m.runs, old)
				m.step(heartbeat.Reconfigure{Config: cfg, Renamed: map[string]string{old: "10.0.0.99"}})
			}
			watch := func(d time.Duration) {
				for end := w.now + d; w.now < end; w.run(w.now + time.Millisecond) {
					if !alpha.runs["10.0.0.99"] && !alpha.runs["10.0.0.1"] || beta.runs["10.0.0.99"] || beta.runs["10.0.0.1"] {
						t.Fatalf("at %v alpha runs %v and beta %v", w.now, alpha.runs, beta.runs)
					}
					if !alpha.answers("10.0.0.99") && !alpha.answers("10.0.0.1") {
						t.Fatalf("at %v alpha does not answer", w.now)
					}
				}
			}
			rename(w.nodes[first])
			watch(2 * time.Second)
			rename(w.nodes[1-first])
			watch(2 * time.Second)
			alpha.powerCut()
			w.run(w.now + time.Second)
			if !beta.answers("10.0.0.99") || w.fault != "" {
				t.Errorf("beta runs %v after the end of alpha; %s", beta.runs, w.fault)
			}
		})
	}
}
