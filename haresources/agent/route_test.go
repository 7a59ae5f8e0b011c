package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/require"
)

// routeNode is a node with an interface eth0 that leads to another node.
func routeNode(t testing.TB) (n, peer *node) {
	t.Helper()
	n, peer = newNode(t), newNode(t)
	cable(t, n, "eth0", peer, "far0")
	n.sh("ip addr add 192.0.2.10/24 dev eth0; ip -6 addr add 2001:db8::10/64 dev eth0 nodad")
	peer.sh("ip addr add 192.0.2.1/24 dev far0; ip -6 addr add 2001:db8::1/64 dev far0 nodad")
	return n, peer
}

func TestRouteMoves(t *testing.T) {
	n, _ := routeNode(t)
	for _, c := range []struct{ spec, list, want string }{
		{"Route::default::192.0.2.1", "ip route show default", "default via 192.0.2.1 dev eth0"},
		{"Route::10.9.0.0/16::eth0::src=192.0.2.10::metric=50", "ip route show 10.9.0.0/16", "dev eth0"},
		{"Route::default::2001:db8::1::eth0", "ip -6 route show default", "via 2001:db8::1 dev eth0"},
		{"Route::default::fe80::1::eth0::table=200", "ip -6 route show table 200", "via fe80::1 dev eth0"},
		{"Route::10.8.0.0/16::type=unreachable", "ip route show 10.8.0.0/16", "unreachable"},
	} {
		n.expect(c.spec, "stopped")
		for range 2 {
			n.start(c.spec)
			n.expect(c.spec, "running")
			has(t, n.sh(c.list), c.want)
		}
		n.must(order{Op: "forget", Spec: c.spec})
		n.expect(c.spec, "running")
		for range 2 {
			n.stop(c.spec)
			n.expect(c.spec, "stopped")
		}
		if text := strings.TrimSpace(n.sh(c.list + " || true")); text != "" {
			t.Errorf("%s left behind: %s", c.spec, text)
		}
	}
}

func TestRoutePutsOtherAside(t *testing.T) {
	n, _ := routeNode(t)
	for _, c := range []struct{ spec, family, old, via string }{
		{"Route::default::192.0.2.1", "-4", "192.0.2.77", "192.0.2.1"},
		{"Route::default::2001:db8::1", "-6", "2001:db8::77", "2001:db8::1"},
	} {
		n.sh("ip " + c.family + " route add default via " + c.old + " dev eth0 proto static")
		before := n.sh("ip " + c.family + " route show default")
		n.start(c.spec)
		if got := n.sh("ip " + c.family + " route get to $(test " + c.family + " = -4 && echo 8.8.8.8 || echo 2001:db8:ffff::1)"); !strings.Contains(got, c.via+" ") {
			t.Errorf("packets go: %s", got)
		}
		n.must(order{Op: "forget", Spec: c.spec})
		n.stop(c.spec)
		if after := n.sh("ip " + c.family + " route show default"); after != before {
			t.Errorf("before: %s\nafter: %s", before, after)
		}
	}
}

func TestRouteIsPutBack(t *testing.T) {
	n, _ := routeNode(t)
	spec := "Route::default::192.0.2.1"
	n.start(spec)
	n.must(order{Op: "watch", Spec: spec})
	for _, harm := range []string{"ip route del default", "ip link set eth0 down; ip link set eth0 up"} {
		begin := time.Now()
		n.sh(harm)
		eventually(t, 5*time.Second, "the route is back after "+harm, func() bool { return strings.Contains(n.sh("ip route show default"), "192.0.2.1") })
		t.Logf("%s: back after %v", harm, time.Since(begin))
	}
}

