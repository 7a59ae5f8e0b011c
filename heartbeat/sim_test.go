package heartbeat_test

import (
	"container/heap"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat"
)

// world is a whole pair in one thread: two nodes, the links between them, their resources, one event heap and one source of chance.
// The same seed always gives the same run.
type world struct {
	rng        *rand.Rand
	extra      *rand.Rand // of the hazards that came later, so that old seeds stay what they were
	now        time.Duration
	events     eventHeap
	order      uint64 // breaks ties, so that a run is reproducible
	nodes      [2]*machine
	links      []*cable
	opt        options
	steps      int
	trace      []string
	fault      string
	cfg        heartbeat.Config
	shots      []shot                             // what the fencing devices were asked to do
	lied       bool                               // a device said that it had switched off what it had not
	mirrorCut  bool                               // no third host reaches both nodes
	serviceCut bool                               // the service network between the nodes is down
	routerOff  bool                               // the ping target is switched off
	walked     map[string]bool                    // steps of the state table that were taken
	script     *scenario                          // nil outside scenario files
	overhear   func(m *machine, s heartbeat.Send) // sees every frame that a node sends; nil: nobody does
	deaf       [2]bool                            // which machine cannot reach the ping nodes
	deafSince  [2]time.Duration
	echo       func(m *machine, s heartbeat.Send) // what becomes of a frame to a ping node; nil: it is lost
}

// options are the hazards of one run; a failing seed prints them.
type options struct {
	keepalive, deadtime, initdead time.Duration
	failback                      heartbeat.Failback
	groups                        int
	links                         int
	loss, dup                     float64
	delay, jitter                 time.Duration
	scriptTime                    time.Duration
	startFails, stopFails         float64
	faults                        int
	fencing                       bool
	device                        string        // how the fencing devices behave; see device
	fenceDelay, deviceTime        time.Duration // heartbeat.Config.FenceDelay; how long a device takes, 0 for by chance
	mirror                        bool          // a third host that answers pings
	prepares                      bool          // groups have something to prepare for a hand-over
	roomy                         bool          // the lease is as long as the daemon makes it, not as long as can be
	pings                         bool          // a ping target on the service network
	carrier                       bool          // a machine notices that its cable was pulled
	hangs                         float64       // a script that takes several dead times
	drift                         [2]float64    // by which the clocks of the machines go wrong
	lease                         bool          // the kernel ends the right to answer; then no two nodes may ever answer for a group
}

// daemon is what runs on a machine: a node of ours, or the model of another program that behaves like one.
type daemon interface {
	Step(now heartbeat.Instant, ev heartbeat.Event) []heartbeat.Action
	Wake() heartbeat.Instant
	Status() heartbeat.Status
	Walked(visit func(step string, taken bool))
}

// machine is one computer: it outlives its daemon, and its resources do too.
type machine struct {
	w         *world
	index     int
	name      string
	build     func(m *machine, cfg heartbeat.Config) (daemon, error) // nil: a node of ours
	exempt    func(a heartbeat.Acquire) bool                         // acquisitions that checkAcquire does not judge; nil for none
	node      daemon                                                 // nil while the daemon does not run
	boot      heartbeat.Boot
	powered   bool
	paused    bool
	suspended bool                 // paused as a machine is that sleeps: its monotonic clock stands still
	pausedAt  time.Duration        // on its boot clock
	asleep    time.Duration        // by which its monotonic clock is behind its boot clock
	wallStep  time.Duration        // by which somebody has set its wall clock wrong
	detached  int                  // by how many faults it is cut from every network
	inbox     []heartbeat.Received // frames that wait while the machine is paused
	pending   []heartbeat.Event    // completions that wait while it is paused
	tickID    uint64
	runs      map[string]bool          // what really runs
	until     map[string]time.Duration // leases, as the kernel holds them
	current   map[string]heartbeat.OpID
	heard     time.Duration // when news of the other was last handed to the node
	newest    uint64        // generation and number of that news
	started   time.Duration
	requestID uint64
	stopping  bool // a polite stop was asked of this run
	announced []announcement
	leaseless bool           // it answers for what it runs, whatever becomes of its daemon
	fenceOp   heartbeat.OpID // the attempt under way
	resets    resets         // how often it had the other one reset
	alarms    []heartbeat.Alarm
	prepared  []string // groups, in the order in which they were
}

// cable is one link, with each direction on its own.
type cable struct {
	id string
	up [2]bool // from node 0, from node 1
}

