package heartbeat

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// offerPatience is how long an offered group waits for a peer that does not take it (protocol section 7.13, standby grant).
const offerPatience = 10 * time.Second

// converge looks at each group and does the next thing that may be done. It is called after every event, so that what matters is
// the state reached and never the order in which the news arrived.
func (n *Node) converge() {
	defer n.tellDeserted()
	n.unmute()
	n.forgetGone()
	n.stopping()
	n.countMoves()
	if n.member != memberActive || !n.cfg.Managed || n.stop.halted || n.mute {
		return
	}
	switch {
	case n.peer.name == "" || n.peer.life == lifeDead || n.peer.life == lifeLeft:
		n.pursue()
		n.alone()
	case n.peer.kind == kindClassic:
		n.compareConnections()
		n.convergeClassic()
	case n.peer.proven:
		n.compareConnections()
		for _, g := range n.groups {
			n.together(g)
		}
	}
}

// unmute ends the silence after a long sleep, when everything has been let go. A stop that hangs does not hold it up for ever: after
// one deadtime the node speaks again and says truthfully that it is still releasing.
func (n *Node) unmute() {
	if !n.mute {
		return
	}
	if n.now.Mono < n.muteUntil {
		for _, g := range n.groups {
			if g.hold == holdReleasing {
				return
			}
		}
	}
	n.mute = false
	if n.peer.life == lifeAlive {
		n.peer.hearOut = n.now.Mono + n.listening()
	}
	n.tx.status = n.now
	n.changed()
	n.report(Info, "This node speaks again")
}

// alone takes everything, because nobody else can have it: the peer is dead or has left.
func (n *Node) alone() {
	cut := (n.isolation.cut || n.unanswered()) && !n.fence.done
	if n.stop.asked || cut && n.isolation.yielded {
		return
	}
	if n.peer.life == lifeLeft && n.now.Mono < n.listenUntil {
		return // a goodbye that waited while this node slept may be of a run that is long over
	}
	for _, g := range n.groups {
		n.rearmAlone(g)
		if g.op != 0 || g.hold.owns() || g.hold == holdStuck || g.hold == holdUnknown || cut || n.stirs() {
			continue
		}
		if n.now.Mono < n.isolation.waitUntil && !g.yielded {
			continue // whoever yielded it resumes first
		}
		if g.failed && n.now.Mono < n.retryAlone(g) || !n.free() || !n.certain(g) {
			continue
		}
		g.failed = false
		n.takesOver()
		n.acquire(g, n.whyAlone())
	}
	n.tookOver()
}

// stirs tells that a Linux-HA node which counts as dead has been heard since, although not yet its status: it runs, and may serve.
func (n *Node) stirs() bool {
	p := &n.peer
	return p.kind == kindClassic && p.life == lifeDead && p.lastHeard != never && n.now.Mono < p.silentAt() && !n.fence.done
}

// takesOver says, in Linux-HA's words, which many a log is watched for, that this node takes what a peer had that is gone.
func (n *Node) takesOver() {
	if gone := n.peer.life == lifeDead || n.peer.life == lifeLeft; gone && n.taking == "" {
		n.taking = n.peer.name
		n.report(Info, "Resources being acquired from %s.", n.taking)
	}
}

// tookOver says that this has ended.
func (n *Node) tookOver() {
	if n.taking == "" || slices.ContainsFunc(n.groups, func(g *group) bool { return g.op != 0 }) {
		return
	}
	n.report(Info, "mach_down takeover complete for node %s.", n.taking)
	n.taking = ""
}

// retryAlone is when a group that failed here is tried again although nobody else could run it: soon, then less often.
func (n *Node) retryAlone(g *group) time.Duration {
	backoff := min(time.Second<<min(g.failures, 6), time.Minute)
	if at := g.since.Mono + backoff; at < g.retryAt {
		g.retryAt = at
	}
	return g.retryAt
}

func (n *Node) whyAlone() string {
	switch {
	case n.peer.name == "":
		return "this node runs alone"
	case n.peer.life == lifeLeft:
		return n.peer.name + " said goodbye"
	case n.peer.lastHeard == never:
		return n.peer.name + " was not heard within initdead " + n.cfg.Initdead.String()
	}
	return n.peer.name + " is dead"
}

