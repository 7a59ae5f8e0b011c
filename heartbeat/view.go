package heartbeat

import "slices"

// Status is what this node knows, as a copy.
func (n *Node) Status() Status {
	p := &n.peer
	s := Status{
		Node:        n.cfg.Node,
		Generation:  n.boot.Generation,
		State:       n.state(),
		Holds:       n.holds(n.cfg.Node),
		Member:      n.member,
		Failback:    n.cfg.Failback,
		ClassicHold: n.classicHold(),
		Transitions: slices.Clone(n.transitions),
		Fencing:     n.fencingStatus(),
		Paused:      n.pausedFor(),
		Timing:      n.timing,
		Isolated:    n.isolation.why(),
		ByMirror:    n.mirror.only,
		PeerAnswers: n.look.answered,
		Peer: PeerStatus{
			Name: p.name, State: n.peerState(), Kind: p.kind.String(), Holds: n.holds(p.name), Generation: n.rx.generation,
			UUID: p.uuid, LastHeard: p.lastHeard, Deadtime: p.deadtime, Reachable: p.life == lifeAlive, LostPackets: n.rx.lostTotal,
			ClockAhead: p.clockAhead, MACs: slices.Clone(p.macs),
		},
	}
	for _, l := range n.links {
		s.Links = append(s.Links, LinkStatus{ID: l.ID, Name: l.Name, Kind: l.Kind, State: l.state, LastHeard: l.lastHeard,
			Received: l.received, Reason: l.reason})
	}
	for _, q := range n.pings {
		s.Pings = append(s.Pings, PingStatus{Name: q.Name, Up: q.up, LastHeard: q.lastHeard})
	}
	s.Reach.Here, s.Reach.HereKnown = n.pingCount()
	s.Reach.Peer, s.Reach.PeerKnown = n.peerPings()
	for _, g := range n.groups {
		s.Groups = append(s.Groups, n.groupStatus(g))
	}
	return s
}

func (n *Node) groupStatus(g *group) GroupStatus {
	s := GroupStatus{Name: g.Name, Preferred: g.Preferred, Removed: g.gone, State: g.hold.String(), Epoch: g.epoch, Since: g.since.Wall, Reason: g.reason}
	if g.failed && g.hold == holdIdle {
		s.State, s.Reason = "failed", g.failReason
	}
	switch {
	case g.hold.owns():
		s.Owner = n.cfg.Node
	case n.peerHolds(g):
		s.Owner = n.peer.name
	}
	return s
}

// peerHolds tells whether the peer, as far as is known, serves a group.
func (n *Node) peerHolds(g *group) bool {
	switch {
	case n.peer.life != lifeAlive:
		return false
	case n.peer.kind == kindClassic:
		if !n.nice() {
			return g.hold == holdIdle && !g.claim
		}
		return n.classic.otherHolds&n.setOf(g).swap() != 0
	}
	return g.peerHold.owns()
}

// holds lists the sets that a node serves something of.
func (n *Node) holds(node string) []string {
	list := []string{}
	local, foreign := false, false
	for _, g := range n.groups {
		serves := g.hold.owns()
		if node != n.cfg.Node {
			serves = n.peerHolds(g)
		}
		if !serves {
			continue
		}
		if g.Preferred == node {
			local = true
		} else {
			foreign = true
		}
	}
	if local {
		list = append(list, "local")
	}
	if foreign {
		list = append(list, "foreign")
	}
	return list
}

// state is this node's part in one word.
func (n *Node) state() string {
	switch {
	case n.stop.asked:
		return "stopping"
	case n.member != memberActive:
		return n.member
	}
	serving := false
	for _, g := range n.groups {
		switch g.hold {
		case holdUnknown, holdAdopting, holdAcquiring, holdReleasing:
			return "transition"
		case holdHeld:
			serving = true
		}
	}
	switch {
	case n.classic.standby.phase != standbyNone, n.peer.kind == kindClassic && n.peer.life == lifeAlive && n.classic.state < rscStable:
		return "transition"
	case serving:
		return "active"
	}
	return "standby"
}

// peerState is the other node's part in one word.
func (n *Node) peerState() string {
	p := &n.peer
	switch p.life {
	case lifeUnknown:
		return "unknown"
	case lifeDead:
		if n.look.answered {
			return "unreachable"
		}
		return "dead"
	case lifeLeft:
		return "left"
	}
	if p.member == "" {
		return memberUp
	}
	return p.member
}

// classicHold is the answer of `cl_status rscstatus` (protocol section 11.5).
func (n *Node) classicHold() string {
	if n.peer.kind == kindClassic && !n.nice() {
		return claimNone.String()
	}
	if n.state() == "transition" || n.member != memberActive {
		return "transition"
	}
	if n.peer.kind == kindClassic {
		return n.classic.mine.String()
	}
	c := claimNone
	local, foreign := false, false
	for _, g := range n.groups {
		local = local || n.setOf(g) == claimLocal
		foreign = foreign || n.setOf(g) == claimForeign
		if g.hold.owns() {
			c |= n.setOf(g)
		}
	}
	if n.peer.life != lifeAlive { // a lone node holds the empty set too
		if !local && foreign && c == claimForeign || !foreign && local && c == claimLocal {
			c = claimAll
		}
	}
	return c.String()
}
