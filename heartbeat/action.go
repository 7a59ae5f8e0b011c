package heartbeat

import (
	"time"

	"hapair/heartbeat/wire"
)

// Action is something to be done. The set is closed; a slice of them is done in its order.
type Action interface{ action() }

// Send puts a message on one link, or on every heartbeat link when Link is empty.
type Send struct {
	Link string
	Msg  wire.Message
}

// Acquire starts a group's resources, left to right, skipping what runs; on failure what was started is stopped again.
// Answered by Done.
type Acquire struct {
	Op     OpID
	Group  string
	Epoch  uint64
	Reason string
}

// Release stops a group's resources, right to left. Answered by Done. A Release cancels an Acquire of the same group that
// is still running: that one is answered too, with its error.
type Release struct {
	Op     OpID
	Group  string
	Reason string
}

// Prepare asks for what can be done of an Acquire while the peer still holds the group; an Acquire or Release cuts it short. Answered
// by Done, whose error keeps nothing from happening.
type Prepare struct {
	Op     OpID
	Group  string
	Within time.Duration // the Acquire comes within this time, or probably not at all; 0 where a person or the peer has asked for it
}

// Examine asks whether anything of a group runs here. Answered by Done with Running.
type Examine struct {
	Op    OpID
	Group string
}

// Renew gives a group's addresses the right to answer until an absolute instant of the boot clock, and no longer, whatever becomes of
// this daemon. It comes after the heartbeat that it follows from. An instant in the past ends the right at once.
type Renew struct {
	Group string
	Until time.Duration // CLOCK_BOOTTIME
}

// Look asks on the service network whether anybody answers for the groups' addresses. Answered by Looked.
type Look struct {
	Op     OpID
	Groups []string
	MACs   []string // hardware addresses that the peer announced, empty when it announced none
}

// Mirrors asks for mirrors to the peer's addresses on the service networks: links of kind mirror, which carry what is sent to
// LinkMirrors. They replace those of an earlier request.
type Mirrors struct{ Bases []string }

// Announce tells the network again where a group's addresses are: after every end of a double holding.
type Announce struct{ Group string }

// Fence asks for certainty that the node is off. Answered by Done.
type Fence struct {
	Op   OpID
	Node string
	Kept bool // begin only when the Persist before it is on disk, so that it is not made again after a power cut
}

// CancelFence ends an attempt that is not wanted any more; its Done is not waited for.
type CancelFence struct{ Op OpID }

// Alarm says what is wrong and needs a person; an empty Text ends the alarm of that key.
type Alarm struct{ Key, Text string }

// Reply answers a Request.
type Reply struct {
	ID  uint64
	Err error // nil: accepted
}

// Notify hands a message to the rc.d scripts (protocol section 8.2): status changes and operator-defined types.
type Notify struct{ Msg wire.Message }

// PeerDigest is what the peer says of its files, scripts and program: the Text of its Digest, "" where it says nothing.
type PeerDigest struct{ Text string }

// Hook runs the administrator's programs for an event (hooks/EVENT.d).
type Hook struct {
	Event  string // became-active, became-standby, peer-lost, peer-back, resource-failed, split-found, split-ended
	Group  string
	Reason string
}

// Level ranks a Report as Heartbeat's log does.
type Level int

// The levels.
const (
	Debug Level = iota
	Info
	Warn
	LevelError
	Crit
)

// Report is one line for the log. A Transition is also kept for `status` and written to the journal.
type Report struct {
	Level      Level
	Text       string
	Transition bool
	Reason     string // with Transition: why, in a sentence
}

// Persist asks that this be on disk soon: it is what the next Boot starts from. It never delays a heartbeat.
type Persist struct {
	Epochs      map[string]uint64
	Held        []string
	Runs        []string      // of which something may run
	StartFenced bool          // see Boot
	Fences      int           // see Boot
	MaybeShot   bool          // see Boot
	DeviceTook  time.Duration // see Boot
	PausedUntil time.Duration // see Boot
	Clean       bool          // see Boot
}

// Halt ends the daemon. Released says whether the resources were stopped (a polite stop) or left running.
type Halt struct {
	Released bool
	Reason   string
}

func (Send) action()     {}
func (Acquire) action()  {}
func (Release) action()  {}
func (Examine) action()  {}
func (Prepare) action()  {}
func (Renew) action()    {}
func (Mirrors) action()  {}
func (Look) action()     {}
func (Announce) action() {}
func (Fence) action()    {}

func (CancelFence) action() {}
func (Alarm) action()       {}

func (Reply) action()  {}
func (Notify) action() {}
func (Hook) action()   {}

func (PeerDigest) action() {}

func (Report) action()  {}
func (Persist) action() {}
func (Halt) action()    {}
