package agent

import (
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// routing is what the agents of routes and routing rules have in common: the tables of this machine, open from the operation that first
// needs them until Close.
type routing struct {
	mu    sync.Mutex    // held by every operation from its begin to its end
	table *host.Routing // nil until it is needed
}

// open opens the tables unless they are; call it locked.
func (r *routing) open() (err error) {
	if r.table == nil {
		r.table, err = host.OpenRouting()
	}
	return err
}

// Close ends what an operation has opened; routes and rules stay.
func (r *routing) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table == nil {
		return nil
	}
	defer func() { r.table = nil }()
	return r.table.Close()
}

// Timeout is the same for every operation.
func (r *routing) Timeout(haresources.Operation) time.Duration { return addressTimeout }
