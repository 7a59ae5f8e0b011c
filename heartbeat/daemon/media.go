package daemon

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"hapair/heartbeat/link"
	"hapair/heartbeat/wire"
)

// media is all links of the node. start, stop and change are called by one goroutine at a time; send by the loop.
type media struct {
	open      func(link.Spec) (link.Link, error)
	in        *inbox
	log       *Log
	keys      atomic.Pointer[wire.Keys] // as the ring has them in force
	ring      keyring
	framing   atomic.Int64 // wire.Framing of datagrams
	keepalive atomic.Int64 // nanoseconds
	sayBad    atomic.Bool
	deadtime  atomic.Int64 // nanoseconds
	timing    timing       // of the peer's heartbeats on whichever link they come first
	network   broadcast    // the network changed: try again at once

	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	members []*member
	sealed  []byte // the last datagram sent, for its room

	twin   twin
	prober *prober // nil answers nothing; set before the first link is started
}

// twin is the last frame that was verified: a node sends each on all its links, and the same bytes need no second look.
type twin struct {
	mu    sync.Mutex
	keys  *wire.Keys
	frame []byte
	msg   wire.Message
}

// verify is keys.Open, once for equal frames.
func (t *twin) verify(keys *wire.Keys, frame []byte) (wire.Message, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == keys && bytes.Equal(t.frame, frame) {
		return t.msg, nil
	}
	msg, err := keys.Open(frame)
	if err == nil {
		t.keys, t.frame, t.msg = keys, append(t.frame[:0], frame...), msg
	}
	return msg, err
}

// member is a medium with the end of its goroutines.
type member struct {
	*medium
	ping   bool
	cancel context.CancelFunc
	done   sync.WaitGroup
	detach func()
}

// newMedia makes an empty set of links.
func newMedia(ctx context.Context, in *inbox, log *Log) *media {
	s := &media{open: link.Open, in: in, log: log}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.ring.say, s.ring.apply = log.Noticef, s.keys.Store
	s.keepalive.Store(int64(time.Second))
	s.sayBad.Store(true)
	return s
}

// start begins to work one link; ping links carry echoes only.
func (s *media) start(spec link.Spec, ping bool) *member {
	m := &member{ping: ping}
	put, detach := s.in.attach()
	m.detach = detach
	m.medium = &medium{
		spec: spec, media: s, put: put, bad: newBadFrames(spec.ID, &s.sayBad, s.log.Warnf),
		out: newRing[[]byte](writerQueue), kick: make(chan struct{}, 1), tried: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(s.ctx)
	m.cancel = cancel
	m.done.Go(func() { m.read(ctx) })
	m.done.Go(func() { m.write(ctx) })
	s.mu.Lock()
	s.members = append(s.members, m)
	s.mu.Unlock()
	return m
}

// stop ends a link and waits for its goroutines, which a Close lets end.
func (s *media) stop(m *member) {
	s.mu.Lock()
	for i, other := range s.members {
		if other == m {
			s.members = append(s.members[:i:i], s.members[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	m.cancel()
	m.done.Wait()
	m.detach()
	m.bad.stop()
}

// close ends all links.
func (s *media) close() {
	s.cancel()
	for _, m := range s.all() {
		s.stop(m)
	}
}

// all is a copy of the set.
func (s *media) all() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*member(nil), s.members...)
}

// changed is called after something about the network changed: links that are down are tried again, the others examined.
func (s *media) changed() {
	s.network.tell()
	for _, m := range s.all() {
		m.examine()
	}
}

// timed notes when a message of the peer came.
func (s *media) timed(m *medium, at time.Time, msg wire.Message) {
	if s.prober == nil || m.spec.Kind == kindMirror {
		return // by way of a mirror only some are sent
	}
	if _, peer := s.prober.self(); peer == "" || msg.Get("src") != peer {
		return
	}
	if at.IsZero() {
		at = time.Now()
	}
	keepalive, deadtime := time.Duration(s.keepalive.Load()), time.Duration(s.deadtime.Load())
	m.timing.arrived(at, msg, keepalive, deadtime)
	s.timing.arrived(at, msg, keepalive, deadtime)
}

// find returns the link of that id, or nil.
func (s *media) find(id string) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.spec.ID == id {
			return m
		}
	}
	return nil
}

// leadsHere tells whether a link turned out to lead to this very node.
func (s *media) leadsHere(id string) bool {
	m := s.find(id)
	return m != nil && m.own.Load()
}

// send seals a message and queues it on one link, or on every heartbeat link for an empty id. It never blocks.
func (s *media) send(id string, msg wire.Message) {
	var datagram, text []byte
	keys := s.keys.Load()
	msg = s.ring.addClaim(msg)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if id == "" && m.ping || id != "" && id != m.spec.ID && id != m.spec.Kind || m.own.Load() {
			continue
		}
		if m.spec.Kind == "serial" {
			if text == nil {
				text = keys.Seal(nil, msg, wire.Text)
			}
			m.send(text)
			continue
		}
		if datagram == nil {
			s.sealed = keys.Seal(s.sealed[:0], msg, wire.Framing(s.framing.Load()))
			datagram = s.sealed
		}
		m.send(datagram)
	}
}

// settled waits until every link was tried once, or patience ends.
func (s *media) settled(ctx context.Context, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, m := range s.all() {
		select {
		case <-m.tried:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// flush gives the writers a moment to send what is queued: the last goodbye.
func (s *media) flush(patience time.Duration) {
	end := time.Now().Add(patience)
	for _, m := range s.all() {
		for m.current() != nil && (!m.out.empty() || m.busy.Load()) && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
		}
	}
}

// networkQuiet is how long a link that failed waits at least, also when the network changes all the time.
const networkQuiet = 20 * time.Millisecond

// pause waits before a link is opened again: until the delay is over or something about the network changed.
func (s *media) pause(ctx context.Context, delay time.Duration) {
	changed := s.network.next()
	least := time.NewTimer(networkQuiet)
	defer least.Stop()
	select {
	case <-least.C:
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
	}
}

// broadcast wakes everybody who waits for the next of something. The zero value is ready to use.
type broadcast struct {
	mu sync.Mutex
	c  chan struct{}
}

// next is closed at the next call of tell.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

// tell wakes all.
func (b *broadcast) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
