package heartbeat

import (
	"fmt"
	"time"
)

// Look before you leap: before a node takes over from a silent peer it asks on the service network whether that peer still answers for its
// addresses. If it does, the heartbeat links are broken and not the peer, and nothing is taken. An answer proves life only where the peer's right to
// answer ends with its daemon (a lease): without one, a frozen or killed node's kernel would go on answering for ever.

// looking is what is known of the service network since the peer fell silent.
type looking struct {
	op       OpID
	done     bool          // nobody answers: the way is free
	at       time.Duration // when that was heard; it tells nothing of a heartbeat later
	answered bool          // the peer still answers
	due      time.Duration // when to look again
	failures int           // how often in a row nobody could be asked
}

// A look that fails tells nothing: it is tried again, so often, and so much later.
const (
	looksTried = 5
	lookAgain  = 20 * time.Millisecond
)

// alarmLook is the key of the alarm about a silent peer that still answers.
const alarmLook = "look"

// endLook forgets what was heard on the service network: the peer is there, has left, or is certainly off.
func (n *Node) endLook(done bool) {
	n.look = looking{done: done}
	n.alarm(alarmLook, "")
}

func (l *looking) deadlines(sooner func(time.Duration)) {
	if (l.answered || l.failures > 0) && l.op == 0 && !l.done {
		sooner(l.due)
	}
}

// free tells whether nobody answers for the silent peer's groups, and looks where that is not known.
func (n *Node) free() bool {
	p, l := &n.peer, &n.look
	if !n.cfg.Look || p.name == "" || p.life == lifeLeft || l.done && n.now.Mono-l.at <= n.cfg.Keepalive {
		return true
	}
	l.done = false
	if p.lastHeard != never && (p.kind != kindOurs || !p.leased) {
		return true
	}
	if l.op != 0 || n.now.Mono < l.due {
		return false
	}
	var ask []string
	for _, g := range n.groups {
		if !g.hold.owns() || g.lapsed {
			ask = append(ask, g.Name)
		}
	}
	if len(ask) == 0 {
		return true
	}
	l.op = n.op()
	n.do(Look{Op: l.op, Groups: ask, MACs: p.macs})
	return false
}

// looked takes the answer of the service network.
func (n *Node) looked(ev Looked) {
	l := &n.look
	if ev.Op != l.op || ev.Op == 0 {
		return
	}
	l.op = 0
	if n.looksAhead(ev) {
		l.due = n.peer.deadAt()
		return
	}
	if n.cfg.Fencing && n.peer.lastHeard == never && ev.Foreign != "" {
		ev.Answered, ev.Foreign = true, "" // its hardware addresses are not known yet, and a wrong guess would shoot a node that serves
	}
	if ev.Foreign != "" {
		n.transition(Crit, ev.Foreign, "Somebody else than %s answers for its addresses: taking over all the same", n.peer.name)
	}
	if ev.Failed != "" && !ev.Answered {
		l.failures++
		if l.failures < looksTried {
			l.due = n.now.Mono + lookAgain
			return
		}
		n.transition(Crit, ev.Failed, "Whether %s still answers for its addresses cannot be found out: taking over all the same", n.peer.name)
	}
	l.failures = 0
	if !ev.Answered {
		n.alarm(alarmLook, "")
		if l.answered {
			n.transition(Info, "nobody answers any more", "%s no longer answers on the service network", n.peer.name)
		}
		l.done, l.answered, l.at = true, false, n.now.Mono
		return
	}
	l.due = n.now.Mono + n.cfg.Keepalive
	if !l.answered {
		l.answered = true
		n.transition(Crit, "it still answers for its addresses on the service network",
			"The heartbeat links to %s are broken, the node is not: nothing is taken over. Mend the links", n.peer.name)
		n.alarm(alarmLook, fmt.Sprintf("the heartbeat links to %s are broken, the node is not: it still answers for its addresses on the service network, and nothing is taken over; mend the links", n.peer.name))
	}
}

// Isolation: a node that hears neither its peer nor any configured ping target is itself cut off. It takes nothing, and gives up what it
// holds, so that the peer may serve; but only if the peer was alive when the isolation began: a lone survivor never gives up its service
// because a router reboots.

// echoesWanted is how many echoes in a row must be lost before a ping target counts as gone for isolation.
const echoesWanted = 6

// isolation is what is known of this node's own connection.
type isolation struct {
	cut     bool
	yielded bool
	due     time.Duration // next additional echo while the peer is late
}

// isolationWindow is the silence that counts: the lease, or the dead time where there is none.
func (n *Node) isolationWindow() time.Duration {
	if n.cfg.Lease > 0 {
		return n.cfg.Lease
	}
	return n.cfg.Deadtime
}

func (n *Node) isolationDeadline(sooner func(time.Duration)) {
	if n.peer.life != lifeAlive || len(n.pings) == 0 {
		return
	}
	if n.now.Mono >= n.lateAt() {
		sooner(n.isolation.due)
	}
	sooner(n.peer.lastHeard + n.isolationWindow())
}

// echo asks the ping targets more often while the peer is late, so that isolation is known in time.
func (n *Node) echo() {
	if n.peer.life != lifeAlive || len(n.pings) == 0 || n.mute || n.now.Mono < max(n.lateAt(), n.isolation.due) {
		return
	}
	n.isolation.due = n.now.Mono + max(n.isolationWindow()/(2*echoesWanted), probeFastest)
	for _, p := range n.pings {
		p.unanswered++
		n.sendEcho(p)
	}
}

// watchIsolation is judged at a Tick only, like all silence.
func (n *Node) watchIsolation() {
	s, window := &n.isolation, n.isolationWindow()
	if len(n.pings) == 0 {
		return
	}
	cut := n.now.Mono-n.peer.lastHeard >= window+n.peer.grace
	for _, p := range n.pings {
		if n.now.Mono-p.lastHeard < window || p.unanswered < echoesWanted {
			cut = false
		}
	}
	switch {
	case cut && !s.cut:
		s.cut = true
		n.transition(Crit, "neither the peer nor any ping target answers", "This node is isolated: it takes nothing over")
		if n.peer.life == lifeAlive && n.member == memberActive && n.pausedFor() == 0 {
			n.yield()
		}
	case !cut && s.cut:
		s.cut, s.yielded = false, false
		n.transition(Info, "the peer or a ping target answers again", "This node is no longer isolated")
		n.changed()
	}
}

// yield gives up what this node holds: its peer was alive a moment ago and is to serve.
func (n *Node) yield() {
	n.isolation.yielded = true
	for _, g := range n.groups {
		if g.hold.owns() {
			n.expireLease(g)
			n.release(g, "isolated: neither "+n.peer.name+" nor any ping target answers")
		}
	}
}
