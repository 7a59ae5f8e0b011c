package heartbeat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
)

// fencedPair is a pair with devices that take a second. alpha prefers the first group, beta the second where there is one.
func fencedPair(t *testing.T, o options, change func(w *world)) *world {
	t.Helper()
	o.keepalive, o.deadtime, o.initdead = 100*time.Millisecond, time.Second, 2*time.Second
	o.links, o.fencing, o.failback = 2, true, heartbeat.FailbackOff
	o.groups = max(o.groups, 1)
	if o.deviceTime == 0 {
		o.deviceTime = time.Second
	}
	w := newWorld(1, o)
	if change != nil {
		change(w)
	}
	w.nodes[0].start()
	w.nodes[1].start()
	w.run(5 * time.Second)
	t.Cleanup(func() {
		if w.fault != "" {
			t.Error(w.fault)
		}
		if t.Failed() {
			t.Log(strings.Join(w.trace, "\n"))
		}
	})
	return w
}

// cutLinks takes all heartbeat links away, or gives them back.
func (w *world) cutLinks(cut bool) {
	for _, c := range w.links {
		c.up = [2]bool{!cut, !cut}
	}
}

// owner is who runs the first group.
func (w *world) owner() string { return strings.Join(w.owners("10.0.0.1"), " ") }

// until runs until a condition holds, and returns when that was; it fails after limit.
func (w *world) await(t *testing.T, limit time.Duration, what string, met func() bool) time.Duration {
	t.Helper()
	for end := w.now + limit; !met(); {
		if w.now >= end || w.fault != "" {
			t.Fatalf("not within %v: %s", limit, what)
		}
		w.run(w.now + time.Millisecond)
	}
	return w.now
}

func TestTakeoverIsDeadtimeDelayAndDevice(t *testing.T) {
	for _, tt := range []struct {
		delay, device, checked, want time.Duration
	}{
		{0, time.Second, 0, 2 * time.Second},
		{0, 10 * time.Millisecond, 0, 1010 * time.Millisecond},
		{1500 * time.Millisecond, time.Second, 0, 3500 * time.Millisecond},
		{-1, time.Second, 200 * time.Millisecond, 3400 * time.Millisecond}, // 2 × 0.2 s + 1 s
		{-1, time.Second, 0, 13 * time.Second},                             // never measured: 2 × 5 s + 1 s
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			w := fencedPair(t, options{device: deviceWorks, fenceDelay: tt.delay, deviceTime: tt.device}, nil)
			if tt.checked > 0 {
				w.nodes[1].step(heartbeat.DeviceChecked{Took: tt.checked})
			}
			heard := w.nodes[1].heard
			w.nodes[0].powerCut()
			at := w.await(t, 20*time.Second, "beta takes over", func() bool { heard = w.nodes[1].heard; return w.owner() == "beta" })
			if late := at - heard - tt.want; late < 0 || late > 10*time.Millisecond {
				t.Errorf("takeover %v after the last heartbeat, want %v and at most 10 ms", at-heard, tt.want)
			}
		})
	}
}

