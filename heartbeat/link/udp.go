package link

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// class is whom a UDP link talks to.
type class int

const (
	toPeer  class = iota // ucast, ucast6
	toAll                // bcast
	toGroup              // mcast, mcast6
)

// udpKind is what distinguishes the UDP kinds.
type udpKind struct {
	class class
	v6    bool
}

var udpKinds = map[string]udpKind{
	"ucast": {toPeer, false}, "ucast6": {toPeer, true},
	"bcast": {toAll, false},
	"mcast": {toGroup, false}, "mcast6": {toGroup, true},
}

// lineQueue is how many frames wait for a link that is read with Receive.
const lineQueue = 64

// udp is one link of the kinds in udpKinds.
type udp struct {
	spec   Spec
	class  class
	dest   netip.Addr    // peer, group or broadcast address; without zone
	to     unix.Sockaddr // the same with port
	sender *host.Sender
	hub    *hub
	queue  chan Frame // for Receive, while nobody asked for Deliver
	sink   atomic.Pointer[func(Frame)]

	done  chan struct{} // closed when cause is set
	once  sync.Once
	cause error // what Receive ends with

	from     netip.Addr // sender of the last frame, and its text: the same one nearly always
	fromText string
	dropped  atomic.Uint64
}

// ground is what UDP links stand on.
type ground struct {
	device host.Interface
	all    []host.Interface
}

func openUDP(spec Spec) (Link, error) {
	kind := udpKinds[spec.Kind]
	if spec.Port < 1 || spec.Port > 65535 {
		return nil, fmt.Errorf("UDP port %d is not in 1 to 65535", spec.Port)
	}
	l := &udp{spec: spec, class: kind.class, queue: make(chan Frame, lineQueue), done: make(chan struct{})}
	g, err := lookAround(spec.Device)
	if err != nil {
		return nil, err
	}
	if l.dest, err = destination(spec, kind, g); err != nil {
		return nil, err
	}
	if err := l.check(g); err != nil {
		return nil, err
	}
	if l.to, err = host.Sockaddr(l.dest, spec.Port, g.device.Index); err != nil {
		return nil, err
	}
	l.sender, err = host.OpenSender(kind.v6, host.SendOptions{
		Device: spec.Device, Index: g.device.Index, Broadcast: l.class == toAll,
		Multicast: l.class == toGroup, TTL: spec.TTL, Loop: spec.Loop, Source: g.source(l.dest),
	})
	if err != nil {
		return nil, err
	}
	if err = joinHub(l, g.device); err != nil {
		l.sender.Close()
		return nil, err
	}
	return l, nil
}

func lookAround(device string) (ground, error) {
	if device == "" {
		return ground{}, fmt.Errorf("no device given")
	}
	list, err := host.Interfaces()
	if err != nil {
		return ground{}, err
	}
	for _, i := range list {
		if i.Name == device {
			return ground{device: i, all: list}, nil
		}
	}
	i, err := host.InterfaceByName(device) // says which name comes near, or has just appeared
	return ground{device: i, all: list}, err
}

// source is where frames to a peer's IPv6 address come from: the oldest of this node's addresses in its subnet. The kernel would choose the
// newest one, and that is a service's wherever one is held here: with it this node would fall silent, too, when its lease ends. An invalid one
// leaves the choice to the kernel, for all other destinations.
func (g ground) source(dest netip.Addr) (oldest netip.Addr) {
	if !dest.Is6() || dest.IsMulticast() || dest.IsLinkLocalUnicast() {
		return netip.Addr{}
	}
	for _, a := range g.device.Addrs { // the kernel lists the newest first
		if !a.Tentative && a.Prefix.Bits() < a.Prefix.Addr().BitLen() && a.Prefix.Contains(dest) {
			oldest = a.Prefix.Addr()
		}
	}
	return oldest
}

// destination is where the link's frames go.
func destination(spec Spec, kind udpKind, g ground) (netip.Addr, error) {
	switch kind.class {
	case toAll:
		if !g.device.Broadcasts {
			return netip.Addr{}, fmt.Errorf("%s has no broadcast (use ucast)", spec.Device)
		}
		if b := g.device.Broadcast(); b.IsValid() {
			return b, nil
		}
		return netip.Addr{}, fmt.Errorf("%w: %s has no IPv4 address with a broadcast address", ErrGone, spec.Device)
	case toGroup:
		group, err := netip.ParseAddr(spec.Group)
		if err != nil || !group.IsMulticast() || group.Is6() != kind.v6 {
			return netip.Addr{}, fmt.Errorf("%q is no %s group (for example %s)", spec.Group, family(kind.v6), exampleGroup(kind.v6))
		}
		if spec.TTL < 0 || spec.TTL > 255 {
			return netip.Addr{}, fmt.Errorf("ttl %d is not in 0 to 255", spec.TTL)
		}
		return group.WithZone(""), nil
	}
	peer, err := resolve(spec.Peer, kind.v6)
	if err != nil {
		return netip.Addr{}, err
	}
	if zone := peer.Zone(); zone != "" && zone != spec.Device {
		return netip.Addr{}, fmt.Errorf("%s is an address on %s, but the link is on %s", spec.Peer, zone, spec.Device)
	}
	return peer.WithZone(""), nil
}

