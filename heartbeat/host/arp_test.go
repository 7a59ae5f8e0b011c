package host_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// unhex reads bytes written for people.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var ether = &host.Device{
	Name: "eth0", Index: 7, Type: host.HardwareEthernet,
	Addr: net.HardwareAddr{2, 0, 0, 0, 0, 0x11}, Broadcast: net.HardwareAddr{255, 255, 255, 255, 255, 255},
}

// infini is an IPoIB device as Linux shows it: queue pair number and flags, then the port's global identifier; the broadcast
// address names the multicast group of partition 0xffff (RFC 4391).
func infini(t *testing.T) *host.Device {
	return &host.Device{
		Name: "ib0", Index: 9, Type: host.HardwareInfiniBand,
		Addr:      unhex(t, "80000a48 fe800000 00000000 0002c903 00f91b21"),
		Broadcast: unhex(t, "00ffffff ff12401b ffff0000 00000000 ffffffff"),
	}
}

// TestARPFrames compares every byte, on Ethernet and on IPoIB.
func TestARPFrames(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.5")
	for _, tt := range []struct {
		device *host.Device
		form   host.Form
		want   string
	}{
		{ether, host.FormRequest, "0001 0800 06 04 0001 020000000011 0a000005 000000000000 0a000005"},
		{ether, host.FormReply, "0001 0800 06 04 0002 020000000011 0a000005 020000000011 0a000005"},
		{infini(t), host.FormRequest, `0020 0800 14 04 0001
			80000a48 fe800000 00000000 0002c903 00f91b21 0a000005
			00000000 00000000 00000000 00000000 00000000 0a000005`},
		{infini(t), host.FormReply, `0020 0800 14 04 0002
			80000a48 fe800000 00000000 0002c903 00f91b21 0a000005
			80000a48 fe800000 00000000 0002c903 00f91b21 0a000005`},
	} {
		got, err := host.ARPFrame(host.Announcement{Addr: addr, Device: tt.device, Form: tt.form})
		if err != nil || !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("%s form %d: %x, %v\nwant %s", tt.device.Name, tt.form, got, err, tt.want)
		}
	}
	if _, err := host.ARPFrame(host.Announcement{Addr: netip.MustParseAddr("::1"), Device: ether}); err == nil {
		t.Error("an IPv6 address was encoded")
	}
}

// TestLinkSockaddr: the kernel's struct, of 20 bytes on Ethernet and of 32 on IPoIB (little-endian machines).
func TestLinkSockaddr(t *testing.T) {
	if got, want := host.LinkSockaddr(ether, unix.ETH_P_ARP), unhex(t, "1100 0806 07000000 0100 00 06 ffffffffffff 0000"); !bytes.Equal(got, want) {
		t.Errorf("Ethernet: %x, want %x", got, want)
	}
	want := unhex(t, "1100 0806 09000000 2000 00 14 00ffffff ff12401b ffff0000 00000000 ffffffff")
	if got := host.LinkSockaddr(infini(t), unix.ETH_P_ARP); !bytes.Equal(got, want) {
		t.Errorf("IPoIB: %x, want %x", got, want)
	}
}

// TestAdvertisements: an unsolicited neighbour advertisement, override set; on IPoIB the link-layer address is padded in
// front (the checksum is the kernel's).
func TestAdvertisements(t *testing.T) {
	addr := netip.MustParseAddr("2001:db8::5")
	for _, tt := range []struct {
		device *host.Device
		router bool
		want   string
	}{
		{ether, false, "88 00 0000 20000000 20010db8 00000000 00000000 00000005 02 01 020000000011"},
		{ether, true, "88 00 0000 a0000000 20010db8 00000000 00000000 00000005 02 01 020000000011"},
		{infini(t), false, "88 00 0000 20000000 20010db8 00000000 00000000 00000005 02 03 0000 80000a48 fe800000 00000000 0002c903 00f91b21"},
	} {
		got, err := host.Advertisement(addr, tt.device.Addr, tt.router)
		if err != nil || !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("%s router %v: %x, %v\nwant %s", tt.device.Name, tt.router, got, err, tt.want)
		}
	}
}

