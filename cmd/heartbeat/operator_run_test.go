package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/rehearsal/require"
)

// bench is two machines as an administrator has them before heartbeat is there, and a switch that is also their gateway: each machine has its
// own host name, processes, network, /etc, /var/lib and /run.
type bench struct {
	t    *testing.T
	self string
	node [2]*exec.Cmd // process 1 of each
	mid  *exec.Cmd    // the gateway's namespace
}

var benchNames = [2]string{"alpha", "beta"}

// newBench makes the machines.
func newBench(t *testing.T) *bench {
	t.Helper()
	requireNamespace(t)
	require.Tool(t, "nsenter", "two machines of their own")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, self: self}
	start := func(flags uintptr, script string) *exec.Cmd {
		ready, written, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer ready.Close()
		cmd := exec.Command("sh", "-ec", script+"\necho ready >&3; exec 3>&-; exec sleep 600")
		cmd.ExtraFiles = []*os.File{written}
		var said bytes.Buffer
		cmd.Stderr = &said
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		written.Close()
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil || line != "ready\n" {
			cmd.Wait()
			t.Fatalf("a machine does not come up: %v\n%s", err, said.String())
		}
		return cmd
	}
	b.mid = start(syscall.CLONE_NEWNET, "ip link set lo up; ip link add br0 address 02:00:00:00:00:fe type bridge; ip addr add 10.77.0.254/24 dev br0; ip link set br0 up")
	for i, name := range benchNames {
		b.node[i] = start(syscall.CLONE_NEWNET|syscall.CLONE_NEWNS|syscall.CLONE_NEWUTS|syscall.CLONE_NEWPID, `
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmpfs /run
for dir in etc var/lib var/log; do
	mkdir -p /run/own/$dir/up /run/own/$dir/work
	mount -t overlay overlay -o lowerdir=/$dir,upperdir=/run/own/$dir/up,workdir=/run/own/$dir/work /$dir
done
rm -rf /etc/ha.d /var/lib/heartbeat; mkdir -p /etc/ha.d/resource.d /var/lib/heartbeat
hostname `+name+"\nip link set lo up")
		b.in(b.mid, "ip", "link", "add", fmt.Sprint("port", i), "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(b.node[i].Process.Pid))
		b.in(b.mid, "ip", "link", "set", fmt.Sprint("port", i), "master", "br0", "up")
	}
	b.in(b.node[0], "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", fmt.Sprint(b.node[1].Process.Pid))
	for i := range b.node {
		for k := range 2 {
			b.in(b.node[i], "ip", "addr", "add", fmt.Sprintf("10.7%d.0.%d/24", 7+k, i+1), "brd", "+", "dev", fmt.Sprint("eth", k))
			b.in(b.node[i], "ip", "link", "set", fmt.Sprint("eth", k), "up")
		}
		b.in(b.node[i], "ip", "route", "add", "default", "via", "10.77.0.254")
	}
	return b
}

