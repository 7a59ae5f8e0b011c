package heartbeat_test

import (
	"testing"
	"time"

	"hapair/heartbeat"
)

// FuzzNode takes bytes for a history of faults and lets the pair live through it; the safety invariant is the oracle.
func FuzzNode(f *testing.F) {
	f.Add(uint64(1), []byte{0, 40, 1, 80, 2, 90})
	f.Add(uint64(7), []byte{5, 20, 12, 30, 5, 200, 2, 200, 11, 9})
	f.Add(uint64(9), []byte{3, 3, 4, 4, 8, 60, 18, 60, 9, 9, 6, 1, 7, 1})
	f.Fuzz(func(t *testing.T, seed uint64, history []byte) {
		if len(history) > 64 {
			return
		}
		w := newWorld(seed, options{})
		w = newWorld(seed, randomOptions(w))
		w.opt.fencing = false
		for _, m := range w.nodes {
			m.start()
		}
		for len(history) >= 2 && w.fault == "" {
			w.run(w.now + time.Duration(history[1])*w.opt.deadtime/32)
			w.byteFault(history[0], history[1])
			history = history[2:]
		}
		w.run(w.now + 4*w.opt.deadtime)
		w.calm()
		if w.fault != "" {
			w.report(t, seed)
		}
	})
}

// byteFault is one fault, all of whose circumstances are in two bytes.
func (w *world) byteFault(kind, size byte) {
	m := w.nodes[kind>>7]
	length := time.Duration(size) * w.opt.deadtime / 64
	switch kind & 15 {
	case 0:
		m.powerCut()
		w.at(length, func() { m.powered = true; m.start() })
	case 1:
		m.kill()
		w.at(length, m.start)
	case 2:
		m.paused = true
		w.at(length, m.resume)
	case 3, 4:
		c := w.links[int(size)%len(w.links)]
		c.up[kind>>7] = false
		w.at(length, func() { c.up[kind>>7] = true })
	case 5:
		for _, c := range w.links {
			c.up = [2]bool{}
			w.at(length, func() { c.up = [2]bool{true, true} })
		}
	case 6:
		m.request(heartbeat.RequestStandby, []string{"all", "local", "foreign"}[size%3])
	case 7:
		m.request(heartbeat.RequestTakeover, []string{"all", "local", "foreign"}[size%3])
	case 8:
		m.request(heartbeat.RequestStop, "")
		w.at(length, m.start)
	case 9:
		if m.node != nil && !m.paused {
			m.step(heartbeat.Health{Group: w.cfg.Groups[int(size)%len(w.cfg.Groups)].Name, Failed: true, Reason: "fuzz"})
		}
	case 10:
		w.opt.loss = float64(size) / 400
	case 11:
		w.opt.startFails = float64(size) / 512
	case 12:
		m.start()
	}
}
