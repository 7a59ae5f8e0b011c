package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// rule is the resource Rule::NAME=VALUE…: a routing rule that is where the group is.
type rule struct {
	routing
	want  []host.RoutingRule // one, or one of each family
	ahead atomic.Bool        // set by Follow, and not yet started or taken back
}

// openRule makes the agent.
func openRule(_ Environment, r haresources.Resource) (haresources.Agent, error) {
	a, err := parseArguments(r, "from", "to", "iif", "oif", "fwmark", "table", "prio", "family")
	if err == nil && len(a.plain) > 0 {
		err = fmt.Errorf("%q is not NAME=VALUE", a.plain[0])
	}
	var list []host.RoutingRule
	if err == nil {
		list, err = parseRule(a.named)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; write Rule::prio=NUMBER::table=TABLE and at least one of from=, to=, iif=, oif=, fwmark=", err)
	}
	return &rule{want: list}, nil
}

// parseRule reads the arguments.
func parseRule(named map[string]string) (list []host.RoutingRule, err error) {
	w := host.RoutingRule{In: named["iif"], Out: named["oif"]}
	for name, into := range map[string]*netip.Prefix{"from": &w.From, "to": &w.To} {
		if named[name] == "" || named[name] == "all" {
			continue
		}
		if *into, err = parsePrefix(named[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if w.Table, err = parseTable(named["table"]); err != nil {
		return nil, err
	}
	if w.Priority, err = parseNumber(named["prio"], "prio", 32765, 0); err != nil {
		return nil, err
	}
	if err := parseMark(named["fwmark"], &w); err != nil {
		return nil, err
	}
	switch {
	case w.Priority == 0:
		return nil, errors.New("no prio: without one nobody knows which rule comes first")
	case named["table"] == "":
		return nil, errors.New("no table")
	case w.From.IsValid() && w.To.IsValid() && w.From.Addr().Is6() != w.To.Addr().Is6():
		return nil, errors.New("from and to are of different families")
	case !w.From.IsValid() && !w.To.IsValid() && w.In == "" && w.Out == "" && w.Mask == 0:
		return nil, errors.New("the rule would be for every packet")
	}
	return families(w, named["family"])
}

// parseMark reads MARK[/MASK].
func parseMark(s string, w *host.RoutingRule) error {
	if s == "" {
		return nil
	}
	value, mask, masked := strings.Cut(s, "/")
	n, err := parseNumber(value, "fwmark", 1<<32-1, 0)
	if err != nil {
		return err
	}
	w.Mark, w.Mask = uint32(n), ^uint32(0)
	if masked {
		m, err := parseNumber(mask, "mask of fwmark", 1<<32-1, 0)
		if err != nil || m == 0 {
			return errors.Join(err, errors.New("fwmark: a mask of zero"))
		}
		w.Mask = uint32(m)
	}
	return nil
}

// families makes a rule of each family that is meant.
func families(w host.RoutingRule, family string) ([]host.RoutingRule, error) {
	four, six := w, w
	six.IPv6 = true
	for _, p := range []netip.Prefix{w.From, w.To} {
		if p.IsValid() {
			w.IPv6 = p.Addr().Is6()
			return []host.RoutingRule{w}, nil
		}
	}
	switch family {
	case "":
		return []host.RoutingRule{four, six}, nil
	case "inet":
		return []host.RoutingRule{four}, nil
	case "inet6":
		return []host.RoutingRule{six}, nil
	}
	return nil, fmt.Errorf("family: %q is neither inet nor inet6", family)
}

// each opens what is needed and calls f for every rule.
func (r *rule) each(f func(*host.Routing, host.RoutingRule) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return err
	}
	for _, w := range r.want {
		if err := f(r.table, w); err != nil {
			return err
		}
	}
	return nil
}

// there says whether a rule is in its list.
func there(o *host.Routing, w host.RoutingRule) (bool, error) {
	list, err := o.Rules(w.IPv6)
	return slices.Contains(list, w), err
}

// Start adds the rule.
func (r *rule) Start(context.Context) error {
	r.ahead.Store(false)
	return r.add()
}

// Adopt is told that the group has the rule now.
func (r *rule) Adopt(ctx context.Context) error { return r.Start(ctx) }

// Transparent says that an address need not wait for it once Follow has added it.
func (r *rule) Transparent() bool { return r.ahead.Load() }

// Follow adds the rule ahead of a takeover: how this node routes its packets is its own concern.
func (r *rule) Follow(ctx context.Context) error {
	if err := r.add(); err != nil {
		return errors.Join(err, r.Stop(ctx))
	}
	r.ahead.Store(true)
	return nil
}

// Standby takes back what Follow has added.
func (r *rule) Standby(ctx context.Context) error {
	if !r.ahead.Load() {
		return nil
	}
	return r.Stop(ctx)
}

// Lingers is true: how this node routes its packets does not concern the one that holds the group now.
func (r *rule) Lingers() bool { return true }

// add adds the rules that are not there.
func (r *rule) add() error {
	return r.each(func(o *host.Routing, w host.RoutingRule) error {
		if have, err := there(o, w); have || err != nil {
			return err
		}
		return o.AddRule(w)
	})
}

// Stop removes the rule.
func (r *rule) Stop(context.Context) error {
	r.ahead.Store(false)
	return r.each(func(o *host.Routing, w host.RoutingRule) error { return o.RemoveRule(w) })
}

// Status looks for the rule.
func (r *rule) Status(context.Context) (haresources.State, error) {
	count := 0
	err := r.each(func(o *host.Routing, w host.RoutingRule) error {
		have, err := there(o, w)
		if have {
			count++
		}
		return err
	})
	switch {
	case err != nil:
		return haresources.Unknown, err
	case count == 0:
		return haresources.Stopped, nil
	case count < len(r.want):
		return haresources.Failed, errors.New("the rule of one family is missing")
	}
	return haresources.Running, nil
}

// Watch puts the rule back when it goes.
func (r *rule) Watch(report func(haresources.State, error)) func() {
	return (&repairer{watch: host.WatchRouting, status: r.Status, start: r.Start, report: report}).begin()
}
