package heartbeat

import (
	"fmt"
	"time"
)

// Fencing makes certain that a silent peer is off before anything of it is taken, where a device can do that. Who shoots when is ordered so
// that two healthy nodes that lost sight of each other do not shoot both: the one that serves shoots at once, although it takes nothing, the
// other waits. A node that hears no ping target never shoots, and a node that comes up without hearing its peer shoots once at most, so that
// no exchange of resets survives a reboot.

// deviceTimeUnknown stands for the time a device takes until it was measured, or its check.
const deviceTimeUnknown = 5 * time.Second

// deviceTimeMost bounds what is learnt of a device: some wait for a person.
const deviceTimeMost = time.Minute

// fencing is what is known of the certainty that the peer is off, since it was last heard.
type fencing struct {
	op        OpID
	began     time.Duration // when op did
	done      bool          // certain
	why       string        // why it is certain, for the log
	scheduled bool
	due       time.Duration // when to begin or try again
	notBefore time.Duration // this node was cut off itself until shortly before then
	tries     int
	run       uint32 // the peer's generation when the first attempt began; 0 for one never heard
	counted   bool   // this silence is in boot.Fences
	lastFail  string
	waiting   string // why nothing is done, "" when something is
}

// deadlines names when there is something to do.
func (f *fencing) deadlines(sooner func(time.Duration)) {
	if f.scheduled && !f.done && f.op == 0 {
		sooner(f.due)
	}
}

// certain tells whether a group of a silent peer may be taken. A peer that left politely, or that was stopping and had released everything,
// needs no proof; any other may be alive and about to take what this node believes it does not hold.
func (n *Node) certain(g *group) bool {
	p := &n.peer
	switch {
	case p.name == "" || p.life == lifeLeft || n.fence.done:
		return true
	case n.startWaits() != "":
		return false
	case n.cfg.Fencing:
		return n.peerHarmless()
	}
	return n.now.Mono >= n.watchdogAt(g)
}

// peerHarmless tells whether a dead peer holds nothing and would not have taken anything.
func (n *Node) peerHarmless() bool {
	return n.peer.lastHeard != never && n.peer.hello.leaving && n.peer.idle
}

// watchdogAt is when the peer's own watchdog has certainly reset it, for a group that two nodes would destroy; in the past where it announced
// none.
func (n *Node) watchdogAt(g *group) time.Duration {
	if !g.Fenced || n.peer.watchdog == 0 || n.peer.lastHeard == never {
		return 0
	}
	return n.peer.lastHeard + n.peer.watchdog + watchdogMargin
}

// watchdogMargin is how much later than it says a watchdog may bite.
const watchdogMargin = time.Second

func (n *Node) watchdogDeadline(sooner func(time.Duration)) {
	for _, g := range n.groups {
		if n.peer.life == lifeDead && !g.hold.owns() {
			sooner(n.watchdogAt(g))
		}
	}
}

// startWaits says why a peer that was not heard since this node started is not taken for dead without a person, "" when it is.
func (n *Node) startWaits() string {
	p := &n.peer
	if p.lastHeard != never || n.fence.done {
		return ""
	}
	switch n.cfg.Start {
	case StartAsk:
		return "start-policy is ask"
	case StartIfPing:
		if len(n.pings) > 0 && !n.pingHeardWithin(n.cfg.Deadping) {
			return "no ping node answers, and start-policy is start-if-ping"
		}
	}
	if n.cfg.Fencing && n.maybeShot {
		return "this node was reset while it waited to have " + p.name + " reset, which probably came first, and lives"
	}
	if n.cfg.Fencing && n.boot.StartFenced && !n.boot.Clean && !n.startFence {
		return p.name + " was already reset once at a start of this node, and was not heard since"
	}
	return ""
}

// fenceWaits says why a dead peer is not fenced now, "" when it is.
func (n *Node) fenceWaits() string {
	if why := n.startWaits(); why != "" {
		return why
	}
	if n.fencedTooOften() && !n.fence.counted {
		return n.whyTooOften()
	}
	if n.cutOff() {
		n.fence.scheduled = false
		n.fence.notBefore = n.now.Mono + n.peer.deadtime
		return whyCutOff
	}
	if !n.free() {
		if n.look.answered {
			return n.peer.name + " still answers on the service network: its heartbeat links are broken, the node is not"
		}
		return "looking whether " + n.peer.name + " still answers on the service network"
	}
	return ""
}

// whyCutOff is why a node does not fence that may be the one which nobody hears.
const whyCutOff = "no ping node answers either: this node may be the one that is cut off"

// cutOff tells that no ping node answers, where there are some, or that this node has no carrier: it may be the one that is cut off.
func (n *Node) cutOff() bool {
	return n.isolation.noCarrier != "" || len(n.pings) > 0 && !n.pingHeardWithin(max(n.isolationWindow()/2, 2*n.cfg.Keepalive))
}

