package daemon

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/link"
	"hapair/heartbeat/stonith"
	"hapair/heartbeat/wire"
)

// engine is one node: the loop with everything that works for it. It has no socket, signal or file of its own beyond the
// links and what its parts were given, so that two of them fit into one test.
type engine struct {
	paths   Paths
	config  atomic.Pointer[config.Config]
	managed bool
	log     *Log
	alarms  *alarms
	clock   func() heartbeat.Instant

	in      *inbox
	media   *media
	groups  *groups
	manager manager
	fencing *fencing
	rc      *series // rc.d scripts, one at a time
	hooks   *hookQueues
	scripts scripts
	keeper  *keeper             // nil keeps nothing
	journal *journal            // nil writes none
	checks  *checks             // nil runs none
	uplinks *uplinks            // nil watches none
	reset   func(reason string) // resets this machine; nil does not
	clients *clients            // nil runs none
	sd      *supervisor
	leases  *leases                           // nil keeps none
	dog     *watchdog                         // nil where none is configured
	compare *comparer                         // nil compares nothing with the peer
	mirrors atomic.Pointer[heartbeat.Mirrors] // what the core asked for last

	wantsPrivileges bool // realtime scheduling and locked memory were asked for

	loop  *loop
	ended chan struct{} // closed when the loop has ended

	// The loop's own.
	boot        heartbeat.Boot
	lastRequest uint64
	replies     map[uint64]chan error
	commUp      bool

	double   sync.Map // names of groups that both nodes were found to hold
	culprits sync.Map // by group: the resource that failed last, as on its line
	figures  figures
	timeline timeline
	web      *web // nil serves no metrics
	snapshot snapshots
	reloads  sync.Mutex // one reload at a time
	started  time.Time
	onActive func() // called once, in the loop, when this node has become a member; nil for nothing

	// What a reload changes beyond the engine; nil for nothing.
	relog       func(*config.Config)
	environment func(*config.Config)
	openDevice  func(*config.Config) (stonith.Fencer, error)

	prepareUpgrade func(context.Context) (upgrader, error) // nil where this program cannot be replaced
	upgrade        *upgrader                               // set in the loop, with the halt: what to replace it by
}

// scripts runs what the administrator put beside the daemon. A nil field runs nothing.
type scripts struct {
	rc   func(ctx context.Context, m wire.Message) // rc.d/TYPE
	hook hookRunner                                // hooks/EVENT.d/*
}

// parts is what differs between a real node and one in a test.
type parts struct {
	paths   Paths
	config  *config.Config
	managed bool
	log     *Log
	boot    heartbeat.Boot
	clock   func() heartbeat.Instant
	alarm   alarm
	open    func(link.Spec) (link.Link, error)
	lease   leaseKeeper // nil where there is none
	locator locator     // with lease
	manager manager
	device  stonith.Fencer // nil for none
	dog     *watchdog      // nil for none
	scripts scripts
	core    func(heartbeat.Config, heartbeat.Boot, heartbeat.Instant) (core, error)
}

