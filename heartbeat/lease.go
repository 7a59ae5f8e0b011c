package heartbeat

import (
	"slices"
	"time"
)

// A lease is the right to answer for a group, held by the kernel until an absolute instant: the time of the last heartbeat plus its length.
// It is shorter than the dead time, so that a node which no longer sends has stopped answering, with no program alive to see to it,
// before its peer may take over. docs/safety.md says what it promises and what it cannot.

// renew extends a group's lease as far as the last heartbeat carries it.
func (n *Node) renew(g *group) {
	if n.cfg.Lease == 0 || g.lapsed {
		return
	}
	if g.hold != holdIdle && g.leased != 0 && g.leased <= n.now.Boot && n.peer.life == lifeAlive {
		n.look = looking{}
		g.lapsedFrom = n.probes.counter + 1
		n.timing.Lapses++
		g.lapsed = true // it ran out, for whatever reason, while the peer lives: ask before answering again
		n.changed()
		g.wantedAt = n.version
		return
	}
	until := n.bounded(n.lastSaid() + n.leaseLength())
	g.leased = until
	n.do(Renew{Group: g.Name, Until: until})
}

// lastSaid is when the last sign of life went out that the peer can have heard, on the boot clock: the last heartbeat, or where mirrors are all that
// connects the nodes, what last went by way of them, which is seldomer.
func (n *Node) lastSaid() time.Duration {
	m := &n.mirror
	if m.sent > 0 && n.directLate() && n.peer.life == lifeAlive && n.peer.lastHeard > n.peer.lastDirect {
		return min(n.tx.status.Boot, m.sent)
	}
	return n.tx.status.Boot
}

// inherited is the lease of a group that this node held before its daemon was restarted.
func inherited(boot Boot, group string, held bool) time.Duration {
	if !held {
		return 0
	}
	return boot.Leases[group]
}

// renewInherited keeps up what the run before this one left in force, until it is decided whose the group is: a daemon that was killed and
// is back at once need not ask. As long as that lease lasts the peer has not taken over; what must not happen is that it is extended
// although the peer hears nothing. So it is when the peer says that it hears this run and holds nothing; and while the peer is not heard
// at all, at the last moment only, so that a peer that lives had its time to be heard.
func (n *Node) renewInherited(g *group) {
	if n.cfg.Lease == 0 || g.leased == 0 || g.hold != holdUnknown && g.hold != holdAdopting {
		return
	}
	p := &n.peer
	switch {
	case g.leased <= n.now.Boot:
		g.leased = 0 // it has run out: ask, as after any other silence
		return
	case p.name == "" || p.life == lifeDead || p.life == lifeLeft:
	case p.life == lifeUnknown:
		if p.lastHeard != never || g.leased-n.now.Boot > n.heartbeatInterval()*3/2 {
			return
		}
	case p.kind != kindOurs || !p.current || g.peerHold.runs():
		return
	}
	n.extend(g, n.tx.status.Boot+n.cfg.Lease)
}

// leaseLength is the length in force: a longer one after a reload only when the peer has acknowledged the longer dead time.
func (n *Node) leaseLength() time.Duration {
	if n.leaseBefore > 0 {
		if n.peer.life == lifeAlive && n.peer.acked < n.leaseAfter {
			return min(n.leaseBefore, n.cfg.Lease)
		}
		n.leaseBefore = 0
	}
	return n.cfg.Lease
}

// heartbeatsWanted is how many heartbeats in a row have to be lost before Linux-HA takes this node for dead.
const heartbeatsWanted = 8

// heartbeatInterval is keepalive, or less where a lease would not survive the loss of a heartbeat otherwise, or Linux-HA would take this node for dead when
// a few are lost: it counts nothing but heartbeats that arrive, where two of ours ask one another first.
func (n *Node) heartbeatInterval() time.Duration {
	interval := n.cfg.Keepalive
	if n.cfg.Lease > 0 && n.cfg.Lease < n.cfg.Keepalive*5/2 {
		interval = min(interval, n.cfg.Lease/3)
	}
	if n.peer.kind == kindClassic && !slices.ContainsFunc(n.cfg.Links, func(l LinkConfig) bool { return l.Kind == "serial" }) { // which has no room for more
		interval = min(interval, n.cfg.Deadtime/heartbeatsWanted)
	}
	return interval
}

// renewLeaving keeps a group answering while it is being stopped, until its addresses go: what stands right of an address on its line is
// stopped first, may take longer than a lease, and may need the address for it. That ends when the peer has something of the group; and a
// lease after the peer was last heard, since a peer that hears nothing either takes over one dead time later, however long the stop takes.
func (n *Node) renewLeaving(g *group) {
	p := &n.peer
	if n.cfg.Lease == 0 || g.lapsed || g.leased <= n.now.Boot || g.peerHold.runs() {
		return
	}
	until := n.tx.status.Boot + n.leaseLength()
	if p.name != "" && p.life != lifeLeft && p.lastHeard > g.since.Mono-n.cfg.Deadtime { // not one that was gone before the stop began
		until = min(until, n.now.Boot-(n.now.Mono-p.lastHeard)+n.leaseLength())
	}
	n.extend(g, until)
}

// renewAll follows every heartbeat.
func (n *Node) renewAll() {
	for _, g := range n.groups {
		switch {
		case g.hold.owns():
			n.renew(g)
		case g.hold == holdReleasing:
			n.renewLeaving(g)
		default:
			n.renewInherited(g)
		}
	}
}

