package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/daemon"
)

// fencedConfig writes a configuration with devices of the test's own; state is the file in which the agent keeps beta's state.
func fencedConfig(t *testing.T, lines string) (dir, state string) {
	t.Helper()
	dir = t.TempDir()
	state = filepath.Join(dir, "beta")
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("ha.cf", "nodes\n", 0o644)
	write("ha.cf", "node alpha beta\nbcast eth0\nkeepalive 1\ndeadtime 10\nauto_failback on\nlogfacility none\n"+strings.ReplaceAll(lines, "STATE", state), 0o644)
	write("nodeinfo", "alpha\n", 0o644)
	write("haresources", "alpha 10.0.0.1/24/eth0\n", 0o644)
	write("authkeys", "auth 1\n1 sha1 a-key-for-tests\n", 0o600)
	write("stonith.d/fence_file", `#!/bin/sh
[ "$1" = -o ] && action=$2 || while read -r l; do eval "${l%%=*}='${l#*=}'"; done
case $action in
metadata) echo '<resource-agent name="fence_file"><parameters>
<parameter name="state" required="1"><content type="string"/></parameter><parameter name="plug" required="1"><content type="string"/></parameter>
</parameters><actions><action name="off"/><action name="on"/><action name="status"/><action name="monitor"/></actions></resource-agent>' ;;
status) [ "$(cat "$state" 2>/dev/null)" = off ] && exit 2; exit 0 ;;
on|off) echo $action >"$state"; echo "Success: $action" ;;
esac
`, 0o755)
	return dir, state
}

func TestFenceCheck(t *testing.T) {
	f := startFake(t)
	dir, state := fencedConfig(t, "stonith_host * fence_file state=STATE\n")
	code, out, err := call(t, f.run, "heartbeat", "fence", "check", "--config", dir)
	if code != 0 || !strings.HasPrefix(out, "ha.cf:7: fence_file works, it answered in ") || !strings.HasSuffix(out, "; beta is on\n") {
		t.Errorf("%d %q %q", code, out, err)
	}
	os.WriteFile(state, []byte("off"), 0o644)
	code, out, _ = call(t, f.run, "heartbeat", "fence", "check", "--config", dir)
	if code != 1 || !strings.Contains(out, "it says that beta is off, but its heartbeats arrive: it is wired to another machine") {
		t.Errorf("a device of another machine: %d %q", code, out)
	}
	dir, _ = fencedConfig(t, "#hapair: fence-level=1\nstonith_host * fence_file stat=STATE\n#hapair: fence-level=2\nstonith_host * external/nosuch beta\n")
	code, out, _ = call(t, f.run, "heartbeat", "fence", "check", "--json", "--config", dir)
	var report struct {
		OK      bool
		Devices []daemon.DeviceReport
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 || report.OK || len(report.Devices) != 2 ||
		report.Devices[0].Cause != "unknown parameter" || report.Devices[1].Cause != "not installed" || report.Devices[1].Level != 2 {
		t.Errorf("%d, %v: %s", code, err, out)
	}
	code, out, _ = call(t, f.run, "heartbeat", "check", dir)
	if code != 2 || !strings.Contains(out, "ha.cf:10:1: error: external/nosuch: nosuch was found in none of") {
		t.Errorf("heartbeat check: %d %s", code, out)
	}
	dir, _ = fencedConfig(t, "")
	code, _, err = call(t, f.run, "heartbeat", "fence", "check", "--config", dir)
	if code != 1 || !strings.Contains(err, "names no fencing device for alpha") {
		t.Errorf("without a device: %d %q", code, err)
	}
	dir, _ = fencedConfig(t, "stonith_host * fence_file state=STATE\nnonsense\n")
	if code, _, err = call(t, f.run, "heartbeat", "fence", "check", "--config", dir); code != 1 || !strings.Contains(err, "run `heartbeat check`") {
		t.Errorf("with a broken configuration: %d %q", code, err)
	}
}

func TestFenceByHand(t *testing.T) {
	f := startFake(t)
	f.change(func(s *daemon.Status) { s.Peer.Holds = []string{"foreign"} })
	dir, state := fencedConfig(t, "stonith_host * fence_file state=STATE\n")
	is := func() string { text, _ := os.ReadFile(state); return strings.TrimSpace(string(text)) }

	code, _, err := call(t, f.run, "heartbeat", "fence", "reboot", "--config", dir)
	if code != 2 || !strings.Contains(err, "this does `reset` to beta; beta is alive and holds foreign: say --yes if that is meant") || is() != "" {
		t.Errorf("without --yes: %d %q, beta is %q", code, err, is())
	}
	code, _, err = call(t, f.run, "heartbeat", "fence", "off", "alpha", "--yes", "--config", dir)
	if code != 2 || !strings.Contains(err, `"alpha" is not the other node`) || is() != "" {
		t.Errorf("the own node: %d %q", code, err)
	}
	f.change(func(s *daemon.Status) {
		s.Peer.State = "dead"
		s.Fencing = &daemon.FencingView{State: "failed", Tries: 2, LastError: "it hangs"}
	})
	code, out, _ := call(t, f.run, "heartbeat", "fence", "status", "--config", dir)
	if code != 0 || out != "heartbeat: attempt 2 to fence beta failed: it hangs (delay as standby 0s)\ndevice: beta is on\n" {
		t.Errorf("status: %d %q", code, out)
	}
	code, out, err = call(t, f.run, "heartbeat", "fence", "off", "beta", "--yes", "--config", dir)
	if code != 0 || !strings.Contains(out, "off: Success: off\nstatus: off\nbeta is certainly down: fence_file confirmed it after ") || is() != "off" {
		t.Errorf("off: %d %q %q, beta is %q", code, out, err, is())
	}
	if len(f.got) != 1 || f.got[0].Command != daemon.CommandFenced || f.got[0].Name != "beta" {
		t.Errorf("the daemon was told %+v", f.got)
	}
	if code, out, _ = call(t, f.run, "heartbeat", "fence", "reboot", "--yes", "--config", dir); code != 0 || is() != "on" {
		t.Errorf("reboot: %d %q, beta is %q", code, out, is())
	}
	code, out, _ = call(t, f.run, "heartbeat", "fence", "types", "--config", dir)
	if code != 0 || !strings.Contains(out, "fence_file\n") || !strings.Contains(out, "meatware\n") {
		t.Errorf("types: %d %q", code, out)
	}
}
