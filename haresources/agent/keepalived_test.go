package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/rehearsal/require"
)

// keepalived is a keepalived that becomes the master of many addresses as soon as it runs, in the namespace of the test.
type keepalived struct {
	cmd *exec.Cmd
	log strings.Builder
}

// startKeepalived starts it with addresses 10.1.0.1 and on.
func startKeepalived(b *testing.B, count int) *keepalived {
	b.Helper()
	path, dir := "/usr/sbin/keepalived", b.TempDir()
	var list strings.Builder
	for _, spec := range strings.Fields(thousand(count))[1:] {
		fmt.Fprintf(&list, "\t\t%s dev near\n", strings.TrimSuffix(spec, "/near"))
	}
	text := fmt.Sprintf(`global_defs {
	vrrp_garp_master_repeat 1
	vrrp_garp_master_delay 0
	script_user root
}
vrrp_instance many {
	state MASTER
	interface near
	virtual_router_id 7
	priority 255
	advert_int 1
	virtual_ipaddress_excluded {
%s	}
	virtual_ipaddress {
		10.255.255.1/8 dev near
	}
}
`, list.String())
	file := filepath.Join(dir, "keepalived.conf")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	k := &keepalived{cmd: exec.Command(path, "--dont-fork", "--log-console", "--vrrp", "--use-file", file,
		"--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid"))}
	k.cmd.Stdout, k.cmd.Stderr = &k.log, &k.log
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := k.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return k
}

// count is how many addresses the interface has.
func (c *patch) count(b *testing.B) int {
	list, err := netlink.AddrList(c.near, unix.AF_INET)
	if err != nil {
		b.Fatal(err)
	}
	return len(list)
}

// drain throws away what was heard.
func (c *patch) drain(b *testing.B) {
	for c.next(b, 20*time.Millisecond).form != "" {
	}
}

// announced reads until so many addresses were announced, and gives the times of the first and the last first announcement.
func (c *patch) announced(b *testing.B, count int) (first, last time.Time) {
	seen := map[string]bool{}
	for len(seen) < count {
		h := c.next(b, 10*time.Second)
		if h.form == "" {
			b.Fatalf("only %d of %d addresses were announced", len(seen), count)
		}
		if !seen[h.addr.String()] {
			seen[h.addr.String()], last = true, h.at
		}
		if first.IsZero() {
			first = h.at
		}
	}
	return first, last
}

// span is the time from the first of several changes to the last, or what went wrong.
type span struct {
	first, last time.Time
	err         error
}

// watch notes so many address changes of a kind, from now on.
func watch(b *testing.B, added bool, count int) <-chan span {
	updates, stop, done := make(chan netlink.AddrUpdate, 4*count), make(chan struct{}), make(chan span, 1)
	if err := netlink.AddrSubscribeWithOptions(updates, stop, netlink.AddrSubscribeOptions{ReceiveBufferSize: 64 << 20}); err != nil {
		b.Fatal(err)
	}
	go func() {
		defer close(stop)
		var s span
		for n := 0; n < count; {
			select {
			case u := <-updates:
				if u.NewAddr != added || u.LinkAddress.IP.To4() == nil {
					continue
				}
				s.last = time.Now()
				if n++; n == 1 {
					s.first = s.last
				}
			case <-time.After(30 * time.Second):
				s.err = fmt.Errorf("only %d of %d addresses changed", n, count)
				n = count
			}
		}
		done <- s
	}()
	return done
}

// milli renders a duration for a metric.
func milli(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkBesideKeepalived takes and releases many addresses of one line, by this program and by keepalived, in turn: from the first
// address added to the last one announced, as the kernel and the far end of the cable see it, and from the first address removed to
// the last.
func BenchmarkBesideKeepalived(b *testing.B) {
	require.File(b, "/usr/sbin/keepalived", "the comparison with keepalived")
	for _, count := range []int{1000, 10000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) { besideKeepalived(b, count) })
	}
}

func besideKeepalived(b *testing.B, count int) {
	c := newPatch(b, "10.255.0.1/8") // keepalived wants an address of its own
	m := quiet(b, thousand(count))
	group := m.Table().Groups[0].Name
	var ours, oursGone, theirs, theirsGone time.Duration
	for b.Loop() {
		c.drain(b)
		begin := time.Now() // before the first address is added
		if err := m.Acquire(context.Background(), group); err != nil {
			b.Fatal(err)
		}
		_, last := c.announced(b, count)
		ours += last.Sub(begin)
		begin = time.Now()
		if err := m.Release(context.Background(), group); err != nil {
			b.Fatal(err)
		}
		oursGone += time.Since(begin)
		if left := c.count(b); left != 1 {
			b.Fatalf("%d addresses are left", left-1)
		}
		c.drain(b)
		changes := watch(b, true, count)
		k := startKeepalived(b, count)
		b.Cleanup(func() {
			if !b.Failed() {
				return
			}
			_ = k.cmd.Process.Signal(syscall.SIGTERM) // so that it ends its own process too
			_ = k.cmd.Wait()
			b.Log(k.log.String())
		})
		_, last = c.announced(b, count)
		came := <-changes
		theirs += last.Sub(came.first)
		changes = watch(b, false, count)
		if err := k.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		went := <-changes
		theirsGone += went.last.Sub(went.first)
		if err := errors.Join(came.err, went.err); err != nil {
			b.Fatal(err)
		}
		_ = k.cmd.Wait() // it was ended by a signal
		if left := c.count(b); left != 1 {
			b.Fatalf("keepalived left %d addresses:\n%s", left-1, k.log.String())
		}
	}
	for name, d := range map[string]time.Duration{"ms-ours": ours, "ms-keepalived": theirs, "ms-ours-released": oursGone, "ms-keepalived-released": theirsGone} {
		b.ReportMetric(milli(d)/float64(b.N), name)
	}
}
