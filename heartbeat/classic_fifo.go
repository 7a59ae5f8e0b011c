package heartbeat

import (
	"time"

	"hapair/heartbeat/wire"
)

// fifoDeaf is how long the FIFO of a Linux-HA daemon loses what is written to it after a netstring: it reads lines there, and a netstring does not end one. Of four
// netstrings in a row the daemon hears the first at intervals of 0.1 s, the first and third at 0.5 and 0.9 s, all at 1.5 s. With msgfmt netstring its
// children report the end of their scripts in netstrings. Once such a word is lost, it waits for an hour, and refuses every hand-over meanwhile.
const fifoDeaf = 1200 * time.Millisecond

// order is a message that will have a Linux-HA peer run scripts. What is held back is sent unless the hand-over that it belongs to has ended by then.
type order struct {
	msg   wire.Message
	phase standbyPhase
	at    time.Duration // 0 for none
}

// peerReported notes that scripts of the peer have reported their end.
func (n *Node) peerReported() { n.classic.reportedAt = max(n.now.Mono, 1) }

// order sends a message that will have the peer run scripts, so late that it does not lose the word of their end.
func (n *Node) order(m wire.Message) {
	c := &n.classic
	if at := c.reportedAt + fifoDeaf; n.cfg.Netstrings && c.reportedAt > 0 && n.now.Mono < at {
		c.held = order{msg: m, phase: c.standby.phase, at: at}
		return
	}
	n.send(m)
}

// sendHeld sends what was held back, when it is time.
func (n *Node) sendHeld() {
	c := &n.classic
	held := c.held
	if held.at == 0 || n.now.Mono < held.at {
		return
	}
	c.held = order{}
	if c.standby.phase == held.phase {
		n.send(held.msg)
	}
}
