package heartbeat

import (
	"fmt"
	"strconv"
	"time"

	"hapair/heartbeat/wire"
)

// Values of the status message's field st (protocol section 6.1).
const (
	memberInit   = "init"
	memberUp     = "up"
	memberActive = "active"
)

// never is a time before any other.
const never = time.Duration(-1 << 62)

// stallIgnored is how late the loop may be before it counts as a stall: a scheduler's ordinary delay.
const stallIgnored = 5 * time.Millisecond

// life is what this node believes of the other.
type life int

const (
	lifeUnknown life = iota // not heard since this node started
	lifeAlive
	lifeDead // silent for its dead time
	lifeLeft // said goodbye
)

// kind is what program the peer runs, as far as decisions go.
type kind int

const (
	kindUnknown kind = iota
	kindOurs
	kindClassic // Linux-HA Heartbeat
)

func (k kind) String() string { return [...]string{"", "hapair", "linux-ha"}[k] }

// peer is the other node as known from its messages.
type peer struct {
	name       string
	kind       kind
	life       life
	member     string
	uuid       [16]byte
	lastHeard  time.Duration
	lastGap    time.Duration // when its last status came, for the late warning
	lastStatus time.Duration // when the last believed hello came
	warned     bool
	notBefore  time.Duration // a pause: silence means nothing before then
	hearOut    time.Duration // after a sleep of this node: silence means nothing before then either
	stopping   bool          // a Linux-HA node that has begun to stop, see stoppingPatience
	woken      time.Duration // the lastHeard for which a sleep of this node has already been followed by listening anew
	grace      time.Duration // how long this node itself was asleep since it last heard the peer
	deadtime   time.Duration // as announced by the peer
	since      time.Duration // when it became active: failback waits from here
	back       time.Duration // when it was heard again, or first: since then it was never silent for deadtime

	hello      hello // its last hello
	reflected  bool  // after it was taken for dead it has been heard again, but no status of it yet
	proven     bool  // it has echoed this run's challenge
	current    bool  // its statement about the groups is the newest
	seen       uint64
	bases      string        // its addresses on the service networks
	lastDirect time.Duration // when it was last heard on a link between the nodes
	macs       []string      // hardware addresses of its service interfaces
	pinged     time.Duration // since then every ping node that it reaches has answered it
	digest     string        // what it says of its files, scripts and program
	clockAhead time.Duration // of its wall clock before this node's, as its last status told
	leased     bool          // its right to answer ends with its daemon
	watchdog   time.Duration // its machine is reset when its daemon does not run for so long; 0 for no watchdog
	deviceTime time.Duration // how long its fencing device takes to reset this node; 0 while it does not say
	idle       bool          // when it died it certainly held nothing
	acked      uint64        // the newest version of our statement that it has processed
}

func newPeer(cfg Config) peer {
	return peer{name: cfg.Peer, lastHeard: never, lastGap: never, woken: never, deadtime: cfg.Deadtime}
}

// newRun forgets what belonged to the peer's previous run.
func (p *peer) newRun(m wire.Message) {
	kept := *p
	*p = peer{name: kept.name, life: kept.life, lastHeard: kept.lastHeard, lastGap: never, woken: never, deadtime: kept.deadtime, uuid: kept.uuid,
		notBefore: kept.notBefore, back: kept.back, deviceTime: kept.deviceTime}
	if p.life == lifeLeft {
		p.life = lifeDead
	}
	if _, ours := parseHello(m); ours {
		p.kind = kindOurs
	} else {
		p.kind = kindClassic
	}
}

// unproven tells that a node of ours has not answered the challenge yet: only its presence is believed.
func (p *peer) unproven() bool { return p.kind == kindOurs && !p.proven }

// deadAt is when silence becomes death.
func (p *peer) deadAt() time.Duration { return max(p.silentAt(), p.notBefore, p.hearOut) }

// stoppingPatience is how long a Linux-HA node that stops may be silent at least: from then on it does without its realtime priority, and on a busy machine
// three seconds can pass before it runs again. It still holds then what it has not given up.
const stoppingPatience = 5 * time.Second

// silentAt is when it has been silent for its dead time.
func (p *peer) silentAt() time.Duration { return p.lastHeard + p.patience() }

// patience is what it is allowed, and more where this node was late itself.
func (p *peer) patience() time.Duration { return p.allowed() + p.grace }

