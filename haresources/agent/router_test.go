package agent_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/haresources/agent"
	"hapair/heartbeat/rehearsal/require"
)

// routers are two routers between a client and a server, with a cable of their own between them.
type routers struct {
	t              testing.TB
	one, two       *node
	client, server *node
	bridges        *node
	group          []string
	env            map[*node][]string
}

// The addresses of the router pair.
const (
	lanRules = `table inet filter {
	chain input { type filter hook input priority filter; policy drop;
		iifname "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
	chain forward { type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "lan0" ct state new accept
		counter drop
	}
	chain output { type filter hook output priority filter; policy accept; }
}
table ip nat {
	chain post { type nat hook postrouting priority srcnat; oifname "wan0" ip daddr 203.0.113.100 snat to 203.0.113.1; }
}
`
	idleRules = `table inet filter {
	chain input { type filter hook input priority filter; policy drop;
		iifname "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
	}
	chain forward { type filter hook forward priority filter; policy drop; }
}
`
)

// newRouters builds the network and loads the standby rules on both routers.
func newRouters(t testing.TB) *routers {
	t.Helper()
	require.Tool(t, "nft", "a router pair")
	r := &routers{t: t, one: newNode(t), two: newNode(t), client: newNode(t), server: newNode(t), bridges: newNode(t), env: map[*node][]string{}}
	r.bridges.sh("ip link add lan type bridge; ip link add wan type bridge; ip link set lan up; ip link set wan up")
	plug := func(n *node, device, bridge, port string) {
		cable(t, n, device, r.bridges, port)
		r.bridges.sh("ip link set " + port + " master " + bridge)
	}
	cable(t, r.one, "hb0", r.two, "hb0")
	for i, n := range []*node{r.one, r.two} {
		plug(n, "lan0", "lan", fmt.Sprintf("l%d", i))
		plug(n, "wan0", "wan", fmt.Sprintf("w%d", i))
		n.sh(fmt.Sprintf("ip addr add 10.0.0.%d/24 dev hb0; ip addr add 10.1.0.%d/24 dev lan0; ip -6 addr add fd01::%d/64 dev lan0 nodad; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.netfilter.nf_conntrack_tcp_loose=0", i+1, i+2, i+2))
		r.env[n] = []string{"HA_RSCTMP=" + filepath.Join(t.TempDir(), "tmp")}
	}
	plug(r.client, "eth0", "lan", "lc")
	plug(r.server, "eth0", "wan", "ws")
	r.client.sh("ip addr add 10.1.0.100/24 dev eth0; ip -6 addr add fd01::100/64 dev eth0 nodad; ip route add default via 10.1.0.1; ip -6 route add default via fd01::1")
	r.server.sh("ip addr add 203.0.113.100/24 dev eth0; ip addr add 203.0.113.101/24 dev eth0; ip -6 addr add 2001:db8:1::100/64 dev eth0 nodad; ip addr add 198.51.100.1/32 dev lo")
	r.server.sh("ip route add 10.1.0.0/24 via 203.0.113.1; ip -6 route add fd01::/64 via 2001:db8:1::1")
	firewall := "Firewall::" + write(t, "active.nft", lanRules) + "::" + write(t, "standby.nft", idleRules)
	r.group = []string{firewall, "IPaddr::203.0.113.1/24/wan0", "IPv6addr::2001:db8:1::1/64/wan0", "Route::default::203.0.113.100", "IPaddr::10.1.0.1/24/lan0", "IPv6addr::fd01::1/64/lan0"}
	return r
}

// open opens the agents of a router, and prepares it for being the standby node.
func (r *routers) open(n *node, peer string) {
	r.t.Helper()
	for _, spec := range r.group {
		o := order{Op: "status", Spec: spec, Env: r.env[n], Pass: []agent.Pass{{Device: "hb0", Port: 694, Peer: netip.MustParseAddr(peer)}, {Device: "hb0", Port: 3780}}}
		n.must(o)
		if o.Op = "standby"; strings.HasPrefix(spec, "Firewall") || strings.HasPrefix(spec, "Conntrack") {
			n.must(o)
		}
	}
}

