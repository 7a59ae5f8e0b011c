package host_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

// renewerVariable makes the test binary, run once more, a process that does nothing but renew the lease in a directory.
const renewerVariable = "HEARTBEAT_TEST_RENEW"

func TestMain(m *testing.M) {
	if dir := os.Getenv(renewerVariable); dir != "" {
		renewForEver(dir)
	}
	os.Exit(m.Run())
}

// renewForEver renews for 100 ms every 20 ms.
func renewForEver(dir string) {
	l, err := host.OpenLeaseBy(host.MechanismBPF, dir)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	for {
		if err := l.Renew("service", boot()+100*time.Millisecond); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestLeaseOutlivesItsDaemon: a process that renews is killed, or stopped, and 100 ms later nobody answers, whatever the question.
func TestLeaseOutlivesItsDaemon(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
	}{{"killed", syscall.SIGKILL}, {"frozen", syscall.SIGSTOP}} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			dir := b.leaseDir()
			l := b.openLease(host.MechanismBPF, dir)
			b.must(l.Protect([]host.Protection{serviceGroup}))
			b.must(l.Attach("near"))
			daemon := exec.Command(os.Args[0])
			daemon.Env = append(os.Environ(), renewerVariable+"="+dir)
			daemon.Stderr = os.Stderr
			b.must(daemon.Start())
			t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
			about := netip.MustParseAddr(serviceAddr)
			waitFor(t, "the first answer", func() bool { return b.ask(questions4[0], about, time.Millisecond) })
			b.answers(true, serviceAddr, serviceAddr6)
			b.must(l.Close()) // nobody here renews, or could
			b.must(daemon.Process.Signal(c.signal))
			ended := boot() + 100*time.Millisecond
			var last time.Duration
			for now := boot(); now < ended+20*time.Millisecond; now = boot() {
				if b.ask(questions4[0], about, 200*time.Microsecond) {
					last = now
				}
			}
			if last > ended {
				t.Errorf("answered %v after the lease must have ended", last-ended)
			}
			b.answers(false, serviceAddr, serviceAddr6)
			b.answers(true, ownAddr, ownAddr6)
		})
	}
}

// TestLeaseIsFoundAgain: a later process finds the lease in force, and what it does not name is free again.
func TestLeaseIsFoundAgain(t *testing.T) {
	b := newBench(t)
	dir := b.leaseDir()
	first := b.openLease(host.MechanismBPF, dir)
	other := host.Protection{Group: "other", Addrs: []netip.Addr{netip.MustParseAddr(ownAddr), netip.MustParseAddr(ownAddr6)}}
	b.must(first.Protect([]host.Protection{other, serviceGroup}))
	b.must(first.Attach("near"))
	until := boot() + time.Minute
	b.must(first.Renew("service", until))
	b.must(first.Close())
	if err := first.Renew("service", until); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Renew after Close: %v", err)
	}
	b.answers(false, ownAddr, ownAddr6)

	second := b.openLease(host.MechanismBPF, dir)
	if got, err := second.Until("service"); err != nil || got != until {
		t.Errorf("found in force until %v (%v), want %v", got, err, until)
	}
	if got, err := second.Until("other"); err != nil || got != 0 {
		t.Errorf("the group that never answered has a lease until %v (%v)", got, err)
	}
	if _, err := second.Until("unknown"); !errors.Is(err, host.ErrNoLease) {
		t.Errorf("unknown group: %v", err)
	}
	// In another order and with another company, each group keeps its own lease; a new one has none.
	fresh := host.Protection{Group: "fresh", Addrs: []netip.Addr{netip.MustParseAddr("10.7.0.55")}}
	b.must(second.Protect([]host.Protection{fresh, serviceGroup}))
	b.must(second.Attach("near"))
	if got, _ := second.Until("fresh"); got != 0 {
		t.Errorf("a new group has a lease until %v", got)
	}
	if _, err := second.Until("other"); !errors.Is(err, host.ErrNoLease) {
		t.Errorf("forgotten group: %v", err)
	}
	b.answers(true, serviceAddr, serviceAddr6)
	b.answers(true, ownAddr, ownAddr6)
}

