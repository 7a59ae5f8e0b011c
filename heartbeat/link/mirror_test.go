package link_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"hapair/heartbeat/link"
	"hapair/heartbeat/rehearsal/require"
)

// The router of the mirror tests.
const (
	addrR, addrR6 = "10.9.0.254", "fd09::254"
)

// lan is both nodes and a router on one switch.
type lan struct {
	a, b, router, hub *space
}

// newLAN cables everything. The ports of the nodes are isolated from each other: not even ARP passes between them.
func newLAN(t *testing.T) lan {
	t.Helper()
	n := lan{newSpace(t), newSpace(t), newSpace(t), newSpace(t)}
	n.hub.do(func() {
		must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}}))
	})
	n.hub.up("br", true)
	for s, addrs := range map[*space][2]string{n.a: {addrA, addrA6}, n.b: {addrB, addrB6}, n.router: {addrR, addrR6}} {
		port := fmt.Sprintf("port%d", map[*space]int{n.a: 1, n.b: 2, n.router: 3}[s])
		s.do(func() {
			must(t, netlink.LinkAdd(&netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: device}, PeerName: port, PeerNamespace: netlink.NsFd(n.hub.handle),
			}))
		})
		n.hub.do(func() {
			p, err := netlink.LinkByName(port)
			must(t, err)
			br, err := netlink.LinkByName("br")
			must(t, err)
			must(t, netlink.LinkSetMaster(p, br))
			if s != n.router {
				must(t, netlink.LinkSetIsolated(p, true))
			}
		})
		n.hub.up(port, true)
		s.up(device, true)
		s.addr(device, addrs[0]+"/24")
		s.addr(device, addrs[1]+"/64")
	}
	return n
}

// mirrorSpecs are the two ends of a mirror for each family.
var mirrorSpecs = map[string][2]link.Spec{
	"IPv4": {{Kind: "mirror", Device: device, Peer: addrB, Hosts: []string{addrR}}, {Kind: "mirror", Peer: addrA, Hosts: []string{addrR}}},
	"IPv6": {{Kind: "mirror", Device: device, Peer: addrB6, Hosts: []string{addrR6}}, {Kind: "mirror", Peer: addrA6, Hosts: []string{addrR6}}},
}

// TestMirror: two nodes that cannot reach each other at all hear each other by way of the router.
func TestMirror(t *testing.T) {
	for family, specs := range mirrorSpecs {
		t.Run(family, func(t *testing.T) {
			n := newLAN(t)
			direct := listen(t, n.b.open(link.Spec{Kind: "ucast", Device: device, Peer: addrA}))
			say(t, n.a.open(link.Spec{Kind: "ucast", Device: device, Peer: addrB}), "does not arrive")
			testLink(t, wiring{a: n.a.open(specs[0]), b: n.b.open(specs[1])}, 400)
			direct.quiet()
		})
	}
}

// TestMirrorPassesFirewalls: the reply to a question that the peer never asked is invalid to its connection tracking, and arrives.
func TestMirrorPassesFirewalls(t *testing.T) {
	require.Tool(t, "nft", "mirrors under a firewall")
	n := newLAN(t)
	for _, s := range []*space{n.a, n.b} {
		s.run("nft", `add table inet f
			add chain inet f in { type filter hook input priority 0; policy drop; }
			add rule inet f in ct state established,related accept
			add rule inet f in meta l4proto ipv6-icmp icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
			add rule inet f in ct state invalid drop`)
	}
	for family, specs := range mirrorSpecs {
		e := listen(t, n.b.open(specs[1]))
		say(t, n.a.open(specs[0]), "by "+family)
		e.want("by " + family)
	}
}

