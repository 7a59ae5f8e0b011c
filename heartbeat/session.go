package heartbeat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/wire"
)

// Limits of the reliability layer (protocol sections 0.1 and 5).
const (
	historySize   = 500 // sent messages kept for retransmission
	missingMax    = 500 // lost messages remembered
	gapMax        = 250 // a larger gap is not repaired but started over
	rexmitBatch   = 50  // messages resent for one request
	ackEvery      = 10  // one acknowledgement for so many messages
	typeStatus    = "status"
	typeRexmit    = "NS_rexmit"
	typeNak       = "NS_nak_rexmit"
	typeAck       = "NS_ackmsg"
	typePing      = "NS_st"
	unsequenced   = "NS_"
	maxSeenNonces = 64
)

// receiver is what is known of the numbering of the peer's current run.
type receiver struct {
	known      bool
	generation uint32
	last       uint64 // highest sequence number seen; 0 before the first
	statusSeq  uint64 // highest status among them
	missing    []lost // ascending
	trigger    uint64 // acknowledge numbers that are this modulo ackEvery
	acked      uint64 // the last number acknowledged, or the one before the first received
	nonces     []uint64
	lostTotal  uint64
	lastAt     time.Duration // when the newest message was first received
}

type lost struct {
	seq uint64
	ask time.Duration // when to ask (again)
}

func (r *receiver) reset(trigger uint64) {
	r.last, r.statusSeq, r.missing, r.trigger, r.acked = 0, 0, nil, trigger, 0
}

// toAcknowledge is the number to acknowledge now, of which no lower one is missing; 0 for none.
func (r *receiver) toAcknowledge() uint64 {
	through := r.last
	if len(r.missing) > 0 {
		through = r.missing[0].seq - 1
	}
	due := through - (through+ackEvery-r.trigger)%ackEvery
	if due <= r.acked || due > through { // of the first few numbers none is due
		return 0
	}
	return due
}

func (r *receiver) deadlines(sooner func(time.Duration)) {
	for i := range r.missing {
		sooner(r.missing[i].ask)
	}
}

// verdict is what becomes of a received message.
type verdict int

const (
	drop      verdict = iota // not believed, or not for us: not even a sign of life
	duplicate                // known already: a sign of life on its link
	keep
)

// number is a message's place in its sender's run.
type number struct {
	seq        uint64 // 0 for NS_ messages
	generation uint32
}

func numberOf(m wire.Message) (number, error) {
	var num number
	if !strings.HasPrefix(m.Kind(), unsequenced) {
		seq, err := strconv.ParseUint(m.Get("seq"), 16, 64)
		if err != nil || seq == 0 {
			return num, fmt.Errorf("has bad cseq %q", m.Get("seq"))
		}
		num.seq = seq
	}
	if hg, ok := m.Lookup("hg"); ok {
		gen, err := strconv.ParseUint(hg, 16, 32)
		if err != nil {
			return num, fmt.Errorf("has bad generation %q", hg)
		}
		num.generation = uint32(gen)
	}
	return num, nil
}

// receive takes one verified message apart.
func (n *Node) receive(ev Received) {
	m := ev.Msg
	src := m.Get("src")
	if m.Kind() == "" || src == "" || m.Get("ts") == "" {
		n.reportLimited("fields", LevelError, "process_clustermsg: missing from/ts/type: iface %s, from %q", ev.Link, src)
		return
	}
	if p := n.pingByLink(ev.Link); p != nil {
		n.pingHeard(p, m)
		return
	}
	switch src {
	case n.cfg.Node:
		n.ownEcho(ev)
		return
	case n.peer.name:
	default:
		n.reportLimited("node:"+limitKey(src), LevelError, "process_status_message: bad node [%s] in message from %s on %s: "+
			"it is not in the configuration; add it, or give the two pairs different keys or ports", src, ev.From, ev.Link)
		return
	}
	if uuid := m.Get("srcuuid"); len(uuid) == 16 && uuid == string(n.boot.UUID[:]) {
		n.reportLimited("uuid", LevelError, "Node %s has the same identity (hb_uuid) as this node: one was cloned from the other; "+
			"stop it, remove its hb_uuid, start it", src)
	}
	num, err := numberOf(m)
	if err != nil {
		n.reportLimited("seq", LevelError, "should_drop_message: message of type %q from %s %v", m.Kind(), src, err)
		return
	}
	if m.Kind() == typeAlive {
		if n.forUs(m) {
			n.aliveReceived(ev.Link, m)
		}
		return
	}
	switch n.admit(m, num) {
	case duplicate:
		n.heardOn(ev.Link, n.rx.lastAt) // a copy proves the link at the moment of the original, so replaying it proves nothing
	case keep:
		n.rx.lastAt = n.now.Mono
		n.heardPeer()
		n.heardOn(ev.Link, n.now.Mono)
		n.deliver(m, num)
	}
}

