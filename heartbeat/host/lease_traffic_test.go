package host_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// speaks says whether any frame of the node mentions one of the addresses while f runs and a little later.
func (b *bench) speaks(f func(), addresses ...string) bool {
	b.t.Helper()
	b.hears(0, func([]byte) bool { return false }) // forget what came before
	f()
	return b.hears(30*time.Millisecond, func(frame []byte) bool {
		for _, a := range addresses {
			if bytes.Contains(frame, netip.MustParseAddr(a).AsSlice()) {
				return true
			}
		}
		return false
	})
}

// TestLeaseSilencesAnnouncements: what the daemon, a script, or the kernel itself would say about the address does not leave.
func TestLeaseSilencesAnnouncements(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		l := b.lease(m)
		announcer, err := host.OpenAnnouncer()
		b.must(err)
		defer announcer.Close()
		n := openNetlink(t)
		d := device(t, n, "near")
		for name, speak := range map[string]func(){
			"ARP request": func() {
				announcer.Send([]host.Announcement{{Addr: netip.MustParseAddr(serviceAddr), Device: &d, Form: host.FormRequest}})
			},
			"ARP reply": func() {
				announcer.Send([]host.Announcement{{Addr: netip.MustParseAddr(serviceAddr), Device: &d, Form: host.FormReply}})
			},
			"unsolicited neighbour advertisement": func() {
				announcer.Send([]host.Announcement{{Addr: netip.MustParseAddr(serviceAddr6), Device: &d}})
			},
			"datagram from the address":    func() { b.datagram(serviceAddr, clientAddr) },
			"question from the address":    func() { b.datagram(serviceAddr, "10.7.0.77") },
			"datagram from the address, 6": func() { b.datagram(serviceAddr6, clientAddr6) },
			"question from the address, 6": func() { b.datagram(serviceAddr6, "fd07::77") },
		} {
			b.must(l.Expire("service"))
			if b.speaks(speak, serviceAddr, serviceAddr6) {
				t.Errorf("%s left the machine after the lease had ended", name)
			}
			b.forgetNeighbours()
			b.must(l.Renew("service", boot()+time.Minute))
			if !b.speaks(speak, serviceAddr, serviceAddr6) {
				t.Errorf("%s did not leave the machine under a lease", name)
			}
		}
	})
}

// forgetNeighbours empties the node's neighbour table.
func (b *bench) forgetNeighbours() {
	list, err := netlink.NeighList(b.near.Attrs().Index, netlink.FAMILY_ALL)
	b.must(err)
	for _, n := range list {
		_ = netlink.NeighDel(&n)
	}
}

// datagram makes the node send from one address to another; whether it may is not asked.
func (b *bench) datagram(from, to string) {
	b.t.Helper()
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: net.ParseIP(to), Port: 9})
	b.must(err)
	defer c.Close()
	_, _ = c.Write([]byte("hello"))
}

// echoAt answers datagrams at an address of the calling thread's namespace.
func (b *bench) echoAt(addr string) {
	b.t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr), Port: 7})
	b.must(err)
	b.t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDP(buf[:n], from)
		}
	}()
}

// reaches says whether a datagram of the calling thread's namespace to an address is echoed.
func (b *bench) reaches(addr string, patience time.Duration) bool {
	b.t.Helper()
	c, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.ParseIP(addr), Port: 7})
	b.must(err)
	defer c.Close()
	buf := make([]byte, 16)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, _ = c.Write([]byte("ping"))
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := c.Read(buf); err == nil && n == 4 {
			return true
		}
	}
	return false
}

// wantReach checks reaches, patiently when it is to succeed.
func (b *bench) wantReach(want bool, what, addr string) {
	b.t.Helper()
	patience := 3 * time.Second
	if !want {
		patience = 60 * time.Millisecond
	}
	if got := b.reaches(addr, patience); got != want {
		b.t.Errorf("%s: %s reached: %v, want %v", what, addr, got, want)
	}
}

// TestLeaseLetsClientsThrough: a node without the lease is still a client of the address when it is the peer's: it asks for it, learns
// from announcements where it is, and talks to it.
func TestLeaseLetsClientsThrough(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		b.lease(m)
		for _, a := range []string{serviceAddr + "/24", serviceAddr6 + "/64"} {
			addr, _ := netlink.ParseAddr(a)
			b.must(netlink.AddrDel(b.near, addr))
		}
		b.there(t, func() {
			b.put(b.far, serviceAddr+"/24")
			b.put(b.far, serviceAddr6+"/64")
			b.echoAt(serviceAddr)
			b.echoAt(serviceAddr6)
		})
		for _, addr := range []string{serviceAddr, serviceAddr6} {
			b.wantReach(true, "the peer's service", addr)
		}
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 0x99}
		for _, operation := range []byte{1, 2} {
			mac[5]++
			about := netip.MustParseAddr(serviceAddr)
			b.transmit(b.ethernet(net.HardwareAddr{255, 255, 255, 255, 255, 255}, unix.ETH_P_ARP, arpPacket(operation, mac, about, about)))
			waitNeighbour(t, b.near, serviceAddr, mac)
		}
	})
}

