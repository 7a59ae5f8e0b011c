package host_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"hapair/heartbeat/host"
)

// readChanges collects changes until one makes found true.
func readChanges(t *testing.T, w *host.AddressWatch, found func(host.AddressChange) bool) {
	t.Helper()
	defer time.AfterFunc(5*time.Second, func() { w.Close() }).Stop()
	for {
		list, err := w.Read(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if found(c) {
				return
			}
		}
	}
}

func TestWatchAddresses(t *testing.T) {
	newWire(t)
	n := openNetlink(t)
	d := device(t, n, "near")
	w, err := host.WatchAddresses()
	if err != nil {
		t.Fatal(err)
	}
	list := []host.Address{{Prefix: prefix("10.0.0.1/24"), Index: d.Index, Label: "near:7"}, {Prefix: prefix("2001:db8::1/64"), Index: d.Index}}
	if errs := n.AddAddresses(list); errs != nil {
		t.Fatal(errs)
	}
	for _, want := range list {
		readChanges(t, w, func(c host.AddressChange) bool {
			return c.Kind == host.AddressAdded && c.Address.Prefix == want.Prefix && c.Address.Index == d.Index && c.Address.Label == want.Label
		})
	}
	if errs := n.RemoveAddresses(list[:1]); errs != nil {
		t.Fatal(errs)
	}
	readChanges(t, w, func(c host.AddressChange) bool {
		return c.Kind == host.AddressRemoved && c.Address.Prefix == list[0].Prefix
	})
	link, _ := netlink.LinkByName("near")
	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	readChanges(t, w, func(c host.AddressChange) bool {
		return c.Kind == host.DeviceChanged && c.Device.Name == "near" && !c.Device.Ready()
	})
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	readChanges(t, w, func(c host.AddressChange) bool {
		return c.Kind == host.DeviceChanged && c.Device.Index == d.Index && c.Device.Ready()
	})
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	readChanges(t, w, func(c host.AddressChange) bool { return c.Kind == host.DeviceGone && c.Device.Index == d.Index })
	w.Close()
	if _, err := w.Read(nil); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// TestWatchOverflow: a reader that sleeps through more than fits is told to look at everything again.
func TestWatchOverflow(t *testing.T) {
	newWire(t)
	n := openNetlink(t)
	d := device(t, n, "near")
	w, err := host.WatchAddresses()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	list := make([]host.Address, 1000)
	for i := range list {
		list[i] = host.Address{Prefix: prefix(fmt.Sprintf("10.1.%d.%d/32", i/250, i%250+1)), Index: d.Index}
	}
	for range 40 {
		if errs := n.AddAddresses(list); errs != nil {
			t.Fatal(errs[0])
		}
		if errs := n.RemoveAddresses(list); errs != nil {
			t.Fatal(errs[0])
		}
	}
	readChanges(t, w, func(c host.AddressChange) bool { return c.Kind == host.ChangesLost })
	if got := listed(t, n, d.Index); strings.Contains(got, "10.1.") {
		t.Errorf("addresses left: %.200s", got)
	}
}
