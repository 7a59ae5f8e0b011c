package daemon

import (
	"time"

	"hapair/haresources/agent"
	"hapair/heartbeat/fault"
)

// facts is what was found out about one node; judge draws the conclusions. What could not be found out is absent.
type facts struct {
	status     *Status
	refused    map[string]refusal
	probes     map[string]probed // by link; nil where the peer cannot be probed
	check      fault.List        // the files on disk and this machine
	stale      []string          // in what the files on disk differ from what is in force
	placing    map[string]string // group: why its addresses have no place
	gateways   []gatewayFact
	answers    []answerFact
	privileges privilegeFact
	disks      []diskFact
	lease      leaseFact
	drbd       []drbdFact
	fencing    *fencingFact // nil: no device is configured
}

// refusal is what was refused on a link lately.
type refusal struct {
	counts map[string]uint64
	from   string
	ago    time.Duration
}

// probed is what became of the questions that were put on one link, by the size of their frames.
type probed struct {
	small, large bool // arrived at the peer
	size         int  // of the large one in bytes; 0 for none sent
}

type gatewayFact struct {
	addr, device string
	answered     bool
}

// answerFact is an address that a machine answers for which should not.
type answerFact struct{ addr, device, mac, holder string }

type privilegeFact struct{ realtimeWanted, realtime, lockWanted, locked bool }

type diskFact struct {
	path   string
	free   uint64 // bytes
	inodes bool   // some are left
	err    string // what writing ran into
}

type leaseFact struct {
	wanted, usable bool
	addresses      int
	expired        []string // groups held here whose lease has run out
}

type drbdFact struct {
	state agent.DRBDState
	err   string
}

type fencingFact struct{ device, err string }
