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
	if n.nice() || c.state != rscStable || c.leaving || c.returned.at > 0 || now < c.legacyHeld {
		return
	}
	c.legacyHeld = 0
	for _, g := range n.groups {
		if g.Preferred != n.cfg.Node || g.claim {
			continue
		}
		if _, asked := c.requests[g.Name]; !asked {
			if c.requests == nil {
				c.requests = map[string]time.Duration{}
			}
			c.requests[g.Name] = now
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

// contestedLegacy ends a double holding after a partition that the peer did not notice: each keeps its own groups, and asks for them, so
// that the other stops what it may have running of them.
func (n *Node) contestedLegacy() {
	c := &n.classic
	r := &c.returned
	if r.at == 0 || !r.frozen && !c.leaving && n.now.Mono < r.at+r.patience() {
		return
	}
	r.at = 0
	if c.leaving {
		return
	}
	n.transition(Crit, n.peer.name+" did not restart, so it still holds its own", "Letting go of foreign resources")
	for _, g := range n.groups {
		if g.Preferred != n.cfg.Node {
			g.claim = false
		} else if c.requests == nil {
			c.requests = map[string]time.Duration{g.Name: n.now.Mono}
		} else {
			c.requests[g.Name] = n.now.Mono
		}
	}
}

// legacyMissed is a peer that has declared this node dead while this node hears it: it is taking everything.
func (n *Node) legacyMissed() {
	c := &n.classic
	if !slices.ContainsFunc(n.groups, func(g *group) bool { return g.claim }) {
		return
	}
	n.transition(Crit, n.peer.name+" has taken this node for dead and takes everything", "Letting go of all resources")
	n.claimSet(claimNone)
	c.requests = nil
	c.legacyHeld = n.now.Mono + returnRestart
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
	if _, asked := n.classic.requests[key]; !asked || m.Get("ok") != "OK" || n.stop.asked {
		return
	}
	delete(n.classic.requests, key)
	for _, g := range n.groups {
		if g.Name == key {
			g.claim = true
		}
	}
}
