package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/link"
	"hapair/heartbeat/wire"
)

// This file is the laboratory: nodes without a machine, for use inside a synctest bubble.

// bubbleClock counts from an arbitrary instant, so that nothing can rely on zero.
func bubbleClock() func() heartbeat.Instant {
	begin := time.Now()
	return func() heartbeat.Instant {
		passed := time.Since(begin) + time.Hour
		return heartbeat.Instant{Mono: passed, Boot: passed, Wall: time.Now()}
	}
}

// bubbleAlarm is an alarm on the bubble's timers.
type bubbleAlarm struct {
	clock func() heartbeat.Instant
	mu    sync.Mutex
	ring  func()
	timer *time.Timer
}

func newBubbleAlarm(clock func() heartbeat.Instant) *bubbleAlarm {
	return &bubbleAlarm{clock: clock, ring: func() {}}
}

func (a *bubbleAlarm) Each(f func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ring = f
	return nil
}

func (a *bubbleAlarm) ringing() {
	a.mu.Lock()
	f := a.ring
	a.mu.Unlock()
	f()
}

func (a *bubbleAlarm) Set(boot time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = time.AfterFunc(max(0, boot-a.clock().Boot), func() { a.ringing() })
	return nil
}

func (a *bubbleAlarm) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	return nil
}

// cable joins links of the same id on several nodes: what one sends all others receive. It can be cut.
type cable struct {
	id string

	mu   sync.Mutex
	ends map[*plug]bool
	cut  bool
}

// plug is one node's end of a cable.
type plug struct {
	cable  *cable
	frames chan []byte
	closed chan struct{}
	once   sync.Once

	mu    sync.Mutex
	stuck bool  // Send waits for its deadline
	err   error // Send fails with it
}

func newCable(id string) *cable { return &cable{id: id, ends: map[*plug]bool{}} }

func (c *cable) open(link.Spec) (link.Link, error) {
	p := &plug{cable: c, frames: make(chan []byte, 100), closed: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends[p] = true
	return p, nil
}

func (c *cable) setCut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

func (p *plug) ID() string   { return p.cable.id }
func (p *plug) Name() string { return p.cable.id }
func (p *plug) Kind() string { return "bcast" }

func (p *plug) Send(frame []byte, deadline time.Time) error {
	p.mu.Lock()
	stuck, err := p.stuck, p.err
	p.mu.Unlock()
	if stuck {
		time.Sleep(time.Until(deadline))
		return link.ErrTimeout
	}
	if err != nil {
		return err
	}
	p.cable.mu.Lock()
	defer p.cable.mu.Unlock()
	if p.cable.cut {
		return nil
	}
	for other := range p.cable.ends {
		if other != p {
			select {
			case other.frames <- slices.Clone(frame):
			default:
			}
		}
	}
	return nil
}

func (p *plug) Receive() (link.Frame, error) {
	select {
	case f := <-p.frames:
		return link.Frame{Data: f, Received: time.Now(), From: "peer"}, nil
	case <-p.closed:
		return link.Frame{}, link.ErrClosed
	}
}

func (p *plug) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.cable.mu.Lock()
		defer p.cable.mu.Unlock()
		delete(p.cable.ends, p)
	})
	return nil
}

// fakeManager runs groups by noting that they run. A group whose name is in hang waits for the end of its context.
type fakeManager struct {
	node string

	mu      sync.Mutex
	running map[string]bool
	hang    map[string]bool
	log     []string
}

func newFakeManager(node string) *fakeManager {
	return &fakeManager{node: node, running: map[string]bool{}, hang: map[string]bool{}}
}

func (m *fakeManager) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *fakeManager) Acquire(ctx context.Context, group string) error {
	m.mu.Lock()
	hang := m.hang[group]
	m.note("acquire %s", group)
	m.mu.Unlock()
	if hang {
		<-ctx.Done()
		return fmt.Errorf("acquire %s: %w", group, ctx.Err())
	}
	time.Sleep(time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running[group] = true
	return nil
}

func (m *fakeManager) Release(_ context.Context, group string) error {
	time.Sleep(time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note("release %s", group)
	delete(m.running, group)
	return nil
}

func (m *fakeManager) Examine(_ context.Context, group string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running[group], nil
}

func (m *fakeManager) Announce(_ context.Context, group string) error { return nil }

func (m *fakeManager) Resources(group string) []haresources.ResourceStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := haresources.Stopped
	if m.running[group] {
		state = haresources.Running
	}
	return []haresources.ResourceStatus{{Spec: group, State: state}}
}

// runs lists the running groups.
func (m *fakeManager) runs() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(m.running)), " ")
}

