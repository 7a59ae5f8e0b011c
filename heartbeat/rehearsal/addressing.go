package rehearsal

import (
	"fmt"
	"net"
	"net/netip"
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

// addUnicast takes the nodes' addresses from ucast lines. Usually both nodes have the same file, with two lines for each
// interface, in the order of the nodes; where there is one line only it names the second node's address.
func (p *pair) addUnicast(links []config.Link) error {
	named := map[string][]netip.Addr{}
	var order []string
	for _, l := range links {
		if l.Kind != "ucast" && l.Kind != "ucast6" {
			continue
		}
		peer, _, _ := strings.Cut(l.Peer, "%")
		a, err := netip.ParseAddr(peer)
		if err != nil {
			continue // a host name: /etc/hosts of the nodes will have it
		}
		key := l.Kind + " " + l.Device
		if named[key] == nil {
			order = append(order, key)
		}
		named[key] = append(named[key], a)
	}
	for _, key := range order {
		addrs := named[key]
		if len(addrs) > 2 {
			return fmt.Errorf("%s has %d addresses, but a pair has two nodes", key, len(addrs))
		}
		_, device, _ := strings.Cut(key, " ")
		s := p.network(device).subnet(roomy(addrs[0], 0))
		if len(addrs) == 1 {
			p.alone[device] = true
			addrs = append([]netip.Addr{{}}, addrs...)
		}
		for i, a := range addrs {
			if !a.IsValid() {
				continue
			}
			if !s.prefix.Contains(a) {
				return fmt.Errorf("%s: %s and %s are not in one network", key, addrs[0], addrs[1])
			}
			s.nodes[i] = a
			s.taken[a] = true
		}
	}
	return nil
}

// giveAddresses completes every network: each needs at least one range, and in each range everyone needs an address.
func (p *pair) giveAddresses() error {
	for _, n := range p.networks {
		if len(n.subnets) == 0 {
			n.subnet(netip.MustParsePrefix(fmt.Sprintf("10.231.%d.0/24", n.index+1)))
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

// hosts is the nodes' /etc/hosts: each other by name, and the hosts that ha.cf pings by name.
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
	for _, h := range p.pings {
		if h.name != h.addr.String() {
			fmt.Fprintf(&b, "%s %s\n", h.addr, h.name)
		}
	}
	return b.String()
}