// TestLeaseSurvivesFlush: the administrator's firewall is none of the lease's business.
func TestLeaseSurvivesFlush(t *testing.T) {
	require.Tool(t, "nft", "the lease under `nft flush ruleset`")
	b := newBench(t)
	l := b.lease(host.MechanismBPF)
	b.nft("flush ruleset")
	b.answers(false, serviceAddr, serviceAddr6)
	b.must(l.Renew("service", boot()+time.Minute))
	b.answers(true, serviceAddr, serviceAddr6)
	b.nft("flush ruleset")
	b.answers(true, serviceAddr, serviceAddr6)
	b.must(l.Expire("service"))
	b.answers(false, serviceAddr, serviceAddr6)
}

// TestLeaseByNFTIsFoundAgain: so it is with the fall-back, which a flush of the ruleset takes away until Keep notices.
func TestLeaseByNFTIsFoundAgain(t *testing.T) {
	require.Tool(t, "nft", "leases held by nftables")
	b := newBench(t)
	l := b.lease(host.MechanismNFT)
	b.must(l.Renew("service", boot()+time.Minute))
	b.must(l.Close())
	b.answers(true, serviceAddr, serviceAddr6)
	again := b.openLease(host.MechanismNFT, "")
	if _, err := again.Until("unknown"); !errors.Is(err, host.ErrNoLease) {
		t.Errorf("unknown group: %v", err)
	}
	if left, err := again.Until("service"); err != nil || left < boot()+55*time.Second || left > boot()+time.Minute {
		t.Errorf("found in force for %v (%v), want a minute", left-boot(), err)
	}
	b.must(again.Protect([]host.Protection{serviceGroup}))
	b.must(again.Attach("near"))
	b.answers(true, serviceAddr, serviceAddr6)
	told := b.keep(again)
	b.must(again.Expire("service"))
	b.answers(false, serviceAddr, serviceAddr6)
	b.nft("flush ruleset")
	select {
	case got := <-told:
		if got != "near" {
			t.Errorf("Keep told %q", got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the flush was not noticed")
	}
	b.answers(false, serviceAddr, serviceAddr6)
	b.must(again.Renew("service", boot()+time.Minute))
	b.answers(true, serviceAddr, serviceAddr6)
	b.must(again.Detach("near"))
	b.must(again.Remove())
	b.answers(true, serviceAddr, serviceAddr6)
}

// nft runs the program in the node's namespace.
func (b *bench) nft(ruleset string) {
	b.t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(ruleset)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// tc runs the program in the node's namespace.
func (b *bench) tc(args ...string) string {
	b.t.Helper()
	require.Tool(b.t, "tc", "the lease beside the filters of others")
	out, err := exec.Command("tc", args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("tc %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// keep runs Keep until the test ends and tells what it told.
func (b *bench) keep(l *host.Lease) <-chan string {
	told := make(chan string, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- l.Keep(ctx, func(ifname string, err error) {
			if err != nil {
				ifname += ": " + err.Error()
			}
			told <- ifname
		})
	}()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Keep ended with %v", err)
		}
	})
	return told
}

// TestLeaseIsKept: an interface that is made anew, and a filter that somebody deletes, are seen to within milliseconds.
func TestLeaseIsKept(t *testing.T) {
	b := newBench(t)
	l := b.lease(host.MechanismBPF)
	b.must(l.Renew("service", boot()+time.Minute))
	if err := l.Attach("later"); !errors.Is(err, host.ErrNoInterface) {
		t.Errorf("Attach to an interface that is not there: %v", err)
	}
	told := b.keep(l)
	repaired := func(want string) {
		t.Helper()
		began := time.Now()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("Keep told %q, want %q", got, want)
			}
			t.Logf("%s repaired after %v", got, time.Since(began))
		case <-time.After(5 * time.Second):
			t.Fatalf("%s was not repaired", want)
		}
	}
	b.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "later"}, PeerName: "other"}))
	repaired("later")
	b.must(l.Expire("service"))
	b.tc("qdisc", "del", "dev", "near", "clsact")
	repaired("near")
	b.answers(false, serviceAddr, serviceAddr6)
	b.tc("filter", "del", "dev", "near", "egress")
	repaired("near")
	b.answers(false, serviceAddr, serviceAddr6)

	b.must(netlink.LinkDel(b.near))
	b.must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far", PeerNamespace: netlink.NsFd(b.farNS)}))
	repaired("near")
	b.near = b.up(t, "near")
	b.there(t, func() {
		b.far = b.up(t, "far")
		b.must(unix.Bind(b.listener, &unix.SockaddrLinklayer{Protocol: swap(unix.ETH_P_ALL), Ifindex: b.far.Attrs().Index}))
		b.put(b.far, clientAddr+"/24")
		b.put(b.far, clientAddr6+"/64")
	})
	for _, a := range []string{ownAddr + "/24", serviceAddr + "/24", ownAddr6 + "/64", serviceAddr6 + "/64"} {
		b.put(b.near, a)
	}
	b.answers(false, serviceAddr, serviceAddr6)
	b.answers(true, ownAddr, ownAddr6)
	b.must(l.Renew("service", boot()+time.Minute))
	b.answers(true, serviceAddr, serviceAddr6)
}

