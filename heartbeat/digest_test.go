package heartbeat_test

import (
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// spy is a node whose actions are looked at.
type spy struct {
	daemon
	heard []string // what the peer said of itself, in order
	got   []string // the messages that came for the daemon
}

func (s *spy) Step(now heartbeat.Instant, ev heartbeat.Event) []heartbeat.Action {
	actions := s.daemon.Step(now, ev)
	for _, a := range actions {
		switch a := a.(type) {
		case heartbeat.PeerDigest:
			s.heard = append(s.heard, a.Text)
		case heartbeat.Notify:
			if a.Msg.Kind() == "hapair-ask" {
				s.got = append(s.got, a.Msg.Get("src"))
			}
		}
	}
	return actions
}

// spied is a pair whose beta is looked at.
func spied(loss float64) (w *world, beta func() *spy) {
	w = newWorld(1, options{keepalive: 50 * time.Millisecond, deadtime: 500 * time.Millisecond, initdead: time.Second, groups: 1, links: 2, loss: loss})
	var made *spy
	w.nodes[1].build = func(m *machine, cfg heartbeat.Config) (daemon, error) {
		n, err := heartbeat.New(cfg, m.boot, m.w.instant())
		made = &spy{daemon: n}
		return made, err
	}
	return w, func() *spy { return made }
}

func TestDigestReachesThePeerAndCostsNothingAfterwards(t *testing.T) {
	w, beta := spied(0.3)
	alpha := w.nodes[0]
	said := 0
	w.overhear = func(m *machine, s heartbeat.Send) {
		if m == alpha && strings.Contains(s.Msg.Get("hapair-digest"), "d=") {
			said++
		}
	}
	alpha.start()
	alpha.step(heartbeat.Digest{Text: "d=1"})
	w.nodes[1].start()
	w.run(2 * time.Second)
	if got := strings.Join(beta().heard, " "); got != "d=1" {
		t.Fatalf("beta heard %q", got)
	}
	said = 0
	alpha.step(heartbeat.Digest{Text: "d=1"}) // computed again, and the same
	w.run(4 * time.Second)
	if said != 0 {
		t.Errorf("said %d times after it was acknowledged", said)
	}
	alpha.step(heartbeat.Digest{Text: "d=2"})
	w.run(w.now + time.Second)
	if got := strings.Join(beta().heard, " "); got != "d=1 d=2" || said == 0 || said > 30 {
		t.Errorf("after a change beta heard %q, said %d times", got, said)
	}
	w.nodes[1].kill()
	w.nodes[1].start() // it knows nothing any more
	w.run(w.now + time.Second)
	if got := strings.Join(beta().heard, " "); got != "d=2" || w.fault != "" {
		t.Errorf("after a restart beta heard %q; %s", got, w.fault)
	}
}

func TestDigestOfAnOlderPeerIsEmpty(t *testing.T) {
	w, beta := spied(0)
	w.nodes[0].start()
	w.nodes[1].start()
	w.run(2 * time.Second)
	if len(beta().heard) != 0 {
		t.Errorf("beta heard %q", beta().heard)
	}
}

func TestClocksAreCompared(t *testing.T) {
	w, _ := spied(0)
	w.nodes[0].start()
	w.nodes[1].start()
	w.run(2 * time.Second)
	if d := w.nodes[0].node.Status().Peer.ClockAhead; d.Abs() > time.Second {
		t.Errorf("equal clocks differ by %v", d)
	}
	m := wire.New("status")
	for name, value := range map[string]string{"src": "beta", "seq": "1", "hg": "ffff", "st": "active", "ts": "0", "dt": "1f4"} {
		m.Add(name, value)
	}
	w.nodes[0].step(heartbeat.Received{Link: "bcast eth0", Msg: m})
	if d := w.nodes[0].node.Status().Peer.ClockAhead; d > -time.Hour {
		t.Errorf("a peer that lives in 1970 is %v ahead", d)
	}
}

func TestSubmittedOnOneLinkIsSentAgainOnAll(t *testing.T) {
	w, beta := spied(0)
	alpha := w.nodes[0]
	alpha.start()
	w.nodes[1].start()
	w.run(2 * time.Second)
	w.links[0].up[0] = false
	var on []string
	w.overhear = func(m *machine, s heartbeat.Send) {
		if m == alpha && s.Msg.Kind() == "hapair-ask" {
			on = append(on, s.Link)
		}
	}
	ask := wire.New("hapair-ask")
	ask.Add("dest", "beta")
	alpha.step(heartbeat.Submit{Msg: ask, Link: w.links[0].id})
	w.run(w.now + 2*time.Second)
	if strings.Join(on, ",") != w.links[0].id+"," || strings.Join(beta().got, " ") != "alpha" {
		t.Errorf("sent on %q, arrived from %q", on, beta().got)
	}
}
