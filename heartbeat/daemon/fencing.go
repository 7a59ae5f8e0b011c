package daemon

import (
	"context"
	"sync"
	"time"

	"hapair/heartbeat"
)

// confirmed is how long a person's word that a node is off stands: longer than the core waits between two attempts.
const confirmed = 2 * time.Minute

// fencing carries out what the core asks for, one attempt at a time, and takes a person's word in its place.
type fencing struct {
	fencer Fencer
	in     *inbox
	ctx    context.Context
	tasks  sync.WaitGroup
	words  broadcast

	mu   sync.Mutex
	dead map[string]time.Time // node → when a person said that it is off
}

// newFencing makes the worker; ctx ends an attempt.
func newFencing(ctx context.Context, f Fencer, in *inbox) *fencing {
	return &fencing{fencer: f, in: in, ctx: ctx, dead: map[string]time.Time{}}
}

// do begins one attempt and answers it with a Done.
func (f *fencing) do(a heartbeat.Fence) {
	f.tasks.Go(func() {
		said := f.words.next()
		if f.off(a.Node) {
			f.in.post(heartbeat.Done{Op: a.Op})
			return
		}
		ctx, cancel := context.WithCancel(f.ctx)
		defer cancel()
		result := make(chan error, 1)
		go func() { result <- f.fencer.Fence(ctx, a.Node) }()
		for {
			select {
			case err := <-result:
				f.in.post(heartbeat.Done{Op: a.Op, Err: err})
				return
			case <-said:
				if said = f.words.next(); f.off(a.Node) {
					f.in.post(heartbeat.Done{Op: a.Op})
					return
				}
			}
		}
	})
}

// confirm takes a person's word that a node is off.
func (f *fencing) confirm(node string) {
	f.mu.Lock()
	f.dead[node] = time.Now()
	f.mu.Unlock()
	f.words.tell()
}

// off tells whether a person's word stands, and uses it up.
func (f *fencing) off(node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	said, ok := f.dead[node]
	delete(f.dead, node)
	return ok && time.Since(said) < confirmed
}
