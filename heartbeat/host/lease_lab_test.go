package host_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// The addresses of the lease tests: the node's own, the service's, and the client's.
const (
	ownAddr, ownAddr6         = "10.7.0.1", "fd07::1"
	serviceAddr, serviceAddr6 = "10.7.0.100", "fd07::100"
	clientAddr, clientAddr6   = "10.7.0.9", "fd07::9"
)

// bench is a node (the calling goroutine's namespace) with a service address of each family, and a client at the far end of its cable that
// asks it questions by its hardware address.
type bench struct {
	*wire
	t      testing.TB
	socket int // at the client: sends frames
	serial uint16
}

// newBench makes the namespaces and assigns the addresses.
func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{wire: newWire(t), t: t}
	for _, a := range []string{ownAddr + "/24", serviceAddr + "/24", ownAddr6 + "/64", serviceAddr6 + "/64"} {
		b.put(b.near, a)
	}
	b.there(t, func() {
		for _, a := range []string{clientAddr + "/24", clientAddr6 + "/64"} {
			b.put(b.far, a)
		}
		var err error
		b.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		b.must(err)
	})
	t.Cleanup(func() { unix.Close(b.socket) })
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// put assigns an address without duplicate address detection.
func (b *bench) put(link netlink.Link, prefix string) {
	b.t.Helper()
	a, err := netlink.ParseAddr(prefix)
	b.must(err)
	if netip.MustParsePrefix(prefix).Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	b.must(netlink.AddrAdd(link, a))
}

// lease opens a lease with a directory of the test's own, protects both service addresses and attaches it to the node's interface.
func (b *bench) lease(m host.Mechanism) *host.Lease {
	b.t.Helper()
	l := b.openLease(m, b.leaseDir())
	b.must(l.Protect([]host.Protection{serviceGroup}))
	b.must(l.Attach("near"))
	return l
}

var serviceGroup = host.Protection{Group: "service", Addrs: []netip.Addr{netip.MustParseAddr(serviceAddr), netip.MustParseAddr(serviceAddr6)}}

func (b *bench) openLease(m host.Mechanism, dir string) *host.Lease {
	b.t.Helper()
	l, err := host.OpenLeaseBy(m, dir)
	b.must(err)
	b.t.Cleanup(func() { l.Close() })
	return l
}

