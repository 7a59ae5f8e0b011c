package heartbeat_test

import (
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
)

// connected is a pair of ours that compares two ping nodes.
func connected(failback heartbeat.Failback) *world {
	w := newWorld(1, options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: time.Second, groups: 1, links: 2,
		failback: failback})
	w.pingNodes(2)
	for _, m := range w.nodes {
		m.start()
	}
	w.run(2 * time.Second)
	return w
}

// runsOn wants the only group on one node, after a while.
func (w *world) runsOn(t *testing.T, name string, after time.Duration) {
	t.Helper()
	w.run(w.now + after)
	if owners := w.owners(w.cfg.Groups[0].Name); len(owners) != 1 || owners[0] != name || w.fault != "" {
		t.Fatalf("it runs on %v, not on %s; %s\n%s", owners, name, w.fault, tail(w))
	}
}

func tail(w *world) string {
	text := ""
	for _, line := range w.trace[max(0, len(w.trace)-40):] {
		text += line + "\n"
	}
	return text
}

func TestBetterConnectedNodeServes(t *testing.T) {
	w := connected(heartbeat.FailbackOff)
	w.runsOn(t, "alpha", 0)
	w.deaf[0] = true
	w.runsOn(t, "alpha", 100*time.Millisecond) // not dead yet
	w.runsOn(t, "beta", 200*time.Millisecond)  // dead
	w.deaf[0] = false
	w.runsOn(t, "beta", 5*time.Second) // a tie changes nothing
}

// TestBetterConnectedNodeServesAtOnce: where the peer has proof that the difference is real, deadping is all that is waited for.
func TestBetterConnectedNodeServesAtOnce(t *testing.T) {
	w := connected(heartbeat.FailbackOff)
	w.cfg.Deadping = time.Second
	for _, m := range w.nodes {
		m.powerCut()
		m.powered = true
		m.start()
	}
	w.run(w.now + 3*time.Second)
	w.runsOn(t, "alpha", 0)
	cut := w.now
	w.deaf[0] = true
	at := w.await(t, 2*time.Second, "beta serves", func() bool { return w.owner() == "beta" })
	if took := at - cut; took > 1020*time.Millisecond || took < 900*time.Millisecond {
		t.Errorf("beta serves %v after the uplink of alpha was lost, want deadping 1s and at most 20ms", took)
	}
	w.run(w.now + 200*time.Millisecond)
	want := heartbeat.ReachStatus{Here: 0, Peer: 2, HereKnown: true, PeerKnown: true}
	if got := w.nodes[0].node.Status().Reach; got != want {
		t.Errorf("its status says %+v, want %+v", got, want)
	}
}

// TestPingNodeLostByBothMovesNothing, whatever comes first and whatever is lost on the way.
func TestPingNodeLostByBothMovesNothing(t *testing.T) {
	for seed := range uint64(60) {
		o := options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: time.Second, groups: 2, links: 2, failback: heartbeat.FailbackOff,
			delay: 5 * time.Millisecond, loss: []float64{0, 0, 0.05}[seed%3]}
		w := newWorld(seed, o)
		w.cfg.Deadping = time.Second
		w.pingNodes(1 + int(seed%2))
		for _, m := range w.nodes {
			w.at(w.upTo(100*time.Millisecond), m.start)
		}
		w.run(3*time.Second + w.upTo(time.Second))
		before := [2]string{w.owner(), strings.Join(w.owners("10.0.0.2"), " ")}
		w.deaf = [2]bool{true, true}
		for end := w.now + 5*time.Second; w.now < end; w.run(w.now + 10*time.Millisecond) {
			if after := [2]string{w.owner(), strings.Join(w.owners("10.0.0.2"), " ")}; after != before {
				t.Fatalf("seed %d: groups moved from %v to %v\n%s", seed, before, after, tail(w))
			}
		}
	}
}

func TestEqualConnectionsChangeNothing(t *testing.T) {
	w := connected(heartbeat.FailbackOff)
	w.deaf = [2]bool{true, true}
	w.runsOn(t, "alpha", 3*time.Second)
	w.deaf[1] = false
	w.runsOn(t, "beta", 2*time.Second)
}

func TestShortDifferenceChangesNothing(t *testing.T) {
	w := connected(heartbeat.FailbackOff)
	w.deaf[0] = true
	w.at(140*time.Millisecond, func() { w.deaf[0] = false }) // an answer came just before, and one comes before deadping is over
	w.runsOn(t, "alpha", 3*time.Second)
}

func TestFailbackWaitsForEqualConnections(t *testing.T) {
	w := connected(heartbeat.FailbackOn)
	w.deaf[0] = true
	w.runsOn(t, "beta", 5*time.Second) // auto_failback does not take it back
	w.deaf[0] = false
	w.runsOn(t, "alpha", 5*time.Second)
}

