package daemon

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
	"hapair/heartbeat/link"
)

// Options is what the command line says about a run.
type Options struct {
	Paths      Paths
	Stderr     bool   // log to standard error, and nowhere else
	Verbosity  int    // added to ha.cf's debug
	NoRealtime bool   // -l: neither realtime scheduling nor locked memory
	Unmanaged  bool   // -M: membership only
	Ready      func() // called when the node works: links tried, control socket open; nil for nothing
}

// The exit codes of a run, as in Linux-HA (protocol section 11.2).
const (
	ExitRunning    = 1 // another daemon runs, or the start failed for a reason of this machine
	ExitPermission = 4 // a configuration file may not be read
	ExitConfig     = 6 // the configuration holds an error
)

// StartError says why a run did not begin, or did not end as it should, and with which code the process exits.
type StartError struct {
	Code   int
	Err    error
	Faults fault.List // of the configuration, to be shown whole
}

// Error is the cause's text.
func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *StartError) Unwrap() error { return e.Err }

// Run runs one node until it is stopped politely (SIGTERM, `heartbeat stop`), or ctx ends, which stops it politely too.
// Every fault of the configuration is reported before anything starts. Errors are *StartError.
func Run(ctx context.Context, o Options) error {
	c, faults := LoadConfig(o.Paths)
	if err := faults.Err(); err != nil {
		return &StartError{Code: ConfigExit(c), Err: errors.New("Configuration error, heartbeat not started."), Faults: faults}
	}
	before := inherit()
	claim, err := before.claim(o.Paths)
	if err != nil {
		return &StartError{Code: ExitRunning, Err: err}
	}
	defer claim.release()
	log := NewLog(logConfig(c, o.Stderr, o.Verbosity))
	defer log.Close()
	logFaults(log, faults)
	n := &node{Options: o, config: c, log: log, before: before, claim: claim}
	if err := n.run(ctx); err != nil {
		log.Critf("Heartbeat ends: %v", err)
		return &StartError{Code: ExitRunning, Err: err}
	}
	return nil
}

// LoadConfig reads the configuration and checks it as a start does.
func LoadConfig(p Paths) (*config.Config, fault.List) { return config.Load(p.Config) }

// ConfigExit is the exit code for a configuration with errors: a file that may not be read has its own.
func ConfigExit(c *config.Config) int {
	for _, name := range c.Unread {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrPermission) {
			return ExitPermission
		}
		if err == nil {
			f.Close()
		}
	}
	return ExitConfig
}

// node is one run of the daemon on a real machine.
type node struct {
	Options
	config *config.Config
	log    *Log
	engine *engine
	runner *runner
	claim  *claim
	before *legacy // what an upgraded predecessor in this process left; nil for none
}

// How long the end waits for each of the parts that write.
const (
	endPatience    = 2 * time.Second
	clientPatience = 60 * time.Second
)

// run is Run once the run directory is claimed.
func (n *node) run(parent context.Context) error {
	// The node outlives parent's end: that is a polite stop.
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	defer cancel()
	n.banner()
	if err := os.MkdirAll(n.Paths.State, 0o755); err != nil {
		n.log.Errorf("State directory: %v", err)
	}
	boot, writeGeneration, notes := n.identify()
	takePrivileges(n.config, !n.NoRealtime, n.log)
	lines := loadLines(n.Paths.Record(), host.BootID())
	p, err := n.parts(boot)
	if err != nil {
		return err
	}
	if p.dog = n.openWatchdog(notes); p.dog != nil {
		defer p.dog.close()
	}
	e, err := newEngine(ctx, p)
	if err != nil {
		return err
	}
	n.engine = e
	e.wantsPrivileges = !n.NoRealtime
	n.keep(writeGeneration, notes)
	defer n.closeFiles()
	n.removeLeftovers(lines, n.config)
	return n.serve(ctx, parent)
}

// banner is what Heartbeat says first.
func (n *node) banner() {
	n.log.Infof("**************************")
	n.log.Infof("Configuration validated. Starting heartbeat %s", ClassicVersion)
	n.log.Infof("heartbeat: version %s (hapair %s)", ClassicVersion, Version)
	if n.config.IPFail {
		n.log.Noticef("respawn ipfail: ping nodes are compared with the peer by heartbeat itself; the program ipfail is not started")
	}
	if n.before != nil {
		n.log.Noticef("Upgraded from %s, in the same process", n.before.From)
	}
	if n.Unmanaged {
		n.log.Warnf("Started with -M: resources are not managed")
	}
}

