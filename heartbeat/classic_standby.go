package heartbeat

import (
	"slices"
	"time"

	"hapair/heartbeat/wire"
)

// standbyPhase is how far a hand-over with a Linux-HA peer has come (protocol section 7.5).
type standbyPhase int

const (
	standbyNone  standbyPhase = iota
	standbyMe                 // this node asked to go standby and waits for the grant, then releases
	standbyOther              // the peer goes standby; this node waits for it to release
	standbyDone               // one side is finished, the other is working
)

// handover is a hand-over of a set with a Linux-HA peer.
type handover struct {
	phase   standbyPhase
	which   claim // relative to the node that goes standby
	held    claim // what this node held of it before
	giving  bool  // this node goes standby
	granted bool
	working bool          // this node's part is under way: say done when the groups have settled
	since   time.Duration // when it was granted
	until   time.Duration
	after   uint64 // number of the peer's newest message when this step began: what is older belongs to something else
}

// startHandover asks the peer to take a set (info=me).
func (n *Node) startHandover(which claim) {
	c := &n.classic
	c.otherStable = false
	n.report(Info, "%s wants to go standby [%s]", n.cfg.Node, which)
	c.standby = handover{phase: standbyMe, which: which, giving: true, until: n.now.Mono + standbyGrant, after: n.rx.last}
	n.order(n.ask("me"))
}

// ask is a message of the hand-over that is under way.
func (n *Node) ask(info string) wire.Message {
	m := wire.New(typeAsk)
	m.Add(fieldHold, n.classic.standby.which.String())
	m.Add(fieldInfo, info)
	return m
}

// giveSet begins to release what the peer has agreed to take.
func (n *Node) giveSet() {
	c := &n.classic
	c.standby.granted, c.standby.working, c.standby.held = true, true, c.mine&c.standby.which
	n.claimSet(c.mine &^ c.standby.which)
	n.sendResource(infoStandby)
}

// takeSet begins to acquire what the peer has released.
func (n *Node) takeSet(which claim) {
	c := &n.classic
	n.report(Info, "standby: acquire [%s] resources from %s", which, n.peer.name)
	c.standby = handover{phase: standbyDone, which: which, working: true, until: n.now.Mono + standbyWork}
	n.forgiveFailures(which.swap())
	n.claimSet(c.mine | which.swap())
}

// requestedSet is the set that a request is about, as hb_standby means it. Linux-HA moves whole sets.
func (n *Node) requestedSet(ev Request) claim {
	if ev.Group != "" {
		list, _ := n.selected(ev)
		return n.setOf(list[0])
	}
	switch which, _ := parseClaim(ev.Which); {
	case ev.Which == "failback" && ev.Kind == RequestTakeover:
		return claimLocal
	case ev.Which == "failback":
		return claimForeign
	case which != claimNone:
		return which
	}
	return claimAll
}

// classicStandby starts a hand-over on request.
func (n *Node) classicStandby(ev Request) error {
	if err := n.classicReady(); err != nil {
		return err
	}
	n.startHandover(n.requestedSet(ev))
	return nil
}

// classicTakeover asks the peer to go standby.
func (n *Node) classicTakeover(ev Request) error {
	if err := n.classicReady(); err != nil {
		return err
	}
	which := n.requestedSet(ev)
	n.forgiveFailures(which)
	n.classic.tookAt = n.now.Mono
	m := wire.New(typeTakeover)
	m.Add(fieldHold, which.String())
	n.order(m)
	return nil
}

// classicTakeoverAsked is hb_takeover on the peer: this node goes standby with the same groups. The original takes failback for all; meant
// are the asking node's own.
func (n *Node) classicTakeoverAsked(m wire.Message) {
	word := m.Get(fieldHold)
	which, ok := parseClaim(word)
	switch {
	case word == "failback":
		which = claimLocal
	case !ok || which == claimNone:
		which = claimAll
	}
	if err := n.classicReady(); err != nil {
		n.report(Warn, "%s asked to take over %s resources: %v", n.peer.name, which, err)
		return
	}
	n.startHandover(which.swap())
}

