package agent_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"hapair/haresources"
)

// TestAnnouncedAtOnce: the first announcement is on the wire within a millisecond or two, in both forms, then on schedule.
func TestAnnouncedAtOnce(t *testing.T) {
	c := newPatch(t, "10.0.0.1/24", "2001:db8::1/64")
	m := newSite(t).manager(t, "alpha 10.0.0.5 #hapair: announce-refresh=300ms", "alpha 2001:db8::5")
	begin := time.Now()
	if err := m.Acquire(t.Context(), "10.0.0.5"); err != nil {
		t.Fatal(err)
	}
	var times []time.Duration
	for _, form := range []string{"request", "reply", "request", "reply", "request", "reply", "request", "reply", "request", "reply"} {
		h := c.next(t, 2*time.Second)
		if h.form != form || h.addr.String() != "10.0.0.5" || h.mac.String() != c.near.Attrs().HardwareAddr.String() {
			t.Fatalf("heard %+v, want a %s", h, form)
		}
		if form == "request" {
			times = append(times, h.at.Sub(begin))
		}
	}
	for i, want := range []time.Duration{0, 50, 100, 200, 1000} {
		if late := times[i] - want*time.Millisecond; late < 0 || late > 150*time.Millisecond {
			t.Errorf("announcement %d after %v, want %d ms", i, times[i], want)
		}
	}
	t.Logf("announced after %v", times)
	for c.next(t, time.Millisecond).form != "" {
	}
	if err := m.Announce(t.Context(), "10.0.0.5"); err != nil {
		t.Fatal(err)
	}
	if h := c.next(t, time.Second); h.form != "request" {
		t.Errorf("announced again: heard %+v", h)
	}
	if detail := m.Resources("10.0.0.5")[0].Detail; !strings.Contains(detail, "10.0.0.5/24 on near, announced by ") {
		t.Errorf("detail %q", detail)
	}
	if err := m.Release(t.Context(), "10.0.0.5"); err != nil {
		t.Fatal(err)
	}
	for c.next(t, time.Millisecond).form != "" {
	}
	if h := c.next(t, 400*time.Millisecond); h.form != "" {
		t.Errorf("heard after the release: %+v", h)
	}
	if err := m.Announce(t.Context(), "10.0.0.5"); err == nil {
		t.Error("an address that is not held was announced")
	}
	if err := m.Acquire(t.Context(), "2001:db8::5"); err != nil {
		t.Fatal(err)
	}
	if h := c.next(t, time.Second); h.form != "advertisement" || h.addr.String() != "2001:db8::5" {
		t.Errorf("heard %+v", h)
	}
}

