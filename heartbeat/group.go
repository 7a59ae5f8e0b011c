package heartbeat

import (
	"fmt"
	"time"
)

// hold is what runs of a group on one node.
type hold int

const (
	holdUnknown   hold = iota // just started: what a predecessor left behind is being examined
	holdIdle                  // nothing runs
	holdAdopting              // something of a predecessor runs; who may have it is being asked
	holdAcquiring             // being started
	holdHeld                  // runs
	holdReleasing             // being stopped
	holdStuck                 // could not be stopped: something may still run
)

const holdLetters = "dioahrs"

const holdCount = len(holdLetters)

func (h hold) letter() byte { return holdLetters[h] }

// holdOf reads a letter; an unknown one is taken for the most careful meaning.
func holdOf(letter byte) hold {
	for i := range len(holdLetters) {
		if holdLetters[i] == letter {
			return hold(i)
		}
	}
	return holdStuck
}

func (h hold) String() string {
	return [...]string{"adopting", "idle", "adopting", "acquiring", "held", "releasing", "stuck"}[h]
}

// runs tells whether something of the group may run.
func (h hold) runs() bool { return h != holdIdle }

// owns tells whether a node in this state means to serve the group.
func (h hold) owns() bool { return h == holdAcquiring || h == holdHeld }

// wish is what one node would like to happen with a group.
type wish int

const (
	wishNone   wish = iota
	wishWant        // would take it now
	wishOffer       // would give it, or gave it and does not want it back
	wishUnable      // cannot run it: it failed here, or this node is leaving
)

const wishLetters = "nwou"

func (w wish) letter() byte { return wishLetters[w] }

func wishOf(letter byte) wish {
	for i := range len(wishLetters) {
		if wishLetters[i] == letter {
			return wish(i)
		}
	}
	return wishUnable
}

// group is one line of haresources and everything known of who has it.
type group struct {
	Group
	hash  uint32
	alias []uint32 // short names of groups that became this one in a reload, as long as the peer may know them
	part  uint32   // short name of the group that this one was a part of before a reload, as long as the peer does not know this one; 0 for none
	gone  bool     // not in the configuration any more: it is kept until it is stopped, so that the peer hears what may still run
	hold  hold
	wish  wish
	was   bool   // held by this node's previous run in this boot of the machine
	epoch uint64 // counts takeovers; the highest that this node has seen or made

	op         OpID // running operation, 0 for none
	since      Instant
	reason     string // of the last change
	wantedAt   uint64 // version of the statement in which the wish was first said
	saidAt     uint64 // version of the statement in which the present hold was first said
	asked      bool   // a takeover of it was asked for on this node
	askedUntil time.Duration
	given      bool          // moved away by hand: auto_failback does not undo what a person did
	giveBy     time.Duration // an offer that nobody took is withdrawn then; a group that nobody made ready for is released then by a node that stops
	prep       OpID          // running Prepare, 0 for none
	prepBy     time.Duration // it is not waited for beyond this
	foreseen   time.Duration // when the peer was last heard before the silence that it was prepared in
	ready      bool          // prepared for the hand-over that is coming
	failed     bool
	retryAt    time.Duration
	failures   int
	failReason string
	deserted   bool // an alarm says that nobody serves it

	peerHold         hold
	peerWish         wish
	peerEpoch        uint64
	announceWhenFree bool // a double holding of it was found: announce when the other has let go

	leased     time.Duration // until when the kernel lets this node answer, on the boot clock; 0 for not at all
	lapsedFrom uint64        // the counter of the first question that was asked after that, see alive.go
	yielded    bool          // this node was the last to serve it, and gave it up because it was isolated
	lapsed     bool          // its lease ran out while this node stood still: it is not renewed before the peer says that it took nothing

	claim      bool // with a Linux-HA peer: this node has said that it holds the set that the group belongs to
	leastPings bool // given to a peer that reaches more ping nodes: see ipfail.go
	handed     bool // with a Linux-HA peer: its failure has been answered by a hand-over

	damp                 damping
	ill                  bool   // offered because this node is not fit
	accepted             string // what spoke against this node when a person wanted the group here all the same
	cutSettling, cutTold bool   // see Unfit; it was reported
	cut                  string // why it reaches nobody here; "" where it may
}

func (g *group) deadlines(n *Node, sooner func(time.Duration)) {
	if g.failed {
		sooner(g.retryAt)
	}
	if g.giveBy > 0 && (g.wish == wishOffer || n.stop.asked) {
		sooner(g.giveBy)
	}
	if g.asked {
		sooner(g.askedUntil)
	}
	if g.prep != 0 && g.prepBy > 0 {
		sooner(g.prepBy)
	}
	if g.damped() {
		sooner(g.damp.until)
	}
}

