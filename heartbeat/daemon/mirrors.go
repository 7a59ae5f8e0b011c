package daemon

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/host"
	"hapair/heartbeat/link"
)

// kindMirror is the kind of the links that carry heartbeats by way of a host that answers pings.
const kindMirror = "mirror"

// mirrorsAllowed tells whether mirrors are wanted and worth believing: without a secret key anybody could keep a dead node alive.
func mirrorsAllowed(c *config.Config) bool {
	if c.Mirror == "off" || c.Peer == "" || c.Keys == nil {
		return false
	}
	for _, m := range c.Keys.Methods() {
		if m.Signs {
			return m.Keyed
		}
	}
	return false
}

// mirrorTargets lists the hosts to be used: the default gateways and every ping target.
func (e *engine) mirrorTargets(c *config.Config) []string {
	var list []string
	gateways, err := host.DefaultGateways()
	if err != nil {
		e.log.Warnf("Mirrors: %v", err)
	}
	for _, g := range gateways {
		if !e.leases.floats(g) {
			list = append(list, g.String())
		}
	}
	for _, p := range c.Pings {
		for _, h := range p.Hosts {
			if addr, err := netip.ParseAddr(h); err == nil && e.leases.floats(addr) {
				continue // it is on one of the nodes
			}
			if !slices.Contains(list, h) {
				list = append(list, h)
			}
		}
	}
	return list
}

// mirror makes the mirrors what the peer's addresses allow; it runs beside the loop.
func (e *engine) mirror(a heartbeat.Mirrors) {
	e.mirrors.Store(&a)
	go func() {
		e.reloads.Lock()
		defer e.reloads.Unlock()
		if !mirrorsAllowed(e.conf()) {
			return
		}
		var want []link.Spec
		targets := e.mirrorTargets(e.conf())
		for _, base := range a.Bases {
			for _, target := range targets {
				if spec, ok := mirrorSpec(target, base); ok {
					want = append(want, spec)
				}
			}
		}
		for _, m := range e.media.all() {
			if m.spec.Kind == kindMirror && !slices.ContainsFunc(want, func(s link.Spec) bool { return s.ID == m.spec.ID }) {
				e.media.stop(m)
			}
		}
		for _, spec := range want {
			if e.media.find(spec.ID) == nil {
				e.log.Infof("Mirror: heartbeats also go by way of %s, which is pinged in %s's name", spec.Hosts[0], e.conf().Peer)
				e.media.start(spec, true)
			}
			e.in.post(heartbeat.LinkState{Link: spec.ID, Up: true}) // the core finds out whether it works
		}
	}()
}

// floats tells whether an address belongs to a group.
func (l *leases) floats(addr netip.Addr) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, places := range l.where {
		if slices.ContainsFunc(places, func(p haresources.Location) bool { return p.Addr == addr }) {
			return true
		}
	}
	return false
}

// mirrorSpec is the link by way of a target to an address of the peer; only hosts of the same subnet can reflect, so others are left out.
func mirrorSpec(target, base string) (link.Spec, bool) {
	peer, err := netip.ParseAddr(base)
	if err != nil {
		return link.Spec{}, false
	}
	via, err := netip.ParseAddr(target)
	if err != nil || via.Is4() != peer.Is4() || via == peer {
		return link.Spec{}, false
	}
	list, err := host.Interfaces()
	if err != nil {
		return link.Spec{}, false
	}
	for _, i := range list {
		for _, a := range i.Addrs {
			if a.Prefix.Contains(via) && a.Prefix.Contains(peer) && a.Prefix.Addr() != via {
				return link.Spec{ID: "mirror " + via.String() + " " + peer.String(), Kind: kindMirror, Device: i.Name, Peer: peer.String(), Hosts: []string{via.String()}}, true
			}
		}
	}
	return link.Spec{}, false
}

// bases lists this node's own addresses on the service networks, where the peer's mirrors can reach it.
func (l *leases) bases(ctx context.Context, c *config.Config) []string {
	var places []haresources.Location
	for _, g := range c.Table.Groups {
		found, _ := l.manager.Locations(ctx, g.Name) // what cannot be found was said where the lease is made
		places = append(places, found...)
	}
	var list []string
	for _, p := range places {
		base := baseAddress(p)
		floats := slices.ContainsFunc(places, func(other haresources.Location) bool { return other.Addr == base })
		if base.IsValid() && !floats && !slices.Contains(list, base.String()) {
			list = append(list, base.String())
		}
	}
	slices.SortFunc(list, strings.Compare)
	return list
}
