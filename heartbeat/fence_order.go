package heartbeat

import "time"

// fenceDelay is how long this node waits before it fences. A standby waits until an active node would have shot it; of two that serve, or two
// that do not, the one with the lower name comes first.
func (n *Node) fenceDelay() time.Duration {
	delay := n.fencePatience()
	first := n.cfg.Node < n.peer.name
	switch serves, peerMay := n.serves(), n.peerMayServe(); {
	case serves && (!peerMay || first):
		return 0
	case serves:
		return delay / 2
	case peerMay && n.peer.lastHeard != never, first:
		return delay
	}
	return 2 * delay
}

// fencesSecond tells that the other node, if it lives, is to fence this one first.
func (n *Node) fencesSecond() bool {
	first := n.cfg.Node < n.peer.name
	if n.serves() {
		return n.peerMayServe() && !first
	}
	return n.peerMayServe() && n.peer.lastHeard != never || !first
}

// suspectBeingShot has on disk whether a reset of this node would probably be the peer's doing. A node that comes up after such a reset, and does not
// hear the peer, does not shoot back at who serves.
func (n *Node) suspectBeingShot(yes bool) {
	if yes = yes || n.maybeShot; yes != n.boot.MaybeShot {
		n.boot.MaybeShot = yes
		n.persist()
	}
}

// fencePatience is the configured delay, or what follows from the device: from the slower one, since it is the peer's that this node waits for.
func (n *Node) fencePatience() time.Duration {
	if n.cfg.FenceDelay >= 0 {
		return n.cfg.FenceDelay
	}
	took := max(n.deviceTime(), n.peer.deviceTime)
	if took == 0 {
		took = deviceTimeUnknown
	}
	return 2*took + time.Second
}

// serves tells whether anything runs here.
func (n *Node) serves() bool {
	for _, g := range n.groups {
		if g.hold != holdUnknown && g.hold.runs() {
			return true
		}
	}
	return false
}

// peerMayServe tells whether the peer, by its last word, may run something.
func (n *Node) peerMayServe() bool {
	if n.peer.kind == kindClassic {
		return !n.nice() || n.classic.heldBefore != claimNone
	}
	return !n.peer.idle
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
