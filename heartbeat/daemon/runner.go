package daemon

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
	"hapair/heartbeat/wire"
)

// runner runs what the administrator put beside the daemon: scripts of rc.d and hooks.
type runner struct {
	env    atomic.Pointer[agent.Environment] // of the configuration in force
	ledger *host.Ledger                      // of the scripts that run
	log    *Log
}

// newRunner makes a runner for a configuration.
func newRunner(c *config.Config, p Paths, log *Log) *runner {
	r := &runner{log: log}
	var err error
	r.ledger, err = host.OpenLedger(p.Operations(), host.DefaultGrace, func(line string) { log.Warnf("%s", line) })
	if err != nil {
		log.Warnf("%v: should this daemon be killed, a script that outlives it is not known to its successor", err)
	}
	r.configure(c, p)
	return r
}

// configure gives further programs the environment of another configuration.
func (r *runner) configure(c *config.Config, p Paths) {
	env := scriptEnvironment(c, p)
	env.Ledger = r.ledger
	r.env.Store(&env)
}

// scriptEnvironment is what agents, scripts and hooks know of this node.
func scriptEnvironment(c *config.Config, p Paths) agent.Environment {
	return agent.Environment{Paths: agent.DefaultPaths(p.Config), Node: c.Node, Peer: c.Peer, Environ: environ(c, p), Pass: passes(c), HookTimeout: c.HookTimeout}
}

// passes is the traffic that no firewall resource may hold up.
func passes(c *config.Config) []agent.Pass {
	var list []agent.Pass
	for _, l := range c.Links {
		if l.Port != 0 {
			pass := agent.Pass{Device: l.Device, Port: l.Port, IPv6: strings.HasSuffix(l.Kind, "6")}
			if peer, err := netip.ParseAddr(l.Peer); err == nil && !isOwn(l.Device, peer) {
				pass.Peer = peer
			}
			list = append(list, pass)
		}
	}
	for _, p := range c.Pings {
		for _, h := range p.Hosts {
			if a, err := netip.ParseAddr(h); err == nil {
				list = append(list, agent.Pass{Ping: a})
			}
		}
	}
	return agent.WithConntrack(list, c.Table)
}

// isOwn tells whether an address of a link is this node's: a file that serves both nodes names both.
func isOwn(device string, a netip.Addr) bool {
	i, err := host.InterfaceByName(device)
	return err == nil && i.HasAddr(a.WithZone(""))
}

// rc runs the script of rc.d for a message, if there is one (protocol section 8.2).
func (r *runner) rc(ctx context.Context, m wire.Message) {
	fields := map[string]string{}
	for _, f := range m.Fields() {
		if _, have := fields[f.Name]; !have && f.Type == wire.String {
			fields[f.Name] = f.Value
		}
	}
	result, err := agent.RunRC(ctx, *r.env.Load(), fields, func(line string) { r.log.Infof("rc.d/%s: %s", m.Kind(), line) })
	switch {
	case err != nil:
		r.log.Errorf("rc.d/%s: %v", m.Kind(), err)
	case result.Ran:
		r.log.Debugf("Ran %s %s", result.Path, m.Kind())
	case result.Reason != "":
		r.log.Debugf("Not run: %s: %s", result.Path, result.Reason)
	}
}

// hook runs the administrator's programs for an event (hooks/EVENT.d). What goes wrong there is told and vetoes nothing.
func (r *runner) hook(ctx context.Context, h happening) {
	env := *r.env.Load()
	e := agent.HookEvent{Event: h.event, Group: h.group, Reason: h.reason, Time: h.at, Facts: map[string]string{"peer": env.Peer}}
	maps.Copy(e.Facts, h.facts)
	err := agent.RunHook(ctx, env, e, func(hook, line string) { r.log.Infof("%s: %s", hook, line) })
	if err != nil {
		r.log.Warnf("Hooks for %s: %v", h.event, err)
	}
}

// Check reads the configuration exactly as a start does, and compares it with this machine where thisHost says so; where it does not, the files may
// be those of other machines.
func Check(p Paths, thisHost bool) config.Report {
	c, faults := config.Load(p.Config)
	if !thisHost {
		if len(c.Nodes) > 0 && !slices.Contains(c.Nodes, c.Node) { // of another machine: as its first node reads them
			c, faults = config.Load(p.Config, config.WithNode(c.Nodes[0]))
		}
		return config.NewReport(c, faults)
	}
	return config.NewReport(c, faults, checkHost(c, p))
}

// checkHost compares a configuration with this machine.
func checkHost(c *config.Config, p Paths) fault.List {
	env := scriptEnvironment(c, p)
	faults := c.CheckHost(config.Machine{Script: func(r haresources.Resource) fault.List { return agent.Check(r, env) }})
	faults = append(faults, agent.CheckPrograms(env)...)
	faults = append(faults, checkLease(c)...)
	if routers := withRuleset(c.Table); len(routers.Groups) > 1 {
		if m, err := haresources.New(routers, agent.Open(env), nil); err == nil { // what cannot be opened is told above
			faults = append(faults, checkRouters(c, m)...)
			m.Close()
		}
	}
	faults = append(faults, checkTiming(c, p)...)
	return append(faults, checkDevices(c, p)...)
}

// OpenResources opens the resources of a table without a daemon, for the classic ResourceManager. say gets each line that
// would go to the log; the returned function has the last of them said, and ends everything but the resources themselves.
func OpenResources(p Paths, t haresources.Table, say func(string)) (m *haresources.Manager, end func(), err error) {
	c, _ := config.Load(p.Config) // with faults too: the table was read on its own
	log := newLog(0, lineSink(say))
	m, err = haresources.New(t, agent.Open(scriptEnvironment(c, p)), func(e haresources.Event) { logResource(log, e) })
	if err != nil {
		log.Close()
		return nil, nil, err
	}
	return m, func() {
		m.Close()
		log.Close()
	}, nil
}

// lineSink hands lines to a function.
type lineSink func(string)

func (s lineSink) write(r record) error {
	s(r.sev.String() + ": " + r.text)
	return nil
}

func (lineSink) close() {}