// TestCutPairShootsOnce is the fence race: two healthy nodes lose sight of each other for good. The one that serves survives, and no
// exchange of resets outlives the other's reboot.
func TestCutPairShootsOnce(t *testing.T) {
	for _, active := range []string{"alpha", "beta", "both"} {
		for _, delay := range []time.Duration{-1, 3 * time.Second} {
			for _, network := range []string{"no look", "whole", "cut"} {
				t.Run(fmt.Sprint(active, " ", delay, " ", network), func(t *testing.T) {
					w := fencedPair(t, options{device: deviceWorks, fenceDelay: delay, groups: map[string]int{"both": 2}[active]}, func(w *world) {
						if network != "no look" {
							w.cfg.Look, w.cfg.Lease = true, 900*time.Millisecond
						}
					})
					if active == "beta" {
						w.nodes[0].request(heartbeat.RequestStandby, "all")
						w.run(w.now + time.Second)
					}
					w.serviceCut = network == "cut"
					w.cutLinks(true)
					w.run(w.now + 5*time.Minute)
					calm := len(w.shots)
					w.run(w.now + 10*time.Minute)
					if len(w.shots) != calm {
						t.Errorf("a fence loop: %d resets, then %d more", calm, len(w.shots)-calm)
					}
					victim, survivor := "b", "alpha"
					if active == "beta" {
						victim, survivor = "a", "beta"
					}
					hits := w.hits()
					switch {
					case active == "both" && network == "whole":
						if hits != "" {
							t.Errorf("hits %q although both see that the other serves", hits)
						}
						return
					case hits != victim:
						t.Errorf("hits %q, want the node that comes second, once", hits)
					}
					if w.owner() != survivor {
						t.Errorf("it runs on %q, want %s", w.owner(), survivor)
					}
				})
			}
		}
	}
}

func TestBothStartWithoutHearingEachOther(t *testing.T) {
	for _, delay := range []time.Duration{-1, 3 * time.Second} {
		o := options{keepalive: 100 * time.Millisecond, deadtime: time.Second, initdead: 2 * time.Second, links: 2, groups: 2, fencing: true,
			device: deviceWorks, fenceDelay: delay, deviceTime: time.Second}
		w := newWorld(1, o)
		w.cutLinks(true)
		w.nodes[0].start()
		w.nodes[1].start()
		w.run(30 * time.Minute)
		if hits := w.hits(); w.fault != "" || hits != "b" || w.owner() == "" {
			t.Errorf("delay %v: hits %q, it runs on %q; %s\n%s", delay, hits, w.owner(), w.fault, strings.Join(w.trace, "\n"))
		}
	}
}

func TestConfirmDeadEndsAnyWait(t *testing.T) {
	wait := func(cond string) func(*world) bool {
		return func(w *world) bool { return w.nodes[1].node.Status().Fencing.State == cond }
	}
	for _, tt := range []struct {
		name   string
		device string
		delay  time.Duration
		when   func(*world) bool
	}{
		{"during the delay", deviceWorks, time.Minute, wait("delayed")},
		{"while the device works", deviceWorks, 0, wait("running")},
		{"after it failed", deviceFails, 0, wait("failed")},
		{"as soon as it is dead", deviceFails, time.Minute, func(w *world) bool { return w.nodes[1].node.Status().Peer.State == "dead" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := fencedPair(t, options{device: tt.device, fenceDelay: tt.delay, deviceTime: 3 * time.Second}, nil)
			beta := w.nodes[1]
			if err := beta.ask(heartbeat.RequestConfirmDead); err == nil || !strings.Contains(err.Error(), "alpha is alive") {
				t.Errorf("while alpha lives: %v", err)
			}
			w.nodes[0].powerCut()
			w.await(t, 20*time.Second, "the wait", func() bool { return tt.when(w) })
			if w.owner() != "" {
				t.Fatalf("taken before")
			}
			if err := beta.ask(heartbeat.RequestConfirmDead); err != nil {
				t.Fatal(err)
			}
			if w.owner() != "beta" {
				t.Errorf("not taken at once, but by %q", w.owner())
			}
			if beta.fenceOp != 0 && tt.name == "while the device works" {
				t.Errorf("the attempt goes on")
			}
			shots := len(w.shots)
			w.run(w.now + time.Minute)
			if s := beta.node.Status().Fencing; len(w.shots) != shots || s.State != "confirmed" || !strings.Contains(s.Reason, "test confirmed") {
				t.Errorf("%d shots more, %+v", len(w.shots)-shots, s)
			}
		})
	}
}

