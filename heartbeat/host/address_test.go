package host_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

func TestAddressesAddListRemove(t *testing.T) {
	w := newWire(t)
	n := openNetlink(t)
	d := device(t, n, "near")
	if d.Index != w.near.Attrs().Index || d.Type != host.HardwareEthernet || d.Addr.String() != w.mac().String() ||
		d.Broadcast.String() != "ff:ff:ff:ff:ff:ff" || !d.Announces() || !d.Ready() {
		t.Errorf("device %+v", d)
	}
	list := []host.Address{
		{Prefix: prefix("10.0.0.1/24"), Index: d.Index, Label: "near:0", Broadcast: netip.MustParseAddr("10.0.0.255")},
		{Prefix: prefix("10.0.0.2/32"), Index: d.Index},
		{Prefix: prefix("2001:db8::1/64"), Index: d.Index},
	}
	for range 2 { // the second time all are there
		if errs := n.AddAddresses(list); errs != nil {
			t.Fatal(errs)
		}
		want := "10.0.0.1/24 label near:0 broadcast 10.0.0.255; 10.0.0.2/32 label near broadcast invalid IP; 2001:db8::1/64 label  broadcast invalid IP; "
		if got := listed(t, n, d.Index); got != want {
			t.Errorf("addresses %s\nwant %s", got, want)
		}
	}
	all, err := n.ListAddresses(d.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.Prefix == list[2].Prefix && (a.Flags&unix.IFA_F_TENTATIVE != 0 || a.Flags&unix.IFA_F_NODAD == 0) {
			t.Errorf("%v has flags %#x: it is not in use at once", a.Prefix, a.Flags)
		}
	}
	for range 2 { // the second time none is there
		if errs := n.RemoveAddresses(list); errs != nil {
			t.Fatal(errs)
		}
		if got := listed(t, n, d.Index); got != "" {
			t.Errorf("addresses %s", got)
		}
	}
}

func TestAddressesRemoveExactly(t *testing.T) {
	w := newWire(t)
	w.assign(t, "10.0.0.1/24")
	n := openNetlink(t)
	d := device(t, n, "near")
	if errs := n.RemoveAddresses([]host.Address{{Prefix: prefix("10.0.0.1/25"), Index: d.Index}, {Prefix: prefix("10.0.0.1/24"), Index: 4711}}); errs != nil {
		t.Error(errs)
	}
	if got := listed(t, n, d.Index); !strings.HasPrefix(got, "10.0.0.1/24") {
		t.Errorf("addresses %q", got)
	}
}

// TestAddressesErrors: of many, the bad ones are named and the others are there.
func TestAddressesErrors(t *testing.T) {
	newWire(t)
	n := openNetlink(t)
	d := device(t, n, "near")
	list := make([]host.Address, 200)
	for i := range list {
		list[i] = host.Address{Prefix: prefix(fmt.Sprintf("10.0.1.%d/32", i+1)), Index: d.Index}
	}
	list[70].Index = 4711
	list[199].Index = 4711
	errs := n.AddAddresses(list)
	for i, err := range errs {
		if bad := i == 70 || i == 199; (err != nil) != bad {
			t.Errorf("address %d: %v", i, err)
		}
	}
	if errs == nil || !errors.Is(errs[70], unix.ENODEV) || !strings.Contains(errs[70].Error(), "add address 10.0.1.71/32: ") {
		t.Errorf("errors %v", errs)
	}
	if got := strings.Count(listed(t, n, d.Index), ";"); got != 198 {
		t.Errorf("%d addresses", got)
	}
	if errs := n.RemoveAddresses(list); errs != nil {
		t.Errorf("remove: %v", errs)
	}
	n.Close()
	if errs := n.AddAddresses(list[:1]); errs == nil {
		t.Error("a closed socket works")
	}
}

