package daemon

import "sync"

// ring is a bounded first-in first-out queue that drops its oldest entry to take a new one: for heartbeats, where a late one
// is worth less than the next.
type ring[T any] struct {
	mu      sync.Mutex
	slots   []T
	first   int
	count   int
	dropped uint64
}

// newRing makes a ring for n entries.
func newRing[T any](n int) *ring[T] { return &ring[T]{slots: make([]T, n)} }

// put appends v; it tells whether the oldest entry had to go for it.
func (r *ring[T]) put(v T) (dropped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == len(r.slots) {
		r.first = (r.first + 1) % len(r.slots)
		r.count--
		r.dropped++
		dropped = true
	}
	r.slots[(r.first+r.count)%len(r.slots)] = v
	r.count++
	return dropped
}

// take removes the oldest entry.
func (r *ring[T]) take() (v T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == 0 {
		return v, false
	}
	var zero T
	v, r.slots[r.first] = r.slots[r.first], zero
	r.first = (r.first + 1) % len(r.slots)
	r.count--
	return v, true
}

// lost is how many entries were dropped so far.
func (r *ring[T]) lost() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// wake puts a token into a channel of capacity one, unless one is there.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// empty tells whether nothing waits.
func (r *ring[T]) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count == 0
}