func TestRouteWithoutWayFails(t *testing.T) {
	n, _ := routeNode(t)
	if r := n.do(order{Op: "start", Spec: "Route::default::203.0.113.1"}); !strings.Contains(r.Err, "on no subnet") {
		t.Errorf("gateway that cannot be reached: %q", r.Err)
	}
	if r := n.do(order{Op: "start", Spec: "Route::10.0.0.0/8::nosuch0"}); !strings.Contains(r.Err, "nosuch0") {
		t.Errorf("interface that is not there: %q", r.Err)
	}
	n.stop("Route::10.0.0.0/8::nosuch0")
	if r := n.must(order{Op: "check", Spec: "Route::10.0.0.0/8::nosuch1"}); len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "nosuch1") {
		t.Errorf("check of an interface that is not there: %v", r.Faults)
	}
}

func TestRuleMoves(t *testing.T) {
	n, _ := routeNode(t)
	for _, c := range []struct{ spec, list, want string }{
		{"Rule::from=10.7.0.0/16::table=100::prio=1000", "ip rule", "1000:\tfrom 10.7.0.0/16 lookup 100"},
		{"Rule::to=2001:db8:7::/48::table=main::prio=1001", "ip -6 rule", "lookup main"},
		{"Rule::fwmark=0x10/0xff::iif=eth0::table=300::prio=1002", "ip rule; ip -6 rule", "fwmark 0x10/0xff iif eth0 lookup 300"},
	} {
		n.expect(c.spec, "stopped")
		for range 2 {
			n.start(c.spec)
			n.expect(c.spec, "running")
			has(t, n.sh(c.list), c.want)
		}
		for range 2 {
			n.stop(c.spec)
			n.expect(c.spec, "stopped")
		}
		hasNot(t, n.sh(c.list), "100")
	}
}

func TestSourceAddressMoves(t *testing.T) {
	n, peer := routeNode(t)
	n.sh("ip route add default via 192.0.2.1; ip addr add 192.0.2.50/24 dev eth0")
	n.sh("ip -6 route add default via 2001:db8::1; ip -6 addr add 2001:db8::50/128 dev eth0 nodad preferred_lft 0")
	_ = peer
	for _, c := range []struct{ spec, get, address, natural string }{
		{"IPsrcaddr::192.0.2.50", "ip route get 8.8.8.8; ip route get 192.0.2.1", "src 192.0.2.50", "src 192.0.2.10"},
		{"IPsrcaddr::2001:db8::50", "ip -6 route get 2001:db8:99::1", "src 2001:db8::50", "src 2001:db8::10"},
	} {
		n.expect(c.spec, "stopped")
		routes := n.sh("ip route; ip -6 route")
		for range 2 {
			n.start(c.spec)
			n.expect(c.spec, "running")
			has(t, n.sh(c.get), c.address)
			hasNot(t, n.sh(c.get), c.natural+" ")
		}
		n.must(order{Op: "forget", Spec: c.spec})
		n.stop(c.spec)
		n.expect(c.spec, "stopped")
		has(t, n.sh(c.get), c.natural)
		if after := n.sh("ip route; ip -6 route"); after != routes {
			t.Errorf("%s: routes before:\n%safter:\n%s", c.spec, routes, after)
		}
	}
	if r := n.do(order{Op: "start", Spec: "IPsrcaddr::192.0.2.99"}); !strings.Contains(r.Err, "before IPsrcaddr") {
		t.Errorf("an address that is not there: %q", r.Err)
	}
	n.stop("IPsrcaddr::192.0.2.99")
}

