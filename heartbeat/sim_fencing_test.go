package heartbeat_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
)

// The fencing devices of the simulation, by options.device.
const (
	deviceMixed = ""      // fails one time in three
	deviceWorks = "works" // always does what it says
	deviceFails = "fails" // never does anything, and says so
	deviceSlow  = "slow"  // takes up to ten dead times
	deviceLies  = "lies"  // sometimes says yes and does nothing
	deviceLoses = "loses" // sometimes does it and says no
	deviceWrong = "wrong" // is wired to the machine that asks
)

var devices = []string{deviceMixed, deviceWorks, deviceSlow, deviceLies, deviceLoses, deviceWrong}

// shot is one thing that a fencing device was asked to do.
type shot struct {
	at       time.Duration
	by, node string
	atStart  bool
	hit      bool // a machine lost its power
}

// fence asks the device. The order to the device cannot be called back: a cancelled attempt may hit all the same.
func (m *machine) fence(a heartbeat.Fence) {
	w := m.w
	w.checkShot(m, a)
	w.shots = append(w.shots, shot{at: w.now, by: m.name, node: a.Node, atStart: a.Kept})
	i := len(w.shots) - 1
	m.fenceOp = a.Op
	took := w.upTo(w.opt.deadtime)
	switch {
	case w.opt.deviceTime > 0:
		took = w.opt.deviceTime
	case w.opt.device == deviceSlow:
		took = w.upTo(10 * w.opt.deadtime)
	}
	w.at(took, func() {
		if m.fenceOp != a.Op && w.rng.IntN(2) == 0 || !m.powered {
			return // called back in time, or the device's client died with its machine
		}
		w.device(m, a, &w.shots[i])
	})
}

// device does what its kind does, and answers.
func (w *world) device(m *machine, a heartbeat.Fence, s *shot) {
	target := w.nodes[1-m.index]
	err := errors.New("device unreachable")
	switch kind := w.opt.device; {
	case kind == deviceFails, kind == deviceMixed && w.rng.IntN(3) == 0:
		m.complete(heartbeat.Done{Op: a.Op, Err: err})
		return
	case kind == deviceLies && w.rng.IntN(2) == 0:
		w.logf("the device says that %s is off, and lies", target.name)
		w.lied = true
		m.complete(heartbeat.Done{Op: a.Op})
		return
	case kind == deviceWrong:
		target = m
	}
	w.logf("%s is fenced", target.name)
	s.hit = true
	if m.fenceOp == a.Op { // else it was called back, because the other one was there again
		m.resets.count(w, m)
	}
	target.powerCut()
	w.at(w.rebootAfter(), func() {
		target.powered = true
		target.start()
	})
	if w.opt.device != deviceLoses || w.rng.IntN(2) == 0 {
		err = nil
	}
	m.complete(heartbeat.Done{Op: a.Op, Err: err})
}

// rebootAfter is how long a machine takes to come back: now and then less than the device takes.
func (w *world) rebootAfter() time.Duration { return 50*time.Millisecond + w.upTo(w.opt.initdead) }

// cancelFence ends an attempt.
func (m *machine) cancelFence(a heartbeat.CancelFence) {
	if m.fenceOp == a.Op {
		m.fenceOp = 0
	}
}

// checkShot is the invariant of fencing: nobody is shot who was heard within the dead time, or who said goodbye.
func (w *world) checkShot(m *machine, a heartbeat.Fence) {
	w.logf("%s fences %s", m.name, a.Node)
	if m.node == nil {
		return
	}
	s := m.node.Status()
	switch {
	case s.Peer.State == "left":
		w.violate("%s fences %s, which said goodbye", m.name, a.Node)
	case m.heard >= 0 && w.now-m.heard < w.slow(w.opt.deadtime):
		w.violate("%s fences %s, heard %v ago", m.name, a.Node, w.now-m.heard)
	case m.heard < 0 && w.now-m.started < w.slow(w.opt.initdead):
		w.violate("%s fences %s within initdead of its own start", m.name, a.Node)
	}
	if w.echo != nil && w.deaf[m.index] && w.slow(w.now-w.deafSince[m.index]) >= w.opt.deadtime {
		w.violate("%s fences %s, and has itself not reached a ping node for %v", m.name, a.Node, w.now-w.deafSince[m.index])
	}
	if a.Kept && m.boot.StartFenced == false {
		w.violate("%s fences %s at its start before that is on disk", m.name, a.Node)
	}
}

