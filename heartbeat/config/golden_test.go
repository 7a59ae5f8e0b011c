package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hapair/heartbeat/config"
)

var update = flag.Bool("update", false, "rewrite the want.txt of each case from what the program says")

const cases = "../../testdata/config"

// TestGolden loads each directory of testdata/config and compares faults, summary and effective configuration with want.txt.
//
// Besides the three files, or heartbeat.toml, a case may hold nodeinfo, `node` (the name to read them as, alpha where neither is there) and
// `mode` (a file and its mode; authkeys is 0600 otherwise).
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(cases, "*"))
	if err != nil || len(dirs) < 50 {
		t.Fatalf("found %d cases, error %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := load(t, dir)
			path := filepath.Join(dir, "want.txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s (see `go test -update`)\ngot:\n%s\nwant:\n%s", path, got, want)
			}
		})
	}
}

// load reads one case from a copy, so that the modes are what they should be, and writes down all of what came of it.
func load(t *testing.T, dir string) string {
	t.Helper()
	tmp := t.TempDir()
	for _, name := range []string{"heartbeat.toml", "ha.cf", "haresources", "authkeys", "nodeinfo"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			if err := os.WriteFile(filepath.Join(tmp, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if words := strings.Fields(extra(dir, "mode")); len(words) == 2 {
		mode, err := strconv.ParseUint(words[1], 8, 32)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(tmp, words[0]), os.FileMode(mode)); err != nil {
			t.Fatal(err)
		}
	}
	var options []config.Option
	node := strings.TrimSpace(extra(dir, "node"))
	if node == "" && extra(dir, "nodeinfo") == "" {
		node = "alpha"
	}
	if node != "" {
		options = append(options, config.WithNode(node))
	}
	c, faults := config.Load(tmp, options...)
	var b strings.Builder
	report := config.NewReport(c, faults)
	if err := report.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "exit %d\n\n%s", report.ExitCode(), dump(c))
	return strings.ReplaceAll(b.String(), tmp, "DIR")
}

// extra is the text of an optional file of a case, or "".
func extra(dir, name string) string {
	data, _ := os.ReadFile(filepath.Join(dir, name))
	return string(data)
}

// dump writes a Config down for people.
func dump(c *config.Config) string {
	var b strings.Builder
	line := func(name string, values ...any) { fmt.Fprintln(&b, append([]any{name}, values...)...) }
	line("node", c.Node, "from", c.NodeSource, "peer", c.Peer, "of", c.Nodes)
	line("times", "keepalive", c.Keepalive, "deadtime", c.Deadtime, "warntime", c.Warntime, "initdead", c.Initdead, "deadping", c.Deadping)
	line("auto_failback", c.AutoFailback, "explicit", c.AutoFailbackExplicit)
	for _, l := range c.Links {
		line("link", strings.TrimPrefix(fmt.Sprintf("%+v", l), " "))
	}
	for _, p := range c.Pings {
		line("ping", fmt.Sprintf("%+v", p))
	}
	for _, g := range c.Table.Groups {
		line("group", g.Name, "of", g.Preferred, "safety", config.PrefersSafety(g))
	}
	line("keys", c.Keys != nil)
	line("wire", c.MsgFmt, "hopfudge", c.HopFudge, "max_rexmit_delay", c.MaxRexmitDelay, "hbgenmethod", c.HBGenMethod, "uuidfrom", c.UUIDFrom, "cluster", c.Cluster)
	line("host", "realtime", c.Realtime, c.RTPrio, "coredumps", c.CoreDumps, c.CoreRoot, "watchdog", c.Watchdog)
	line("log", fmt.Sprintf("%+v", c.Log))
	for _, r := range c.Respawn {
		line("respawn", fmt.Sprintf("%+v", r))
	}
	for _, r := range c.FailFast {
		line("failfast", fmt.Sprintf("%+v", r))
	}
	line("ipfail", c.IPFail)
	for _, a := range c.APIAuth {
		if a.Line > 0 {
			line("apiauth", fmt.Sprintf("%+v", a))
		}
	}
	if c.Stonith != nil {
		line("stonith", fmt.Sprintf("%+v", *c.Stonith))
	}
	for i, level := range c.FencingLevels() {
		line("fencing level", i+1, fmt.Sprintf("%+v", level))
	}
	if c.Watchdog != "" {
		line("watchdog time-out", c.WatchdogTimeout())
	}
	if len(c.FencingLevels()) > 0 || c.StartPolicy != "start" && c.StartPolicy != "" {
		line("fencing", c.FenceDelay, c.FenceTimeout, c.FenceAction, c.StartPolicy)
	}
	line("env", c.Env)
	line("pragmas", c.FailbackDelay, c.RetryFailed, c.HookTimeout, c.Pragmas)
	line("directives", c.Directives)
	return b.String()
}
