package heartbeat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
)

// pause asks for one on a node.
func (m *machine) pause(d time.Duration) error {
	return m.askFor(heartbeat.Request{Kind: heartbeat.RequestPause, For: d})
}

func TestPauseSuspendsTakeover(t *testing.T) {
	for _, on := range []int{0, 1} { // the active, the standby
		for _, lease := range []bool{false, true} {
			t.Run(fmt.Sprint(on, lease), func(t *testing.T) {
				w := fencedPair(t, options{device: deviceWorks, lease: lease}, nil)
				if err := w.nodes[on].pause(10 * time.Second); err != nil {
					t.Fatal(err)
				}
				w.run(w.now + time.Second)
				for _, m := range w.nodes {
					if left := m.node.Status().Paused; left < 8900*time.Millisecond || left > 9100*time.Millisecond {
						t.Errorf("%s says that %v are left", m.name, left)
					}
				}
				w.nodes[0].paused = true // it migrates
				w.run(w.now + 5*time.Second)
				w.nodes[0].resume()
				w.run(w.now + time.Second)
				if w.owner() != "alpha" || len(w.shots) != 0 || w.nodes[1].node.Status().Peer.State != "active" {
					t.Errorf("after a migration it runs on %q, %d shots", w.owner(), len(w.shots))
				}
				if lease && !w.nodes[0].answers("10.0.0.1") {
					t.Error("it does not answer any more")
				}
				w.run(w.now + 10*time.Second)
				if w.nodes[0].node.Status().Paused != 0 || w.nodes[1].node.Status().Paused != 0 || w.owner() != "alpha" {
					t.Error("the pause does not end by itself")
				}
			})
		}
	}
}

func TestPauseEndsByItself(t *testing.T) {
	w := fencedPair(t, options{device: deviceWorks, deviceTime: time.Millisecond}, nil)
	if err := w.nodes[1].pause(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	began := w.now
	w.run(w.now + time.Second)
	w.nodes[0].powerCut()
	took := w.await(t, 20*time.Second, "beta takes over", func() bool { return w.owner() == "beta" })
	if after := took - began; after < 10*time.Second || after > 10*time.Second+20*time.Millisecond {
		t.Errorf("taken %v after the pause began", after)
	}
	if text := strings.Join(w.trace, "\n"); !strings.Contains(text, "Takeover is paused for 10s (asked for by test)") || !strings.Contains(text, "no longer paused") {
		t.Errorf("the trace does not tell:\n%s", text)
	}
}

func TestPauseCanBeEnded(t *testing.T) {
	w := fencedPair(t, options{device: deviceWorks, deviceTime: time.Millisecond}, nil)
	alpha, beta := w.nodes[0], w.nodes[1]
	if err := beta.pause(time.Hour); err != nil {
		t.Fatal(err)
	}
	w.run(w.now + time.Second)
	if err := alpha.pause(0); err == nil || !strings.Contains(err.Error(), "end it there") {
		t.Errorf("ended on the other node: %v", err)
	}
	alpha.powerCut()
	w.run(w.now + time.Minute)
	if w.owner() != "" {
		t.Fatal("taken over during the pause")
	}
	if err := beta.pause(0); err != nil {
		t.Fatal(err)
	}
	w.await(t, time.Second, "beta takes over", func() bool { return w.owner() == "beta" })
	for want, d := range map[string]time.Duration{"is not there": time.Minute, "between 0": 25 * time.Hour, "which ends it": -1} {
		if err := beta.pause(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pause %v: %v", d, err)
		}
	}
}

// TestPauseOverASwitchThatRestarts: it carries the heartbeats, the service network and the ping node.
func TestPauseOverASwitchThatRestarts(t *testing.T) {
	up := [2]bool{true, true}
	w := fencedPair(t, options{device: deviceWorks}, func(w *world) { w.pings(&up) })
	if err := w.nodes[0].pause(time.Minute); err != nil {
		t.Fatal(err)
	}
	w.run(w.now + time.Second)
	w.cutLinks(true)
	up = [2]bool{}
	w.run(w.now + 30*time.Second)
	if w.owner() != "alpha" {
		t.Errorf("while the switch restarts it runs on %q", w.owner())
	}
	up = [2]bool{true, true}
	w.cutLinks(false)
	w.run(w.now + time.Minute)
	if w.owner() != "alpha" || len(w.shots) != 0 {
		t.Errorf("afterwards it runs on %q, %d shots", w.owner(), len(w.shots))
	}
}

// TestFrozenBeyondThePause: the peer waits for the end, takes over, and the sleeper lets go.
func TestFrozenBeyondThePause(t *testing.T) {
	w := fencedPair(t, options{device: deviceWorks, lease: true, groups: 1}, func(w *world) { w.cfg.Fencing = false })
	w.opt.fencing = false
	if err := w.nodes[0].pause(3 * time.Second); err != nil {
		t.Fatal(err)
	}
	w.run(w.now + time.Second)
	w.nodes[0].paused = true
	w.run(w.now + 10*time.Second)
	w.nodes[0].resume()
	w.run(w.now + 5*time.Second)
	if w.owner() != "beta" {
		t.Errorf("it runs on %q", w.owner())
	}
}

// TestPauseOutlivesTheDaemon: who paused takeovers and then restarts a daemon, for an upgrade say, still has them paused; another boot of the
// machine has its own clock, and no pause.
func TestPauseOutlivesTheDaemon(t *testing.T) {
	w := fencedPair(t, options{device: deviceWorks}, nil)
	alpha := w.nodes[0]
	if err := alpha.pause(time.Minute); err != nil {
		t.Fatal(err)
	}
	w.run(w.now + time.Second)
	alpha.kill()
	alpha.start()
	w.run(w.now + 2*time.Second)
	for _, m := range w.nodes {
		if left := m.node.Status().Paused; left < 56*time.Second || left > 58*time.Second {
			t.Errorf("%s says that %v are left", m.name, left)
		}
	}
	if err := alpha.pause(0); err != nil {
		t.Fatal(err)
	}
	alpha.kill()
	alpha.start()
	w.run(w.now + 2*time.Second)
	for _, m := range w.nodes {
		if left := m.node.Status().Paused; left != 0 {
			t.Errorf("%s says that %v are left of a pause that was ended", m.name, left)
		}
	}
}

// TestPauseSuspendsIPFail: a switch restarts that leads one of the nodes to the ping node.
func TestPauseSuspendsIPFail(t *testing.T) {
	up := [2]bool{true, true}
	w := fencedPair(t, options{device: deviceWorks}, func(w *world) { w.pings(&up); w.cfg.IPFail = true })
	if err := w.nodes[1].pause(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	w.run(w.now + time.Second)
	up[0] = false
	w.run(w.now + 15*time.Second)
	if w.owner() != "alpha" {
		t.Errorf("in the pause it runs on %q", w.owner())
	}
	w.await(t, 10*time.Second, "beta, which reaches more, takes over after the pause", func() bool { return w.owner() == "beta" })
}