// allowed is its dead time, or what it gets while it stops.
func (p *peer) allowed() time.Duration {
	if p.stopping {
		return max(p.deadtime, stoppingPatience)
	}
	return p.deadtime
}

func (p *peer) deadlines(n *Node, sooner func(time.Duration)) {
	if p.name == "" {
		return
	}
	if p.life == lifeAlive {
		sooner(p.deadAt())
		if !p.warned {
			sooner(p.lastHeard + n.cfg.Warntime)
		}
	}
	if p.life == lifeUnknown {
		sooner(n.initdeadAt())
	}
	if n.stirs() {
		sooner(p.silentAt())
	}
	if n.cfg.Failback != FailbackOff && p.life == lifeAlive {
		sooner(p.since + n.cfg.FailbackDelay)
	}
}

// initdeadAt is when a peer that was never heard counts as dead.
func (n *Node) initdeadAt() time.Duration { return n.started.Mono + n.cfg.Initdead }

// Link states.
const (
	linkUp       = "up"
	linkLate     = "late"
	linkOneWay   = "oneway" // heard, and the peer says that it hears nothing on it
	linkDead     = "dead"
	linkUnusable = "unusable"
)

// link is one medium: when the peer was last heard on it.
type link struct {
	LinkConfig
	lastHeard time.Duration
	state     string
	received  uint64
	localDown bool
	reason    string
	flaps     flaps
	made      time.Duration // of a mirror: when it was first used
	deafSince time.Duration // since when the peer says that it hears nothing on it; never where it does not say so
}

// flaps keeps a link that comes and goes from filling the log: so many changes are told in a period, the others summed up after it.
type flaps struct {
	since  time.Duration // when the period began
	told   int
	untold int
}

const (
	flapPeriod = 10 * time.Second
	flapsTold  = 4 // in a period: it is lost and comes back, twice
)

// linkChanged tells that a link was lost or came back, unless that happens all the time.
func (n *Node) linkChanged(l *link, level Level, reason, what string) {
	if n.now.Mono-l.flaps.since >= flapPeriod {
		l.flaps = flaps{since: n.now.Mono}
	}
	if l.flaps.told >= flapsTold {
		l.flaps.untold++
		return
	}
	l.flaps.told++
	n.transition(level, reason, "Link %s:%s %s.", n.peer.name, l.Name, what)
}

// sumFlaps tells at the end of a period what was left out in it, and how the link is now.
func (n *Node) sumFlaps(l *link) {
	if l.flaps.untold == 0 || n.now.Mono-l.flaps.since < flapPeriod {
		return
	}
	reason := strconv.Itoa(l.flaps.untold) + " more changes within " + flapPeriod.String() + ": it loses frames"
	level, what := Info, "up"
	if l.state != linkUp {
		level, what = Warn, l.state
	}
	l.flaps = flaps{since: n.now.Mono, told: flapsTold - 1}
	n.transition(level, reason, "Link %s:%s %s.", n.peer.name, l.Name, what)
}

func (l *link) deadlines(n *Node, sooner func(time.Duration)) {
	late, dead := l.patience(n)
	if l.Kind == kindMirror && l.lastHeard == never && l.state == linkDead {
		sooner(max(l.made, n.peer.back) + mirrorTrial)
	}
	switch l.state {
	case linkUp:
		sooner(l.lastHeard + late)
		if l.deafSince != never {
			sooner(l.deafSince + dead)
		}
	case linkOneWay:
		sooner(l.lastHeard + dead)
	case linkLate:
		sooner(l.lastHeard + dead)
	}
}

// ping is a ping node or group.
type ping struct {
	PingConfig
	lastHeard  time.Duration
	up         bool
	unanswered int // echoes sent since the last answer
}