func TestConfirmDeadBeforeInitdead(t *testing.T) {
	w := newWorld(1, options{keepalive: 100 * time.Millisecond, deadtime: time.Second, initdead: time.Hour, links: 1, groups: 1, fencing: true})
	w.nodes[1].start()
	w.run(time.Second)
	if err := w.nodes[1].ask(heartbeat.RequestConfirmDead); err != nil || w.owner() != "beta" || len(w.shots) != 0 {
		t.Errorf("%v, it runs on %q, %d shots", err, w.owner(), len(w.shots))
	}
}

func TestFailedDeviceIsToldAndTriedAgain(t *testing.T) {
	w := fencedPair(t, options{device: deviceFails, deviceTime: time.Second}, nil)
	beta := w.nodes[1]
	w.nodes[0].powerCut()
	failed := w.await(t, 5*time.Second, "an alarm", func() bool { return len(beta.alarms) > 0 })
	if late := failed - w.shots[0].at; late > 2*time.Second || !strings.Contains(beta.alarms[0].Text, "device unreachable") ||
		!strings.Contains(beta.alarms[0].Text, "heartbeat confirm-dead alpha") {
		t.Errorf("alarm %v after the attempt began: %+v", late, beta.alarms[0])
	}
	w.run(w.now + 5*time.Minute)
	var gaps []string
	for i := 1; i < len(w.shots); i++ {
		gaps = append(gaps, (w.shots[i].at - w.shots[i-1].at - time.Second).Round(time.Second).String())
	}
	if got := strings.Join(gaps, " "); !strings.HasPrefix(got, "5s 10s 20s 40s 1m0s 1m0s") {
		t.Errorf("retried after %s", got)
	}
	if w.owner() != "" {
		t.Errorf("taken over by %q without certainty", w.owner())
	}
	w.nodes[0].powered = true
	w.nodes[0].start()
	w.run(w.now + 10*time.Second)
	shots := len(w.shots)
	w.run(w.now + 5*time.Minute)
	if last := beta.alarms[len(beta.alarms)-1]; len(w.shots) != shots || last.Text != "" || w.owner() == "" {
		t.Errorf("the node is back: %d shots more, alarm %q, it runs on %q", len(w.shots)-shots, last.Text, w.owner())
	}
}

func TestAttemptIsCalledBackWhenThePeerReturns(t *testing.T) {
	w := fencedPair(t, options{device: deviceFails, deviceTime: 10 * time.Second}, nil)
	beta := w.nodes[1]
	w.cutLinks(true)
	w.await(t, 5*time.Second, "an attempt", func() bool { return beta.fenceOp != 0 })
	w.cutLinks(false)
	w.await(t, time.Second, "it is called back", func() bool { return beta.fenceOp == 0 })
}

func TestPoliteLeaverIsNotFenced(t *testing.T) {
	w := fencedPair(t, options{device: deviceWorks}, nil)
	w.nodes[0].request(heartbeat.RequestStop, "")
	w.run(w.now + time.Minute)
	if len(w.shots) != 0 || w.owner() != "beta" {
		t.Errorf("%d shots, it runs on %q", len(w.shots), w.owner())
	}
}

func TestIsolatedNodeNeverFences(t *testing.T) {
	for _, isolated := range []int{0, 1} { // the active, the standby
		t.Run(fmt.Sprint(isolated), func(t *testing.T) {
			up := [2]bool{true, true}
			w := fencedPair(t, options{device: deviceWorks, fenceDelay: 3 * time.Second}, func(w *world) { w.pings(&up) })
			w.cutLinks(true)
			up[isolated] = false
			w.run(w.now + 5*time.Minute)
			for _, s := range w.shots {
				if s.by == w.nodes[isolated].name {
					t.Errorf("%s was cut off and fenced %s", s.by, s.node)
				}
			}
			if want := w.nodes[1-isolated].name; w.owner() != want {
				t.Errorf("it runs on %q, want %s, which sees the ping node", w.owner(), want)
			}
			calm := len(w.shots)
			w.run(w.now + 10*time.Minute)
			if calm != 1 || len(w.shots) != 1 {
				t.Errorf("%d shots, then %d", calm, len(w.shots)-calm)
			}
		})
	}
	t.Run("both", func(t *testing.T) {
		up := [2]bool{true, true}
		w := fencedPair(t, options{device: deviceWorks}, func(w *world) { w.pings(&up) })
		w.cutLinks(true)
		up = [2]bool{}
		w.run(w.now + time.Minute)
		up = [2]bool{true, true} // the switch is back; the heartbeats are a moment later
		w.run(w.now + 500*time.Millisecond)
		w.cutLinks(false)
		w.run(w.now + time.Minute)
		if len(w.shots) != 0 || w.owner() == "" {
			t.Errorf("%d shots when a switch that carries everything restarts; it runs on %q", len(w.shots), w.owner())
		}
	})
}