type event struct {
	at    time.Duration
	order uint64
	run   func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].order < h[j].order
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// stepLimit is far above what any calm pair needs: a run that exceeds it is a storm.
const stepLimit = 200_000

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(seed uint64, opt options) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), extra: rand.New(rand.NewPCG(seed, 2)), opt: opt, walked: map[string]bool{}}
	for i := range opt.links {
		w.links = append(w.links, &cable{id: fmt.Sprintf("bcast eth%d", i), up: [2]bool{true, true}})
	}
	w.cfg = heartbeat.Config{
		Nodes: []string{"alpha", "beta"}, Keepalive: opt.keepalive, Deadtime: opt.deadtime, Warntime: opt.deadtime / 2,
		Initdead: opt.initdead, Deadping: opt.deadtime, Failback: opt.failback, FailbackDelay: 2 * opt.deadtime,
		HopFudge: 1, MaxRexmitDelay: 250 * time.Millisecond, Managed: true, RetryFailed: 20 * opt.deadtime, Fencing: opt.fencing, FenceDelay: opt.fenceDelay,
		FenceMost: fenceMost, FenceCalm: 20 * opt.deadtime,
	}
	for i := range opt.groups {
		w.cfg.Groups = append(w.cfg.Groups, heartbeat.Group{Name: fmt.Sprintf("10.0.0.%d", i+1), Preferred: w.cfg.Nodes[i%2], Prepares: opt.prepares})
	}
	for _, l := range w.links {
		w.cfg.Links = append(w.cfg.Links, heartbeat.LinkConfig{ID: l.id, Name: strings.Fields(l.id)[1], Kind: "bcast"})
	}
	w.cfg.Mirrors = opt.mirror
	if opt.lease {
		w.cfg.Lease, w.cfg.Look = opt.deadtime*95/100, true
		if covering := opt.deadtime - opt.keepalive - time.Millisecond; opt.roomy && covering >= opt.keepalive*5/2 {
			w.cfg.Lease = min(w.cfg.Lease, covering)
		}
	}
	if opt.pings {
		w.cfg.Pings = []heartbeat.PingConfig{{ID: "ping " + routerName, Name: routerName}}
	}
	for i, name := range w.cfg.Nodes {
		m := &machine{w: w, index: i, name: name, powered: true, runs: map[string]bool{}, until: map[string]time.Duration{}, current: map[string]heartbeat.OpID{}}
		m.boot = heartbeat.Boot{Generation: 100, Epochs: map[string]uint64{}}
		m.boot.UUID[0] = byte(i + 1)
		w.nodes[i] = m
	}
	return w
}

// routerName is the ping target of options.pings.
const routerName = "10.0.0.254"

// clock is what the machine's clocks show.
func (m *machine) clock() heartbeat.Instant {
	boot := m.local(m.w.now)
	return heartbeat.Instant{Mono: boot - m.asleep, Boot: boot, Wall: epoch.Add(boot + m.wallStep)}
}

// local is the time of the machine's boot clock at an instant of the world.
func (m *machine) local(at time.Duration) time.Duration {
	return at + time.Duration(float64(at)*m.w.opt.drift[m.index])
}

// reach tells whether frames pass between the machines at all.
func (w *world) reach() bool { return w.nodes[0].detached+w.nodes[1].detached == 0 }

// detach cuts a machine from every network, its clients included, for a time.
func (m *machine) detach(length time.Duration) {
	m.w.logf("%s is cut from everything for %v", m.name, length)
	m.detached++
	m.tellCarrier()
	m.w.at(length, func() {
		m.w.logf("%s is connected again", m.name)
		m.detached--
		m.tellCarrier()
	})
}

func (m *machine) tellCarrier() {
	if m.w.opt.carrier {
		m.complete(heartbeat.Carrier{Lost: m.detached > 0, Reason: "eth0 has no carrier"})
	}
}

func (w *world) at(delay time.Duration, run func()) {
	w.order++
	heap.Push(&w.events, event{at: w.now + delay, order: w.order, run: run})
}

func (w *world) logf(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%10.3f ", float64(w.now)/float64(time.Millisecond))+fmt.Sprintf(format, args...))
	if len(w.trace) > 4000 {
		w.trace = append(w.trace[:0:0], w.trace[2000:]...)
	}
}

// violate records the first broken invariant.
func (w *world) violate(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
		w.logf("VIOLATION %s", w.fault)
	}
}

// run lets time pass until limit or the first violation.
func (w *world) run(limit time.Duration) {
	for len(w.events) > 0 && w.fault == "" && w.events[0].at <= limit {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.run()
		if w.steps > stepLimit {
			w.violate("more than %d steps: the nodes excite each other", stepLimit)
		}
	}
	w.now = max(w.now, limit)
}

