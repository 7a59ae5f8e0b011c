package heartbeat

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/wire"
)

// saying is one message in which the peer said something about what it holds. Linux-HA acts on messages in the order in which they
// arrive; here they are put into the order in which they were said, so that one which was lost and sent again does not undo a later one.
type saying struct {
	seq  uint64
	full bool // holds is all that it holds; otherwise it is added
	gone bool // holds is taken away
	hold claim
}

// sayingsKept is more than what can be under way at once.
const sayingsKept = 32

// hear notes a saying and works out what the peer holds.
func (n *Node) hear(s saying) {
	c := &n.classic
	if s.hold == claimNone && !s.gone {
		s.full = true // protocol section 7.12: none is always everything
	}
	i, _ := slices.BinarySearchFunc(c.sayings, s.seq, func(have saying, seq uint64) int { return int(int64(have.seq) - int64(seq)) })
	if len(c.sayings) == sayingsKept && i == 0 {
		return
	}
	c.sayings = slices.Insert(c.sayings, i, s)
	for j := len(c.sayings) - 1; j > 0; j-- {
		if c.sayings[j].full {
			c.sayings = slices.Delete(c.sayings, 0, j)
			break
		}
	}
	if len(c.sayings) > sayingsKept {
		c.sayings = slices.Delete(c.sayings, 0, 1)
	}
	holds := claimNone
	if !c.sayings[0].full {
		holds = c.otherHolds // nothing is known of what was before
	}
	for _, s := range c.sayings {
		switch {
		case s.gone:
			holds &^= s.hold
		case s.full:
			holds = s.hold
		default:
			holds |= s.hold
		}
	}
	c.otherHolds = holds
}

// classicSeq is a message's place in the peer's run.
func classicSeq(m wire.Message) uint64 {
	seq, _ := strconv.ParseUint(m.Get("seq"), 16, 64)
	return seq
}

// late tells that a message was said so long ago, by the number of heartbeats since, that its sender may have taken this node for dead
// after it: what it grants is not to be relied on.
func (n *Node) late(m wire.Message) bool {
	since := n.rx.last - min(classicSeq(m), n.rx.last)
	return time.Duration(since)*n.cfg.Keepalive >= n.cfg.Deadtime/2
}

// sendResource says what this node holds.
func (n *Node) sendResource(info string) {
	c := &n.classic
	if !n.nice() && info != infoShutdown {
		return
	}
	m := wire.New(typeResource)
	m.Add(fieldHold, c.mine.String())
	m.Add("rtype", "full")
	stable := "0"
	if c.state == rscStable && c.standby.phase == standbyNone && info != infoStandby {
		stable = "1"
	}
	m.Add(fieldStable, stable)
	if info != "" {
		m.Add(fieldInfo, info)
	}
	n.send(m)
	c.newest, c.sayAgain, c.confirmAt = n.tx.seq, false, n.now.Mono+confirmAfter
	n.received()
}

// received enters rscReceived once: having said what it holds while starting counts as having heard it (protocol section 7.12).
func (n *Node) received() {
	c := &n.classic
	if c.state == rscStarting || c.state == rscBothStarting {
		c.state = rscReceived
		if c.receivedAt == 0 {
			c.receivedAt = max(n.now.Mono, 1)
		}
	}
}

// classicResent is told which message a Linux-HA peer is sent again. It believes what it processes last, so an old claim has to be
// followed by the present one.
func (n *Node) classicResent(m wire.Message, seq uint64) {
	if k := m.Kind(); (k == typeResource || k == typeStarting) && seq < n.classic.newest {
		n.classic.sayAgain = true
	}
}

// askHoldings asks the peer what it holds, as a node that starts does. A node that is stable says at once that it still is.
func (n *Node) askHoldings() {
	c := &n.classic
	c.ask, c.dormant, c.told = false, false, false
	c.askAt = n.now.Mono + askRetry
	n.send(wire.New(typeStarting))
	c.newest = n.tx.seq
	if c.state == rscStable {
		n.sendResource("")
	}
}

// classicMessage handles a message of a Linux-HA peer; false means that it is for others (rc.d).
func (n *Node) classicMessage(m wire.Message) bool {
	c := &n.classic
	switch m.Kind() {
	case typeReqnodes:
		answer := wire.Message{}
		answer.Add("dest", n.peer.name)
		answer.Add("t", typeRepnodes)
		answer.Add("nodelist", strings.Join(n.cfg.Nodes, " ")+" ")
		answer.Add("delnodelist", " ")
		n.send(answer)
	case typeRepnodes:
		c.answered = true
		n.look.answer(n.now.Mono + n.cfg.Keepalive)
	case typeShutdone:
		n.classicLeft()
	case typeStarting, typeResource, typeAsk, typeTakeover, typeIPRequest, typeIPResponse, typeStonith:
		if n.member == memberActive && n.cfg.Managed && !c.left {
			n.classicResource(m)
		}
	default:
		return n.ipfailMessage(m)
	}
	return true
}

func (n *Node) classicResource(m wire.Message) {
	switch m.Kind() {
	case typeStarting:
		n.classicStarting(m)
	case typeResource:
		n.classicHoldings(m)
	case typeAsk:
		n.classicAsk(m)
	case typeTakeover:
		n.classicTakeoverAsked(m)
	case typeIPRequest:
		n.legacyAsked(m)
	case typeIPResponse:
		n.legacyAnswered(m)
	case typeStonith:
		n.classicStonith(m)
	}
}

