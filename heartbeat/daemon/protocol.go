package daemon

import (
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
)

// The control socket speaks JSON, one object a line: the client sends a Request, the daemon answers with a Reply, and so on
// until either closes. Whoever can connect may read; changes need root, the daemon's own user or the group haclient.

// Command is what a Request asks for.
type Command string

// The commands. Those in reads change nothing.
const (
	CommandStatus    Command = "status"    // Reply.Status
	CommandParameter Command = "parameter" // Name: a directive of ha.cf; Reply.Value
	CommandTable     Command = "table"     // Reply.Value: haresources as it is in force
	CommandClient    Command = "client"    // Name: a client of this node; Reply.Value online or offline

	CommandStandby     Command = "standby"      // Which, or Group
	CommandTakeover    Command = "takeover"     // Which, or Group
	CommandMove        Command = "move"         // Group: to the other node, whichever that is
	CommandCleanup     Command = "cleanup"      // Group, or a resource of it: forget that it failed here
	CommandFenced      Command = "fenced"       // Name: a device has just had this node off, because a person asked it to
	CommandConfirmDead Command = "confirm-dead" // Name: a person is certain that this node is off
	CommandPause       Command = "pause"        // DurationMS: no takeover for so long; 0 ends a pause
	CommandStop        Command = "stop"         // release everything and end
	CommandQuit        Command = "quit"         // end and leave the resources running
	CommandReload      Command = "reload"       // read the configuration again; Reply.Faults, and Reply.Value: what went wrong with resources though it is in force
	CommandCompare     Command = "compare"      // ask the peer for what its files are; Reply.Comparison
	CommandDoctor      Command = "doctor"       // examine what a takeover needs, on both nodes; Reply.Examination
	CommandUpgrade     Command = "upgrade"      // replace this daemon by the program on disk; Reply.Value: its version
	CommandDebug       Command = "debug"        // Level: of the log
	CommandResource    Command = "resource"     // Name: a resource, Which: start, stop or monitor, Level 1: even where its group is not held; Reply.Resource
)

// reads are the commands that everybody may give.
var reads = map[Command]bool{CommandStatus: true, CommandParameter: true, CommandTable: true, CommandClient: true}

// Request is one line from a client.
type Request struct {
	Command Command `json:"command"`
	Which   string  `json:"which,omitempty"`
	Group   string  `json:"group,omitempty"`
	Name    string  `json:"name,omitempty"`
	Level   int     `json:"level,omitempty"`

	DurationMS int64 `json:"duration_ms,omitempty"`
}

// Reply is one line from the daemon.
type Reply struct {
	OK     bool    `json:"ok"`
	Error  string  `json:"error,omitempty"`
	Denied bool    `json:"denied,omitempty"` // Error is about who asks, not about what
	Value  string  `json:"value,omitempty"`
	Faults string  `json:"faults,omitempty"` // one a line
	Status *Status `json:"status,omitempty"`

	Resource *haresources.ResourceStatus `json:"resource,omitempty"`

	Comparison *Comparison `json:"comparison,omitempty"`

	Examination *Examination `json:"examination,omitempty"`
}

// StatusSchema is the version of Status: it grows only when a key changes its meaning or goes.
const StatusSchema = 1

// Health sums a Status up; `heartbeat status` exits by it.
type Health string

// The healths. Their exit codes are 0, 1 and 2.
const (
	Healthy  Health = "healthy"
	Degraded Health = "degraded" // everything is served, but a further fault would hurt
	Failed   Health = "failed"   // something is served by nobody, or by both nodes
)

// Status is what `heartbeat status --json` prints. Times are RFC 3339 with milliseconds; ages are milliseconds, -1 for never.
type Status struct {
	Schema   int      `json:"schema"`
	Version  string   `json:"version"`
	Time     string   `json:"time"`
	Health   Health   `json:"health"`
	Problems []string `json:"problems"` // what is degraded and what to do, one sentence each

	Node       string   `json:"node"`
	State      string   `json:"state"` // init, up, active, standby, transition, stopping
	Holds      []string `json:"holds"` // local, foreign
	PID        int      `json:"pid"`
	Since      string   `json:"since"` // when this daemon started
	Generation uint32   `json:"generation"`
	UUID       string   `json:"uuid"`
	Managed    bool     `json:"managed"` // false: started with -M
	Failback   string   `json:"auto_failback"`
	Member     string   `json:"member"` // on the wire: init, up, active
	Classic    string   `json:"rscstatus"`

	Peer        PeerView         `json:"peer"`
	Links       []LinkView       `json:"links"`
	Pings       []PingView       `json:"pings"`
	Reach       *ReachView       `json:"ipfail,omitempty"` // nil where the nodes do not compare what they reach
	Groups      []GroupView      `json:"groups"`
	Transitions []TransitionView `json:"transitions"` // newest last
	Alarms      []string         `json:"alarms"`
	Keys        *KeysView        `json:"keys,omitempty"`
	Fencing     *FencingView     `json:"fencing,omitempty"` // nil where no STONITH device is configured
	Files       *FilesView       `json:"files,omitempty"`   // whether both nodes have the same; nil without a peer

	Advice      *AdviceView `json:"advice,omitempty"`       // what deadtime the heartbeats so far make safe; nil without a peer
	Isolated    string      `json:"isolated,omitempty"`     // why this node is cut off from everything and takes nothing
	ByMirror    bool        `json:"by_mirror,omitempty"`    // the peer is heard only by way of hosts that answer pings
	PeerAnswers bool        `json:"peer_answers,omitempty"` // the peer is silent on every link, and answers for its addresses on the service network

	PausedMS    int64       `json:"paused_ms,omitempty"` // for how much longer takeovers are suspended
	DeadtimeMS  int64       `json:"deadtime_ms"`
	KeepaliveMS int64       `json:"keepalive_ms"`
	WorstStall  int64       `json:"worst_stall_us"`   // the latest that the loop was ever woken
	Timing      *TimingView `json:"timing,omitempty"` // how the peer's heartbeats arrive on whichever link they come first
	LostLog     uint64      `json:"lost_log_lines"`
	StaleMS     int64       `json:"stale_ms,omitempty"` // the loop did not answer: this is what it said that long ago
}

