package rehearsal

import (
	"fmt"
	"net/netip"
	"time"

	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/rehearsal/probe"
)

// through measures a pair that stands between two networks as those behind it feel it: a host on the second service network
// asks a host on the first one, by way of the floating address that is its gateway.
type through struct {
	echo   *probe.Echo
	target netip.Addr
}

// clientRoutes lead from one service network to the others by way of the floating addresses.
func (p *pair) clientRoutes(from *network) []lab.Route {
	var routes []lab.Route
	for _, to := range p.serviceNetworks() {
		if to == from {
			continue
		}
		for _, s := range to.subnets {
			if via, ok := p.gateway(from, s.prefix.Addr().Is6()); ok {
				routes = append(routes, lab.Route{To: s.prefix, Via: via})
			}
		}
	}
	return routes
}

// gateway is the floating address of a network that its hosts would use as a router.
func (p *pair) gateway(n *network, v6 bool) (netip.Addr, bool) {
	for _, s := range n.services(p) {
		if s.addr.Is6() == v6 {
			return s.addr, true
		}
	}
	return netip.Addr{}, false
}

// addThrough starts to measure, where the pair stands between networks.
func (w *world) addThrough() error {
	if len(w.clients) < 2 {
		return nil
	}
	outside, inside := w.clients[0], w.clients[1]
	for _, s := range outside.network.subnets {
		if _, ok := w.pair.gateway(inside.network, s.client.Is6()); !ok {
			continue
		}
		echo, err := probe.StartEcho(inside.host.Do, w.clock, []netip.Addr{s.client})
		if err != nil {
			return err
		}
		w.through = &through{echo: echo, target: s.client}
		return nil
	}
	return nil
}

// judgeThrough measures what passed through the pair in a phase, if anything passed at its begin.
func (r *run) judgeThrough(p *Phase, window probe.Span) {
	t := r.world.through
	if t == nil {
		return
	}
	answers := t.echo.Answers(t.target)
	if len(probe.Moves(answers, probe.Span{From: window.From - 200*time.Millisecond, To: window.From})) == 0 {
		return
	}
	gap := probe.LongestGap(answers, t.echo.Sends(), probe.EchoPeriod, window)
	p.ThroughMS = milliseconds(gap.Outage())
	if gap.Outage() <= 5*time.Millisecond {
		return
	}
	source := "client"
	r.world.noteAt(gap.From, source, KindClient, fmt.Sprintf("nothing passes through to %s any more", t.target))
	if !gap.Open {
		r.world.noteAt(gap.To, source, KindClient, fmt.Sprintf("packets pass through to %s again, after %.1f ms", t.target, milliseconds(gap.Outage())))
	}
}