// expireLease ends a group's lease at once.
func (n *Node) expireLease(g *group) {
	if n.cfg.Lease > 0 {
		g.leased = 0
		n.do(Renew{Group: g.Name})
	}
}

// shortenLeases applies unheardUntil at once, not with the next heartbeat, and also to what is being released.
func (n *Node) shortenLeases() {
	capped, ok := n.unheardUntil()
	if !ok {
		return
	}
	for _, g := range n.groups {
		if g.leased > capped {
			g.leased = max(capped, 1)
			n.do(Renew{Group: g.Name, Until: g.leased})
		}
	}
}

// bounded is until, or sooner where the peer may not hear this node.
func (n *Node) bounded(until time.Duration) time.Duration {
	if capped, ok := n.unheardUntil(); ok {
		return min(until, capped)
	}
	return until
}

// extend has a lease that is in force last until then, where that is longer.
func (n *Node) extend(g *group, until time.Duration) {
	if until = n.bounded(until); until > g.leased {
		g.leased = until
		n.do(Renew{Group: g.Name, Until: until})
	}
}

// unheardUntil bounds the lease on a one-way link, where the peer is heard and says that it has not heard this node for longer than loss of a
// heartbeat explains (it may take over one dead time after it last heard this node), and that of a node that its peer may not hear, as far as that is known.
func (n *Node) unheardUntil() (time.Duration, bool) {
	p := &n.peer
	if p.life != lifeAlive || p.kind != kindOurs {
		return 0, false
	}
	if n.isolation.noCarrier != "" {
		return n.unpluggedUntil(), true
	}
	if p.hello.heard <= n.cfg.Keepalive*3/2 {
		return 0, false
	}
	if n.now.Mono-p.lastStatus > n.cfg.Lease {
		return 0, false // it is not heard either: nothing is known of what it hears
	}
	heardUs := n.now.Boot - (n.now.Mono - p.lastStatus) - p.hello.heard
	return heardUs + n.cfg.Lease, true
}

// unpluggedUntil is the bound where none of the interfaces that this node serves by has a carrier: what it sends may reach nobody. It is
// going to give up what it has (see watchIsolation); the bound has that happen even if it dies before. The peer heard it last one heartbeat
// interval before it was itself last heard, if the heartbeat between was lost with the cable.
func (n *Node) unpluggedUntil() time.Duration {
	margin := max(n.cfg.Deadtime/100, 2*time.Millisecond) // of frames on their way, and of clocks
	length := min(n.leaseLength(), n.cfg.Deadtime-n.heartbeatInterval()-margin)
	return n.now.Boot - (n.now.Mono - n.peer.lastHeard) + length
}

// noticeLapse ends belief in the own leases after a sleep that was longer than they are, and shorter than the dead time: the peer
// cannot have taken over yet, but it is asked before this node answers again (decided by its current statement, see together). A peer
// that was gone before the sleep may have come meanwhile: one round of heartbeats is given to it to say so (see alone).
func (n *Node) noticeLapse(silent time.Duration) {
	if n.cfg.Lease == 0 || silent < n.cfg.Lease {
		return
	}
	lapsed := false
	for _, g := range n.groups {
		if g.hold.owns() && !g.lapsed {
			g.lapsed, lapsed = true, true
			g.lapsedFrom = n.probes.counter + 1
		}
	}
	if lapsed {
		n.timing.Lapses++
		n.look = looking{} // what was seen before the sleep is stale
		n.doubtUntil = n.now.Mono + n.heartbeatInterval()*3/2
		n.transition(Warn, "sent nothing for "+silent.Round(time.Millisecond).String()+", longer than the lease "+n.cfg.Lease.String(),
			"The right to answer has lapsed; asking %s before answering again", n.peer.name)
		n.resetBeliefs()
	}
}

// rearmAlone is rearm for a node whose peer was gone before the sleep and did not speak up after it.
func (n *Node) rearmAlone(g *group) {
	switch {
	case !g.lapsed || !g.hold.owns() || n.now.Mono < n.doubtUntil || n.unplugged() || n.stirs():
	case n.free():
		n.answerAgain(g)
	case n.look.answered && g.op == 0:
		n.release(g, n.peer.name+" answers for it on the service network: it took over while this node stood still")
	}
}

func (n *Node) answerAgain(g *group) {
	g.lapsed, g.leased = false, 0
	n.renew(g)
}

// rearmAnswered lets the lapsed groups answer again about which the question with that counter was asked, or a later one: the peer lives,
// holds nothing, and has just heard this node. It is for a peer that cannot be reached but by way of mirrors, which carry no statements.
func (n *Node) rearmAnswered(asked uint64) {
	for _, g := range n.groups {
		if g.lapsed && g.hold.owns() && asked >= g.lapsedFrom {
			n.transition(Info, n.peer.name+" says that it holds nothing", "Resource group %s answers again", g.Name)
			n.answerAgain(g)
		}
	}
}

// rearm lets a lapsed group answer again, when the peer has said in answer to this node's question that it took nothing.
func (n *Node) rearm(g *group) {
	p := &n.peer
	if !g.lapsed || !p.current || p.acked < g.wantedAt || g.peerHold.runs() {
		return
	}
	n.transition(Info, p.name+" says that it holds nothing of it", "Resource group %s answers again", g.Name)
	n.answerAgain(g)
}