// together decides about one group while both nodes live and know each other's statement.
func (n *Node) together(g *group) {
	p := &n.peer
	n.expire(g)
	if p.current && g.hold.runs() && g.peerHold.runs() {
		n.contested(g)
	}
	n.consider(g)
	n.rearm(g)
	if g.op != 0 && !(g.hold == holdAcquiring && g.wish == wishOffer) {
		return
	}
	switch g.hold {
	case holdIdle:
		if g.wish == wishWant && n.granted(g) {
			n.acquire(g, n.whyTogether(g))
		}
	case holdAdopting:
		n.adopt(g)
	case holdHeld, holdAcquiring:
		if g.wish == wishOffer && p.current && g.peerWish == wishWant && p.hello.active {
			g.given = true
			n.release(g, "handed over to "+p.name+": "+g.reason)
		}
	}
}

// expire ends what waited too long.
func (n *Node) expire(g *group) {
	if g.failed && g.hold == holdIdle && g.peerWish == wishUnable && g.peerHold == holdIdle && !g.notHere() {
		n.retryAlone(g) // nobody can run it: do not wait the whole time
	}
	if g.failed && n.now.Mono >= g.retryAt {
		g.failed = false
		n.report(Info, "Resource group %s may be tried here again, %v after it failed (%s)", g.Name,
			(n.now.Mono - g.since.Mono).Round(time.Millisecond), g.failReason)
	}
	if g.asked && n.now.Mono >= g.askedUntil {
		g.asked = false
		n.transition(Warn, n.peer.name+" did not give it within "+offerPatience.String(), "Takeover of %s cancelled", g.Name)
	}
	if g.hold == holdHeld && g.wish == wishOffer && g.giveBy > 0 && n.now.Mono >= g.giveBy {
		g.giveBy = 0
		n.wishFor(g, wishNone)
		n.transition(Warn, n.peer.name+" did not take it within "+offerPatience.String(),
			"No reply to standby request.  Standby request cancelled for %s.", g.Name)
	}
}

// consider sets this node's wish for a group from what both hold.
func (n *Node) consider(g *group) {
	p := &n.peer
	preferred := g.Preferred == n.cfg.Node
	switch {
	case n.stop.asked || g.gone || g.failed && g.hold != holdHeld || g.hold == holdStuck:
		n.wishFor(g, wishUnable)
	case n.considerUnfit(g):
	case g.hold == holdHeld || g.hold == holdAcquiring:
		if g.wish != wishOffer && p.current && g.peerWish == wishWant && g.peerHold == holdIdle && p.acked >= g.saidAt && (!g.damped() && !n.fencedTooOften() || p.asks(g)) {
			g.damp.byHand = p.asks(g)
			g.reason = p.name + " asked for it"
			n.wishFor(g, wishOffer)
		} else if g.wish == wishWant || g.wish == wishUnable {
			n.wishFor(g, wishNone)
		}
	case g.hold == holdUnknown || g.hold == holdAdopting:
		// see adopt
	case !p.current:
		// nothing is known for certain of the peer: no new wish, and no old one withdrawn
	case g.peerHold.runs():
		switch {
		case p.hello.leaving, g.peerWish == wishOffer, g.asked, n.failbackDue(g, preferred):
			if n.prepared(g) {
				n.wishFor(g, wishWant)
			}
		default:
			g.ready, g.prepBy = false, 0
			n.wishFor(g, wishNone)
		}
	case g.wish == wishOffer && g.peerWish != wishUnable:
		// given away: the peer is to take it, not this node
	case g.asked, preferred, g.peerWish == wishUnable, g.peerWish == wishOffer:
		n.wishFor(g, wishWant)
	default:
		n.wishFor(g, wishNone)
	}
}

// preparePatience is how long a hand-over waits for what this node makes ready before it.
const preparePatience = 3 * time.Second

// prepared has this node make ready for a group that the peer holds what it can while nobody misses anything, before it says that it
// would take the group now.
func (n *Node) prepared(g *group) bool {
	if !g.Prepares || g.ready || g.wish == wishWant {
		return true
	}
	if g.prepBy > 0 {
		return n.now.Mono >= g.prepBy
	}
	g.prepBy = n.now.Mono + preparePatience
	if g.prep == 0 {
		n.prepare(g, 0)
	}
	return false
}

// wishFor says a wish, and notes since when.
func (n *Node) wishFor(g *group, w wish) {
	if g.wish == w {
		return
	}
	g.wish = w
	n.changed()
	g.wantedAt = n.version
}

// failbackDue tells whether the preferred node may ask for its group back: auto_failback, and both stable for the delay.
func (n *Node) failbackDue(g *group, preferred bool) bool {
	p := &n.peer
	return preferred && n.cfg.Failback != FailbackOff && g.peerHold == holdHeld && p.hello.active && !g.failed && !g.given && !g.damped() && !n.worseConnected() &&
		n.now.Mono >= max(p.since, n.started.Mono)+n.cfg.FailbackDelay
}

