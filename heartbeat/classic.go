package heartbeat

import (
	"strings"
	"time"

	"hapair/heartbeat/wire"
)

// The files classic*.go are how ownership is negotiated with a Linux-HA peer: the release-1 resource state machine of protocol section
// 7, in which a node claims two sets, local and foreign, instead of single groups. The messages only ever move claims
// (classic_message.go, classic_standby.go, classic_return.go); what a claim means for the groups is worked out in convergeClassic
// (classic_groups.go). auto_failback legacy asks group by group instead (classic_legacy.go).

// claim is a set of the two sets of groups.
type claim int

const (
	claimNone    claim = 0
	claimLocal   claim = 1 // the groups whose preferred node is the speaker
	claimForeign claim = 2 // the others
	claimAll     claim = 3
)

func (c claim) String() string { return [...]string{"none", "local", "foreign", "all"}[c] }

// swap turns a claim as one node says it into the same groups as the other says it.
func (c claim) swap() claim { return c&claimLocal<<1 | c&claimForeign>>1 }

func parseClaim(s string) (claim, bool) {
	for c := claimNone; c <= claimAll; c++ {
		if strings.EqualFold(s, c.String()) {
			return c, true
		}
	}
	return claimNone, false
}

// resourceState is how far the negotiation has come (protocol section 7.1).
type resourceState int

const (
	rscInit resourceState = iota
	rscStarting
	rscBothStarting
	rscReceived
	rscStable
	rscShutdown
)

// Timers: the first five are those of protocol section 7.13.
const (
	localTakeover  = 10 * time.Second
	standbyGrant   = 10 * time.Second
	standbyWork    = time.Hour
	failbackRetry  = time.Second
	reqnodesRetry  = time.Second
	reqnodesLimit  = 10 * time.Second // a live peer that never answers must not hold up the start for ever
	ipRequestRetry = 5 * time.Second
	askRetry       = 5 * time.Second // between two questions what the peer holds
	confirmAfter   = time.Second     // what was said is said again after this
	unansweredMax  = 2
	nobodysWait    = 2 * time.Second  // what neither node claims is left alone so long
	returnRestart  = 10 * time.Second // a Linux-HA node that took us for dead restarts 2 s after it hears us, or when it has settled
	returnNone     = 2500 * time.Millisecond
	grantUsed      = 15 * time.Second // a grant that the peer has not acted upon by then was lost
	restartPadding = 30 * time.Second // what a quick restart asks of the peer's patience (protocol section 7.10)
)

// Message types, fields and values of protocol section 7.12.
const (
	infoOurs       = "req_our_resources()"
	infoShutdown   = "shutdown"
	infoStandby    = "standby"
	typeStarting   = "starting"
	typeResource   = "resource"
	typeAsk        = "ask_resources"
	typeTakeover   = "hb_takeover"
	typeShutdone   = "shutdone"
	typeIPRequest  = "ip-request"
	typeIPResponse = "ip-request-resp"
	typeReqnodes   = "reqnodes"
	typeRepnodes   = "repnodes"
	typeStonith    = "stonith"
	fieldHold      = "rsc_hold"
	fieldStable    = "isstable"
	fieldIP        = "ipaddr"
	fieldInfo      = "info"
)

