package heartbeat

import (
	"maps"
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
	giving  bool  // this node goes standby
	granted bool
	working bool // this node's part is under way: say done when the groups have settled
	until   time.Duration
}

// startHandover asks the peer to take a set (info=me).
func (n *Node) startHandover(which claim) {
	c := &n.classic
	c.standby = handover{phase: standbyMe, which: which, giving: true, until: n.now.Mono + standbyGrant}
	c.otherStable = false
	n.report(Info, "%s wants to go standby [%s]", n.cfg.Node, which)
	n.ask("me")
}

func (n *Node) ask(info string) {
	m := wire.New(typeAsk)
	m.Add(fieldHold, n.classic.standby.which.String())
	m.Add(fieldInfo, info)
	n.send(m)
}

// classicStandby starts a hand-over on request.
func (n *Node) classicStandby(ev Request) error {
	if err := n.classicReady(); err != nil {
		return err
	}
	which := claimAll
	switch ev.Which {
	case "local":
		which = claimLocal
	case "foreign", "failback":
		which = claimForeign
	}
	if ev.Group != "" {
		list, _ := n.selected(ev)
		which = n.setOf(list[0]) // Linux-HA moves whole sets
	}
	n.startHandover(which)
	return nil
}

// classicTakeover asks the peer to go standby.
func (n *Node) classicTakeover(ev Request) error {
	if err := n.classicReady(); err != nil {
		return err
	}
	which := ev.Which
	switch {
	case ev.Group != "":
		list, _ := n.selected(ev)
		which = n.setOf(list[0]).String()
	case which == "failback":
		which = claimLocal.String() // the original says nothing here and so moves everything
	case which == "":
		which = claimAll.String()
	}
	m := wire.New(typeTakeover)
	m.Add(fieldHold, which)
	n.send(m)
	return nil
}

// classicTakeoverAsked is hb_takeover on the peer: this node goes standby with the same groups.
func (n *Node) classicTakeoverAsked(m wire.Message) {
	which, ok := parseClaim(m.Get(fieldHold))
	if !ok || which == claimNone {
		which = claimAll // what the original's script does when it is not told
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
	info := m.Get(fieldInfo)
	switch {
	case info == "me" && c.standby.phase == standbyNone:
		n.grant(which)
	case info == "me":
		n.report(Warn, "Standby in progress- new request from %s ignored [%d seconds left]", n.peer.name,
			int((c.standby.until - n.now.Mono).Seconds()))
	case info == "other" && c.standby.phase == standbyMe && !c.standby.granted:
		n.report(Info, "standby: %s can take our %s resources", n.peer.name, c.standby.which)
		c.standby.granted, c.standby.working = true, true
		c.standby.until = n.now.Mono + standbyWork
		n.claimSet(c.mine &^ c.standby.which)
		n.sendResource(infoStandby)
	case info == "done" && c.standby.phase == standbyOther:
		n.report(Info, "standby: acquire [%s] resources from %s", c.standby.which, n.peer.name)
		c.standby.phase, c.standby.working = standbyDone, true
		c.standby.until = n.now.Mono + standbyWork
		n.claimSet(c.mine | c.standby.which.swap())
	case info == "done" && c.standby.phase == standbyDone && c.standby.giving:
		n.transition(Info, "planned hand-over", "Other node completed standby takeover of %s resources.", c.standby.which)
		c.standby = handover{}
		n.sendResource("")
	case info == "done" && c.left:
		// the original says this on its way out; everything is taken over already
	default:
		n.report(LevelError, "Ignored standby message '%s' from %s in state %d", info, n.peer.name, c.standby.phase)
	}
}

// grant lets the peer go standby.
func (n *Node) grant(which claim) {
	c := &n.classic
	switch {
	case !c.otherStable:
		n.report(Warn, "standby message [me] from %s ignored.  Other side is in flux.", n.peer.name)
		return
	case c.state != rscStable:
		n.report(Warn, "standby message [me] from %s ignored.  local resources in flux.", n.peer.name)
		return
	}
	n.report(Info, "%s wants to go standby [%s]", n.peer.name, which)
	c.otherStable = false
	c.standby = handover{phase: standbyOther, which: which, until: n.now.Mono + standbyWork}
	n.ask("other")
}

// handoverStep says done when this node's part of a hand-over has settled.
func (n *Node) handoverStep() {
	c := &n.classic
	s := &c.standby
	if !s.working {
		return
	}
	for _, g := range n.groups {
		if s.giving && g.hold == holdStuck && s.which&n.setOf(g) != 0 {
			return // something may still run: the peer must not start it
		}
	}
	s.working = false
	n.ask("done")
	if s.giving {
		n.report(Info, "Local standby process completed [%s].", s.which)
		s.phase = standbyDone
		return
	}
	n.transition(Info, "planned hand-over", "Standby resource acquisition done [%s].", s.which)
	c.standby = handover{}
	n.sendResource("")
}

// Legacy mode: each node asks for its own groups at start, and the other gives them up (protocol section 7.3).

// legacyAsk asks the peer for this node's own groups.
func (n *Node) legacyAsk() {
	n.classic.requests = map[string]time.Duration{}
	for _, g := range n.groups {
		if g.Preferred == n.cfg.Node {
			n.classic.requests[g.Name] = n.now.Mono
		}
	}
	n.legacyRetry()
}

func (n *Node) legacyRetry() {
	for _, key := range slices.Sorted(maps.Keys(n.classic.requests)) {
		if n.now.Mono < n.classic.requests[key] {
			continue
		}
		n.classic.requests[key] = n.now.Mono + ipRequestRetry
		m := wire.New(typeIPRequest)
		m.Add(fieldIP, key)
		n.send(m)
	}
}

// legacyAsked gives a group up and answers when that is done.
func (n *Node) legacyAsked(m wire.Message) {
	key := m.Get(fieldIP)
	if n.classic.owed == nil {
		n.classic.owed = map[string]bool{}
	}
	for _, g := range n.groups {
		if g.Name == key && g.hold.runs() {
			g.claim = false
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
	if m.Get("ok") != "OK" || n.stop.asked {
		return
	}
	if _, asked := n.classic.requests[key]; !asked {
		return
	}
	delete(n.classic.requests, key)
	for _, g := range n.groups {
		if g.Name == key {
			g.claim = true
		}
	}
}
