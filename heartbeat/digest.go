package heartbeat

import (
	"strconv"
	"time"

	"hapair/heartbeat/wire"
)

// fieldDigest is what a node says of its files, scripts and program. To the core it is an opaque text: it travels beside the statement
// about the groups, until the peer has acknowledged that, and costs the heartbeats after it nothing.
const fieldDigest = "hapair-digest"

// maxDigest bounds what is remembered of a peer's.
const maxDigest = 1 << 10

// describe takes what the daemon computed; the peer hears it with the next statement, which is at once.
func (n *Node) describe(ev Digest) {
	if ev.Text == n.digest {
		return
	}
	n.digest = ev.Text
	n.changed()
}

// readDigest passes on what the peer says of itself, when that is new.
func (n *Node) readDigest(m wire.Message) {
	text := m.Get(fieldDigest)
	if len(text) > maxDigest || text == n.peer.digest {
		return
	}
	n.peer.digest = text
	n.do(PeerDigest{Text: text})
}

// readClock compares the peer's clock with this node's. A message tells its time in whole seconds, cut off: half a second is added, so that
// clocks which agree differ by at most that.
func (n *Node) readClock(m wire.Message) {
	seconds, err := strconv.ParseInt(m.Get("ts"), 16, 64)
	if err != nil {
		return
	}
	n.peer.clockAhead = time.Unix(seconds, 0).Add(time.Second / 2).Sub(n.now.Wall)
}
