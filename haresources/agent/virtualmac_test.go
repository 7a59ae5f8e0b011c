package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// lan is a switch with two nodes and a client on it.
type lan struct{ one, two, client *node }

// newLAN joins three nodes by a bridge, which stands on a fourth one.
func newLAN(t testing.TB) lan {
	t.Helper()
	l := lan{newNode(t), newNode(t), newNode(t)}
	bridge := newNode(t)
	bridge.sh("ip link add br0 type bridge; ip link set br0 up")
	for i, n := range []*node{l.one, l.two, l.client} {
		cable(t, n, "eth0", bridge, fmt.Sprintf("port%d", i))
		bridge.sh(fmt.Sprintf("ip link set port%d master br0", i))
	}
	l.one.sh("ip addr add 192.0.2.1/24 dev eth0; ip -6 addr add 2001:db8::1/64 dev eth0 nodad")
	l.two.sh("ip addr add 192.0.2.2/24 dev eth0; ip -6 addr add 2001:db8::2/64 dev eth0 nodad")
	l.client.sh("ip addr add 192.0.2.100/24 dev eth0; ip -6 addr add 2001:db8::100/64 dev eth0 nodad")
	return l
}

// reaches says whether one echo request is answered.
func (n *node) reaches(addr string) bool {
	return n.do(order{Op: "reach", Spec: addr}).Err == ""
}

// neighbour is the hardware address that a node has for another.
func (n *node) neighbour(addr string) string {
	fields := strings.Fields(n.sh("ip neigh show " + addr))
	for i, f := range fields {
		if f == "lladdr" {
			return fields[i+1]
		}
	}
	return ""
}

func TestVirtualMACMovesWithItsAddress(t *testing.T) {
	l := newLAN(t)
	for _, c := range []struct{ spec, addr, mac string }{
		{"VirtualMAC::192.0.2.50/24/eth0", "192.0.2.50", "02:48:c0:00:02:32"},
		{"VirtualMAC::2001:db8::50/64/eth0::02:00:00:00:00:50", "2001:db8::50", "02:00:00:00:00:50"},
	} {
		before := l.one.sh("sysctl -a -r 'conf.(eth0|all).(arp_|rp_)'")
		l.one.must(order{Op: "prepare", Spec: c.spec})
		l.one.expect(c.spec, "stopped")
		if l.client.reaches(c.addr) {
			t.Fatalf("%s answers before it is started", c.addr)
		}
		l.one.start(c.spec)
		l.one.expect(c.spec, "running")
		eventually(t, 5*time.Second, "the address answers", func() bool { return l.client.reaches(c.addr) })
		if mac := l.client.neighbour(c.addr); mac != c.mac {
			t.Errorf("the client sees %s at %s, not %s", c.addr, mac, c.mac)
		}
		if !l.client.reaches("192.0.2.1") || l.client.neighbour("192.0.2.1") == c.mac {
			t.Errorf("the node's own address is at %s", l.client.neighbour("192.0.2.1"))
		}
		// The client's entry cannot be changed from here on: only the switch learns.
		l.client.sh("ip neigh replace " + c.addr + " lladdr " + c.mac + " dev eth0 nud permanent")
		l.one.stop(c.spec)
		l.two.start(c.spec)
		eventually(t, 2*time.Second, "the address answers elsewhere", func() bool { return l.client.reaches(c.addr) })
		l.one.expect(c.spec, "stopped")
		l.two.expect(c.spec, "running")
		if after := l.one.sh("sysctl -a -r 'conf.(eth0|all).(arp_|rp_)'"); after != before {
			t.Errorf("sysctls before:\n%s\nafter:\n%s", before, after)
		}
		hasNot(t, l.one.sh("ip link"), "macvlan", "hv")
		l.two.stop(c.spec)
	}
}

func TestVirtualMACKeepsNeighboursRight(t *testing.T) {
	l := newLAN(t)
	spec := "VirtualMAC::192.0.2.50/24/eth0"
	l.one.start(spec)
	eventually(t, 5*time.Second, "the address answers", func() bool { return l.client.reaches("192.0.2.50") })
	// The node asks for the client while it answers from the address: the question must not name the address.
	for range 3 {
		l.one.sh("ip neigh flush dev eth0")
		if !l.client.reaches("192.0.2.50") {
			t.Fatal("no answer")
		}
		if mac := l.client.neighbour("192.0.2.50"); mac != "02:48:c0:00:02:32" {
			t.Fatalf("the client has learned %s", mac)
		}
	}
}