// TestFenceLoopAsksForAPerson: a peer that is reset, comes back and falls silent again, and again. Nothing is lost meanwhile: what it preferred stays
// where it runs.
func TestFenceLoopAsksForAPerson(t *testing.T) {
	again := func(w *world, t *testing.T) (shots int) {
		t.Helper()
		before := len(w.shots)
		w.cutLinks(true)
		w.run(w.now + 4*time.Second) // deadtime, the device's second, and beta's boot, which does not reach initdead
		w.cutLinks(false)
		w.await(t, 5*time.Second, "beta is back", func() bool { return w.nodes[0].node.Status().Peer.State == "active" })
		w.run(w.now + time.Second)
		return len(w.shots) - before
	}
	loop := func(t *testing.T) *world {
		w := fencedPair(t, options{device: deviceWorks, fenceDelay: time.Minute, groups: 2, deviceTime: 500 * time.Millisecond}, func(w *world) {
			w.cfg.Failback, w.cfg.FailbackDelay, w.cfg.Initdead = heartbeat.FailbackOn, 0, 4*time.Second
		})
		for i := range fenceMost {
			if shots := again(w, t); shots != 1 {
				t.Fatalf("silence %d: %d resets", i+1, shots)
			}
		}
		alpha := w.nodes[0]
		if !strings.Contains(fmt.Sprint(alpha.alarms), "beta was reset 3 times and never stayed for 20s: find out why") {
			t.Errorf("the last reset that is made without a person is not told: %+v", alpha.alarms)
		}
		if second := strings.Join(w.owners("10.0.0.2"), " "); second != "alpha" {
			t.Errorf("what beta prefers runs on %q although beta does not stay", second)
		}
		return w
	}
	t.Run("hold", func(t *testing.T) {
		w := loop(t)
		alpha := w.nodes[0]
		w.cutLinks(true)
		w.run(w.now + 1100*time.Millisecond)
		if s := alpha.node.Status().Fencing; s.State != "waiting" || s.Reason != "beta was reset 3 times and never stayed for 20s" {
			t.Errorf("%+v", s)
		}
		if last := alpha.alarms[len(alpha.alarms)-1]; !strings.Contains(last.Text, "`heartbeat confirm-dead beta`") {
			t.Errorf("alarm %+v", last)
		}
		w.nodes[1].powerCut() // else it would shoot alpha, whose count is not its own
		w.run(w.now + 10*time.Minute)
		if len(w.shots) != fenceMost {
			t.Errorf("%d resets after ten minutes", len(w.shots))
		}
		if err := alpha.ask(heartbeat.RequestConfirmDead); err != nil || alpha.node.Status().Fencing.State != "confirmed" {
			t.Errorf("a person's word: %v, %+v", err, alpha.node.Status().Fencing)
		}
		w.cutLinks(false)
		w.nodes[1].powered = true
		w.nodes[1].start()
		w.run(w.now + 5*time.Second)
		if shots := again(w, t); shots != 1 {
			t.Errorf("%d resets in the first silence after a person looked", shots)
		}
	})
	t.Run("hold after a restart", func(t *testing.T) {
		w := loop(t)
		alpha := w.nodes[0]
		alpha.kill()
		alpha.start()
		w.run(w.now + 2*time.Second)
		w.cutLinks(true)
		w.run(w.now + 10*time.Second)
		if s := alpha.node.Status().Fencing; s.State != "waiting" || w.shots[len(w.shots)-1].by == "alpha" && len(w.shots) != fenceMost {
			t.Errorf("%+v, %d resets", s, len(w.shots))
		}
	})
	t.Run("calm", func(t *testing.T) {
		w := loop(t)
		w.run(w.now + 25*time.Second)
		alpha := w.nodes[0]
		if last := alpha.alarms[len(alpha.alarms)-1]; last.Key != "fence loop" || last.Text != "" || alpha.boot.Fences != 0 {
			t.Errorf("after twenty quiet seconds %d resets are counted: %+v", alpha.boot.Fences, last)
		}
		if second := strings.Join(w.owners("10.0.0.2"), " "); second != "beta" {
			t.Errorf("what beta prefers runs on %q although beta stayed", second)
		}
		if shots := again(w, t); shots != 1 {
			t.Errorf("%d resets in the next silence", shots)
		}
	})
}

