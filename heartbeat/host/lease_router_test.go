package host_test

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

// behind adds a namespace behind the node, which forwards: 10.8.0.2 and fd08::2, reached by interface inner.
func (b *bench) behind() netns.NsHandle {
	b.t.Helper()
	server, err := netns.New()
	b.must(err)
	b.t.Cleanup(func() { server.Close() })
	noDetection := func() { b.must(os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0)) }
	noDetection()
	b.must(netns.Set(b.nearNS))
	noDetection()
	b.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "inner"}, PeerName: "up", PeerNamespace: netlink.NsFd(server)}))
	inner := b.up(b.t, "inner")
	b.put(inner, "10.8.0.1/24")
	b.put(inner, "fd08::1/64")
	for _, name := range []string{"ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"} {
		b.must(os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0))
	}
	b.in(server, func() {
		up := b.up(b.t, "up")
		b.put(up, "10.8.0.2/24")
		b.put(up, "fd08::2/64")
		b.gateway(up, "10.7.0.0/24", "10.8.0.1")
		b.gateway(up, "fd07::/64", "fd08::1")
		b.echoAt("10.8.0.2")
		b.echoAt("fd08::2")
	})
	b.there(b.t, func() {
		b.gateway(b.far, "10.8.0.0/24", ownAddr)
		b.gateway(b.far, "fd08::/64", ownAddr6)
	})
	return server
}

func (b *bench) gateway(link netlink.Link, to, via string) {
	b.t.Helper()
	b.must(netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: cidr(to), Gw: addrIP(via)}))
}

// in runs f in a namespace.
func (b *bench) in(ns netns.NsHandle, f func()) {
	b.t.Helper()
	b.must(netns.Set(ns))
	defer func() { b.must(netns.Set(b.nearNS)) }()
	f()
}

// fromClient checks reaches at the client, for both families.
func (b *bench) fromClient(want bool, what string, addrs ...string) {
	b.t.Helper()
	b.there(b.t, func() {
		for _, a := range addrs {
			b.wantReach(want, what, a)
		}
	})
}

// TestLeaseOfARouter: what is forwarded by the group's interfaces stops with the lease, in both directions and with the program on either
// side; what is for the router itself goes on.
func TestLeaseOfARouter(t *testing.T) {
	for _, c := range []struct {
		name       string
		attached   []string
		interfaces []string
	}{
		{"outer side", []string{"near"}, []string{"near"}},
		{"inner side", []string{"inner"}, []string{"inner"}},
		{"attached elsewhere", []string{"inner"}, []string{"near"}},
		{"attached elsewhere, reversed", []string{"near"}, []string{"inner"}},
		{"both sides", []string{"near", "inner"}, []string{"near", "inner"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.behind()
			l := b.openLease(host.MechanismBPF, b.leaseDir())
			b.must(l.Protect([]host.Protection{{Group: "router", Interfaces: c.interfaces}}))
			for _, name := range c.attached {
				b.must(l.Attach(name))
			}
			b.fromClient(false, "mute router", "10.8.0.2", "fd08::2")
			b.answers(true, ownAddr, ownAddr6)
			b.must(l.Renew("router", boot()+time.Minute))
			b.fromClient(true, "router with a lease", "10.8.0.2", "fd08::2")
			b.must(l.Expire("router"))
			b.fromClient(false, "router without a lease", "10.8.0.2", "fd08::2")
			b.answers(true, ownAddr, ownAddr6)
		})
	}
}

// TestLeaseLetsTransitThrough: a node that has no lease for an address, but routes to the machine that has it, does so.
func TestLeaseLetsTransitThrough(t *testing.T) {
	b := newBench(t)
	server := b.behind()
	b.in(server, func() {
		up, err := netlink.LinkByName("up")
		b.must(err)
		b.put(up, "10.8.0.100/24")
		b.put(up, "fd08::100/64")
		b.echoAt("10.8.0.100")
		b.echoAt("fd08::100")
	})
	l := b.openLease(host.MechanismBPF, b.leaseDir())
	b.must(l.Protect([]host.Protection{{Group: "elsewhere", Addrs: []netip.Addr{netip.MustParseAddr("10.8.0.100"), netip.MustParseAddr("fd08::100")}}}))
	b.must(l.Attach("near"))
	b.must(l.Attach("inner"))
	b.fromClient(true, "an address of the peer behind this router", "10.8.0.100", "fd08::100")
	// The same address configured here, mute: nobody is routed to it any more, and nobody answers.
	inner, err := netlink.LinkByName("inner")
	b.must(err)
	b.put(inner, "10.8.0.100/24")
	b.put(inner, "fd08::100/64")
	b.echoAt("10.8.0.100")
	b.echoAt("fd08::100")
	b.fromClient(false, "a mute address of this router", "10.8.0.100", "fd08::100")
}

// TestLeaseSeesThroughTranslation: what is forwarded under the service's address leaves only with the lease.
func TestLeaseSeesThroughTranslation(t *testing.T) {
	require.Tool(t, "nft", "the lease of an address that others are translated to")
	b := newBench(t)
	server := b.behind()
	b.nft("table ip nat { chain post { type nat hook postrouting priority 100; oifname near ip saddr 10.8.0.0/24 snat to " + serviceAddr + "\n}\n}")
	b.there(t, func() { b.echoAt(clientAddr) })
	l := b.lease(host.MechanismBPF)
	b.in(server, func() { b.wantReach(false, "translated, mute", clientAddr) })
	b.must(l.Renew("service", boot()+time.Minute))
	b.in(server, func() { b.wantReach(true, "translated, with a lease", clientAddr) })
	b.must(l.Expire("service"))
	b.in(server, func() { b.wantReach(false, "translated, without a lease", clientAddr) })
}