func (w *world) instant() heartbeat.Instant {
	return heartbeat.Instant{Mono: w.now, Boot: w.now, Wall: epoch.Add(w.now)}
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(d)))
}

// start starts the daemon on a machine.
func (m *machine) start() {
	if m.node != nil || !m.powered {
		return
	}
	cfg := m.w.cfg
	cfg.Node, cfg.Peer = m.name, m.w.nodes[1-m.index].name
	m.boot.Generation++
	m.boot.Seed = m.w.rng.Uint64()
	m.boot.Leases = maps.Clone(m.until)
	build := m.build
	if build == nil {
		build = func(m *machine, cfg heartbeat.Config) (daemon, error) {
			return heartbeat.New(cfg, m.boot, m.clock())
		}
	}
	node, err := build(m, cfg)
	if err != nil {
		m.w.violate("New: %v", err)
		return
	}
	m.w.logf("%s starts, generation %d", m.name, m.boot.Generation)
	m.node, m.started, m.heard, m.newest = node, m.w.now, -1, 0
	m.current = map[string]heartbeat.OpID{}
	m.step(heartbeat.Tick{})
	if m.detached > 0 {
		m.tellCarrier()
	}
}

// kill ends the daemon without a word; what it started goes on running.
func (m *machine) kill() {
	m.remember()
	m.node, m.stopping = nil, false
	m.tickID++
	m.inbox, m.pending = nil, nil
	clear(m.current)
}

// remember notes which steps of the state table the daemon took.
func (m *machine) remember() {
	if m.node != nil {
		m.node.Walked(func(step string, taken bool) { m.w.walked[step] = m.w.walked[step] || taken })
	}
}

// powerCut ends everything on the machine.
func (m *machine) powerCut() {
	m.kill()
	m.paused, m.suspended = false, false
	m.powered = false
	clear(m.runs)
	clear(m.until)
	m.boot.Held = nil // another boot of the machine
}

// deliver hands a frame to the node, or keeps it while the machine is paused.
func (m *machine) deliver(r heartbeat.Received) {
	if m.node == nil {
		return
	}
	if m.paused {
		if len(m.inbox) < 200 {
			m.inbox = append(m.inbox, r)
		}
		return
	}
	m.step(r)
}

func (m *machine) complete(ev heartbeat.Event) {
	if m.node == nil {
		return
	}
	if m.paused {
		m.pending = append(m.pending, ev)
		return
	}
	m.step(ev)
}

// stand has the machine stand still.
func (m *machine) stand(suspended bool) {
	if !m.paused {
		m.paused, m.suspended, m.pausedAt = true, suspended, m.clock().Boot
	}
}

func (m *machine) resume() {
	if !m.paused {
		return
	}
	m.paused = false
	if m.suspended {
		m.suspended = false
		m.asleep += m.clock().Boot - m.pausedAt
	}
	if m.node == nil {
		return
	}
	m.w.logf("%s resumes, %d frames wait", m.name, len(m.inbox))
	inbox, pending := m.inbox, m.pending
	m.inbox, m.pending = nil, nil
	for _, r := range inbox {
		m.step(r)
	}
	for _, p := range pending {
		m.step(p)
	}
	m.step(heartbeat.Tick{})
}

// step is one call of the core, with everything it asks for.
func (m *machine) step(ev heartbeat.Event) {
	if m.node == nil {
		return
	}
	w := m.w
	w.steps++
	if r, ok := ev.(heartbeat.Received); ok {
		seq, _ := strconv.ParseUint(r.Msg.Get("seq"), 16, 64)
		generation, _ := strconv.ParseUint(r.Msg.Get("hg"), 16, 64)
		if place := generation<<32 | seq; seq > 0 && place > m.newest {
			m.resets.heard(w, m)
			m.newest, m.heard = place, w.now // a copy of what is known proves nothing
		}
	}
	w.checkAnswers()
	defer w.checkAnswers()
	for _, a := range m.node.Step(m.clock(), ev) {
		m.perform(a)
		if m.node == nil {
			return
		}
	}
	m.tickID++
	id := m.tickID
	wait := m.node.Wake().Mono - m.clock().Mono
	if wait += time.Duration(float64(wait) * -w.opt.drift[m.index]); wait <= 0 {
		wait = 10 * time.Microsecond
	}
	w.at(wait+w.upTo(w.opt.jitter), func() {
		if m.tickID == id && !m.paused {
			m.step(heartbeat.Tick{})
		}
	})
}