// classicAsk processes the messages of a hand-over.
func (n *Node) classicAsk(m wire.Message) {
	c := &n.classic
	which, ok := parseClaim(m.Get(fieldHold))
	if !ok {
		which = claimAll
	}
	seq := classicSeq(m)
	defer func() { c.askSeq = max(c.askSeq, seq) }()
	switch info := m.Get(fieldInfo); {
	case info == "me" && seq < c.askSeq:
		n.report(Info, "Ignored standby message 'me' from %s: a later hand-over has ended meanwhile", n.peer.name)
	case info == "me" && c.standby.phase == standbyNone:
		n.grant(which, seq)
	case info == "me":
		n.report(Warn, "Standby in progress- new request from %s ignored [%d seconds left]", n.peer.name,
			int((c.standby.until - n.now.Mono).Seconds()))
	case seq <= c.standby.after:
		n.report(Info, "Ignored standby message '%s' from %s: it is older than what is under way", info, n.peer.name)
	case info == "other" && c.standby.phase == standbyMe && !c.standby.granted:
		n.report(Info, "standby: %s can take our %s resources", n.peer.name, c.standby.which)
		c.standby.until, c.standby.after, c.unanswered = n.now.Mono+standbyWork, seq, 0
		n.giveSet()
	case info == "done":
		n.classicDone(m, which)
	default:
		n.report(LevelError, "Ignored standby message '%s' from %s in state %d", info, n.peer.name, c.standby.phase)
	}
}

// classicDone is the peer's word that it has finished its part of a hand-over.
func (n *Node) classicDone(m wire.Message, which claim) {
	c := &n.classic
	n.peerReported()
	switch c.standby.phase {
	case standbyOther:
		if n.late(m) || n.mayBeVoid(m) {
			n.belate(c.standby.which, classicSeq(m))
			return
		}
		c.unanswered = 0
		n.hear(saying{seq: classicSeq(m), gone: true, hold: c.standby.which})
		n.takeSet(c.standby.which)
	case standbyDone:
		if !c.standby.giving {
			return
		}
		n.hear(saying{seq: classicSeq(m), hold: c.standby.which.swap()})
		n.transition(Info, "planned hand-over", "Other node completed standby takeover of %s resources.", c.standby.which)
		c.standby, c.unanswered = handover{}, 0
		n.sendResource("")
	case standbyNone:
		if c.state == rscStable && classicSeq(m) >= n.rx.last && which&c.otherHolds == claimNone && c.mine&which.swap() == claimNone {
			if len(n.rx.missing) > 0 {
				n.belate(which, classicSeq(m))
			} else {
				n.takeSet(which) // this node had given up waiting for it
			}
			return
		}
		fallthrough
	default:
		n.report(Info, "Ignored standby message 'done' from %s in state %d", n.peer.name, c.standby.phase)
	}
}

// mayBeVoid tells that the peer may have taken this node for dead since the hand-over began, and the set back, and that what it said of that may not have arrived.
// Linux-HA says nevertheless, when the scripts of its hand-over end, that it has given the set up.
func (n *Node) mayBeVoid(m wire.Message) bool {
	s := &n.classic.standby
	if !n.classic.missedUs && n.now.Mono < s.since+n.cfg.Deadtime-n.cfg.Keepalive {
		return false
	}
	return slices.ContainsFunc(n.rx.missing, func(l lost) bool { return l.seq > s.after && l.seq < classicSeq(m) })
}

// voidHandover ends a hand-over whose giver has taken this node for dead since.
func (n *Node) voidHandover(seq uint64) {
	c := &n.classic
	if c.standby.phase != standbyOther || seq <= c.standby.after {
		return
	}
	n.transition(Warn, n.peer.name+" has taken this node for dead since", "Hand-over of %s resources from %s has failed: they stay there. Ask for it again when that node has settled", c.standby.which, n.peer.name)
	c.standby = handover{}
}

// belate asks the peer what it holds, since its word that it has given a set up is not to be relied on by itself.
func (n *Node) belate(which claim, seq uint64) {
	c := &n.classic
	c.belated = handover{which: which, after: seq}
	c.standby, c.told, c.ask = handover{}, false, true
}

// takeBelated goes on with a hand-over when the peer has said after its end that it does not hold the set. It waits for the word that this node has taken it, and
// would ignore every request until then.
func (n *Node) takeBelated(m wire.Message) {
	c := &n.classic
	b := c.belated
	if b.which == claimNone || c.standby.phase != standbyNone || m.Get(fieldStable) != "1" || classicSeq(m) <= b.after || n.late(m) {
		return
	}
	c.belated = handover{}
	if c.otherHolds&b.which == claimNone {
		n.takeSet(b.which)
	}
}