// granted is the lock between two nodes of ours: this node may take a group that nobody holds if the peer has acknowledged the
// statement in which the wish was said, holds nothing of it in that same answer, and does not come first. Having acknowledged the
// wish, the peer will not take the group itself before it sees the wish withdrawn.
func (n *Node) granted(g *group) bool {
	p := &n.peer
	if !p.current || g.peerHold != holdIdle {
		return false
	}
	if p.hello.leaving {
		return true
	}
	if p.acked < g.wantedAt || !p.hello.active || n.unheard() {
		return false
	}
	return g.peerWish != wishWant || n.first(g)
}

// unheard tells that the peer has not heard this node for so long that it may declare it dead, and take over, while its own last word
// is still on the way here: what that word grants is not to be relied on.
func (n *Node) unheard() bool {
	return n.peer.hello.heard >= n.cfg.Deadtime-n.cfg.Keepalive
}

// first breaks a tie in which both want a group.
func (n *Node) first(g *group) bool {
	switch g.Preferred {
	case n.cfg.Node:
		return true
	case n.peer.name:
		return false
	}
	return bytes.Compare(n.boot.UUID[:], n.peer.uuid[:]) < 0
}

func (n *Node) whyTogether(g *group) string {
	p := &n.peer
	switch {
	case p.hello.leaving:
		return p.name + " is stopping"
	case g.asked:
		return "takeover asked for on this node"
	case g.peerWish == wishUnable:
		return p.name + " cannot run it"
	case g.peerWish == wishOffer:
		return p.name + " handed it over"
	case g.peerEpoch > 0 && g.epoch > 0 && n.cfg.Failback != FailbackOff:
		return "returned to its preferred node"
	}
	return "this is its preferred node and nobody holds it"
}

// adopt decides about what a predecessor of this daemon left running.
func (n *Node) adopt(g *group) {
	p := &n.peer
	if !p.current || !p.hello.active && !p.hello.leaving {
		return
	}
	if !g.was {
		n.release(g, "found running at start, but this node did not hold it before")
		return
	}
	if g.wish != wishWant {
		n.wishFor(g, wishWant)
	}
	if g.peerHold == holdIdle && p.acked >= g.wantedAt && !n.unheard() {
		n.acquire(g, "found running at start: held before the restart of this daemon")
	}
}

// contested resolves a double holding by the one written rule that both execute: higher epoch, then preferred node, then lower
// identity. What a predecessor left behind yields to what is held.
func (n *Node) contested(g *group) {
	win := n.wins(g)
	mine := g.hold.owns() || g.hold == holdAdopting
	theirs := g.peerHold.owns() || g.peerHold == holdAdopting
	if !mine || !theirs {
		return
	}
	if g.hold.owns() && g.peerHold.owns() {
		verdict := "this node lets go"
		if win {
			verdict = n.peer.name + " lets go"
		}
		n.splitFound(g, verdict)
	}
	if win {
		g.announceWhenFree = true
		return
	}
	n.expireLease(g)
	n.release(g, fmt.Sprintf("%s holds it too and comes first (epoch %d, here %d)", n.peer.name, g.peerEpoch, g.epoch))
	n.split = Instant{}
}

func (n *Node) wins(g *group) bool {
	if mine, theirs := g.hold.owns(), g.peerHold.owns(); mine != theirs {
		return mine
	}
	if g.epoch != g.peerEpoch {
		return g.epoch > g.peerEpoch
	}
	return n.first(g)
}

// peerLeft is the peer's farewell: everything of it is stopped, so there is nothing to wait for.
func (n *Node) peerLeft() {
	p := &n.peer
	if p.life == lifeLeft {
		return
	}
	p.life, n.taking = lifeLeft, ""
	n.announce = true
	n.endFencing()
	n.endLook(false)
	n.classicAlone()
	n.transition(Info, "it released everything and said goodbye", "Received shutdown notice from '%s'.", p.name)
	for _, g := range n.groups {
		g.peerHold, g.peerWish = holdIdle, wishUnable
	}
}

