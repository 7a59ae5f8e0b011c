package rehearsal

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/rehearsal/probe"
)

// world is a whole pair with everything around it, inside the laboratory.
type world struct {
	pair     *pair
	lab      *lab.Lab
	clock    probe.Clock
	copies   copies
	binary   string // of hapair, as the laboratory sees it
	hosts    string // the nodes' /etc/hosts
	switches []*lab.Switch
	cables   []*lab.Cable
	nodes    [2]*node
	clients  []*client
	through  *through // nil unless the pair stands between two networks
	intruder *lab.Host
	out      *reporter
	followed [2]*follower
	tap      *wiretap
	losing   bool // frames are being lost between the nodes on purpose

	mu      sync.Mutex
	downs   map[*lab.Machine]bool // machines that were cut on purpose
	resets  []reset               // by fencing devices
	refused []time.Duration       // when a fencing device said that it failed
}

// client is who uses the floating addresses of one network, and who watches over that. The observer is another host: what
// both nodes answer it must not reach the client's table of neighbours.
type client struct {
	network  *network
	host     *lab.Host
	observer *lab.Host
	echo     *probe.Echo
	ask      *probe.Ask
}

// build makes switches, cables, clients and both machines, and begins to measure. No daemon runs yet.
func (w *world) build(ctx context.Context, impls [2]implementation) error {
	dir, err := w.lab.Dir()
	if err != nil {
		return err
	}
	w.hosts = filepath.Join(dir, "hosts")
	if err := writeFile(w.hosts, w.pair.hosts(), 0o644); err != nil {
		return err
	}
	for _, n := range w.pair.networks {
		s, err := w.lab.NewSwitch(n.device)
		if err != nil {
			return err
		}
		w.switches = append(w.switches, s)
	}
	for _, path := range w.pair.serials {
		c := w.lab.NewCable(path)
		for i, e := range c.Ends {
			e.Listen(w.tap.serial(i))
		}
		w.cables = append(w.cables, c)
	}
	for i := range w.nodes {
		if w.nodes[i], err = w.newNode(i, impls[i]); err != nil {
			return err
		}
		if err := w.addPower(w.nodes[i]); err != nil {
			return err
		}
	}
	for i := range w.nodes {
		if err := w.boot(ctx, w.nodes[i]); err != nil {
			return err
		}
	}
	if err := w.addClients(); err != nil {
		return err
	}
	if err := w.addThrough(); err != nil {
		return err
	}
	return w.addIntruder()
}

// addClients makes a client and an observer on each network with floating addresses, and starts their probes.
func (w *world) addClients() error {
	for _, n := range w.pair.serviceNetworks() {
		var targets []netip.Addr
		for _, s := range n.services(w.pair) {
			targets = append(targets, s.addr)
		}
		c, err := w.newClient(n, targets[:min(len(targets), mostProbed)])
		if err != nil {
			return err
		}
		w.clients = append(w.clients, c)
	}
	return nil
}

// newClient makes the client and the observer of one network.
func (w *world) newClient(n *network, targets []netip.Addr) (*client, error) {
	c := &client{network: n}
	var err error
	c.host, err = w.lab.NewHost("client on "+n.device, []lab.Port{{Switch: w.switches[n.index], Device: n.device,
		MAC: net.HardwareAddr{0x02, 0x68, 0x61, byte(n.index + 1), 0, 0xc}, Addresses: w.pair.clientAddresses(n)}}, w.pair.clientRoutes(n))
	if err != nil {
		return nil, err
	}
	asked := probe.Asked{Device: n.device, Targets: targets, Nodes: [2]net.HardwareAddr{n.nodeMAC(0), n.nodeMAC(1)}}
	var addresses []netip.Prefix
	for _, s := range n.subnets {
		var a netip.Addr
		if err := s.give(&a, 4); err != nil {
			return nil, err
		}
		asked.Sources = append(asked.Sources, a)
		addresses = append(addresses, netip.PrefixFrom(a, s.prefix.Bits()))
	}
	c.observer, err = w.lab.NewHost("observer on "+n.device, []lab.Port{{Switch: w.switches[n.index], Device: n.device,
		MAC: net.HardwareAddr{0x02, 0x68, 0x61, byte(n.index + 1), 0, 0xd}, Addresses: addresses}}, nil)
	if err != nil {
		return nil, err
	}
	if c.ask, err = probe.StartAsk(c.observer.Do, w.clock, asked); err != nil {
		return nil, err
	}
	c.echo, err = probe.StartEcho(c.host.Do, w.clock, targets)
	return c, err
}

