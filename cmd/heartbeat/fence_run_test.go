package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fencedHaCF is a node whose peer never comes, with a device of the test's own.
const fencedHaCF = "keepalive 50ms\ndeadtime 300ms\ninitdead 1500ms\nauto_failback off\nbcast eth0\nnode alpha beta\n" +
	"stonith_host * external/bench beta\n#hapair: fence-delay=0\n"

// startFenced starts a real daemon with that device; what it was asked to do is in the file that is returned.
func startFenced(t *testing.T, verdict string) (l *lone, calls string) {
	t.Helper()
	l = startLone(t, fencedHaCF)
	calls = filepath.Join(filepath.Dir(l.dir.config), "calls")
	dir := filepath.Join(l.dir.config, "stonith.d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\ncase $1 in\ngetconfignames) echo hostlist ;;\ngethosts) echo $hostlist ;;\nstatus) ;;\n" +
		"reset) echo \"$1 $2 $HA_LOGTAG\" >>" + calls + "; " + verdict + " ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "bench"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return l, calls
}

// again starts the daemon once more after its machine lost its power: the same files, another network.
func (l *lone) again() {
	l.t.Helper()
	l.cmd.Process.Kill()
	l.cmd.Wait()
	next := exec.Command(l.cmd.Path, l.cmd.Args[1:]...)
	next.Env, next.Stderr, next.SysProcAttr = l.cmd.Env, l.out, l.cmd.SysProcAttr
	l.cmd = next
	if err := next.Start(); err != nil {
		l.t.Fatal(err)
	}
}

func TestARealDaemonFencesOnceAtAStart(t *testing.T) {
	l, calls := startFenced(t, "exit 0")
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	if got, _ := os.ReadFile(calls); string(got) != "reset beta external/bench\n" {
		t.Errorf("the device was asked %q", got)
	}
	l.wants(1, `"state": "confirmed"`, "heartbeat", "status", "--json")
	l.wants(0, "heartbeat: beta is certainly off: the device confirmed that it was reset", "heartbeat", "fence", "status")

	l.again() // its record says that it has fenced, and that it did not end politely
	l.wants(0, "", "heartbeat", "wait", "--for", "standby", "--timeout", "20s")
	awaitOutput(t, "the alarm", func() bool {
		_, out := l.call("heartbeat", "status")
		return strings.Contains(out, "beta was already reset once at a start of this node") && strings.Contains(out, "heartbeat confirm-dead beta")
	})
	if got, _ := os.ReadFile(calls); strings.Count(string(got), "reset") != 1 {
		t.Errorf("it fenced again: %q", got)
	}
	l.wants(1, `the peer is "beta"`, "heartbeat", "confirm-dead", "gamma")
	l.wants(0, "beta is off", "heartbeat", "confirm-dead", "beta")
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "5s")

	l.wants(0, "", "heartbeat", "stop") // a polite end
	l.cmd.Wait()
	l.again()
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	if got, _ := os.ReadFile(calls); strings.Count(string(got), "reset") != 2 {
		t.Errorf("after a polite end it fences as the first time: %q", got)
	}
}

func TestARealDaemonTakesNothingWhenTheDeviceFails(t *testing.T) {
	l, calls := startFenced(t, "echo 'Connection refused' >&2; exit 1")
	l.wants(0, "", "heartbeat", "wait", "--for", "standby", "--timeout", "20s")
	awaitOutput(t, "the alarm", func() bool {
		_, out := l.call("heartbeat", "status")
		return strings.Contains(out, "STONITH of beta failed, nothing is taken over") && strings.Contains(out, "unreachable")
	})
	if got := l.addresses(); strings.Contains(got, "10.77.0.100") {
		t.Errorf("it took the address: %s", got)
	}
	if _, err := os.Stat(calls); err != nil {
		t.Error(err)
	}
	l.wants(0, "", "heartbeat", "confirm-dead", "beta")
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "5s")
}

// awaitOutput polls for what a real daemon does in its own time.
func awaitOutput(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
