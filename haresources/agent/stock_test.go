package agent_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/rehearsal/require"
)

// stockScripts are the resource scripts of Debian's package heartbeat, with arguments of something that does not run here.
var stockScripts = map[string][]string{
	"AudibleAlarm": {"alpha"}, "Delay": {"0", "0"}, "Filesystem": {"/dev/nosuch", "/nosuch", "ext4"}, "ICP": {"c0d1", "/dev/nosuch"},
	"IPaddr": {"10.99.99.99/24"}, "IPaddr2": {"10.99.99.99/24"}, "IPsrcaddr": {"10.99.99.99"}, "IPv6addr": {"fd99::1/64"}, "LVM": {"nosuch"},
	"LinuxSCSI": {"0:0:0:0"}, "MailTo": {"root"}, "OCF": {"Dummy"}, "Raid1": {"/etc/nosuch", "/dev/nosuch"}, "SendArp": {"10.99.99.99", "lo"},
	"ServeRAID": {"1", "1"}, "WAS": {"/nosuch"}, "WinPopup": {"/nosuch"}, "Xinetd": {"nosuch"}, "apache": {"/nosuch"}, "db2": {"nosuch"},
	"ids": {"nosuch"}, "portblock": {"tcp", "99", "block"},
}

// TestStockScriptsAsHeartbeat asks every stock script for its status, and reads the answer as Heartbeat's own ResourceManager does: before
// anything was started, and for those that can be started on any machine afterwards too.
func TestStockScriptsAsHeartbeat(t *testing.T) {
	const dir, oracle = "/etc/ha.d/resource.d", "/usr/share/heartbeat/ResourceManager"
	require.Root(t, "Heartbeat's stock resource scripts")
	require.File(t, oracle, "Heartbeat's stock resource scripts (package heartbeat)")
	require.File(t, "/usr/lib/ocf/resource.d/heartbeat/Delay", "Heartbeat's stock resource scripts (package resource-agents)")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, known := stockScripts[e.Name()]; !known && e.Name() != "hto-mapfuncs" { // the scripts' library
			t.Errorf("%s is in no table here", e.Name())
		}
	}
	n := newSite(t)
	n.env.Environ = append(n.env.Environ, "HA_FUNCS=/etc/ha.d/shellfuncs", "HA_DIR=/etc/ha.d", "HA_RESOURCEDIR="+dir, "OCF_ROOT=/usr/lib/ocf",
		"HA_RSCTMP="+t.TempDir(), "OCF_RESKEY_mondelay=0") // the stock agent takes half a minute to say whether it runs
	starts := map[string]bool{"Delay": true, "AudibleAlarm": true}
	for name, args := range stockScripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			n.script(t, "resource.d/Stock"+name, string(script)) // by a name that nothing here does without a script
			spec, stock := "Stock"+name, name
			for _, a := range args {
				spec, stock = spec+"::"+a, stock+"::"+a
			}
			a, err := agent.Open(n.env)(resource(t, spec))
			if err != nil {
				t.Fatal(err)
			}
			compare := func(when string) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				state, err := a.Status(ctx)
				if err != nil {
					t.Errorf("%s: status: %v", when, err)
				}
				cmd := exec.CommandContext(ctx, oracle, "status", stock)
				cmd.Env, cmd.WaitDelay = n.env.Environ, time.Second
				out, err := cmd.CombinedOutput()
				if owned := err == nil; owned != (state == haresources.Running) {
					t.Errorf("%s: read as %v; Heartbeat reads that it runs: %v %s", when, state, owned, out)
				}
				t.Logf("%s: %v", when, state)
			}
			compare("at first")
			if !starts[name] {
				return
			}
			if err := a.Start(t.Context()); err != nil {
				t.Logf("start: %v", err)
			}
			compare("after a start")
			if err := a.Stop(t.Context()); err != nil {
				t.Errorf("stop: %v", err)
			}
			compare("after a stop")
		})
	}
}