// acquire and release do with the group what the manager does.
func (r *routers) acquire(n *node) {
	r.t.Helper()
	for _, spec := range r.group {
		n.start(spec)
	}
}

func (r *routers) release(n *node) {
	r.t.Helper()
	for i := len(r.group) - 1; i >= 0; i-- {
		n.stop(r.group[i])
	}
}

// through says whether the client reaches the server's addresses of both families through the pair.
func (r *routers) through() bool {
	return r.client.reaches("198.51.100.1") && r.client.reaches("203.0.113.100") && r.client.reaches("2001:db8:1::100")
}

func TestRouterPairForwardsAfterAMove(t *testing.T) {
	r := newRouters(t)
	r.open(r.one, "10.0.0.2")
	r.open(r.two, "10.0.0.1")
	if r.through() {
		t.Fatal("forwarded before anybody is active")
	}
	active, standby := r.one, r.two
	r.acquire(active)
	eventually(t, 5*time.Second, "packets of both families go through the pair", r.through)
	for range 3 {
		r.release(active)
		begin := time.Now()
		r.acquire(standby)
		t.Logf("the group was started in %v", time.Since(begin))
		begin = time.Now()
		eventually(t, 2*time.Second, "packets of both families go through the other router", r.through)
		t.Logf("forwarding through the other router %v after its start", time.Since(begin))
		has(t, standby.sh("ip route show default"), "203.0.113.100")
		has(t, standby.rules(), "snat to 203.0.113.1")
		hasNot(t, active.rules(), "snat")
		hasNot(t, active.sh("ip addr; ip route"), "203.0.113.1/", "default via")
		active, standby = standby, active
	}
}

// carry begins connections through the pair, with source NAT and without, of both families. The returned function says
// whether all of them go on.
func (r *routers) carry() (all func() bool) {
	r.t.Helper()
	for _, at := range []string{"203.0.113.100:7000", "203.0.113.101:7000", "[2001:db8:1::100]:7000"} {
		r.server.must(order{Op: "listen", Spec: at})
		r.client.must(order{Op: "flows", Spec: at})
	}
	all = func() bool { return strings.HasPrefix(r.client.must(order{Op: "flowing"}).Output, "60 of 60") }
	eventually(r.t, 10*time.Second, "all connections flow", all)
	return all
}

// cut takes the power of the first router: it is gone from every cable at once.
func (r *routers) cut() {
	r.t.Helper()
	r.bridges.sh("ip link set l0 down; ip link set w0 down")
	r.one.sh("ip link set hb0 down")
}

func TestConnectionsSurvive(t *testing.T) {
	require.Tool(t, "conntrackd", "that connections survive a takeover")
	r := newRouters(t)
	r.group = append([]string{r.group[0], "Conntrack"}, r.group[1:]...)
	r.open(r.one, "10.0.0.2")
	r.open(r.two, "10.0.0.1")
	t.Cleanup(func() {
		for _, n := range []*node{r.one, r.two} {
			n.must(order{Op: "forget", Spec: "Conntrack"})
			r.conntrackd(n, "-k || true")
		}
	})
	r.acquire(r.one)
	eventually(t, 5*time.Second, "packets go through the pair", r.through)
	all := r.carry()
	eventually(t, 20*time.Second, "the standby node knows them", func() bool { return r.known(r.two) >= 60 })
	r.cut()
	r.acquire(r.two)
	eventually(t, 15*time.Second, "all connections go on after the power cut: "+r.client.must(order{Op: "flowing"}).Output, all)

	// It comes back, and the group is moved to it.
	r.one.sh("ip link set hb0 up")
	r.release(r.one)
	r.bridges.sh("ip link set l0 up; ip link set w0 up")
	eventually(t, 20*time.Second, "the first router knows them again", func() bool { return r.known(r.one) >= 60 })
	r.release(r.two)
	r.acquire(r.one)
	eventually(t, 15*time.Second, "all connections go on after the planned move: "+r.client.must(order{Op: "flowing"}).Output, all)
}

