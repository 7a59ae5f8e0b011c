package heartbeat

import (
	"fmt"
	"time"
)

// A fence loop is a peer that is reset, comes back, falls silent and is reset again, for as long as nobody looks: a cable that fails when the
// machine is up, a kernel that panics under the service, two nodes that in turns take each other for dead. So many resets are made for which
// the peer did not stay in between, and then a person is asked. The count is on disk: a node that is reset itself goes on counting. It
// counts what the peer was seen to do, not hours of a clock, which a reset may set back.

// alarmFenceLoop is the key of the alarm about a peer that was reset too often.
const alarmFenceLoop = "fence loop"

// fencedTooOften tells that the peer was reset so often, and never stayed for long, that the next reset is a person's decision.
func (n *Node) fencedTooOften() bool {
	return n.cfg.FenceMost > 0 && n.boot.Fences >= n.cfg.FenceMost
}

// whyTooOften says so.
func (n *Node) whyTooOften() string {
	return fmt.Sprintf("%s was reset %d times and never stayed for %v", n.peer.name, n.boot.Fences, n.cfg.FenceCalm)
}

// countFence counts the first attempt of each silence, before it is made, and tells whether it did.
func (n *Node) countFence() bool {
	f := &n.fence
	if f.counted || n.cfg.FenceMost <= 0 {
		return false
	}
	f.counted = true
	if n.peer.lastHeard != never {
		f.run = n.rx.generation
	}
	n.boot.Fences++
	n.tellLoop()
	return true
}

// tellLoop warns before the next silence, which is the one that nobody ends.
func (n *Node) tellLoop() {
	if !n.fencedTooOften() {
		n.alarm(alarmFenceLoop, "")
		return
	}
	n.alarm(alarmFenceLoop, fmt.Sprintf("%s: find out why. When it falls silent before it has stayed for so long, it is not reset and nothing is taken over "+
		"until somebody runs `heartbeat confirm-dead %s`", n.whyTooOften(), n.peer.name))
}

// countReturn takes back what was counted when the peer is there again and was not reset: it is the same run of it that goes on.
func (n *Node) countReturn() {
	if f := &n.fence; f.counted && f.run != 0 && n.rx.generation == f.run {
		n.boot.Fences = max(0, n.boot.Fences-1)
		n.tellLoop()
		n.persist()
	}
}

// followCalm forgets what was counted when the peer has stayed.
func (n *Node) followCalm() {
	if n.boot.Fences == 0 || n.peer.life != lifeAlive || n.peer.lastHeard < n.calmAt() {
		return
	}
	n.forgetFences(n.peer.name + " has stayed for " + n.cfg.FenceCalm.String())
}

// calmAt is when a peer that is there has stayed for long enough.
func (n *Node) calmAt() time.Duration { return n.peer.back + n.cfg.FenceCalm }

// calmDeadline names when that is.
func (n *Node) calmDeadline(sooner func(time.Duration)) {
	if n.boot.Fences > 0 && n.peer.life == lifeAlive {
		sooner(n.calmAt() + n.cfg.Keepalive)
	}
}

// forgetFences begins to count anew.
func (n *Node) forgetFences(why string) {
	if n.boot.Fences == 0 {
		return
	}
	if n.fencedTooOften() {
		n.transition(Info, why, "Node %s may be reset again", n.peer.name)
	}
	n.boot.Fences = 0
	n.tellLoop()
	n.persist()
}
