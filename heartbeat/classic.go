package heartbeat

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"hapair/heartbeat/wire"
)

// This file and classic_standby.go are how ownership is negotiated with a Linux-HA peer: the release-1 resource state machine of
// protocol section 7, in which a node claims two sets, local and foreign, instead of single groups. What a claim means for the
// groups is worked out in convergeClassic, so that the messages only ever move claims.

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

// Timers of protocol section 7.13.
const (
	localTakeover   = 10 * time.Second
	standbyGrant    = 10 * time.Second
	standbyWork     = time.Hour
	failbackRetry   = time.Second
	reqnodesRetry   = time.Second
	ipRequestRetry  = 5 * time.Second
	returnPatience  = 5 * time.Second // a Linux-HA node that found a healed partition restarts within 2 s of it
	infoOurs        = "req_our_resources()"
	infoMachDown    = "mach_down"
	infoShutdown    = "shutdown"
	infoStandby     = "standby"
	typeStarting    = "starting"
	typeResource    = "resource"
	typeAsk         = "ask_resources"
	typeTakeover    = "hb_takeover"
	typeShutdone    = "shutdone"
	typeIPRequest   = "ip-request"
	typeIPResponse  = "ip-request-resp"
	typeReqnodes    = "reqnodes"
	typeRepnodes    = "repnodes"
	typeStonith     = "stonith"
	fieldHold       = "rsc_hold"
	fieldStable     = "isstable"
	fieldIP         = "ipaddr"
	fieldInfo       = "info"
	classicProtocol = "1"
)

// classic is the state of the negotiation with a Linux-HA peer.
type classic struct {
	state       resourceState
	mine        claim
	otherHolds  claim
	heldBefore  claim // what the peer claimed when it was declared dead
	otherStable bool
	left        bool // it said shutdone in this run
	answered    bool // it answered reqnodes
	reqnodesAt  time.Duration
	receivedAt  time.Duration // first entry of rscReceived; 0 before
	failback    bool          // a takeover happened: give back when the owner is stable
	failbackAt  time.Duration
	returnedAt  time.Duration // when a partition healed; 0 when none did
	acquiring   bool          // own local set is being acquired: say so when it is done
	takingOver  bool          // a dead or departed node's set is being acquired
	standby     handover
	requests    map[string]time.Duration // legacy: groups asked for, and when to ask again
	owed        map[string]bool          // legacy: groups being given up, to be answered then
}