// set moves a group to another state and remembers why.
func (n *Node) set(g *group, h hold, reason string) {
	if !allowed(g.hold, h) {
		n.report(Crit, "Resource group %s goes from %s to %s, which no rule foresees: please report this line", g.Name, g.hold, h)
	}
	n.walked[g.hold][h] = true
	g.hold, g.since, g.reason = h, n.now, reason
	n.changed()
	g.saidAt = n.version
}

// examine asks whether a predecessor left something of the group running.
func (n *Node) examine(g *group) {
	if !n.cfg.Managed {
		g.hold = holdIdle
		return
	}
	g.op = n.op()
	n.do(Examine{Op: g.op, Group: g.Name})
}

// acquire starts a group here, under a new epoch.
func (n *Node) acquire(g *group, reason string) {
	g.epoch = max(g.epoch, g.peerEpoch) + 1
	g.op = n.op()
	g.damp.byHand, g.accepted = g.asked, ""
	if g.asked {
		g.accepted = n.unfitFor(g)
	}
	g.asked, g.given, g.giveBy = false, false, 0
	g.wish, g.ready, g.prepBy = wishNone, false, 0
	n.set(g, holdAcquiring, reason)
	n.transition(Info, reason, "Acquiring resource group: %s %s", g.Preferred, g.Name)
	g.yielded = false
	n.answerAgain(g)
	n.do(Acquire{Op: g.op, Group: g.Name, Epoch: g.epoch, Reason: reason})
	n.persist()
}

// release stops a group here. A start that is still under way is cancelled by it.
func (n *Node) release(g *group, reason string) {
	g.op = n.op()
	n.set(g, holdReleasing, reason)
	n.transition(Info, reason, "Releasing resource group: %s %s", g.Preferred, g.Name)
	n.do(Release{Op: g.op, Group: g.Name, Reason: reason})
}

// persist asks that the epochs and what is held be kept for the next start.
func (n *Node) persist() {
	p := Persist{Epochs: make(map[string]uint64, len(n.groups)), StartFenced: n.boot.StartFenced, Fences: n.boot.Fences, MaybeShot: n.boot.MaybeShot, DeviceTook: n.boot.DeviceTook,
		PausedUntil: n.pause.until, Clean: n.stop.halted && n.boot.Clean}
	for _, g := range n.groups {
		p.Epochs[g.Name] = g.epoch
		if g.hold.owns() || (g.hold == holdAdopting || g.hold == holdUnknown) && g.was {
			p.Held = append(p.Held, g.Name)
		}
		if g.hold.runs() && g.hold != holdUnknown {
			p.Runs = append(p.Runs, g.Name)
		}
	}
	n.do(p)
}

// done takes the answer to an operation. One that belongs to an operation given up meanwhile is not taken for the current one.
func (n *Node) done(ev Done) {
	if ev.Op != 0 && ev.Op == n.fence.op {
		n.fenceDone(ev.Err)
		return
	}
	for _, g := range n.groups {
		if g.prep == ev.Op && ev.Op != 0 {
			g.prep, g.ready = 0, g.prepBy > 0
			return
		}
		if g.op != ev.Op || ev.Op == 0 {
			continue
		}
		g.op = 0
		switch g.hold {
		case holdUnknown:
			n.examined(g, ev)
		case holdAcquiring:
			n.acquired(g, ev)
		case holdReleasing:
			n.released(g, ev)
		}
		n.persist()
		return
	}
}

func (n *Node) examined(g *group, ev Done) {
	switch {
	case ev.Err != nil:
		n.transition(Warn, ev.Err.Error(), "Whether resource group %s runs here is not known; taken as running", g.Name)
		n.set(g, holdAdopting, "state unknown: "+ev.Err.Error())
	case ev.Running:
		n.set(g, holdAdopting, "found running at start")
	case ev.Unsure && g.was:
		n.set(g, holdAdopting, "held before the restart of this daemon, and a resource does not say whether it runs")
	default:
		n.set(g, holdIdle, "not running")
	}
}