// TestAddressPutBack: an address that somebody removes is back, and announced, within 100 ms.
func TestAddressPutBack(t *testing.T) {
	c := newPatch(t, "10.0.0.1/24", "2001:db8::1/64")
	n := newSite(t)
	m := n.manager(t, "alpha 10.0.0.5/24 2001:db8::5/64 10.0.0.6/24/near:x")
	if err := m.Acquire(t.Context(), "10.0.0.5/24"); err != nil {
		t.Fatal(err)
	}
	want := addresses(t, "near")
	for i, cidr := range []string{"10.0.0.5/24", "2001:db8::5/64", "10.0.0.6/24"} {
		for c.next(t, 10*time.Millisecond).form != "" {
		}
		addr, _ := netlink.ParseAddr(cidr)
		if err := netlink.AddrDel(c.near, addr); err != nil {
			t.Fatal(err)
		}
		removed := time.Now()
		eventually(t, 100*time.Millisecond, cidr+" is back", func() bool { return sameAddresses(addresses(t, "near"), want) })
		h := c.next(t, time.Second)
		if !strings.HasPrefix(cidr, h.addr.String()+"/") || h.at.Sub(removed) > 100*time.Millisecond {
			t.Errorf("heard %+v after %v", h, h.at.Sub(removed))
		}
		eventually(t, time.Second, "a report", func() bool { return len(n.watched()) > i })
	}
	if reports := n.watched(); !strings.Contains(reports[0], "removed by something other than heartbeat: put back and announced") {
		t.Errorf("reports %q", reports)
	}
	if got := m.Resources("10.0.0.5/24")[0]; got.State != haresources.Running || !strings.Contains(got.Detail, "put back 1 times") {
		t.Errorf("status %+v", got)
	}
	if err := m.Release(t.Context(), "10.0.0.5/24"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // what was to be put back would be there by now
	if got := addresses(t, "near"); got != "10.0.0.1/24 brd 10.0.0.255; 2001:db8::1/64" {
		t.Errorf("addresses after the release: %s", got)
	}
}

// sameAddresses compares without regard to order.
func sameAddresses(a, b string) bool {
	list := func(s string) map[string]bool {
		m := map[string]bool{}
		for _, part := range strings.Split(s, "; ") {
			m[part] = true
		}
		return m
	}
	return fmt.Sprint(list(a)) == fmt.Sprint(list(b))
}

// TestAddressFlagsPutRight: an address that somebody gives a lifetime, or has the kernel doubt, is usable for ever within 100 ms.
func TestAddressFlagsPutRight(t *testing.T) {
	newPatch(t, "10.0.0.1/24", "2001:db8::1/64")
	n := newSite(t)
	m := n.manager(t, "alpha 10.0.0.5/24 2001:db8::5/64")
	if err := m.Acquire(t.Context(), "10.0.0.5/24"); err != nil {
		t.Fatal(err)
	}
	for i, command := range []string{
		"ip addr change 10.0.0.5/24 dev near valid_lft 60 preferred_lft 30",
		"ip -6 addr change 2001:db8::5/64 dev near valid_lft 60 preferred_lft 0",
		"ip -6 addr del 2001:db8::5/64 dev near; ip -6 addr add 2001:db8::5/64 dev near",
	} {
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil && i < 2 {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		eventually(t, 100*time.Millisecond, "put right after "+command, func() bool {
			out, err := exec.Command("ip", "-o", "addr", "show", "dev", "near").Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(string(out), "\n") {
				held := strings.Contains(line, "10.0.0.5/") || strings.Contains(line, "2001:db8::5/")
				if held && (!strings.Contains(line, "valid_lft forever preferred_lft forever") || strings.Contains(line, "tentative")) {
					return false
				}
			}
			return strings.Contains(string(out), "10.0.0.5/") && strings.Contains(string(out), "2001:db8::5/")
		})
		eventually(t, time.Second, "a report", func() bool { return len(n.watched()) > i })
	}
	if reports := n.watched(); !strings.Contains(reports[0], "lifetime: taken away again") {
		t.Errorf("reports %q", reports)
	}
}

// TestAddressFlapping: somebody who keeps removing an address is not fought at full speed, and the fight is told.
func TestAddressFlapping(t *testing.T) {
	c := newPatch(t, "10.0.0.1/24")
	n := newSite(t)
	m := n.manager(t, "alpha 10.0.0.5/24")
	if err := m.Acquire(t.Context(), "10.0.0.5/24"); err != nil {
		t.Fatal(err)
	}
	addr, _ := netlink.ParseAddr("10.0.0.5/24")
	var r haresources.ResourceStatus // as it was when it failed: it is restarted in place at once
	eventually(t, 5*time.Second, "the report of a fight", func() bool {
		_ = netlink.AddrDel(c.near, addr)
		r = m.Resources("10.0.0.5/24")[0]
		return r.State == haresources.Failed
	})
	if !strings.Contains(r.LastError, "keeps removing it") {
		t.Errorf("status %+v", r)
	}
	eventually(t, 3*time.Second, "the address is put back all the same", func() bool { return strings.Contains(addresses(t, "near"), "10.0.0.5/24") })
}

// TestInterfaceComesBack: an interface that vanishes is told; when it is back, so is the address.
func TestInterfaceComesBack(t *testing.T) {
	c := newPatch(t, "10.0.0.1/24")
	n := newSite(t)
	m := n.manager(t, "alpha 10.0.0.5/24/near 2001:db8::5/64/near")
	if err := m.Acquire(t.Context(), "10.0.0.5/24/near"); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(c.near); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, "the loss is told", func() bool { return m.Resources("10.0.0.5/24/near")[0].State == haresources.Failed })
	if err := m.Announce(t.Context(), "10.0.0.5/24/near"); err == nil {
		t.Error("an address without an interface was announced")
	}
	c.lay(t)
	eventually(t, 3*time.Second, "the addresses are back", func() bool {
		got := addresses(t, "near")
		return strings.Contains(got, "10.0.0.5/24") && strings.Contains(got, "2001:db8::5/64")
	})
	eventually(t, time.Second, "the return is told", func() bool { return m.Resources("10.0.0.5/24/near")[0].State == haresources.Running })
	if err := m.Release(t.Context(), "10.0.0.5/24/near"); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, "near"); got != "" {
		t.Errorf("addresses %s", got)
	}
}