// hits lists who was hit, in order.
func (w *world) hits() string {
	var list []byte
	for _, s := range w.shots {
		if s.hit {
			list = append(list, s.node[0])
		}
	}
	return string(list)
}

// fenceMost is heartbeat.Config.FenceMost of the simulation.
const fenceMost = 3

// resets counts what a machine has its device do, from outside the node, for the invariant that no fence loop goes on: never more resets than
// fenceMost while the other one is not heard for long enough in between. One that the device makes again within the same silence is the same.
type resets struct {
	number int
	since  time.Duration // from when the other is heard without a break
	last   struct {
		run    uint32 // of the machine that asked
		silent time.Duration
	}
}

// heard notes news of the other. What counts as a break is more than any node grants, so that the node may count one that this does not.
func (r *resets) heard(w *world, m *machine) {
	if m.heard < 0 || w.now-m.heard > 10*w.opt.deadtime {
		r.since = w.now
	}
	if w.now-r.since >= w.cfg.FenceCalm {
		r.number = 0
	}
}

func (r *resets) count(w *world, m *machine) {
	if r.number > 0 && r.last.run == m.boot.Generation && r.last.silent == m.heard {
		return
	}
	if m.heard >= 0 && m.heard-r.since >= w.cfg.FenceCalm-2*w.opt.deadtime {
		r.number = 0 // the node may know better by a heartbeat that came twice
	}
	r.last.run, r.last.silent = m.boot.Generation, m.heard
	if r.number++; r.number > fenceMost {
		w.violate("a fence loop: %s has had %d machines reset, and was never together with the other one for %v", m.name, r.number, w.cfg.FenceCalm)
	}
}

// pings answers the echoes of each node for which up is true.
func (w *world) pings(up *[2]bool) {
	w.cfg.Pings = []heartbeat.PingConfig{{ID: "ping 10.0.0.254", Name: "10.0.0.254"}}
	w.echo = func(m *machine, s heartbeat.Send) {
		if !up[m.index] || w.deaf[m.index] || !strings.HasPrefix(s.Link, "ping") {
			return
		}
		msg := s.Msg.Clone()
		w.at(time.Millisecond, func() { m.deliver(heartbeat.Received{Link: s.Link, Msg: msg}) })
	}
}

// deafen takes a machine's way to the ping nodes away for a while.
func (w *world) deafen(m *machine, length time.Duration) {
	if w.deaf[m.index] {
		return
	}
	w.logf("%s reaches no ping node for %v", m.name, length)
	w.deaf[m.index], w.deafSince[m.index] = true, w.now
	w.at(length, func() { w.deaf[m.index] = false })
}

// fencedOptions draws a pair with devices, one kind after the other.
func fencedOptions(seed uint64, rng *rand.Rand) options {
	o := options{
		keepalive: 100 * time.Millisecond, links: 2, groups: 1 + rng.IntN(2), delay: time.Millisecond, jitter: time.Millisecond,
		scriptTime: 50 * time.Millisecond, failback: heartbeat.Failback(rng.IntN(3)), fencing: true, device: devices[seed%uint64(len(devices))],
		fenceDelay: []time.Duration{-1, 0, 2 * time.Second}[rng.IntN(3)], loss: []float64{0, 0, 0.1}[rng.IntN(3)],
	}
	o.deadtime = o.keepalive * time.Duration(5+rng.IntN(6))
	o.initdead = 2 * o.deadtime
	return o
}

