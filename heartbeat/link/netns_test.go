package link_test

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/link"
	"hapair/heartbeat/rehearsal/require"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; it is never waited for in vain unless the test fails.
const patience = 5 * time.Second

// space is one network namespace of the test's own.
type space struct {
	t      *testing.T
	handle netns.NsHandle
}

func newSpace(t *testing.T) *space {
	t.Helper()
	require.Root(t, "links with real packets in network namespaces")
	s := &space{t: t}
	onThread(func() {
		home, err := netns.Get()
		must(t, err)
		defer home.Close()
		s.handle, err = netns.New()
		must(t, err)
		must(t, netns.Set(home))
	})
	t.Cleanup(func() { s.handle.Close() })
	s.do(func() {
		lo, err := netlink.LinkByName("lo")
		must(t, err)
		must(t, netlink.LinkSetUp(lo))
	})
	return s
}

// do runs f on a thread inside the namespace. What f opens stays there.
func (s *space) do(f func()) {
	onThread(func() {
		home, err := netns.Get()
		must(s.t, err)
		defer home.Close()
		must(s.t, netns.Set(s.handle))
		defer func() { must(s.t, netns.Set(home)) }()
		f()
	})
}

// onThread runs f on a thread that nobody else uses meanwhile. It must not fail the test with FailNow across goroutines, so
// it runs on the caller's.
func onThread(f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a program inside the namespace.
func (s *space) run(name string, args ...string) {
	s.t.Helper()
	require.Tool(s.t, name, "what needs it")
	s.do(func() {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	})
}

// addr adds an address to a device, without waiting for duplicate address detection.
func (s *space) addr(device, prefix string) {
	s.t.Helper()
	s.do(func() {
		l, err := netlink.LinkByName(device)
		must(s.t, err)
		must(s.t, netlink.AddrAdd(l, nlAddr(s.t, prefix)))
	})
}

func (s *space) delAddr(device, prefix string) {
	s.t.Helper()
	s.do(func() {
		l, err := netlink.LinkByName(device)
		must(s.t, err)
		must(s.t, netlink.AddrDel(l, nlAddr(s.t, prefix)))
	})
}

func nlAddr(t *testing.T, prefix string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	must(t, err)
	if netip.MustParsePrefix(prefix).Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func (s *space) up(device string, up bool) {
	s.t.Helper()
	s.do(func() {
		l, err := netlink.LinkByName(device)
		must(s.t, err)
		if up {
			must(s.t, netlink.LinkSetUp(l))
		} else {
			must(s.t, netlink.LinkSetDown(l))
		}
	})
}

func (s *space) delDevice(device string) {
	s.t.Helper()
	s.do(func() {
		l, err := netlink.LinkByName(device)
		must(s.t, err)
		must(s.t, netlink.LinkDel(l))
	})
}

// sysctl sets a value under /proc/sys/net of the namespace.
func (s *space) sysctl(name, value string) {
	s.t.Helper()
	s.do(func() { must(s.t, os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644)) })
}

// cable joins two namespaces by a device of the same name in each.
func cable(a, b *space, device string) {
	a.t.Helper()
	a.do(func() {
		must(a.t, netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: device}, PeerName: device, PeerNamespace: netlink.NsFd(b.handle),
		}))
	})
	a.up(device, true)
	b.up(device, true)
}

// The two nodes of every test.
const (
	addrA, addrB   = "10.9.0.1", "10.9.0.2"
	addrA6, addrB6 = "fd09::1", "fd09::2"
	device         = "eth0"
)

// newPair is two namespaces with eth0, and both families' addresses, between them.
func newPair(t *testing.T) (a, b *space) {
	t.Helper()
	a, b = newSpace(t), newSpace(t)
	cable(a, b, device)
	for s, addrs := range map[*space][]string{a: {addrA + "/24", addrA6 + "/64"}, b: {addrB + "/24", addrB6 + "/64"}} {
		for _, p := range addrs {
			s.addr(device, p)
		}
	}
	return a, b
}

// open opens a link inside the namespace and closes it at the end of the test.
func (s *space) open(spec link.Spec) link.Link {
	s.t.Helper()
	l, err := s.tryOpen(spec)
	must(s.t, err)
	return l
}

func (s *space) tryOpen(spec link.Spec) (l link.Link, err error) {
	s.t.Helper()
	s.do(func() { l, err = link.Open(spec) })
	if err == nil {
		s.t.Cleanup(func() { l.Close() })
	}
	return l, err
}

// ear reads a link for a test.
type ear struct {
	t      *testing.T
	l      link.Link
	frames chan heard
	ended  chan error
}

type heard struct {
	data, from string
	received   time.Time
}

// listen reads l until it ends.
func listen(t *testing.T, l link.Link) *ear {
	t.Helper()
	e := &ear{t: t, l: l, frames: make(chan heard, 10000), ended: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			f, err := l.Receive()
			if err != nil {
				e.ended <- err
				return
			}
			e.frames <- heard{string(f.Data), f.From, f.Received}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return e
}

// want waits for a frame that must be the next.
func (e *ear) want(data string) heard {
	e.t.Helper()
	select {
	case h := <-e.frames:
		if h.data != data {
			e.t.Fatalf("%s heard %.80q, want %.80q", e.l.ID(), h.data, data)
		}
		return h
	case err := <-e.ended:
		e.t.Fatalf("%s ended: %v", e.l.ID(), err)
	case <-time.After(patience):
		e.t.Fatalf("%s heard nothing, want %.80q", e.l.ID(), data)
	}
	return heard{}
}

// wantEnd waits for the link to fail, within a time that polling would not keep.
func (e *ear) wantEnd() error {
	e.t.Helper()
	select {
	case err := <-e.ended:
		return err
	case h := <-e.frames:
		e.t.Fatalf("%s heard %.80q, want its end", e.l.ID(), h.data)
	case <-time.After(patience):
		e.t.Fatalf("%s did not notice", e.l.ID())
	}
	return nil
}

// quiet fails when a frame is waiting. The caller has made sure that later ones arrived.
func (e *ear) quiet() {
	e.t.Helper()
	select {
	case h := <-e.frames:
		e.t.Fatalf("%s heard %.80q, want nothing", e.l.ID(), h.data)
	default:
	}
}

// say sends and expects success.
func say(t *testing.T, l link.Link, data string) {
	t.Helper()
	if err := l.Send([]byte(data), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
}