// TestRouteIsSetAheadOfATakeover: and taken back, with what it put aside, where the takeover does not come or the gateway cannot be reached.
func TestRouteIsSetAheadOfATakeover(t *testing.T) {
	require.Tool(t, "ip", "routes")
	n, _ := routeNode(t)
	n.sh("ip route add default via 192.0.2.1 metric 0; ip -6 route add default via 2001:db8::1 metric 1024")
	before := n.sh("ip route; ip -6 route")
	for _, c := range []struct{ spec, want, unreachable string }{
		{"Route::default::192.0.2.254", "default via 192.0.2.254", "Route::default::198.51.100.1"},
		{"Route::default::2001:db8::fe", "default via 2001:db8::fe", "Route::default::2001:db8:9::1"},
		{"Rule::prio=100::table=100::from=192.0.2.50", "", ""},
	} {
		n.must(order{Op: "follow", Spec: c.spec})
		n.expect(c.spec, "running")
		has(t, n.sh("ip route; ip -6 route"), c.want)
		n.must(order{Op: "standby", Spec: c.spec})
		n.expect(c.spec, "stopped")
		n.must(order{Op: "follow", Spec: c.spec})
		n.start(c.spec)
		n.must(order{Op: "standby", Spec: c.spec})
		n.expect(c.spec, "running") // it is held now
		n.stop(c.spec)
		if c.unreachable != "" {
			if r := n.do(order{Op: "follow", Spec: c.unreachable}); r.Err == "" {
				t.Errorf("%s: nothing leads there", c.unreachable)
			}
		}
		if after := n.sh("ip route; ip -6 route"); after != before {
			t.Errorf("%s: routes before:\n%safter:\n%s", c.spec, before, after)
		}
	}
}

func TestSendArpAnnounces(t *testing.T) {
	require.Tool(t, "ip", "announcements")
	n, peer := routeNode(t)
	env := []string{"HA_RSCTMP=" + t.TempDir()}
	spec := "SendArp::192.0.2.50/eth0"
	if r := n.do(order{Op: "start", Spec: spec, Env: env}); !strings.Contains(r.Err, "not on this machine") {
		t.Errorf("announced an address that is not there: %q", r.Err)
	}
	n.sh("ip addr add 192.0.2.50/24 dev eth0")
	peer.sh("ip neigh replace 192.0.2.50 lladdr 02:00:00:00:00:99 dev far0 nud stale")
	n.start(spec)
	n.expect(spec, "running")
	mac := strings.Fields(n.sh("cat /sys/class/net/eth0/address"))[0]
	eventually(t, 5*time.Second, "the neighbour learns", func() bool { return strings.Contains(peer.sh("ip neigh show 192.0.2.50"), mac) })
	// It is announced as long as it is held, also when one announcement fails; no longer is it when the address has gone.
	n.must(order{Op: "configure", Spec: spec, Pragmas: map[string]string{"announce-refresh": "300ms"}})
	n.sh("ip link set eth0 down; ip link set eth0 up")
	eventually(t, 10*time.Second, "it is announced again and again", func() bool {
		var sent int
		fmt.Sscan(n.must(order{Op: "describe", Spec: spec}).Output, &sent)
		return sent >= 2*5
	})
	peer.sh("ip neigh replace 192.0.2.50 lladdr 02:00:00:00:00:99 dev far0 nud stale")
	n.must(order{Op: "announce", Spec: spec})
	eventually(t, 5*time.Second, "the neighbour learns again", func() bool { return strings.Contains(peer.sh("ip neigh show 192.0.2.50"), mac) })
	n.must(order{Op: "forget", Spec: spec})
	if r := n.do(order{Op: "status", Spec: spec, Env: env}); r.State != "running" {
		t.Errorf("forgotten by a restart: %s", r.State)
	}
	n.stop(spec)
	n.expect(spec, "stopped")
}

func TestDelayWaitsOnce(t *testing.T) {
	n := newNode(t)
	spec := "Delay::300ms::0"
	env := []string{"HA_RSCTMP=" + t.TempDir()}
	begin := time.Now()
	n.must(order{Op: "start", Spec: spec, Env: env})
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("took %v", took)
	}
	n.expect(spec, "running")
	begin = time.Now()
	n.start(spec)
	n.stop(spec)
	n.stop(spec)
	n.expect(spec, "stopped")
	if took := time.Since(begin); took > 250*time.Millisecond {
		t.Errorf("a second start and the stop took %v", took)
	}
	if r := n.do(order{Op: "start", Spec: "Delay::60", Env: env, Limit: 50 * time.Millisecond}); r.Err == "" {
		t.Error("did not end with its context")
	}
}
