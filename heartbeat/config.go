package heartbeat

import (
	"time"
)

// Instant is one moment as a node's clocks show it. Deadlines are computed from Mono alone; Boot minus Mono grows while the
// machine is suspended; Wall is for display and for the `ts` field only, and may jump.
type Instant struct {
	Mono time.Duration // CLOCK_MONOTONIC
	Boot time.Duration // CLOCK_BOOTTIME
	Wall time.Time
}

// Failback is ha.cf's auto_failback.
type Failback int

// The values of auto_failback (protocol section 7.1).
const (
	FailbackLegacy Failback = iota // absent or `legacy`: between two of ours as On
	FailbackOff                    // groups stay where they are
	FailbackOn                     // a group returns to its preferred node
)

// String is the word of ha.cf.
func (f Failback) String() string {
	return [...]string{"legacy", "off", "on"}[f]
}

// StartPolicy is what a node does that does not hear its peer after a start.
type StartPolicy int

// The start policies.
const (
	StartAlone  StartPolicy = iota // take the peer for dead after Initdead, and fence it where there is a device
	StartIfPing                    // as StartAlone, once a ping node answers
	StartAsk                       // wait for a person (`heartbeat confirm-dead`)
)

// String is the word of the configuration.
func (s StartPolicy) String() string { return [...]string{"start", "start-if-ping", "ask"}[s] }

// Group is one line of haresources as far as decisions go: what is in it is none of the core's business.
type Group struct {
	Name      string // the line's first resource, unique
	Preferred string // the node named at the start of the line, lower case
	Fenced    bool   // holds something that two nodes destroy together (a mount): safety goes before availability

	Prepares      bool        // a part of its start can be done while the peer holds it: Prepare is worth the time
	OnStopFailure StopFailure // what is done when it cannot be stopped
}

// LinkConfig names one heartbeat medium.
type LinkConfig struct {
	ID   string // unique, as written: "bcast eth0", "ucast eth1 10.0.0.2", "serial /dev/ttyS0"
	Name string // the classic name, shared by several ucast lines on one device: "eth0"
	Kind string // ucast, bcast, mcast, ucast6, mcast6, serial
}

// PingConfig names one ping node or ping group: a pseudo-node that answers echoes.
type PingConfig struct {
	ID    string // the link that carries it, unique: "ping 10.0.0.254"
	Name  string // the pseudo-node's name: the host as written, or the group's name
	Group bool
}

// Config is everything the core has to know. It is checked by New.
type Config struct {
	Node  string // this node, lower case
	Peer  string // the other one; "" for a node that runs alone by configuration
	Nodes []string

	Keepalive time.Duration // between two heartbeats
	Warntime  time.Duration // silence that is worth a warning
	Deadtime  time.Duration // silence that means death
	Initdead  time.Duration // silence that means death at start-up, before the first contact
	Deadping  time.Duration // silence that means death of a ping node

	Failback      Failback
	FailbackDelay time.Duration // how long the returned preferred node must be stable first

	Links  []LinkConfig
	Pings  []PingConfig
	Groups []Group

	Fencing        bool          // a STONITH device is configured for the peer
	FenceDelay     time.Duration // the standby waits this long before it fences; negative: twice the measured time of the device and a second
	FenceMost      int           // after so many resets of the peer a person is asked, unless it stayed in between; 0 for never
	FenceCalm      time.Duration // how long it must be heard without a silence of deadtime to have stayed
	Start          StartPolicy   // what to do when the peer is not heard within Initdead of a start
	Watchdog       time.Duration // this machine is reset when this daemon does not run for so long; 0: no watchdog
	HopFudge       int           // ttl field = HopFudge + nodes + ping nodes
	MaxRexmitDelay time.Duration // between two requests for one lost message
	Netstrings     bool          // the nodes write msgfmt netstring, so a Linux-HA peer reads netstrings of its own children (classic_fifo.go)
	IPFail         bool          // compare ping nodes with the peer and hand over to the better connected
	// Lease is how long the right to answer for a group outlasts the heartbeat it was renewed with: the kernel ends it by itself. It must
	// be below Deadtime by what the mechanism and the network may be late; 0 means that no lease is to be had.
	Lease       time.Duration
	Bases       []string      // addresses of this node on the service networks, for the peer's mirrors
	Mirrors     bool          // the daemon can send by way of hosts that answer pings, and the key is worth believing
	MACs        []string      // hardware addresses of this node's service interfaces: by them the peer knows whose answer it gets
	Look        bool          // the daemon can ask on the service network who answers for a group's addresses
	Managed     bool          // false: -M, membership only, no resources
	RetryFailed time.Duration // a node on which a group failed is tried again after this

	DampMoves  int           // so many moves of a group within DampWindow, and it stays where it is; 0 for never
	DampWindow time.Duration // and until nothing has moved it for so long
}

// Boot is what survives a restart of the daemon, and its random seed.
type Boot struct {
	Generation uint32            // hg: greater than in any earlier run
	UUID       [16]byte          // srcuuid
	Seed       uint64            // for jitter, acknowledgement trigger and the session's challenge
	Epochs     map[string]uint64 // group → epoch last seen
	Held       []string          // groups that this node held when the record was written, in this same boot of the machine

	// Leases are what the run before left in force in the kernel, by group: until when this node may answer, on the boot clock.
	Leases map[string]time.Duration

	// StartFenced: at an earlier start the peer was reset because it was not heard, and it was not heard since. Clean: the run before ended
	// politely. After an unclean end a second reset at a start waits for a person, so that two nodes that do not hear each other do not go
	// on resetting one another.
	StartFenced, Clean bool

	// MaybeShot: the run before ended while the peer was silent and this node waited for its turn to have it reset. If that end was not polite, the
	// peer probably came first and lives.
	MaybeShot bool

	// PausedUntil is when a pause ends that was asked for in an earlier run of this boot of the machine, on the boot clock; 0 for none.
	PausedUntil time.Duration

	// DeviceTook is how long the device took when it last had the peer off; 0 for never.
	DeviceTook time.Duration

	// Timing is what earlier runs measured.
	Timing Timing

	// Fences is how often the peer was reset since it was last heard for Config.FenceCalm without a break.
	Fences int
}