// leaseDir is a directory in which pinned maps can be: the lease mounts what it needs there.
func (b *bench) leaseDir() string {
	dir := filepath.Join(b.t.TempDir(), "bpf")
	b.must(os.Mkdir(dir, 0o700))
	b.t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// question is a frame that the client sends, and how its answer is known.
type question struct {
	name   string
	frame  func(b *bench, to netip.Addr) []byte
	answer func(b *bench, about netip.Addr, frame []byte) bool
}

// questions are all ways to ask whether somebody answers for an address.
var questions4 = []question{
	{"echo", (*bench).echo4, func(b *bench, about netip.Addr, f []byte) bool {
		return ethertype(f) == unix.ETH_P_IP && len(f) >= 42 && f[23] == 1 && f[34] == 0 && binary.BigEndian.Uint16(f[40:]) == b.serial
	}},
	{"arp", (*bench).whoHas, func(b *bench, about netip.Addr, f []byte) bool {
		return ethertype(f) == unix.ETH_P_ARP && len(f) >= 42 && f[21] == 2 && bytes.Equal(f[28:32], about.AsSlice())
	}},
	{"tcp", (*bench).syn4, func(b *bench, about netip.Addr, f []byte) bool { // nobody listens: a reset is an answer too
		return ethertype(f) == unix.ETH_P_IP && len(f) >= 54 && f[23] == 6 && bytes.Equal(f[26:30], about.AsSlice()) &&
			binary.BigEndian.Uint16(f[36:]) == 1024+b.serial%1000
	}},
}

var questions6 = []question{
	{"echo6", (*bench).echo6, func(b *bench, about netip.Addr, f []byte) bool {
		return ethertype(f) == unix.ETH_P_IPV6 && len(f) >= 62 && f[20] == 58 && f[54] == 129 && binary.BigEndian.Uint16(f[60:]) == b.serial
	}},
	{"solicitation", (*bench).solicit, func(b *bench, about netip.Addr, f []byte) bool {
		return ethertype(f) == unix.ETH_P_IPV6 && len(f) >= 78 && f[20] == 58 && f[54] == 136 && bytes.Equal(f[62:78], about.AsSlice())
	}},
}

func ethertype(f []byte) int { return int(binary.BigEndian.Uint16(f[12:])) }

// of pairs each question with the address of its family.
func asked(v4, v6 string) map[netip.Addr][]question {
	return map[netip.Addr][]question{netip.MustParseAddr(v4): questions4, netip.MustParseAddr(v6): questions6}
}

// ask sends a question and says whether it was answered in time.
func (b *bench) ask(q question, about netip.Addr, within time.Duration) bool {
	b.t.Helper()
	b.serial++
	b.transmit(q.frame(b, about))
	return b.hears(within, func(f []byte) bool { return q.answer(b, about, f) })
}

// transmit sends a frame from the client.
func (b *bench) transmit(frame []byte) {
	b.t.Helper()
	to := unix.SockaddrLinklayer{Ifindex: b.far.Attrs().Index, Protocol: swap(uint16(ethertype(frame)))}
	b.must(unix.Sendto(b.socket, frame, 0, &to))
}

// hears waits at the client for a frame from the node.
func (b *bench) hears(within time.Duration, match func(frame []byte) bool) bool {
	buf := make([]byte, 4096)
	for deadline := time.Now().Add(within); ; {
		n, from, err := unix.Recvfrom(b.listener, buf, unix.MSG_DONTWAIT)
		if err == nil {
			if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype != unix.PACKET_OUTGOING && n >= 14 && match(buf[:n]) {
				return true
			}
			continue
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		timeout := unix.NsecToTimespec(int64(left))
		_, _ = unix.Ppoll([]unix.PollFd{{Fd: int32(b.listener), Events: unix.POLLIN}}, &timeout, nil)
	}
}

// answers fails the test unless every way of asking about the addresses has, or has not, an answer.
func (b *bench) answers(want bool, v4, v6 string) {
	b.t.Helper()
	patience := time.Second
	if !want {
		patience = 30 * time.Millisecond
	}
	for about, list := range asked(v4, v6) {
		for _, q := range list {
			if got := b.ask(q, about, patience); got != want {
				b.t.Errorf("%s about %v answered: %v, want %v", q.name, about, got, want)
			}
		}
	}
}

// ethernet puts a frame's header in front of data.
func (b *bench) ethernet(to net.HardwareAddr, kind uint16, data []byte) []byte {
	frame := append(append([]byte{}, to...), b.far.Attrs().HardwareAddr...)
	return append(binary.BigEndian.AppendUint16(frame, kind), data...)
}

func (b *bench) echo4(to netip.Addr) []byte {
	message := []byte{8, 0, 0, 0, 0, 7, byte(b.serial >> 8), byte(b.serial), 1, 2, 3, 4}
	binary.BigEndian.PutUint16(message[2:], sum(message))
	return b.ethernet(b.mac(), unix.ETH_P_IP, ip4(1, netip.MustParseAddr(clientAddr), to, message))
}

func (b *bench) syn4(to netip.Addr) []byte {
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment, 1024+b.serial%1000)
	binary.BigEndian.PutUint16(segment[2:], 7)
	segment[12], segment[13] = 5<<4, 2
	from := netip.MustParseAddr(clientAddr)
	pseudo := append(append(from.AsSlice(), to.AsSlice()...), 0, 6, 0, 20)
	binary.BigEndian.PutUint16(segment[16:], sum(append(pseudo, segment...)))
	return b.ethernet(b.mac(), unix.ETH_P_IP, ip4(6, from, to, segment))
}

func (b *bench) echo6(to netip.Addr) []byte {
	message := []byte{128, 0, 0, 0, 0, 7, byte(b.serial >> 8), byte(b.serial), 1, 2, 3, 4}
	return b.ethernet(b.mac(), unix.ETH_P_IPV6, ip6(netip.MustParseAddr(clientAddr6), to, message))
}

// whoHas is an ARP request; solicit the same for IPv6, to the address's group.
func (b *bench) whoHas(target netip.Addr) []byte {
	return b.ethernet(net.HardwareAddr{255, 255, 255, 255, 255, 255}, unix.ETH_P_ARP,
		arpPacket(1, b.far.Attrs().HardwareAddr, netip.MustParseAddr(clientAddr), target))
}

func (b *bench) solicit(target netip.Addr) []byte {
	message := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	message = append(append(message, 1, 1), b.far.Attrs().HardwareAddr...)
	last := target.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], last[13:])
	mac := net.HardwareAddr{0x33, 0x33, group[12], group[13], group[14], group[15]}
	return b.ethernet(mac, unix.ETH_P_IPV6, ip6(netip.MustParseAddr(clientAddr6), netip.AddrFrom16(group), message))
}

func arpPacket(operation byte, mac net.HardwareAddr, sender, target netip.Addr) []byte {
	p := append([]byte{0, 1, 8, 0, 6, 4, 0, operation}, mac...)
	target6 := make([]byte, 6)
	if operation == 2 {
		copy(target6, mac) // Linux believes an unasked reply only so
	}
	return append(append(append(p, sender.AsSlice()...), target6...), target.AsSlice()...)
}

func ip4(protocol byte, from, to netip.Addr, data []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(data)))
	h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(h, data...)
}

// ip6 makes an ICMPv6 packet, and fills its checksum in.
func ip6(from, to netip.Addr, message []byte) []byte {
	pseudo := append(append(from.AsSlice(), to.AsSlice()...), 0, 0, 0, byte(len(message)), 0, 0, 0, 58)
	binary.BigEndian.PutUint16(message[2:], sum(append(pseudo, message...)))
	h := []byte{0x60, 0, 0, 0, 0, byte(len(message)), 58, 255}
	return append(append(append(h, from.AsSlice()...), to.AsSlice()...), message...)
}

// sum is the internet checksum.
func sum(data []byte) uint16 {
	var s uint32
	for i := 0; i < len(data); i += 2 {
		s += uint32(data[i]) << 8
		if i+1 < len(data) {
			s += uint32(data[i+1])
		}
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// boot is the clock that leases end on.
func boot() time.Duration { return host.ReadClocks().Boot }