// pingHeardWithin tells whether any ping node answered that recently.
func (n *Node) pingHeardWithin(d time.Duration) bool {
	for _, p := range n.pings {
		if p.lastHeard != never && n.now.Mono-p.lastHeard < d {
			return true
		}
	}
	return false
}

// pursue does what is needed to become certain that a silent peer is off. It is asked again after every event, so that whatever changed
// since a failed attempt counts before the next.
func (n *Node) pursue() {
	p, f := &n.peer, &n.fence
	if p.life != lifeDead || f.done || f.op != 0 || n.stop.asked || len(n.groups) == 0 {
		return
	}
	if !n.cfg.Fencing {
		n.waitFor(n.startWaits())
		return
	}
	if n.peerHarmless() || p.lastHeard != never && n.now.Mono < p.deadAt() {
		return
	}
	n.suspectBeingShot(n.fencesSecond() || n.cutOff())
	why := n.fenceWaits()
	n.waitFor(why)
	if why != "" {
		return
	}
	if !f.scheduled {
		f.scheduled = true
		f.due = max(n.now.Mono+n.fenceDelay(), f.notBefore)
	}
	if n.now.Mono < f.due {
		return
	}
	n.shoot()
}

// shoot begins one attempt.
func (n *Node) shoot() {
	p, f := &n.peer, &n.fence
	atStart := p.lastHeard == never && !n.startFence
	if atStart {
		n.startFence, n.boot.StartFenced = true, true
	}
	if n.countFence() || atStart {
		n.persist()
	}
	f.op, f.began = n.op(), n.now.Mono
	f.tries++
	reason := "it is dead and may hold or take resources"
	if p.lastHeard == never {
		reason = "it was not heard since this node started and may hold resources"
	}
	n.transition(Info, reason, "Resetting node %s (attempt %d)", p.name, f.tries)
	n.do(Fence{Op: f.op, Node: p.name, Kept: atStart})
}

// waitFor notes and tells why nothing is done. Only a person ends some of these waits: those raise an alarm.
func (n *Node) waitFor(why string) {
	f, p := &n.fence, &n.peer
	if why == f.waiting {
		return
	}
	f.waiting = why
	switch {
	case why == "":
		n.alarm(alarmFence, n.failedFence())
	case why == n.startWaits():
		n.transition(Crit, why, "Node %s was not heard since this node started: nothing is taken over. If it is certainly off, run `heartbeat confirm-dead %s`",
			p.name, p.name)
		n.alarm(alarmFence, fmt.Sprintf("%s was not heard since this node started and nothing is taken over (%s); if it is certainly off, run `heartbeat confirm-dead %s`",
			p.name, why, p.name))
	case n.fencedTooOften() && why == n.whyTooOften():
		n.transition(Crit, why, "Node %s is not reset again and nothing is taken over. If it is certainly off, run `heartbeat confirm-dead %s`; "+
			"`heartbeat fence reboot --yes` resets it", p.name, p.name)
		n.alarm(alarmFence, fmt.Sprintf("%s: it is not reset again and nothing is taken over; if it is certainly off, run `heartbeat confirm-dead %s`; "+
			"`heartbeat fence reboot --yes` resets it", why, p.name))
	case why == whyCutOff:
		n.transition(Crit, why, "Node %s is not reset and nothing is taken over until a ping node answers", p.name)
		n.alarm(alarmFence, fmt.Sprintf("%s is not reset and nothing is taken over (%s); if %s is certainly off, run `heartbeat confirm-dead %s`", p.name, why, p.name, p.name))
	default:
		n.reportLimited("not yet: "+why, Info, "Node %s is not reset yet: %s", p.name, why)
		n.alarm(alarmFence, n.failedFence()) // what a person had to be called for before is over
	}
}

// fenceDone takes the device's answer.
func (n *Node) fenceDone(err error) {
	f := &n.fence
	f.op = 0
	if err == nil {
		n.deviceFenced(n.now.Mono - f.began)
		n.transition(Info, "the device confirmed it", "node %s now reset.", n.peer.name)
		n.peerIsOff("the device confirmed that it was reset")
		return
	}
	backoff := fenceBackoff(f.tries)
	f.due = n.now.Mono + backoff
	f.lastFail = err.Error()
	n.transition(Crit, f.lastFail, "STONITH of %s failed: nothing is taken over. Retrying in %v; "+
		"if the node is certainly off, run `heartbeat confirm-dead %s`", n.peer.name, backoff, n.peer.name)
	n.alarm(alarmFence, n.failedFence())
}

// failedFence is the alarm about the last attempt, "" where it did not fail.
func (n *Node) failedFence() string {
	if n.fence.lastFail == "" {
		return ""
	}
	return fmt.Sprintf("STONITH of %s failed, nothing is taken over (%s); if the node is certainly off, run `heartbeat confirm-dead %s`",
		n.peer.name, n.fence.lastFail, n.peer.name)
}

