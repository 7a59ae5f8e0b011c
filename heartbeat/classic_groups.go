package heartbeat

import (
	"errors"
	"fmt"
	"time"

	"hapair/heartbeat/wire"
)

// convergeClassic moves the groups to what is claimed and says so when they are there.
func (n *Node) convergeClassic() {
	c := &n.classic
	if n.stop.asked {
		return // everything is being released already
	}
	if c.waiting != "" {
		n.acquireLocal(c.waiting)
	}
	n.classicTimers()
	n.contestedClassic()
	n.sweep()
	for _, g := range n.groups {
		n.convergeGroup(g)
	}
	n.rearmClassic()
	if c.acquiring && n.setSettled(claimLocal) {
		c.acquiring = false
		n.sendResource(infoOurs)
	}
	n.legacyOwed()
	n.handoverStep()
	n.sendHeld()
	if c.sayAgain && c.state > rscInit {
		n.sendResource("")
	}
	if c.confirmAt > 0 && n.now.Mono >= c.confirmAt {
		if c.standby.phase == standbyNone {
			n.sendResource("")
		}
		c.confirmAt = 0
	}
	if c.ask && !c.dormant {
		n.askHoldings()
	}
}

// classicTick asks what a node that slept has to ask, now that all that waited for it has been read.
func (n *Node) classicTick() {
	if !n.classic.dormant || n.peer.kind != kindClassic || n.peer.life != lifeAlive || n.mute || n.stop.asked {
		return
	}
	n.classic.dormant = false
	if n.nice() {
		n.askHoldings()
	}
}

// convergeGroup does the next thing to one group.
func (n *Node) convergeGroup(g *group) {
	c := &n.classic
	theirs := n.nice() && c.otherHolds&n.setOf(g).swap() != 0
	switch {
	case g.hold == holdUnknown || g.hold == holdStuck || g.hold == holdReleasing:
	case !g.claim && g.hold.runs() && (c.state >= rscStable || theirs && c.told):
		n.release(g, n.whyClassic())
	case g.claim && g.op == 0 && (g.hold == holdIdle || g.hold == holdAdopting) && c.state == rscStable && !theirs && !n.peer.stopping && !n.isolation.cut: // what a node that stops says it gives up may still run
		if !n.classicFailed(g) {
			n.acquire(g, n.whyClassic())
		}
	}
}