// command is one on a machine.
func (b *bench) command(machine *exec.Cmd, words ...string) *exec.Cmd {
	spaces := []string{"-t", fmt.Sprint(machine.Process.Pid), "-n"}
	if machine != b.mid && words[0] != "ip" { // which names machines by process numbers of the host
		spaces = append(spaces, "-m", "-u", "-p")
	}
	c := exec.Command("nsenter", append(append(spaces, "--"), words...)...)
	c.Env = append(os.Environ(), asProgram+"=1", "COLUMNS=100")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// in runs a command that has to succeed.
func (b *bench) in(machine *exec.Cmd, words ...string) string {
	b.t.Helper()
	out, err := b.command(machine, words...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// heartbeat runs the program on a node.
func (b *bench) heartbeat(node int, words ...string) (code int, out string) {
	b.t.Helper()
	text, err := b.command(b.node[node], append([]string{b.self}, words...)...).CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		b.t.Fatal(err)
	}
	if ended != nil {
		code = ended.ExitCode()
	}
	return code, string(text)
}

// file is where a file of a node is to be found from here.
func (b *bench) file(node int, path string) string {
	return filepath.Join("/proc", fmt.Sprint(b.node[node].Process.Pid), "root", path)
}

// write writes a file on a node.
func (b *bench) write(node int, path, text string, mode os.FileMode) {
	b.t.Helper()
	if err := os.WriteFile(b.file(node, path), []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
}

// start starts heartbeat on both nodes as `heartbeat` without arguments does, and waits for a healthy pair.
func (b *bench) start() {
	b.t.Helper()
	for i := range b.node {
		if code, out := b.heartbeat(i); code != 0 {
			b.t.Fatalf("%s does not start: %d\n%s", benchNames[i], code, out)
		}
	}
	for i := range b.node {
		awaitOutput(b.t, "a healthy pair", func() bool {
			code, out := b.heartbeat(i, "status")
			return code == 0 && strings.Contains(out, "HEALTHY")
		})
	}
}

// answers tells whether a client reaches an address.
func (b *bench) answers(address string) bool {
	return b.command(b.mid, "ping", "-n", "-q", "-c", "1", "-W", "1", address).Run() == nil
}

// powerCut ends a machine, with everything on it.
func (b *bench) powerCut(node int) {
	b.node[node].Process.Kill()
	b.node[node].Wait()
}

// TestFromTwoFreshMachines: init on one, its two files copied, one command on each; then the machine that serves loses its power.
func TestFromTwoFreshMachines(t *testing.T) {
	b := newBench(t)
	code, out := b.heartbeat(0, "init", "--peer", "beta", "--peer-address", "10.77.0.2", "--peer-address", "10.78.0.2", "--address", "10.77.0.100/24", "--yes")
	if code != 0 {
		t.Fatalf("init: %d\n%s", code, out)
	}
	copied := regexp.MustCompile(`(?m)^  scp -p (\S+) (\S+) 10\.77\.0\.2:/etc/ha\.d/$`).FindStringSubmatch(out)
	if copied == nil {
		t.Fatalf("init does not say what to copy:\n%s", out)
	}
	if !regexp.MustCompile(`(?m)^  (heartbeat|systemctl enable --now heartbeat) +# on both nodes`).MatchString(out) {
		t.Errorf("init does not say what to run:\n%s", out)
	}
	for _, name := range copied[1:] {
		text, err := os.ReadFile(b.file(0, name))
		if err != nil {
			t.Fatal(err)
		}
		b.write(1, name, string(text), 0o600)
	}
	for i := range b.node {
		if code, out := b.heartbeat(i, "check"); code != 0 {
			t.Errorf("check on %s: %d\n%s", benchNames[i], code, out)
		}
	}
	b.start()
	if !b.answers("10.77.0.100") {
		t.Error("the address does not answer")
	}
	if code, out := b.heartbeat(1, "doctor"); code != 0 {
		t.Errorf("the doctor has something to say of a fresh pair: %d\n%s", code, out)
	}
	b.failsOver("10.77.0.100")
}

// TestFromAnExistingEtcHaD: the files of a pair of Linux-HA, as they are.
func TestFromAnExistingEtcHaD(t *testing.T) {
	b := newBench(t)
	for i := range b.node {
		b.write(i, "/etc/ha.d/ha.cf", "# our pair, since 2009\nlogfile /var/log/ha-log\nkeepalive 200ms\nwarntime 1\ndeadtime 2\ninitdead 10\nudpport 694\nbcast eth1\n"+
			"ucast eth0 10.77.0.1\nucast eth0 10.77.0.2\nauto_failback off\nnode alpha\nnode beta\nping 10.77.0.254\nrespawn hacluster /usr/lib/heartbeat/ipfail\n", 0o644)
		b.write(i, "/etc/ha.d/haresources", "alpha IPaddr::10.77.0.100/24/eth0 marker::web\n", 0o644)
		b.write(i, "/etc/ha.d/authkeys", "auth 2\n2 sha1 not-so-secret-any-more\n", 0o600)
		b.write(i, "/etc/ha.d/resource.d/marker", "#!/bin/sh\ncase $2 in start) touch /run/$1;; stop) rm -f /run/$1;; status) [ -e /run/$1 ] && echo running || echo stopped;; esac\n", 0o755)
	}
	b.start()
	if _, err := os.Stat(b.file(0, "/run/web")); err != nil || !b.answers("10.77.0.100") {
		t.Errorf("alpha does not serve: %v", err)
	}
	b.failsOver("10.77.0.100")
	if _, err := os.Stat(b.file(1, "/run/web")); err != nil {
		t.Errorf("beta does not serve all of it: %v", err)
	}
}

// failsOver cuts the power of alpha, and fails the test unless beta serves, and knows why.
func (b *bench) failsOver(address string) {
	t := b.t
	t.Helper()
	b.powerCut(0)
	if code, out := b.heartbeat(1, "wait", "--for", "active", "--timeout", "60s"); code != 0 {
		t.Fatalf("beta does not take over: %d\n%s", code, out)
	}
	awaitOutput(t, "an answer from beta", func() bool { return b.answers(address) })
	code, out := b.heartbeat(1, "status")
	if code != 1 || !strings.Contains(out, "DEGRADED") || !strings.Contains(out, "! alpha is dead") {
		t.Errorf("status on beta: %d\n%s", code, out)
	}
	code, out = b.heartbeat(1, "why")
	flat := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{"node alpha: is dead (nothing heard on any link for", "Acquiring resource group", "(alpha is dead)", "runs here (started in"} {
		if code != 0 || !strings.Contains(flat, want) {
			t.Errorf("why on beta: %d, without %q\n%s", code, want, out)
		}
	}
	if _, out := b.heartbeat(1, "history"); !strings.Contains(out, "alpha is dead") {
		t.Errorf("history on beta:\n%s", out)
	}
}

// unixClient asks a node's socket for pages.
func (b *bench) unixClient(node int, path string) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", b.file(node, path))
	}}}
}

