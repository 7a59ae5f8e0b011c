package heartbeat

import (
	"time"

	"hapair/heartbeat/wire"
)

// returning is a Linux-HA peer that was silent for its dead time and is heard again in the same run. If it took this node for dead too, it stops
// everything, restarts, and this node keeps what it took. If it did not, it still holds what it held, for ever: this node, which took
// that over, has to let go. Which of the two it is follows from what the peer says:
//   - it goes on where it stopped, number by number: it stood still and never missed anybody;
//   - it announces the end of this node (stonith), or claims more than before: it missed this node, and will restart;
//   - neither: it heard this node all the time, only its own messages were lost.
type returning struct {
	at     time.Duration // 0 for none
	frozen bool
	missed bool
}

func (r *returning) deadlines(sooner func(time.Duration)) {
	if r.at > 0 {
		sooner(r.at + r.patience())
	}
}

// patience is how long a peer that returned may take to restart.
func (r *returning) patience() time.Duration {
	if r.missed {
		return returnRestart
	}
	return returnNone
}

// classicReturns is a Linux-HA peer heard again, in the same run, that was taken for dead; seq is the number of its first message.
func (n *Node) classicReturns(seq uint64) {
	c := &n.classic
	n.report(Crit, "Cluster node %s returning after partition.", n.peer.name)
	n.report(Warn, "Deadtime value may be too small.")
	silent := n.now.Mono - n.peer.lastHeard
	expected := uint64(silent / n.cfg.Keepalive)
	c.returned = returning{at: max(n.now.Mono, 1), frozen: seq-n.rx.last <= expected/2}
	c.otherHolds, c.otherStable, c.told = c.heldBefore, false, false
	c.sayings = []saying{{seq: n.rx.last, full: true, hold: c.heldBefore}}
	c.stableSeq = n.rx.last
	if n.stop.asked || n.member != memberActive {
		return
	}
	if c.state >= rscStable {
		n.claimHeld()
	}
	c.ask = n.nice()
}

// classicStonith is the peer's word that it has declared a node dead. When that node is this one, the peer is taking over everything.
func (n *Node) classicStonith(m wire.Message) {
	c := &n.classic
	result := m.Get("result")
	if m.Get("node") != n.cfg.Node || result == "badhost" || result == "bad" {
		return
	}
	c.missedUs = true
	n.voidHandover(classicSeq(m))
	switch {
	case c.returned.at > 0:
		c.returned.missed = true
	case n.nice():
		n.hear(saying{seq: classicSeq(m), hold: claimAll})
		c.told = true
	default:
		n.legacyMissed(m)
	}
}

// contestedClassic ends a double holding. A Linux-HA node never lets go of what it claims by itself, except by restarting after a
// partition that it noticed; so this node lets go, unless it may expect that restart.
func (n *Node) contestedClassic() {
	c := &n.classic
	r := &c.returned
	if !n.nice() {
		n.contestedLegacy()
		return
	}
	overlap := c.mine & c.otherHolds.swap()
	for _, g := range n.groups {
		if g.hold == holdHeld && (r.at > 0 || overlap&n.setOf(g) != 0) {
			g.announceWhenFree = true
		}
	}
	if r.at > 0 && c.told && c.otherHolds&^c.heldBefore != claimNone {
		r.missed = true
	}
	var reason string
	switch {
	case overlap == claimNone:
		if c.told || n.peer.stopping {
			r.at = 0
		}
		return
	case r.at == 0 && !c.told:
		return
	case r.at == 0:
		c.missedUs = true
		reason = n.peer.name + " claims them: it has taken this node for dead"
	case r.frozen:
		reason = n.peer.name + " stood still, never missed this node and still holds them"
	case c.told && !r.missed && c.heldBefore != claimAll:
		reason = n.peer.name + " never missed this node and still holds them"
	case n.now.Mono >= r.at+r.patience():
		reason = n.peer.name + " did not restart, so it still holds them"
	default:
		return
	}
	r.at = 0
	for _, g := range n.groups {
		if overlap&n.setOf(g) != 0 && g.hold.owns() {
			n.splitFound(g, "this node lets go")
		}
	}
	n.transition(Crit, reason, "Letting go of %s resources", overlap)
	c.standby = handover{} // the peer has cancelled it too
	n.claimSet(c.mine &^ overlap)
	n.sendResource("")
	n.split = Instant{}
}
