package rehearsal

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/config"
)

// pair is what a configuration directory says of the two machines and the networks between them.
type pair struct {
	nodes      [2]string
	timing     timing
	networks   []*network
	serials    []string // device paths
	services   []*service
	names      []hostName // what ucast lines call the nodes
	pings      []pingHost
	groups     []haresources.Group
	scripts    []haresources.Resource // resources that are no addresses
	port       int                    // UDP port of the heartbeats
	compares   bool                   // they have ping nodes, and ipfail
	compresses bool                   // linux-ha compresses long messages
	fencing    bool                   // they have a fencing device
	alone      map[string]bool        // ucast devices for which the file names one of the two addresses only
}

// timing is what of ha.cf decides how long things take.
type timing struct {
	keepalive, deadtime, initdead time.Duration
	deadping                      time.Duration
	failback                      string        // on, off, legacy
	lasting                       time.Duration // how long a trial lasts in which nothing may happen; 0: as the scenario says
}

// network is one interface name of the files: both nodes have it, and a switch connects them.
type network struct {
	index     int
	device    string
	heartbeat bool // a heartbeat medium runs over it
	subnets   []*subnet
}

// subnet is an address range on a network, and who has which address in it.
type subnet struct {
	prefix netip.Prefix
	nodes  [2]netip.Addr
	client netip.Addr // of the client, on a network with services; else of the intruder
	taken  map[netip.Addr]bool
}

// service is a floating address.
type service struct {
	addr      netip.Addr
	network   *network
	group     string
	preferred int // the node that haresources names
}

// pingHost is an address that the nodes ping: the client plays it.
type pingHost struct {
	name string // as written
	addr netip.Addr
	net  *network
}

// readPair reads a configuration directory. Every error in it is reported at once.
func readPair(dir string) (*pair, error) {
	first, _ := config.Load(dir)
	if len(first.Nodes) != 2 {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		return nil, fmt.Errorf("read %s: it names %d nodes, a rehearsal needs two (see heartbeat check %s)", dir, len(first.Nodes), dir)
	}
	cfg, faults := config.Load(dir, config.WithNode(first.Nodes[0]))
	if err := faults.Err(); err != nil {
		return nil, fmt.Errorf("read %s: correct this first:\n%w", dir, err)
	}
	return newPair(cfg)
}

// newPair lays out networks and addresses for a checked configuration.
func newPair(cfg *config.Config) (*pair, error) {
	p := &pair{
		nodes: [2]string(cfg.Nodes), groups: cfg.Table.Groups, alone: map[string]bool{},
		timing: timing{keepalive: cfg.Keepalive, deadtime: cfg.Deadtime, initdead: cfg.Initdead, deadping: cfg.Deadping, failback: cfg.AutoFailback},
	}
	p.compares = cfg.IPFail && len(cfg.Pings) > 0
	p.fencing = len(cfg.FencingLevels()) > 0
	if err := p.addServices(cfg.Table); err != nil {
		return nil, err
	}
	for _, l := range cfg.Links {
		if l.Kind == "serial" {
			if !slices.Contains(p.serials, l.Device) {
				p.serials = append(p.serials, l.Device)
			}
			continue
		}
		p.network(l.Device).heartbeat = true
		p.port = l.Port
	}
	if err := p.addUnicast(cfg.Links); err != nil {
		return nil, err
	}
	p.placeServices()
	p.reserve(cfg.Pings)
	if len(p.networks) > 9 {
		return nil, fmt.Errorf("the files name %d interfaces: a rehearsal is made for 9 at most", len(p.networks))
	}
	if err := p.giveAddresses(); err != nil {
		return nil, err
	}
	return p, p.addPings(cfg.Pings)
}

// media counts what heartbeats are sent over.
func (p *pair) media() int {
	count := len(p.serials)
	for _, n := range p.networks {
		if n.heartbeat {
			count++
		}
	}
	return count
}

// paths counts what something is sent over with each keepalive: media of heartbeats, and hosts that are pinged.
func (p *pair) paths() int { return p.media() + len(p.pings) }