// TestCarrierComesBack: what could not be heard without a carrier is announced when it is back.
func TestCarrierComesBack(t *testing.T) {
	c := newPatch(t, "10.0.0.1/24")
	if err := netlink.LinkSetDown(c.near); err != nil {
		t.Fatal(err)
	}
	m := newSite(t).manager(t, "alpha 10.0.0.5/24/near 2001:db8::5/64/near #hapair: announce-refresh=off")
	if err := m.Acquire(t.Context(), "10.0.0.5/24/near"); err != nil {
		t.Fatal(err)
	}
	if h := c.next(t, 1500*time.Millisecond); h.form != "" {
		t.Fatalf("heard %+v", h)
	}
	if err := netlink.LinkSetUp(c.near); err != nil {
		t.Fatal(err)
	}
	up, forms := time.Now(), map[string]bool{}
	for len(forms) < 3 {
		h := c.next(t, time.Second)
		if h.form == "" {
			t.Fatalf("heard only %v", forms)
		}
		if strings.HasSuffix(h.addr.String(), "5") {
			forms[h.form] = true
		}
	}
	if took := time.Since(up); took > 100*time.Millisecond {
		t.Errorf("announced %v after the carrier was back", took)
	}
}

// TestReleaseKeepsOthers: removing the first address of a subnet leaves the others alone, although the kernel by default
// does not.
func TestReleaseKeepsOthers(t *testing.T) {
	newPatch(t)
	const sysctl = "/proc/sys/net/ipv4/conf/near/promote_secondaries"
	if err := os.WriteFile(sysctl, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	n := newSite(t)
	m := n.manager(t, "alpha 10.0.0.5/24/near 10.0.0.6/24/near 10.0.0.7/24/near")
	if err := m.Acquire(t.Context(), "10.0.0.5/24/near"); err != nil {
		t.Fatal(err)
	}
	table, _ := haresources.Parse("haresources", strings.NewReader("alpha 10.0.0.6/24/near 10.0.0.7/24/near"))
	if _, err := m.Reload(t.Context(), table, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, "near"); got != "10.0.0.6/24 near brd 10.0.0.255; 10.0.0.7/24 brd 10.0.0.255" && !sameAddresses(got, "10.0.0.6/24 brd 10.0.0.255; 10.0.0.7/24 brd 10.0.0.255") {
		t.Errorf("addresses %s", got)
	}
	if text, _ := os.ReadFile(sysctl); strings.TrimSpace(string(text)) != "0" {
		t.Errorf("promote_secondaries is %s afterwards", text)
	}
	time.Sleep(20 * time.Millisecond)
	if reports := n.watched(); len(reports) > 0 {
		t.Errorf("reports %q: the others were gone for a while", reports)
	}
	if err := m.Acquire(t.Context(), "10.0.0.6/24/near"); err != nil {
		t.Fatal(err)
	}
	if err := m.Release(t.Context(), "10.0.0.6/24/near"); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, "near"); got != "" {
		t.Errorf("addresses %s", got)
	}
}