// waitNeighbour waits for a neighbour table to know an address.
func waitNeighbour(t *testing.T, link netlink.Link, addr string, mac net.HardwareAddr) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s at %v in the neighbour table", addr, mac), func() bool {
		list, _ := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
		for _, n := range list {
			if n.IP.String() == addr && bytes.Equal(n.HardwareAddr, mac) {
				return true
			}
		}
		return false
	})
}

// TestLeaseOddPackets: no form of a question gets past the end of the lease.
func TestLeaseOddPackets(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		l := b.lease(m)
		service, service6 := netip.MustParseAddr(serviceAddr), netip.MustParseAddr(serviceAddr6)
		everybody := net.HardwareAddr{255, 255, 255, 255, 255, 255}
		clientMAC := b.far.Attrs().HardwareAddr
		solicitation := b.solicit(service6)
		options := append([]byte{58, 0, 1, 4, 0, 0, 0, 0}, solicitation[54:]...) // a hop-by-hop header of eight bytes in front of it
		behindOptions := b.ethernet(solicitation[:6], unix.ETH_P_IPV6, ip6(netip.MustParseAddr(clientAddr6), netip.AddrFrom16([16]byte(solicitation[38:54])), solicitation[54:]))
		behindOptions = append(behindOptions[:54], options...)
		behindOptions[20], behindOptions[19] = 0, byte(len(options))
		unicast := append([]byte(nil), solicitation...)
		copy(unicast, b.mac())
		copy(unicast[38:54], service6.AsSlice())
		icmp := ip6(netip.MustParseAddr(clientAddr6), service6, append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, service6.AsSlice()...))
		unicast = append(unicast[:14], icmp...)
		for name, frame := range map[string][]byte{
			"ARP probe":                      b.ethernet(everybody, unix.ETH_P_ARP, arpPacket(1, clientMAC, netip.MustParseAddr("0.0.0.0"), service)),
			"ARP request, unicast":           b.ethernet(b.mac(), unix.ETH_P_ARP, arpPacket(1, clientMAC, netip.MustParseAddr(clientAddr), service)),
			"solicitation, unicast":          unicast,
			"solicitation behind an option":  behindOptions,
			"shortest ICMPv6":                b.ethernet(b.mac(), unix.ETH_P_IPV6, ip6(netip.MustParseAddr(clientAddr6), service6, []byte{128, 0, 0, 0, 0, 1, 0, 1})),
			"shortest ICMP":                  b.ethernet(b.mac(), unix.ETH_P_IP, ip4(1, netip.MustParseAddr(clientAddr), service, []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1})),
			"broadcast frame to the address": b.ethernet(everybody, unix.ETH_P_IP, ip4(1, netip.MustParseAddr(clientAddr), service, []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1})),
		} {
			b.must(l.Expire("service"))
			if b.speaks(func() { b.transmit(frame) }, serviceAddr, serviceAddr6) {
				t.Errorf("%s: answered after the lease had ended", name)
			}
			b.must(l.Renew("service", boot()+time.Minute))
			if !b.speaks(func() { b.transmit(frame) }, serviceAddr, serviceAddr6) {
				t.Logf("%s: the kernel does not answer that at all", name)
			}
		}
	})
}

// TestLeaseLeavesOthersAlone: nothing about any other address is touched, whatever the lease.
func TestLeaseLeavesOthersAlone(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		l := b.lease(m)
		before, err := l.Dropped("service")
		b.must(err)
		lost := 0
		for range 300 {
			for about, list := range asked(ownAddr, ownAddr6) {
				for _, q := range list {
					if !b.ask(q, about, time.Second) {
						lost++
					}
				}
			}
		}
		tagged := b.echo4(netip.MustParseAddr(serviceAddr)) // in a VLAN, where the address is somebody else's
		tagged = append(append(append([]byte{}, tagged[:12]...), 0x81, 0, 0, 100), tagged[12:]...)
		b.transmit(tagged)
		after, err := l.Dropped("service")
		b.must(err)
		if lost > 0 || after != before {
			t.Errorf("%d answers lost, %d packets dropped", lost, after-before)
		}
		b.ask(questions4[0], netip.MustParseAddr(serviceAddr), time.Millisecond)
		if n, _ := l.Dropped("service"); n != after+1 {
			t.Errorf("%d drops counted for one packet", n-after)
		}
	})
}