// announcement is one Announce of a group.
type announcement struct {
	at        time.Duration
	group     string
	runsThere bool // on the other node
}

func (m *machine) perform(a heartbeat.Action) {
	w := m.w
	switch a := a.(type) {
	case heartbeat.Send:
		m.transmit(a)
	case heartbeat.Acquire:
		w.logf("%s acquires %s epoch %d: %s", m.name, a.Group, a.Epoch, a.Reason)
		m.checkAcquire(a)
		m.acquire(a)
	case heartbeat.Release:
		w.logf("%s releases %s: %s", m.name, a.Group, a.Reason)
		m.release(a)
	case heartbeat.Look:
		other := w.nodes[1-m.index]
		w.at(time.Millisecond, func() {
			answered := false
			for _, g := range a.Groups {
				answered = answered || other.answers(g) && !w.serviceCut && w.reach()
			}
			m.complete(heartbeat.Looked{Op: a.Op, Answered: answered})
		})
	case heartbeat.Renew:
		m.until[a.Group] = a.Until
	case heartbeat.Examine:
		running := m.runs[a.Group]
		m.later(w.scriptTime(), func() { m.complete(heartbeat.Done{Op: a.Op, Running: running}) })
	case heartbeat.Prepare:
		if m.stopping {
			w.violate("%s prepares %s although it stops", m.name, a.Group)
		}
		m.prepared = append(m.prepared, a.Group)
		m.later(w.scriptTime(), func() { m.complete(heartbeat.Done{Op: a.Op}) })
	case heartbeat.Announce:
		m.announced = append(m.announced, announcement{w.now, a.Group, w.nodes[1-m.index].runs[a.Group]})
	case heartbeat.Fence:
		m.fence(a)
	case heartbeat.Alarm:
		w.logf("%s alarm %s: %s", m.name, a.Key, a.Text)
		m.alarms = append(m.alarms, a)
	case heartbeat.CancelFence:
		m.cancelFence(a)
	case heartbeat.Persist:
		m.boot.Epochs, m.boot.Held = a.Epochs, a.Held
		m.boot.StartFenced, m.boot.Fences, m.boot.MaybeShot, m.boot.Clean = a.StartFenced, a.Fences, a.MaybeShot, a.Clean
		m.boot.DeviceTook, m.boot.PausedUntil = a.DeviceTook, a.PausedUntil
	case heartbeat.Halt:
		w.logf("%s halts, released %v: %s", m.name, a.Released, a.Reason)
		if a.Released {
			for g, runs := range m.runs {
				if runs {
					w.violate("%s says that everything is released while %s runs", m.name, g)
				}
			}
		}
		m.kill()
	case heartbeat.Report:
		if os.Getenv("SIM_TRACE") != "" || a.Transition {
			w.logf("%s: %s (%s)", m.name, a.Text, a.Reason)
		}
	}
}

// checkAcquire is the safety invariant: a node begins to run a group only if the other does not run it, or was silent on every link
// for its dead time (or, never heard, for initdead), or is certainly off.
func (m *machine) checkAcquire(a heartbeat.Acquire) {
	w := m.w
	other := w.nodes[1-m.index]
	if !other.runs[a.Group] || m.exempt != nil && m.exempt(a) {
		return
	}
	if w.opt.fencing && !w.lied {
		w.violate("%s acquires %s which runs on %s, with a fencing device", m.name, a.Group, other.name)
	}
	silentSince, limit := m.heard, w.opt.deadtime
	if m.heard < 0 {
		silentSince, limit = m.started, w.opt.initdead
	}
	if w.now-silentSince < w.slow(limit) {
		w.violate("%s acquires %s which runs on %s, heard %v ago", m.name, a.Group, other.name, w.now-silentSince)
	}
}

// slow is a time by a clock that goes too fast, as far as the machines' do.
func (w *world) slow(d time.Duration) time.Duration {
	return d - time.Duration(float64(d)*max(w.opt.drift[0], w.opt.drift[1], 0)) - time.Microsecond
}

// later is world.at for what a run of the daemon waits for: operations of another run may have the same number.
func (m *machine) later(delay time.Duration, f func()) {
	run := m.boot.Generation
	m.w.at(delay, func() {
		if m.node != nil && m.boot.Generation == run {
			f()
		}
	})
}

// scriptTime is how long a script runs.
func (w *world) scriptTime() time.Duration {
	if w.opt.hangs > 0 && w.extra.Float64() < w.opt.hangs {
		return time.Duration(w.extra.Int64N(int64(8 * w.opt.deadtime)))
	}
	return w.upTo(w.opt.scriptTime)
}