// limitKey bounds what a stranger can put into the table of rate limits.
func limitKey(s string) string {
	if len(s) > 16 {
		s = s[:16]
	}
	return s
}

// ownEcho is a message that names this node as its sender: our own broadcast coming back, or an impostor.
func (n *Node) ownEcho(ev Received) {
	if uuid := ev.Msg.Get("srcuuid"); uuid != "" && uuid != string(n.boot.UUID[:]) {
		n.reportLimited("self", LevelError, "Another machine (%s on %s) calls itself %s, which is this node's name: rename one of them",
			ev.From, ev.Link, n.cfg.Node)
	}
}

// admit decides whether a message is new, known, or not to be believed (protocol section 5.3), and keeps the numbering.
func (n *Node) admit(m wire.Message, num number) verdict {
	r := &n.rx
	if num.seq == 0 {
		return n.admitUnsequenced(m)
	}
	hello, isOurs := parseHello(m)
	if r.known && num.generation < r.generation {
		if !isOurs || hello.echo != n.nonce || slices.Contains(r.nonces, hello.nonce) || m.Kind() != typeStatus {
			n.reportLimited("replay", LevelError, "should_drop_message: attempted replay attack [%s]? [gen = %d, curgen = %d]: "+
				"an old message of %s came again, or its hb_generation file was lost", n.peer.name, num.generation, r.generation, n.peer.name)
			return drop
		}
		n.report(Warn, "Node %s came back with a lower generation (%d after %d) but answers this node's challenge: accepted as a new start",
			n.peer.name, num.generation, r.generation)
		n.newSession(m, num.generation)
	}
	if !r.known || num.generation > r.generation {
		if m.Kind() != typeStatus {
			if r.known {
				return keep // a higher generation is adopted from a status only
			}
			return drop
		}
		if r.known {
			n.report(Info, "Heartbeat restart on node %s", n.peer.name)
		}
		n.newSession(m, num.generation)
	} else if n.peer.kind == kindClassic && n.peer.life == lifeDead && m.Kind() == typeStatus {
		if num.seq <= r.statusSeq {
			return drop // stale
		}
		n.classicReturns(num.seq)
		r.reset(r.trigger)
	}
	return n.sequence(num.seq)
}

// newSession starts over with a new run of the peer.
func (n *Node) newSession(m wire.Message, generation uint32) {
	r := &n.rx
	r.known, r.generation = true, generation
	r.reset(n.rng.Uint64N(ackEvery))
	if old := n.peer.hello.nonce; old != 0 && len(r.nonces) < maxSeenNonces {
		r.nonces = append(r.nonces, old)
	}
	n.peer.newRun(m)
	n.probes.seen = 0
	n.classicNewRun()
}

// sequence places seq among what was received before.
func (n *Node) sequence(seq uint64) verdict {
	r := &n.rx
	switch {
	case r.last == 0:
		r.acked = seq - 1
	case seq == r.last+1:
	case seq == r.last:
		return duplicate
	case seq > r.last:
		n.gap(seq)
	default:
		i := slices.IndexFunc(r.missing, func(l lost) bool { return l.seq == seq })
		if i < 0 {
			return drop
		}
		r.missing = slices.Delete(r.missing, i, i+1)
		if len(r.missing) == 0 {
			n.report(Debug, "No pkts missing from %s!", n.peer.name)
		}
		n.acknowledge()
		return keep
	}
	r.last = seq
	n.acknowledge()
	return keep
}

// acknowledge tells a Linux-HA node what it need not keep any longer (protocol section 5.5). Linux-HA itself does so only at a moment at which nothing is missing,
// which under heavy loss hardly comes: its peer keeps messages until it complains, and stops listening to its own clients.
func (n *Node) acknowledge() {
	if n.peer.kind != kindClassic {
		return
	}
	seq := n.rx.toAcknowledge()
	if seq == 0 {
		return
	}
	n.rx.acked = seq
	ack := wire.New(typeAck)
	ack.Add("dest", n.peer.name)
	ack.Add("ackseq", strconv.FormatUint(seq, 16))
	n.send(ack)
}