// TestLeaseMakeBeforeBreak: an address that is added while the group is mute says nothing, and answers at once with the lease.
func TestLeaseMakeBeforeBreak(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		const prepared, prepared6 = "10.7.0.101", "fd07::101"
		l := b.lease(m)
		b.must(l.Protect([]host.Protection{serviceGroup, {Group: "prepared", Addrs: []netip.Addr{netip.MustParseAddr(prepared), netip.MustParseAddr(prepared6)}}}))
		if b.speaks(func() { b.put(b.near, prepared+"/24"); b.put(b.near, prepared6+"/64") }, prepared, prepared6) {
			t.Error("a mute address spoke when it was added")
		}
		b.answers(false, prepared, prepared6)
		began := time.Now()
		b.must(l.Renew("prepared", boot()+time.Minute))
		if !b.ask(questions4[0], netip.MustParseAddr(prepared), 100*time.Millisecond) {
			t.Error("no answer after the first renewal")
		}
		t.Logf("first answer %v after the renewal", time.Since(began))
		b.answers(true, prepared, prepared6)
		b.answers(false, serviceAddr, serviceAddr6)
	})
}

// TestLeaseOfAVirtualMAC: with the lease ends everything by the virtual hardware address, and nothing by the interface's own.
func TestLeaseOfAVirtualMAC(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		virtual := net.HardwareAddr{0x02, 0, 0x5e, 0, 1, 0x0a}
		b.must(netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "virtual", ParentIndex: b.near.Attrs().Index, HardwareAddr: virtual}, Mode: netlink.MACVLAN_MODE_PRIVATE}))
		b.up(t, "virtual")
		l := b.openLease(m, b.leaseDir())
		b.must(l.Protect([]host.Protection{{Group: "virtual", MACs: []net.HardwareAddr{virtual}}}))
		b.must(l.Attach("near"))
		toVirtual := question{"echo to the virtual MAC", func(b *bench, to netip.Addr) []byte {
			frame := b.echo4(to)
			copy(frame, virtual)
			return frame
		}, questions4[0].answer}
		about := netip.MustParseAddr(serviceAddr)
		for _, lease := range []bool{false, true, false} {
			b.must(l.Expire("virtual"))
			if lease {
				b.must(l.Renew("virtual", boot()+time.Minute))
			}
			if got := b.ask(toVirtual, about, 50*time.Millisecond); got != lease {
				t.Errorf("with lease %v: answered by the virtual MAC: %v", lease, got)
			}
			b.answers(true, serviceAddr, serviceAddr6)
		}
	})
}

// TestLeaseCarriesBulk: large segments, in buffers of every shape, pass unharmed.
func TestLeaseCarriesBulk(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		l := b.lease(m)
		b.must(l.Renew("service", boot()+time.Minute))
		for _, addr := range []string{serviceAddr, serviceAddr6} {
			listener, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
			b.must(err)
			const size = 64 << 20
			go func() {
				defer listener.Close()
				c, err := listener.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = io.CopyN(c, zeros{}, size)
			}()
			var c net.Conn
			b.there(t, func() {
				c, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
			})
			b.must(err)
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			n, err := io.Copy(io.Discard, c)
			c.Close()
			if n != size || err != nil {
				t.Errorf("%d of %d bytes from %s: %v", n, size, addr, err)
			}
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// BenchmarkLease measures what a packet pays, in the kernel, and what a renewal costs.
func BenchmarkLease(b *testing.B) {
	bench := newBench(b)
	l := bench.lease(host.MechanismBPF)
	for _, c := range []struct {
		name      string
		direction int
		lease     bool
		frame     []byte
	}{
		{"ingress/unprotected", 0, true, bench.echo4(netip.MustParseAddr("10.7.0.200"))},
		{"ingress/protected", 0, true, bench.echo4(netip.MustParseAddr(serviceAddr))},
		{"ingress/ended", 0, false, bench.echo4(netip.MustParseAddr(serviceAddr))},
		{"ingress/unprotected6", 0, true, bench.echo6(netip.MustParseAddr("fd07::200"))},
		{"ingress/protected6", 0, true, bench.echo6(netip.MustParseAddr(serviceAddr6))},
		{"egress/unprotected", 1, true, bench.echo4(netip.MustParseAddr("10.7.0.200"))},
	} {
		b.Run(c.name, func(b *testing.B) {
			bench.must(l.Expire("service"))
			if c.lease {
				bench.must(l.Renew("service", boot()+time.Hour))
			}
			copy(c.frame, make([]byte, 6)) // to the hardware address of the loopback interface, on which the kernel tries programs
			_, took, err := host.LeaseProgram(l, c.direction).Benchmark(c.frame, 1_000_000, b.ResetTimer)
			bench.must(err)
			b.ReportMetric(float64(took.Nanoseconds()), "ns/packet")
		})
	}
	b.Run("renew", func(b *testing.B) {
		for b.Loop() {
			if err := l.Renew("service", time.Hour); err != nil {
				b.Fatal(err)
			}
		}
	})
}