func (n *Node) acquired(g *group, ev Done) {
	took := (n.now.Mono - g.since.Mono).Round(100 * time.Microsecond)
	if ev.Err == nil {
		n.set(g, holdHeld, g.reason)
		g.failed, g.failures = false, 0
		n.transition(Info, g.reason, "Resource group %s runs here (started in %v)", g.Name, took)
		n.do(Hook{Event: "became-active", Group: g.Name, Reason: g.reason})
		return
	}
	n.fail(g, ev.Err.Error())
	if ev.Stuck && n.jammed(g, "start failed and could not be undone", ev.Err.Error()) {
		return
	}
	n.set(g, holdIdle, "start failed: "+ev.Err.Error())
	n.transition(LevelError, ev.Err.Error(), "Giving up resource group %s: its start failed after %v", g.Name, took)
}

// fail remembers that a group cannot run here for now.
func (n *Node) fail(g *group, reason string) {
	g.failed, g.failReason = true, reason
	g.failures++
	g.retryAt = n.now.Mono + n.cfg.RetryFailed
	n.do(Hook{Event: "resource-failed", Group: g.Name, Reason: reason})
}

func (n *Node) released(g *group, ev Done) {
	took := (n.now.Mono - g.since.Mono).Round(100 * time.Microsecond)
	if ev.Err != nil && ev.Stuck && n.jammed(g, "stop failed", ev.Err.Error()) {
		return
	}
	reason := g.reason
	n.expireLease(g)
	n.set(g, holdIdle, reason)
	n.transition(Info, reason, "Resource group %s released (in %v)", g.Name, took)
	n.do(Hook{Event: "became-standby", Group: g.Name, Reason: reason})
}

// health takes the word of who watches a group.
func (n *Node) health(ev Health) {
	for _, g := range n.groups {
		if g.Name == ev.Group && ev.Failed && g.hold == holdHeld {
			n.fail(g, ev.Reason)
			n.transition(LevelError, ev.Reason, "Resource group %s failed here", g.Name)
			n.release(g, "failed: "+ev.Reason)
		}
	}
}

// tellDeserted raises an alarm about every group that could not be started here, while nobody else serves it either, and ends it when somebody
// does. It stands while the group is tried again.
func (n *Node) tellDeserted() {
	for _, g := range n.groups {
		why := n.deserted(g)
		switch {
		case why != "" && !g.deserted:
			n.do(Alarm{Key: "deserted " + g.Name, Text: "nobody serves " + g.Name + ": it failed here (" + g.failReason + "), and " + why +
				"; it is tried again here by itself, and at once after `heartbeat resource cleanup '" + g.Name + "'`"})
		case why == "" && g.deserted:
			n.do(Alarm{Key: "deserted " + g.Name})
		}
		g.deserted = why != ""
	}
}

// deserted says why nobody but this node could serve a group that could not be started here, "" where that is not so.
func (n *Node) deserted(g *group) string {
	p := &n.peer
	switch {
	case g.failures == 0 || g.hold == holdHeld || g.hold == holdStuck || n.peerHolds(g) || n.stop.asked || g.gone:
		return ""
	case p.name == "":
		return "there is no other node"
	case p.life != lifeAlive:
		return p.name + " is not there (" + n.peerState() + ")"
	case p.kind == kindOurs && p.current && g.peerHold == holdIdle && g.peerWish == wishUnable:
		return p.name + " cannot run it either"
	case p.kind == kindClassic && !n.nice():
		return p.name + " cannot be asked to run it with auto_failback legacy"
	}
	return ""
}

// splitFound notes that both nodes hold a group.
func (n *Node) splitFound(g *group, verdict string) {
	if n.split == (Instant{}) {
		n.split = n.now
		n.transition(Crit, fmt.Sprintf("%s holds it with epoch %d, this node with epoch %d", n.peer.name, g.peerEpoch, g.epoch),
			"Both nodes hold resource group %s: %s", g.Name, verdict)
		whose := "foreign"
		if g.Preferred == n.cfg.Node {
			whose = "our"
		}
		n.report(LevelError, "Both machines own %s resources!", whose)
		n.do(Hook{Event: "split-found", Group: g.Name, Reason: verdict})
	}
}

// splitEnded is run when the peer does not hold a group, on the node that kept one which both held: whoever listened to the loser learns the way back.
func (n *Node) splitEnded(g *group) {
	if !g.announceWhenFree {
		return
	}
	g.announceWhenFree = false
	if g.hold == holdHeld {
		n.do(Announce{Group: g.Name})
	}
	for _, other := range n.groups {
		if other.announceWhenFree {
			return
		}
	}
	if n.split != (Instant{}) {
		n.transition(Info, "the peer has let go of "+g.Name, "Double holding ended %v after it was found",
			(n.now.Mono - n.split.Mono).Round(time.Millisecond))
		n.do(Hook{Event: "split-ended", Group: g.Name, Reason: "the peer has let go"})
		n.split = Instant{}
	}
}