// TestConnectionsDoNotSurviveWithoutConntrack shows that the test above tests something.
func TestConnectionsDoNotSurviveWithoutConntrack(t *testing.T) {
	r := newRouters(t)
	r.open(r.one, "10.0.0.2")
	r.open(r.two, "10.0.0.1")
	r.acquire(r.one)
	eventually(t, 5*time.Second, "packets go through the pair", r.through)
	r.carry()
	r.cut()
	r.acquire(r.two)
	eventually(t, 5*time.Second, "packets go through the other router", r.through)
	if text := r.client.must(order{Op: "flowing"}).Output; !strings.HasPrefix(text, "0 of 60") {
		t.Errorf("connections go on without Conntrack: %s", text)
	}
}

func TestConntrackdIsKeptRunning(t *testing.T) {
	require.Tool(t, "conntrackd", "that conntrackd is kept running")
	r := newRouters(t)
	r.group = []string{"Conntrack"}
	r.open(r.one, "10.0.0.2")
	n := r.one
	t.Cleanup(func() { r.conntrackd(n, "-k || true") })
	n.start("Conntrack")
	n.expect("Conntrack", "running")
	n.must(order{Op: "watch", Spec: "Conntrack"})
	r.conntrackd(n, "-k")
	eventually(t, 10*time.Second, "it runs again", func() bool { return n.do(order{Op: "sh", Spec: "conntrackd -C " + r.config(n) + " -s"}).Err == "" })
	eventually(t, 5*time.Second, "a report", func() bool {
		return strings.Contains(n.must(order{Op: "reports", Spec: "Conntrack"}).Output, "conntrackd has ended")
	})
	// A new daemon finds the one that runs, and looks after it.
	before := n.sh("pgrep -f '^/[a-z/]*conntrackd -C " + r.config(n) + "$'")
	n.must(order{Op: "forget", Spec: "Conntrack"})
	r.open(n, "10.0.0.2")
	n.expect("Conntrack", "running")
	if after := n.sh("pgrep -f '^/[a-z/]*conntrackd -C " + r.config(n) + "$'"); after != before {
		t.Errorf("conntrackd was started again: %s, before %s", after, before)
	}
	// Nobody answers at the other end.
	eventually(t, 20*time.Second, "a complaint that nothing arrives", func() bool {
		return strings.Contains(n.must(order{Op: "describe", Spec: "Conntrack"}).Output, "nothing arrives")
	})
	n.stop("Conntrack")
	n.expect("Conntrack", "stopped")
	n.must(order{Op: "forget", Spec: "Conntrack"})
}

func TestConntrackThatFailsDoesNotHoldTheGroupUp(t *testing.T) {
	require.Tool(t, "conntrackd", "conntrackd that cannot start")
	r := newRouters(t)
	spec := "Conntrack::dev=nosuch0::peer=10.0.0.9"
	got := r.one.must(order{Op: "start", Spec: spec, Env: r.env[r.one]})
	has(t, got.Output, "are lost", "nosuch0")
	r.one.expect(spec, "running")
	has(t, strings.Join(r.one.must(order{Op: "check", Spec: spec}).Faults, "\n"), "nosuch0")
	r.one.stop(spec)
}

// config is the configuration of a router's conntrackd.
func (r *routers) config(n *node) string {
	return strings.TrimPrefix(r.env[n][0], "HA_RSCTMP=") + "/hapair-conntrackd.conf"
}

// conntrackd talks to the conntrackd of a router.
func (r *routers) conntrackd(n *node, option string) string {
	return n.sh("conntrackd -C " + r.config(n) + " " + option)
}

// known is the number of connections that a router has been told of.
func (r *routers) known(n *node) (count int) {
	_, external, _ := strings.Cut(r.conntrackd(n, "-s"), "cache external")
	_, number, _ := strings.Cut(external, "connections:")
	fmt.Sscan(number, &count)
	return count
}