// TestLeaseLeavesNoTrace: Detach and Remove take away what is the lease's, and nothing of anybody else's.
func TestLeaseLeavesNoTrace(t *testing.T) {
	b := newBench(t)
	dir := b.leaseDir()
	l := b.openLease(host.MechanismBPF, dir)
	b.must(l.Protect([]host.Protection{serviceGroup}))
	b.must(l.Attach("near"))
	b.answers(false, serviceAddr, serviceAddr6)
	b.must(l.Detach("near"))
	b.must(l.Detach("near"))
	b.must(l.Detach("nosuch"))
	if out := b.tc("qdisc", "show", "dev", "near"); strings.Contains(out, "clsact") {
		t.Errorf("left behind: %s", out)
	}
	b.answers(true, serviceAddr, serviceAddr6)

	b.tc("qdisc", "add", "dev", "near", "clsact")
	b.tc("filter", "add", "dev", "near", "ingress", "pref", "10", "protocol", "ip", "u32", "match", "u32", "0", "0", "classid", "1:1")
	b.must(l.Attach("near"))
	b.answers(false, serviceAddr, serviceAddr6)
	b.must(l.Remove())
	if out := b.tc("filter", "show", "dev", "near", "ingress"); !strings.Contains(out, "u32") || strings.Contains(out, "hapair") {
		t.Errorf("filters afterwards: %s", out)
	}
	b.answers(true, serviceAddr, serviceAddr6)
	again := b.openLease(host.MechanismBPF, dir)
	if _, err := again.Until("service"); !errors.Is(err, host.ErrNoLease) {
		t.Errorf("after Remove the group is still known: %v", err)
	}
}

// TestLeaseMustComeFirst: a filter before it could let packets past it, and is named.
func TestLeaseMustComeFirst(t *testing.T) {
	b := newBench(t)
	l := b.openLease(host.MechanismBPF, b.leaseDir())
	b.tc("qdisc", "add", "dev", "near", "clsact")
	b.tc("filter", "add", "dev", "near", "egress", "pref", "1", "protocol", "ip", "u32", "match", "u32", "0", "0", "classid", "1:1")
	err := l.Attach("near")
	if !errors.Is(err, host.ErrLeaseTaken) || !strings.Contains(err.Error(), "u32 at preference 1") {
		t.Errorf("Attach: %v", err)
	}
	b.tc("qdisc", "del", "dev", "near", "clsact")
	b.must(l.Attach("near"))
}

