package heartbeat

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Node is one half of a pair as a value: feed it events with Step, do what it returns, and call Step with a Tick when Wake
// says so. It is not safe for concurrent use.
type Node struct {
	cfg  Config
	boot Boot
	rng  *rand.Rand

	now    Instant
	wake   Instant // what Wake last promised; oversleeping is measured against it
	out    []Action
	nextOp OpID

	started     Instant
	member      string // own status on the wire: init, up, active
	mute        bool   // overslept the deadtime while holding something: nothing is sent until it is released
	muteUntil   time.Duration
	leaseBefore time.Duration // length before a reload, while the peer has not acknowledged version leaseAfter; 0 otherwise
	listenUntil time.Duration // after a sleep: until then a goodbye that waited meanwhile is not acted upon
	doubtUntil  time.Duration // until then a peer that was gone may say that it came while this node slept, or one that is cut off take over; lapsed groups wait
	leaseAfter  uint64
	stop        stopping

	tx     transmitter
	rx     receiver
	probes probing
	peer   peer
	links  []*link
	pings  []*ping
	groups []*group

	version   uint64 // of the statement about the groups, see statement.go
	nonce     uint64 // this run's challenge
	taking    string // the peer that is gone whose groups this node is taking; "" for none
	digest    string // see digest.go
	statusDue time.Duration
	announce  bool // something changed that the peer should hear now, not at the next keepalive

	fence        fencing
	pause        pausing
	handFenced   time.Duration // when a device had the peer off because a person asked for it, while it did not count as dead; 0 for not
	handFencedBy string
	maybeShot    bool              // the run before was probably ended by the peer's device, see Boot.MaybeShot; until the peer is heard
	startFence   bool              // this run has begun to fence a peer that was not heard since its start
	deviceCheck  time.Duration     // how long the device's last check took that succeeded; 0 before
	alarms       map[string]string // standing, by key

	timing    Timing
	mirror    mirroring
	look      looking
	isolation isolation
	unfit     string // what a check script says against this node; "" for nothing
	classic   classic
	ipfail    ipfail

	transitions []Transition
	split       Instant // when a double holding was found; zero when there is none
	limited     map[string]limit
	walked      [holdCount][holdCount]bool // steps of the table that groups have taken here
}

// limit keeps a report from being repeated without bound.
type limit struct {
	next       time.Duration
	suppressed int
}

// New returns a node that has just started. The configuration must be complete; a fault in it is the caller's mistake
// and comes back as an error before anything is done.
func New(cfg Config, boot Boot, now Instant) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg:     cfg,
		boot:    boot,
		rng:     rand.New(rand.NewPCG(boot.Seed, uint64(boot.Generation))),
		now:     now,
		started: now,
		member:  memberInit,
		limited: map[string]limit{},
		timing:  timingBefore(cfg, boot),
	}
	n.maybeShot = boot.MaybeShot && !boot.Clean
	n.boot.MaybeShot = n.maybeShot
	n.nonce = n.rng.Uint64() | 1
	n.version = 1
	n.resumePause()
	n.tx.status = now
	n.peer = newPeer(cfg)
	n.statusDue = now.Mono
	n.configureLinks()
	held := map[string]bool{}
	for _, name := range boot.Held {
		held[name] = true
	}
	for _, g := range cfg.Groups {
		n.groups = append(n.groups, &group{
			Group: g, hash: groupHash(g.Name), hold: holdUnknown, was: held[g.Name],
			epoch: boot.Epochs[g.Name], since: now, peerWish: wishUnable,
			reason: "not yet examined", leased: inherited(boot, g.Name, held[g.Name]),
		})
	}
	n.wake = now
	return n, nil
}

// check refuses a configuration that the core cannot decide with.
func (c Config) check() error {
	switch {
	case c.Node == "":
		return errors.New("node has no name")
	case c.Node == c.Peer:
		return fmt.Errorf("node and peer are both %q", c.Node)
	case c.Keepalive <= 0:
		return fmt.Errorf("keepalive %v is not positive", c.Keepalive)
	case c.Deadtime <= c.Keepalive:
		return fmt.Errorf("deadtime %v is not above keepalive %v", c.Deadtime, c.Keepalive)
	}
	seen := map[string]bool{}
	hashes := map[uint32]string{}
	for _, g := range c.Groups {
		if seen[g.Name] {
			return fmt.Errorf("group %q is defined twice", g.Name)
		}
		seen[g.Name] = true
		if other, clash := hashes[groupHash(g.Name)]; clash {
			return fmt.Errorf("groups %q and %q have the same short name on the wire: rename one", other, g.Name)
		}
		hashes[groupHash(g.Name)] = g.Name
	}
	if c.Lease < 0 || c.Lease >= c.Deadtime {
		return fmt.Errorf("lease %v is not below deadtime %v", c.Lease, c.Deadtime)
	}
	return nil
}

// groupHash is a group's short name on the wire.
func groupHash(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}

