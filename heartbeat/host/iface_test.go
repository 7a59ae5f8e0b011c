package host_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

// ownNetwork moves the test into a network namespace of its own that has lo and a cable eth0 to eth1.
func ownNetwork(t *testing.T) (eth0, eth1 netlink.Link) {
	t.Helper()
	require.Root(t, "interfaces of a namespace of the test's own")
	runtime.LockOSThread()
	home, err := netns.Get()
	check(t, err)
	own, err := netns.New()
	check(t, err)
	t.Cleanup(func() {
		check(t, netns.Set(home))
		home.Close()
		own.Close()
		runtime.UnlockOSThread()
	})
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth1"}))
	eth0, err = netlink.LinkByName("eth0")
	check(t, err)
	eth1, err = netlink.LinkByName("eth1")
	check(t, err)
	return eth0, eth1
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addAddr(t *testing.T, l netlink.Link, prefix string) {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	check(t, err)
	check(t, netlink.AddrAdd(l, a))
}

func TestInterface(t *testing.T) {
	eth0, eth1 := ownNetwork(t)
	check(t, netlink.LinkSetUp(eth0))
	i, err := host.InterfaceByName("eth0")
	check(t, err)
	if !i.Up || i.Carrier || i.Index != eth0.Attrs().Index || i.Type != "ether" || i.Kind != "veth" || i.MTU != 1500 ||
		i.HardwareAddr.String() != eth0.Attrs().HardwareAddr.String() {
		t.Errorf("with the other end down: %+v", i)
	}
	if i.Broadcast().IsValid() {
		t.Errorf("broadcast address %v without an address", i.Broadcast())
	}
	check(t, netlink.LinkSetUp(eth1))
	for _, p := range []string{"10.9.0.1/31", "10.9.0.1/20", "10.9.1.1/20", "192.0.2.1/30", "fd09::1/64"} {
		addAddr(t, eth0, p)
	}
	i, err = host.InterfaceByName("eth0")
	check(t, err)
	if !i.Carrier || i.Broadcast() != netip.MustParseAddr("10.9.15.255") || !i.HasBroadcast(netip.MustParseAddr("192.0.2.3")) ||
		i.HasBroadcast(netip.MustParseAddr("10.9.0.255")) {
		t.Errorf("with addresses: %+v", i)
	}
	for _, a := range i.Addrs {
		if a.Secondary != (a.Prefix.String() == "10.9.1.1/20") {
			t.Errorf("%v secondary: %v", a.Prefix, a.Secondary)
		}
	}
	list, err := host.Interfaces()
	check(t, err)
	for addr, own := range map[string]bool{"10.9.1.1": true, "fd09::1": true, "10.9.0.2": false, "fd09::1%eth0": true, "fd09::1%eth1": false} {
		if owner := host.Owner(list, netip.MustParseAddr(addr)); (owner == "eth0") != own {
			t.Errorf("%s is of %q, own: %v", addr, owner, own)
		}
	}
}

func TestNoInterface(t *testing.T) {
	ownNetwork(t)
	_, err := host.InterfaceByName("eht0")
	if !errors.Is(err, host.ErrNoInterface) || !strings.Contains(err.Error(), `did you mean "eth0"?`) {
		t.Errorf("%v", err)
	}
	list, err := host.Interfaces()
	check(t, err)
	if len(list) != 3 || list[0].Name != "lo" {
		t.Errorf("%+v", list)
	}
}

func TestViewKeepsItsNamespace(t *testing.T) {
	ownNetwork(t)
	view, err := host.NewView()
	check(t, err)
	names := make(chan []string)
	go func() { // on another thread, in the namespace of the test program
		list, _ := view.Interfaces()
		var all []string
		for _, i := range list {
			all = append(all, i.Name)
		}
		names <- all
	}()
	if got := fmt.Sprint(<-names); got != "[lo eth1 eth0]" && got != "[lo eth0 eth1]" {
		t.Errorf("saw %s", got)
	}
	view.Close()
	if _, err := view.Interface("eth0"); err == nil {
		t.Error("a closed View answers")
	}
}

// nextChange waits for a change that matches.
func nextChange(t *testing.T, changes <-chan host.LinkChange, what string, match func(host.LinkChange) bool) {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				t.Fatalf("%s: the watch ended", what)
			}
			if match(c) {
				return
			}
		case <-timeout:
			t.Fatalf("%s: not told", what)
		}
	}
}

func TestWatchLinks(t *testing.T) {
	eth0, _ := ownNetwork(t)
	ctx, cancel := context.WithCancel(context.Background())
	changes, err := host.WatchLinks(ctx)
	check(t, err)
	index := eth0.Attrs().Index
	check(t, netlink.LinkSetUp(eth0))
	nextChange(t, changes, "set up", func(c host.LinkChange) bool { return c.Index == index && c.Name == "eth0" && !c.Gone })
	addAddr(t, eth0, "10.9.0.1/24")
	nextChange(t, changes, "address", func(c host.LinkChange) bool { return c.Index == index && c.Name == "" })
	check(t, netlink.LinkDel(eth0))
	nextChange(t, changes, "gone", func(c host.LinkChange) bool { return c.Index == index && c.Name == "eth0" && c.Gone })
	cancel()
	for range changes { // ends: it is closed
	}
}

// TestWatchLinksTooSlow: who does not keep up is told to look at everything.
func TestWatchLinksTooSlow(t *testing.T) {
	eth0, _ := ownNetwork(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changes, err := host.WatchLinks(ctx)
	check(t, err)
	for i := range 250 {
		addAddr(t, eth0, fmt.Sprintf("10.9.%d.1/24", i))
	}
	nextChange(t, changes, "resynchronise", func(c host.LinkChange) bool { return c == host.LinkChange{} })
}
