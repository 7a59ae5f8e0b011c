package daemon

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/link"
)

// The bounds of what one link may cost.
const (
	writerQueue  = 64 // frames that may wait for a slow medium; then the oldest is dropped
	backOffFirst = 100 * time.Millisecond
	backOffMost  = 5 * time.Second
	steadyAfter  = 10 * time.Second // a link that lived so long starts its back-off anew
	slowWrites   = 3                // writes in a row that ran into their deadline make a link unusable
)

// serialPatience bounds one write to a serial line (protocol section 4.5).
const serialPatience = 500 * time.Millisecond

// medium is one configured link while the daemon runs: a reader that also opens it again after it was lost, and a writer.
// A medium that hangs delays nobody else.
type medium struct {
	spec  link.Spec
	media *media
	bad   *badFrames
	put   func(heartbeat.Received)

	out  *ring[[]byte]
	kick chan struct{} // a token when out has something
	busy atomic.Bool   // the writer is at work

	mu       sync.Mutex
	link     link.Link            // nil while it is not open
	troubles [troubleKinds]string // why it is unusable, each source on its own; all "" while it is usable
	told     string               // what of it the core has been told

	tried    chan struct{} // closed after the first attempt to open
	own      atomic.Bool   // it leads to this very node: not a link
	sent     atomic.Uint64
	sendErrs atomic.Uint64
	received atomic.Uint64
	timing   timing
	echoed   atomic.Int64 // when a question about the way there and back was last answered on it, in nanoseconds
}

// prompt is a link whose Send never waits, so that the loop may call it itself: a heartbeat then costs no goroutine a wake-up.
type prompt interface{ Prompt() bool }

// send sends a frame, or queues a copy for the writer where sending might wait; it never blocks.
func (m *medium) send(frame []byte) {
	l := m.current()
	if p, ok := l.(prompt); ok && p.Prompt() {
		m.wrote(l, l.Send(frame, time.Time{}))
		return
	}
	m.out.put(bytes.Clone(frame))
	wake(m.kick)
}

// read is the reader: open, read until that fails, close, wait, again.
func (m *medium) read(ctx context.Context) {
	delay := backOffFirst
	for first := true; ctx.Err() == nil; first = false {
		opened := time.Now()
		l, err := m.media.open(m.spec)
		if err == nil {
			m.opened(l)
		} else if errors.Is(err, link.ErrOwnAddress) {
			m.own.Store(true)
		} else {
			m.unusable(opening, err)
		}
		if first {
			close(m.tried)
		}
		if m.own.Load() {
			return
		}
		if err == nil {
			stop := context.AfterFunc(ctx, func() { l.Close() })
			err = m.receive(l)
			stop()
			m.closed(l)
			if ctx.Err() != nil {
				return
			}
			m.unusable(opening, err)
			if time.Since(opened) > steadyAfter {
				delay = backOffFirst
			}
		}
		m.media.pause(ctx, delay)
		delay = min(2*delay, backOffMost)
	}
}

// deliverer is a link that can give its frames to a function at once, without a goroutine in between.
type deliverer interface{ Deliver(sink func(link.Frame)) }

// receive hands what arrives to the loop until the link fails.
func (m *medium) receive(l link.Link) error {
	if d, ok := l.(deliverer); ok {
		d.Deliver(m.frame)
	}
	for {
		f, err := l.Receive()
		if err != nil {
			return err
		}
		m.frame(f)
	}
}

// frame verifies a frame and hands its message to the loop; it does not wait.
func (m *medium) frame(f link.Frame) {
	msg, err := m.media.twin.verify(m.media.keys.Load(), f.Data)
	if err != nil {
		m.bad.add(err, f.From)
		return
	}
	if m.media.prober.frame(m, f.Received, msg) {
		return
	}
	m.media.ring.listen(f.Data, msg)
	m.received.Add(1)
	m.media.timed(m, f.Received, msg)
	m.put(heartbeat.Received{Link: m.spec.ID, From: f.From, Msg: msg})
}

