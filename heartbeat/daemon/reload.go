package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/link"
	"hapair/heartbeat/stonith"
)

// reloader is what a manager offers to change its table while it works.
type reloader interface {
	Reload(ctx context.Context, t haresources.Table, patience time.Duration) (haresources.Difference, error)
}

// reloadPatience is how long a reload waits for the scripts of groups whose line changed. Links, keys and the other groups do not wait for a
// script that takes longer.
const reloadPatience = 5 * time.Second

// reload reads the configuration again. A fault in it changes nothing, and the faults come back; a good one is applied as a
// difference: links, keys, groups, clients, log.
func (e *engine) reload(ctx context.Context) (faults string, err error) {
	e.reloads.Lock()
	defer e.reloads.Unlock()
	e.sd.reloading()
	defer e.sd.tell("READY=1")
	e.log.Infof("Rereading configuration in %s", e.paths.Config)
	c, list := config.Load(e.paths.Config)
	e.logFaults(list)
	if list.Err() != nil {
		e.log.Errorf("Configuration error: nothing was changed; correct the above and reload again")
		return list.Error(), errors.New("configuration error: nothing was changed")
	}
	device, err := e.reopenDevice(c)
	if err == nil {
		err = e.refuse(c)
	}
	if err != nil {
		e.log.Errorf("%v: nothing was changed", err)
		return list.Error(), err
	}
	err = e.apply(ctx, c, device)
	if trouble := (*troubleError)(nil); errors.As(err, &trouble) {
		e.log.Errorf("Configuration reread and in force, but: %v", err)
		return list.Error(), err
	}
	if err != nil {
		e.log.Errorf("Applying the configuration: %v", err)
		return list.Error(), err
	}
	e.log.Infof("Configuration reread and in force")
	return list.Error(), nil
}

// troubleError says what went wrong with resources while a configuration was applied that is in force now.
type troubleError struct{ err error }

func (t *troubleError) Error() string { return t.err.Error() }
func (t *troubleError) Unwrap() error { return t.err }

// troubleOf makes a troubleError of what a change of the resource groups ended with, nil of nil, and keeps an alarm standing about what is on
// no line any more and may still run: nothing else would speak of it.
func (e *engine) troubleOf(err error) error {
	if err == nil {
		e.alarms.clear("reload")
		return nil
	}
	if stuck := (*haresources.StuckError)(nil); errors.As(err, &stuck) {
		e.alarms.raise("reload", fmt.Sprintf("%v; it is not on its line any more: stop it by hand, then reload", stuck))
	}
	return &troubleError{err}
}

// logFaults writes what check would print.
func (e *engine) logFaults(list fault.List) { logFaults(e.log, list) }

// logFaults writes each fault with its severity.
func logFaults(log *Log, list fault.List) {
	for _, f := range list {
		sev := sevNotice
		switch f.Severity {
		case fault.Warning:
			sev = sevWarn
		case fault.Error:
			sev = sevError
		}
		log.logf(sev, "%s", f.Error())
	}
}

// refuse says which changes a running node cannot follow.
func (e *engine) refuse(c *config.Config) error {
	old := e.conf()
	switch {
	case c.Node != old.Node:
		return fmt.Errorf("this node's name changed from %s to %s: restart heartbeat for that", old.Node, c.Node)
	case c.Peer != old.Peer:
		return fmt.Errorf("the peer changed from %q to %q: restart heartbeat for that", old.Peer, c.Peer)
	}
	if err := e.refuseMoves(c); err != nil {
		return err
	}
	var later []string
	note := func(changed bool, name string) {
		if changed {
			later = append(later, name)
		}
	}
	note(c.Watchdog != old.Watchdog, "watchdog")
	note(c.Realtime != old.Realtime || c.RTPrio != old.RTPrio, "realtime")
	note(c.HBGenMethod != old.HBGenMethod, "hbgenmethod")
	note(c.UUIDFrom != old.UUIDFrom, "uuidfrom")
	for _, name := range later {
		e.log.Noticef("%s changed: it takes effect at the next start", name)
	}
	return nil
}

// refuseMoves keeps a resource from being started by a changed line of this node while the other node, which has not read it yet, runs it by
// the old one.
func (e *engine) refuseMoves(c *config.Config) error {
	core, _, err := e.coreStatus(context.Background())
	if err != nil {
		return err
	}
	owner := map[string]string{}
	for _, g := range core.Groups {
		owner[g.Name] = g.Owner
	}
	d := haresources.Diff(e.conf().Table, c.Table)
	for _, m := range d.Moved {
		to := m.To
		for old, name := range d.Renamed {
			if name == to {
				to = old
			}
		}
		if owner[m.From] == core.Peer.Name && core.Peer.Name != "" && owner[to] == core.Node {
			return fmt.Errorf("%s runs on %s, in the group %s, and is on the line of %s now, which this node holds: both would run it. "+
				"Have one node hold both groups (`heartbeat move %s`), or reload on %s first", m.Resource.Spec, core.Peer.Name, m.From, m.To, m.From, core.Peer.Name)
		}
	}
	return nil
}

