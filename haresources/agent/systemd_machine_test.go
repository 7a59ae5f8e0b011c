package agent_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal/require"
)

// unitFiles are units of a real systemd: one that runs, one whose program fails, one that never becomes ready, and one that does not end politely.
var unitFiles = map[string]string{
	"web.service":   "[Service]\nExecStart=/bin/sleep 3600\n",
	"ready.service": "[Service]\nType=notify\nExecStart=/bin/sh -c 'sleep 0.3; systemd-notify --ready; exec sleep 3600'\nNotifyAccess=all\n",
	"fails.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo no disk; exit 3'\n",
	"never.service": "[Service]\nType=notify\nExecStart=/bin/sleep 3600\nTimeoutStartSec=1\n",
	"deaf.service":  "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nTimeoutStopSec=1\n",
	"dies.service":  "[Service]\nExecStart=/bin/sh -c 'sleep 0.5; exit 1'\n",
}

// TestUnitsOfARealSystemd starts, asks and stops units of a systemd that is the first process of a machine to throw away.
func TestUnitsOfARealSystemd(t *testing.T) {
	require.Root(t, "units of a real systemd")
	steps := []struct {
		order      order
		state, err string // the state wanted, and what the error must contain; "" for no error
	}{
		{order: order{Op: "status", Spec: "systemd:web"}, state: "stopped"},
		{order: order{Op: "stop", Spec: "systemd:web"}},
		{order: order{Op: "start", Spec: "systemd:web"}},
		{order: order{Op: "start", Spec: "systemd:web"}},
		{order: order{Op: "status", Spec: "systemd:web"}, state: "running"},
		{order: order{Op: "sh", Spec: "systemctl is-active web"}},
		{order: order{Op: "stop", Spec: "systemd:web"}},
		{order: order{Op: "status", Spec: "systemd:web"}, state: "stopped"},
		{order: order{Op: "start", Spec: "systemd:ready.service"}},
		{order: order{Op: "status", Spec: "systemd:ready.service"}, state: "running"}, // the start waited for it
		{order: order{Op: "start", Spec: "systemd:fails"}, err: "fail"},
		{order: order{Op: "status", Spec: "systemd:fails"}, state: "stopped", err: "fails.service failed: exit-code"},
		{order: order{Op: "start", Spec: "systemd:never"}, err: "never.service"},
		{order: order{Op: "status", Spec: "systemd:never"}, state: "stopped", err: "never.service failed: timeout"},
		{order: order{Op: "start", Spec: "systemd:deaf"}},
		{order: order{Op: "sh", Spec: "sleep 1"}}, // it becomes deaf
		{order: order{Op: "stop", Spec: "systemd:deaf"}},
		{order: order{Op: "status", Spec: "systemd:deaf"}, state: "stopped", err: "deaf.service failed: timeout"},
		{order: order{Op: "start", Spec: "systemd:dies"}},
		{order: order{Op: "sh", Spec: "sleep 1"}},
		{order: order{Op: "status", Spec: "systemd:dies"}, state: "stopped", err: "dies.service failed: exit-code"},
		{order: order{Op: "start", Spec: "systemd:nosuch"}, err: "nosuch.service"},
		{order: order{Op: "stop", Spec: "systemd:nosuch"}},
		{order: order{Op: "status", Spec: "systemd:nosuch"}, state: "stopped", err: "nosuch.service is not-found"},
	}
	machine := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(machine, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inside := "cd /machine && cp *.service /run/systemd/system && systemctl daemon-reload && " + nodeMark + "=1 ./node <orders >replies\n"
	write("inside", inside)
	for name, text := range unitFiles {
		write(name, text)
	}
	var orders bytes.Buffer
	for _, s := range steps {
		json.NewEncoder(&orders).Encode(s.order)
	}
	write("orders", orders.String())
	if out, err := exec.Command("cp", os.Args[0], filepath.Join(machine, "node")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command("timeout", "-k", "5", "120", "../../testdata/package/machine", machine)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() == 42 {
		require.Skip(t, "units of a real systemd", strings.TrimSpace(string(out)))
	}
	log, _ := os.ReadFile(filepath.Join(machine, "log"))
	if err != nil {
		t.Fatalf("the machine: %v: %s\n%s", err, out, log)
	}
	text, err := os.ReadFile(filepath.Join(machine, "replies"))
	if err != nil {
		t.Fatal(err)
	}
	replies := json.NewDecoder(bytes.NewReader(text))
	for _, s := range steps {
		var r reply
		if err := replies.Decode(&r); err != nil {
			t.Fatalf("%s %s: no answer: %v\n%s", s.order.Op, s.order.Spec, err, log)
		}
		if s.err == "" && r.Err != "" || !strings.Contains(r.Err, s.err) || s.state != "" && r.State != s.state {
			t.Errorf("%s %s: %q, error %q; want %q, error with %q", s.order.Op, s.order.Spec, r.State, r.Err, s.state, s.err)
		}
	}
}
