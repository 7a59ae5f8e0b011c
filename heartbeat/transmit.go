package heartbeat

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/wire"
)

// transmitter numbers outgoing messages and keeps them for retransmission.
type transmitter struct {
	seq     uint64
	history []sent  // ascending by seq
	acked   uint64  // highest number that a Linux-HA peer has acknowledged, with all below it
	status  Instant // when the last status went out; what the peer's patience is measured from
	message uint64  // seq of the newest sequenced message that is not a status
}

type sent struct {
	seq    uint64
	resent time.Duration // when last sent again; never before
	msg    wire.Message
}

// send completes m with the control fields (protocol section 3.5), remembers it if it is sequenced, and puts it on every link.
func (n *Node) send(m wire.Message) { n.sendOn("", m) }

// sendOn is send for one link, or for all where it is "".
func (n *Node) sendOn(link string, m wire.Message) {
	if n.mute || n.hushed() {
		return
	}
	if dest := m.Get("dest"); dest != "" && dest == n.peer.name && n.peer.uuid != ([16]byte{}) {
		m.AddBinary("destuuid", n.peer.uuid[:])
	}
	m.Set("src", n.cfg.Node)
	m.AddBinary("srcuuid", n.boot.UUID[:])
	sequenced := !strings.HasPrefix(m.Kind(), unsequenced)
	if sequenced {
		n.tx.seq++
		m.Add("seq", strconv.FormatUint(n.tx.seq, 16))
	}
	m.Add("hg", strconv.FormatUint(uint64(n.boot.Generation), 16))
	m.Add("ts", strconv.FormatInt(n.now.Wall.Unix(), 16))
	m.Add("ttl", strconv.Itoa(n.cfg.HopFudge+len(n.cfg.Nodes)+len(n.cfg.Pings)))
	if sequenced {
		if m.Kind() != typeStatus {
			n.tx.message = n.tx.seq
		}
		if len(n.tx.history) >= historySize {
			n.tx.history = slices.Delete(n.tx.history, 0, len(n.tx.history)-historySize+1)
		}
		n.tx.history = append(n.tx.history, sent{seq: n.tx.seq, resent: never, msg: m})
	}
	n.do(Send{Link: link, Msg: m})
}

// acknowledged drops what the peer has.
func (t *transmitter) acknowledged(seq uint64) {
	t.acked = max(t.acked, seq)
	i := 0
	for i < len(t.history) && t.history[i].seq <= seq {
		i++
	}
	t.history = slices.Delete(t.history, 0, i)
}

// resend answers a request for lost messages (protocol section 5.4).
func (n *Node) resend(m wire.Message) {
	if n.hushed() {
		return
	}
	first, err1 := strconv.ParseUint(m.Get("firstseq"), 10, 64)
	last, err2 := strconv.ParseUint(m.Get("lastseq"), 10, 64)
	if err1 != nil || err2 != nil || first == 0 || last < first {
		n.reportLimited("rexmit", Warn, "Malformed retransmission request from %s ignored: firstseq %q, lastseq %q",
			n.peer.name, m.Get("firstseq"), m.Get("lastseq"))
		return
	}
	for i, seq := 0, first; seq <= last && i < rexmitBatch; i, seq = i+1, seq+1 {
		if seq > n.tx.seq {
			n.reportLimited("rexmit", Warn, "Rexmit of seq %d requested. %d is max.", seq, n.tx.seq)
			return
		}
		at, found := slices.BinarySearchFunc(n.tx.history, seq, func(s sent, q uint64) int {
			return int(int64(s.seq) - int64(q))
		})
		if !found && seq <= n.tx.acked {
			continue // a request that the acknowledgement has overtaken
		}
		if !found {
			nak := wire.New(typeNak)
			nak.Add("firstseq", strconv.FormatUint(seq, 16))
			nak.Add("dest", n.peer.name)
			nak.Add("info", "seqno too low")
			n.send(nak)
			continue
		}
		h := &n.tx.history[at]
		if h.resent == never || n.now.Mono-h.resent >= n.cfg.MaxRexmitDelay-10*time.Millisecond {
			h.resent = n.now.Mono
			n.do(Send{Msg: h.msg})
			n.classicResent(h.msg, seq)
		}
	}
}