// setSettled tells whether nothing moves in a set.
func (n *Node) setSettled(which claim) bool {
	for _, g := range n.groups {
		if which&n.setOf(g) != 0 && (g.op != 0 || g.hold == holdUnknown || g.hold == holdAdopting) {
			return false
		}
	}
	return true
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

// rearmClassic lets a group answer again whose lease ran out, when the peer has said since that it does not hold it.
func (n *Node) rearmClassic() {
	c := &n.classic
	for _, g := range n.groups {
		if !g.lapsed || !g.hold.owns() {
			continue
		}
		switch {
		case n.nice() && c.askedFor < g.wantedAt:
			c.askedFor, c.told, c.ask = n.version, false, true
		case !n.nice(), c.told && c.otherHolds&n.setOf(g).swap() == 0:
			n.answerAgain(g)
		}
	}
}

// classicFailed answers a group that cannot start here: the set it belongs to is handed to the peer, once; where that is not possible it is
// tried again here.
func (n *Node) classicFailed(g *group) bool {
	c := &n.classic
	if !g.failed {
		return false
	}
	if c.standby.phase != standbyNone {
		return true // on its way to the peer
	}
	if n.now.Mono >= n.retryAlone(g) && (g.handed || !n.nice()) {
		g.failed, g.handed = false, false
		if !n.nice() {
			g.claim = false
			n.legacyRequest(g) // the peer may run it by now, and would not say so
		}
		return !n.nice()
	}
	if !g.handed && n.classicReady() == nil && c.otherHolds&n.setOf(g).swap() == 0 {
		g.handed = true
		n.report(LevelError, "Resource group %s cannot run here (%s): handing %s resources to %s", g.Name, g.failReason, n.setOf(g), n.peer.name)
		n.startHandover(n.setOf(g))
	}
	return true
}

// forgiveFailures lets the groups of a set be tried here although they failed before: they were just given to this node on purpose.
func (n *Node) forgiveFailures(which claim) {
	for _, g := range n.groups {
		if which&n.setOf(g) != 0 {
			g.failed, g.handed = false, false
		}
	}
}

// classicReady says why a hand-over cannot begin now.
func (n *Node) classicReady() error {
	c := &n.classic
	switch {
	case !n.nice():
		return errors.New("Standby mode only implemented when nice_failback on: set auto_failback on or off on both nodes")
	case c.standby.phase != standbyNone:
		return errors.New("Standby in progress: wait until it has ended")
	case n.peer.stopping:
		return fmt.Errorf("%s is stopping: it gives everything anyway", n.peer.name)
	case c.broken.phase != standbyNone:
		return fmt.Errorf("%s still waits for %s resources, of which something could not be stopped here: see `heartbeat status`, mend it, then "+
			"run `heartbeat resource cleanup`", n.peer.name, c.broken.which)
	case !c.otherStable, c.returned.at > 0:
		return fmt.Errorf("standby ignored.  Other side is in flux: %s has not settled yet, try again in a moment", n.peer.name)
	case c.state != rscStable:
		return errors.New("standby ignored.  local resources in flux: wait until this node has settled")
	}
	return nil
}

// classicTimers acts on what has waited long enough.
func (n *Node) classicTimers() {
	c, now := &n.classic, n.now.Mono
	if c.receivedAt > 0 && c.state == rscReceived && now >= c.receivedAt+localTakeover && c.waiting == "" && !n.peer.stopping {
		n.acquireLocal("the ten seconds are over")
		n.report(Info, "local resource transition completed.")
	}
	if c.failbackAt > 0 && now >= c.failbackAt {
		c.failbackAt = 0
		n.tryFailback()
	}
	if c.askAt > 0 && now >= c.askAt {
		c.askAt = 0
		c.ask = n.nice() && !n.peer.stopping && n.peer.member == memberActive
		if !c.ask {
			c.askAt = now + askRetry
		}
	}
	n.expireHandover()
	n.legacyRetry()
}

// tryFailback gives foreign resources back to an owner that has become stable (protocol section 7.7).
func (n *Node) tryFailback() {
	c := &n.classic
	if n.cfg.Failback != FailbackOn || !c.failback || c.mine&claimForeign == 0 || n.peer.life != lifeAlive || c.left || n.peer.stopping {
		return
	}
	if n.classicReady() != nil || n.worseConnected() {
		c.failbackAt = n.now.Mono + failbackRetry
		return
	}
	c.failback = false
	n.startHandover(claimForeign)
}

// sweeping is how this node gets the peer to stop what it does not know of. A Linux-HA daemon that was killed and comes back does not know
// what it had started: it claims nothing, and all of it still runs there. In a hand-over it stops everything of a set, claimed or not.
type sweeping struct {
	due   bool          // the peer came back without having said shutdone
	since time.Duration // from when on there has been something to do; 0 for none
	asked time.Duration // when the peer was asked
}

func (s *sweeping) deadlines(sooner func(time.Duration)) {
	if s.since > 0 {
		sooner(s.since + nobodysWait)
	}
	if s.asked > 0 {
		sooner(s.asked + localTakeover)
	}
}

// sweep takes what neither node claims, and has the peer stop what it may still run of what this node claims.
func (n *Node) sweep() {
	c, now := &n.classic, n.now.Mono
	free := claimAll &^ (c.mine | c.otherHolds.swap())
	which := free
	if c.sweeping.due {
		which |= c.mine
		if !n.hasGroups(which) {
			which, c.sweeping.due = free, false
		}
	}
	if which == claimNone || !n.nice() || !c.told || n.classicReady() != nil || n.peer.member != memberActive {
		c.sweeping.since, c.sweeping.asked = 0, 0
		return
	}
	switch s := &c.sweeping; {
	case s.since == 0:
		s.since = max(now, 1)
	case now < s.since+nobodysWait:
	case s.asked == 0 && n.hasGroups(which):
		s.due, s.asked, c.tookAt = false, now, now
		n.transition(Info, "a predecessor of its daemon may have left something of them running", "Asking %s to stop and hand over %s resources", n.peer.name, which)
		m := wire.New(typeTakeover)
		m.Add(fieldHold, which.String())
		n.send(m)
	case s.asked == 0 || now >= s.asked+localTakeover:
		*s = sweeping{}
		n.transition(Info, "neither node claims them", "Claiming %s resources", free)
		n.claimSet(c.mine | free)
		n.sendResource("")
	}
}

func (n *Node) hasGroups(which claim) bool {
	for _, g := range n.groups {
		if which&n.setOf(g) != 0 {
			return true
		}
	}
	return false
}