// fetch asks a node's status page's listener.
func fetch(t *testing.T, client *http.Client, path string) string {
	t.Helper()
	answer, err := client.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%s: %d, %v\n%s", path, answer.StatusCode, err, text)
	}
	return string(text)
}

// sample is the value of one, -1 where there is none.
func sample(text, name string) float64 {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return -1
	}
	return v
}

// TestAPairIsWatched has a real pair tell of itself: what real links measure is true, scrapes cost little, and status answers at once while a
// script hangs, the disk is full, and the peer is gone.
func TestAPairIsWatched(t *testing.T) {
	b := newBench(t)
	const metrics = "/run/heartbeat/metrics"
	for i := range b.node {
		b.write(i, "/etc/ha.d/heartbeat.toml", `nodes = ["alpha", "beta"]
keepalive = "100ms"
deadtime = "2s"
initdead = "10s"
metrics = "unix:`+metrics+`"
mirror = false
[link.eth0]
kind = "bcast"
[link.eth1]
kind = "ucast"
address = ["10.78.0.1", "10.78.0.2"]
[group.web]
node = "alpha"
resources = ["10.77.0.100/24/eth0", "marker"]
monitor_interval = "off"
`, 0o644)
		b.write(i, "/etc/ha.d/authkeys", "auth 1\n1 sha1 0123456789abcdef0123456789abcdef\n", 0o600)
		b.write(i, "/etc/ha.d/resource.d/marker", "#!/bin/sh\ncase $1 in start) while [ -e /run/hang ]; do echo waiting; sleep 0.2; done; touch /run/m;; stop) rm -f /run/m;; "+
			"status) [ -e /run/m ] && echo running || echo stopped;; esac\n", 0o755)
	}
	b.in(b.node[1], "mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "/var/lib/heartbeat")
	b.start()
	alpha, beta := b.unixClient(0, metrics), b.unixClient(1, metrics)

	// What the links do is told: nothing is lost, then half of what beta sends on one of them.
	var text string
	awaitOutput(t, "a measured way there and back", func() bool {
		text = fetch(t, alpha, "/metrics")
		return sample(text, `heartbeat_link_rtt_seconds_count{link="bcast eth0",kind="bcast"}`) > 0 && sample(text, `heartbeat_link_rtt_seconds_count{link="ucast eth1 10.78.0.2",kind="ucast"}`) > 0
	})
	if rtt := sample(text, `heartbeat_link_rtt_seconds_sum{link="bcast eth0",kind="bcast"}`); rtt <= 0 || rtt > 1 {
		t.Errorf("the way there and back takes %v s", rtt)
	}
	if lost := sample(text, `heartbeat_link_heartbeats_lost_total{link="ucast eth1 10.78.0.2",kind="ucast"}`); lost != 0 {
		t.Errorf("%v heartbeats are lost on a good link", lost)
	}
	for name, want := range map[string]float64{`heartbeat_group_held{group="web"}`: 1, `heartbeat_files_state{state="equal"}`: 1, `heartbeat_peer_state{state="active"}`: 1,
		`heartbeat_resource_operation_seconds_count{group="web",resource="marker",operation="start"}`: 1} {
		if got := sample(text, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if n := sample(text, `heartbeat_announcements_total{group="web",resource="10.77.0.100/24/eth0"}`); n < 2 {
		t.Errorf("%v announcements", n)
	}
	digest := func(text string) []string {
		found := regexp.MustCompile(`(?m)^heartbeat_config_digest_info.*$`).FindAllString(text, -1)
		slices.Sort(found)
		return found
	}
	if a, other := digest(text), digest(fetch(t, beta, "/metrics")); len(a) < 4 || !slices.Equal(a, other) {
		t.Errorf("the digests of equal files:\n%s\n%s", a, other)
	}
	b.in(b.node[0], "nft", "add table inet loss; add chain inet loss in { type filter hook input priority -300; }; add rule inet loss in iifname eth1 udp dport 694 numgen inc mod 2 0 drop")
	awaitOutput(t, "loss on one link", func() bool {
		text = fetch(t, alpha, "/metrics")
		return sample(text, `heartbeat_link_heartbeats_lost_total{link="ucast eth1 10.78.0.2",kind="ucast"}`) >= 5
	})
	if lost := sample(text, `heartbeat_link_heartbeats_lost_total{link="bcast eth0",kind="bcast"}`); lost != 0 {
		t.Errorf("%v heartbeats are lost on the good link", lost)
	}
	b.in(b.node[0], "nft", "delete table inet loss")
	if _, out := b.heartbeat(0, "status", "--timing"); !strings.Contains(out, "round trip") || !regexp.MustCompile(`ucast eth1 10\.78\.0\.2 .*\(\d+\.\d %\)`).MatchString(out) {
		t.Errorf("status --timing:\n%s", out)
	}
	b.cheap(alpha)

	// status answers at once whatever happens.
	b.prompt(0, "on a healthy pair")
	b.write(1, "/run/hang", "", 0o644)
	if err := os.WriteFile(b.file(1, "/var/lib/heartbeat/filler"), make([]byte, 1<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk does not fill: %v", err)
	}
	b.powerCut(0)
	awaitOutput(t, "beta starts what hangs", func() bool {
		_, out := b.heartbeat(1, "status", "--json")
		return strings.Contains(out, `"doing": "start"`)
	})
	b.prompt(1, "while a script hangs, the disk is full and the peer is down")
	awaitOutput(t, "status names all of it", func() bool {
		_, out := b.heartbeat(1, "status")
		flat := strings.Join(strings.Fields(out), " ")
		return strings.Contains(flat, "start of marker in web has not ended for") && strings.Contains(flat, "its last output: waiting") && strings.Contains(flat, "alpha is dead") &&
			strings.Contains(flat, "no space left on device")
	})
	if text := fetch(t, beta, "/metrics"); sample(text, `heartbeat_resource_operation_running_seconds{group="web",resource="marker",operation="start"}`) < 1 || sample(text, "heartbeat_alarms") < 1 {
		t.Errorf("the metrics do not tell of it:\n%s", text)
	}
	if err := os.Remove(b.file(1, "/run/hang")); err != nil {
		t.Fatal(err)
	}
	if code, out := b.heartbeat(1, "wait", "--for", "active", "--timeout", "20s"); code != 0 {
		t.Errorf("beta does not serve in the end: %d\n%s", code, out)
	}
}

// prompt fails the test unless status answers within 50 ms: nearly always, since this machine does other things too, and never much later.
func (b *bench) prompt(node int, when string) {
	b.t.Helper()
	var took []time.Duration
	for range 40 {
		time.Sleep(20 * time.Millisecond)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := daemon.FetchStatus(ctx, daemon.NewPaths("", "", b.file(node, "/run/heartbeat")))
		cancel()
		if err != nil {
			b.t.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.t.Logf("status %s: median %v, 9 of 10 within %v, longest %v", when, took[len(took)/2], took[len(took)*9/10], took[len(took)-1])
	if took[len(took)*9/10] > 50*time.Millisecond || took[len(took)-1] > time.Second {
		b.t.Errorf("status %s took %v at the median, and up to %v", when, took[len(took)/2], took[len(took)-1])
	}
}

// scrapeMost is what a scrape may cost: with one a second, 0.2 % of a core.
const scrapeMost = 2 * time.Millisecond

// cheap fails the test if scraping costs more than it may.
func (b *bench) cheap(client *http.Client) {
	b.t.Helper()
	const scrapes = 200
	cpu := func() float64 { return sample(fetch(b.t, client, "/metrics"), "process_cpu_seconds_total") }
	idle := time.Now()
	before := cpu()
	time.Sleep(2 * time.Second)
	still := (cpu() - before) / time.Since(idle).Seconds()
	begun := time.Now()
	before = cpu()
	for range scrapes {
		fetch(b.t, client, "/metrics")
	}
	used := cpu() - before - still*time.Since(begun).Seconds()
	each := time.Duration(used / (scrapes + 1) * float64(time.Second))
	most := scrapeMost
	if raced() {
		most *= 10 // the race detector's share
	}
	b.t.Logf("a scrape costs %v of one core; the daemon takes %.2f %% of it without", each.Round(time.Microsecond), 100*still)
	if each > most {
		b.t.Errorf("a scrape costs %v of one core, more than %v", each, most)
	}
}

// raced tells whether this test was built with the race detector.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