// TestLeaseMountsItsOwnPlace: in a mount namespace that has a bare /sys, as `ip netns exec` and containers make it.
func TestLeaseMountsItsOwnPlace(t *testing.T) {
	newBench(t)
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		what, at, kind string
		flags          uintptr
	}{{"", "/", "", unix.MS_REC | unix.MS_PRIVATE}, {"sysfs", "/sys", "sysfs", 0}} {
		if err := unix.Mount(m.what, m.at, m.kind, m.flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	l, err := host.OpenLease(host.LeaseDir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Mechanism() != host.MechanismBPF {
		t.Errorf("the mechanism is %s", l.Mechanism())
	}
	if _, err := os.Stat(host.LeaseDir + "/v1/deadlines"); err != nil {
		t.Error(err)
	}
}

// TestLeaseRefuses what cannot be meant.
func TestLeaseRefuses(t *testing.T) {
	b := newBench(t)
	l := b.openLease(host.MechanismBPF, b.leaseDir())
	addr := netip.MustParseAddr
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for want, list := range map[string][]host.Protection{
		"group web: group web is in group web already":                      {{Group: "web"}, {Group: "web"}},
		"group nfs: 10.0.0.1 is in group web already":                       {{Group: "web", Addrs: []netip.Addr{addr("10.0.0.1")}}, {Group: "nfs", Addrs: []netip.Addr{addr("::ffff:10.0.0.1")}}},
		"group b: interface eth0 is in group a already":                     {{Group: "a", Interfaces: []string{"eth0"}}, {Group: "b", Interfaces: []string{"eth0"}}},
		"group b: hardware address 02:00:00:00:00:01 is in group a already": {{Group: "a", MACs: []net.HardwareAddr{mac}}, {Group: "b", MACs: []net.HardwareAddr{mac}}},
		"group a: 127.0.0.1 is no address of a machine":                     {{Group: "a", Addrs: []netip.Addr{addr("127.0.0.1")}}},
		"group a: ff02::1 is no address of a machine":                       {{Group: "a", Addrs: []netip.Addr{addr("ff02::1")}}},
		"it has 2 bytes instead of 6":                                       {{Group: "a", MACs: []net.HardwareAddr{{1, 2}}}},
	} {
		if err := l.Protect(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Protect: %v, want %q in it", err, want)
		}
	}
	if err := l.Renew("nobody", boot()); !errors.Is(err, host.ErrNoLease) {
		t.Errorf("Renew of an unknown group: %v", err)
	}
	many := make([]host.Protection, 1025)
	for i := range many {
		many[i].Group = strings.Repeat("x", i+1)
	}
	if err := l.Protect(many); err == nil || !strings.Contains(err.Error(), "more than 1024 groups") {
		t.Errorf("Protect: %v", err)
	}
	b.must(l.Protect(many[:1024]))
	b.must(l.Protect(nil))
	b.must(l.Protect(many[1:]))
}

// TestLeaseIsShared: a group that was a part of another one begins with that one's lease, and is not mute before its first renewal; from then
// on each has its own.
func TestLeaseIsShared(t *testing.T) {
	for _, m := range []host.Mechanism{host.MechanismBPF, host.MechanismNFT} {
		t.Run(string(m), func(t *testing.T) {
			b := newBench(t)
			l := b.openLease(m, b.leaseDir())
			b.must(l.Protect([]host.Protection{serviceGroup}))
			b.must(l.Attach("near"))
			until := boot() + time.Minute
			b.must(l.Renew("service", until))
			b.must(l.Share("service", "part"))
			whole, part := serviceGroup, host.Protection{Group: "part", Addrs: serviceGroup.Addrs[1:]}
			whole.Addrs = whole.Addrs[:1]
			b.must(l.Protect([]host.Protection{part, whole}))
			b.answers(true, serviceAddr, serviceAddr6)
			b.must(l.Expire("service"))
			if got, err := l.Until("part"); err != nil || got < until-time.Second {
				t.Errorf("the part's lease ends at %v (%v), want %v", got, err, until)
			}
			if err := l.Share("nobody", "other"); !errors.Is(err, host.ErrNoLease) {
				t.Errorf("a part of a group that there is not: %v", err)
			}
		})
	}
}
