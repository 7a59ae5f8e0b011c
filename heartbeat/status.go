package heartbeat

import "time"

// Status is a deep copy of what a node knows, for the command line, metrics and the journal.
type Status struct {
	Node        string
	Generation  uint32
	State       string   // init, up, active, standby, transition, stopping
	Holds       []string // local, foreign
	Member      string   // own status on the wire: init, up, active
	Peer        PeerStatus
	Pings       []PingStatus
	Reach       ReachStatus
	Links       []LinkStatus
	Groups      []GroupStatus
	Transitions []Transition // newest last, at most 20
	Failback    Failback
	Fencing     FencingStatus
	Paused      time.Duration // for how much longer takeovers are suspended
	Timing      Timing        // what was measured of the peer's heartbeats and of this node's lateness
	Isolated    string        // why this node takes nothing: it is cut off from everything; "" where it is not
	ByMirror    bool          // the peer is heard only by way of hosts that answer pings
	PeerAnswers bool          // the peer is silent on every link, and still answers for its addresses on the service network
	ClassicHold string        // cl_status rscstatus: none, local, foreign, all, transition
}

// PeerStatus is the other node as seen from here.
type PeerStatus struct {
	Name        string
	State       string // unknown, init, up, active, dead, left
	Kind        string // hapair, linux-ha, "" while unknown
	Holds       []string
	Generation  uint32
	UUID        [16]byte
	LastHeard   time.Duration // Mono; negative when never
	Deadtime    time.Duration // what it announced
	Reachable   bool
	LostPackets uint64
	ClockAhead  time.Duration // of its wall clock before this node's, to half a second; 0 when never heard
	MACs        []string      // hardware addresses that answer for it, as it announced them
}

// FencingStatus is what is being done to make certain that a silent peer is off.
type FencingStatus struct {
	Configured bool
	State      string        // idle, waiting, delayed, running, failed, confirmed
	Reason     string        // why it waits, or how it was confirmed
	Tries      int           // attempts since the peer was last heard
	Due        time.Duration // Mono: when the next attempt begins; negative for none
	Delay      time.Duration // how long this node waits as the standby
	LastError  string
}

// ReachStatus is what ipfail compares: how many ping nodes and groups each node reaches. The one that reaches more is to serve.
type ReachStatus struct {
	Here, Peer           int
	HereKnown, PeerKnown bool // false where nothing is compared, or not yet
}

// PingStatus is a ping node as seen from here.
type PingStatus struct {
	Name      string
	Up        bool
	LastHeard time.Duration // Mono; negative when never
}

// LinkStatus is one heartbeat medium: what arrives on it from the peer.
type LinkStatus struct {
	ID, Name, Kind string
	State          string        // up, late, dead, unusable
	LastHeard      time.Duration // Mono; negative when never
	Received       uint64
	Reason         string // why it is unusable
}

// GroupStatus is one line of haresources: where it is and what is being done with it.
type GroupStatus struct {
	Name      string
	Preferred string
	Owner     string // the node that holds it, "" for nobody
	State     string // idle, acquiring, held, releasing, failed, stuck, adopting
	Epoch     uint64
	Since     time.Time
	Reason    string
	Removed   bool // not in the configuration any more; it is shown until it is stopped
}

// Transition is one change worth telling, with its reason.
type Transition struct {
	Time   time.Time
	What   string
	Reason string
}
