package heartbeat

import (
	"slices"
	"time"
)

// damping counts how often a group moves. One that moves too often stays where it is: auto_failback does not bring it back, the peer's
// wish for it is not granted unless a person asked for that, and where neither node can run it only the last one tries again. A takeover from a dead or broken node and
// what a person asks for are never held up. It ends by itself after a window without a move.
type damping struct {
	seen   uint64          // highest epoch that was counted
	mine   bool            // it was this node's: a node that takes up again what it had moves nothing
	moves  []time.Duration // within the window, oldest first
	until  time.Duration   // while it is held; 0 for not at all
	byHand bool            // the acquisition under way was asked for here
}

// countMoves counts the moves that show since the last call, and ends what is due.
func (n *Node) countMoves() {
	if n.cfg.DampMoves <= 0 {
		return
	}
	for _, g := range n.groups {
		d := &g.damp
		if d.until > 0 && n.now.Mono >= d.until {
			n.do(Alarm{Key: dampKey(g)})
			n.report(Info, "Resource group %s may move again: it has stayed where it is for %v", g.Name, n.cfg.DampWindow)
			d.until, d.moves = 0, nil
		}
		epoch := max(g.epoch, g.peerEpoch)
		if epoch <= d.seen {
			continue
		}
		known, byHand, mine := d.seen > 0, d.byHand || g.giveBy > 0, g.epoch > g.peerEpoch
		stayed := mine == d.mine
		d.seen, d.byHand, d.mine = epoch, false, mine
		if !known || byHand || stayed {
			continue // where it was before this node came, what a person wanted, and what a daemon that was killed finds again
		}
		d.moves = slices.DeleteFunc(d.moves, func(t time.Duration) bool { return n.now.Mono-t >= n.cfg.DampWindow })
		d.moves = append(d.moves, n.now.Mono)
		if len(d.moves) >= n.cfg.DampMoves {
			n.damp(g)
		}
	}
}

// damp holds a group where it is.
func (n *Node) damp(g *group) {
	fresh := g.damp.until == 0
	g.damp.until = n.now.Mono + n.cfg.DampWindow
	if !fresh {
		return
	}
	moves := len(g.damp.moves)
	n.transition(Warn, "it flaps: find out what makes the nodes disagree", "Resource group %s moved %d times within %v and stays where it is now", g.Name, moves,
		n.cfg.DampWindow)
	n.do(Alarm{Key: dampKey(g), Text: "resource group " + g.Name + " flaps between the nodes: it stays where it is until nothing has moved it for " +
		n.cfg.DampWindow.String() + "; `heartbeat move` moves it all the same"})
}

// damped tells that a group is to stay where it is.
func (g *group) damped() bool { return g.damp.until > 0 }

// notHere tells that this node is not to retry a group that failed on both: the one that had it last does.
func (g *group) notHere() bool { return g.damped() && g.epoch < g.peerEpoch }

func dampKey(g *group) string { return "damping " + g.Name }