func (m *machine) acquire(a heartbeat.Acquire) {
	w := m.w
	m.current[a.Group] = a.Op
	m.runs[a.Group] = true
	fails := w.chance(w.opt.startFails) || w.script.fail("start "+a.Group)
	m.later(w.scriptTime(), func() {
		if m.current[a.Group] != a.Op || !m.powered {
			return
		}
		delete(m.current, a.Group)
		if fails && w.chance(4*w.opt.stopFails) {
			m.complete(heartbeat.Done{Op: a.Op, Err: errors.New("start: exit status 1, and stop too"), Stuck: true})
			return
		}
		if fails {
			m.runs[a.Group] = false
			m.complete(heartbeat.Done{Op: a.Op, Err: errors.New("start: exit status 1")})
			return
		}
		m.complete(heartbeat.Done{Op: a.Op})
	})
}

func (m *machine) release(a heartbeat.Release) {
	w := m.w
	if old, ok := m.current[a.Group]; ok {
		m.later(0, func() { m.complete(heartbeat.Done{Op: old, Err: errors.New("cancelled")}) })
	}
	m.current[a.Group] = a.Op
	fails := w.chance(w.opt.stopFails) || w.script.fail("stop "+a.Group)
	m.later(w.scriptTime(), func() {
		if m.current[a.Group] != a.Op || !m.powered {
			return
		}
		delete(m.current, a.Group)
		if fails {
			m.complete(heartbeat.Done{Op: a.Op, Err: errors.New("stop: exit status 1"), Stuck: true})
			return
		}
		m.runs[a.Group] = false
		m.complete(heartbeat.Done{Op: a.Op})
	})
}

// transmit puts a frame on the wire, with all that a wire may do to it.
func (m *machine) transmit(s heartbeat.Send) {
	w := m.w
	other := w.nodes[1-m.index]
	if w.overhear != nil {
		w.overhear(m, s)
	}
	if w.echo != nil && s.Msg.Kind() == "NS_st" {
		w.echo(m, s)
		return
	}
	if s.Msg.Kind() == "NS_st" && w.opt.pings {
		if m.detached == 0 && !w.routerOff {
			w.at(300*time.Microsecond, func() {
				if m.detached == 0 {
					m.deliver(heartbeat.Received{Link: s.Link, Msg: s.Msg})
				}
			})
		}
		return
	}
	if s.Link == heartbeat.LinkMirrors && !w.mirrorCut && !w.routerOff && w.reach() && !w.chance(w.opt.loss) {
		msg := s.Msg.Clone()
		w.at(200*time.Microsecond+w.upTo(w.opt.delay), func() {
			other.deliver(heartbeat.Received{Link: "mirror 10.0.0.254", From: m.name, Msg: msg})
		})
	}
	for _, c := range w.links {
		if s.Link != "" && s.Link != c.id || !c.up[m.index] || !w.reach() || w.chance(w.opt.loss) {
			continue
		}
		copies := 1
		if w.chance(w.opt.dup) {
			copies = 2
		}
		for range copies {
			msg := s.Msg.Clone()
			id := c.id
			w.at(50*time.Microsecond+w.upTo(w.opt.delay), func() {
				other.deliver(heartbeat.Received{Link: id, From: m.name, Msg: msg})
			})
		}
	}
}

func (m *machine) request(kind heartbeat.RequestKind, which string) {
	if m.node == nil || m.paused {
		return
	}
	m.requestID++
	m.stopping = m.stopping || kind == heartbeat.RequestStop
	m.w.logf("request %d %s on %s", kind, which, m.name)
	m.step(heartbeat.Request{ID: m.requestID, Kind: kind, Which: which, By: "test"})
}

// answers tells whether clients get answers for a group from this machine.
func (m *machine) answers(group string) bool {
	return m.powered && m.detached == 0 && m.runs[group] && (m.leaseless || m.until[group] > m.clock().Boot)
}

// checkAnswers is the invariant of the lease: never two nodes answering for one group.
func (w *world) checkAnswers() {
	if !w.opt.lease {
		return
	}
	for _, g := range w.cfg.Groups {
		if w.nodes[0].answers(g.Name) && w.nodes[1].answers(g.Name) {
			w.violate("both nodes answer for %s", g.Name)
		}
	}
}

// owners lists who really runs a group.
func (w *world) owners(group string) []string {
	var list []string
	for _, m := range w.nodes {
		if m.powered && m.runs[group] {
			list = append(list, m.name)
		}
	}
	return list
}