func TestDeviceErrors(t *testing.T) {
	newWire(t)
	n := openNetlink(t)
	for _, name := range []string{"nosuch", "", "averyverylongname"} {
		if _, err := n.Device(name); !errors.Is(err, host.ErrNoInterface) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := n.DeviceByIndex(4711); !errors.Is(err, host.ErrNoInterface) {
		t.Error(err)
	}
	lo, err := n.Device("lo")
	if err != nil || lo.Announces() {
		t.Errorf("lo: %+v, %v", lo, err)
	}
	if by, err := n.DeviceByIndex(lo.Index); err != nil || by.Name != "lo" {
		t.Errorf("lo by index: %+v, %v", by, err)
	}
}

func TestFindPlace(t *testing.T) {
	w := newWire(t)
	w.assign(t, "10.0.0.1/16")
	w.assign(t, "10.0.5.1/24")
	w.assign(t, "2001:db8::1/64")
	near := w.near.Attrs().Index
	other := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "other"}, PeerName: "otherpeer"}
	if err := netlink.LinkAdd(other); err != nil {
		t.Fatal(err)
	}
	down := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "down"}, PeerName: "downpeer"}
	if err := netlink.LinkAdd(down); err != nil {
		t.Fatal(err)
	}
	addr, _ := netlink.ParseAddr("172.16.0.1/12")
	if err := netlink.AddrAdd(down, addr); err != nil {
		t.Fatal(err)
	}
	w.up(t, "other")
	w.up(t, "otherpeer")
	link, _ := netlink.LinkByName("other")
	for _, r := range []netlink.Route{
		{LinkIndex: link.Attrs().Index, Dst: cidr("192.168.0.0/20"), Scope: netlink.SCOPE_LINK},
		{LinkIndex: near, Dst: cidr("192.168.64.0/20"), Gw: addrIP("10.0.9.9")},
	} {
		if err := netlink.RouteAdd(&r); err != nil {
			t.Fatal(err)
		}
	}
	n := openNetlink(t)
	for _, tt := range []struct {
		addr, subnet string
		index        int
		direct       bool
	}{
		{"10.0.7.7", "10.0.0.0/16", near, true},
		{"10.0.5.7", "10.0.5.0/24", near, true},
		{"10.0.5.1", "10.0.5.0/24", near, true}, // there already
		{"2001:db8::7", "2001:db8::/64", near, true},
		{"172.20.0.1", "172.16.0.0/12", down.Attrs().Index, true},
		{"192.168.1.1", "192.168.0.0/20", link.Attrs().Index, true},
		{"192.168.65.1", "192.168.64.0/20", near, false},
	} {
		p, err := n.FindPlace(netip.MustParseAddr(tt.addr))
		if want := (host.Place{Index: tt.index, Subnet: prefix(tt.subnet), Direct: tt.direct}); err != nil || p != want {
			t.Errorf("%s: %+v, %v; want %+v", tt.addr, p, err, want)
		}
	}
	for _, none := range []string{"8.8.8.8", "2001:db8:1::1", "127.0.0.1"} {
		if p, err := n.FindPlace(netip.MustParseAddr(none)); !errors.Is(err, host.ErrNoPlace) {
			t.Errorf("%s: %+v, %v", none, p, err)
		}
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: near, Gw: addrIP("10.0.9.9")}); err != nil {
		t.Fatal(err)
	}
	if p, err := n.FindPlace(netip.MustParseAddr("8.8.8.8")); err != nil || p.Index != near || p.Direct {
		t.Errorf("by the default route: %+v, %v", p, err)
	}
}

// BenchmarkAddAddresses1000 adds and removes a thousand addresses; both are in the figure.
func BenchmarkAddAddresses1000(b *testing.B) {
	newWire(b)
	n := openNetlink(b)
	d := device(b, n, "near")
	list := make([]host.Address, 1000)
	for i := range list {
		list[i] = host.Address{Prefix: prefix(fmt.Sprintf("10.1.%d.%d/16", i/250, i%250+1)), Index: d.Index}
	}
	for b.Loop() {
		if errs := n.AddAddresses(list); errs != nil {
			b.Fatal(errs[0])
		}
		b.StopTimer()
		if errs := n.RemoveAddresses(list); errs != nil {
			b.Fatal(errs[0])
		}
		b.StartTimer()
	}
}
