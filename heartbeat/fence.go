package heartbeat

import "time"

// fencing is what is known of the certainty that the peer is off, since it was last heard.
type fencing struct {
	op       OpID
	done     bool
	started  bool
	tries    int
	due      time.Duration // when to begin or try again
	lastFail string
}

func (f *fencing) reset() { *f = fencing{} }

func (f *fencing) deadlines(sooner func(time.Duration)) {
	if f.started && !f.done && f.op == 0 {
		sooner(f.due)
	}
}

// certain tells whether a group of a silent peer may be taken, and does what is needed to become certain. A peer that left
// politely, or that is known to have held nothing, needs no fencing (protocol section 7.4).
func (n *Node) certain(g *group) bool {
	p, f := &n.peer, &n.fence
	if !n.cfg.Fencing || p.name == "" || p.life == lifeLeft || f.done {
		return true
	}
	if p.lastHeard != never && n.peerHoldsNothing() {
		return true
	}
	if f.op != 0 {
		return false
	}
	if !f.started {
		f.started = true
		f.due = n.now.Mono
		if !n.holdsAnything() {
			f.due += n.cfg.FenceDelay
		}
	}
	if n.now.Mono >= f.due {
		f.op = n.op()
		f.tries++
		n.transition(Info, "it is dead and may still hold resources", "Resetting node %s (attempt %d)", p.name, f.tries)
		n.do(Fence{Op: f.op, Node: p.name})
	}
	return false
}

// peerHoldsNothing tells whether a dead peer certainly held nothing.
func (n *Node) peerHoldsNothing() bool {
	if n.peer.kind == kindClassic {
		return n.nice() && n.classic.heldBefore == claimNone
	}
	return n.peer.idle
}

// peerIdle tells whether the peer's statement leaves no group that it holds or may be about to take.
func (n *Node) peerIdle() bool {
	for _, g := range n.groups {
		if g.peerHold.runs() || g.peerWish == wishWant {
			return false
		}
	}
	return true
}

func (n *Node) holdsAnything() bool {
	for _, g := range n.groups {
		if g.hold.owns() {
			return true
		}
	}
	return false
}

// fenceDone takes the device's answer.
func (n *Node) fenceDone(err error) {
	f := &n.fence
	f.op = 0
	if err == nil {
		f.done = true
		n.transition(Info, "the device confirmed it", "node %s now reset.", n.peer.name)
		for _, g := range n.groups {
			g.peerHold = holdIdle
		}
		return
	}
	backoff := min(5*time.Second<<min(f.tries-1, 4), time.Minute)
	f.due = n.now.Mono + backoff
	f.lastFail = err.Error()
	n.transition(Crit, err.Error(), "STONITH of %s failed: nothing is taken over. Retrying in %v; "+
		"if the node is certainly off, run `heartbeat confirm-dead %s`", n.peer.name, backoff, n.peer.name)
}