// write is the writer. Frames for a link that is not open are dropped: the next heartbeat is worth more.
func (m *medium) write(ctx context.Context) {
	slow := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.kick:
		}
		m.busy.Store(true)
		for frame, ok := m.out.take(); ok && ctx.Err() == nil; frame, ok = m.out.take() {
			l := m.current()
			if l == nil {
				continue
			}
			err := l.Send(frame, time.Now().Add(m.patience()))
			if errors.Is(err, link.ErrTimeout) {
				if slow++; slow < slowWrites {
					err = nil
				}
			} else {
				slow = 0
			}
			m.wrote(l, err)
		}
		m.busy.Store(false)
	}
}

// patience is how long one write may take.
func (m *medium) patience() time.Duration {
	if m.spec.Kind == "serial" {
		return serialPatience
	}
	return time.Duration(m.media.keepalive.Load())
}

// current is the open link, or nil.
func (m *medium) current() link.Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link
}

// opened installs a fresh link.
func (m *medium) opened(l link.Link) {
	m.mu.Lock()
	m.link = l
	m.mu.Unlock()
	m.usable(opening)
	m.usable(sending)
	m.examine()
}

// closed removes the link.
func (m *medium) closed(l link.Link) {
	l.Close()
	m.mu.Lock()
	if m.link == l {
		m.link = nil
	}
	m.mu.Unlock()
}

// wrote notes the outcome of one write. A link that is gone is closed, which makes its reader open it again.
func (m *medium) wrote(l link.Link, err error) {
	if err == nil {
		m.sent.Add(1)
		m.usable(sending)
		return
	}
	m.sendErrs.Add(1)
	if m.current() != l {
		return // it was lost meanwhile, and its reader says why
	}
	m.unusable(sending, err)
	if errors.Is(err, link.ErrGone) {
		l.Close()
	}
}

// trouble is a source of reasons why a link is unusable.
type trouble int

// The sources: each takes back only what it said itself.
const (
	opening   trouble = iota // it cannot be opened, or broke
	sending                  // frames cannot be sent
	condition                // its device is down, or the cable is out
	troubleKinds
)

// unusable notes why the link does not work, from one source; usable takes that back. The core is told when the outcome
// changes.
func (m *medium) unusable(t trouble, err error) { m.note(t, explain(err)) }

func (m *medium) usable(t trouble) { m.note(t, "") }

func (m *medium) note(t trouble, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.troubles[t] = reason
	reason = ""
	for _, r := range m.troubles {
		if reason == "" {
			reason = r
		}
	}
	if reason == m.told {
		return
	}
	m.told = reason
	m.media.in.post(heartbeat.LinkState{Link: m.spec.ID, Up: reason == "", Reason: reason})
}

// examine looks at what the link stands on, after something about the network changed.
func (m *medium) examine() {
	l := m.current()
	if l == nil {
		return
	}
	err := link.Condition(l)
	if err == nil {
		m.usable(condition)
		return
	}
	m.unusable(condition, err)
	if errors.Is(err, link.ErrGone) {
		l.Close()
	}
}

// explain adds to an error what a person can do about it.
func explain(err error) string {
	switch {
	case errors.Is(err, link.ErrPermission):
		return err.Error() + " (a firewall rule of this node? let the heartbeat port through)"
	case errors.Is(err, link.ErrTimeout):
		return err.Error() + " (no connection or bad cable?)"
	}
	return err.Error()
}

// mediumStats is one medium's counters for the status.
type mediumStats struct {
	Reason             string
	Sent, SendErrors   uint64
	Received, Overflow uint64
	Bad                map[string]uint64
}

// stats is a snapshot of the counters.
func (m *medium) stats() mediumStats {
	m.mu.Lock()
	reason, l := m.told, m.link
	m.mu.Unlock()
	s := mediumStats{
		Reason: reason, Sent: m.sent.Load(), SendErrors: m.sendErrs.Load(),
		Received: m.received.Load(), Overflow: m.out.lost(), Bad: m.bad.totals(),
	}
	if l != nil {
		if c := link.Count(l); c.Dropped+c.Overflow > 0 {
			s.Bad["unexpected or too many"] = c.Dropped + c.Overflow
		}
	}
	return s
}