// memorySink keeps log lines.
type memorySink struct {
	mu    sync.Mutex
	lines []string
}

func (s *memorySink) write(r record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, r.sev.String()+": "+r.text)
	return nil
}

func (s *memorySink) close() {}

func (s *memorySink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// testKeys are the same on all nodes.
func testKeys(t *testing.T) *wire.Keys {
	t.Helper()
	keys, faults := wire.ReadKeys("authkeys", strings.NewReader("auth 1\n1 sha1 secret-of-the-laboratory\n"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return keys
}

// testConfig is a pair with the links and one group for each node.
func testConfig(t *testing.T, node string, links ...string) *config.Config {
	peer := map[string]string{"alpha": "beta", "beta": "alpha"}[node]
	c := &config.Config{
		Node: node, Peer: peer, Nodes: []string{"alpha", "beta"}, Keepalive: 100 * time.Millisecond, Warntime: 500 * time.Millisecond,
		Deadtime: time.Second, Initdead: 2 * time.Second, Deadping: time.Second, AutoFailback: config.FailbackOff, Keys: testKeys(t), HopFudge: 1,
		MaxRexmitDelay: 250 * time.Millisecond, FailbackDelay: time.Second, RetryFailed: time.Minute,
		Table: haresources.Table{Groups: []haresources.Group{
			{Name: "web", Preferred: "alpha", Resources: []haresources.Resource{{Spec: "web"}}},
			{Name: "mail", Preferred: "beta", Resources: []haresources.Resource{{Spec: "mail"}}},
		}},
	}
	c.Log.LogBadpack = true
	for _, l := range links {
		c.Links = append(c.Links, config.Link{ID: l, Name: l, Kind: "bcast", Device: l})
	}
	return c
}

// labNode is one node of the laboratory.
type labNode struct {
	*engine
	manager *fakeManager
	sink    *memorySink
	kill    context.CancelFunc
	halted  chan *heartbeat.Halt
	over    chan struct{} // closed when run has returned
}

// boot starts a node on cables. What makes the core is the real one unless given.
func boot(t *testing.T, c *config.Config, cables map[string]*cable, generation uint32, made ...core) *labNode {
	t.Helper()
	n := &labNode{manager: newFakeManager(c.Node), sink: &memorySink{}, halted: make(chan *heartbeat.Halt, 1), over: make(chan struct{})}
	clock := bubbleClock()
	ctx, kill := context.WithCancel(context.Background())
	n.kill = kill
	makeCore := newCore
	if len(made) > 0 {
		makeCore = func(heartbeat.Config, heartbeat.Boot, heartbeat.Instant) (core, error) { return made[0], nil }
	}
	e, err := newEngine(ctx, parts{
		config: c, managed: true, log: newLog(1, n.sink), clock: clock, alarm: newBubbleAlarm(clock), manager: n.manager, core: makeCore,
		boot: heartbeat.Boot{Generation: generation, UUID: [16]byte{1: c.Node[0]}, Seed: uint64(generation)},
		open: func(s link.Spec) (link.Link, error) {
			if c := cables[s.ID]; c != nil {
				return c.open(s)
			}
			return nil, errors.New("no such cable")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.engine = e
	e.compare = newComparer(ctx, e)
	go func() {
		defer close(n.over)
		n.halted <- e.run(ctx)
	}()
	return n
}

// end kills a node, if it still runs, and waits for all that worked for it.
func (n *labNode) end() {
	n.kill()
	<-n.over
	n.groups.tasks.Wait()
	n.compare.calls.tasks.Wait()
	n.rc.wait()
	n.hooks.wait()
	n.log.Close()
}

// wants fails the test unless the node's groups are these.
func (n *labNode) wants(t *testing.T, groups string) {
	t.Helper()
	if got := n.manager.runs(); got != groups {
		t.Errorf("%s runs %q, want %q\n%s", n.manager.node, got, groups, n.sink.text())
	}
}
