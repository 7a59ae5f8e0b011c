package heartbeat

import (
	"time"

	"hapair/heartbeat/wire"
)

// Event is something that happened. The set is closed.
type Event interface{ event() }

// OpID names one operation that the core asked for; 0 names none.
type OpID uint64

// Tick says that time has passed: Wake() is due. The daemon drains all link queues first.
type Tick struct{}

// Received is one verified message, with the link it came by.
type Received struct {
	Link string // LinkConfig.ID or PingConfig.ID
	From string // sender's address for display, "" where the medium has none
	Msg  wire.Message
}

// LinkState says that the local end of a link changed: device gone or back, carrier, EPERM from the own firewall.
type LinkState struct {
	Link   string
	Up     bool
	Reason string // why it is down, for a person
}

// Done answers Acquire, Release, Examine or Fence; Op is theirs. Err is nil on success.
type Done struct {
	Op  OpID
	Err error
	// Running, in answer to Examine: something of the group runs here.
	Running bool
	// Unsure, in answer to Examine: nothing of it says that it runs, and something does not say whether it does.
	Unsure bool
	// Stuck, in answer to a failed Release: something of the group may still run here.
	Stuck bool
}

// Looked answers Look. Answered: the peer itself answers, from a hardware address that it announced; Foreign names another that answered.
type Looked struct {
	Op       OpID
	Answered bool
	Foreign  string
	Failed   string // why nobody could be asked; "" when somebody was
}

// DeviceChecked says how long the fencing device took to answer a check.
type DeviceChecked struct{ Took time.Duration }

// Health says that a group that this node holds runs, or no longer runs and was not to be repaired in place.
type Health struct {
	Group  string
	Failed bool
	Reason string
}

// RequestKind is what a person or a script asks for.
type RequestKind int

// The requests.
const (
	RequestStandby     RequestKind = iota + 1 // give Which to the peer (hb_standby)
	RequestTakeover                           // take Which from the peer (hb_takeover)
	RequestStop                               // release everything, say goodbye, end
	RequestCleanup                            // forget that a group failed here
	RequestQuit                               // end without releasing anything (restart, upgrade): resources keep running
	RequestConfirmDead                        // a person is certain that the peer is off
	RequestFenced                             // a device has just had the peer off, because a person asked it to
	RequestPause                              // no takeover for the time For; 0 ends a pause
)

// Request comes from the control socket. The core answers it with a Reply of the same ID, at once: accepted or refused.
type Request struct {
	ID    uint64
	Kind  RequestKind
	Which string // all, local, foreign, failback; "" with Groups
	Group string // one group by name, instead of Which
	For   time.Duration
	By    string // who asked, for the journal: "operator (uid 0)", "ipfail"
}

// Reconfigure replaces the configuration of a running node (SIGHUP). Groups that went are released, new ones acquired where
// this node owns their kind. Renamed are groups that only have another name now, new names by old ones: what this node does with them and
// knows of them goes on. Parts are groups that are new and whose resources stood in another one, which goes on; Joined are groups that went
// and whose resources stand in another one now, by its name.
type Reconfigure struct {
	Config  Config
	Renamed map[string]string
	Parts   map[string]Part
	Joined  map[string]string
}

// Part says where the resources of a new group come from.
type Part struct {
	Of   string // the old name of the group that they stood in
	Runs bool   // they run here, and were not touched
}

// Submit is a message that a local program wants sent to the cluster as it is (FIFO, API): operator-defined types. It goes on every link, or
// on one where Link names it; should it be lost there, it is sent again on all.
type Submit struct {
	Msg  wire.Message
	Link string
}

// Digest is what the daemon found its files, scripts and program to be, as an opaque text of at most a thousand bytes: the peer is told.
type Digest struct{ Text string }

func (Tick) event()      {}
func (Received) event()  {}
func (LinkState) event() {}
func (Done) event()      {}
func (Looked) event()    {}
func (Health) event()    {}

func (DeviceChecked) event() {}

func (Request) event()     {}
func (Reconfigure) event() {}
func (Submit) event()      {}
func (Digest) event()      {}
