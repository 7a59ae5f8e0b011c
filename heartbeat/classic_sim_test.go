package heartbeat_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
)

// mixedPair is a world in which one machine runs Linux-HA, at first.
type mixedPair struct {
	*world
	ours, theirs *machine
	site         *lhaSite
}

// mixedOptions draws the hazards of a mixed pair. Linux-HA counts in seconds: a pair of milliseconds would see nothing of it.
func mixedOptions(w *world) options {
	o := randomOptions(w)
	o.keepalive = []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second}[w.rng.IntN(3)]
	o.deadtime = o.keepalive * time.Duration(5+w.rng.IntN(6))
	o.initdead = 2*o.deadtime + 2*time.Second
	o.fencing, o.lease = false, false
	o.startFails = []float64{0, 0, 0, 0.1}[w.rng.IntN(4)]
	return o
}

// newMixedPair makes the world of a seed.
func newMixedPair(seed uint64) *mixedPair {
	w := newWorld(seed, mixedOptions(newWorld(seed, options{})))
	p := &mixedPair{world: w}
	p.ours, p.theirs = w.nodes[seed%2], w.nodes[1-seed%2]
	p.site = installLinuxHA(p.theirs, []time.Duration{20 * time.Millisecond, 300 * time.Millisecond}[w.rng.IntN(2)])
	p.site.latency = []time.Duration{0, 20 * time.Millisecond, 150 * time.Millisecond}[w.rng.IntN(3)]
	p.ours.exempt = p.exempt
	w.cfg.Netstrings = seed%8 == 4 // what that loses of Linux-HA's own scripts is not played here
	p.logf("ours is %s", p.ours.name)
	if w.rng.IntN(3) == 0 {
		w.pingNodes(1 + w.rng.IntN(2))
	}
	if os.Getenv("SIM_SEED") != "" {
		w.overhear = func(m *machine, s heartbeat.Send) {
			if k := s.Msg.Kind(); k != "status" && k != "NS_ackmsg" && k != "NS_st" {
				w.logf("%s says #%s %s", m.name, s.Msg.Get("seq"), gist(s.Msg))
			}
		}
	}
	return p
}

// exempt names the acquisitions that the protocol forces upon a node of ours although the other machine runs the group.
func (p *mixedPair) exempt(a heartbeat.Acquire) bool {
	switch l := p.site.last; {
	case l == nil || p.theirs.build == nil:
		return false
	case !l.started[a.Group]:
		// Its daemon was killed and started again. It does not know what the killed one had started, and says that it holds nothing.
		p.logf("exempt: %s is forgotten by a killed Linux-HA daemon", a.Group)
		return true
	case l.disowns(a.Group):
		// One of its scripts started it while another gave it up: they run side by side, and it says only what was asked of it.
		p.logf("exempt: %s runs under Linux-HA, which has said that it does not hold it", a.Group)
		return true
	}
	return false
}

// disowns tells that the model has finished giving a group up, or never claimed it, as far as it says.
func (l *linuxHA) disowns(group string) bool {
	for _, g := range l.cfg.Groups {
		if g.Name != group || !l.nice() || l.stopping {
			continue
		}
		set := holding(2)
		if g.Preferred == l.cfg.Node {
			set = 1
		}
		return l.hold&set == 0 && (l.phase == lhaNot || l.phase == lhaDone)
	}
	return false
}

// inflictMixed draws one fault and its end.
func (p *mixedPair) inflictMixed() {
	w := p.world
	m := w.nodes[w.rng.IntN(2)]
	length := w.upTo(4 * w.opt.deadtime)
	sets := []string{"all", "local", "foreign", "failback"}
	switch w.rng.IntN(14) {
	case 0:
		w.logf("power cut of %s", m.name)
		m.powerCut()
		w.at(length, func() { m.powered = true; m.start() })
	case 1:
		w.logf("daemon of %s killed", m.name)
		m.kill()
		w.at(length, m.start)
	case 2:
		w.logf("%s pauses for %v", m.name, length)
		m.paused = true
		w.at(length, m.resume)
	case 13:
		w.logf("%s reaches no ping node for %v", m.name, length)
		w.deaf[m.index] = true
		w.at(length, func() { w.deaf[m.index] = false })
	case 3, 4:
		c := w.links[w.rng.IntN(len(w.links))]
		direction := w.rng.IntN(2)
		w.logf("link %s from %s cut for %v", c.id, w.nodes[direction].name, length)
		c.up[direction] = false
		w.at(length, func() { c.up[direction] = true })
	case 5:
		direction := w.rng.IntN(3)
		w.logf("all links cut (%d) for %v", direction, length)
		for _, c := range w.links {
			c.up = [2]bool{direction == 0, direction == 1}
			w.at(length, func() { c.up = [2]bool{true, true} })
		}
	case 6, 7:
		m.request(heartbeat.RequestStandby, sets[w.rng.IntN(4)])
	case 8, 9:
		m.request(heartbeat.RequestTakeover, sets[w.rng.IntN(4)])
	case 10:
		m.request(heartbeat.RequestStop, "")
		p.startAgain(m, length)
	case 11:
		if m == p.theirs {
			w.logf("%s is reloaded", m.name)
			m.request(heartbeat.RequestQuit, "")
		} else if m.node != nil && !m.paused {
			g := w.cfg.Groups[w.rng.IntN(len(w.cfg.Groups))].Name
			w.logf("%s fails on %s", g, m.name)
			m.step(heartbeat.Health{Group: g, Failed: true, Reason: "test"})
		}
	case 12:
		if w.rng.IntN(4) == 0 {
			p.exchange(length)
		}
	}
}