// classicStarting answers a node that begins to negotiate.
func (n *Node) classicStarting(m wire.Message) {
	c := &n.classic
	if !n.nice() {
		n.reportLimited("mode", LevelError, "%s does not run with auto_failback legacy, this node does: write the same auto_failback "+
			"into ha.cf on both nodes", n.peer.name)
		return
	}
	if seq := classicSeq(m); seq > c.stableSeq {
		c.stableSeq, c.otherStable = seq, false
	}
	if c.dormant {
		return
	}
	if c.state == rscStarting {
		c.state = rscBothStarting
	}
	n.sendResource("")
}

// classicHoldings processes the peer's claims (protocol section 7.2).
func (n *Node) classicHoldings(m wire.Message) {
	c := &n.classic
	held, ok := parseClaim(m.Get(fieldHold))
	if !ok {
		n.reportLimited("hold", LevelError, "resource message without rsc_hold field.")
		return
	}
	seq := classicSeq(m)
	full := m.Get("rtype") == "full"
	n.hear(saying{seq: seq, full: full, hold: held})
	if full {
		c.told, c.askAt = true, 0
	}
	if !n.nice() {
		if m.Get(fieldInfo) == infoShutdown {
			n.peer.stopping = true
		}
		return
	}
	if !c.dormant {
		n.received()
	}
	switch m.Get(fieldInfo) {
	case infoOurs:
		n.peerReported()
		n.voidHandover(seq)
	case infoShutdown:
		if !n.peer.stopping {
			n.prepareSet(claimAll)
		}
		n.peer.stopping = true
	case infoStandby:
		if c.standby.phase == standbyOther && seq > c.standby.after {
			c.standby.until = n.now.Mono + standbyWork
		}
	}
	if stable := m.Get(fieldStable); stable != "" && seq > c.stableSeq {
		c.stableSeq = seq
		n.classicStable(stable == "1" && !c.dormant)
	}
	if c.state < rscStable && c.otherStable && !n.peer.stopping {
		n.acquireLocal("the peer is stable")
	}
	if full {
		n.takeBelated(m)
	}
}

// classicStable notes whether the peer has settled, and answers when it has.
func (n *Node) classicStable(stable bool) {
	c := &n.classic
	if stable && !c.otherStable {
		n.report(Info, "remote resource transition completed.")
		c.otherStable = true
		if c.state >= rscStable { // otherwise it follows in a moment, with the own resources
			n.sendResource("")
		}
		c.failbackAt = max(n.now.Mono, 1)
	}
	c.otherStable = stable
}

// acquireLocal claims the own set unless the peer has it, and becomes stable. What a predecessor of this daemon left running is claimed with
// it, unless the peer has that.
func (n *Node) acquireLocal(reason string) {
	c := &n.classic
	c.waiting = reason
	adopted := claimNone
	for _, g := range n.groups {
		switch {
		case g.hold == holdUnknown:
			return // known in a moment; see convergeClassic
		case g.hold == holdAdopting && g.was:
			adopted |= n.setOf(g)
		}
	}
	c.state, c.receivedAt, c.waiting = rscStable, 0, ""
	n.claimSet(c.mine | adopted&^c.otherHolds.swap())
	if c.otherHolds&claimForeign != 0 || c.mine&claimLocal != 0 {
		n.report(Info, "Local Resource acquisition completed. (none)")
	} else {
		n.report(Info, "Acquiring own resources: %s", reason)
		n.claimSet(c.mine | claimLocal)
		c.acquiring = true
	}
	n.sendResource("")
	c.failbackAt = max(n.now.Mono, 1)
}

// classicLeft is the peer's shutdone: everything of it is stopped.
func (n *Node) classicLeft() {
	c := &n.classic
	if c.left {
		return
	}
	c.left = true
	n.peer.life, n.peer.stopping = lifeLeft, false
	c.otherHolds, c.sayings = claimNone, nil
	n.transition(Info, "it released everything and said shutdone", "Received shutdown notice from '%s'.", n.peer.name)
	if n.stop.asked {
		n.report(Info, "Resource takeover cancelled - shutdown in progress.")
		return
	}
	n.taking = ""
	n.classicAlone()
}

// classicGiveUp announces a polite stop to a Linux-HA peer.
func (n *Node) classicGiveUp() {
	c := &n.classic
	c.state = rscShutdown
	c.standby, c.sweeping, c.returned, c.requests = handover{}, sweeping{}, returning{}, nil
	c.askAt, c.failbackAt, c.acquiring, c.waiting = 0, 0, false, ""
	n.claimSet(claimNone)
	if n.peer.kind != kindClassic || n.member != memberActive {
		return
	}
	n.report(Info, "hb_giveup_resources(): current status: %s", n.member)
	n.sendResource(infoShutdown)
}

// classicShutdone tells a Linux-HA peer that everything is released.
func (n *Node) classicShutdone() {
	if n.peer.kind != kindClassic {
		return
	}
	n.report(Info, "All HA resources relinquished.")
	m := wire.New(typeShutdone)
	m.Add("st", "dead")
	n.send(m)
}
