package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/rehearsal"
	"hapair/heartbeat/rehearsal/require"
)

// asProgram makes the test binary behave as the program, so that tests can start real daemons.
const asProgram = "HEARTBEAT_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	rehearsal.NodeInit()
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// requireNamespace names what a real daemon in a network namespace needs.
func requireNamespace(t *testing.T) {
	t.Helper()
	require.Root(t, "a real daemon in a namespace")
	require.Tool(t, "ip", "a real daemon in a namespace")
}

// lone is a real daemon without a peer, in a network namespace of its own with one interface that leads nowhere.
type lone struct {
	t   *testing.T
	dir directories
	cmd *exec.Cmd
	out *transcript

	program string // its file
}

// transcript keeps what a daemon says; it can be read while the daemon goes on.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// startLone writes the files and starts the daemon.
func startLone(t *testing.T, haCF string) *lone {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, self, haCF)
}

// startProgram is startLone with the program in a certain file.
func startProgram(t *testing.T, self, haCF string) *lone {
	t.Helper()
	requireNamespace(t)
	base := t.TempDir()
	d := directories{config: filepath.Join(base, "ha.d"), state: filepath.Join(base, "lib"), run: filepath.Join(base, "run")}
	if err := os.Mkdir(d.config, 0o755); err != nil {
		t.Fatal(err)
	}
	l := &lone{t: t, dir: d, out: &transcript{}}
	l.write("ha.cf", haCF)
	l.write("haresources", "alpha 10.77.0.100/24\n")
	l.write("authkeys", "auth 1\n1 sha1 0123456789abcdef0123456789abcdef\n")
	l.write("nodeinfo", "alpha\n")
	l.program = self
	l.start()
	t.Cleanup(func() {
		l.cmd.Process.Kill()
		l.cmd.Wait()
		if t.Failed() {
			t.Logf("the daemon said:\n%s", l.out)
		}
	})
	return l
}

// start starts the daemon, in a new namespace.
func (l *lone) start() {
	l.t.Helper()
	d := l.dir
	const network = "ip link set lo up && ip link add eth0 type veth peer name eth1 && ip link set eth1 up && ip addr add 10.77.0.1/24 brd + dev eth0 && ip link set eth0 up && exec "
	l.cmd = exec.Command("sh", "-c", network+strings.Join([]string{l.program, "run", "--config", d.config, "--state", d.state, "--run", d.run, "--log", "stderr", "--no-realtime"}, " "))
	l.cmd.Env = append(os.Environ(), asProgram+"=1")
	l.cmd.Stderr = l.out
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lone) write(name, content string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir.config, name), []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// call runs a command line against the daemon.
func (l *lone) call(words ...string) (code int, out string) {
	var o bytes.Buffer
	a := &app{out: &o, err: &o, dirs: l.dir}
	if words[0] == "heartbeat" && !isClassic(words[1:]) {
		words = append(words, "--run", l.dir.run, "--config", l.dir.config, "--state", l.dir.state)
	}
	code = a.dispatch(words[0], words[1:])
	return code, o.String()
}

// wants fails the test unless a command line has this exit code and says this.
func (l *lone) wants(code int, out string, words ...string) {
	l.t.Helper()
	if gotCode, got := l.call(words...); gotCode != code || !strings.Contains(got, out) {
		l.t.Errorf("%s: %d, %q; want %d, %q", strings.Join(words, " "), gotCode, got, code, out)
	}
}

// addresses lists what the daemon's interface carries.
func (l *lone) addresses() string {
	l.t.Helper()
	out, err := exec.Command("nsenter", "-t", fmt.Sprint(l.cmd.Process.Pid), "-n", "ip", "-o", "-4", "addr", "show", "dev", "eth0").Output()
	if err != nil {
		l.t.Fatal(err)
	}
	return string(out)
}

const loneHaCF = "keepalive 50ms\ndeadtime 300ms\ninitdead 500ms\nauto_failback off\nbcast eth0\nnode alpha\n"