// reconfigure replaces the configuration as a difference.
func (n *Node) reconfigure(ev Reconfigure) {
	cfg := ev.Config
	if err := cfg.check(); err != nil {
		n.report(LevelError, "New configuration refused, the old one stays: %v", err)
		return
	}
	if cfg.Node != n.cfg.Node || cfg.Peer != n.cfg.Peer {
		n.report(LevelError, "New configuration refused, the old one stays: the node names changed (%s, %s to %s, %s); that needs a restart",
			n.cfg.Node, n.cfg.Peer, cfg.Node, cfg.Peer)
		return
	}
	if n.cfg.Lease > 0 && cfg.Lease > n.cfg.Lease {
		n.leaseBefore, n.leaseAfter = n.cfg.Lease, n.version+1
	}
	if n.fence.op != 0 && !cfg.Fencing {
		n.endFencing()
	}
	if n.timing.Keepalive != cfg.Keepalive {
		n.timing = Timing{Keepalive: cfg.Keepalive}
	}
	n.cfg = cfg
	n.configureLinks()
	before, old, wholes := n.groups, map[string]*group{}, map[string]whole{}
	for _, g := range before {
		old[g.Name], wholes[g.Name] = g, whole{g, g.hash}
	}
	n.rename(old, cfg, ev.Renamed)
	n.groups = nil
	for _, c := range cfg.Groups {
		g := old[c.Name]
		delete(old, c.Name)
		if g == nil {
			part := ev.Parts[c.Name]
			g = n.added(c, wholes[part.Of], part.Runs)
		}
		g.Group, g.gone = c, false
		n.groups = append(n.groups, g)
	}
	for _, g := range before {
		if old[g.Name] == g {
			n.removed(g, ev.Joined[g.Name])
		}
	}
	n.forgetCuts()
	n.transition(Info, "configuration files changed", "Configuration reread.")
	n.resetBeliefs()
	n.persist()
}

// whole is a group before a reload, with the short name by which the peer knows it.
type whole struct {
	*group
	known uint32
}

// added makes a group that the old configuration did not have. One whose resources were a part of another one, which goes on, and that are
// still as they were, goes on too; until the peer knows it, what the peer says of that other one is meant for it as well.
func (n *Node) added(c Group, from whole, runs bool) *group {
	g := &group{Group: c, hash: groupHash(c.Name), since: n.now, peerWish: wishUnable, reason: "added by a reload"}
	if from.group != nil {
		g.part, g.peerHold, g.peerWish, g.peerEpoch = from.known, from.peerHold, from.peerWish, from.peerEpoch
	}
	if runs && from.group != nil && from.hold == holdHeld && from.op == 0 {
		g.hold, g.epoch, g.leased, g.reason = holdHeld, from.epoch, from.leased, "was a part of "+from.Name
		g.lapsed, g.lapsedFrom, g.given = from.lapsed, from.lapsedFrom, from.given
		n.transition(Info, "its resources have a line of their own now", "Resource group %s was a part of %s and goes on", g.Name, from.Name)
		return g
	}
	n.examine(g)
	return g
}

// removed lets go of a group that the configuration does not have any more. It is forgotten when nothing of it runs: until then the peer,
// which may still have it, must not start it. One whose resources are a part of another one now leaves its name to that.
func (n *Node) removed(g *group, heir string) {
	for _, other := range n.groups {
		if heir != "" && other.Name == heir && other.hold.owns() {
			other.alias = append(append(other.alias, g.hash), g.alias...)
			other.epoch = max(other.epoch, g.epoch)
			g.hash, g.alias = 0, nil
		}
	}
	g.gone, g.asked, g.giveBy, g.part = true, false, 0, 0
	if g.deserted {
		n.do(Alarm{Key: "deserted " + g.Name})
	}
	if g.hold != holdIdle {
		n.groups = append(n.groups, g)
	}
	if g.hold != holdIdle && g.hold != holdReleasing && g.hold != holdStuck {
		n.release(g, "removed from haresources by a reload")
	}
}

// forgetGone forgets removed groups of which nothing runs any more.
func (n *Node) forgetGone() {
	before := len(n.groups)
	n.groups = slices.DeleteFunc(n.groups, func(g *group) bool { return g.gone && g.hold == holdIdle && g.op == 0 })
	if len(n.groups) != before {
		n.changed()
		n.persist()
	}
}

// rename gives groups of an old configuration the names that they have in the new one. The peer, which still has the old one, goes on
// hearing of them by their old names.
func (n *Node) rename(old map[string]*group, cfg Config, renamed map[string]string) {
	for _, c := range cfg.Groups {
		for from, to := range renamed {
			g := old[from]
			if to != c.Name || g == nil || old[to] != nil {
				continue
			}
			delete(old, from)
			old[to] = g
			g.alias = append(g.alias, g.hash)
			g.hash = groupHash(to)
			n.transition(Info, "its line begins with another resource now", "Resource group %s is called %s", from, to)
		}
	}
}