// identify reads what survives a restart. notes are alarms to raise once there is somebody to raise them.
func (n *node) identify() (boot heartbeat.Boot, writeGeneration func() error, notes map[string]string) {
	notes = map[string]string{}
	now := time.Now()
	if n.config.HBGenMethod == "time" {
		g := host.NextGeneration(n.Paths.State, now) // two starts within one second have to differ too
		boot.Generation = max(uint32(now.Unix()), g.Number)
		if g.Err == nil && boot.Generation > g.Number {
			writeGeneration = func() error { return host.WriteGeneration(n.Paths.State, boot.Generation) }
		}
	} else {
		g := host.NextGeneration(n.Paths.State, now)
		boot.Generation = g.Number
		for _, note := range g.Notes {
			n.log.Warnf("%s", note)
		}
		if g.Err != nil {
			notes["generation"] = generationAlarm(g.Err)
			writeGeneration = func() error { return host.WriteGeneration(n.Paths.State, g.Number) }
		}
	}
	n.log.Infof("Heartbeat generation: %d", boot.Generation)
	boot.UUID = n.uuid(notes)
	saved, err := loadState(n.Paths.Record(), host.BootID())
	if err != nil {
		n.log.Errorf("%v: starting as if this node had never held anything; what still runs will be found by asking it", err)
	}
	boot.Epochs, boot.Held, boot.Clean = saved.Epochs, saved.Held, saved.Clean
	if boot.Timing, err = loadTiming(n.Paths.Timing()); err != nil {
		n.log.Warnf("%v: it is measured anew", err)
	}
	boot.StartFenced, boot.Fences, boot.MaybeShot, boot.DeviceTook = saved.StartFenced, saved.Fences, saved.MaybeShot, saved.DeviceTook
	boot.PausedUntil = saved.PausedUntil
	var seed [8]byte
	rand.Read(seed[:])
	boot.Seed = binary.NativeEndian.Uint64(seed[:])
	return boot, writeGeneration, notes
}

// uuid is this node's identifier, from the file or the name.
func (n *node) uuid(notes map[string]string) [16]byte {
	if n.config.UUIDFrom == "nodename" {
		return uuidFromName(n.config.Node)
	}
	id, made, err := host.UUID(n.Paths.State)
	if made {
		n.log.Infof("No uuid found for current node - generating a new uuid.")
	}
	if err != nil {
		notes["uuid"] = fmt.Sprintf("%v: the next start will have another one; free some space", err)
	}
	return id
}

// parts gathers the real machine's.
func (n *node) parts(boot heartbeat.Boot) (parts, error) {
	alarm, err := host.NewAlarm()
	if err != nil {
		return parts{}, err
	}
	n.runner = newRunner(n.config, n.Paths, n.log)
	m, err := haresources.New(n.config.Table, agent.OpenLive(func() agent.Environment { return *n.runner.env.Load() }), func(ev haresources.Event) {
		logResource(n.log, ev)
		if n.engine != nil {
			n.engine.figures.operated(ev)
			n.engine.journalOutput(ev)
			n.engine.resourceEvent(ev)
		}
	})
	if err != nil {
		alarm.Close()
		return parts{}, err
	}
	p := parts{
		paths: n.Paths, config: n.config, managed: !n.Unmanaged, log: n.log, boot: boot, alarm: alarm, clock: realClock,
		open: link.Open, lease: n.openLease(), locator: m, manager: m, core: newCore, scripts: scripts{rc: n.runner.rc, hook: n.runner.hook},
	}
	if p.device, err = openDevice(n.config, n.Paths, n.log); err != nil {
		alarm.Close()
		m.Close()
		return parts{}, err
	}
	return p, nil
}

// openWatchdog arms ha.cf's watchdog. A missing device is an alarm, as it is an error for Linux-HA, and not a reason to leave
// the services unattended.
func (n *node) openWatchdog(notes map[string]string) *watchdog {
	if n.config.Watchdog == "" {
		return nil
	}
	dog, err := openWatchdog(n.config.Watchdog, n.config.WatchdogTimeout(), n.config.Keepalive, n.log)
	if err != nil {
		notes["watchdog"] = fmt.Sprintf("%v: this machine is not reset when heartbeat hangs", err)
		return nil
	}
	return dog
}

// openLease opens the kernel's lease, as far as this machine grants one.
func (n *node) openLease() leaseKeeper {
	wanted := !n.Unmanaged && n.config.Lease != "off" && n.config.Peer != ""
	lease, err := host.OpenLease(host.LeaseDir)
	if !wanted {
		if err == nil { // one that a killed predecessor left would keep the addresses mute
			err = lease.Remove()
		}
		if err != nil {
			n.log.Debugf("No lease is wanted, and none could be removed: %v", err)
		}
		return nil
	}
	if err != nil {
		n.log.Errorf("No lease: %v. If this daemon is frozen or killed its addresses go on answering while %s takes over", err, n.config.Peer)
		return nil
	}
	return lease
}

// realClock reads this machine's clocks for the core.
func realClock() heartbeat.Instant {
	c := host.ReadClocks()
	return heartbeat.Instant{Mono: c.Mono, Boot: c.Boot, Wall: c.Wall}
}

// keep starts what writes to disk.
func (n *node) keep(writeGeneration func() error, notes map[string]string) {
	e := n.engine
	for key, text := range notes {
		e.alarms.raise(key, text)
	}
	e.keeper = newKeeper(n.Paths.Record(), host.BootID(), e.alarms)
	e.keeper.generation = writeGeneration
	if m, ok := e.manager.(interface{ Line(group string) string }); ok {
		e.keeper.line = m.Line
	}
	e.keeper.start()
	e.journal = newJournal(n.Paths.Journal(), e.alarms)
	e.journal.start()
}

// closeFiles has the last state and the last transitions written.
func (n *node) closeFiles() {
	if err := saveTiming(n.Paths.Timing(), n.engine.loop.core.Status().Timing); err != nil {
		n.log.Warnf("What was measured of the heartbeats is not kept: %v", err)
	}
	n.engine.keeper.close(endPatience)
	n.engine.journal.close(endPatience)
}