// classic is the state of the negotiation with a Linux-HA peer.
type classic struct {
	kind       kind // what the peer was in its last run
	state      resourceState
	mine       claim
	receivedAt time.Duration // first entry of rscReceived; 0 before
	waiting    string        // the own set is to be acquired for this reason, once it is known what runs here
	acquiring  bool          // own local set is being acquired: say so when it is done
	newest     uint64        // number of the newest message in which this node said what it holds
	confirmAt  time.Duration // when to say it again, in case the network turned the order of two round; 0 for not
	sayAgain   bool          // the peer has asked for an older one and is about to believe it

	otherHolds  claim
	sayings     []saying // what otherHolds follows from
	told        bool     // otherHolds is what the peer said in this run, and since it was last asked
	otherStable bool
	stableSeq   uint64        // number of the newest message that otherStable follows from
	dormant     bool          // this node slept: what it hears is what had waited, until it has asked anew
	ask         bool          // ask the peer what it holds, when all that waits has been read
	askAt       time.Duration // when to ask again; 0 for not
	askedFor    uint64        // version of this node's statement when it last asked because a lease had run out

	fresh       bool // no status of its present run has been looked at
	left        bool // it said shutdone in this run
	missedUs    bool // it has taken this node for dead in this run
	answered    bool // it answered reqnodes
	reqnodesAt  time.Duration
	reqnodesEnd time.Duration

	heldBefore claim         // what the peer claimed when it was last declared dead
	failback   bool          // a takeover happened: give back when the owner is stable
	failbackAt time.Duration // when to try that; 0 for not
	returned   returning
	sweeping   sweeping
	politely   bool // the peer's last run ended with its word that everything is stopped
	standby    handover
	askSeq     uint64                   // number of the peer's newest message about a hand-over
	tookAt     time.Duration            // when this node last asked the peer to go standby; 0 for never
	unanswered int                      // hand-overs in a row to which the peer did not react
	belated    handover                 // one whose end on the other side is not to be relied on by itself: it goes on when the peer has said what it holds now
	reportedAt time.Duration            // when scripts of the peer last reported their end; 0 for not in this run
	held       order                    // a message that waits for the peer to be able to hear of its scripts
	broken     handover                 // a granted hand-over that could not be carried out here, for which the peer still waits
	requests   map[string]time.Duration // legacy: groups asked for, and when to ask again
	owed       map[string]bool          // legacy: groups being given up, to be answered then
	takenSeq   uint64                   // legacy: number of the message in which the peer said that it takes everything
	legacyHeld time.Duration            // legacy: the peer has taken over everything; own groups are asked for from then on
}

func (c *classic) deadlines(n *Node, sooner func(time.Duration)) {
	for _, t := range []time.Duration{n.legacySweepAt(), c.reqnodesAt, c.failbackAt, c.standby.until, c.askAt, c.legacyHeld, c.confirmAt, c.held.at} {
		if t > 0 {
			sooner(t)
		}
	}
	if c.receivedAt > 0 && c.state == rscReceived {
		sooner(c.receivedAt + localTakeover)
	}
	c.returned.deadlines(sooner)
	c.sweeping.deadlines(sooner)
	for _, t := range c.requests {
		sooner(t)
	}
}

// nice tells whether the pair negotiates by claims (auto_failback on or off), or group by group (legacy).
func (n *Node) nice() bool { return n.cfg.Failback != FailbackLegacy }

// setOf is the set that a group belongs to, as this node says it.
func (n *Node) setOf(g *group) claim {
	if g.Preferred == n.cfg.Node {
		return claimLocal
	}
	return claimForeign
}

// claimSet changes what this node says it holds; the groups follow in convergeClassic.
func (n *Node) claimSet(c claim) {
	n.classic.mine = c
	for _, g := range n.groups {
		g.claim = c&n.setOf(g) != 0
	}
}

// claimHeld makes the claims what the groups really are. A set without groups stays as it was claimed.
func (n *Node) claimHeld() {
	c := &n.classic
	held, known := claimNone, claimNone
	for _, g := range n.groups {
		known |= n.setOf(g)
		g.claim = g.hold.owns()
		if g.claim {
			held |= n.setOf(g)
		}
	}
	c.state = rscStable
	if n.nice() {
		n.claimSet(held | c.mine&^known)
	}
}

// classicNewRun prepares for a new run of the peer, which may have become a Linux-HA node or ceased to be one.
func (n *Node) classicNewRun() {
	c := &n.classic
	n.ipfail = ipfail{}
	owed := c.sweeping.due || c.sweeping.asked > 0 || len(c.requests) > 0
	before := c.kind
	// A planned quick restart is announced by a longer deadtime. It says nothing of a node that was nevertheless away for so long that it was replaced.
	planned := n.peer.deadtime >= n.cfg.Deadtime+restartPadding && n.peer.life != lifeDead
	politely := c.politely || c.left || planned
	*c = classic{kind: n.peer.kind, state: c.state, mine: c.mine, receivedAt: c.receivedAt, waiting: c.waiting, newest: c.newest,
		otherHolds: c.otherHolds, heldBefore: c.heldBefore, failback: c.failback, politely: politely}
	if n.stop.asked {
		return
	}
	if c.kind != kindClassic {
		c.otherHolds = claimNone
		return
	}
	if n.member == memberActive && (c.state >= rscStable || before != kindClassic) {
		n.claimHeld()
	}
	c.askAt = n.now.Mono + askRetry
	c.fresh = true
	c.sweeping.due = owed || n.member == memberActive && !politely && before != kindUnknown
}

