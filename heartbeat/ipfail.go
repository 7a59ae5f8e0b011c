package heartbeat

import (
	"fmt"
	"strconv"
	"time"

	"hapair/heartbeat/wire"
)

// What `respawn … ipfail` does for Linux-HA (protocol section 10.1) is done here: of two nodes, the one that reaches more ping nodes is to
// serve. Two of ours tell each other the number in every heartbeat; with Linux-HA the messages of its ipfail are exchanged. A tie changes
// nothing, and a difference only when all that the peer reaches has answered it since the last answer here of what was lost, or, with Linux-HA, when
// it has lasted for two keepalives, and as long as that may need to notice: a ping node which both lose at almost the same time moves nothing. What could not be done because the other side was not ready is tried again; the original waits for the next change.

const (
	typePingCount = "num_ping_nodes"
	typeYouDead   = "you_are_dead"
	typeAbort     = "abort_giveup"
	typeClient    = "hbapi-clstat"
	fieldNumPing  = "num_ping"
	clientIPFail  = "ipfail"
)

// ipfailLag is by how much Linux-HA may notice a ping node's silence later than this node: it looks four times a second, and its ipfail is another
// process. A ping node that both lose may show as a difference for so long.
const ipfailLag = 450 * time.Millisecond

// ipfailRetry is the time between two attempts to hand over to a better connected peer.
const ipfailRetry = 2 * offerPatience

// ipfail is the comparison of the two nodes' connections.
type ipfail struct {
	ours, theirs int           // as last compared; meaningless before compared
	compared     bool          // both numbers were known
	giveAt       time.Duration // when to hand over, because the peer reaches more; 0 for not
	giving       bool          // it has been tried; done when nothing is left here, and what a person brings back stays
	joined       bool          // the ipfail of a Linux-HA peer has been told that there is one here
	said         int           // the number that a Linux-HA peer was last told
	tellAt       time.Duration // when to tell it a greater one; 0 for not
	heard        int           // the number that it told
	known        bool          // it told one
}

func (s *ipfail) deadlines(n *Node, sooner func(time.Duration)) {
	sooner(s.giveAt)
	sooner(s.tellAt)
	if n.cfg.IPFail {
		sooner(n.started.Mono + n.cfg.Deadping)
	}
}

// pingCount is how many ping nodes and groups are reached; false while that is not known yet, after a start.
func (n *Node) pingCount() (int, bool) {
	count, silent := 0, 0
	for _, p := range n.pings {
		switch {
		case p.up:
			count++
		case p.lastHeard == never:
			silent++
		}
	}
	return count, n.cfg.IPFail && len(n.pings) > 0 && (silent == 0 || n.now.Mono >= n.started.Mono+n.cfg.Deadping)
}

// peerPings is the peer's number, if it is known.
func (n *Node) peerPings() (int, bool) {
	p := &n.peer
	switch {
	case p.life != lifeAlive:
		return 0, false
	case p.kind == kindClassic:
		return n.ipfail.heard, n.ipfail.known
	}
	return p.hello.pings - 1, p.proven && p.hello.pings > 0
}

// worseConnected tells that the peer reaches more ping nodes than this node.
func (n *Node) worseConnected() bool {
	ours, known := n.pingCount()
	theirs, told := n.peerPings()
	return known && told && ours < theirs
}

// compareConnections hands over to a peer that reaches more.
func (n *Node) compareConnections() {
	s := &n.ipfail
	ours, known := n.pingCount()
	if known && n.peer.kind == kindClassic {
		n.tellPings(ours)
	}
	theirs, told := n.peerPings()
	if !known || !told || n.peer.life != lifeAlive {
		s.compared, s.giveAt = false, 0
		return
	}
	if !s.compared || ours != s.ours || theirs != s.theirs {
		s.compared, s.ours, s.theirs = true, ours, theirs
		n.connectionsChanged()
	}
	if n.pausedFor() > 0 {
		return // a switch that restarts takes ping nodes from one node and not from the other
	}
	due := n.now.Mono >= s.giveAt || s.giving && !n.serves()
	if n.peer.kind == kindOurs && n.peer.hello.pingsAge >= 0 && !s.giving {
		due = n.peerStillReaches()
	}
	if s.giveAt > 0 && due {
		s.giveAt = n.giveUp()
		s.giving = s.giveAt > 0
	}
}

// connectionsChanged decides about a new pair of numbers.
func (n *Node) connectionsChanged() {
	s := &n.ipfail
	if s.ours < s.theirs {
		if s.giveAt == 0 {
			s.giveAt = n.now.Mono + 2*n.cfg.Keepalive
			if n.peer.kind == kindClassic {
				s.giveAt = n.now.Mono + max(2*n.cfg.Keepalive, ipfailLag)
			}
			n.report(Info, "Giving up because we have less visible ping nodes: %d here, %d on %s.", s.ours, s.theirs, n.peer.name)
		}
		return
	}
	if s.giveAt > 0 {
		s.giveAt, s.giving = 0, false
		n.report(Info, "Giveup aborted: %d ping nodes visible here, %d on %s.", s.ours, s.theirs, n.peer.name)
	}
	for _, g := range n.groups {
		if !g.leastPings {
			continue
		}
		g.leastPings = false
		if g.hold.owns() && g.wish == wishOffer {
			n.wishFor(g, wishNone)
		} else if !g.hold.owns() {
			g.given = false // auto_failback may bring it back
		}
	}
	if c := &n.classic; n.peer.kind == kindClassic && n.cfg.Failback == FailbackOn && s.ours == s.theirs && c.mine&claimForeign != 0 {
		c.failback, c.failbackAt = true, max(n.now.Mono, 1)
	}
}