// TestOnlyResetsCount: a peer that is back before the device did anything was not reset.
func TestOnlyResetsCount(t *testing.T) {
	w := fencedPair(t, options{device: deviceFails, deviceTime: time.Second}, nil)
	for range 2 * fenceMost {
		w.cutLinks(true)
		w.run(w.now + 2500*time.Millisecond)
		w.cutLinks(false)
		w.run(w.now + 500*time.Millisecond)
	}
	for _, m := range w.nodes {
		if m.boot.Fences != 0 {
			t.Errorf("%s counts %d resets, its device made none", m.name, m.boot.Fences)
		}
	}
}

func TestStartPolicy(t *testing.T) {
	for _, tt := range []struct {
		policy heartbeat.StartPolicy
		ping   bool
		boot   heartbeat.Boot
		want   string // who runs it, and how many shots
	}{
		{heartbeat.StartAlone, true, heartbeat.Boot{}, "beta 1"},
		{heartbeat.StartAsk, true, heartbeat.Boot{}, " 0"},
		{heartbeat.StartIfPing, true, heartbeat.Boot{}, "beta 1"},
		{heartbeat.StartIfPing, false, heartbeat.Boot{}, " 0"},
		{heartbeat.StartAlone, true, heartbeat.Boot{StartFenced: true}, " 0"},
		{heartbeat.StartAlone, true, heartbeat.Boot{StartFenced: true, Clean: true}, "beta 1"},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			up := [2]bool{tt.ping, tt.ping}
			w := newWorld(1, options{keepalive: 100 * time.Millisecond, deadtime: time.Second, initdead: 2 * time.Second, links: 1, groups: 1,
				fencing: true, device: deviceWorks, deviceTime: time.Second, failback: heartbeat.FailbackOff})
			w.cfg.Start = tt.policy
			w.pings(&up)
			beta := w.nodes[1]
			beta.boot.StartFenced, beta.boot.Clean = tt.boot.StartFenced, tt.boot.Clean
			w.nodes[0].powered = false
			beta.start()
			w.at(time.Hour, func() {})
			w.run(10 * time.Second)
			if got := fmt.Sprint(w.owner(), " ", len(w.shots)); got != tt.want || w.fault != "" {
				t.Errorf("%q, want %q; %s\n%s", got, tt.want, w.fault, strings.Join(w.trace, "\n"))
			}
			if w.owner() != "" {
				return
			}
			if len(beta.alarms) == 0 || !strings.Contains(beta.alarms[0].Text, "confirm-dead alpha") {
				t.Errorf("alarms %+v", beta.alarms)
			}
			if err := beta.ask(heartbeat.RequestConfirmDead); err != nil || w.owner() != "beta" {
				t.Errorf("after a person's word: %v, it runs on %q", err, w.owner())
			}
		})
	}
}