// network finds or adds the network of an interface name.
func (p *pair) network(device string) *network {
	for _, n := range p.networks {
		if n.device == device {
			return n
		}
	}
	n := &network{index: len(p.networks), device: device}
	p.networks = append(p.networks, n)
	return n
}

// addServices collects the floating addresses. Where a line names no interface it is found later.
func (p *pair) addServices(t haresources.Table) error {
	for _, g := range t.Groups {
		for _, r := range g.Resources {
			if !isAddress(r) {
				p.scripts = append(p.scripts, r)
				continue
			}
			a, err := parseAddress(r)
			if err != nil {
				return fmt.Errorf("%s:%d:%d: %w", t.File, r.Line, r.Col, err)
			}
			s := &service{addr: a.addr, group: g.Name, preferred: slices.Index(p.nodes[:], g.Preferred)}
			if a.device != "" {
				s.network = p.network(a.device)
				s.network.subnet(a.prefix())
			}
			p.services = append(p.services, s)
		}
	}
	return nil
}

// addressArgument is the argument of IPaddr, IPaddr2 and IPv6addr taken apart.
type addressArgument struct {
	addr   netip.Addr
	bits   int // 0 when not given
	device string
}

// isAddress says whether a resource is a floating address.
func isAddress(r haresources.Resource) bool {
	return r.Class == haresources.ClassHeartbeat && slices.Contains([]string{"IPaddr", "IPaddr2", "IPv6addr"}, r.Name) && len(r.Args) > 0
}

// parseAddress reads `ADDRESS[/LENGTH[/DEVICE[:LABEL]][/BROADCAST]]`.
func parseAddress(r haresources.Resource) (addressArgument, error) {
	words := strings.Split(r.Args[0], "/")
	addr, err := netip.ParseAddr(words[0])
	if err != nil {
		return addressArgument{}, fmt.Errorf("read the address of %s: %w", r.Spec, err)
	}
	a := addressArgument{addr: addr}
	if len(words) > 1 && words[1] != "" {
		if mask := net.ParseIP(words[1]).To4(); mask != nil {
			a.bits, _ = net.IPMask(mask).Size()
		} else if _, err := fmt.Sscanf(words[1], "%d", &a.bits); err != nil {
			return a, fmt.Errorf("read the network length of %s: %q is no number", r.Spec, words[1])
		}
	}
	if len(words) > 2 && words[2] != "" && (words[2][0] < '0' || words[2][0] > '9') {
		a.device, _, _ = strings.Cut(words[2], ":")
	}
	return a, nil
}

// prefix is the network that machines near the address live in: as written, or one that has room for them.
func (a addressArgument) prefix() netip.Prefix { return roomy(a.addr, a.bits) }

// roomy is the network around an address, made large enough for two nodes and a client.
func roomy(a netip.Addr, bits int) netip.Prefix {
	least, usual := 28, 24
	if a.Is6() {
		least, usual = 120, 64
	}
	if bits == 0 || bits > least {
		bits = usual
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// placeServices finds the interface of each address that names none: by the network it lies in, else the first one.
func (p *pair) placeServices() {
	for _, s := range p.services {
		if s.network != nil {
			continue
		}
		for _, n := range p.networks {
			if slices.ContainsFunc(n.subnets, func(s2 *subnet) bool { return s2.prefix.Contains(s.addr) }) {
				s.network = n
			}
		}
		if s.network == nil {
			if len(p.networks) == 0 {
				p.network("eth0")
			}
			s.network = p.networks[0]
			s.network.subnet(roomy(s.addr, 0))
		}
	}
	for _, s := range p.services {
		for _, n := range s.network.subnets {
			n.taken[s.addr] = true
		}
	}
}

// serviceNetworks are the networks that carry floating addresses, in the order of the files.
func (p *pair) serviceNetworks() []*network {
	var all []*network
	for _, n := range p.networks {
		if slices.ContainsFunc(p.services, func(s *service) bool { return s.network == n }) {
			all = append(all, n)
		}
	}
	return all
}

// routes says whether the pair stands between networks, as a firewall does.
func (p *pair) routes() bool { return len(p.serviceNetworks()) > 1 }
