package agent_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// echo asks an address for an echo and waits for it.
func echo(to string, within time.Duration) error {
	addr, err := netip.ParseAddr(to)
	if err != nil {
		return err
	}
	network, protocol := "ip4:icmp", 1
	var kind icmp.Type = ipv4.ICMPTypeEcho
	if addr.Is6() {
		network, protocol, kind = "ip6:ipv6-icmp", 58, ipv6.ICMPTypeEchoRequest
	}
	c, err := icmp.ListenPacket(network, "")
	if err != nil {
		return err
	}
	defer c.Close()
	id := os.Getpid() & 0xffff
	data, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{ID: id, Seq: 1, Data: []byte("are you there")}}).Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(data, &net.IPAddr{IP: addr.AsSlice()}); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(within))
	for buf := make([]byte, 1500); ; {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil {
			continue
		}
		if e, ok := m.Body.(*icmp.Echo); ok && e.ID == id && from.String() == addr.String() && m.Type != kind {
			return nil
		}
		if m.Type == ipv4.ICMPTypeDestinationUnreachable || m.Type == ipv6.ICMPTypeDestinationUnreachable {
			return errors.New("unreachable")
		}
	}
}
