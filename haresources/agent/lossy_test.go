package agent_test

import (
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/require"
)

// TestClientThatLosesThreeAnnouncements: a client that asks nobody, since it knows the address well, and does not get the first three
// announcements of the node that took over, has its traffic back soon, in both families.
func TestClientThatLosesThreeAnnouncements(t *testing.T) {
	require.Tool(t, "nft", "a client that loses announcements")
	for _, family := range []struct{ name, spec, address, client, lose string }{
		{"IPv4", "IPaddr::10.0.0.5/24/eth0", "10.0.0.5", "10.0.0.9/24", "arp saddr ip 10.0.0.5 limit rate 1/day burst 6 packets drop"}, // each in two forms
		{"IPv6", "IPv6addr::2001:db8::5/64/eth0", "2001:db8::5", "2001:db8::9/64", "icmpv6 type nd-neighbor-advert limit rate 1/day burst 3 packets drop"},
	} {
		t.Run(family.name, func(t *testing.T) {
			one, two, client, sw := newNode(t), newNode(t), newNode(t), newNode(t)
			sw.sh("ip link add br0 type bridge; ip link set br0 up")
			for port, n := range map[string]*node{"p1": one, "p2": two, "p3": client} {
				cable(t, n, "eth0", sw, port)
				sw.sh("ip link set " + port + " master br0")
			}
			one.sh("ip addr add 10.0.0.1/24 dev eth0; ip addr add 2001:db8::1/64 dev eth0 nodad")
			two.sh("ip addr add 10.0.0.2/24 dev eth0; ip addr add 2001:db8::2/64 dev eth0 nodad")
			// What the client knows of its neighbours it believes for an hour: only an announcement changes its mind.
			client.sh("sysctl -qw net.ipv4.neigh.eth0.base_reachable_time_ms=3600000 net.ipv6.neigh.eth0.base_reachable_time_ms=3600000; ip addr add " + family.client + " dev eth0 nodad")
			one.start(family.spec)
			eventually(t, 5*time.Second, "the client reaches the address", func() bool { return client.reaches(family.address) })
			sw.sh("ip link set p1 down") // a power cut
			client.sh("nft 'add table netdev lossy; add chain netdev lossy in { type filter hook ingress device \"eth0\" priority 0; }; add rule netdev lossy in " + family.lose + "'")
			begin := time.Now()
			two.start(family.spec)
			eventually(t, 5*time.Second, "the client reaches the address again", func() bool {
				return client.do(order{Op: "reach soon", Spec: family.address}).Err == ""
			})
			took := time.Since(begin)
			t.Logf("back after %v", took)
			if took < 90*time.Millisecond {
				t.Errorf("back after %v: nothing was lost, the test tests nothing", took)
			}
			if took > 300*time.Millisecond {
				t.Errorf("back after %v, want 300 ms at most", took)
			}
		})
	}
}
