package heartbeat

import "time"

// goodbye is how long a stopping node repeats its farewell to a peer that does not answer.
const goodbye = time.Second

// classicHush is how long at the end of its goodbye a node says nothing more to Linux-HA, which looks at what it was sent every
// 250 ms (protocol section 4.9), at one link after the other: with a frame of this run and one of the next before it at once, it
// takes what it looks at last for an attack.
const classicHush = 350 * time.Millisecond

// stopping is how far a polite stop has come.
type stopping struct {
	asked  bool
	said   time.Duration // when the goodbye was first sent; 0 before
	next   time.Duration // when to say it again
	halted bool
	keep   bool // end without releasing
	forced bool // a stuck resource: no goodbye
}

// beginStop starts the polite end.
func (n *Node) beginStop(ev Request, keep bool) {
	if n.stop.asked {
		return
	}
	n.stop = stopping{asked: true, keep: keep}
	n.transition(Info, "asked for by "+ev.By, "Heartbeat shutdown in progress.")
	n.changed()
	if !n.fence.done {
		n.endFencing()
	}
	if keep {
		return
	}
	n.classicGiveUp()
	for _, g := range n.groups {
		if g.hold != holdIdle && g.hold != holdReleasing {
			g.giveBy = n.now.Mono + leavePatience
		}
	}
	n.leave()
}

// leavePatience is how long a stopping node goes on serving while the peer makes ready to follow it.
const leavePatience = preparePatience + time.Second

// leave releases what the stopping node holds, each group as soon as the peer would take it at once, or cannot.
func (n *Node) leave() {
	for _, g := range n.groups {
		if g.giveBy == 0 || g.hold == holdIdle || g.hold == holdReleasing || n.peerMakesReady(g) {
			continue
		}
		if n.now.Mono >= g.giveBy {
			n.report(Warn, "%s did not make ready for %s within %v: released all the same", n.peer.name, g.Name, leavePatience)
		}
		g.giveBy = 0
		n.release(g, "this node stops")
	}
}

// peerMakesReady tells that a group which this node is to let go is soon wanted by a peer that only makes ready for it first.
func (n *Node) peerMakesReady(g *group) bool {
	p := &n.peer
	if g.hold != holdHeld || n.now.Mono >= g.giveBy || p.kind != kindOurs || p.life != lifeAlive || !p.proven || !p.hello.active || p.hello.leaving {
		return false
	}
	return !p.current || g.peerHold == holdIdle && g.peerWish != wishUnable && g.peerWish != wishWant
}

// stopping carries the polite end on: when everything is released, say so until the peer has heard it, then end.
func (n *Node) stopping() {
	s := &n.stop
	if !s.asked || s.halted {
		return
	}
	if s.keep {
		n.halt(false, "ended without releasing anything")
		return
	}
	n.leave()
	for _, g := range n.groups {
		switch g.hold {
		case holdIdle:
		case holdStuck:
			s.forced = true
		default:
			return
		}
	}
	p := &n.peer
	if s.forced {
		n.halt(false, "a resource could not be stopped: no goodbye is said, so that the peer does not take it for released")
		return
	}
	if s.said == 0 {
		s.said = n.now.Mono
		s.next = n.now.Mono
		n.changed()
		n.classicShutdone()
	}
	heard := p.name == "" || p.life != lifeAlive || p.kind == kindOurs && p.proven && p.acked >= n.version
	if p.kind == kindClassic && p.life == lifeAlive {
		heard = n.now.Mono-s.said >= goodbye // Linux-HA does not acknowledge it; it asks again for what it missed
	}
	if heard || n.now.Mono-s.said >= goodbye {
		n.halt(true, "all resources released")
		return
	}
	if n.now.Mono >= s.next {
		s.next = n.now.Mono + min(n.cfg.Keepalive, 20*time.Millisecond)
		n.announce = p.kind != kindClassic
	}
}

// hushed tells that this run has said its last word to a Linux-HA peer.
func (n *Node) hushed() bool {
	return n.peer.kind == kindClassic && n.stop.said != 0 && n.now.Mono-n.stop.said >= goodbye-classicHush
}

// halt ends this run.
func (n *Node) halt(released bool, reason string) {
	n.publish()
	n.stop.halted = true
	n.report(Info, "%s Heartbeat shutdown complete.", n.cfg.Node)
	n.boot.Clean = released
	n.persist()
	n.do(Halt{Released: released, Reason: reason})
}
