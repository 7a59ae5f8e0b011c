package agent_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/rehearsal/require"
)

// inNamespace marks the process that TestMain started in a network namespace of its own.
const inNamespace = "HAPAIR_TEST_NAMESPACE"

// TestMain runs everything in a network namespace of its own, as the daemon runs in one: all threads are in it.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inNamespace) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the death of the thread that started it would count as ours
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "start in a network namespace:", err)
		os.Exit(1)
	}
}

// site is a configuration directory of its own with a Manager over it.
type site struct {
	env    agent.Environment
	mu     sync.Mutex
	events []haresources.Event
}

func newSite(t testing.TB) *site {
	t.Helper()
	dir := t.TempDir()
	n := &site{env: agent.Environment{
		Paths: agent.DefaultPaths(dir), Node: "alpha",
		Environ: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HA_CURHOST=alpha", "HA_DIR=" + dir, "DIR=" + dir},
	}}
	n.env.Paths.InitDir = filepath.Join(dir, "init.d")
	for _, d := range []string{n.env.Paths.ResourceDir, n.env.Paths.InitDir, n.env.Paths.RCDir, n.env.Paths.HooksDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// script writes an executable shell script below the configuration directory.
func (n *site) script(t testing.TB, name, body string) {
	t.Helper()
	path := filepath.Join(n.env.Paths.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
}

// log is what scripts wrote to the file "log", as one line.
func (n *site) log(t testing.TB) string {
	t.Helper()
	path := filepath.Join(n.env.Paths.Dir, "log")
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	os.Remove(path)
	return strings.Join(strings.Fields(string(text)), " ")
}

func (n *site) notify(e haresources.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
}

// watched are the reports of watchers so far.
func (n *site) watched() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []string
	for _, e := range n.events {
		if e.Operation == haresources.OpWatch {
			list = append(list, fmt.Sprint(e.Err))
		}
	}
	return list
}

// manager makes a Manager for lines of haresources.
func (n *site) manager(t testing.TB, lines ...string) *haresources.Manager {
	t.Helper()
	table, faults := haresources.Parse("haresources", strings.NewReader(strings.Join(lines, "\n")))
	if faults.Err() != nil {
		t.Fatal(faults)
	}
	m, err := haresources.New(table, agent.Open(n.env), n.notify)
	if err != nil {
		t.Fatal(err)
	}
	m.RetryPause = 20 * time.Millisecond
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// resource parses one resource.
func resource(t testing.TB, spec string) haresources.Resource {
	t.Helper()
	table, _ := haresources.Parse("haresources", strings.NewReader("alpha "+spec))
	if len(table.Groups) != 1 {
		t.Fatalf("%s is no resource", spec)
	}
	return table.Groups[0].Resources[0]
}

// patch is a veth pair: "near" is here, "far" in another namespace, where a listener notes every frame.
type patch struct {
	near     netlink.Link
	farNS    netns.NsHandle
	listener int
}

// newPatch lays a veth pair; the test removes it.
func newPatch(t testing.TB, cidrs ...string) *patch {
	t.Helper()
	require.Root(t, "real addresses and announcements in network namespaces")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := &patch{}
	c.far(t, func() {
		var err error
		c.farNS, err = netns.New()
		must(err)
	})
	t.Cleanup(func() { c.farNS.Close() })
	c.lay(t)
	c.far(t, func() {
		must(netns.Set(c.farNS))
		link, err := netlink.LinkByName("far")
		must(err)
		must(netlink.LinkSetUp(link))
		c.listener, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL)))
		must(err)
		must(unix.Bind(c.listener, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: link.Attrs().Index}))
		must(unix.SetsockoptInt(c.listener, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20))
		must(unix.SetsockoptInt(c.listener, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	})
	t.Cleanup(func() { unix.Close(c.listener) })
	for _, cidr := range cidrs {
		addr, err := netlink.ParseAddr(cidr)
		must(err)
		must(netlink.AddrAdd(c.near, addr))
	}
	return c
}

// lay makes the veth pair.
func (c *patch) lay(t testing.TB) {
	t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far", PeerNamespace: netlink.NsFd(c.farNS)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("near"); err == nil {
			_ = netlink.LinkDel(link)
		}
	})
	link, err := netlink.LinkByName("near")
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.near = link
}

// far runs f on a thread that is not used again, so that it may change its namespace.
func (c *patch) far(t testing.TB, f func()) {
	t.Helper()
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread()
		f()
	})
	done.Wait()
}

func bigEndian(n uint16) uint16 { return n<<8 | n>>8 }

// heard is one announcement that arrived at the far end.
type heard struct {
	at   time.Time
	addr netip.Addr
	form string // request, reply, advertisement
	mac  net.HardwareAddr
}

// next waits for the next announcement; the zero value means that none came.
func (c *patch) next(t testing.TB, within time.Duration) heard {
	t.Helper()
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		poll := []unix.PollFd{{Fd: int32(c.listener), Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, int(time.Until(deadline).Milliseconds())+1); n <= 0 {
			continue
		}
		n, oobn, _, _, err := unix.Recvmsg(c.listener, buf, oob, unix.MSG_DONTWAIT)
		if err != nil || n < 14 {
			continue
		}
		if h, ok := announcement(buf[:n]); ok {
			h.at = stamp(oob[:oobn])
			return h
		}
	}
	return heard{}
}

// announcement reads a frame that announces an address.
func announcement(f []byte) (h heard, ok bool) {
	h.mac = append(net.HardwareAddr(nil), f[6:12]...)
	switch binary.BigEndian.Uint16(f[12:]) {
	case unix.ETH_P_ARP:
		if len(f) < 42 || [4]byte(f[28:32]) != [4]byte(f[38:42]) {
			return h, false
		}
		h.addr = netip.AddrFrom4([4]byte(f[28:32]))
		h.form = map[uint16]string{1: "request", 2: "reply"}[binary.BigEndian.Uint16(f[20:])]
		return h, true
	case unix.ETH_P_IPV6:
		const body = 14 + 40
		if len(f) < body+24 || f[14+6] != unix.IPPROTO_ICMPV6 || f[body] != 136 || f[body+4]&0x20 == 0 {
			return h, false
		}
		h.addr, h.form = netip.AddrFrom16([16]byte(f[body+8:body+24])), "advertisement"
		return h, true
	}
	return h, false
}

// stamp is when the kernel received the frame.
func stamp(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if err == nil && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}

// addresses renders those of an interface, without link-local ones.
func addresses(t testing.TB, name string) string {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, a := range list {
		if a.IP.IsLinkLocalUnicast() {
			continue
		}
		s := a.IPNet.String()
		if a.Label != "" && a.Label != name {
			s += " " + a.Label
		}
		if a.Broadcast != nil {
			s += " brd " + a.Broadcast.String()
		}
		text = append(text, s)
	}
	return strings.Join(text, "; ")
}