// startAgain starts a daemon some time after it has ended.
func (p *mixedPair) startAgain(m *machine, later time.Duration) {
	if m.node != nil {
		p.at(later, func() { p.startAgain(m, later) })
		return
	}
	m.start()
}

// exchange stops the second machine's daemon politely and starts the other program there: an upgrade, or the way back.
func (p *mixedPair) exchange(later time.Duration) {
	p.logf("%s is exchanged", p.theirs.name)
	p.theirs.request(heartbeat.RequestStop, "")
	var again func()
	again = func() {
		if p.theirs.node != nil {
			p.at(later+time.Second, again)
			return
		}
		if p.theirs.build == nil {
			p.site = installLinuxHA(p.theirs, 20*time.Millisecond)
		} else {
			p.theirs.build, p.theirs.exempt, p.theirs.boot.Held = nil, nil, nil
		}
		p.theirs.start()
	}
	p.at(later+time.Second, again)
}

// simulateMixed runs one seed: a hostile time, then a calm one in which everything must come right.
func simulateMixed(seed uint64) *mixedPair {
	p := newMixedPair(seed)
	for _, m := range p.nodes {
		p.at(p.upTo(2*p.opt.deadtime), m.start)
	}
	hostile := 20*p.opt.deadtime + 40*time.Second
	for range p.opt.faults {
		p.at(p.upTo(hostile), p.inflictMixed)
	}
	p.run(hostile + 8*p.opt.deadtime)
	p.calmMixed()
	return p
}

// calmMixed ends all faults, waits for the pair to settle, and looks whether each group runs once.
func (p *mixedPair) calmMixed() {
	if p.fault != "" {
		return
	}
	p.endFaults(func(m *machine) { p.startAgain(m, time.Second) })
	settle := 60*time.Second + 30*p.opt.deadtime + 12*p.opt.scriptTime
	p.run(p.now + settle)
	p.mend()
	p.run(p.now + settle)
	for _, g := range p.cfg.Groups {
		owners := p.owners(g.Name)
		if len(owners) == 2 && p.exempt(heartbeat.Acquire{Group: g.Name}) {
			continue // as above, and ours could not have the other stop it, because it was started again itself
		}
		if len(owners) != 1 && p.fault == "" {
			p.violate("after the faults stopped %s runs on %v", g.Name, owners)
		}
	}
	p.beliefs()
}

// mend is what a person does about a resource that does not run under Linux-HA, which says that it holds it all the same, because its start
// failed or its scripts lost it: take it over.
func (p *mixedPair) mend() {
	p.ours.request(heartbeat.RequestCleanup, "")
	l, isLinuxHA := p.theirs.node.(*linuxHA)
	if !isLinuxHA {
		return
	}
	for _, g := range p.cfg.Groups {
		if len(p.owners(g.Name)) == 0 && (!l.nice() || !l.disowns(g.Name)) {
			p.logf("a person finds %s nowhere", g.Name)
			if p.cfg.Failback != heartbeat.FailbackLegacy {
				p.ours.request(heartbeat.RequestTakeover, "all")
				return
			}
			p.theirs.request(heartbeat.RequestStop, "") // legacy knows no takeover
			p.startAgain(p.theirs, time.Second)
			return
		}
	}
}

// TestMixedSimulation runs many seeds of a pair of ours and Linux-HA. A failing one is replayed with SIM_SEED=n.
func TestMixedSimulation(t *testing.T) {
	seeds := seedsToRun(t, seedCount(t, 500, 100), 1120, 2038, 2682, 2955, 4351, 5935, 7344, 7661, 9975)
	steps, failures, exempt := 0, 0, 0
	complaints := map[string]int{}
	for _, seed := range seeds {
		p := simulateMixed(seed)
		if replaying() {
			p.report(t, seed)
			return
		}
		steps += p.steps
		for _, c := range p.site.complaints {
			complaints[strings.Fields(c)[0]]++
		}
		for _, line := range p.trace {
			if strings.Contains(line, "exempt: ") {
				exempt++
			}
		}
		if p.fault != "" {
			if failures++; failures <= 2 {
				p.report(t, seed)
			} else {
				t.Logf("seed %d: %s", seed, p.fault)
			}
		}
	}
	t.Logf("%d seeds, %d steps, %d failures, %d acquisitions exempt, Linux-HA logged errors beginning with %v", len(seeds), steps, failures, exempt, complaints)
}
