package probe

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Inside runs a function on a thread that is in a host's network namespace.
type Inside func(func() error) error

// EchoPeriod is the time between two echo requests to one address, unless SetPeriod has said otherwise.
const EchoPeriod = time.Millisecond

// Echo asks addresses every millisecond from one host.
type Echo struct {
	Realtime error // why its thread has no real-time priority; nil when it has

	clock   Clock
	targets []netip.Addr
	ident   uint16
	sockets map[bool]*socket // by "is it IPv6"
	period  atomic.Int64     // nanoseconds

	mu      sync.Mutex
	sends   []time.Duration
	answers [][]Answer // by target
	stop    chan struct{}
	done    sync.WaitGroup
}

// StartEcho begins to ask the targets, through sockets opened inside.
func StartEcho(inside Inside, clock Clock, targets []netip.Addr) (*Echo, error) {
	e := &Echo{clock: clock, targets: targets, ident: uint16(rand.Uint32()), sockets: map[bool]*socket{},
		answers: make([][]Answer, len(targets)), stop: make(chan struct{})}
	e.period.Store(int64(EchoPeriod))
	if err := inside(e.open); err != nil {
		e.closeSockets()
		return nil, fmt.Errorf("ask every millisecond: %w", err)
	}
	for v6, s := range e.sockets {
		e.done.Add(1)
		go e.receive(s, v6)
	}
	started := make(chan struct{})
	e.done.Add(1)
	go e.send(started)
	<-started
	return e, nil
}

// SetPeriod sets the time between two questions, for when the asking itself would disturb what is measured.
func (e *Echo) SetPeriod(period time.Duration) { e.period.Store(int64(period)) }

// Period is the time between two questions.
func (e *Echo) Period() time.Duration { return time.Duration(e.period.Load()) }

func (e *Echo) open() error {
	for _, t := range e.targets {
		if e.sockets[t.Is6()] != nil {
			continue
		}
		domain, protocol := unix.AF_INET, unix.IPPROTO_ICMP
		if t.Is6() {
			domain, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
		}
		s, err := openSocket(e.clock, domain, protocol, "")
		if err != nil {
			return err
		}
		e.sockets[t.Is6()] = s
	}
	return nil
}

// send asks every target once a period, on a thread of its own.
func (e *Echo) send(started chan<- struct{}) {
	runtime.LockOSThread() // never unlocked: a real-time thread must not serve anyone else
	defer e.done.Done()
	e.Realtime = realtime()
	close(started)
	addresses := make([]unix.Sockaddr, len(e.targets))
	for i, t := range e.targets {
		addresses[i] = sockaddr(t)
	}
	next := monotonic()
	for seq := uint16(0); ; seq++ {
		select {
		case <-e.stop:
			return
		default:
		}
		sent := e.clock.Now()
		for i, t := range e.targets {
			unix.Sendto(e.sockets[t.Is6()].fd, echoRequest(t.Is6(), e.ident, seq), unix.MSG_DONTWAIT, addresses[i])
		}
		e.mu.Lock()
		e.sends = append(e.sends, sent)
		e.mu.Unlock()
		// It always sleeps: a thread of this priority that is late and does not leaves nothing to the daemons under test.
		period := e.period.Load()
		if next += period; next < monotonic() {
			next = monotonic() + period
		}
		sleepUntil(next)
	}
}

// receive records the answers that come in on one socket, on a thread of its own.
func (e *Echo) receive(s *socket, v6 bool) {
	runtime.LockOSThread() // never unlocked: as in send
	defer e.done.Done()
	realtime() // where it is refused, send has noted that
	buffer, control := make([]byte, 2048), make([]byte, 256)
	for {
		select {
		case <-e.stop:
			return
		default:
		}
		p, ok := s.receive(buffer, control)
		if ok {
			e.take(p, v6)
		}
		s.handled(p.at)
	}
}

// take records a packet if it is an answer to us.
func (e *Echo) take(p received, v6 bool) {
	from, hops, message := p.from, p.hops, p.data
	if !v6 {
		if len(p.data) < 28 {
			return
		}
		from, hops, message = netip.AddrFrom4([4]byte(p.data[12:16])), int(p.data[8]), p.data[20:]
	}
	if len(message) >= 8 && message[0] == replyType(v6) && binary.BigEndian.Uint16(message[4:]) == e.ident {
		e.record(from, Answer{At: p.at, Node: nodeOfTTL(hops)})
	}
}

// Drain waits until every answer that came before an instant is recorded.
func (e *Echo) Drain(before time.Duration) {
	for _, s := range e.sockets {
		s.drained(before)
	}
}

func (e *Echo) record(from netip.Addr, a Answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, t := range e.targets {
		if t == from {
			e.answers[i] = append(e.answers[i], a)
		}
	}
}

// Answers are all answers of a target so far, in the order of time.
func (e *Echo) Answers(target netip.Addr) []Answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, t := range e.targets {
		if t == target {
			return e.answers[i][:len(e.answers[i]):len(e.answers[i])]
		}
	}
	return nil
}

// Sends are the times of all questions so far.
func (e *Echo) Sends() []time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sends[:len(e.sends):len(e.sends)]
}

// Stop ends the asking; the records stay.
func (e *Echo) Stop() {
	close(e.stop)
	e.done.Wait()
	e.closeSockets()
}

func (e *Echo) closeSockets() {
	for _, s := range e.sockets {
		s.close()
	}
}

func replyType(v6 bool) byte {
	if v6 {
		return reply6
	}
	return reply4
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is6() {
		return &unix.SockaddrInet6{Addr: a.As16()}
	}
	return &unix.SockaddrInet4{Addr: a.As4()}
}
