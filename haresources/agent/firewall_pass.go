package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hapair/heartbeat/host"
)

// Pass is traffic of the pair itself that the rules of a Firewall resource never hold up: heartbeats, and what they need.
type Pass struct {
	Device string     // interface that it comes in and goes out by; "" is any
	Port   int        // UDP port that it is sent to, by both nodes; 0 for none
	IPv6   bool       // the medium is IPv6: neighbour discovery must work too
	Peer   netip.Addr // the other node's address on Device; invalid where the medium is for everybody
	Ping   netip.Addr // an address that answers echo requests; invalid for none
}

// passComment is on each rule that lets such traffic through.
const passComment = "hapair: heartbeats pass"

// guarded says whether a chain could drop the pair's traffic, and a rule at its head prevents that.
func guarded(c host.Chain) bool {
	hooks := []int{host.HookInput, host.HookOutput, host.HookPrerouting, host.HookPostrouting}
	return slices.Contains([]string{"ip", "ip6", "inet"}, c.Table.Family) && slices.Contains(hooks, c.Hook) && c.Type != "nat"
}

// passRules are the commands that put a rule for each pass at the head of a chain.
func passRules(c host.Chain, passes []Pass) []string {
	incoming := c.Hook == host.HookInput || c.Hook == host.HookPrerouting
	var matches []string
	for _, p := range passes {
		matches = append(matches, p.matches(c.Table.Family, incoming)...)
	}
	slices.Sort(matches)
	var commands []string
	for _, m := range slices.Compact(matches) {
		commands = append(commands, fmt.Sprintf("insert rule %v %s %s accept comment %q", c.Table, c.Name, m, passComment))
	}
	return commands
}

// matches are the conditions under which a packet is the pair's, in a chain of a family.
func (p Pass) matches(family string, incoming bool) []string {
	device, from := "", "daddr"
	if p.Device != "" && incoming {
		device = fmt.Sprintf("iifname %q ", p.Device)
	} else if p.Device != "" {
		device = fmt.Sprintf("oifname %q ", p.Device)
	}
	if incoming {
		from = "saddr"
	}
	var list []string
	if p.Port > 0 && (family != "ip" || !p.IPv6) && (family != "ip6" || p.IPv6) {
		list = append(list, fmt.Sprintf("%sudp dport %d", device, p.Port))
	}
	if p.IPv6 && family != "ip" {
		list = append(list, device+"icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }")
	}
	if p.Ping.IsValid() && p.Ping.Is4() && family != "ip6" {
		list = append(list, fmt.Sprintf("ip %s %v icmp type %s", from, p.Ping, echo(incoming)))
	}
	if p.Ping.IsValid() && p.Ping.Is6() && family != "ip" {
		list = append(list, fmt.Sprintf("ip6 %s %v icmpv6 type %s", from, p.Ping.WithZone(""), echo(incoming)))
	}
	return list
}

// echo is the half of a ping that is seen in one direction.
func echo(incoming bool) string {
	if incoming {
		return "echo-reply"
	}
	return "echo-request"
}

// String tells a person what passes.
func (p Pass) String() string {
	var parts []string
	if p.Port > 0 {
		parts = append(parts, fmt.Sprintf("UDP port %d", p.Port))
	}
	if p.Device != "" {
		parts = append(parts, "on "+p.Device)
	}
	if p.Ping.IsValid() {
		parts = append(parts, fmt.Sprintf("ping of %v", p.Ping))
	}
	return strings.Join(parts, " ")
}

// ports are the UDP ports of all passes, for a message.
func ports(passes []Pass) string {
	var list []string
	for _, p := range passes {
		if p.Port > 0 {
			list = append(list, fmt.Sprint(p.Port))
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) == 0 {
		return "694"
	}
	return strings.Join(list, ", ")
}

// early says whether a chain sees packets before they are IP: the hooks of a device or a bridge.
func early(c host.Chain) bool {
	const ingress = 5 // of family inet
	return c.Hook != host.HookNone && (c.Table.Family == "netdev" || c.Table.Family == "bridge" || c.Table.Family == "inet" && c.Hook == ingress)
}