func TestARealDaemonFromStartToStop(t *testing.T) {
	l := startLone(t, loneHaCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	if got := l.addresses(); !strings.Contains(got, "10.77.0.100/24") {
		t.Errorf("addresses: %s", got)
	}
	l.wants(0, "alpha is active, holds 10.77.0.100/24: HEALTHY", "heartbeat", "status")
	l.wants(0, `"state": "running"`, "heartbeat", "status", "--json")
	l.wants(0, "heartbeat OK [pid ", "heartbeat", "-s")
	l.wants(0, "heartbeat: already running [pid ", "heartbeat")
	l.wants(0, "all\n", "cl_status", "rscstatus")
	l.wants(0, "300ms\n", "cl_status", "hbparameter", "-p", "deadtime")
	l.wants(1, "there is no peer", "hb_standby")

	l.write("ha.cf", loneHaCF+"deadtiem 1\n")
	l.wants(1, "did you mean deadtime", "heartbeat", "reload")
	l.wants(1, "NOT restarted", "heartbeat", "-r")
	l.wants(0, "HEALTHY", "heartbeat", "status")
	l.write("ha.cf", loneHaCF+"debug 1\n")
	l.write("haresources", "alpha 10.77.0.100/24\nalpha 10.77.0.101/24\n")
	l.wants(0, "in force", "heartbeat", "reload")
	l.wants(0, "", "heartbeat", "wait", "--for", "stable", "--timeout", "10s")
	if got := l.addresses(); !strings.Contains(got, "10.77.0.100/24") || !strings.Contains(got, "10.77.0.101/24") {
		t.Errorf("addresses after the reload: %s", got)
	}

	l.wants(0, "Heartbeat has stopped.", "heartbeat", "stop")
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	if entries, _ := os.ReadDir(l.dir.run); len(entries) != 1 || entries[0].Name() != "lock" {
		t.Errorf("left in the run directory: %v", entries)
	}
	for _, name := range []string{"hb_generation", "hb_uuid", "state.json", "journal.jsonl", "fifo"} {
		if _, err := os.Stat(filepath.Join(l.dir.state, name)); err != nil {
			t.Errorf("state: %v", err)
		}
	}
	l.wants(3, "", "heartbeat", "status")
}

func TestSignalsOfARealDaemon(t *testing.T) {
	l := startLone(t, loneHaCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGHUP} {
		l.cmd.Process.Signal(s)
	}
	l.wants(0, "", "heartbeat", "status")
	const reread = "Configuration reread and in force" // else the end may overtake it
	for end := time.Now().Add(20 * time.Second); !strings.Contains(l.out.String(), reread) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	l.wants(0, "", "heartbeat", "-k")
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM the daemon ended with %v", err)
	}
	for _, want := range []string{"Debug level is now 1", "Debug level is now 0", reread, "alpha Heartbeat shutdown complete."} {
		if !strings.Contains(l.out.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

func TestKilledDaemonFindsItsAddressAgain(t *testing.T) {
	l := startLone(t, loneHaCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	l.wants(0, "", "heartbeat", "stop", "--keep-resources")
	l.cmd.Wait()
	s, err := os.ReadFile(filepath.Join(l.dir.state, "state.json"))
	if err != nil || !strings.Contains(string(s), `"10.77.0.100/24"`) {
		t.Errorf("state after an end that keeps the resources: %s, %v", s, err)
	}
}

func TestBadConfigurationDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "ha.cf"), []byte("deadtiem 1\nkeepalive x\n"), 0o600)
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	code := a.dispatch("heartbeat", []string{"run", "--config", dir, "--state", t.TempDir(), "--run", t.TempDir()})
	for _, want := range []string{"ha.cf:1:1: error: ", "did you mean deadtime", "ha.cf:2:11: error: ", "heartbeat not started"} {
		if code != daemon.ExitConfig || !strings.Contains(out.String(), want) {
			t.Errorf("run: %d, lacks %q in\n%s", code, want, out.String())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := daemon.FetchStatus(ctx, daemon.NewPaths("", "", t.TempDir())); err == nil {
		t.Error("something answers")
	}
}

func TestClassicStartInTheBackground(t *testing.T) {
	requireNamespace(t)
	runtime.LockOSThread() // the thread's namespace is its own from here on; it ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"link set lo up", "link add eth0 type veth peer name eth1", "addr add 10.77.0.1/24 brd + dev eth0", "link set eth1 up", "link set eth0 up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	base := t.TempDir()
	l := &lone{t: t, dir: directories{config: filepath.Join(base, "ha.d"), state: filepath.Join(base, "lib"), run: filepath.Join(base, "run")}}
	if err := os.Mkdir(l.dir.config, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(asProgram, "1")
	l.write("ha.cf", loneHaCF+"logfacility none\nlogfile "+filepath.Join(base, "ha-log")+"\nnonsense\n")
	l.write("haresources", "alpha 10.77.0.100/24\n")
	l.write("authkeys", "auth 1\n1 sha1 0123456789abcdef0123456789abcdef\n")
	l.write("nodeinfo", "alpha\n")
	l.wants(daemon.ExitConfig, "unknown directive", "heartbeat", "-l")
	l.wants(3, "heartbeat is stopped", "heartbeat", "-s")
	l.write("ha.cf", loneHaCF+"logfacility none\nlogfile "+filepath.Join(base, "ha-log")+"\n")
	l.wants(0, "", "heartbeat", "-l")
	t.Cleanup(func() { l.call("heartbeat", "-k") })
	l.wants(0, "", "cl_status", "hbstatus") // it answers as soon as the command is back
	l.wants(0, "[alpha]...", "heartbeat", "-s")
	l.wants(0, "already running", "heartbeat")
	l.wants(0, "Signalling heartbeat pid", "heartbeat", "-r")
	l.wants(0, "", "heartbeat", "-k")
	l.wants(3, "heartbeat is stopped", "heartbeat", "-s")
	log, err := os.ReadFile(filepath.Join(base, "ha-log"))
	if err != nil || !strings.Contains(string(log), " heartbeat: [") || !strings.Contains(string(log), "shutdown complete") {
		t.Errorf("log: %v\n%s", err, log)
	}
}
