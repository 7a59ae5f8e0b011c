package host_test

import (
	"errors"
	"net"
	"testing"

	"hapair/heartbeat/host"
)

func TestMacvlanIsMadeAndRemoved(t *testing.T) {
	w := newWire(t)
	n := openNetlink(t)
	mac := net.HardwareAddr{2, 0, 192, 0, 2, 1}
	parent := w.near.Attrs().Index
	if err := n.AddMacvlan(host.Macvlan{Name: "hv0", Parent: parent, Addr: mac, Alias: "a note"}); err != nil {
		t.Fatal(err)
	}
	list, err := n.Macvlans()
	if err != nil || len(list) != 1 {
		t.Fatalf("macvlans: %+v, %v", list, err)
	}
	m := list[0]
	if m.Name != "hv0" || m.Parent != parent || m.Addr.String() != mac.String() || m.Alias != "a note" || m.Up {
		t.Errorf("%+v", m)
	}
	if err := n.SetUp(m.Index, true); err != nil {
		t.Fatal(err)
	}
	if !device(t, n, "hv0").Ready() {
		t.Error("not ready after it was set up")
	}
	if err := n.AddMacvlan(host.Macvlan{Name: "hv1", Parent: parent, Addr: net.HardwareAddr{1, 0, 0, 0, 0, 0}}); err == nil {
		t.Error("a multicast address was accepted")
	}
	for range 2 {
		if err := n.RemoveDevice(m.Index); err != nil {
			t.Fatal(err)
		}
	}
	if list, _ := n.Macvlans(); len(list) != 0 {
		t.Errorf("left: %+v", list)
	}
}

func TestSysctl(t *testing.T) {
	newWire(t)
	const key = "net/ipv4/conf/near/arp_ignore"
	if err := host.WriteSysctl(key, "1"); err != nil {
		t.Fatal(err)
	}
	if v, err := host.ReadSysctl(key); v != "1" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if err := host.WriteSysctl("net/ipv4/conf/nosuch0/arp_ignore", "1"); !errors.Is(err, host.ErrNoSysctl) {
		t.Errorf("no such interface: %v", err)
	}
	if err := host.WriteSysctl(key, "many"); err == nil {
		t.Error("nonsense was accepted")
	}
}
