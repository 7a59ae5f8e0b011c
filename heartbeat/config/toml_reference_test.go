package config_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hapair/haresources"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

const reference = "../../ha.d/heartbeat.toml.reference"

// uncommented is the reference with every setting in force: what stands directly behind a # is one, what stands behind a blank explains.
func uncommented(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^#([^ #\n])`).ReplaceAllString(string(data), "$1")
}

// TestReference: with every key in force the reference is a good configuration.
func TestReference(t *testing.T) {
	dir := write(t, map[string]string{"heartbeat.toml": uncommented(t), "authkeys": "auth 1\n1 sha1 Kv9x-fixture-2f81c7d4\n"})
	for _, node := range []string{"alpha", "beta"} {
		c, faults := config.Load(dir, config.WithNode(node))
		for _, f := range faults {
			if f.Severity > fault.Notice {
				t.Error(f)
			}
		}
		if len(c.Links) != 8 || len(c.Pings) != 2 || len(c.Table.Groups) != 1 || len(c.Checks) != 1 || len(c.Respawn) != 1 || len(c.Stoniths) != 1 {
			t.Errorf("%d links, %d pings, %d groups, %d checks: %+v", len(c.Links), len(c.Pings), len(c.Table.Groups), len(c.Checks), c)
		}
	}
}

// TestReferenceDefaults: what the reference shows as a default is one.
func TestReferenceDefaults(t *testing.T) {
	const least = "nodes = [\"alpha\", \"beta\"]\n[link.eth1]\nkind = \"bcast\"\n"
	load := func(text string) *config.Config {
		c, faults := config.Load(write(t, map[string]string{"heartbeat.toml": text, "authkeys": "auth 1\n1 sha1 Kv9x-fixture-2f81c7d4\n"}), config.WithNode("alpha"))
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	plain := load(least)
	all := uncommented(t)
	for _, key := range []string{"cluster", "keepalive", "warntime", "deadtime", "initdead", "deadping", "auto_failback", "failback_delay", "retry_failed",
		"damping_moves", "damping_window", "start_policy", "ipfail", "lease", "mirror", "metrics", "hook_timeout", "port"} {
		line := regexp.MustCompile(`(?m)^` + key + ` = .*$`).FindString(all)
		if d := config.Differences(plain, load(line+"\n"+least)); line == "" || len(d) > 0 && !(key == "cluster" || strings.HasPrefix(d[0], "the raw value")) {
			t.Errorf("%s: %q is not what holds without it: %v", key, line, d)
		}
	}
	for _, table := range []string{"host", "wire", "fencing"} {
		lines := regexp.MustCompile(`(?ms)^\[` + table + `\]\n.*?\n\n`).FindString(all)
		if d := config.Differences(plain, load(least+lines)); lines == "" || len(d) > 0 && !strings.HasPrefix(d[0], "the raw value") {
			t.Errorf("[%s]: %q is not what holds without it: %v", table, lines, d)
		}
	}
}

// TestReferenceIsComplete: the reference explains every key that there is, and nothing else.
func TestReferenceIsComplete(t *testing.T) {
	var there []string
	table := ""
	for line := range strings.Lines(uncommented(t)) {
		if m := regexp.MustCompile(`^\[(.*)\]`).FindStringSubmatch(line); m != nil {
			table = pattern(m[1]) + "."
		} else if m := regexp.MustCompile(`^(\w+) =`).FindStringSubmatch(line); m != nil {
			key := table + m[1]
			if table == "env." {
				key = "env.NAME"
			}
			there = append(there, key)
		}
	}
	keys := config.TOMLKeys()
	if len(keys) < 80 {
		t.Errorf("only %d keys: %v", len(keys), keys)
	}
	for _, k := range keys {
		if !slices.Contains(there, k) {
			t.Errorf("%s is not in the reference", k)
		}
	}
	for _, k := range there {
		if !slices.Contains(keys, k) {
			t.Errorf("%s is in the reference, but is not known", k)
		}
	}
}

// pattern puts NAME in place of the names of the administrator's choice.
func pattern(table string) string {
	table = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(table, "quoted")
	parts := strings.Split(table, ".")
	for i := range parts {
		if i > 0 && slices.Contains([]string{"link", "ping", "group", "resource", "check", "device", "client", "apiauth"}, parts[i-1]) {
			parts[i] = "NAME"
		}
	}
	return strings.Join(parts, ".")
}

// TestEveryPragmaHasAKey: what pragmas say in the three files, heartbeat.toml says too.
func TestEveryPragmaHasAKey(t *testing.T) {
	keys := config.TOMLKeys()
	for _, k := range config.PragmaKeys() {
		name := strings.ReplaceAll(k.Name, "-", "_")
		short, fencing := strings.CutPrefix(name, "fence_")
		switch {
		case name == "check":
			name = "check.NAME.program"
		case name == "fence_level":
			name = "fencing.device.NAME.level"
		case fencing:
			name = "fencing." + short
		}
		if !slices.Contains(keys, name) {
			t.Errorf("no key %s for the pragma %s", name, k.Name)
		}
	}
	for _, k := range haresources.PragmaKeys() {
		name := strings.ReplaceAll(k.Name, "-", "_")
		if !slices.Contains(keys, "group.NAME."+name) || k.Scoped != slices.Contains(keys, "group.NAME.resource.NAME."+name) {
			t.Errorf("no key, or in the wrong places, for the pragma %s", k.Name)
		}
	}
}
