package daemon

import (
	"sync"
	"sync/atomic"

	"hapair/heartbeat"
)

// inboxSize is how many messages of one link may wait for the loop: seconds of heartbeats, far more than it ever leaves.
const inboxSize = 256

// inbox is what waits for the loop. Messages from links may be dropped, oldest first and each link on its own account, so
// that a flood on one link costs the others nothing. Posted values are never dropped: each answers something.
type inbox struct {
	wake chan struct{} // a token when there is something

	mu     sync.Mutex
	came   atomic.Pointer[func()] // called when a message came
	links  []*ring[heartbeat.Received]
	posted []any // heartbeat.Event or func(): see loop.handle
}

// newInbox makes an empty inbox.
func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// attach adds a queue for one link and returns how to put messages there; detach removes it.
func (b *inbox) attach() (put func(heartbeat.Received), detach func()) {
	queue := newRing[heartbeat.Received](inboxSize)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links = append(b.links, queue)
	put = func(m heartbeat.Received) {
		queue.put(m)
		if came := b.came.Load(); came != nil {
			(*came)()
		} else {
			wake(b.wake)
		}
	}
	return put, func() { b.detach(queue) }
}

// arrived has f called, by the link's reader, after each message instead of leaving a token.
func (b *inbox) arrived(f func()) { b.came.Store(&f) }

// detach removes a link's queue.
func (b *inbox) detach(queue *ring[heartbeat.Received]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.links {
		if q == queue {
			b.links = append(b.links[:i:i], b.links[i+1:]...)
			return
		}
	}
}

// post hands the loop an event or a function to run; it never blocks.
func (b *inbox) post(v any) {
	b.mu.Lock()
	b.posted = append(b.posted, v)
	b.mu.Unlock()
	wake(b.wake)
}

// takePosted removes everything posted so far.
func (b *inbox) takePosted() []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	posted := b.posted
	b.posted = nil
	return posted
}

// drain hands each waiting message to deliver, one of each link in turn, and counts them. It ends after what a full inbox
// holds, so that senders cannot keep the loop here.
func (b *inbox) drain(deliver func(heartbeat.Received)) (count int) {
	b.mu.Lock()
	links := b.links[:len(b.links):len(b.links)]
	b.mu.Unlock()
	for range inboxSize {
		before := count
		for _, q := range links {
			if m, ok := q.take(); ok {
				deliver(m)
				count++
			}
		}
		if count == before {
			return count
		}
	}
	return count
}