func TestPolicyAskWorksWithoutADevice(t *testing.T) {
	w := newWorld(1, options{keepalive: 100 * time.Millisecond, deadtime: time.Second, initdead: 2 * time.Second, links: 1, groups: 1})
	w.cfg.Start = heartbeat.StartAsk
	w.nodes[0].start()
	w.run(time.Minute)
	if w.owner() != "" {
		t.Fatal("it did not ask")
	}
	w.nodes[1].start()
	w.run(w.now + 5*time.Second)
	if w.owner() != "alpha" {
		t.Errorf("the other node came, and it runs on %q", w.owner())
	}
}

// TestFencedGroupWaitsForThePeersWatchdog: without a device, what two nodes would destroy is taken only when the peer's own watchdog has
// certainly reset it; the rest at the dead time.
func TestFencedGroupWaitsForThePeersWatchdog(t *testing.T) {
	w := newWorld(1, options{keepalive: 100 * time.Millisecond, deadtime: time.Second, initdead: 2 * time.Second, links: 1, groups: 3,
		failback: heartbeat.FailbackOff})
	w.cfg.Watchdog = 2 * time.Second
	w.cfg.Groups[0].Fenced = true
	w.nodes[0].start()
	w.nodes[1].start()
	w.run(5 * time.Second)
	w.nodes[0].paused = true
	w.run(w.now + 1500*time.Millisecond)
	third := strings.Join(w.owners("10.0.0.3"), " ")
	if w.owner() != "alpha" || third != "alpha beta" {
		t.Errorf("after the dead time the mount runs on %q, the address on %q", w.owner(), third)
	}
	w.nodes[0].powerCut() // its watchdog
	took := w.await(t, 3*time.Second, "beta takes the mount", func() bool { return w.owner() == "beta" })
	if after := took - w.nodes[1].heard; after < 3*time.Second || after > 3010*time.Millisecond {
		t.Errorf("taken %v after the last heartbeat, want 3s", after)
	}
}

// TestDelayFollowsTheSlowerDevice: the standby waits for the active node's device, which resets it if both live; and a device that took long
// to reset is not taken for a fast one because it answers checks at once.
func TestDelayFollowsTheSlowerDevice(t *testing.T) {
	w := fencedPair(t, options{device: deviceWorks, fenceDelay: -1, deviceTime: 3 * time.Second}, nil)
	alpha, beta := w.nodes[0], w.nodes[1]
	beta.step(heartbeat.DeviceChecked{Took: 200 * time.Millisecond})
	w.run(w.now + time.Second)
	if got := beta.node.Status().Fencing.Delay; got != 1400*time.Millisecond {
		t.Errorf("delay %v, want twice 0.2 s and a second", got)
	}
	alpha.step(heartbeat.DeviceChecked{Took: 2 * time.Second})
	w.run(w.now + time.Second)
	if got := beta.node.Status().Fencing.Delay; got != 5*time.Second {
		t.Errorf("delay %v, want twice alpha's 2 s and a second", got)
	}
	alpha.powerCut()
	w.await(t, 20*time.Second, "beta takes over", func() bool { return w.owner() == "beta" })
	beta.step(heartbeat.DeviceChecked{Took: 200 * time.Millisecond})
	if got := beta.node.Status().Fencing.Delay; got != 7*time.Second {
		t.Errorf("delay %v, want twice the 3 s that the reset took and a second", got)
	}
	beta.kill()
	beta.start()
	beta.step(heartbeat.DeviceChecked{Took: 200 * time.Millisecond})
	if got := beta.node.Status().Fencing.Delay; got != 7*time.Second {
		t.Errorf("after a restart the delay is %v", got)
	}
}