// TestAnnounceOnTheWire: what the other end of the cable receives.
func TestAnnounceOnTheWire(t *testing.T) {
	w := newWire(t)
	n := openNetlink(t)
	d := device(t, n, "near")
	a, err := host.OpenAnnouncer()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	v4, v6 := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")
	if errs := n.AddAddresses([]host.Address{{Prefix: netip.PrefixFrom(v6, 64), Index: d.Index}}); errs != nil {
		t.Fatal(errs)
	}
	lo := device(t, n, "lo")
	if errs := a.Send([]host.Announcement{
		{Addr: v4, Device: &d, Form: host.FormRequest},
		{Addr: v4, Device: &lo},
		{Addr: v4, Device: &d, Form: host.FormReply},
	}); errs != nil {
		t.Fatal(errs)
	}
	mac := strings.ReplaceAll(w.mac().String(), ":", "")
	for _, want := range []string{
		"ffffffffffff" + mac + "0806 0001 0800 06 04 0001" + mac + "0a000005 000000000000 0a000005",
		"ffffffffffff" + mac + "0806 0001 0800 06 04 0002" + mac + "0a000005" + mac + "0a000005",
	} {
		if got := w.next(t, unix.ETH_P_ARP, time.Second); !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("frame %x\nwant  %s", got, want)
		}
	}
	if errs := a.Send([]host.Announcement{{Addr: v6, Device: &d}}); errs != nil {
		t.Fatal(errs)
	}
	for {
		f := w.next(t, unix.ETH_P_IPV6, time.Second)
		if f == nil {
			t.Fatal("no neighbour advertisement arrived")
		}
		if len(f) < 14+40+32 || f[14+40] != 136 {
			continue // another of the kernel's
		}
		if hop, dst := f[14+7], netip.AddrFrom16([16]byte(f[14+24:14+40])); hop != 255 || dst.String() != "ff02::1" {
			t.Errorf("hop limit %d to %v", hop, dst)
		}
		if src := netip.AddrFrom16([16]byte(f[14+8 : 14+24])); src != v6 {
			t.Errorf("source %v", src)
		}
		if got, want := f[14+40+4:], unhex(t, "20000000 20010db8 00000000 00000000 00000005 02 01"+mac); !bytes.Equal(got, want) {
			t.Errorf("advertisement %x, want %x", got, want)
		}
		return
	}
}

// TestAnnounceErrors: each failure is told of its own announcement, and the others go out.
func TestAnnounceErrors(t *testing.T) {
	w := newWire(t)
	n := openNetlink(t)
	d := device(t, n, "near")
	gone := d
	gone.Index, gone.Name = 4711, "gone"
	a, err := host.OpenAnnouncer()
	if err != nil {
		t.Fatal(err)
	}
	v4 := netip.MustParseAddr("10.0.0.5")
	errs := a.Send([]host.Announcement{{Addr: v4, Device: &gone}, {Addr: v4, Device: &d}, {Addr: netip.MustParseAddr("2001:db8::9"), Device: &d}})
	if len(errs) != 3 || errs[0] == nil || errs[1] != nil || errs[2] == nil {
		t.Errorf("errors %v", errs)
	}
	if !strings.HasPrefix(fmt.Sprint(errs[0]), "announce 10.0.0.5 on gone: ") {
		t.Errorf("error %v", errs[0])
	}
	if w.next(t, unix.ETH_P_ARP, time.Second) == nil {
		t.Error("the good one did not arrive")
	}
	a.Close()
	if errs := a.Send([]host.Announcement{{Addr: v4, Device: &d}}); errs == nil || !strings.Contains(errs[0].Error(), os.ErrClosed.Error()) {
		t.Errorf("errors %v", errs)
	}
}

// BenchmarkAnnounce1000 announces a thousand addresses in both forms.
func BenchmarkAnnounce1000(b *testing.B) {
	newWire(b)
	n := openNetlink(b)
	d := device(b, n, "near")
	a, err := host.OpenAnnouncer()
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	var list []host.Announcement
	for i := range 1000 {
		addr := netip.AddrFrom4([4]byte{10, 1, byte(i / 250), byte(i % 250)})
		list = append(list, host.Announcement{Addr: addr, Device: &d}, host.Announcement{Addr: addr, Device: &d, Form: host.FormReply})
	}
	for b.Loop() {
		if errs := a.Send(list); errs != nil {
			b.Fatal(errs[0])
		}
	}
}