// fenceBackoff is the time between an attempt that failed and the next. From the tenth on it is long enough for a machine to boot: the device
// may reset it each time and be unable to say so.
func fenceBackoff(tries int) time.Duration {
	if tries >= 10 {
		return 10 * time.Minute
	}
	return min(5*time.Second<<min(tries-1, 4), time.Minute)
}

// peerIsOff is certainty.
func (n *Node) peerIsOff(why string) {
	n.fence.done, n.fence.why, n.fence.waiting, n.fence.lastFail = true, why, "", ""
	n.maybeShot = false
	n.suspectBeingShot(false)
	n.alarm(alarmFence, "")
	for _, g := range n.groups {
		g.peerHold = holdIdle
	}
}

// endFencing forgets what was known of the peer's death and stops an attempt that is under way: the peer is there, has left, or this node ends.
func (n *Node) endFencing() {
	if n.fence.op != 0 {
		n.do(CancelFence{Op: n.fence.op})
	}
	n.fence, n.maybeShot = fencing{}, false
	n.suspectBeingShot(false)
	n.alarm(alarmFence, "")
}

// confirmDead is a person's word that the peer is off. It counts as certain, at any moment.
func (n *Node) confirmDead(ev Request) error {
	p := &n.peer
	switch {
	case p.name == "":
		return fmt.Errorf("there is no peer in the configuration")
	case p.life == lifeAlive:
		return fmt.Errorf("%s is alive: it was heard %v ago", p.name, (n.now.Mono - p.lastHeard).Round(time.Millisecond))
	case p.life == lifeLeft:
		return nil
	case n.fence.done:
		n.forgetFences("confirmed by " + ev.By)
		return nil
	case p.life == lifeUnknown:
		p.life = lifeDead
		n.peerDied("confirmed by " + ev.By + " before initdead was over")
	}
	n.endFencing()
	n.forgetFences("confirmed by " + ev.By)
	n.transition(Warn, "confirmed by "+ev.By, "Node %s is off", p.name)
	n.peerIsOff(ev.By + " confirmed that it is off")
	n.endLook(true)
	return nil
}

// fencedByHand takes the word of a device that a person used. The peer may not have been silent for its dead time yet: when it has been,
// and nothing of it was heard meanwhile, it is not reset once more, while it boots.
func (n *Node) fencedByHand(ev Request) error {
	if n.peer.life != lifeAlive {
		return n.confirmDead(ev)
	}
	n.handFenced, n.handFencedBy = n.now.Mono, ev.By
	n.transition(Warn, "asked for by "+ev.By, "Node %s was reset by a device", n.peer.name)
	return nil
}

// takeHandFenced is what that word is worth when the peer is dead.
func (n *Node) takeHandFenced() {
	at, by := n.handFenced, n.handFencedBy
	n.handFenced, n.handFencedBy = 0, ""
	if at == 0 || n.peer.lastHeard > at+n.cfg.Keepalive {
		return
	}
	n.forgetFences("reset by " + by)
	n.peerIsOff("a device had it off when " + by + " asked for it")
}

// deviceChecked learns how long the device takes to say that it works. Its work takes longer, if that was never measured.
func (n *Node) deviceChecked(took time.Duration) {
	n.deviceCheck = max(took, time.Millisecond)
}

// deviceFenced learns how long it really took, and keeps that: a check is sooner done.
func (n *Node) deviceFenced(took time.Duration) {
	if took = min(max(took, time.Millisecond).Truncate(time.Millisecond), deviceTimeMost); took != n.boot.DeviceTook {
		n.boot.DeviceTook = took
		n.persist()
	}
}

// deviceTime is how long this node's device is known to take, 0 while nothing is.
func (n *Node) deviceTime() time.Duration { return max(n.deviceCheck, n.boot.DeviceTook) }

// alarmFence is the key of the alarm about fencing.
const alarmFence = "fence"

// alarm raises or ends an alarm, once each.
func (n *Node) alarm(key, text string) {
	if n.alarms[key] == text {
		return
	}
	if n.alarms == nil {
		n.alarms = map[string]string{}
	}
	n.alarms[key] = text
	n.do(Alarm{Key: key, Text: text})
}

// fencingStatus is what is known, for a person.
func (n *Node) fencingStatus() FencingStatus {
	f := &n.fence
	s := FencingStatus{Configured: n.cfg.Fencing, Tries: f.tries, LastError: f.lastFail, Due: -1, Delay: n.fencePatience(), Reason: f.waiting}
	switch {
	case n.peer.life != lifeDead:
		s.State = "idle"
	case f.done:
		s.State, s.Reason = "confirmed", f.why
	case f.op != 0:
		s.State = "running"
	case f.waiting != "":
		s.State = "waiting"
	case f.lastFail != "":
		s.State, s.Due = "failed", f.due
	case f.scheduled:
		s.State, s.Due = "delayed", f.due
	default:
		s.State = "idle"
	}
	return s
}