// PeerView is the other node.
type PeerView struct {
	Name        string   `json:"name"`
	State       string   `json:"state"` // unknown, init, up, active, dead, left
	Holds       []string `json:"holds"`
	Kind        string   `json:"kind"` // hapair, linux-ha
	Generation  uint32   `json:"generation,omitempty"`
	UUID        string   `json:"uuid,omitempty"`
	LastHeardMS int64    `json:"last_heard_ms"`
	DeadtimeMS  int64    `json:"deadtime_ms,omitempty"` // what it announced
	Lost        uint64   `json:"lost_packets"`

	ClockAheadMS int64 `json:"clock_ahead_ms,omitempty"` // of its wall clock before this node's, to half a second
}

// LinkView is one heartbeat medium.
type LinkView struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Kind        string            `json:"kind"`
	State       string            `json:"state"` // up, late, dead, oneway, unusable
	LastHeardMS int64             `json:"last_heard_ms"`
	Reason      string            `json:"reason,omitempty"`
	Received    uint64            `json:"received"`
	Sent        uint64            `json:"sent"`
	SendErrors  uint64            `json:"send_errors"`
	Dropped     uint64            `json:"dropped"` // frames that waited too long for a slow medium
	Invalid     map[string]uint64 `json:"invalid,omitempty"`
	Timing      *TimingView       `json:"timing,omitempty"` // how the peer's heartbeats arrive on it; nil where none did, and for mirrors
}

// FencingView is what is known and done about the other machine being off.
type FencingView struct {
	Device    string `json:"device"`
	State     string `json:"state"` // idle, waiting, delayed, running, failed, confirmed
	Reason    string `json:"reason,omitempty"`
	Tries     int    `json:"tries"`
	DelayMS   int64  `json:"delay_ms"` // how long this node waits as the standby
	DueMS     int64  `json:"due_ms"`   // until the next attempt begins; -1 for none that is set
	LastError string `json:"last_error,omitempty"`

	Checked    string `json:"checked,omitempty"` // when the device was last asked whether it works; "" before the first answer
	CheckMS    int64  `json:"check_ms"`          // how long the answer took
	CheckError string `json:"check_error,omitempty"`
}

// ReachView is how many ping nodes and groups each node reaches, as ipfail compares it.
type ReachView struct {
	Here int `json:"here"`
	Peer int `json:"peer"` // -1 while the peer has not said
}

// PingView is one ping node.
type PingView struct {
	Name        string `json:"name"`
	Up          bool   `json:"up"`
	LastHeardMS int64  `json:"last_heard_ms"`
}

// GroupView is one line of haresources. Node is the node at the start of that line, Owner the one that holds it now.
type GroupView struct {
	Name      string         `json:"name"`
	Node      string         `json:"node"`
	Owner     string         `json:"owner"`
	State     string         `json:"state"` // idle, acquiring, held, releasing, failed, stuck, adopting
	Epoch     uint64         `json:"epoch"`
	Since     string         `json:"since"`
	Reason    string         `json:"reason"`
	Double    bool           `json:"double,omitempty"`  // both nodes were found to hold it
	Removed   bool           `json:"removed,omitempty"` // not in haresources any more: it is being stopped
	Resources []ResourceView `json:"resources"`
}

// ResourceView is one resource as seen on this node.
type ResourceView struct {
	Spec  string `json:"spec"`
	State string `json:"state"` // stopped, starting, running, stopping, failed, unknown
	Since string `json:"since,omitempty"`
	Error string `json:"error,omitempty"`

	Detail string `json:"detail,omitempty"` // what there is to know of it while it runs: announcements, rules, counters

	Doing      string `json:"doing,omitempty"`       // the operation that runs now: start, stop, status
	DoingSince string `json:"doing_since,omitempty"` // since when
	DoingMS    int64  `json:"doing_ms,omitempty"`    // for how long
	LastOutput string `json:"last_output,omitempty"` // the last line that its script wrote, while it runs

	counters map[string]uint64 // of a haresources.Counter
}

// TransitionView is one change with its reason.
type TransitionView struct {
	Time   string `json:"time"`
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// stamp renders a time as every JSON of this program does; "" for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("2006-01-02T15:04:05.000Z07:00")
}

// age is milliseconds between an instant of the monotonic clock and now; -1 when it never was.
func age(now, then time.Duration) int64 {
	if then < 0 {
		return -1
	}
	return max(0, (now - then).Milliseconds())
}

// requestKinds translates the commands that the core decides about.
var requestKinds = map[Command]heartbeat.RequestKind{
	CommandStandby: heartbeat.RequestStandby, CommandTakeover: heartbeat.RequestTakeover, CommandStop: heartbeat.RequestStop,
	CommandQuit: heartbeat.RequestQuit, CommandCleanup: heartbeat.RequestCleanup,
}