// TestAdoptAfterRestart: what a daemon that died left behind is found, adopted without being touched, announced and looked
// after.
func TestAdoptAfterRestart(t *testing.T) {
	c := newPatch(t, "10.0.0.1/24")
	n := newSite(t)
	before := goleak.IgnoreCurrent()
	first := n.manager(t, "alpha 10.0.0.5/24 10.0.0.6/24")
	if err := first.Acquire(t.Context(), "10.0.0.5/24"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, "near"); !strings.Contains(got, "10.0.0.5/24") {
		t.Fatalf("addresses after Close: %s", got)
	}
	if err := goleak.Find(before); err != nil {
		t.Errorf("after Close: %v", err)
	}
	for c.next(t, 300*time.Millisecond).form != "" {
	}
	second := n.manager(t, "alpha 10.0.0.5/24 10.0.0.6/24")
	if running, err := second.Examine(t.Context(), "10.0.0.5/24"); !running || err != nil {
		t.Fatalf("examined: %v, %v", running, err)
	}
	if err := second.Acquire(t.Context(), "10.0.0.5/24"); err != nil {
		t.Fatal(err)
	}
	if h := c.next(t, time.Second); h.form != "request" {
		t.Errorf("heard %+v", h)
	}
	addr, _ := netlink.ParseAddr("10.0.0.6/24")
	if err := netlink.AddrDel(c.near, addr); err != nil {
		t.Fatal(err)
	}
	eventually(t, 100*time.Millisecond, "the address is put back", func() bool { return strings.Contains(addresses(t, "near"), "10.0.0.6/24") })
}

// TestInterfaceDownAndUp: what the kernel removes with the interface is there, and announced, when the interface is up again.
func TestInterfaceDownAndUp(t *testing.T) {
	c := newPatch(t, "10.0.0.1/24")
	m := newSite(t).manager(t, "alpha 10.0.0.5/24/near 2001:db8::5/64/near")
	if err := m.Acquire(t.Context(), "10.0.0.5/24/near"); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(c.near); err != nil {
		t.Fatal(err)
	}
	for c.next(t, 100*time.Millisecond).form != "" {
	}
	if err := netlink.LinkSetUp(c.near); err != nil {
		t.Fatal(err)
	}
	up, forms := time.Now(), map[string]bool{}
	for !forms["request10.0.0.5"] || !forms["advertisement2001:db8::5"] {
		h := c.next(t, time.Second)
		if h.form == "" {
			t.Fatalf("heard only %v", forms)
		}
		forms[h.form+h.addr.String()] = true
	}
	if took := time.Since(up); took > 200*time.Millisecond {
		t.Errorf("announced %v after the interface was up", took)
	}
	if got := addresses(t, "near"); !strings.Contains(got, "10.0.0.5/24") || !strings.Contains(got, "2001:db8::5/64") {
		t.Errorf("addresses %s", got)
	}
}

// TestRepeatsArePaced: a thousand addresses are announced again in small bursts, not all at once.
func TestRepeatsArePaced(t *testing.T) {
	c := newPatch(t)
	m := newSite(t).manager(t, thousand(1000))
	if err := m.Acquire(t.Context(), m.Table().Groups[0].Name); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 2000; i++ { // the first announcements
		if c.next(t, time.Second).form == "" {
			t.Fatal("first announcements missing")
		}
	}
	var times []time.Time
	for h := c.next(t, time.Second); h.form != "" && len(times) < 5000; h = c.next(t, 300*time.Millisecond) {
		times = append(times, h.at)
	}
	const window, most = 8 * time.Millisecond, 3 * 2 * 128
	for i := range times {
		if k := i + most; k < len(times) && times[k].Sub(times[i]) < window {
			t.Fatalf("%d announcements within %v", most, times[k].Sub(times[i]))
		}
	}
	if len(times) < 4000 {
		t.Errorf("only %d repeated announcements", len(times))
	}
}
