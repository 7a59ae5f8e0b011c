package probe

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// AskPeriod is the time between two rounds of questions to both nodes.
const AskPeriod = 10 * time.Millisecond

// Asked is one network that Ask works on.
type Asked struct {
	Device  string              // the host's interface there
	Sources []netip.Addr        // the host's own addresses there, at most one of each family
	Targets []netip.Addr        // the floating addresses there
	Nodes   [2]net.HardwareAddr // both nodes' MAC addresses there; nil for a node that is not on this network
}

// Announcement is an unasked claim to an address.
type Announcement struct {
	At     time.Duration
	Target netip.Addr
	Node   int
	Form   string // request or reply (ARP), advertisement (IPv6)
}

// Ask asks both nodes for every address of one network by their MAC addresses, and listens to announcements.
type Ask struct {
	clock   Clock
	network Asked
	own     mac
	ident   uint16
	sockets []*socket // ARP, IPv4, IPv6

	mu            sync.Mutex
	rounds        []time.Duration
	answers       map[netip.Addr][]Answer
	announcements []Announcement
	stop          chan struct{}
	done          sync.WaitGroup
}

// StartAsk begins to ask, through sockets opened inside.
func StartAsk(inside Inside, clock Clock, network Asked) (*Ask, error) {
	a := &Ask{clock: clock, network: network, ident: uint16(rand.Uint32()), answers: map[netip.Addr][]Answer{}, stop: make(chan struct{})}
	if err := inside(a.open); err != nil {
		a.closeSockets()
		return nil, fmt.Errorf("ask both nodes on %s: %w", network.Device, err)
	}
	for _, s := range a.sockets {
		a.done.Add(1)
		go a.receive(s)
	}
	a.done.Add(1)
	go a.send()
	return a, nil
}

func (a *Ask) open() error {
	device, err := net.InterfaceByName(a.network.Device)
	if err != nil {
		return fmt.Errorf("find %s: %w", a.network.Device, err)
	}
	a.own = mac(device.HardwareAddr)
	for _, protocol := range []uint16{unix.ETH_P_ARP, unix.ETH_P_IP, unix.ETH_P_IPV6} {
		s, err := openSocket(a.clock, unix.AF_PACKET, int(networkOrder(protocol)), a.network.Device)
		if err != nil {
			return err
		}
		a.sockets = append(a.sockets, s)
	}
	return nil
}

func networkOrder(v uint16) uint16 { return v>>8 | v<<8 }

// send asks one round each period. Late rounds are not made up for.
func (a *Ask) send() {
	defer a.done.Done()
	ticker := time.NewTicker(AskPeriod)
	defer ticker.Stop()
	for seq := uint16(0); ; seq++ {
		select {
		case <-a.stop:
			return
		case <-ticker.C:
		}
		a.mu.Lock()
		a.rounds = append(a.rounds, a.clock.Now())
		a.mu.Unlock()
		for _, frame := range a.round(seq) {
			unix.Write(a.sockets[0].fd, frame) // a full queue loses it, as any network may
		}
	}
}

// round is every question of one round, those to both nodes side by side.
func (a *Ask) round(seq uint16) [][]byte {
	var frames [][]byte
	for _, target := range a.network.Targets {
		i := slices.IndexFunc(a.network.Sources, func(s netip.Addr) bool { return s.Is6() == target.Is6() })
		if i < 0 {
			continue
		}
		source := a.network.Sources[i]
		for _, node := range a.network.Nodes {
			if len(node) == 6 {
				q := question{to: mac(node), from: a.own, source: source, target: target}
				frames = append(frames, echoFrame(q, a.ident, seq), whoHas(q))
			}
		}
	}
	return frames
}

// receive records what comes in on one socket.
func (a *Ask) receive(s *socket) {
	defer a.done.Done()
	buffer, control := make([]byte, 2048), make([]byte, 256)
	for {
		select {
		case <-a.stop:
			return
		default:
		}
		p, ok := s.receive(buffer, control)
		if ok {
			a.take(p)
		}
		s.handled(p.at)
	}
}

// take records a packet if it is an answer to us, or an announcement.
func (a *Ask) take(p received) {
	h := parseFrame(p.data, a.own)
	if h.kind == nothing || h.kind == answer && h.ident != 0 && h.ident != a.ident || !slices.Contains(a.network.Targets, h.target) {
		return
	}
	node := slices.IndexFunc(a.network.Nodes[:], func(n net.HardwareAddr) bool { return string(n) == string(h.from[:]) })
	a.mu.Lock()
	defer a.mu.Unlock()
	if h.kind == announce {
		a.announcements = append(a.announcements, Announcement{At: p.at, Target: h.target, Node: node, Form: h.form})
	} else {
		a.answers[h.target] = append(a.answers[h.target], Answer{At: p.at, Node: node})
	}
}

// Drain waits until every answer that came before an instant is recorded.
func (a *Ask) Drain(before time.Duration) {
	for _, s := range a.sockets {
		s.drained(before)
	}
}

// Answers are all answers for a target so far, in the order of time.
func (a *Ask) Answers(target netip.Addr) []Answer {
	a.mu.Lock()
	sorted := slices.Clone(a.answers[target])
	a.mu.Unlock()
	slices.SortStableFunc(sorted, func(x, y Answer) int { return cmp.Compare(x.At, y.At) })
	return sorted
}

// Rounds are the times of all rounds of questions so far.
func (a *Ask) Rounds() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rounds[:len(a.rounds):len(a.rounds)]
}

// Announcements are all that were heard so far.
func (a *Ask) Announcements() []Announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.announcements[:len(a.announcements):len(a.announcements)]
}

// Holders says which of the nodes answered for a target since an instant: bit 0 for node 0, bit 1 for node 1.
func (a *Ask) Holders(target netip.Addr, since time.Duration) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	mask := 0
	answers := a.answers[target]
	for i := len(answers) - 1; i >= 0 && i >= len(answers)-1000; i-- {
		if answers[i].At >= since && answers[i].Node != Nobody {
			mask |= 1 << answers[i].Node
		}
	}
	return mask
}

// Stop ends the asking; the records stay.
func (a *Ask) Stop() {
	close(a.stop)
	a.done.Wait()
	a.closeSockets()
}

func (a *Ask) closeSockets() {
	for _, s := range a.sockets {
		s.close()
	}
}