// newCore makes the real core.
func newCore(cfg heartbeat.Config, boot heartbeat.Boot, now heartbeat.Instant) (core, error) {
	n, err := heartbeat.New(cfg, boot, now)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// linksPatience is how long the start waits for all links to have been tried, so that the first heartbeat goes everywhere. A name that no
// server resolves takes seconds; a lease that a killed daemon left, and a pair that starts afresh, cannot wait for it.
const linksPatience = 250 * time.Millisecond

// newEngine opens the links and makes the core; run starts it. ctx ends everything at once, whatever it was doing: it is for
// emergencies. The worker goroutines of the links already run when newEngine returns.
func newEngine(ctx context.Context, p parts) (*engine, error) {
	e := &engine{
		paths: p.paths, managed: p.managed, log: p.log, alarms: newAlarms(p.log), clock: p.clock,
		in: newInbox(), manager: p.manager, scripts: p.scripts, boot: p.boot, sd: &supervisor{}, dog: p.dog,
		ended: make(chan struct{}), replies: map[uint64]chan error{}, started: p.clock().Wall,
		rc: newSeries(ctx, 256), hooks: newHookQueues(ctx, p.scripts.hook, p.log),
	}
	e.config.Store(p.config)
	e.groups = newGroups(ctx, p.manager, e.in, p.log)
	e.groups.hooks, e.groups.culprit = e.hooks, e.culprit
	e.groups.mute = e.muteBefore
	e.tellHealth()
	e.fencing = newFencing(ctx, p.device, fenceVerb(p.config), e.in, e.alarms)
	e.fencing.figures = &e.figures
	e.media = newMedia(ctx, e.in, p.log)
	e.media.open = p.open
	e.media.prober = &prober{media: e.media, post: func(f func()) { e.in.post(f) }, self: func() (string, string) { return e.conf().Node, e.conf().Peer }}
	e.tune(p.config)
	for _, w := range wantedLinks(p.config) {
		e.media.start(w.spec, w.ping)
	}
	e.media.settled(ctx, linksPatience)
	if p.lease != nil {
		e.leases = newLeases(ctx, p.lease, p.locator, e.in, p.log)
		if m, ok := p.manager.(*haresources.Manager); ok {
			m.Mutes = e.leases.protects
		}
		e.leases.keep()
	}
	conf := e.coreConfig(p.config)
	e.boot.Leases = e.leases.left(p.config.Table)
	c, err := p.core(conf, e.boot, p.clock())
	if err != nil {
		e.media.close()
		return nil, err
	}
	if m, ok := p.manager.(locator); ok && p.managed && p.config.Peer != "" {
		e.uplinks = newUplinks(m, func(u heartbeat.Unfit) { e.in.post(u) })
		e.uplinks.apply(ctx, p.config)
	}
	e.tellOwn()
	e.loop = &loop{core: c, clock: p.clock, alarm: p.alarm, in: e.in, act: e.act, after: e.turn, log: p.log}
	return e, nil
}

// tune sets what a configuration says about links as a whole.
func (e *engine) tune(c *config.Config) {
	e.media.ring.load(c.Keys, c.Peer)
	e.media.framing.Store(int64(framingOf(c)))
	e.media.keepalive.Store(int64(c.Keepalive))
	e.media.deadtime.Store(int64(c.Deadtime))
	e.media.sayBad.Store(c.Log.LogBadpack)
}

// tellOwn mentions the links that are left out.
func (e *engine) tellOwn() {
	for _, m := range e.media.all() {
		if m.own.Load() {
			e.log.Noticef("%s leads to this node itself and is left out; that is harmless, and lets both nodes have the same ha.cf", m.spec.ID)
		}
	}
}

// muteBefore says which addresses of a group may be added before it is acquired: none where a program of the administrator comes first.
func (e *engine) muteBefore(group string) func(netip.Addr) bool {
	if list, err := os.ReadDir(filepath.Join(e.paths.Config, "hooks", "pre-acquire.d")); err == nil && len(list) > 0 {
		return nil
	}
	return e.leases.mute(group)
}

// coreConfig is what the core has to know of a configuration on this machine.
func (e *engine) coreConfig(c *config.Config) heartbeat.Config {
	core := coreConfig(c, e.managed, e.media.leadsHere)
	if m, ok := e.manager.(preparer); ok {
		for i, g := range core.Groups {
			core.Groups[i].Prepares = m.Prepares(g.Name)
		}
	}
	if e.dog != nil {
		core.Watchdog = e.dog.timeout
	}
	e.leases.apply(c, &core)
	if _, ok := e.manager.(preparer); ok && core.Lease > 0 {
		for i := range core.Groups {
			core.Groups[i].Prepares = true // its addresses can be there, mute
		}
	}
	if e.leases != nil && mirrorsAllowed(c) {
		core.Mirrors, core.Bases = true, e.leases.bases(context.Background(), c)
	}
	return core
}

// conf is the configuration in force.
func (e *engine) conf() *config.Config { return e.config.Load() }

// lastFrames is how long the end waits for the last goodbye to leave.
const lastFrames = 200 * time.Millisecond

// run works until the core halts or ctx ends, and then lets go of the links.
func (e *engine) run(ctx context.Context) *heartbeat.Halt {
	halt := e.loop.run(ctx)
	close(e.ended)
	if e.dog != nil {
		if e.upgrade != nil {
			e.dog.leave() // it goes on counting: a new program that does not come up is reset as one that hangs
		} else {
			e.dog.close() // from here on there are no heartbeats to feed it with
		}
	}
	e.uplinks.close()
	e.media.flush(lastFrames)
	if e.upgrade == nil {
		e.media.close() // else the files close at once, by themselves, and nobody waits for a reader
	}
	e.loop.alarm.Close()
	return halt
}

// turn is called at the end of each turn of the loop.
func (e *engine) turn(now heartbeat.Instant) {
	e.sd.turned(now.Mono, e.conf().Keepalive)
	if e.sd.news {
		e.sd.news = false
		e.sd.show(e.loop.core.Status())
	}
	if !e.commUp && e.loop.core.Status().Member == "active" {
		e.commUp = true
		if e.onActive != nil {
			e.onActive()
		}
	}
}

// act carries out one action of the core; it never blocks.
func (e *engine) act(a heartbeat.Action) {
	e.figures.moved(a)
	switch a := a.(type) {
	case heartbeat.Send:
		if a.Link == "" && (e.dog != nil || e.sd.watchdog > 0) {
			e.sd.sent = e.clock().Mono
			if e.dog != nil {
				e.dog.alive(e.sd.sent)
			}
		}
		e.media.send(a.Link, a.Msg)
	case heartbeat.Renew:
		e.leases.renew(a)
	case heartbeat.Mirrors:
		e.mirror(a)
	case heartbeat.Look:
		e.leases.look(a)
	case heartbeat.Acquire:
		e.groups.do(a.Group, a)
	case heartbeat.Release:
		e.groups.do(a.Group, a)
	case heartbeat.Examine:
		e.groups.do(a.Group, a)
	case heartbeat.Prepare:
		e.groups.do(a.Group, a)
	case heartbeat.Announce:
		e.groups.do(a.Group, a)
	case heartbeat.Fence:
		e.fence(a)
	case heartbeat.CancelFence:
		e.fencing.cancel(a.Op)
	case heartbeat.ResetSelf:
		e.resetSelf(a)
	case heartbeat.Alarm:
		e.alarm(a)
	case heartbeat.Reply:
		e.replied(a)
	case heartbeat.Notify:
		e.notify(a.Msg)
	case heartbeat.Hook:
		e.hook(a)
	case heartbeat.Report:
		e.report(a)
	case heartbeat.PeerDigest:
		e.compare.heard(a.Text)
	case heartbeat.Persist:
		if e.keeper != nil {
			e.keeper.keep(a)
		}
	case heartbeat.Halt:
		e.log.Debugf("Halt: %s", a.Reason)
	}
}

// fence begins an attempt, if need be when what was to be kept before it is on disk.
func (e *engine) fence(a heartbeat.Fence) {
	ready := closed
	if a.Kept && e.keeper != nil {
		ready = e.keeper.kept()
	}
	e.fencing.do(a, ready)
}

// closed is a channel that never keeps anybody waiting.
var closed = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// alarm raises or clears an alarm of the core.
func (e *engine) alarm(a heartbeat.Alarm) {
	if a.Text == "" {
		e.alarms.clear("core " + a.Key)
	} else {
		e.alarms.raise("core "+a.Key, a.Text)
	}
}

// notify queues the rc.d script of a message.
func (e *engine) notify(m wire.Message) {
	if e.letter(m) || e.peerCalls().message(m) || e.scripts.rc == nil {
		return
	}
	m = m.Clone()
	if !e.rc.add(func(ctx context.Context) { e.scripts.rc(ctx, m) }) {
		e.log.Errorf("rc.d: script for %q not run: too many wait already", m.Kind())
	}
}

// report writes the core's line, and a transition into the journal too.
func (e *engine) report(a heartbeat.Report) {
	text := a.Text
	if a.Transition && a.Reason != "" {
		text += " (" + a.Reason + ")"
	}
	sev := severityOf(a.Level)
	e.log.logf(sev, "%s", text)
	if !a.Transition {
		return
	}
	e.sd.news = true
	if e.journal != nil {
		e.journal.add(JournalEntry{
			Time: e.clock().Wall, Node: e.conf().Node, Generation: e.boot.Generation, Level: sev.String(), What: a.Text, Reason: a.Reason,
		})
	}
}
