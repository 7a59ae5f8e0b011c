package link_test

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"hapair/heartbeat/link"
	"hapair/heartbeat/rehearsal/require"
)

// TestPingKinds: the other namespace's kernel answers.
func TestPingKinds(t *testing.T) {
	for _, spec := range []link.Spec{
		{Kind: "ping", Peer: addrB},
		{Kind: "ping", Hosts: []string{addrB}, ID: "ping router"},
		{Kind: "ping6", Peer: addrB6},
		{Kind: "ping_group", Group: "routers", Hosts: []string{addrB}},
		{Kind: "ping_group", Group: "routers", Hosts: []string{"10.9.0.77", addrB}}, // the first one is dead
	} {
		t.Run(fmt.Sprint(spec), func(t *testing.T) {
			a, _ := newPair(t)
			l := a.open(spec)
			testLink(t, wiring{a: l, b: l}, 1, 300, 1400, 9000)
		})
	}
}

func TestPingNames(t *testing.T) {
	a, _ := newPair(t)
	for want, spec := range map[string]link.Spec{
		addrB:     {Kind: "ping", Peer: addrB},
		addrB6:    {Kind: "ping6", Hosts: []string{addrB6}},
		"routers": {Kind: "ping_group", Group: "routers", Hosts: []string{addrB}},
	} {
		if got := a.open(spec).Name(); got != want {
			t.Errorf("%v is called %q, want %q", spec, got, want)
		}
	}
}

// TestPingGroupCountsOnce: two members answer, the frame comes once, from whichever was first.
func TestPingGroupCountsOnce(t *testing.T) {
	a, b := newPair(t)
	b.addr(device, "10.9.0.3/24")
	e := listen(t, a.open(link.Spec{Kind: "ping_group", Group: "routers", Hosts: []string{addrB, "10.9.0.3"}}))
	for i := range 300 {
		say(t, e.l, fmt.Sprint("echo ", i))
		e.want(fmt.Sprint("echo ", i))
	}
	e.quiet()
	if c := link.Count(e.l); c.Dropped == 0 {
		t.Error("no second answer was dropped")
	}
}

// TestPingKeepsToItself: answers to other programs' echoes, and to those of another link, are nobody's business.
func TestPingKeepsToItself(t *testing.T) {
	a, _ := newPair(t)
	one, two := listen(t, a.open(link.Spec{Kind: "ping", Peer: addrB})), listen(t, a.open(link.Spec{Kind: "ping", Peer: addrB, ID: "again"}))
	for i := range 50 {
		a.do(func() {
			c := icmpConn(t, addrA)
			defer c.Close()
			sendEcho(t, c, addrB, ipv4.ICMPTypeEcho, i*1311, 1, "somebody else's")
		})
		say(t, one.l, fmt.Sprint("one ", i))
		say(t, two.l, fmt.Sprint("two ", i))
		one.want(fmt.Sprint("one ", i))
		two.want(fmt.Sprint("two ", i))
	}
}

// TestPingRefusesForgedReplies: replays, other hosts, other identifiers, sequences never sent.
func TestPingRefusesForgedReplies(t *testing.T) {
	a, b := newPair(t)
	b.addr(device, "10.9.0.3/24")
	b.sysctl("ipv4/icmp_echo_ignore_all", "1")
	e := listen(t, a.open(link.Spec{Kind: "ping", Peer: addrB}))
	var peer, stranger *icmp.PacketConn
	b.do(func() { peer, stranger = icmpConn(t, addrB), icmpConn(t, "10.9.0.3") })
	defer peer.Close()
	defer stranger.Close()
	say(t, e.l, "genuine")
	id, sequence := nextEcho(t, peer)
	sendEcho(t, stranger, addrA, ipv4.ICMPTypeEchoReply, id, sequence, "stranger")
	sendEcho(t, peer, addrA, ipv4.ICMPTypeEchoReply, id+1, sequence, "wrong identifier")
	sendEcho(t, peer, addrA, ipv4.ICMPTypeEcho, id, sequence, "no reply at all")
	sendEcho(t, peer, addrA, ipv4.ICMPTypeEchoReply, id, sequence+1&0xffff, "never sent")
	sendEcho(t, peer, addrA, ipv4.ICMPTypeEchoReply, id, sequence-1&0xffff, "before the first")
	sendEcho(t, peer, addrA, ipv4.ICMPTypeEchoReply, id, sequence, "genuine")
	sendEcho(t, peer, addrA, ipv4.ICMPTypeEchoReply, id, sequence, "replay")
	e.want("genuine")
	say(t, e.l, "second")
	_, sequence = nextEcho(t, peer)
	sendEcho(t, peer, addrA, ipv4.ICMPTypeEchoReply, id, sequence, "second")
	e.want("second")
	e.quiet()
}

func TestPingOwnFirewall(t *testing.T) {
	require.Tool(t, "nft", "pings under a firewall")
	a, _ := newPair(t)
	e := listen(t, a.open(link.Spec{Kind: "ping", Peer: addrB}))
	testFirewall(t, a, e.l, e)
}

func icmpConn(t *testing.T, at string) *icmp.PacketConn {
	t.Helper()
	c, err := icmp.ListenPacket("ip4:icmp", at)
	must(t, err)
	return c
}

func sendEcho(t *testing.T, c *icmp.PacketConn, to string, kind ipv4.ICMPType, id, sequence int, data string) {
	t.Helper()
	m := icmp.Message{Type: kind, Body: &icmp.Echo{ID: id & 0xffff, Seq: sequence, Data: []byte(data)}}
	raw, err := m.Marshal(nil)
	must(t, err)
	_, err = c.WriteTo(raw, &net.IPAddr{IP: net.ParseIP(to)})
	must(t, err)
}

// nextEcho waits for an echo request and tells its identifier and sequence.
func nextEcho(t *testing.T, c *icmp.PacketConn) (id, sequence int) {
	t.Helper()
	buffer := make([]byte, 2000)
	for {
		n, _, err := c.ReadFrom(buffer)
		must(t, err)
		m, err := icmp.ParseMessage(1, buffer[:n])
		must(t, err)
		if echo, ok := m.Body.(*icmp.Echo); ok && m.Type == ipv4.ICMPTypeEcho {
			return echo.ID, echo.Seq
		}
	}
}
