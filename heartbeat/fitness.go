package heartbeat

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Unfit says that this node had better not serve: a check script has failed, or with a Group, the network that the group serves is cut off here
// (no carrier, an interface that is down or gone). An empty Reason says that all is well again.
type Unfit struct {
	Group  string // "" for every group
	Reason string

	// Absent, with a Group: its interface is down or gone, which counts only where the group runs: a resource of it may be what sets it up.
	Absent bool
	// Settling, with a Group: this began, or ended, less than deadtime ago. It counts where the group does not run: a node that has just lost its
	// network too does not take what the other one gives away, and one whose network is just back waits for the other's.
	Settling bool
}

func (Unfit) event() {}

// fitness takes the word of the check scripts and of the interfaces. A group is offered to a peer that can run it, and never simply dropped: an
// unfit node that serves is better than nobody.
func (n *Node) fitness(ev Unfit) {
	if ev.Group != "" {
		n.cutFrom(ev)
		return
	}
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
			n.fitAgain(g)
		}
	}
}

// cutFrom takes what the interfaces of a group say. With Linux-HA, which does not tell how its own cables are, nothing follows.
func (n *Node) cutFrom(ev Unfit) {
	for _, g := range n.groups {
		if g.Name != ev.Group || ev.Absent && !g.hold.owns() && g.cut == "" {
			continue
		}
		before := g.cutTold
		g.cut, g.cutSettling, g.cutTold = ev.Reason, ev.Settling, ev.Reason != "" && !ev.Settling
		n.alarm("cut "+g.Name, n.cutAlarm(g))
		switch {
		case g.cutTold && !before:
			what := "it is not to come here"
			if g.hold.owns() {
				what = "it is offered to " + n.peer.name
			}
			n.transition(Warn, ev.Reason, "Resource group %s reaches nobody here: %s", g.Name, what)
		case before && !g.cutTold:
			n.transition(Info, "carrier and interface are there", "Resource group %s can be reached here again", g.Name)
		}
		n.fitAgain(g)
	}
}

// cutAlarm is what status says of a group that reaches nobody here, "" of another.
func (n *Node) cutAlarm(g *group) string {
	if !g.cutTold {
		return ""
	}
	return fmt.Sprintf("%s: %s reaches nobody from this node", g.cut, g.Name)
}

// forgetCuts ends the alarms about groups that are not in the files any more, or have another name there.
func (n *Node) forgetCuts() {
	for _, key := range slices.Sorted(maps.Keys(n.alarms)) {
		name, ok := strings.CutPrefix(key, "cut ")
		if ok && !slices.ContainsFunc(n.cfg.Groups, func(g Group) bool { return g.Name == name }) {
			n.alarm(key, "")
		}
	}
	for _, g := range n.groups {
		if g.cutTold && slices.ContainsFunc(n.cfg.Groups, func(c Group) bool { return c.Name == g.Name }) {
			n.alarm("cut "+g.Name, n.cutAlarm(g))
		}
	}
}

// fitAgain takes back what was offered because this node was not fit for a group, unless there is another reason left.
func (n *Node) fitAgain(g *group) {
	if n.unfitFor(g) != "" {
		return
	}
	g.accepted = ""
	if !g.ill {
		return
	}
	if g.hold == holdHeld && g.wish == wishOffer {
		n.wishFor(g, wishNone)
	}
	g.given, g.ill = false, false // nobody moved it by hand
}

// unfitFor is why this node had better not serve a group, "" where it may.
func (n *Node) unfitFor(g *group) string {
	if n.unfit != "" {
		return n.unfit
	}
	if g.cutSettling && g.hold.owns() {
		return ""
	}
	return g.cut
}

// considerUnfit sets the wish of a node that is not fit for a group, and says whether there is nothing more to consider. A pause suspends it: the
// switch that restarts takes carriers and gateways away.
func (n *Node) considerUnfit(g *group) bool {
	p := &n.peer
	why := n.unfitFor(g)
	if why == "" || why == g.accepted && g.hold.owns() || !p.current || n.stop.asked || n.pausedFor() > 0 {
		return false
	}
	peerAble := g.peerWish != wishUnable
	switch {
	case g.hold == holdHeld && peerAble && g.peerHold == holdIdle && p.hello.active:
		if g.wish != wishOffer {
			g.ill, g.reason, g.giveBy = true, fmt.Sprintf("this node is not fit (%s)", why), 0
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