// A hand-over that the peer could not take at first is tried again.
func TestGiveUpIsTriedAgain(t *testing.T) {
	w := connected(heartbeat.FailbackOff)
	w.nodes[1].request(heartbeat.RequestStop, "")
	w.deaf[0] = true
	w.runsOn(t, "alpha", 3*time.Second)
	w.nodes[1].start()
	w.runsOn(t, "beta", 5*time.Second)
}

func TestOperatorGoesBeforeConnections(t *testing.T) {
	w := connected(heartbeat.FailbackOff)
	w.deaf[0] = true
	w.runsOn(t, "beta", 2*time.Second)
	w.nodes[0].request(heartbeat.RequestTakeover, "all")
	w.runsOn(t, "alpha", 60*time.Second)
}

// With Linux-HA on either side the messages of its ipfail decide.
func TestBetterConnectedNodeServesWithLinuxHA(t *testing.T) {
	for index, name := range []string{"alpha", "beta"} {
		t.Run("ours is "+name, func(t *testing.T) {
			w := newWorld(1, options{keepalive: 200 * time.Millisecond, deadtime: 2 * time.Second, initdead: 5 * time.Second, groups: 1, links: 2})
			w.cfg.Failback = heartbeat.FailbackOff
			w.pingNodes(1)
			site := installLinuxHA(w.nodes[1-index], 50*time.Millisecond)
			for _, m := range w.nodes {
				m.start()
			}
			w.runsOn(t, "alpha", 20*time.Second)
			w.deaf[0] = true
			w.runsOn(t, "beta", 6*time.Second)
			w.deaf[0] = false
			w.runsOn(t, "beta", 10*time.Second)
			w.deaf[1] = true
			w.runsOn(t, "alpha", 6*time.Second)
			if len(site.complaints) > 0 {
				t.Errorf("Linux-HA complains: %v", site.complaints)
			}
		})
	}
}

// TestPingNodeLostByBothMovesNothingWithLinuxHA: it looks four times a second only, and so may notice a quarter of a second later what both have lost.
func TestPingNodeLostByBothMovesNothingWithLinuxHA(t *testing.T) {
	for ours, name := range []string{"alpha", "beta"} {
		w := newWorld(1, options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: 5 * time.Second, groups: 1, links: 2,
			failback: heartbeat.FailbackOff})
		w.pingNodes(1)
		p := &mixedPair{world: w, ours: w.nodes[ours], theirs: w.nodes[1-ours]}
		p.site = installLinuxHA(p.theirs, 50*time.Millisecond)
		p.ours.exempt = p.exempt
		w.nodes[0].start()
		w.nodes[1].start()
		w.runsOn(t, "alpha", 20*time.Second)
		if name == "beta" { // ours is to be the one that serves
			p.ours.request(heartbeat.RequestTakeover, "all")
		}
		w.runsOn(t, name, 3*time.Second)
		for range 10 { // at different moments of its quarter of a second
			w.deaf = [2]bool{true, true}
			w.runsOn(t, name, 3*time.Second+77*time.Millisecond)
			w.deaf = [2]bool{}
			w.runsOn(t, name, 3*time.Second)
		}
	}
}

// TestPingNodeBackMovesNothingWithLinuxHA: its ipfail gives everything away two keepalives after it hears of a ping node that only the other node reaches.
// One that answers both again may answer ours first.
func TestPingNodeBackMovesNothingWithLinuxHA(t *testing.T) {
	for ours, name := range []string{"alpha", "beta"} {
		w := newWorld(1, options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: 5 * time.Second, groups: 1, links: 2,
			failback: heartbeat.FailbackOff})
		w.pingNodes(1)
		installLinuxHA(w.nodes[1-ours], 50*time.Millisecond)
		w.nodes[0].start()
		w.nodes[1].start()
		w.runsOn(t, "alpha", 20*time.Second)
		if name == "alpha" { // Linux-HA is to be the one that serves
			w.nodes[ours].request(heartbeat.RequestStandby, "all")
		}
		theirs := w.nodes[1-ours].name
		w.runsOn(t, theirs, 3*time.Second)
		for range 5 {
			w.deaf = [2]bool{true, true}
			w.runsOn(t, theirs, 3*time.Second+77*time.Millisecond)
			w.deaf[ours] = false
			w.runsOn(t, theirs, 200*time.Millisecond)
			w.deaf = [2]bool{}
			w.runsOn(t, theirs, 3*time.Second)
		}
		w.deaf[1-ours] = true // but what it alone has lost it gives away
		w.runsOn(t, name, 6*time.Second)
	}
}
