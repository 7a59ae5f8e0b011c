package heartbeat

import "time"

// Foresight: what a takeover needs and disturbs nobody is done while the peer's dead time still runs, so that it does not come on top of it.
// When the peer is heard after all nothing has happened.

// lookAhead is how long before the end of the dead time the service network is asked: as long as that takes, and as much again for a busy
// machine. By then a peer that is dead has lost its right to answer, and one that lives still has it, as at the end.
const lookAhead = 10 * time.Millisecond

// foresightFrom is when so much of the peer's dead time is over that it is to be reckoned with: one more heartbeat could still come in time.
func (n *Node) foresightFrom() time.Duration {
	return max(n.peer.deadAt()-n.cfg.Keepalive, n.lateAt())
}

// lookFrom is when to look ahead of the end of the dead time.
func (n *Node) lookFrom() time.Duration {
	return max(n.peer.deadAt()-lookAhead, n.foresightFrom())
}

// foresees tells whether this node might take over from its silent peer.
func (n *Node) foresees() bool {
	return n.doubts() && n.cfg.Managed && !n.stop.asked && !n.isolation.cut && n.pausedFor() == 0
}

func (n *Node) foresightDeadline(sooner func(time.Duration)) {
	if n.foresees() {
		sooner(n.foresightFrom())
		sooner(n.lookFrom())
	}
}

// foresee prepares groups of a silent peer, and looks on the service network, shortly before its dead time is over. It is judged at a Tick
// only, like all silence.
func (n *Node) foresee() {
	p := &n.peer
	if !n.foresees() || n.now.Mono < n.foresightFrom() || n.now.Mono >= p.deadAt() {
		return
	}
	for _, g := range n.groups {
		if n.mayPrepare(g) && !g.failed && g.peerHold.runs() && g.foreseen != p.lastHeard {
			g.foreseen = p.lastHeard
			n.prepare(g, p.deadAt()-n.now.Mono)
		}
	}
	if n.now.Mono >= n.lookFrom() && n.peerHasTheRest() {
		n.free()
	}
}

// mayPrepare tells whether a group can be prepared that this node does not have, and is not being. A node that stops prepares nothing: it will not
// take it, and what was made ready would be left behind.
func (n *Node) mayPrepare(g *group) bool {
	return g.Prepares && !n.stop.asked && g.hold == holdIdle && g.op == 0 && g.prep == 0
}

// prepare begins to prepare a group; within as in Prepare.
func (n *Node) prepare(g *group, within time.Duration) {
	g.prep = n.op()
	n.do(Prepare{Op: g.prep, Group: g.Name, Within: within})
}

// peerHasTheRest tells that the peer holds whatever this node does not answer for. A group that nobody answers for may be taken by a living peer
// at the very moment when its own dead time for this node is over: what was looked for before that tells nothing.
func (n *Node) peerHasTheRest() bool {
	for _, g := range n.groups {
		if g.lapsed || !g.hold.owns() && g.peerHold != holdHeld {
			return false
		}
	}
	return true
}

// looksAhead tells that an answer of the service network came before the peer's dead time was over: that nobody answers is worth knowing
// then; anything else is asked again at the end, if that comes.
func (n *Node) looksAhead(ev Looked) bool {
	return n.peer.life == lifeAlive && (ev.Answered || ev.Foreign != "" || ev.Failed != "")
}
