package heartbeat

import (
	"fmt"
	"time"
)

// A pause suspends takeovers for a bounded time, for what a person does on purpose: a live migration of one of the nodes, a restart of the
// switch between them. Silence means nothing meanwhile: no node takes over, fences or yields, and a node that stood still keeps what it
// holds, if its peer has acknowledged the pause. It is told to the peer in every heartbeat and ends by itself.

// PauseLongest bounds a pause: a forgotten one must not cost a night.
const PauseLongest = 24 * time.Hour

// pausing is the pause that was asked for here, and the one that the peer told of. Its ends are instants of the boot clock, so that a
// suspended machine does not prolong it.
type pausing struct {
	until     time.Duration // asked for here; 0 for none
	peerUntil time.Duration // asked for on the peer
	since     uint64        // version of the statement with which it was first told
	by        string
	told      bool // that it is in force was reported
}

// pauseEnd is when the pause in force ends, on the boot clock; 0 where there is none.
func (n *Node) pauseEnd() time.Duration {
	if end := max(n.pause.until, n.pause.peerUntil); end > n.now.Boot {
		return end
	}
	return 0
}

// pausedFor is how much of a pause is left.
func (n *Node) pausedFor() time.Duration { return max(0, n.pauseEnd()-n.now.Boot) }

// pauseHeld tells, after a sleep, whether the peer knows of a pause that still lasts: then it has not taken over.
func (n *Node) pauseHeld() bool {
	return n.pause.peerUntil > n.now.Boot || n.pause.until > n.now.Boot && n.peer.kind == kindOurs && n.peer.acked >= n.pause.since
}

// requestPause begins a pause, or with no time ends it.
func (n *Node) requestPause(ev Request) error {
	switch {
	case ev.For < 0 || ev.For > PauseLongest:
		return fmt.Errorf("a pause of %v: between 0, which ends it, and %v", ev.For, PauseLongest)
	case n.peer.name == "":
		return fmt.Errorf("there is no peer in the configuration")
	case ev.For > 0 && n.peer.life != lifeAlive:
		return fmt.Errorf("%s is not there (%s): there is no takeover to suspend", n.peer.name, n.peerState())
	case ev.For == 0 && n.pause.until <= n.now.Boot && n.pause.peerUntil > n.now.Boot:
		return fmt.Errorf("the pause was asked for on %s: end it there", n.peer.name)
	}
	n.pause.until, n.pause.by = 0, ev.By
	if ev.For > 0 {
		n.pause.until = n.now.Boot + ev.For
	}
	n.changed()
	n.pause.since = n.version
	n.followPause()
	n.persist()
	return nil
}

// resumePause goes on with a pause that was asked for before this daemon was started anew: what it is for may not be over.
func (n *Node) resumePause() {
	if n.boot.PausedUntil > n.now.Boot && n.cfg.Peer != "" {
		n.pause.until, n.pause.by, n.pause.since = min(n.boot.PausedUntil, n.now.Boot+PauseLongest), "a person before the restart of this daemon", n.version
	}
}

// peerPause takes what the peer says of its own pause.
func (n *Node) peerPause(left time.Duration) {
	if left == 0 {
		n.pause.peerUntil = 0
	} else {
		n.pause.peerUntil = n.now.Boot + left
	}
	n.followPause()
}

// followPause puts the pause in force, and says when it begins and ends.
func (n *Node) followPause() {
	left := n.pausedFor()
	n.peer.notBefore = 0
	if left > 0 {
		n.peer.notBefore = n.now.Mono + left
	}
	switch {
	case left > 0 && !n.pause.told:
		n.pause.told = true
		why := "asked for on " + n.peer.name
		if n.pause.until > n.now.Boot {
			why = "asked for by " + n.pause.by
			if n.peer.kind == kindClassic {
				why += "; " + n.peer.name + " is Linux-HA and knows no pause: it may still take over"
			}
		}
		n.transition(Warn, why, "Takeover is paused for %v", left.Round(time.Second))
	case left == 0 && n.pause.told:
		n.pause.told = false
		n.transition(Info, "its time is over or it was ended", "Takeover is no longer paused")
		n.changed()
	}
}

// pauseDeadline wakes the node when a pause ends.
func (n *Node) pauseDeadline(sooner func(time.Duration)) {
	if left := n.pausedFor(); left > 0 {
		sooner(n.now.Mono + left)
	}
}