func (n *Node) pingByLink(id string) *ping {
	for _, p := range n.pings {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// noticeOversleep is the own-stall rule: a node that was itself asleep grants the peer the time it slept, at most one dead time
// in all, and a round of heartbeats after it wakes, once: what was sent while it slept may be lost. And one that was silent for its own dead time while it held something releases that before it says another word.
func (n *Node) noticeOversleep(overslept time.Duration) {
	if overslept >= timingFirst {
		n.timing.Stalls.Add(overslept)
	}
	if overslept <= stallIgnored {
		return
	}
	p := &n.peer
	if overslept >= n.cfg.Keepalive {
		n.listenUntil = n.now.Mono + min(n.cfg.Keepalive*3/2, n.cfg.Deadtime)
	}
	if p.life == lifeAlive {
		p.grace = min(p.grace+overslept, p.deadtime)
		if overslept >= n.cfg.Keepalive && p.woken != p.lastHeard {
			p.woken = p.lastHeard
			p.hearOut = n.now.Mono + min(n.cfg.Keepalive*3/2, p.deadtime)
		}
	}
	if n.mute {
		return
	}
	silent := max(n.now.Mono-n.tx.status.Mono, n.now.Boot-n.tx.status.Boot)
	if silent < n.cfg.Deadtime || n.member != memberActive {
		n.noticeLapse(silent)
		if overslept >= n.cfg.Keepalive {
			n.reportLimited("stall", Warn, "This node stood still for %v: its own heartbeats were late and the peer gets as much patience", overslept.Round(time.Millisecond))
		}
		return
	}
	if p.name == "" {
		n.report(Warn, "This node stood still for %v", overslept.Round(time.Millisecond))
		n.noticeLapse(silent)
		return
	}
	if p.life == lifeDead || p.life == lifeLeft {
		n.report(Warn, "This node stood still for %v; %s was already gone before", overslept.Round(time.Millisecond), p.name)
		n.noticeLapse(silent)
		return
	}
	if n.pauseHeld() {
		n.report(Warn, "This node stood still for %v; takeover is paused, so it goes on", overslept.Round(time.Millisecond))
		n.noticeLapse(silent)
		return
	}
	reason := fmt.Sprintf("stood still for %v and sent nothing for %v, deadtime is %v", overslept.Round(time.Millisecond), silent.Round(time.Millisecond), n.cfg.Deadtime) +
		": the peer may have taken over"
	n.transition(Crit, reason, "This node lets go of everything")
	for _, g := range n.groups {
		if g.hold == holdAcquiring || g.hold == holdHeld {
			n.expireLease(g)
			n.release(g, reason)
			n.mute, n.muteUntil = true, n.now.Mono+n.cfg.Deadtime
		}
	}
	if n.mute && p.life == lifeAlive {
		p.hearOut = n.muteUntil + n.listening() // until then it has no reason to speak up where nothing but mirrors connects the nodes
	}
	n.classicSlept()
	n.resetBeliefs()
}

// listening is how long a peer that lives may take to be heard once this node speaks again: it says something by itself within a heartbeat
// interval, or answers by way of a mirror at the rhythm of those.
func (n *Node) listening() time.Duration {
	wait := n.cfg.Keepalive * 3 / 2
	if n.cfg.Mirrors {
		wait = max(wait, 2*n.mirrorRhythm())
	}
	return min(wait, n.peer.deadtime)
}

// resetBeliefs makes the node ask again before it believes anything it knew of the peer's holdings.
func (n *Node) resetBeliefs() {
	n.peer.current = false
	n.peer.acked = 0
	n.peer.seen = 0
	n.changed()
	for _, g := range n.groups {
		g.wantedAt = n.version // a wish acknowledged before the sleep grants nothing after it
	}
}

// heardOn notes that a message of the peer that is of the moment at came over one link.
func (n *Node) heardOn(id string, at time.Duration) {
	for _, l := range n.links {
		if l.ID != id {
			continue
		}
		l.received++
		if l.Kind != kindMirror {
			n.peer.lastDirect = max(n.peer.lastDirect, at)
		}
		l.lastHeard = max(l.lastHeard, at)
		if l.state == linkUp || l.state == linkOneWay || n.now.Mono-at >= n.cfg.Warntime {
			continue
		}
		if l.state != linkLate {
			n.linkChanged(l, Info, "heard "+n.peer.name+" on it", linkUp)
		}
		l.state, l.localDown, l.reason = linkUp, false, ""
	}
}

// linkState notes what the daemon says of the local end.
func (n *Node) linkState(ev LinkState) {
	n.mirrorLink(ev.Link)
	for _, l := range n.links {
		if l.ID != ev.Link {
			continue
		}
		if ev.Up {
			l.localDown, l.reason = false, ""
			if l.state == linkUnusable {
				l.state = linkDead
			}
			continue
		}
		if !l.localDown || l.reason != ev.Reason {
			n.transition(Warn, ev.Reason, "Link %s:%s unusable here.", n.cfg.Node, l.Name)
		}
		l.localDown, l.reason, l.state = true, ev.Reason, linkUnusable
	}
}

// peerStatus processes a status of the peer that was kept.
func (n *Node) peerStatus(m wire.Message, num number) {
	p := &n.peer
	if uuid := m.Get("srcuuid"); len(uuid) == 16 {
		copy(p.uuid[:], uuid)
	}
	if dt, err := strconv.ParseUint(m.Get("dt"), 16, 31); err == nil && dt > 0 {
		p.deadtime = time.Duration(dt) * time.Millisecond
	}
	if p.lastGap != never && p.life == lifeAlive {
		if gap := n.now.Mono - p.lastGap; gap > n.cfg.Warntime {
			n.reportLimited("late", Warn, "Late heartbeat: Node %s: interval %d ms", p.name, gap.Milliseconds())
		}
	}
	if num.seq < n.rx.statusSeq {
		return // an older status that was late must not undo a newer one
	}
	n.rx.statusSeq = num.seq
	p.lastGap = n.now.Mono
	n.readClock(m)
	hello, ours := parseHello(m)
	if ours {
		n.greet(hello, m)
	}
	if p.life != lifeAlive && !(ours && hello.gone) && !n.classic.left {
		n.peerAppears()
	}
	if st := m.Get("st"); st != p.member && p.life == lifeAlive {
		p.member = st
		if st == memberActive {
			p.since = n.now.Mono
		}
		n.report(Info, "Status update for node %s: status %s", p.name, st)
		n.do(Notify{Msg: statusNote(p.name, st, num.seq, n.now)})
	}
	if p.kind == kindClassic {
		n.classicStatus()
	}
}

// statusNote is the message that the rc.d script `status` is told about (protocol section 8.2).
func statusNote(node, st string, seq uint64, now Instant) wire.Message {
	m := wire.New(typeStatus)
	m.Add("st", st)
	m.Add("src", node)
	m.Add("seq", strconv.FormatUint(seq, 16))
	m.Add("ts", strconv.FormatInt(now.Wall.Unix(), 16))
	return m
}

// peerAppears is the first sign of a peer that was unknown, dead or gone.
func (n *Node) peerAppears() {
	p := &n.peer
	was := p.life
	p.life = lifeAlive
	p.member = ""
	p.back = n.now.Mono
	n.countReturn()
	n.endFencing()
	if n.boot.StartFenced {
		n.boot.StartFenced = false
		n.persist()
	}
	n.endLook(false)
	for _, g := range n.groups {
		g.yielded = false
	}
	n.changed()
	switch was {
	case lifeUnknown:
		n.transition(Info, "first heartbeat received", "Node %s appears (%s).", p.name, p.kind)
	default:
		n.transition(Warn, "heartbeats arrive again", "Node %s is back (%s).", p.name, p.kind)
		n.do(Hook{Event: "peer-back", Reason: "heartbeats of " + p.name + " arrive again"})
	}
}

// pingHeard notes an answer of a ping node.
func (n *Node) pingHeard(p *ping, m wire.Message) {
	if m.Get("src") != p.Name {
		return
	}
	p.lastHeard, p.unanswered = n.now.Mono, 0
	if !p.up {
		p.up = true
		n.transition(Info, "it answers", "Ping node %s is reachable.", p.Name)
	}
}

// watch looks at every deadline that has passed. Silence is judged at a Tick only: before one, all queues have been read, so that
// a node which was late itself does not take for silence what merely waits to be heard.
func (n *Node) watch(tick bool) {
	if tick {
		n.watchSilence()
	}
	n.askForLost()
	n.probe()
	n.reflect()
	n.echo()
	n.comeUp()
}

func (n *Node) watchSilence() {
	n.followPause()
	n.classicTick()
	n.watchIsolation()
	n.watchPeer()
	n.foresee()
	n.followCalm()
	n.watchMirrors()
	for _, l := range n.links {
		n.watchLink(l)
	}
	for _, p := range n.pings {
		if p.up && n.now.Mono-p.lastHeard >= n.cfg.Deadping {
			p.up = false
			n.transition(Warn, "no answer for "+n.cfg.Deadping.String(), "Ping node %s is dead.", p.Name)
		}
	}
}

// patience is when silence on a link makes it late, and when dead. A mirror is used seldom while the other links are heard.
func (l *link) patience(n *Node) (late, dead time.Duration) {
	late, dead = n.cfg.Warntime, n.peer.deadtime+n.peer.grace
	if l.Kind == kindMirror {
		return max(late, 2*mirrorSlow), max(dead, 3*mirrorSlow)
	}
	return late, dead
}

// watchLink follows the silence of the peer on one link.
func (n *Node) watchLink(l *link) {
	n.sumFlaps(l)
	if l.Kind == kindMirror {
		n.watchMirror(l)
	}
	silent := n.now.Mono - l.lastHeard
	late, dead := l.patience(n)
	if l.state == linkUp && silent >= late {
		l.state = linkLate
	}
	switch deaf := l.deafSince != never && n.now.Mono-l.deafSince >= dead; {
	case deaf && l.state == linkUp:
		l.state = linkOneWay
		n.linkChanged(l, Warn, n.peer.name+" says that it hears nothing of this node on it", "works in one direction only")
	case !deaf && l.state == linkOneWay:
		l.state = linkUp
		n.linkChanged(l, Info, n.peer.name+" hears this node on it", linkUp)
	}
	if (l.state == linkLate || l.state == linkOneWay) && silent >= dead {
		l.state = linkDead
		n.linkChanged(l, Warn, "nothing heard on it for "+silent.Round(time.Millisecond).String(), linkDead)
	}
}

// watchPeer declares the peer late or dead.
func (n *Node) watchPeer() {
	p := &n.peer
	switch p.life {
	case lifeUnknown:
		if p.name != "" && n.now.Mono >= n.initdeadAt() {
			p.life = lifeDead
			n.peerDied("not heard since this node started, initdead " + n.cfg.Initdead.String() + " is over")
		}
	case lifeAlive:
		silent := n.now.Mono - p.lastHeard
		if !p.warned && silent >= n.cfg.Warntime {
			p.warned = true
			n.reportLimited("latewarn", Warn, "Node %s is late: nothing heard for %d ms, dead at %d ms",
				p.name, silent.Milliseconds(), p.patience().Milliseconds())
		}
		if n.now.Mono >= p.deadAt() {
			p.life = lifeDead
			reason := "nothing heard on any link for " + silent.Round(time.Millisecond).String() + ", deadtime " + p.deadtime.String()
			if p.stopping {
				reason += ", of a Linux-HA node that is stopping " + p.allowed().String()
			}
			if p.grace > 0 {
				reason += " and " + p.grace.Round(time.Millisecond).String() + " of patience because this node itself was late"
			}
			n.peerDied(reason)
			n.takeHandFenced()
		}
	}
}

// peerDied is what follows from silence.
func (n *Node) peerDied(reason string) {
	p := &n.peer
	p.idle = p.current && n.peerIdle()
	if p.reflected {
		n.mirror.notUntil = n.now.Mono + mirrorPatience
	}
	p.current, p.proven, p.reflected, p.stopping = false, false, false, false
	n.rx.missing, n.taking = nil, ""
	if n.lapsed() { // whoever is cut off calls the other dead as this node does, an interval sooner or later, and has looked while nobody answered
		n.doubtUntil = max(n.doubtUntil, n.now.Mono+n.cfg.Keepalive*3/2+lookAhead)
	}
	n.transition(Warn, reason, "node %s: is dead", p.name)
	n.do(Hook{Event: "peer-lost", Reason: reason})
	n.do(Notify{Msg: statusNote(p.name, "dead", 1, n.now)})
	n.changed()
	if n.split != (Instant{}) {
		n.split = Instant{}
	}
	n.classicDied()
}

// comeUp moves the own status from init over up to active, when the peer's state is known (protocol section 6.3).
func (n *Node) comeUp() {
	if n.member == memberInit {
		n.member = memberUp
		n.report(Info, "Local status now set to: 'up'")
		n.changed()
		for _, g := range n.groups {
			n.examine(g)
		}
		n.tellLoop()
		n.persist() // from here on the run before is over, and this one has not ended politely
	}
	if n.member != memberUp || !n.peerKnown() {
		return
	}
	n.member = memberActive
	n.report(Info, "Comm_now_up(): updating status to active")
	n.report(Info, "Local status now set to: 'active'")
	n.changed()
	n.classicCommUp()
}

// peerKnown tells whether the peer's state is certain enough to begin.
func (n *Node) peerKnown() bool {
	switch p := &n.peer; {
	case p.name == "", p.life == lifeDead, p.life == lifeLeft:
		return true
	case p.life == lifeUnknown:
		return false
	case p.kind == kindOurs:
		return p.proven
	default:
		return n.classicKnown()
	}
}