// grant lets the peer go standby.
func (n *Node) grant(which claim, seq uint64) {
	c := &n.classic
	switch {
	case c.broken.phase != standbyNone:
		return // it ignores its own request: it still waits for what was broken off here
	case !n.nice():
		n.report(Warn, "Standby mode only implemented when nice_failback on: %s asked to go standby", n.peer.name)
		return
	case !c.otherStable, c.returned.at > 0:
		n.report(Warn, "standby message [me] from %s ignored.  Other side is in flux.", n.peer.name)
		return
	case c.state != rscStable:
		n.report(Warn, "standby message [me] from %s ignored.  local resources in flux.", n.peer.name)
		return
	}
	n.report(Info, "%s wants to go standby [%s]", n.peer.name, which)
	if which == claimForeign && c.told && c.otherHolds&which == claimNone && (c.tookAt == 0 || n.now.Mono > c.tookAt+standbyGrant) {
		n.report(Warn, "%s wants to give %s resources, none of which it holds. Linux-HA does that half a minute after a resource of its own could "+
			"not be started, which is then nowhere: look at its log; `heartbeat takeover foreign` here takes its resources", n.peer.name, which)
	}
	c.otherStable = false
	c.standby = handover{phase: standbyOther, which: which, since: n.now.Mono, until: n.now.Mono + grantUsed, after: seq}
	n.order(n.ask("other"))
	n.prepareSet(which.swap())
}

// prepareSet does what can be done of taking a set while the peer is still at its scripts: nobody misses anything yet.
func (n *Node) prepareSet(which claim) {
	for _, g := range n.groups {
		if which&n.setOf(g) != 0 && n.mayPrepare(g) {
			n.prepare(g, 0)
		}
	}
}

// expireHandover ends a hand-over that got no answer.
func (n *Node) expireHandover() {
	c := &n.classic
	if c.standby.until == 0 || n.now.Mono < c.standby.until || c.standby.phase == standbyNone {
		return
	}
	n.transition(Warn, "it was not answered in time", "No reply to standby request.  Standby request cancelled.")
	c.standby = handover{}
	c.otherStable = true
	n.sendResource("")
	if c.unanswered++; c.unanswered%unansweredMax == 0 {
		n.unblock()
	}
}

// unblock frees a peer that ignores all requests because it waits, for an hour, for the end of a hand-over that this node knows nothing of: a
// grant that came too late, or to a daemon that was restarted. The end of it is all that it waits for; it is said of what neither node
// claims, which the peer takes then, or of what the peer holds already.
func (n *Node) unblock() {
	c := &n.classic
	which := claimAll &^ (c.mine | c.otherHolds.swap())
	if which == claimNone {
		which = c.otherHolds.swap()
	}
	for _, g := range n.groups {
		if which&n.setOf(g) != 0 && g.hold != holdIdle {
			return
		}
	}
	if which == claimNone {
		return
	}
	n.report(Warn, "%s answers no request: perhaps it waits for the end of an earlier hand-over", n.peer.name)
	c.standby = handover{phase: standbyDone, which: which, giving: true, until: n.now.Mono + standbyGrant, after: n.rx.last}
	n.send(n.ask("done"))
}

// handoverStep says done when this node's part of a hand-over has settled.
func (n *Node) handoverStep() {
	c := &n.classic
	s := &c.standby
	if !s.working {
		n.resumeHandover()
		return
	}
	set := s.which
	if !s.giving {
		set = set.swap()
	}
	if !n.setSettled(set) {
		return
	}
	if s.giving && n.breakOff() {
		return
	}
	s.working = false
	n.send(n.ask("done"))
	if s.giving {
		n.report(Info, "Local standby process completed [%s].", s.which)
		s.phase = standbyDone
		return
	}
	n.transition(Info, "planned hand-over", "Standby resource acquisition done [%s].", s.which)
	c.standby = handover{}
	n.sendResource("")
}

// breakOff ends a hand-over in which something could not be stopped: the peer must not start it, so everything of the set stays here. The peer
// goes on waiting until its own hour is over; the hand-over goes on where it ended when somebody has mended what was stuck.
func (n *Node) breakOff() bool {
	c := &n.classic
	g := n.stuckIn(c.standby.which)
	if g == nil {
		return false
	}
	n.transition(Crit, g.Name+" could not be stopped: "+g.reason, "Hand-over of %s resources to %s broken off: they stay here", c.standby.which, n.peer.name)
	c.broken, c.standby = c.standby, handover{}
	c.otherStable = true
	n.claimSet(c.mine | c.broken.held)
	n.sendResource("")
	return true
}

// resumeHandover goes on with a hand-over that was broken off.
func (n *Node) resumeHandover() {
	c := &n.classic
	if c.broken.phase == standbyNone || n.stuckIn(c.broken.which) != nil {
		return
	}
	if n.now.Mono < c.broken.until {
		n.report(Info, "Hand-over of %s resources to %s goes on", c.broken.which, n.peer.name)
		c.standby = handover{phase: standbyMe, which: c.broken.which, giving: true, until: c.broken.until}
		c.otherStable = false
		n.giveSet()
	}
	c.broken = handover{}
}

// stuckIn is a group of a set that could not be stopped, nil for none.
func (n *Node) stuckIn(which claim) *group {
	for _, g := range n.groups {
		if which&n.setOf(g) != 0 && g.hold == holdStuck {
			return g
		}
	}
	return nil
}