// trouble makes the nodes lose each other again and again, never long apart: in both directions or in one, by a power cut, a machine that stands
// still, and with the ping nodes lost to one of them or to both.
func (w *world) trouble(rounds int) {
	d := w.opt.deadtime
	for at, i := 8*d, 0; i < rounds; i++ {
		w.at(at, func() {
			length := 2*d + w.upTo(6*d)
			m := w.nodes[w.rng.IntN(2)]
			if w.echo != nil && w.rng.IntN(2) == 0 {
				w.deafen(w.nodes[w.rng.IntN(2)], length)
			}
			switch w.rng.IntN(8) {
			case 0:
				w.logf("power cut of %s", m.name)
				m.powerCut()
				w.at(length, func() { m.powered = true; m.start() })
			case 1:
				w.logf("%s pauses for %v", m.name, length)
				m.paused = true
				w.at(length, m.resume)
			case 2:
				w.logf("nothing from %s arrives for %v", m.name, length)
				w.cut(length, m.index)
			case 3:
				m.request(heartbeat.RequestStop, "")
				w.at(length, m.start)
			case 4:
				w.unplug(m, length)
			case 5:
				if m.node != nil && !m.paused {
					w.logf("%s asks for a pause of %v", m.name, length)
					m.askFor(heartbeat.Request{Kind: heartbeat.RequestPause, For: length})
				}
			default:
				w.logf("all links cut for %v", length)
				w.cut(length, 0, 1)
			}
		})
		at += 10*d + w.upTo(8*d)
	}
}

// unplug takes the carrier of a group's interface away for a while. A daemon that starts meanwhile is told too.
func (w *world) unplug(m *machine, length time.Duration) {
	group := w.cfg.Groups[w.rng.IntN(len(w.cfg.Groups))].Name
	w.logf("what %s serves on has no carrier on %s for %v", group, m.name, length)
	tell := func(after time.Duration, reason string, settling bool) {
		w.at(after, func() { m.complete(heartbeat.Unfit{Group: group, Reason: reason, Settling: settling}) })
	}
	tell(0, "no carrier", true)
	tell(w.opt.deadtime, "no carrier", false)
	tell(length, "no carrier", true)
	tell(length+w.opt.deadtime, "", false)
}

// ask makes a request and returns its answer.
func (m *machine) ask(kind heartbeat.RequestKind) error {
	return m.askFor(heartbeat.Request{Kind: kind})
}

func (m *machine) askFor(r heartbeat.Request) (err error) {
	r.ID, r.By = 9999, "test"
	for _, a := range m.node.Step(m.w.instant(), r) {
		if r, ok := a.(heartbeat.Reply); ok {
			err = r.Err
			continue
		}
		m.perform(a)
	}
	m.step(heartbeat.Tick{})
	return err
}

// cut takes away all links in some directions, for a while.
func (w *world) cut(length time.Duration, from ...int) {
	for _, c := range w.links {
		for _, i := range from {
			c.up[i] = false
			w.at(length, func() { c.up[i] = true })
		}
	}
}

// TestNoFenceLoop has pairs with every kind of device lose each other for as long as it takes: whoever shoots whom, by whichever device, there is
// an end to it, and when the trouble ends everything comes right without a person.
func TestNoFenceLoop(t *testing.T) {
	count := uint64(48)
	if more, _ := fromEnvironment(t, "SIM_SEEDS"); more > 20*count {
		count = more / 20 // each takes as long as twenty of the others
	}
	if os.Getenv("HEARTBEAT_MUTANT") != "" || testing.Short() {
		count = 24
	}
	held := 0
	seeds := seedsToRun(t, count)
	for _, seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(seed, fencedOptions(seed, rng))
		if seed/uint64(len(devices))%2 == 1 {
			up := [2]bool{true, true}
			w.pings(&up)
		}
		for _, m := range w.nodes {
			w.at(w.upTo(2*w.opt.deadtime), m.start)
		}
		w.trouble(16)
		w.run(300 * w.opt.deadtime)
		w.calm()
		if w.fault != "" || replaying() {
			w.report(t, seed)
			return
		}
		for _, m := range w.nodes {
			loops := 0
			for _, a := range m.alarms {
				if strings.Contains(a.Text, "was reset 3 times") {
					loops++
				}
			}
			if loops > 0 {
				held++
			}
			if m.node != nil && m.boot.Fences != 0 {
				t.Errorf("seed %d: %s still counts %d resets after the calm", seed, m.name, m.boot.Fences)
			}
		}
	}
	t.Logf("%d pairs, %d nodes asked for a person", len(seeds), held)
	if held == 0 {
		t.Error("no node ever reached the limit: this proves nothing")
	}
}
