package host_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

// wire is a cable between two network namespaces: the calling goroutine stands in the one that has interface "near", and
// listens at "far" in the other.
type wire struct {
	near, far netlink.Link
	nearNS    netns.NsHandle
	farNS     netns.NsHandle
	listener  int
}

// newWire makes two namespaces with a cable between them and leaves the calling goroutine in the first one. Its thread is
// not used by anyone else afterwards.
func newWire(t testing.TB) *wire {
	t.Helper()
	require.Root(t, "real addresses and announcements in network namespaces")
	runtime.LockOSThread()
	w := &wire{}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	var err error
	w.farNS, err = netns.New()
	must("make namespace", err)
	w.nearNS, err = netns.New()
	must("make namespace", err)
	t.Cleanup(func() { w.farNS.Close(); w.nearNS.Close() })
	must("make veth", netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far", PeerNamespace: netlink.NsFd(w.farNS),
	}))
	w.near = w.up(t, "near")
	w.there(t, func() {
		w.far = w.up(t, "far")
		w.listener, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(swap(unix.ETH_P_ALL)))
		must("open listener", err)
		must("bind listener", unix.Bind(w.listener, &unix.SockaddrLinklayer{Protocol: swap(unix.ETH_P_ALL), Ifindex: w.far.Attrs().Index}))
		must("enlarge buffer", unix.SetsockoptInt(w.listener, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
	})
	t.Cleanup(func() { unix.Close(w.listener) })
	return w
}

// swap makes a number big-endian.
func swap(n uint16) uint16 { return n<<8 | n>>8 }

// there runs f in the far namespace.
func (w *wire) there(t testing.TB, f func()) {
	t.Helper()
	if err := netns.Set(w.farNS); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(w.nearNS); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// up sets an interface up.
func (w *wire) up(t testing.TB, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// assign gives the near end an address, as an administrator would.
func (w *wire) assign(t testing.TB, cidr string) {
	t.Helper()
	addr, err := netlink.ParseAddr(cidr)
	if err == nil {
		err = netlink.AddrAdd(w.near, addr)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// next waits for the next frame of an Ethernet type at the far end, nil when none comes.
func (w *wire) next(t testing.TB, ethertype uint16, within time.Duration) []byte {
	t.Helper()
	buf := make([]byte, 2048)
	for deadline := time.Now().Add(within); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		poll := []unix.PollFd{{Fd: int32(w.listener), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, int(left.Milliseconds())+1); n <= 0 && err != unix.EINTR {
			continue
		}
		n, _, err := unix.Recvfrom(w.listener, buf, unix.MSG_DONTWAIT)
		if err == nil && n > 14 && binary.BigEndian.Uint16(buf[12:]) == ethertype {
			return append([]byte(nil), buf[:n]...)
		}
	}
}

// openNetlink opens a host.Netlink that the test closes.
func openNetlink(t testing.TB) *host.Netlink {
	t.Helper()
	n, err := host.OpenNetlink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// device looks an interface up.
func device(t testing.TB, n *host.Netlink, name string) host.Device {
	t.Helper()
	d, err := n.Device(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// listed renders the addresses of an interface, without link-local ones.
func listed(t testing.TB, n *host.Netlink, index int) string {
	t.Helper()
	list, err := n.ListAddresses(index)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, a := range list {
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			text += fmt.Sprintf("%v label %s broadcast %v; ", a.Prefix, a.Label, a.Broadcast)
		}
	}
	return text
}

var prefix = netip.MustParsePrefix

// mac is the near end's hardware address.
func (w *wire) mac() net.HardwareAddr { return w.near.Attrs().HardwareAddr }

// cidr and addrIP are for the netlink library's types.
func cidr(s string) *net.IPNet { _, n, _ := net.ParseCIDR(s); return n }
func addrIP(s string) net.IP   { return net.ParseIP(s) }
