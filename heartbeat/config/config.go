package config

import (
	"time"

	"hapair/haresources"
	"hapair/heartbeat/wire"
)

// The values of Config.AutoFailback (protocol section 7.1).
const (
	FailbackOn     = "on"     // a group returns to its preferred node
	FailbackOff    = "off"    // groups stay where they are
	FailbackLegacy = "legacy" // what Linux-HA does where nothing is configured
)

// Config is what the files of one directory say. Load fills it as far as the files make sense; where its faults hold an
// Error nothing may be started from it.
type Config struct {
	Dir    string   // the directory the files were read from
	File   string   // the main file in it: ha.cf or heartbeat.toml
	Unread []string // files that could not be read at all

	Node       string   // this node, lower case
	NodeSource string   // where Node was found, for messages: "uname -n", the path of nodeinfo, or "the option"
	Nodes      []string // all nodes in the order of ha.cf, lower case, each once
	Peer       string   // the other node; "" for a node that runs alone

	Keepalive time.Duration // between two heartbeats
	Deadtime  time.Duration // silence that means death
	Warntime  time.Duration // silence that is worth a warning; half of Deadtime where not given
	Initdead  time.Duration // silence that means death before the first contact (protocol section 1.5)
	Deadping  time.Duration // silence that means death of a ping node; Deadtime where not given

	AutoFailback         string // FailbackOn, FailbackOff or FailbackLegacy
	AutoFailbackExplicit bool   // ha.cf says so; else it is Linux-HA's default

	Links []Link // in the order of ha.cf
	Pings []Ping // in the order of ha.cf

	Table haresources.Table
	Keys  *wire.Keys // nil where authkeys holds an Error

	MsgFmt         string        // classic or netstring (protocol section 3)
	HopFudge       int           // ttl field = HopFudge + nodes + ping nodes
	MaxRexmitDelay time.Duration // between two requests for one lost message
	HBGenMethod    string        // file or time (protocol section 5.2)
	UUIDFrom       string        // file or nodename
	Cluster        string        // the cluster's name, for display

	Realtime  bool   // run with real-time priority and locked memory
	RTPrio    int    // the real-time priority, 1 to 99
	CoreDumps bool   // allow core dumps
	CoreRoot  string // where core dumps go

	Log Log

	Respawn  []Client // started in this order, stopped in the opposite one
	FailFast []Client // as Respawn; an abnormal end reboots the machine
	IPFail   bool     // `respawn … ipfail` was given: done natively, not in Respawn
	APIAuth  []APIAuth

	Stonith      *Stonith      // `stonith`; nil when absent
	Stoniths     []Stonith     // all `stonith` lines; more than one counts only with the pragma fence-level
	StonithHosts []StonithHost // all `stonith_host` lines, of other hosts too
	Watchdog     string        // device path, "" when absent

	Env        []Directive    // `env NAME=VALUE`, exported to children as HA_NAME, in the order of the file
	Directives []Directive    // every directive with its last raw value, then the defaults: HA_<name> and hbparameter
	Lines      map[string]int // where File gives what has one value: the line by directive or pragma; absent for defaults
	Pragmas    []Pragma       // `#hapair: key=value` of ha.cf, and what heartbeat.toml says instead

	FailbackDelay time.Duration // pragma failback-delay
	RetryFailed   time.Duration // pragma retry-failed
	HookTimeout   time.Duration // pragma hook-timeout
	Checks        []Check       // pragmas check, in the order of the file
	DampMoves     int           // pragma damping-moves; 0 for never
	DampWindow    time.Duration // pragma damping-window
	Lease         string        // pragma lease: on or off; "" is on
	Mirror        string        // pragma mirror: on or off; "" is on
	Metrics       string        // pragma metrics: "unix:/path" or "address:port" of this machine alone; "" for none

	FenceDelay   time.Duration // pragma fence-delay; negative: twice the measured time of the device, and a second
	FenceTimeout time.Duration // pragma fence-timeout
	FenceAction  string        // pragma fence-action: reset or off
	StartPolicy  string        // pragma start-policy: start, start-if-ping or ask

	begin map[int]int // of File: line of a statement → column of its first word
}

// Link is one heartbeat medium (protocol section 4).
type Link struct {
	ID     string // unique: the line as normalised, "ucast eth1 10.0.0.2"
	Name   string // the classic name, shared by several ucast lines on one device: "eth1"
	Kind   string // ucast, bcast, mcast, ucast6, mcast6, serial
	Device string // interface or serial device
	Peer   string // ucast, ucast6: address or host name
	Group  string // mcast, mcast6: group address
	Port   int    // UDP port; 0 for serial
	TTL    int    // mcast, mcast6: how many routers a frame may cross, plus one
	Loop   bool   // mcast, mcast6: frames come back to other programs of this host
	Baud   int    // serial: bits per second
	Line   int    // in ha.cf
	Col    int    // of what makes it this link: the device, or the peer's or group's address
}

// Ping is a ping node or a ping group: a pseudo-node that answers echo requests (protocol section 4.6).
type Ping struct {
	ID    string   // unique: "ping 10.0.0.254", "ping_group routers"
	Name  string   // of the pseudo-node: the host as written, or the group's name
	Kind  string   // ping, ping6, ping_group
	Hosts []string // addresses or host names
	Line  int      // in ha.cf
}

// Log is where messages go, and how many.
type Log struct {
	Facility   string // syslog facility, lower case; "" for no syslog
	File       string // info and above; "" for none
	DebugFile  string // everything; "" for none
	SyslogFmt  bool   // syslog-like lines in the files
	Debug      int    // 0 to 255
	LogBadpack bool   // say when a frame is rejected
}

// Client is a `respawn` or `failfast` line (protocol section 1.6).
type Client struct {
	User    string
	Path    string // absolute
	Command string // path and arguments as written, for `sh -c "exec …"`
	Line    int
}

// APIAuth says which users and groups may use the API under a client's name (protocol section 1.7).
type APIAuth struct {
	Client     string
	UIDs, GIDs []string // names or numbers
	Line       int      // 0 for a built-in default
}

// Stonith is `stonith TYPE FILE`.
type Stonith struct {
	Type, File string
	Level      int // from 1; 0 where no pragma made levels above the line
	Line       int
}

// StonithHost is `stonith_host HOST TYPE PARAMS…`: the device that HOST (`*` for every node) uses to reset the others.
type StonithHost struct {
	Host, Type, Params string
	Level              int // as in Stonith
	Line               int
}

// Directive is the name of a directive and a raw value.
type Directive struct{ Name, Value string }

// Pragma is one `key=value` of a `#hapair:` comment.
type Pragma struct {
	Key, Value string
	Line       int
}

// Directive is the raw text that `cl_status hbparameter -p name` answers, and whether there is one.
func (c *Config) Directive(name string) (string, bool) {
	for _, d := range c.Directives {
		if d.Name == name {
			return d.Value, true
		}
	}
	return "", false
}