func TestVirtualMACIsPutBack(t *testing.T) {
	l := newLAN(t)
	spec := "VirtualMAC::192.0.2.50/24/eth0"
	l.one.start(spec)
	l.one.must(order{Op: "watch", Spec: spec})
	name := strings.TrimSpace(l.one.sh("ls /sys/class/net | grep hv"))
	for _, harm := range []string{"ip link del " + name, "ip addr flush dev " + name + " || true", // it may be put back quicker than it is flushed
		"ip link set " + name + " down"} {
		begin := time.Now()
		l.one.sh(harm)
		eventually(t, 5*time.Second, "it is back after "+harm, func() bool {
			return l.one.do(order{Op: "status", Spec: spec}).State == "running"
		})
		t.Logf("%s: back after %v", harm, time.Since(begin))
	}
	// No longer watched, or a repair under way for the last harm could set the setting right as well.
	l.one.must(order{Op: "forget", Spec: spec})
	l.one.expect(spec, "running")
	l.one.sh("sysctl -w net.ipv4.conf.eth0.arp_ignore=0")
	l.one.expect(spec, "failed")
	l.one.start(spec)
	l.one.expect(spec, "running")
	l.one.stop(spec)
	if got := strings.TrimSpace(l.one.sh("sysctl -n net.ipv4.conf.eth0.arp_ignore")); got != "0" {
		t.Errorf("arp_ignore is %s after the stop", got)
	}
}

func TestVirtualMACsShareSettings(t *testing.T) {
	l := newLAN(t)
	one, two := "VirtualMAC::192.0.2.50/24/eth0", "VirtualMAC::192.0.2.51/24/eth0"
	l.one.start(one)
	l.one.start(two)
	l.one.stop(one)
	l.one.expect(two, "running")
	l.one.stop(two)
	if got := strings.Fields(l.one.sh("sysctl -n net.ipv4.conf.eth0.arp_ignore net.ipv4.conf.eth0.arp_announce")); strings.Join(got, " ") != "0 0" {
		t.Errorf("settings after the last stop: %v", got)
	}
}

// TestVirtualMACsOfBothFamiliesShareAnInterface: in whatever order they stop, the settings below are as they were.
func TestVirtualMACsOfBothFamiliesShareAnInterface(t *testing.T) {
	l := newLAN(t)
	four, six := "VirtualMAC::192.0.2.50/24/eth0", "VirtualMAC::2001:db8::50/64/eth0"
	const settings = "sysctl -n net.ipv4.conf.eth0.arp_ignore net.ipv4.conf.eth0.arp_announce"
	for _, order := range [][]string{{four, six}, {six, four}} {
		for _, spec := range order {
			l.one.start(spec)
			l.one.expect(spec, "running")
		}
		for _, spec := range order {
			l.one.stop(spec)
		}
		if got := strings.Fields(l.one.sh(settings)); strings.Join(got, " ") != "0 0" {
			t.Errorf("settings after the stops of %v: %v", order, got)
		}
	}
	// What somebody else sets meanwhile stays.
	l.one.start(four)
	l.one.sh("sysctl -qw net.ipv4.conf.eth0.arp_ignore=2")
	l.one.expect(four, "running")
	l.one.stop(four)
	if got := strings.Fields(l.one.sh(settings)); strings.Join(got, " ") != "2 0" {
		t.Errorf("settings after the stop: %v, and arp_ignore was set to 2 by somebody else", got)
	}
}

// TestVirtualMACPreparationIsTakenBack where the group does not come.
func TestVirtualMACPreparationIsTakenBack(t *testing.T) {
	l := newLAN(t)
	spec := "VirtualMAC::192.0.2.50/24/eth0"
	before := l.one.sh("sysctl -a -r 'conf.(eth0|all).(arp_|rp_)'")
	l.one.must(order{Op: "standby", Spec: spec})
	l.one.must(order{Op: "prepare", Spec: spec})
	has(t, l.one.sh("ip link"), "hv")
	l.one.must(order{Op: "standby", Spec: spec})
	hasNot(t, l.one.sh("ip link"), "hv")
	if after := l.one.sh("sysctl -a -r 'conf.(eth0|all).(arp_|rp_)'"); after != before {
		t.Errorf("sysctls before:\n%s\nafter:\n%s", before, after)
	}
	l.one.must(order{Op: "prepare", Spec: spec})
	l.one.start(spec)
	l.one.must(order{Op: "standby", Spec: spec})
	l.one.expect(spec, "running") // it is up: not for Standby to take away
	l.one.stop(spec)
}

func TestVirtualMACNamesObstacles(t *testing.T) {
	l := newLAN(t)
	l.one.sh("sysctl -w net.ipv4.conf.all.arp_filter=1")
	spec := "VirtualMAC::192.0.2.50/24/eth0"
	if r := l.one.must(order{Op: "check", Spec: spec}); len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "arp_filter is 1") {
		t.Errorf("check: %v", r.Faults)
	}
	if r := l.one.do(order{Op: "start", Spec: spec}); !strings.Contains(r.Err, "arp_filter") {
		t.Errorf("start: %q", r.Err)
	}
	l.one.stop(spec)
	l.one.sh("sysctl -w net.ipv4.conf.all.arp_filter=0 net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1")
	l.one.start(spec)
	eventually(t, 5*time.Second, "the address answers with strict rp_filter", func() bool { return l.client.reaches("192.0.2.50") })
}
