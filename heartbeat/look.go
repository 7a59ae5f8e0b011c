package heartbeat

import (
	"fmt"
	"slices"
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
	probed   bool          // a silent Linux-HA peer whose addresses still answer was asked whether its daemon lives
}

// A look that fails tells nothing: it is tried again, so often, and so much later.
const (
	looksTried = 5
	lookAgain  = 20 * time.Millisecond
)

// classicReply is how long a silent Linux-HA peer whose addresses still answer has for its answer to reqnodes, which it gives at once.
const classicReply = 50 * time.Millisecond

// alarmLook is the key of the alarm about a silent peer that still answers.
const alarmLook = "look"

// endLook forgets what was heard on the service network: the peer is there, has left, or is certainly off.
func (n *Node) endLook(done bool) {
	n.look = looking{done: done}
	n.alarm(alarmLook, "")
}

func (l *looking) deadlines(sooner func(time.Duration)) {
	if l.op == 0 && !l.done {
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
	if p.lastHeard != never && p.kind != kindClassic && (p.kind != kindOurs || !p.leased) {
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
	if n.peer.kind == kindClassic && (ev.Answered || ev.Foreign != "") {
		n.lookedAtClassic(ev.Foreign)
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

// lookedAtClassic decides about a silent Linux-HA peer whose addresses still answer. It has no lease: that they do says nothing of its daemon. So it is
// asked for something that it answers at once, by a signed message, and if nothing comes its resources are taken as Linux-HA takes them. Both may
// answer then, which only a person or a fencing device can end.
func (n *Node) lookedAtClassic(who string) {
	l := &n.look
	if !l.probed {
		l.probed, l.due = true, n.now.Mono+classicReply
		n.askNodes()
		return
	}
	if who == "" {
		who = "its own hardware address answers"
	}
	text := fmt.Sprintf("%s (Linux-HA) is silent, but something still answers for its addresses, which are taken all the same: BOTH nodes may answer until its services are "+
		"stopped or it is switched off. It has no lease; only a fencing device prevents this", n.peer.name)
	n.transition(Crit, who+"; no heartbeat came, nor an answer to a question", "%s", text)
	n.alarm(alarmLook, text)
	l.done, l.at = true, n.now.Mono
}

// answer takes a silent Linux-HA peer's answer to that question: it lives, and by then is heard from or asked again.
func (l *looking) answer(again time.Duration) {
	if l.probed && !l.done {
		l.probed, l.due = false, again
	}
}

// Isolation: a node that loses its peer and at the same time every ping target that is configured, or the carrier of every interface that it
// serves by, is itself cut off. It takes nothing, and gives up what it holds, so that the peer may serve; but only if the peer was alive when
// the isolation began: a lone survivor never gives up its service because a router reboots. Nor does a target that was gone before say
// anything: a router that was switched off for good must not cost the service when, a month later, the other node dies.

// echoesWanted is how many echoes in a row must be lost before a ping target counts as gone for isolation.
const echoesWanted = 6

// isolation is what is known of this node's own connection.
type isolation struct {
	cut       bool
	reason    string // of the cut
	yielded   bool
	noCarrier string        // why none of the interfaces that this node serves by is connected; "" where one is, or it is not known
	due       time.Duration // next additional echo while the peer is late
	waitUntil time.Duration // after its end: what this node did not yield is not taken before then, so that whoever did may resume
}

// Carrier says whether any of the interfaces that carry the groups' addresses is connected.
type Carrier struct {
	Lost   bool
	Reason string // which are not, for a person
}

func (Carrier) event() {}

// why this node is isolated; "" where it is not.
func (s *isolation) why() string {
	if !s.cut {
		return ""
	}
	return s.reason
}

// carrier notes what the daemon says of the interfaces that this node serves by.
func (n *Node) carrier(ev Carrier) {
	n.isolation.noCarrier = ""
	if ev.Lost {
		n.isolation.noCarrier = ev.Reason
		n.shortenLeases()
	}
}

// tells tells whether a ping target's silence says anything about this node: the target answered when the peer was last heard.
func (n *Node) tells(p *ping) bool {
	return n.peer.lastHeard == never || p.lastHeard >= n.peer.lastHeard-n.cfg.Deadtime
}

// pingsLost tells whether every ping target that says anything fell silent.
func (n *Node) pingsLost() bool {
	return n.unanswered() && !slices.ContainsFunc(n.pings, func(p *ping) bool {
		return n.tells(p) && n.now.Mono-p.lastHeard < n.isolationWindow()
	})
}

// isolationWindow is the silence that counts: the lease, or the dead time where there is none.
func (n *Node) isolationWindow() time.Duration {
	if n.cfg.Lease > 0 {
		return n.cfg.Lease
	}
	return n.cfg.Deadtime
}

// unanswered tells, of a node whose peer has just fallen silent, that its last echoes were all lost: it waits for an answer, or for the certainty
// that it is isolated, before it takes anything.
func (n *Node) unanswered() bool {
	lost := false
	for _, p := range n.pings {
		if !n.tells(p) {
			continue
		}
		if p.unanswered < echoesWanted {
			return false
		}
		lost = true
	}
	return lost
}

// echoes tells whether the ping targets are asked more often: the peer is late, or has been dead for less than its dead time.
func (n *Node) echoes() bool {
	p := &n.peer
	return len(n.pings) > 0 && !n.mute && (p.life == lifeAlive || p.life == lifeDead && p.kind == kindOurs && n.now.Mono < p.silentAt()+p.deadtime)
}

func (n *Node) isolationDeadline(sooner func(time.Duration)) {
	sooner(n.isolation.waitUntil)
	if n.echoes() && n.now.Mono >= n.lateAt() {
		sooner(n.isolation.due)
	}
	if n.peer.life != lifeAlive || len(n.pings) == 0 && n.isolation.noCarrier == "" {
		return
	}
	sooner(n.peer.lastHeard + n.isolationWindow())
}

// echo asks the ping targets more often while the peer is late, so that isolation is known in time.
func (n *Node) echo() {
	if !n.echoes() || n.now.Mono < max(n.lateAt(), n.isolation.due) {
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
	s := &n.isolation
	why := s.noCarrier
	if why == "" && n.pingsLost() {
		why = "neither the peer nor any ping target answers"
	}
	cut := n.peer.name != "" && n.now.Mono-n.peer.lastHeard >= n.isolationWindow()+n.peer.grace && why != ""
	switch {
	case cut && !s.cut:
		s.cut, s.reason = true, why
		n.transition(Crit, why, "This node is isolated: it takes nothing over")
		if n.lostAtOnce() && n.member == memberActive && n.pausedFor() == 0 {
			n.yield(why)
		}
	case !cut && s.cut:
		s.cut, s.yielded = false, false
		if n.peer.kind != kindClassic { // which does not yield
			s.waitUntil = n.now.Mono + n.cfg.Deadtime
			n.look = looking{}
			n.doubtUntil = max(n.doubtUntil, n.now.Mono+n.heartbeatInterval()*3/2)
		}
		n.transition(Info, "the peer or a ping target answers again, or there is a carrier", "This node is no longer isolated")
		n.changed()
	}
	n.hush()
}

// lostAtOnce tells whether the peer was alive when the isolation began: it still counts as alive, or has just been taken for dead and fell silent
// no earlier than the ping targets did.
func (n *Node) lostAtOnce() bool {
	p := &n.peer
	if p.life != lifeDead || n.now.Mono >= p.silentAt()+p.deadtime {
		return p.life == lifeAlive
	}
	for _, t := range n.pings {
		if t.lastHeard > p.lastHeard+2*n.cfg.Keepalive {
			return false
		}
	}
	return len(n.pings) > 0
}

// hush has a node that nobody can reach, its peer gone before, stop answering: so it costs nothing that a peer which came meanwhile is asked
// before this node answers again (see rearmAlone).
func (n *Node) hush() {
	if !n.unplugged() || n.peer.life == lifeAlive {
		return
	}
	for _, g := range n.groups {
		if g.lapsed || g.leased == 0 {
			continue
		}
		n.expireLease(g)
		if g.hold.owns() {
			g.lapsed, g.lapsedFrom = true, n.probes.counter+1
		}
	}
}

// unplugged tells whether this node is isolated in a way that leaves no doubt: none of the interfaces that it serves by has a carrier.
func (n *Node) unplugged() bool { return n.isolation.cut && n.isolation.noCarrier != "" }

// yield gives up what this node holds: its peer was alive a moment ago and is to serve.
func (n *Node) yield(why string) {
	n.isolation.yielded = true
	for _, g := range n.groups {
		if g.hold.owns() {
			n.expireLease(g)
			g.yielded = true
			n.release(g, "isolated: "+why)
		} else if g.leased != 0 {
			n.expireLease(g) // what the run before this one left in force
		}
	}
}
