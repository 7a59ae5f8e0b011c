package heartbeat

import "fmt"

// Unfit says that a check script of this node has failed, so that its groups had better run on the other one; an empty Reason says that
// all is well again.
type Unfit struct{ Reason string }

func (Unfit) event() {}

// fitness takes the word of the check scripts. A group is offered to a peer that can run it, and never simply dropped: an unfit node that
// serves is better than nobody.
func (n *Node) fitness(ev Unfit) {
	before := n.unfit
	n.unfit = ev.Reason
	switch {
	case before == "" && ev.Reason != "":
		n.transition(Warn, ev.Reason, "This node is not fit to serve: its resource groups are offered to %s", n.peer.name)
		if n.peer.kind == kindClassic && n.peer.life == lifeAlive {
			if err := n.classicStandby(Request{Kind: RequestStandby, Which: "all", By: "a check script"}); err != nil {
				n.report(Warn, "Not handed over: %v", err)
			}
		}
	case before != "" && ev.Reason == "":
		n.transition(Info, "its check scripts succeed", "This node is fit to serve again")
		for _, g := range n.groups {
			if g.ill && g.hold == holdHeld && g.wish == wishOffer {
				n.wishFor(g, wishNone)
			}
			if g.ill {
				g.given = false // nobody moved it by hand
			}
			g.ill = false
		}
	}
}

// considerUnfit sets the wish of a node that is not fit for a group, and says whether there is nothing more to consider.
func (n *Node) considerUnfit(g *group) bool {
	p := &n.peer
	if n.unfit == "" || !p.current || n.stop.asked {
		return false
	}
	peerAble := g.peerWish != wishUnable
	switch {
	case g.hold == holdHeld && peerAble && g.peerHold == holdIdle && p.hello.active:
		if g.wish != wishOffer {
			g.ill, g.reason, g.giveBy = true, fmt.Sprintf("this node is not fit (%s)", n.unfit), 0
			n.wishFor(g, wishOffer)
		}
		return true
	case g.hold == holdHeld && g.ill && g.wish == wishOffer && !peerAble:
		n.wishFor(g, wishNone)
		return true
	case g.hold == holdIdle && !g.asked && !g.failed && (g.peerHold.runs() || peerAble):
		n.wishFor(g, wishUnable)
		return true
	}
	return false
}
