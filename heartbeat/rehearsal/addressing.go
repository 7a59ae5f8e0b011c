package rehearsal

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"hapair/heartbeat/config"
)

// subnet finds or adds an address range on the network.
func (n *network) subnet(prefix netip.Prefix) *subnet {
	for _, s := range n.subnets {
		if s.prefix.Overlaps(prefix) {
			return s
		}
	}
	s := &subnet{prefix: prefix, taken: map[netip.Addr]bool{}}
	n.subnets = append(n.subnets, s)
	return s
}

// hostName is a name other than a node's that a ucast line gives a node's address by.
type hostName struct {
	name string
	net  *network
	node int
	v6   bool
}

// addUnicast takes the nodes' addresses from ucast lines. Usually both nodes have the same file, with two lines for each
// interface, in the order of the nodes; where there is one line only it names the second node's address.
func (p *pair) addUnicast(links []config.Link) error {
	type place struct{ kind, device string }
	named := map[place][]string{}
	var order []place
	for _, l := range links {
		if l.Kind != "ucast" && l.Kind != "ucast6" {
			continue
		}
		peer, _, _ := strings.Cut(l.Peer, "%")
		if slices.Contains(p.nodes[:], strings.ToLower(peer)) {
			continue // a node's own name: /etc/hosts of the nodes has it
		}
		key := place{l.Kind, l.Device}
		if named[key] == nil {
			order = append(order, key)
		}
		named[key] = append(named[key], peer)
	}
	for _, key := range order {
		peers := named[key]
		if len(peers) > 2 {
			return fmt.Errorf("%s %s has %d addresses, but a pair has two nodes", key.kind, key.device, len(peers))
		}
		first := 0
		if len(peers) == 1 {
			p.alone[key.device] = true
			first = 1
		}
		n := p.network(key.device)
		for i, peer := range peers {
			node := first + i
			a, err := netip.ParseAddr(peer)
			if err != nil {
				p.names = append(p.names, hostName{peer, n, node, key.kind == "ucast6"})
				continue
			}
			s := n.subnet(roomy(a, 0)) // two that are not neighbours make two networks on the one wire
			s.nodes[node] = a
			s.taken[a] = true
		}
	}
	return nil
}

// giveAddresses completes every network: each needs at least one range, and in each range everyone needs an address.
func (p *pair) giveAddresses() error {
	for _, h := range p.names {
		if h.net.family(h.v6) == nil {
			h.net.subnet(h.net.own(h.v6))
		}
	}
	for _, n := range p.networks {
		if len(n.subnets) == 0 {
			n.subnet(n.own(false))
		}
		for _, s := range n.subnets {
			for i := range s.nodes {
				if err := s.give(&s.nodes[i], i+1); err != nil {
					return err
				}
			}
			if err := s.give(&s.client, 50); err != nil {
				return err
			}
		}
	}
	return nil
}

// own is a range for a network whose files name none.
func (n *network) own(v6 bool) netip.Prefix {
	if v6 {
		return netip.MustParsePrefix(fmt.Sprintf("fd00:231:%d::/64", n.index+1))
	}
	return netip.MustParsePrefix(fmt.Sprintf("10.231.%d.0/24", n.index+1))
}

// family is the network's first range of IPv4 or IPv6, nil where it has none.
func (n *network) family(v6 bool) *subnet {
	for _, s := range n.subnets {
		if s.prefix.Addr().Is6() == v6 {
			return s
		}
	}
	return nil
}

// give chooses a free address unless there is one: the wanted-th from the end of the range, or the next before it.
func (s *subnet) give(a *netip.Addr, wanted int) error {
	if a.IsValid() {
		return nil
	}
	free := last(s.prefix)
	for i := 0; s.prefix.Contains(free); i++ {
		if i >= min(wanted, 5) && !s.taken[free] && free != s.prefix.Addr() {
			*a = free
			s.taken[free] = true
			return nil
		}
		free = free.Prev()
	}
	return fmt.Errorf("%s has no room for two nodes and a client", s.prefix)
}

// last is the last address of a range.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// reserve keeps the addresses of hosts that the nodes ping from being given to somebody else.
func (p *pair) reserve(pings []config.Ping) {
	for _, ping := range pings {
		for _, host := range ping.Hosts {
			if addr, err := netip.ParseAddr(host); err == nil {
				for _, n := range p.networks {
					for _, s := range n.subnets {
						s.taken[addr] = true
					}
				}
			}
		}
	}
}

// addPings places the hosts that the nodes ping: in the network they belong to, else behind the first client.
func (p *pair) addPings(pings []config.Ping) error {
	for _, ping := range pings {
		for _, host := range ping.Hosts {
			addr, err := netip.ParseAddr(host)
			where := p.networks[0]
			if services := p.serviceNetworks(); len(services) > 0 {
				where = services[0]
			}
			if err != nil {
				if err := where.subnets[0].give(&addr, 60); err != nil {
					return err
				}
			}
			for _, n := range p.networks {
				for _, s := range n.subnets {
					if s.prefix.Contains(addr) {
						where = n
					}
				}
			}
			p.pings = append(p.pings, pingHost{name: host, addr: addr, net: where})
		}
	}
	return nil
}

// nodeMAC is the hardware address of a node's interface; it survives a power cut, as that of a real machine does.
func (n *network) nodeMAC(node int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0x68, 0x61, byte(n.index + 1), 0, byte(node + 1)}
}

// nodeAddresses are what a node has on this network before any floating address.
func (n *network) nodeAddresses(node int) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range n.subnets {
		all = append(all, netip.PrefixFrom(s.nodes[node], s.prefix.Bits()))
	}
	return all
}

// clientAddresses are what the client (or intruder) has on this network, the hosts that it plays included.
func (p *pair) clientAddresses(n *network) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range n.subnets {
		all = append(all, netip.PrefixFrom(s.client, s.prefix.Bits()))
	}
	for _, h := range p.pings {
		if h.net == n {
			all = append(all, netip.PrefixFrom(h.addr, h.addr.BitLen()))
		}
	}
	return all
}

// hosts is the nodes' /etc/hosts: each other by name, also by the names that ucast lines use, and the hosts that ha.cf pings by name.
func (p *pair) hosts() string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	best := p.networks[0]
	for _, n := range p.networks {
		if n.heartbeat {
			best = n
			break
		}
	}
	for i, name := range p.nodes {
		fmt.Fprintf(&b, "%s %s\n", best.subnets[0].nodes[i], name)
	}
	for _, h := range p.names {
		fmt.Fprintf(&b, "%s %s\n", h.net.family(h.v6).nodes[h.node], h.name)
	}
	for _, h := range p.pings {
		if h.name != h.addr.String() {
			fmt.Fprintf(&b, "%s %s\n", h.addr, h.name)
		}
	}
	return b.String()
}