func (c *classic) deadlines(sooner func(time.Duration)) {
	for _, t := range []time.Duration{c.reqnodesAt, c.failbackAt, c.standby.until} {
		if t > 0 {
			sooner(t)
		}
	}
	if c.receivedAt > 0 && c.state == rscReceived {
		sooner(c.receivedAt + localTakeover)
	}
	if c.returnedAt > 0 {
		sooner(c.returnedAt + returnPatience)
	}
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

// classicNewRun prepares for a new run of a Linux-HA peer.
func (n *Node) classicNewRun() {
	c := &n.classic
	c.left, c.answered, c.returnedAt, c.reqnodesAt = false, false, 0, 0
	c.otherStable = false
	c.standby = handover{}
	c.requests, c.owed = nil, nil
	if n.peer.kind == kindClassic && n.member == memberActive && c.state == rscInit {
		n.claimHeld()
	}
}

// claimHeld makes the claims what the groups are.
func (n *Node) claimHeld() {
	c := &n.classic
	c.state = rscStable
	c.mine = claimNone
	for _, g := range n.groups {
		g.claim = g.hold.owns()
		if g.claim {
			c.mine |= n.setOf(g)
		}
	}
}

// classicAlone claims everything, because the peer is dead or has left.
func (n *Node) classicAlone() {
	c := &n.classic
	if n.stop.asked {
		return
	}
	if c.standby.phase != standbyNone {
		n.report(Info, "Cancelling pending standby operation")
		c.standby = handover{}
	}
	c.heldBefore = c.otherHolds
	c.failback = true
	c.state = rscStable
	c.otherHolds, c.otherStable = claimNone, true
	c.receivedAt, c.acquiring = 0, false
	c.takingOver = n.peer.kind == kindClassic && c.mine != claimAll
	n.claimSet(claimAll)
}

// classicDied is classicAlone for a peer that fell silent.
func (n *Node) classicDied() {
	n.classic.left = false
	n.classicAlone()
}

// classicReturns is a Linux-HA peer heard again that was taken for dead: it restarts itself if it took us for dead too.
func (n *Node) classicReturns() {
	c := &n.classic
	n.report(Crit, "Cluster node %s returning after partition.", n.peer.name)
	n.report(Warn, "Deadtime value may be too small.")
	c.returnedAt = n.now.Mono
	c.otherHolds = c.heldBefore
}

// classicStatus runs what depends on a Linux-HA peer being heard at all.
func (n *Node) classicStatus() {
	c := &n.classic
	if n.member == memberUp && !c.answered && n.now.Mono >= c.reqnodesAt {
		c.reqnodesAt = n.now.Mono + reqnodesRetry
		ask := wire.New(typeReqnodes)
		ask.Add("dest", n.peer.name)
		n.send(ask)
	}
}

func (n *Node) classicKnown() bool { return n.classic.answered }

// classicCommUp begins the negotiation.
func (n *Node) classicCommUp() {
	c := &n.classic
	c.reqnodesAt = 0
	if n.peer.kind != kindClassic || n.peer.life != lifeAlive {
		return
	}
	if !n.nice() {
		c.state = rscStable
		n.claimSet(claimNone)
		n.legacyAsk()
		return
	}
	c.state = rscStarting
	n.send(wire.New(typeStarting))
}

// sendResource says what this node holds. Having said it while starting counts as having heard it (protocol section 7.12).
func (n *Node) sendResource(info string) {
	c := &n.classic
	if !n.nice() && info != infoShutdown {
		return
	}
	m := wire.New(typeResource)
	m.Add(fieldHold, c.mine.String())
	m.Add("rtype", "full")
	stable := "0"
	if c.state == rscStable && c.standby.phase == standbyNone && info != infoStandby {
		stable = "1"
	}
	m.Add(fieldStable, stable)
	if info != "" {
		m.Add(fieldInfo, info)
	}
	n.send(m)
	n.received()
}

// received enters rscReceived once.
func (n *Node) received() {
	c := &n.classic
	if c.state == rscStarting || c.state == rscBothStarting {
		c.state = rscReceived
		if c.receivedAt == 0 {
			c.receivedAt = max(n.now.Mono, 1)
		}
	}
}

// classicMessage handles a message of a Linux-HA peer; false means that it is for others (rc.d).
func (n *Node) classicMessage(m wire.Message) bool {
	c := &n.classic
	switch m.Kind() {
	case typeReqnodes:
		answer := wire.Message{}
		answer.Add("dest", n.peer.name)
		answer.Add("t", typeRepnodes)
		answer.Add("nodelist", strings.Join(n.cfg.Nodes, " ")+" ")
		answer.Add("delnodelist", " ")
		n.send(answer)
	case typeRepnodes:
		c.answered = true
	case typeShutdone:
		n.classicLeft()
	case typeStarting, typeResource, typeAsk, typeTakeover, typeIPRequest, typeIPResponse:
		if n.member == memberActive {
			n.classicResource(m)
		}
	case typeStonith:
	default:
		return false
	}
	return true
}

func (n *Node) classicResource(m wire.Message) {
	c := &n.classic
	switch m.Kind() {
	case typeStarting:
		switch c.state {
		case rscInit:
			n.report(LevelError, "Received 'starting' message in state 0")
			return
		case rscStarting:
			c.state = rscBothStarting
		}
		c.otherStable = false
		n.sendResource("")
	case typeResource:
		n.classicHoldings(m)
	case typeAsk:
		n.classicAsk(m)
	case typeTakeover:
		n.classicTakeoverAsked(m)
	case typeIPRequest:
		n.legacyAsked(m)
	case typeIPResponse:
		n.legacyAnswered(m)
	}
	n.audit()
}

// classicHoldings processes the peer's claims (protocol section 7.2).
func (n *Node) classicHoldings(m wire.Message) {
	c := &n.classic
	held, ok := parseClaim(m.Get(fieldHold))
	if !ok {
		n.reportLimited("hold", LevelError, "resource message without rsc_hold field.")
		return
	}
	if c.state == rscInit {
		n.report(LevelError, "resource message received in state 0")
		return
	}
	n.received()
	switch {
	case m.Get("rtype") == "full", held == claimNone:
		c.otherHolds = held
	default:
		c.otherHolds |= held
	}
	if m.Get(fieldInfo) == infoShutdown {
		c.returnedAt = 0
	}
	switch m.Get(fieldStable) {
	case "1":
		if !c.otherStable {
			n.report(Info, "remote resource transition completed.")
			c.otherStable = true
			n.sendResource("")
			c.failbackAt = n.now.Mono
		}
	case "0":
		c.otherStable = false
	}
	if c.state < rscStable && c.otherStable {
		n.acquireLocal("the peer is stable")
	}
}

// acquireLocal claims the own set unless the peer has it, and becomes stable.
func (n *Node) acquireLocal(reason string) {
	c := &n.classic
	c.state = rscStable
	c.receivedAt = 0
	switch {
	case c.otherHolds&claimForeign != 0 || c.mine&claimLocal != 0:
		n.report(Info, "Local Resource acquisition completed. (none)")
	default:
		n.report(Info, "Acquiring own resources: %s", reason)
		n.claimSet(c.mine | claimLocal)
		c.acquiring = true
	}
	n.sendResource("")
	c.failbackAt = n.now.Mono
}

// classicLeft is the peer's shutdone: everything of it is stopped.
func (n *Node) classicLeft() {
	c := &n.classic
	if c.left {
		return
	}
	c.left = true
	n.transition(Info, "it released everything and said shutdone", "Received shutdown notice from '%s'.", n.peer.name)
	if n.stop.asked {
		n.report(Info, "Resource takeover cancelled - shutdown in progress.")
		n.peer.life = lifeLeft
		return
	}
	n.peer.life = lifeLeft
	n.report(Info, "Resources being acquired from %s.", n.peer.name)
	n.classicAlone()
}

// convergeClassic moves the groups to what is claimed and says so when they are there.
func (n *Node) convergeClassic() {
	c := &n.classic
	n.classicTimers()
	settled := true
	for _, g := range n.groups {
		if g.hold == holdUnknown {
			settled = false
			continue
		}
		if g.op != 0 {
			settled = false
		}
		switch {
		case g.claim && g.op == 0 && (g.hold == holdIdle || g.hold == holdAdopting) && !n.classicFailed(g) && c.state >= rscStable:
			n.acquire(g, n.whyClassic())
			settled = false
		case !g.claim && g.hold.runs() && g.hold != holdStuck && g.hold != holdReleasing && c.state >= rscStable:
			n.release(g, n.whyClassic())
			settled = false
		}
	}
	if !settled {
		return
	}
	if c.acquiring {
		c.acquiring = false
		n.sendResource(infoOurs)
	}
	n.legacyOwed()
	n.handoverStep()
}

func (n *Node) whyClassic() string {
	c := &n.classic
	switch {
	case c.standby.phase != standbyNone:
		return fmt.Sprintf("hand-over of %s resources with %s", c.standby.which, n.peer.name)
	case !n.nice():
		return "asked for by " + n.peer.name + " or its answer (auto_failback legacy)"
	}
	return fmt.Sprintf("this node claims %s, %s claims %s", c.mine, n.peer.name, c.otherHolds)
}

// classicFailed answers a group that cannot start here: the set it belongs to is handed to the peer, once.
func (n *Node) classicFailed(g *group) bool {
	if !g.failed {
		return false
	}
	if n.now.Mono >= n.retryAlone(g) && g.handed {
		g.failed, g.handed = false, false
		return false
	}
	if !g.handed && n.nice() && n.classicReady() == nil && n.classic.otherHolds&n.setOf(g).swap() == 0 {
		g.handed = true
		n.report(LevelError, "Resource group %s cannot run here (%s): handing %s resources to %s", g.Name, g.failReason, n.setOf(g), n.peer.name)
		n.startHandover(n.setOf(g))
	}
	return true
}

// classicReady says why a hand-over cannot begin now.
func (n *Node) classicReady() error {
	c := &n.classic
	switch {
	case !n.nice():
		return errors.New("Standby mode only implemented when nice_failback on: set auto_failback on or off on both nodes")
	case c.standby.phase != standbyNone:
		return errors.New("Standby in progress: wait until it has ended")
	case !c.otherStable:
		return fmt.Errorf("standby ignored.  Other side is in flux: %s has not settled yet, try again in a moment", n.peer.name)
	case c.state != rscStable:
		return errors.New("standby ignored.  local resources in flux: wait until this node has settled")
	}
	return nil
}

// classicTimers acts on what has waited long enough.
func (n *Node) classicTimers() {
	c := &n.classic
	if c.receivedAt > 0 && c.state == rscReceived && n.now.Mono >= c.receivedAt+localTakeover {
		n.acquireLocal("the ten seconds are over")
		n.report(Info, "local resource transition completed.")
	}
	if c.returnedAt > 0 && n.now.Mono >= c.returnedAt+returnPatience {
		n.yieldAfterPartition()
	}
	if c.failbackAt > 0 && n.now.Mono >= c.failbackAt {
		c.failbackAt = 0
		n.tryFailback()
	}
	if c.standby.until > 0 && n.now.Mono >= c.standby.until {
		n.transition(Warn, "it was not answered in time", "No reply to standby request.  Standby request cancelled.")
		c.standby = handover{}
		c.otherStable = true
	}
	n.legacyRetry()
}

// yieldAfterPartition ends a double holding with a Linux-HA peer that did not restart: it never took this node for dead, so it still
// holds what it held, and this node, which took that over, lets go.
func (n *Node) yieldAfterPartition() {
	c := &n.classic
	c.returnedAt = 0
	mine := claimAll &^ c.heldBefore.swap()
	if c.left || c.heldBefore == claimNone || mine == c.mine {
		return
	}
	c.otherHolds = c.heldBefore
	c.otherStable = true
	n.transition(Crit, n.peer.name+" never missed this node and did not restart, so it still holds them", "Letting go of %s resources", c.heldBefore.swap())
	n.claimSet(mine)
	n.sendResource("")
}

// tryFailback gives foreign resources back to an owner that has become stable (protocol section 7.7).
func (n *Node) tryFailback() {
	c := &n.classic
	if n.cfg.Failback != FailbackOn || !c.failback || c.mine&claimForeign == 0 || n.peer.life != lifeAlive || c.left {
		return
	}
	if n.classicReady() != nil {
		c.failbackAt = n.now.Mono + failbackRetry
		return
	}
	c.failback = false
	n.startHandover(claimForeign)
}

// audit reports claims that contradict each other.
func (n *Node) audit() {
	c := &n.classic
	if !n.nice() || c.standby.phase != standbyNone {
		return
	}
	if c.mine&claimLocal != 0 && c.otherHolds&claimForeign != 0 {
		n.reportLimited("audit1", LevelError, "Both machines own our resources!")
	}
	if c.mine&claimForeign != 0 && c.otherHolds&claimLocal != 0 {
		n.reportLimited("audit2", LevelError, "Both machines own foreign resources!")
	}
}

// classicGiveUp announces a polite stop to a Linux-HA peer.
func (n *Node) classicGiveUp() {
	c := &n.classic
	c.state = rscShutdown
	c.standby = handover{}
	n.claimSet(claimNone)
	if n.peer.kind != kindClassic || n.member != memberActive {
		return
	}
	n.report(Info, "hb_giveup_resources(): current status: %s", n.member)
	n.sendResource(infoShutdown)
}

// classicShutdone tells a Linux-HA peer that everything is released.
func (n *Node) classicShutdone() {
	if n.peer.kind != kindClassic {
		return
	}
	n.report(Info, "All HA resources relinquished.")
	m := wire.New(typeShutdone)
	m.Add("st", "dead")
	n.send(m)
}
