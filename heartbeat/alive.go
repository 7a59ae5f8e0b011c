package heartbeat

import (
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/wire"
)

// Suspicion is verified, not only waited for: when a heartbeat of a node of ours is late, it is asked directly, many times within what is
// left of its dead time, on every link that is fast enough. A living peer under heavy loss answers one of them; a dead one answers none, and the
// takeover is not a millisecond later for having asked. The questions cost nothing while heartbeats come in time.
//
// A question and its answer are messages of the reliability layer, which Linux-HA ignores: t=NS_alive with a hello (statement.go) and a
// counter of their own, so that each is believed once. They carry liveness only.

const (
	typeAlive     = "NS_alive"
	fieldCounter  = "i"
	fieldQuestion = "q"
	fieldAnswered = "a" // the counter of the question that this answers
	fieldIdle     = "n" // "1": the sender holds nothing and is not about to
)

// Bounds of the questions' rhythm.
const (
	probeFastest = time.Millisecond
	probeSlowest = 50 * time.Millisecond
	probesWanted = 100 // in one dead time
)

// probing is the state of the questions.
type probing struct {
	counter  uint64        // of this node's last message
	seen     uint64        // the peer's highest counter in its present run
	due      time.Duration // when to ask again
	asked    uint64        // since the start, for status
	answered time.Duration // when a question was last answered
}

// probeEvery is the rhythm of the questions. Linux-HA is asked by whole messages, twice as often as it is told that this node lives.
func (n *Node) probeEvery() time.Duration {
	if n.peer.kind == kindClassic {
		return n.heartbeatInterval() / 2
	}
	return min(max(n.peer.deadtime/probesWanted, probeFastest), probeSlowest)
}

// lateAt is when a heartbeat is overdue: one interval and a little more without news, or half of one more from Linux-HA, which is not so punctual.
func (n *Node) lateAt() time.Duration {
	if n.peer.kind == kindClassic {
		return n.peer.lastHeard + n.cfg.Keepalive*3/2
	}
	return n.peer.lastHeard + n.cfg.Keepalive + min(max(n.cfg.Keepalive/5, 2*time.Millisecond), n.cfg.Keepalive)
}

// doubts tells whether the peer is to be asked directly.
func (n *Node) doubts() bool {
	p := &n.peer
	return p.life == lifeAlive && p.kind == kindOurs && p.proven && n.member == memberActive && !n.mute
}

// asksClassic tells whether a Linux-HA peer is to be asked in their place for its list of nodes, which it answers at once.
func (n *Node) asksClassic() bool {
	p := &n.peer
	return p.life == lifeAlive && p.kind == kindClassic && p.member == memberActive && !p.stopping && n.member == memberActive && !n.mute && !n.stop.asked
}

func (n *Node) probeDeadline(sooner func(time.Duration)) {
	if n.doubts() || n.asksClassic() {
		sooner(max(n.lateAt(), n.probes.due))
	}
}

// probe asks when that is due.
func (n *Node) probe() {
	classic := n.asksClassic()
	if !n.doubts() && !classic || n.now.Mono < max(n.lateAt(), n.probes.due) || n.now.Mono >= n.peer.deadAt() {
		return
	}
	n.probes.due = n.now.Mono + n.probeEvery()
	n.probes.asked++
	if classic {
		n.askNodes()
		return
	}
	n.sendAlive(true)
}

// sendAlive sends a question or an answer on every link that is fast enough for it.
func (n *Node) sendAlive(question bool) {
	if n.mute {
		return
	}
	n.sendDirect(n.aliveMessage(question))
}

// sendDirect sends a message on every link between the nodes that is fast enough for it.
func (n *Node) sendDirect(m wire.Message) {
	for _, l := range n.links {
		if l.Kind != "serial" && l.Kind != kindMirror {
			n.do(Send{Link: l.ID, Msg: m})
		}
	}
}

// aliveReceived believes a question or answer once, and only from the run of the peer that has echoed this run's challenge. One of a peer that was
// taken for dead says that it lives; what it holds is not known before its next status.
func (n *Node) aliveReceived(link string, m wire.Message) {
	p := &n.peer
	h, ok := parseHello(m)
	counter, err := strconv.ParseUint(m.Get(fieldCounter), 16, 64)
	if !ok || err != nil || p.kind != kindOurs || !p.proven && !p.reflected && (p.life != lifeDead || !n.mirrorsSuffice()) || h.nonce != p.hello.nonce || h.echo != n.nonce || counter <= n.probes.seen {
		return
	}
	n.probes.seen = counter
	n.heardPeer()
	if p.life == lifeDead {
		p.reflected = true
		n.peerAppears()
	}
	p.lastStatus = n.now.Mono
	p.hello.heard = h.heard
	n.shortenLeases()
	n.mirrorLink(link)
	n.heardOn(link, n.now.Mono)
	if m.Get(fieldQuestion) != "" && n.probes.answered != n.now.Mono {
		n.probes.answered = n.now.Mono // one answer for all that were waiting
		n.answer(counter, strings.HasPrefix(link, kindMirror+" "))
	}
	if asked, err := strconv.ParseUint(m.Get(fieldAnswered), 16, 64); err == nil && m.Get(fieldIdle) != "" {
		n.rearmAnswered(asked)
	}
}

// answer answers the question with that counter, by way of the mirrors too if it came so: then the links may be of no use.
func (n *Node) answer(counter uint64, mirrored bool) {
	if n.mute {
		return
	}
	m := n.aliveMessage(false)
	m.Add(fieldAnswered, strconv.FormatUint(counter, 16))
	if n.holdsNothing() {
		m.Add(fieldIdle, "1")
	}
	n.sendDirect(m)
	if mirrored && n.cfg.Mirrors && n.now.Mono >= n.mirror.answerable {
		n.mirror.answerable = n.now.Mono + mirrorFast
		n.do(Send{Link: LinkMirrors, Msg: m})
	}
}

// holdsNothing tells whether this node has nothing of any group, and is not starting or stopping any.
func (n *Node) holdsNothing() bool {
	for _, g := range n.groups {
		if g.hold != holdIdle || g.op != 0 {
			return false
		}
	}
	return n.member == memberActive
}
