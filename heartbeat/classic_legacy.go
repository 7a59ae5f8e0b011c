package heartbeat

import (
	"maps"
	"slices"
	"time"

	"hapair/heartbeat/wire"
)

// With auto_failback legacy nobody says what it holds. Each node asks for its own groups, one by one, and the other gives them up and answers
// (protocol section 7.3); so with both alive each serves its own. Linux-HA asks once, at its start; this node asks until it has them.

// legacyRetry asks for own groups that this node does not hold.
func (n *Node) legacyRetry() {
	c, now := &n.classic, n.now.Mono
	if n.nice() || c.dormant || c.state != rscStable || n.peer.stopping || now < c.legacyHeld {
		return
	}
	c.legacyHeld = 0
	for _, g := range n.groups {
		if g.Preferred != n.cfg.Node || g.claim {
			continue
		}
		if _, asked := c.requests[g.Name]; !asked {
			n.legacyRequest(g)
		}
	}
	if n.peer.member != memberActive {
		return // it would not hear the request
	}
	for _, key := range slices.Sorted(maps.Keys(c.requests)) {
		if now < c.requests[key] {
			continue
		}
		c.requests[key] = now + ipRequestRetry
		m := wire.New(typeIPRequest)
		m.Add(fieldIP, key)
		n.send(m)
	}
}

// contestedLegacy ends a double holding with a peer that may run what this node holds: after a partition, or because its killed predecessor had
// started it, in which case it does not ask for it. A request makes it stop that, and costs nothing where it runs nothing.
func (n *Node) contestedLegacy() {
	c := &n.classic
	due := c.returned.at > 0
	if c.sweeping.due && n.peer.member == memberActive && n.now.Mono >= n.peer.since+localTakeover {
		due = true
	}
	if !due {
		return
	}
	c.returned.at, c.sweeping.due = 0, false
	for _, g := range n.groups {
		if g.claim {
			n.legacyRequest(g)
		}
	}
}

// legacySweepAt is when contestedLegacy is to be looked at because of a peer that came back.
func (n *Node) legacySweepAt() time.Duration {
	if n.nice() || !n.classic.sweeping.due || n.peer.member != memberActive {
		return 0
	}
	return n.peer.since + localTakeover
}

// classicOverheard looks at what is addressed to the peer itself: it tells itself what it is about to start. What this node holds, it has to
// stop again.
func (n *Node) classicOverheard(m wire.Message) {
	if n.nice() || m.Kind() != typeIPResponse || n.member != memberActive || n.classic.state != rscStable {
		return
	}
	for _, g := range n.groups {
		if g.claim && g.Name == m.Get(fieldIP) {
			n.legacyRequest(g)
			n.classic.requests[g.Name] = n.now.Mono + nobodysWait
		}
	}
}

// legacyRequest notes that a group is to be asked for.
func (n *Node) legacyRequest(g *group) {
	c := &n.classic
	if c.requests == nil {
		c.requests = map[string]time.Duration{}
	}
	c.requests[g.Name] = n.now.Mono
}

// legacyMissed is a peer that has declared this node dead while this node hears it: it is taking everything.
func (n *Node) legacyMissed(m wire.Message) {
	c := &n.classic
	c.takenSeq = max(c.takenSeq, classicSeq(m))
	c.requests = nil
	c.legacyHeld = n.now.Mono + returnRestart
	if !slices.ContainsFunc(n.groups, func(g *group) bool { return g.claim }) {
		return
	}
	n.transition(Crit, n.peer.name+" has taken this node for dead and takes everything", "Letting go of all resources")
	n.claimSet(claimNone)
}

// legacyAsked gives a group up and answers when that is done.
func (n *Node) legacyAsked(m wire.Message) {
	if n.nice() {
		n.reportLimited("mode", LevelError, "%s runs with auto_failback legacy, this node does not: write the same auto_failback into ha.cf on "+
			"both nodes", n.peer.name)
	}
	key := m.Get(fieldIP)
	for _, g := range n.groups {
		if g.Name != key {
			continue
		}
		g.claim = false
		if g.Preferred != n.cfg.Node {
			delete(n.classic.requests, key) // both asked for it: it goes to its own node
		}
		if g.hold.runs() {
			if n.classic.owed == nil {
				n.classic.owed = map[string]bool{}
			}
			n.classic.owed[key] = true
			return
		}
	}
	n.legacyAnswer(key, false)
}

// legacyOwed answers for what has been given up meanwhile.
func (n *Node) legacyOwed() {
	for _, g := range n.groups {
		if n.classic.owed[g.Name] && g.hold == holdIdle {
			delete(n.classic.owed, g.Name)
			n.legacyAnswer(g.Name, true)
		}
	}
}

func (n *Node) legacyAnswer(key string, owned bool) {
	m := wire.New(typeIPResponse)
	m.Add("dest", n.peer.name)
	m.Add(fieldIP, key)
	m.Add("weown", map[bool]string{true: "yes", false: "no"}[owned])
	m.Add("ok", "OK")
	n.send(m)
}

// legacyAnswered takes a group that the peer has given up.
func (n *Node) legacyAnswered(m wire.Message) {
	key := m.Get(fieldIP)
	if _, asked := n.classic.requests[key]; !asked || m.Get("ok") != "OK" || n.stop.asked || classicSeq(m) < n.classic.takenSeq {
		return // never asked for, refused, or from before it took everything
	}
	if n.late(m) {
		n.classic.requests[key] = n.now.Mono
		return
	}
	delete(n.classic.requests, key)
	for _, g := range n.groups {
		if g.Name == key {
			g.claim = true
		}
	}
}