// apply makes a good configuration the one in force: first what adds, then the core, then what removes, so that at no
// moment fewer links carry heartbeats than before and after.
func (e *engine) apply(ctx context.Context, c *config.Config, device stonith.Fencer) error {
	if e.environment != nil {
		e.environment(c) // before new agents are opened with it
	}
	var difference haresources.Difference
	var trouble error
	if m, ok := e.manager.(reloader); ok {
		var err error
		difference, err = m.Reload(ctx, c.Table, reloadPatience)
		if err != nil && difference.Renamed == nil { // refused as a whole
			return fmt.Errorf("nothing was changed: %w", err)
		}
		trouble = e.troubleOf(err)
	}
	obsolete := e.openNew(ctx, c)
	old := e.conf()
	change := e.difference(difference)
	e.leases.rename(difference.Renamed)
	e.leases.part(change.Parts, difference.Renamed)
	change.Config = e.coreConfig(c)
	e.config.Store(c)
	e.tune(c)
	if err := e.inLoop(ctx, loopPatience, func() { e.loop.step(e.clock(), change); e.snapshot.forget() }); err != nil {
		return err
	}
	if !sameDevices(old, c) {
		e.fencing.replace(device, fenceVerb(c))
	}
	for _, m := range obsolete {
		e.media.stop(m)
		e.log.Infof("Link %s closed: it is not in ha.cf any more", m.spec.ID)
	}
	if e.clients != nil {
		e.clients.apply(c.Respawn, c.FailFast)
	}
	if e.relog != nil && c.Log != old.Log {
		e.relog(c)
	}
	if e.checks != nil {
		e.checks.apply(c.Checks)
	}
	e.uplinks.apply(ctx, c)
	e.compare.changed()
	e.web.apply(c.Metrics)
	if a := e.mirrors.Load(); a != nil && mirrorsAllowed(c) {
		e.mirror(*a) // its ping targets may be others now
	}
	return trouble
}

// difference is what the core has to know of a change of the resource groups.
func (e *engine) difference(d haresources.Difference) heartbeat.Reconfigure {
	change := heartbeat.Reconfigure{Renamed: d.Renamed, Joined: d.Joined(), Parts: map[string]heartbeat.Part{}}
	m, ok := e.manager.(interface{ Held(group string) bool })
	for name, whole := range d.Parts() {
		change.Parts[name] = heartbeat.Part{Of: whole, Runs: ok && m.Held(name)}
	}
	return change
}

// reopenDevice opens the STONITH device of another configuration.
func (e *engine) reopenDevice(c *config.Config) (stonith.Fencer, error) {
	if e.openDevice == nil {
		return nil, nil
	}
	return e.openDevice(c)
}

// openNew opens the links that are new, and returns those that have to go. A link whose line says something else under the
// same name is replaced.
func (e *engine) openNew(ctx context.Context, c *config.Config) (obsolete []*member) {
	want := wantedLinks(c)
	has := func(spec link.Spec) bool {
		return slices.ContainsFunc(want, func(w wanted) bool { return sameSpec(w.spec, spec) })
	}
	kept := map[string]bool{}
	for _, m := range e.media.all() {
		switch {
		case has(m.spec):
			kept[m.spec.ID] = true
		case m.spec.Kind == kindMirror && mirrorsAllowed(c): // these follow the peer's addresses, see mirror
		case slices.ContainsFunc(want, func(w wanted) bool { return w.spec.ID == m.spec.ID }):
			e.media.stop(m)
		default:
			obsolete = append(obsolete, m)
		}
	}
	for _, w := range want {
		if !kept[w.spec.ID] {
			e.media.start(w.spec, w.ping)
			e.log.Infof("Link %s opened", w.spec.ID)
		}
	}
	e.media.settled(ctx, linksPatience)
	e.tellOwn()
	return obsolete
}

// sameSpec compares two specifications.
func sameSpec(a, b link.Spec) bool {
	return a.Kind == b.Kind && a.Device == b.Device && a.Peer == b.Peer && a.Group == b.Group && a.Port == b.Port && a.TTL == b.TTL &&
		a.Loop == b.Loop && a.Baud == b.Baud && a.ID == b.ID && slices.Equal(a.Hosts, b.Hosts)
}
