package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/config"
)

// TestDefaults checks what holds where ha.cf says nothing, as Linux-HA's own log shows it (protocol section 1.1 rule 9).
func TestDefaults(t *testing.T) {
	c, faults := config.Load(directory(t, map[string]string{"ha.cf": "bcast eth0\nnode alpha beta\n"}), config.WithNode("alpha"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cluster": "linux-ha", "hopfudge": "1", "baud": "19200", "hbgenmethod": "file", "realtime": "true", "msgfmt": "classic",
		"conn_logd_time": "60", "log_badpack": "true", "syslogmsgfmt": "true", "coredumps": "true", "pacemaker": "false",
		"autojoin": "none", "uuidfrom": "file", "compression": "zlib", "compression_threshold": "2", "traditional_compression": "no",
		"max_rexmit_delay": "250", "record_config_changes": "on", "record_pengine_inputs": "on", "enable_config_writes": "on",
		"memreserve": "6500", "auto_failback": "legacy", "bcast": "eth0", "node": "beta",
	} {
		if got, found := c.Directive(name); !found || got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"watchdog", "crm", "logfile", "nonsense"} {
		if got, found := c.Directive(name); found {
			t.Errorf("%s: got %q, want none", name, got)
		}
	}
	if c.Log.Facility != "daemon" {
		t.Errorf("log goes to %q, want daemon", c.Log.Facility)
	}
}

// Reference: protocol section 1.5, "initdead when absent".
func TestInitdead(t *testing.T) {
	for deadtime, want := range map[string]time.Duration{
		"200ms": 12 * time.Second, "5999ms": 12 * time.Second, "6": 12 * time.Second, "8": 16 * time.Second,
		"10": 20 * time.Second, "10001ms": 10001 * time.Millisecond, "30": 30 * time.Second,
	} {
		c, _ := config.Load(directory(t, map[string]string{"ha.cf": "keepalive 50ms\ndeadtime " + deadtime + "\nbcast eth0\nnode alpha\n"}))
		if c.Initdead != want || c.Warntime != c.Deadtime/2 || c.Deadping != c.Deadtime {
			t.Errorf("deadtime %s: initdead %v, want %v; warntime %v, deadping %v", deadtime, c.Initdead, want, c.Warntime, c.Deadping)
		}
	}
}

// TestEveryDirectiveHasACase makes sure that the fixture with every directive holds every directive.
func TestEveryDirectiveHasACase(t *testing.T) {
	text := extra(filepath.Join(cases, "every-directive"), "ha.cf") + extra(filepath.Join(cases, "values-wrong"), "ha.cf")
	for _, name := range append(config.DirectiveNames(), "udp") {
		if name == "udp" {
			text += extra(filepath.Join(cases, "udp-alias"), "ha.cf")
		}
		if name == "hbaping" || name == "openais" || name == "tipc" || name == "pacemaker" {
			continue // as rds, and as crm
		}
		if !regexp.MustCompile(`(?m)^` + name + `\s`).MatchString(text) {
			t.Errorf("no case holds the directive %s", name)
		}
	}
}

// TestUnreadable tells a file that cannot be read from one that is wrong.
func TestUnreadable(t *testing.T) {
	dir := directory(t, nil)
	path := filepath.Join(dir, "ha.cf")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	c, faults := config.Load(dir, config.WithNode("alpha"))
	if len(c.Unread) != 1 || c.Unread[0] != path || faults.Err() == nil || !strings.Contains(faults.Error(), "not a regular file") {
		t.Errorf("unread %v, faults %v", c.Unread, faults)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, 9<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, faults := config.Load(dir); len(c.Unread) != 1 || !strings.Contains(faults.Error(), "longer than") {
		t.Errorf("unread %v, faults %v", c.Unread, faults)
	}
}

// TestPrefersSafety: mounts do, addresses do not, and a pragma has the last word.
func TestPrefersSafety(t *testing.T) {
	for line, want := range map[string]bool{
		"alpha 10.0.0.1": false,
		"alpha 10.0.0.1 Filesystem::/dev/sdb1::/srv::ext4": true,
		"alpha drbddisk::r0": true,
		"alpha ocf:heartbeat:Filesystem::device=/dev/sdb1::directory=/srv": true,
		"alpha systemd:Filesystem":                                             false,
		"alpha 10.0.0.1 #hapair: prefer=safety":                                true,
		"alpha Filesystem::/dev/sdb1::/srv::ext4 #hapair: prefer=availability": false,
	} {
		table, _ := haresources.Parse("haresources", strings.NewReader(line))
		if len(table.Groups) != 1 || config.PrefersSafety(table.Groups[0]) != want {
			t.Errorf("%s: want %v", line, want)
		}
	}
}

// TestPragmaKeys: every key has an explanation and a default that reads back.
func TestPragmaKeys(t *testing.T) {
	for _, k := range config.PragmaKeys() {
		switch d, err := haresources.ParseDuration(k.Default); {
		case k.Explain == "":
			t.Errorf("%s has no explanation", k.Name)
		case k.Default == "auto", k.Kind == "number", k.Kind == "check", k.Kind == "place":
		case strings.Contains(k.Kind, "|"):
			if !slices.Contains(strings.Split(k.Kind, "|"), k.Default) {
				t.Errorf("%s: the default %q is none of %s", k.Name, k.Default, k.Kind)
			}
		case k.Kind != "time" || err != nil || d <= 0:
			t.Errorf("%s: default %q, %v", k.Name, k.Default, err)
		}
	}
}

// FuzzHaCf: no input panics, and every fault lies inside the file.
func FuzzHaCf(f *testing.F) {
	dirs, err := filepath.Glob(filepath.Join(cases, "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, dir := range dirs {
		f.Add([]byte(extra(dir, "ha.cf")))
	}
	dir := f.TempDir()
	for name, text := range map[string]string{"haresources": "alpha 10.20.0.100 apache2\n", "authkeys": "auth 1\n1 sha1 Kv9x-fixture-2f81c7d4\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	path := filepath.Join(dir, "ha.cf")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, faults := config.Load(dir, config.WithNode("alpha"))
		lines := strings.Split(string(data), "\n")
		for _, fault := range faults {
			if fault.File != path {
				continue
			}
			if fault.Line < 0 || fault.Line > len(lines) || fault.Line == 0 && fault.Col > 0 {
				t.Errorf("outside the file: %v", fault)
			} else if fault.Line > 0 && (fault.Col < 0 || fault.Col > len(lines[fault.Line-1])+1) {
				t.Errorf("outside the line of %d bytes: %v", len(lines[fault.Line-1]), fault)
			}
			if strings.ContainsAny(fault.Error(), "\x00\x1b\n") {
				t.Errorf("control character in %q", fault.Error())
			}
		}
		if faults.Err() != nil {
			return
		}
		if len(c.Links) == 0 || len(c.Nodes) == 0 || c.Keys == nil || 2*c.Keepalive >= c.Deadtime || c.Initdead < c.Deadtime || c.Warntime <= 0 {
			t.Errorf("accepted: %+v", c)
		}
		for _, l := range c.Links {
			if l.ID == "" || (l.Kind == "serial") != (l.Baud > 0) || (l.Kind == "serial") != (l.Port == 0) {
				t.Errorf("accepted: %+v", l)
			}
		}
	})
}

// TestBounds: files that are something else entirely end in a few faults, not in as many as they have lines.
func TestBounds(t *testing.T) {
	const head = "auto_failback on\nnode alpha beta\nbcast eth0\n"
	for name, tt := range map[string]struct{ text, want string }{
		"faults": {strings.Repeat("xyzzy 1\n", 20000), "more than 500 faults: the rest is not read (is this the right file?)"},
		"links":  {head + "bcast " + numbered("nic", 70), "more than 64 links"},
		"pings":  {head + "ping " + numbered("gw", 120), "122 nodes and ping nodes: at most 100"},
		"name":   {head + "node " + strings.Repeat("x", 120), "a node name of 120 characters"},
	} {
		_, faults := config.Load(directory(t, map[string]string{"ha.cf": tt.text}), config.WithNode("alpha"))
		if len(faults) > 600 || faults.Err() == nil || !strings.Contains(faults.Error(), tt.want) {
			t.Errorf("%s: %d faults, none says %s", name, len(faults), tt.want)
		}
	}
}

// numbered is prefix0 prefix1 … on one line.
func numbered(prefix string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s%d ", prefix, i)
	}
	return b.String() + "\n"
}

func TestFencingLevelsAndWatchdogTimeout(t *testing.T) {
	load := func(text string) *config.Config {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "ha.cf"), []byte("node alpha beta\nbcast eth0\n"+text), 0o600)
		c, _ := config.Load(dir, config.WithNode("alpha"))
		return c
	}
	types := func(c *config.Config) string {
		var levels []string
		for _, level := range c.FencingLevels() {
			var names []string
			for _, d := range level {
				names = append(names, d.Type)
			}
			levels = append(levels, strings.Join(names, "+"))
		}
		return strings.Join(levels, " ")
	}
	for text, want := range map[string]string{
		"":                      "",
		"stonith_host beta a x": "",
		"stonith_host * a x\nstonith b f\nstonith_host alpha c x\nstonith_host beta d x":                                                           "c",
		"stonith_host * a x\n#hapair: fence-level=2\nstonith b f\nstonith_host alpha c x\n#hapair: fence-level=1\nstonith_host * d x\nstonith e g": "a+d+e b+c",
	} {
		if got := types(load(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]time.Duration{
		"deadtime 10": 0, "watchdog /dev/w\ndeadtime 30": 29 * time.Second, "watchdog /dev/w\ndeadtime 3": 2 * time.Second,
		"watchdog /dev/w\ndeadtime 4500ms": 3 * time.Second, "watchdog /dev/w\ndeadtime 200ms": 2 * time.Second,
	} {
		if got := load(text).WatchdogTimeout(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