// classicAlone claims everything, because the peer is dead or has left.
func (n *Node) classicAlone() {
	c := &n.classic
	if n.stop.asked {
		return
	}
	if c.standby.phase != standbyNone {
		n.report(Info, "Cancelling pending standby operation")
	}
	held := c.otherHolds
	if !c.told && n.peer.kind == kindClassic && !c.left {
		held = claimAll // it may have held anything
	}
	*c = classic{kind: c.kind, state: rscStable, newest: c.newest, left: c.left, heldBefore: held, failback: true, otherStable: true,
		politely: n.peer.life == lifeLeft}
	for _, g := range n.groups {
		n.splitEnded(g)
	}
	n.claimSet(claimAll)
}

// classicDied is classicAlone for a peer that fell silent.
func (n *Node) classicDied() {
	n.classic.left = false
	n.classicAlone()
}

// classicSlept begins the negotiation anew after a sleep so long that the peer may have taken over; this node has let go of everything.
func (n *Node) classicSlept() {
	c := &n.classic
	if n.peer.kind != kindClassic || n.stop.asked || n.member != memberActive {
		return
	}
	c.standby, c.returned, c.acquiring, c.requests = handover{}, returning{}, false, nil
	n.claimSet(claimNone)
	c.dormant, c.told, c.waiting = true, false, ""
	if n.nice() {
		c.state, c.receivedAt, c.ask = rscStarting, 0, true
	}
}

// classicStatus runs what depends on a Linux-HA peer being heard at all.
func (n *Node) classicStatus() {
	c := &n.classic
	if c.fresh && n.peer.member == memberActive && n.member == memberActive {
		c.ask = n.nice() // it does not begin now: it will not say by itself what it holds
		c.sweeping.due = !c.politely
	}
	c.fresh = false
	if n.member != memberUp || c.answered || n.now.Mono < c.reqnodesAt {
		return
	}
	if c.reqnodesEnd == 0 {
		c.reqnodesEnd = n.now.Mono + reqnodesLimit
	}
	c.reqnodesAt = n.now.Mono + reqnodesRetry
	n.askNodes()
}

// askNodes asks the peer for its list of nodes: a question that Linux-HA answers at once.
func (n *Node) askNodes() {
	ask := wire.New(typeReqnodes)
	ask.Add("dest", n.peer.name)
	n.send(ask)
}

// classicKnown tells whether the peer's list of nodes is known, or never will be.
func (n *Node) classicKnown() bool {
	c := &n.classic
	if !c.answered && c.reqnodesEnd > 0 && n.now.Mono >= c.reqnodesEnd {
		c.answered = true
		n.report(Warn, "%s has not answered reqnodes within %v; going on with the nodes of this node's own configuration", n.peer.name, reqnodesLimit)
	}
	return c.answered
}

// classicCommUp begins the negotiation.
func (n *Node) classicCommUp() {
	c := &n.classic
	c.reqnodesAt = 0
	if n.peer.kind != kindClassic || n.peer.life != lifeAlive || !n.cfg.Managed {
		return
	}
	if !n.nice() {
		c.state = rscStable
		n.claimSet(claimNone)
		return
	}
	c.state = rscStarting
	c.ask = true
}

// classicPadding is what a quick restart that leaves the resources running adds to the dead time it announces to a Linux-HA peer.
func (n *Node) classicPadding() time.Duration {
	if n.stop.keep && n.peer.kind == kindClassic {
		return restartPadding
	}
	return 0
}