// mostProbed is how many addresses of one network are probed; more would load the machine, and move together anyway.
const mostProbed = 6

// addIntruder makes a host on every network over which heartbeats run, from where the pair can be disturbed.
func (w *world) addIntruder() error {
	var ports []lab.Port
	for _, n := range w.pair.networks {
		if !n.heartbeat {
			continue
		}
		port := lab.Port{Switch: w.switches[n.index], Device: n.device}
		s := n.subnets[0]
		var addr netip.Addr
		if err := s.give(&addr, 4); err != nil {
			return err
		}
		port.Addresses = []netip.Prefix{netip.PrefixFrom(addr, s.prefix.Bits())}
		ports = append(ports, port)
	}
	var err error
	w.intruder, err = w.lab.NewHost("intruder", ports, nil)
	return err
}

// defaultRoute is by way of the first client: hosts that the nodes ping may be behind it.
func (p *pair) defaultRoute() (lab.Route, bool) {
	for _, n := range p.serviceNetworks() {
		for _, s := range n.subnets {
			if s.prefix.Addr().Is4() {
				return lab.Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: s.client}, true
			}
		}
	}
	return lab.Route{}, false
}

// expect notes that a machine goes down on purpose.
func (w *world) expect(m *lab.Machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.downs[m] = true
}

// expected says whether a machine went down on purpose.
func (w *world) expected(m *lab.Machine) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.downs[m]
}

// note adds a line to the time line, at the present time.
func (w *world) note(source string, kind Kind, text string) {
	w.noteAt(w.clock.Now(), source, kind, text)
}

func (w *world) noteAt(at time.Duration, source string, kind Kind, text string) {
	w.out.send(message{Event: &Event{Time: at.Seconds(), Source: source, Kind: kind, Text: text}})
}

// A judgement rests on answers to at least so many rounds of questions, within at least this time.
const (
	seen       = 300 * time.Millisecond
	seenRounds = 20
)

// holders says which nodes answered for a service within the last given time: bit 0 for node 0, bit 1 for node 1.
func (w *world) holders(s *service, within time.Duration) int {
	for _, c := range w.clients {
		if c.network == s.network {
			since := w.clock.Now() - within
			if rounds := c.ask.Rounds(); within >= seen && len(rounds) > seenRounds {
				since = min(since, rounds[len(rounds)-seenRounds]) // the observer may have been held up: what counts is what it asked
			}
			return c.ask.Holders(s.addr, since)
		}
	}
	return 0
}

// clientOf finds the client that probes a service.
func (w *world) clientOf(s *service) *client {
	for _, c := range w.clients {
		if c.network == s.network {
			return c
		}
	}
	return nil
}

// probed are the services that are measured.
func (w *world) probed() []*service {
	count := map[*network]int{}
	var all []*service
	for _, s := range w.pair.services {
		if count[s.network]++; count[s.network] <= mostProbed {
			all = append(all, s)
		}
	}
	return all
}

// nodeNames words a set of nodes.
func (w *world) nodeNames(mask int) string {
	switch mask {
	case 0:
		return "nobody"
	case 1, 2:
		return w.nodes[mask-1].name
	}
	return fmt.Sprintf("both %s and %s", w.nodes[0].name, w.nodes[1].name)
}