// TestCutOffStandbyCallsAPerson: nobody serves, and nothing but a ping node's answer or a person ends that.
func TestCutOffStandbyCallsAPerson(t *testing.T) {
	up := [2]bool{true, true}
	w := fencedPair(t, options{device: deviceWorks}, func(w *world) { w.pings(&up) })
	beta := w.nodes[1]
	up = [2]bool{}
	w.run(w.now + 5*time.Second)
	w.nodes[0].powerCut()
	w.run(w.now + 5*time.Second)
	last := beta.alarms[len(beta.alarms)-1]
	if w.owner() != "" || len(w.shots) != 0 || !strings.Contains(last.Text, "no ping node answers either") || !strings.Contains(last.Text, "`heartbeat confirm-dead alpha`") {
		t.Errorf("it runs on %q, %d shots, alarm %+v", w.owner(), len(w.shots), last)
	}
	up = [2]bool{true, true}
	w.run(w.now + 5*time.Second)
	last = beta.alarms[len(beta.alarms)-1]
	if w.owner() != "beta" || last.Text != "" {
		t.Errorf("the ping node answers again, it runs on %q, alarm %+v", w.owner(), last)
	}
}

// TestBrokenLinksCallAPerson: the peer answers on the service network, so nothing is taken over, which only mended links end.
func TestBrokenLinksCallAPerson(t *testing.T) {
	for _, fencing := range []bool{false, true} {
		w := fencedPair(t, options{device: deviceFails, lease: true}, func(w *world) {
			w.cfg.Look, w.cfg.Lease, w.cfg.Fencing = true, 900*time.Millisecond, fencing
			w.opt.fencing = fencing
		})
		beta := w.nodes[1]
		w.cutLinks(true)
		w.run(w.now + 5*time.Second)
		if last := beta.alarms[len(beta.alarms)-1]; w.owner() != "alpha" || !strings.Contains(last.Text, "mend the links") {
			t.Errorf("it runs on %q, alarm %+v", w.owner(), last)
		}
		w.cutLinks(false)
		w.run(w.now + time.Second)
		for _, a := range beta.alarms {
			if last := lastOf(beta.alarms, a.Key); last != "" {
				t.Errorf("alarm %s stands: %s", a.Key, last)
			}
		}
	}
}

// lastOf is the text that an alarm has now.
func lastOf(list []heartbeat.Alarm, key string) (text string) {
	for _, a := range list {
		if a.Key == key {
			text = a.Text
		}
	}
	return text
}

// TestResetByHandIsNotRepeated: a device that a person uses has the peer off sooner than that counts as dead. It is not shot again while it boots;
// but a device that lied is not believed.
func TestResetByHandIsNotRepeated(t *testing.T) {
	for _, lied := range []bool{false, true} {
		w := fencedPair(t, options{device: deviceWorks}, nil)
		beta := w.nodes[1]
		if !lied {
			w.nodes[0].powerCut()
		}
		w.run(w.now + 200*time.Millisecond)
		if err := beta.ask(heartbeat.RequestFenced); err != nil {
			t.Fatal(err)
		}
		if lied {
			w.run(w.now + 3*time.Second)
			w.nodes[0].powerCut()
		}
		heard := beta.heard
		at := w.await(t, 20*time.Second, "beta takes over", func() bool { return w.owner() == "beta" })
		switch {
		case lied && len(w.shots) != 1:
			t.Errorf("alpha, which was heard after its reset, was reset %d times", len(w.shots))
		case !lied && (len(w.shots) != 0 || at-heard > 1010*time.Millisecond):
			t.Errorf("%d resets, taken over after %v", len(w.shots), at-heard)
		}
	}
	w := fencedPair(t, options{device: deviceFails}, nil)
	w.nodes[0].powerCut()
	w.run(w.now + 4*time.Second)
	if err := w.nodes[1].ask(heartbeat.RequestFenced); err != nil || w.owner() != "beta" {
		t.Errorf("after its own attempt failed: %v, it runs on %q", err, w.owner())
	}
}