// TestMirrorRate: asked for a thousand frames a second, it sends twenty.
func TestMirrorRate(t *testing.T) {
	n := newLAN(t)
	e := listen(t, n.b.open(mirrorSpecs["IPv4"][1]))
	l := n.a.open(mirrorSpecs["IPv4"][0])
	say(t, l, "0")
	e.want("0")
	began, last := time.Now(), 0
	for tick := time.NewTicker(time.Millisecond); time.Since(began) < time.Second; <-tick.C {
		last++
		say(t, l, fmt.Sprint(last))
	}
	count := 0
	for drained := false; !drained; {
		select {
		case <-e.frames:
			count++
		case <-time.After(100 * time.Millisecond):
			drained = true
		}
	}
	if count < link.MirrorRate/2 || count > link.MirrorRate+2 {
		t.Errorf("%d of %d frames sent in a second, want %d", count, last, link.MirrorRate)
	}
}

// TestMirrorHearsOnlyItsTarget: neither another host's reply, nor an echo request, nor another program's identifier.
func TestMirrorHearsOnlyItsTarget(t *testing.T) {
	n := newLAN(t)
	n.router.addr(device, "10.9.0.253/24")
	other := mirrorSpecs["IPv4"][0]
	other.Hosts = []string{"10.9.0.253"}
	e := listen(t, n.b.open(mirrorSpecs["IPv4"][1]))
	say(t, n.a.open(other), "by another target")
	ping := listen(t, n.b.open(link.Spec{Kind: "ping", Peer: addrR}))
	say(t, ping.l, "an ordinary ping of this node")
	ping.want("an ordinary ping of this node")
	say(t, n.a.open(mirrorSpecs["IPv4"][0]), "the frame")
	if h := e.want("the frame"); h.from != addrR {
		t.Errorf("it came from %q, want %q", h.from, addrR)
	}
	e.quiet()
}

// TestMirrorRefuses what cannot be one.
func TestMirrorRefuses(t *testing.T) {
	n := newLAN(t)
	for want, spec := range map[string]link.Spec{
		"a mirror needs one target and the peer's address": {Kind: "mirror", Device: device, Peer: addrB},
		"the target of a mirror is a third host":           {Kind: "mirror", Device: device, Peer: addrB, Hosts: []string{addrB}},
		"(10.9.0.1 on eth0)":                               {Kind: "mirror", Peer: addrB, Hosts: []string{addrA}},
		"a mirror needs all three on one":                  {Kind: "mirror", Peer: addrB, Hosts: []string{"192.0.2.1"}},
		"no interface eth0 has a subnet with both":         {Kind: "mirror", Device: device, Peer: "192.0.2.1", Hosts: []string{addrR}},
		`no such interface: "eth7"`:                        {Kind: "mirror", Device: "eth7", Peer: addrB, Hosts: []string{addrR}},
		"is no IPv6 address":                               {Kind: "mirror", Peer: addrB6, Hosts: []string{addrR}},
	} {
		if _, err := n.a.tryOpen(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", spec, err, want)
		}
	}
	l := n.a.open(mirrorSpecs["IPv4"][0])
	if err := l.Send(make([]byte, 1473), time.Now()); !errors.Is(err, link.ErrTooLong) {
		t.Errorf("a frame that needs fragments: %v, want ErrTooLong", err)
	}
}

// TestMirrorLosesItsDevice: set down it waits, gone it ends.
func TestMirrorLosesItsDevice(t *testing.T) {
	n := newLAN(t)
	e := listen(t, n.b.open(mirrorSpecs["IPv4"][1]))
	a := n.a.open(mirrorSpecs["IPv4"][0])
	must(t, link.Condition(e.l))
	n.b.up(device, false)
	if err := link.Condition(e.l); !errors.Is(err, link.ErrDown) {
		t.Errorf("set down: %v, want ErrDown", err)
	}
	n.b.up(device, true)
	say(t, a, "after it was down")
	e.want("after it was down")
	n.b.delAddr(device, addrB+"/24")
	if err := link.Condition(e.l); !errors.Is(err, link.ErrGone) {
		t.Errorf("without its address: %v, want ErrGone", err)
	}
	n.b.delDevice(device)
	if err := e.wantEnd(); !errors.Is(err, link.ErrGone) {
		t.Errorf("Receive ended with %v, want ErrGone", err)
	}
}
