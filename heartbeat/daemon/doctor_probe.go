package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"time"

	"hapair/heartbeat/wire"
)

// The doctor puts a question on one link at a time, small and as large as the medium takes, and the other daemon says on all links that it
// arrived: so each direction of each link is tried on its own. Neither message reaches the core, and neither carries anything but its own
// number; a replayed one is answered to no effect.
const (
	probeType = "NS_hapair-probe"
	seenType  = "NS_hapair-seen"
)

// The bounds of probing.
const (
	probeTries  = 3
	probeWait   = 120 * time.Millisecond // for all links at once, each time
	serialWait  = time.Second
	seenEvery   = 2 * time.Millisecond // answers are not given faster
	probeSlack  = 4                    // bytes that a large frame may be short of what the medium takes
	largestSize = 9000
)

// prober is both ends of it. The zero value with a media is ready to use.
type prober struct {
	media *media
	post  func(func()) // runs a function in the loop, which sends
	self  func() (node, peer string)

	mu       sync.Mutex
	waiting  map[string]chan struct{} // closed when it has arrived there
	answered time.Time
}

// frame takes a message of the probing; it is called by a link's reader and does not wait.
func (p *prober) frame(by *medium, at time.Time, m wire.Message) bool {
	kind := m.Kind()
	if kind != probeType && kind != seenType {
		return false
	}
	if p == nil {
		return true
	}
	node, peer := p.self()
	if m.Get("src") != peer || m.Get("dest") != node {
		return true
	}
	id := m.Get("id")
	if m.Get(echoField) != "" {
		p.echo(by, at, kind, id)
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind == seenType {
		if arrived := p.waiting[id]; arrived != nil {
			close(arrived)
			delete(p.waiting, id)
		}
		return true
	}
	if len(id) != 16 || time.Since(p.answered) < seenEvery {
		return true
	}
	p.answered = time.Now()
	r := p.message(seenType, id)
	p.post(func() { p.media.send("", r) })
	return true
}

// echoField marks a question about the time there and back: its answer goes on the link that the question came by, and on no other.
const echoField = "echo"

// How often that is asked on a link, and answered at most. A serial line is slow: a frame more is some hundred milliseconds.
const (
	echoEvery       = 10 * time.Second
	echoEverySerial = time.Minute
	echoAnswers     = 500 * time.Millisecond
	echoSoon        = 3 // questions that come sooner after a start
)

// echo takes a question about the time there and back, or its answer.
func (p *prober) echo(by *medium, at time.Time, kind, id string) {
	now := time.Now()
	if at.IsZero() {
		at = now
	}
	if kind == seenType {
		by.timing.answered(id, at)
		return
	}
	last := by.echoed.Load()
	if len(id) != 16 || now.UnixNano()-last < int64(echoAnswers) && now.UnixNano() >= last || !by.echoed.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	r := p.message(seenType, id)
	r.Add(echoField, "1")
	p.post(func() { p.media.send(by.spec.ID, r) })
}

// measure asks on each link, now and then, how long it takes there and back, until ctx ends. talks tells, in the loop, whether the peer
// understands it.
func (p *prober) measure(ctx context.Context, talks func() bool) {
	for round := 0; ; round++ {
		p.post(func() {
			if talks() {
				p.askAll(round)
			}
		})
		wait := echoEvery
		if round < echoSoon {
			wait = time.Second // the peer may have been found by then
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// askAll puts the question of one round on each link.
func (p *prober) askAll(round int) {
	for _, m := range p.media.all() {
		if m.ping || m.own.Load() || m.spec.Kind == kindMirror || m.current() == nil ||
			m.spec.Kind == "serial" && round%int(echoEverySerial/echoEvery) != 0 {
			continue
		}
		var random [8]byte
		rand.Read(random[:])
		id := hex.EncodeToString(random[:])
		q := p.message(probeType, id)
		q.Add(echoField, "1")
		m.timing.ask(id, time.Now())
		p.media.send(m.spec.ID, q)
	}
}

// message is one of ours.
func (p *prober) message(kind, id string) wire.Message {
	node, peer := p.self()
	m := wire.New(kind)
	m.Add("src", node)
	m.Add("dest", peer)
	m.Add("id", id)
	return m
}

// all tries every link that is open, and says what arrived at the peer.
func (p *prober) all(ctx context.Context) map[string]probed {
	found := map[string]probed{}
	var mu sync.Mutex
	var tasks sync.WaitGroup
	offset := time.Duration(0)
	for _, m := range p.media.all() {
		if m.ping || m.own.Load() || m.current() == nil {
			continue
		}
		size := datagramSize(m.spec.Kind, m.spec.Device)
		delay := offset
		offset += 4 * seenEvery // the other end answers one at a time
		tasks.Go(func() {
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				return
			}
			r := probed{size: size}
			r.small = p.try(ctx, m, 0)
			if r.small && size > 0 {
				r.large = p.try(ctx, m, size)
			}
			mu.Lock()
			defer mu.Unlock()
			found[m.spec.ID] = r
		})
	}
	tasks.Wait()
	return found
}

// try puts a question on one link, a few times, and tells whether it arrived.
func (p *prober) try(ctx context.Context, m *member, size int) bool {
	wait := probeWait
	if m.spec.Kind == "serial" {
		wait = serialWait
	}
	for range probeTries {
		var random [8]byte
		rand.Read(random[:])
		id := hex.EncodeToString(random[:])
		arrived := make(chan struct{})
		p.mu.Lock()
		if p.waiting == nil {
			p.waiting = map[string]chan struct{}{}
		}
		p.waiting[id] = arrived
		p.mu.Unlock()
		q := p.message(probeType, id)
		if size > 0 {
			q = p.padded(q, size)
		}
		p.post(func() { p.media.send(m.spec.ID, q) })
		select {
		case <-arrived:
			return true
		case <-time.After(wait):
		case <-ctx.Done():
		}
		p.mu.Lock()
		delete(p.waiting, id)
		p.mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
	}
	return false
}

// padded fills a message up so that its datagram is as large as can be, and not larger than size.
func (p *prober) padded(m wire.Message, size int) wire.Message {
	length := func(pad int) int {
		full := m.Clone()
		full.Add("pad", strings.Repeat("x", max(0, pad)))
		return len(p.media.keys.Load().Seal(nil, full, wire.Framing(p.media.framing.Load())))
	}
	pad := size - length(0)
	for range probeSlack { // the length of a length may differ
		if over := length(pad) - size; over > 0 {
			pad -= over
		}
	}
	m.Add("pad", strings.Repeat("x", max(0, pad)))
	return m
}

// datagramSize is what fits into one frame of a link's device, 0 where there are no such frames.
func datagramSize(kind, device string) int {
	i, err := net.InterfaceByName(device)
	if err != nil || i.MTU <= 0 || i.MTU > largestSize {
		return 0
	}
	switch kind {
	case "ucast", "bcast", "mcast":
		return i.MTU - 28
	case "ucast6", "mcast6":
		return i.MTU - 48
	}
	return 0
}
