package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/host"
	"hapair/heartbeat/stonith"
	"hapair/heartbeat/wire"
)

// serve opens what people and programs talk to, runs the engine, and closes everything again in the opposite order.
func (n *node) serve(ctx, parent context.Context) error {
	e := n.engine
	control, err := newServer(n.Paths.Control(), n.before.listener(), n.log, e.answer)
	if err != nil {
		e.media.close()
		return err
	}
	e.sd = newSupervisor()
	n.prepareClients(ctx)
	e.reset = n.resetMachine
	e.checks = newChecks(ctx, e.in, n.log, e.alarms)
	e.checks.run = n.runner.check
	e.checks.apply(e.conf().Checks)
	if pipe, err := openFIFO(n.Paths.FIFO(), n.log, n.local); err != nil {
		n.log.Errorf("%v: local programs cannot send messages", err)
	} else {
		defer pipe.close()
	}
	n.watchNetwork(ctx)
	stopSignals := n.handleSignals()
	defer stopSignals()
	stopParent := context.AfterFunc(parent, func() { n.stop("its caller") })
	defer stopParent()
	if n.config.Peer != "" {
		e.compare = newComparer(ctx, e)
		e.groups.tasks.Go(func() { e.compare.run(e.groups.calm) })
		e.fencing.tasks.Go(e.fencing.watch)
		e.groups.tasks.Go(func() { e.media.prober.measure(e.groups.calm, e.peerEchoes) })
	}
	timed, untimed := context.WithCancel(ctx)
	defer untimed()
	go e.keepTiming(timed)
	control.start()
	defer control.close()
	e.web = newWeb(ctx, e)
	e.web.apply(e.conf().Metrics)
	defer e.web.close()
	e.groups.tasks.Go(func() { e.hearResources(e.groups.calm) })
	e.in.post(func() { n.ready() })
	go e.sd.tend(func() { e.in.post(func() { e.sd.alive(e.clock().Mono, e.conf().Keepalive) }) }, e.ended)
	e.prepareUpgrade = n.prepareUpgrade
	halt := e.run(ctx)
	if e.upgrade != nil {
		e.leases.close(false)
		return n.replace(*e.upgrade, control)
	}
	return n.finish(ctx, halt)
}

// ready tells those who wait for the start.
func (n *node) ready() {
	n.engine.sd.ready()
	n.engine.sd.news = true
	if n.before != nil {
		n.log.Infof("In place %v after %s ended", (realClock().Boot - n.before.Begun).Round(100*time.Microsecond), n.before.From)
	}
	if n.Ready != nil {
		n.Ready()
	}
}

// finish ends what still works after the loop has.
func (n *node) finish(ctx context.Context, halt *heartbeat.Halt) error {
	e := n.engine
	e.sd.tellLast(time.Second, "STOPPING=1")
	patience, cancel := context.WithTimeout(ctx, clientPatience)
	defer cancel()
	e.clients.stopAll(patience)
	e.rc.wait()
	e.groups.end()
	e.hooks.wait()
	e.leases.close(halt != nil && halt.Released)
	n.runner.ledger.Close()
	if halt == nil {
		return errors.New("the main loop ended without being asked to")
	}
	if !halt.Released {
		n.log.Warnf("Resources are left as they are: %s", halt.Reason)
	}
	return nil
}

// stop asks the core for a polite end.
func (n *node) stop(by string) {
	go func() {
		if err := n.engine.request(context.Background(), heartbeat.Request{Kind: heartbeat.RequestStop, By: by}); err != nil {
			n.log.Errorf("Stop: %v", err)
		}
	}()
}

// handleSignals turns signals into requests (protocol section 11.3).
func (n *node) handleSignals() (stop func()) {
	c := make(chan os.Signal, 8)
	// SIGPIPE is asked for so that a standard error that nobody reads any more cannot end the daemon.
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-c:
				n.signal(s)
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(c)
		close(done)
	}
}

func (n *node) signal(s os.Signal) {
	switch s {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		n.log.Infof("Heartbeat shutdown in progress. (%d)", os.Getpid())
		n.stop("signal " + s.String())
	case syscall.SIGHUP:
		go n.engine.reload(context.Background())
	case syscall.SIGUSR1:
		n.log.SetDebug(n.log.Debug() + 1)
		n.log.Infof("Debug level is now %d", n.log.Debug())
	case syscall.SIGUSR2:
		n.log.SetDebug(n.log.Debug() - 1)
		n.log.Infof("Debug level is now %d", n.log.Debug())
	}
}

// local takes a message from the FIFO.
func (n *node) local(m wire.Message) {
	ev, refused := fromFIFO(m)
	if refused != "" {
		n.log.Warnf("FIFO: message refused: %s", refused)
		return
	}
	r, isRequest := ev.(heartbeat.Request)
	if !isRequest {
		n.engine.in.post(ev)
		return
	}
	if err := n.engine.request(context.Background(), r); err != nil {
		n.log.Warnf("FIFO: %s refused: %v", m.Kind(), err)
	}
}

// watchNetwork has links tried again as soon as the network changes.
func (n *node) watchNetwork(ctx context.Context) {
	changes, err := host.WatchLinks(ctx)
	if err != nil {
		n.log.Warnf("%v: a link that comes back is noticed only after %v", err, backOffMost)
		return
	}
	go func() {
		for range changes {
			n.engine.media.changed()
			n.engine.uplinks.examine()
			n.engine.leases.carrier()
		}
	}()
	n.engine.leases.carrier()
}

// prepareClients has the respawn clients started as soon as this node is a member (protocol section 1.6).
func (n *node) prepareClients(ctx context.Context) {
	e := n.engine
	e.clients = &clients{log: n.log, env: environ(n.config, n.Paths), reboot: n.reboot, record: n.Paths.Clients()}
	if n.before != nil {
		e.clients.left = n.before.Clients
	} else {
		e.clients.left = readOrphans(n.Paths.Clients())
	}
	e.onActive = func() {
		go func() {
			e.reloads.Lock()
			defer e.reloads.Unlock()
			c := e.conf()
			e.clients.apply(c.Respawn, c.FailFast)
		}()
	}
	e.environment = func(c *config.Config) { n.runner.configure(c, n.Paths) }
	e.openDevice = func(c *config.Config) (stonith.Fencer, error) { return openDevice(c, n.Paths, n.log) }
	e.relog = func(c *config.Config) { n.log.Reconfigure(logConfig(c, n.Stderr, n.Verbosity)) }
}

// reboot resets this machine at once, because a failfast client ended.
func (n *node) reboot(reason string) {
	n.log.Critf("Rebooting this machine now: %s", reason)
	n.engine.journal.add(JournalEntry{Time: n.engine.clock().Wall, Node: n.config.Node, Level: sevCrit.String(), What: "Rebooting this machine", Reason: reason})
	n.engine.journal.close(closePatience)
	if err := host.Reboot(); err != nil {
		n.log.Critf("Unable to force reboot (%v): stopping instead", err)
		n.stop("failfast")
	}
}