func (n *Node) configureLinks() {
	old, before := map[string]*link{}, n.links
	for _, l := range before {
		old[l.ID] = l
	}
	n.links = n.links[:0:0]
	for _, c := range n.cfg.Links {
		l := old[c.ID]
		if l == nil {
			l = &link{lastHeard: never, state: linkDead, deafSince: never}
		}
		l.LinkConfig = c
		n.links = append(n.links, l)
	}
	for _, l := range before {
		if l.Kind == kindMirror && n.cfg.Mirrors {
			n.links = append(n.links, l)
		}
	}
	oldPings := map[string]*ping{}
	for _, p := range n.pings {
		oldPings[p.ID] = p
	}
	n.pings = n.pings[:0:0]
	for _, c := range n.cfg.Pings {
		p := oldPings[c.ID]
		if p == nil {
			p = &ping{lastHeard: never}
		}
		p.PingConfig = c
		n.pings = append(n.pings, p)
	}
}

// Step tells the node what happened at now and returns what to do, in order.
func (n *Node) Step(now Instant, ev Event) []Action {
	n.out = nil
	overslept := max(now.Mono-n.wake.Mono, now.Boot-n.wake.Boot)
	n.now = now
	if n.stop.halted {
		return nil
	}
	n.noticeOversleep(overslept)
	switch ev := ev.(type) {
	case Tick:
	case Received:
		n.receive(ev)
	case LinkState:
		n.linkState(ev)
	case Done:
		n.done(ev)
	case Looked:
		n.looked(ev)
	case DeviceChecked:
		n.deviceChecked(ev.Took)
	case Health:
		n.health(ev)
	case Carrier:
		n.carrier(ev)
	case Unfit:
		n.fitness(ev)
	case Request:
		n.request(ev)
	case Reconfigure:
		n.reconfigure(ev)
	case Submit:
		n.submit(ev)
	case Digest:
		n.describe(ev)
	}
	_, tick := ev.(Tick)
	n.watch(tick)
	n.converge()
	n.publish()
	n.wake = n.nextWake()
	return n.out
}

// Wake is the instant at which Step(…, Tick{}) next has something to do. Only its clocks are meaningful.
func (n *Node) Wake() Instant { return n.wake }

// nextWake is the nearest of all deadlines.
func (n *Node) nextWake() Instant {
	at := n.statusDue
	sooner := func(t time.Duration) {
		if t > n.now.Mono && t < at {
			at = t
		}
	}
	n.peer.deadlines(n, sooner)
	n.probeDeadline(sooner)
	n.foresightDeadline(sooner)
	n.mirrorDeadline(sooner)
	n.look.deadlines(sooner)
	n.isolationDeadline(sooner)
	n.rx.deadlines(sooner)
	n.fence.deadlines(sooner)
	n.calmDeadline(sooner)
	n.watchdogDeadline(sooner)
	n.pauseDeadline(sooner)
	n.classic.deadlines(n, sooner)
	n.ipfail.deadlines(n, sooner)
	for _, l := range n.links {
		l.deadlines(n, sooner)
	}
	for _, p := range n.pings {
		if p.up {
			sooner(p.lastHeard + n.cfg.Deadping)
		}
	}
	for _, g := range n.groups {
		g.deadlines(n, sooner)
	}
	sooner(n.doubtUntil)
	sooner(n.listenUntil)
	if n.stop.said > 0 {
		sooner(n.stop.next)
	}
	if n.peer.life == lifeAlive && n.now.Mono >= n.peer.deadAt() {
		at = n.now.Mono // judged at the next Tick, when all queues have been read
	}
	at = max(at, n.now.Mono)
	return Instant{Mono: at, Boot: n.now.Boot + at - n.now.Mono}
}

// op names a new operation.
func (n *Node) op() OpID {
	n.nextOp++
	return n.nextOp
}

func (n *Node) do(a Action) { n.out = append(n.out, a) }

// report adds a line for the log.
func (n *Node) report(level Level, format string, args ...any) {
	n.do(Report{Level: level, Text: fmt.Sprintf(format, args...)})
}

// reportLimited is report for what the network can provoke: once a minute for each key, with a count of what was left out.
func (n *Node) reportLimited(key string, level Level, format string, args ...any) {
	const every = time.Minute
	l := n.limited[key]
	if n.now.Mono < l.next {
		l.suppressed++
		n.limited[key] = l
		return
	}
	text := fmt.Sprintf(format, args...)
	if l.suppressed > 0 {
		text += fmt.Sprintf(" (and %d more like it since the last such line)", l.suppressed)
	}
	if len(n.limited) > 64 { // keys are few by construction; never let a stranger make them many
		clear(n.limited)
	}
	n.limited[key] = limit{next: n.now.Mono + every}
	n.report(level, "%s", text)
}

// transition reports a change worth keeping, with its reason.
func (n *Node) transition(level Level, reason, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	n.transitions = append(n.transitions, Transition{Time: n.now.Wall, What: what, Reason: reason})
	if len(n.transitions) > 20 {
		n.transitions = n.transitions[len(n.transitions)-20:]
	}
	n.do(Report{Level: level, Text: what, Transition: true, Reason: reason})
}

// submit sends a local program's message as it is.
func (n *Node) submit(ev Submit) {
	m := ev.Msg
	if n.member != memberActive || n.mute {
		n.report(Warn, "Message of type %q not sent: this node is not active yet", m.Kind())
		return
	}
	n.sendOn(ev.Link, m)
	n.do(Notify{Msg: m})
}