// pingsAge is within what time every ping node that is reached has answered.
func (n *Node) pingsAge() time.Duration {
	age := time.Duration(0)
	for _, p := range n.pings {
		if p.up {
			age = max(age, n.now.Mono-p.lastHeard)
		}
	}
	return age
}

// peerStillReaches tells that the ping nodes of the peer answered it when those that this node lost would long have answered here too: the
// difference is real, and there is nothing to wait for.
func (n *Node) peerStillReaches() bool {
	lost := never
	for _, p := range n.pings {
		if !p.up {
			lost = max(lost, p.lastHeard)
		}
	}
	return n.peer.kind == kindOurs && n.peer.hello.active && n.peer.pinged > lost+2*n.cfg.Keepalive
}

// giveUp offers everything to the better connected peer, and says when to look at it again; 0 when nothing is left to give.
func (n *Node) giveUp() time.Duration {
	reason := fmt.Sprintf("ipfail: %d ping nodes visible here, %d on %s", n.ipfail.ours, n.ipfail.theirs, n.peer.name)
	again := n.now.Mono + ipfailRetry
	if n.peer.kind == kindClassic {
		switch {
		case n.classic.mine == claimNone:
			return 0
		case n.classicReady() != nil:
			return n.now.Mono + failbackRetry
		}
		n.transition(Warn, reason, "Handing over to %s", n.peer.name)
		n.startHandover(claimAll)
		return again
	}
	left := false
	for _, g := range n.groups {
		if !g.hold.owns() || g.wish == wishOffer {
			left = left || g.hold.owns()
			continue
		}
		left = true
		if g.peerWish == wishUnable || !n.peer.hello.active {
			continue
		}
		g.reason, g.leastPings, g.giveBy = reason, true, n.now.Mono+offerPatience
		n.transition(Warn, reason, "Handing over %s to %s", g.Name, n.peer.name)
		n.wishFor(g, wishOffer)
	}
	if !left {
		return 0
	}
	return again
}

// tellPings tells a Linux-HA peer's ipfail the number, when it has changed: a smaller one at once, a greater one when that peer, too, has had the time to
// notice a ping node that answers both again. Its ipfail gives everything away two keepalives after it was told a greater one than its own.
func (n *Node) tellPings(count int) {
	s := &n.ipfail
	if n.peer.member != memberActive || !n.nice() || n.stop.asked {
		return
	}
	if !s.joined {
		s.joined = true
		m := wire.New(typeClient)
		m.Add("st", "join")
		m.Add("from_id", clientIPFail)
		m.Add("to_id", clientIPFail)
		m.Add("src", n.cfg.Node)
		m.Add(fieldInfo, "signon")
		m.Add("client_gen", "0")
		n.send(m)
	} else if s.said == count {
		s.tellAt = 0
		return
	} else if s.said >= 0 && s.said < count {
		if s.tellAt == 0 {
			s.tellAt = n.now.Mono + ipfailLag
		}
		if n.now.Mono < s.tellAt {
			return
		}
	}
	s.said, s.tellAt = count, 0
	m := wire.New(typePingCount)
	m.Add("src", n.cfg.Node)
	m.Add(fieldNumPing, strconv.Itoa(count))
	m.Add("dest", n.peer.name)
	n.sendClient(m)
}

// sendClient sends a message from one ipfail to the other.
func (n *Node) sendClient(m wire.Message) {
	m.Add("from_id", clientIPFail)
	m.Add("to_id", clientIPFail)
	m.Add("client_gen", "0")
	n.send(m)
}

// ipfailMessage handles a message of a Linux-HA peer's ipfail; false for any other.
func (n *Node) ipfailMessage(m wire.Message) bool {
	kind := m.Kind()
	if kind != typePingCount && kind != typeYouDead && kind != typeAbort && kind != typeClient {
		return false
	}
	s := &n.ipfail
	ours, known := n.pingCount()
	if !known || !n.nice() || n.stop.asked {
		return true
	}
	switch kind {
	case typeClient:
		s.said = -1 // it has just begun: tell it
	case typePingCount:
		theirs, err := strconv.Atoi(m.Get(fieldNumPing))
		if err != nil {
			return true
		}
		s.heard, s.known = theirs, true
		switch {
		case theirs == ours:
			n.report(Info, "Ping node count is balanced.")
			abort := wire.New(typeAbort)
			abort.Add("src", n.cfg.Node)
			abort.Add("dest", n.peer.name)
			n.sendClient(abort)
		case theirs < ours:
			n.report(Info, "Telling other node that we have more visible ping nodes.")
			dead := wire.New(typeYouDead)
			dead.Add("dest", n.peer.name)
			n.sendClient(dead)
		}
	case typeYouDead:
		s.heard, s.known = max(s.heard, ours+1), true
	case typeAbort:
		s.heard, s.known = min(s.heard, ours), true
	}
	return true
}