// gap notes the messages between the last one and seq as lost.
func (n *Node) gap(seq uint64) {
	r := &n.rx
	count := seq - r.last - 1
	r.lostTotal += count
	if count > gapMax || len(r.missing)+int(count) > missingMax {
		n.reportLimited("lost", LevelError, "%d lost packet(s) for [%s] [%d:%d]: lost a lot of packets!", count, n.peer.name, r.last, seq)
		r.missing = nil
		return
	}
	level := Debug // between two of ours a lost status costs nothing: the next one says it all
	if n.peer.kind == kindClassic {
		level = Warn
	}
	n.reportLimited("lost", level, "%d lost packet(s) for [%s] [%d:%d]", count, n.peer.name, r.last, seq)
	lowest := min(50*time.Millisecond, n.cfg.MaxRexmitDelay/2)
	for s := r.last + 1; s < seq; s++ {
		delay := lowest + time.Duration(n.rng.Int64N(int64(n.cfg.MaxRexmitDelay-lowest)+1))
		r.missing = append(r.missing, lost{seq: s, ask: n.now.Mono + delay})
	}
}

// askForLost requests what is missing and due. From one of ours only messages that are not plain heartbeats are worth it.
func (n *Node) askForLost() {
	r := &n.rx
	if len(r.missing) == 0 {
		return
	}
	if n.peer.life != lifeAlive {
		r.missing = nil
		return
	}
	if n.peer.kind == kindOurs {
		r.missing = slices.DeleteFunc(r.missing, func(l lost) bool { return l.seq > n.peer.hello.message })
	}
	for i := range r.missing {
		l := &r.missing[i]
		if l.ask > n.now.Mono {
			continue
		}
		l.ask = n.now.Mono + n.cfg.MaxRexmitDelay
		ask := wire.New(typeRexmit)
		ask.Add("dest", n.peer.name)
		ask.Add("firstseq", strconv.FormatUint(l.seq, 10))
		ask.Add("lastseq", strconv.FormatUint(l.seq, 10))
		n.send(ask)
	}
}

// admitUnsequenced handles the reliability layer's own messages; they are never delivered further.
func (n *Node) admitUnsequenced(m wire.Message) verdict {
	if dest := m.Get("dest"); dest != "" && dest != n.cfg.Node {
		return drop
	}
	if !n.rx.known || n.peer.unproven() {
		return drop
	}
	switch m.Kind() {
	case typeRexmit:
		n.resend(m)
	case typeAck:
		seq, err := strconv.ParseUint(m.Get("ackseq"), 16, 64)
		if err != nil || seq > n.tx.seq {
			n.reportLimited("ack", LevelError, "corrupted ackseq %q from %s, highest sent is %x", m.Get("ackseq"), n.peer.name, n.tx.seq)
			return drop
		}
		n.tx.acknowledged(seq)
	case typeNak:
		seq, err := strconv.ParseUint(m.Get("firstseq"), 16, 64)
		i := slices.IndexFunc(n.rx.missing, func(l lost) bool { return l.seq == seq })
		if err != nil || i < 0 {
			return drop // never asked for: a forged refusal must not lose anything
		}
		n.rx.missing = slices.Delete(n.rx.missing, i, i+1)
		n.reportLimited("nak", LevelError, "Irretrievably lost packet: node %s seq %d", n.peer.name, seq)
		n.acknowledge()
	default:
		return drop
	}
	return duplicate
}

// forUs tells whether a message is addressed to this node (protocol section 5.1).
func (n *Node) forUs(m wire.Message) bool {
	if uuid := m.Get("destuuid"); len(uuid) == 16 && uuid != string(make([]byte, 16)) {
		return uuid == string(n.boot.UUID[:])
	}
	dest := m.Get("dest")
	return dest == "" || strings.EqualFold(dest, n.cfg.Node)
}

// deliver hands a kept message to who understands it.
func (n *Node) deliver(m wire.Message, num number) {
	if m.Kind() == typeStatus {
		n.peerStatus(m, num)
		return
	}
	if !n.forUs(m) || n.peer.unproven() {
		if n.peer.kind == kindClassic {
			n.classicOverheard(m)
		}
		return
	}
	if n.peer.kind == kindClassic && n.classicMessage(m) {
		return
	}
	if n.member == memberActive {
		n.do(Notify{Msg: m})
	}
}
