package heartbeat_test

import (
	"errors"
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
	case m.heard >= 0 && w.now-m.heard < w.opt.deadtime:
		w.violate("%s fences %s, heard %v ago", m.name, a.Node, w.now-m.heard)
	case m.heard < 0 && w.now-m.started < w.opt.initdead:
		w.violate("%s fences %s within initdead of its own start", m.name, a.Node)
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