func family(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

func exampleGroup(v6 bool) string {
	if v6 {
		return "ff02::694"
	}
	return "225.0.0.1"
}

// resolveTimeout bounds one name resolution.
const resolveTimeout = 5 * time.Second

// resolve turns an address or a host name into an address of the family.
func resolve(peer string, v6 bool) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(peer); err == nil {
		if addr = addr.Unmap(); addr.Is6() != v6 {
			return netip.Addr{}, fmt.Errorf("%q is no %s address", peer, family(v6))
		}
		return addr, nil
	}
	network := "ip4"
	if v6 {
		network = "ip6"
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, peer)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%w: find the address of %q: %w (an address instead of a name needs no DNS)", ErrNoRoute, peer, err)
	}
	return found[0].Unmap(), nil
}

// check says whether the link may go on as it is: ErrGone when its address went, ErrOwnAddress when the peer's became ours.
func (l *udp) check(g ground) error {
	switch l.class {
	case toAll:
		if !g.device.HasBroadcast(l.dest) {
			return fmt.Errorf("%w: %s is no broadcast address of %s any more", ErrGone, l.dest, g.device.Name)
		}
	case toGroup:
		if !l.dest.Is6() && !hasIPv4(g.device) {
			return fmt.Errorf("%w: %s has no IPv4 address to send from", ErrGone, g.device.Name)
		}
	case toPeer:
		own := l.dest
		if own.IsLinkLocalUnicast() {
			own = own.WithZone(g.device.Name)
		}
		if at := host.Owner(g.all, own); at != "" {
			return fmt.Errorf("%w (%s on %s)", ErrOwnAddress, l.dest, at)
		}
	}
	return nil
}

func hasIPv4(i host.Interface) bool {
	for _, a := range i.Addrs {
		if a.Prefix.Addr().Is4() {
			return true
		}
	}
	return false
}

// condition implements Condition.
func (l *udp) condition() error {
	if l.failed() {
		return l.cause
	}
	g, err := l.hub.ground()
	switch {
	case err != nil:
		return classify(err)
	case !g.device.Up:
		return fmt.Errorf("%w: %s is switched off (ip link set %s up)", ErrDown, g.device.Name, g.device.Name)
	case !g.device.Carrier:
		return fmt.Errorf("%w: %s has no carrier (cable, switch port)", ErrDown, g.device.Name)
	}
	return l.check(g)
}

func (l *udp) ID() string   { return l.spec.ID }
func (l *udp) Name() string { return l.spec.Device }
func (l *udp) Kind() string { return l.spec.Kind }

// Prompt says that Send never waits.
func (l *udp) Prompt() bool { return true }

// Send is one system call that does not wait, so the deadline is never needed.
func (l *udp) Send(frame []byte, _ time.Time) error {
	if l.failed() {
		return sendError(&l.spec, l.cause)
	}
	if err := l.sender.Send(frame, l.to); err != nil {
		return sendError(&l.spec, err)
	}
	return nil
}

func (l *udp) Receive() (Frame, error) {
	if l.failed() {
		return Frame{}, l.cause
	}
	select {
	case f := <-l.queue:
		return f, nil
	case <-l.done:
		return Frame{}, l.cause
	}
}

// Deliver has frames given to sink from now on, by the goroutine that reads all UDP links, which spares a heartbeat the
// handing over to another one. sink must not wait, and the frame's data is valid during the call only. Receive goes on to
// tell when the link fails.
func (l *udp) Deliver(sink func(Frame)) { l.sink.Store(&sink) }

// take is given a datagram for this link, by the selector's goroutine only.
func (l *udp) take(r *host.Reader) {
	if r.From != l.from {
		l.from, l.fromText = r.From, r.From.Unmap().String()
	}
	f := Frame{Data: r.Data, Received: r.Received(), From: l.fromText}
	if sink := l.sink.Load(); sink != nil {
		(*sink)(f)
		return
	}
	f.Data = bytes.Clone(f.Data)
	select {
	case l.queue <- f:
	default:
		l.dropped.Add(1)
	}
}

func (l *udp) failed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// fail ends Receive with the cause, now and for ever; the first one counts.
func (l *udp) fail(cause error) {
	l.once.Do(func() {
		l.cause = cause
		close(l.done)
		l.hub.leave(l)
	})
}

func (l *udp) Close() error {
	l.fail(ErrClosed)
	return l.sender.Close()
}

func (l *udp) counters() Counters {
	return Counters{Dropped: l.dropped.Load() + l.hub.unclaimed.Load(), Overflow: l.hub.socket.Drops()}
}
