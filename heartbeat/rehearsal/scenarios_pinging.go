package rehearsal

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// pinging are scenarios of pairs that compare what they reach, as ipfail does.
func pinging() []scenario {
	// The hand-over may take twenty milliseconds beside deadping.
	const moved = 20 * time.Millisecond
	lost := limits{ours: &bound{span: span{deadpings: 1, plus: moved + hiccup}, median: &span{deadpings: 1, plus: moved}},
		theirs: &bound{span: span{deadpings: 1, plus: theirMove}}}
	back := phase{name: "back", steps: []step{{do: joinUplinks, on: both}}, hold: span{deadpings: 1, plus: time.Second}, outage: undisturbed(), dual: single()}
	off := map[string]string{"auto_failback": "off"}
	// A cable that is out is known without a ping node; it has to stay out for deadtime.
	unplugged := limits{ours: &bound{span: span{deadtimes: 1, plus: moved + hiccup}, median: &span{deadtimes: 1, plus: moved}}}
	plugged := back
	plugged.hold = span{deadtimes: 2, plus: time.Second}
	plugged.steps = []step{{do: plugService, on: active}}
	return []scenario{
		{name: "cable-lost", about: "the cable of the active node's service interface is pulled; the nodes still hear each other", needs: twoMedia | oursBoth | gateway,
			set: off, phases: []phase{
				{name: "pull", steps: []step{{do: pullService, on: active}}, hold: span{deadtimes: 1}, outage: unplugged, dual: single()}, plugged}},
		{name: "cable-standby", about: "the same happens to the standby node", needs: twoMedia | oursBoth | gateway | idleNode,
			set: off, phases: []phase{
				{name: "pull", steps: []step{{do: pullServiceIdle, on: standby}}, hold: span{deadtimes: 2, plus: time.Second}, outage: undisturbed(), dual: single()},
				{name: "plug", steps: []step{{do: plugService, on: standby}}, hold: span{deadtimes: 2, plus: time.Second}, outage: undisturbed(), dual: single()}}},
		{name: "uplink-lost", about: "the active node reaches nobody but the other node any more, which still reaches the ping nodes", needs: comparedPings | packetLoss,
			set: off, phases: []phase{
				{name: "lost", steps: []step{{do: cutUplink, on: active}}, hold: span{deadpings: 1}, outage: lost, dual: single()}, back}},
		{name: "uplink-standby", about: "the same happens to the standby node", needs: comparedPings | packetLoss | idleNode,
			set: off, phases: []phase{
				{name: "lost", steps: []step{{do: cutUplinkIdle, on: standby}}, hold: span{deadpings: 2, plus: time.Second}, outage: undisturbed(), dual: single()}, back}},
		{name: "ping-lost-both", about: "the ping nodes stop answering both nodes", needs: comparedPings | packetLoss,
			set: off, phases: []phase{
				{name: "lost", steps: []step{{do: losePings, on: both}}, hold: span{deadpings: 2, plus: time.Second}, outage: undisturbed(), dual: single()}, back}},
	}
}

var (
	cutUplink       = verb{words: "cut %[1]s from everybody but the other node", do: doCutUplink, predict: func(m *model, node int, _ step) { m.give(node, "all") }}
	pullService     = verb{words: "pull the cable of the service interface of %[1]s", do: doPullService(true), predict: predictPullService}
	pullServiceIdle = verb{words: pullService.words, do: doPullService(true)}
	plugService     = verb{words: "plug the cable of %[1]s in again", do: doPullService(false)}

	cutUplinkIdle = verb{words: cutUplink.words, do: doCutUplink}
	losePings     = verb{words: "lose every echo request to the ping nodes", do: doLosePings}
	joinUplinks   = verb{words: "let everything pass again", do: func(context.Context, *run, int, step) error { return filterBridges("") }}
)

// serviceNetwork is where the clients of the first address are.
func (p *pair) serviceNetwork() *network { return p.services[0].network }

// doPullService pulls a node's cable to that network, or plugs it in: the node sees its carrier go and come.
func doPullService(out bool) func(context.Context, *run, int, step) error {
	return func(_ context.Context, r *run, node int, _ step) error {
		plug := r.world.nodes[node].machine.Ports[r.world.pair.serviceNetwork().index]
		if out {
			return plug.Pull()
		}
		return plug.Insert()
	}
}

// predictPullService: every group with an address on that network moves, and only those.
func predictPullService(m *model, node int, _ step) {
	if node == nobody {
		return
	}
	moves := map[string]bool{}
	for _, s := range m.pair.serviceNetwork().services(m.pair) {
		moves[s.group] = true
	}
	for i, s := range m.pair.services {
		if moves[s.group] && m.owner[i] == node && m.up[1-node] {
			m.owner[i] = 1 - node
		}
	}
}

// doCutUplink leaves a node nothing but the other one: on every network, beyond the switches, so that its own cables are well.
func doCutUplink(_ context.Context, r *run, node int, _ step) error {
	var rules strings.Builder
	own, other := r.world.nodes[node].machine, r.world.nodes[1-node].machine
	for i := range own.Ports {
		fmt.Fprintf(&rules, "  iifname %[1]q oifname != %[2]q drop\n  oifname %[1]q iifname != %[2]q drop\n", own.Ports[i].Name, other.Ports[i].Name)
	}
	return filterBridges(rules.String())
}

// doLosePings keeps both nodes' echo requests from the ping nodes, and nothing else.
func doLosePings(_ context.Context, r *run, _ int, _ step) error {
	var rules strings.Builder
	for _, n := range r.world.nodes {
		for _, port := range n.machine.Ports {
			for _, h := range r.world.pair.pings {
				what := "ip daddr %s icmp type echo-request"
				if h.addr.Is6() {
					what = "ip6 daddr %s icmpv6 type echo-request"
				}
				fmt.Fprintf(&rules, "  iifname %q "+what+" drop\n", port.Name, h.addr)
			}
		}
	}
	return filterBridges(rules.String())
}
