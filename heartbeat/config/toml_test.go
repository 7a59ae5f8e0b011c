package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

const goodKeys = "auth 1\n1 sha1 Kv9x-fixture-2f81c7d4\n"

// leastTOML is as little as a pair needs.
const leastTOML = "nodes = [\"alpha\", \"beta\"]\n[link.eth1]\nkind = \"bcast\"\n[link.cable]\nkind = \"serial\"\ndevice = \"/dev/ttyS0\"\nbaud = 115200\n"

// loadTOML reads a heartbeat.toml as alpha.
func loadTOML(t testing.TB, text string) (*config.Config, fault.List) {
	t.Helper()
	return config.Load(write(t, map[string]string{"heartbeat.toml": text, "authkeys": goodKeys}), config.WithNode("alpha"))
}

// TestTOMLNeedsUnits: a bare number is never a time, and what was probably meant is in the hint.
func TestTOMLNeedsUnits(t *testing.T) {
	for value, want := range map[string]string{
		`10`: `write deadtime = "10s" for seconds`, `1.5`: `write deadtime = "1.5s"`, `"10"`: `write "10s" for seconds`, `true`: "with its unit",
		`"soon"`: "with its unit", `"-3s"`: "with its unit", `["3s"]`: "with its unit", `"500y"`: "with its unit", `"99999h"`: "at most",
	} {
		_, faults := loadTOML(t, "deadtime = "+value+"\n"+leastTOML)
		if !strings.Contains(faults.Error(), "heartbeat.toml:1:12: error: deadtime") || !strings.Contains(faults.Error(), want) {
			t.Errorf("%s: %v", value, faults)
		}
	}
	for value, want := range map[string]time.Duration{`"10s"`: 10 * time.Second, `"1.5s"`: 1500 * time.Millisecond, `"4000ms"`: 4 * time.Second, `"1m5s"`: 65 * time.Second} {
		c, faults := loadTOML(t, "deadtime = "+value+"\nkeepalive = \"200ms\"\n"+leastTOML)
		if faults.Err() != nil || c.Deadtime != want {
			t.Errorf("%s: %v, %v", value, c.Deadtime, faults)
		}
	}
}

// TestTOMLOnlyOneForm: two forms beside each other are an error, whichever order they came in.
func TestTOMLOnlyOneForm(t *testing.T) {
	files := map[string]string{"heartbeat.toml": leastTOML, "authkeys": goodKeys, "ha.cf": "node alpha beta\nbcast eth1\n", "haresources": ""}
	_, faults := config.Load(write(t, files), config.WithNode("alpha"))
	if faults.Err() == nil || !strings.Contains(faults.Error(), "there is also ha.cf, and only one of the two can count") {
		t.Error(faults)
	}
	delete(files, "ha.cf")
	_, faults = config.Load(write(t, files), config.WithNode("alpha"))
	if faults.Err() != nil || !strings.Contains(faults.Error(), "haresources stands beside it and is not read") {
		t.Error(faults)
	}
}

// TestTOMLKeysElsewhere: authkeys at another path, and handed over by systemd.
func TestTOMLKeysElsewhere(t *testing.T) {
	secret := write(t, map[string]string{"pair-keys": goodKeys})
	load := func(where string) (*config.Config, fault.List) {
		return config.Load(write(t, map[string]string{"heartbeat.toml": "authkeys = \"" + where + "\"\n" + leastTOML}), config.WithNode("alpha"))
	}
	if c, faults := load(filepath.Join(secret, "pair-keys")); faults.Err() != nil || c.Keys == nil {
		t.Error(faults)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, faults := load("credential:pair-keys"); !strings.Contains(faults.Error(), "heartbeat.toml:1:12: error: ") || !strings.Contains(faults.Error(), "LoadCredential=pair-keys") {
		t.Error(faults)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", secret)
	if c, faults := load("credential:pair-keys"); faults.Err() != nil || c.Keys == nil {
		t.Error(faults)
	}
	if err := os.Chmod(filepath.Join(secret, "pair-keys"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, faults := load("credential:pair-keys"); faults.Err() == nil {
		t.Error("keys that everybody can read were accepted")
	}
}

// TestTOMLBounds: files that are something else entirely end in few faults, and none ends the program.
func TestTOMLBounds(t *testing.T) {
	for name, text := range map[string]string{
		"long": strings.Repeat("[", 2<<20), "deep": "x = " + strings.Repeat("[", 50000), "broken": strings.Repeat("a b\n", 5000), "binary": "\x00\x01\xff\xfe",
	} {
		_, faults := loadTOML(t, text)
		if faults.Err() == nil || len(faults) > 30 {
			t.Errorf("%s: %d faults", name, len(faults))
		}
	}
	var many strings.Builder
	many.WriteString(leastTOML + "[group.web]\nnode = \"alpha\"\nresources = [\n")
	for i := range 10000 {
		fmt.Fprintf(&many, "\"10.%d.%d.%d/8/eth0\",\n", i/62500, i/250%250, i%250+1)
	}
	if c, faults := loadTOML(t, many.String()+"]\n"); faults.Err() != nil || len(c.Table.Groups[0].Resources) != 10000 {
		t.Errorf("%d groups, %v", len(c.Table.Groups), faults.Err())
	}
}

// TestTOMLFailback: unlike in ha.cf, nothing said means off.
func TestTOMLFailback(t *testing.T) {
	c, faults := loadTOML(t, leastTOML)
	if faults.Err() != nil || c.AutoFailback != config.FailbackOff || len(faults) > 1 {
		t.Errorf("%s, %v", c.AutoFailback, faults)
	}
}

// TestTOMLGroupNames: a group is called what its table is called, not by its first resource.
func TestTOMLGroupNames(t *testing.T) {
	c, faults := loadTOML(t, leastTOML+"[group.web]\nnode = \"beta\"\nresources = [\"10.20.0.100/24/eth0\",\n  \"apache2\"]\nstart_timeout = \"90s\"\n[group.web.resource.apache2]\nstart_timeout = \"5s\"\n")
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	g, found := c.Table.Group("web")
	if !found || g.Preferred != "beta" || len(g.Resources) != 2 || g.Resources[1].Line != 11 || g.Resources[1].Col != 4 {
		t.Errorf("%+v", c.Table)
	}
	for i, want := range []string{"1m30s", "5s"} {
		if got := g.Pragma("start-timeout", g.Resources[i]); got != want {
			t.Errorf("start-timeout of %s is %s, want %s", g.Resources[i].Spec, got, want)
		}
	}
}

// TestTOMLDuplicateResources: what two groups would both start is found although their names differ.
func TestTOMLDuplicateResources(t *testing.T) {
	_, faults := loadTOML(t, leastTOML+"[group.a]\nnode = \"beta\"\nresources = [\"10.20.0.100\"]\n[group.b]\nnode = \"alpha\"\nresources = [\"10.20.0.100/24\"]\n")
	if !strings.Contains(faults.Error(), `heartbeat.toml:13:15: warning: "10.20.0.100/24" also stands at 10:15`) {
		t.Error(faults)
	}
}

// FuzzTOML: no input panics, every fault lies inside the file, the scanner finds what the library finds, and what is accepted makes sense.
func FuzzTOML(f *testing.F) {
	dirs, err := filepath.Glob(filepath.Join(cases, "*"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(leastTOML))
	for _, dir := range dirs {
		if text := extra(dir, "heartbeat.toml"); text != "" {
			f.Add([]byte(text))
		} else if out, err := config.Convert(copyFiles(f, dir)); err == nil {
			f.Add(out.Text)
		}
	}
	for _, text := range []string{"a.b.\"c d\".'e' = {x = [1, \"]\", '''\n}''', {y = 2}], z = \"\\\"\"}\n[[p.q]]\nr = 1\n", "x = \"\"\"a\\\"\"\"b\"\"\"\"\n", "[link]\neth0 = 3\n", "[[link]]\nkind = \"bcast\"\n"} {
		f.Add([]byte(text))
	}
	dir := write(f, map[string]string{"authkeys": goodKeys})
	path := filepath.Join(dir, "heartbeat.toml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, faults := config.Load(dir, config.WithNode("alpha"))
		text := strings.TrimPrefix(string(data), "\xef\xbb\xbf")
		lines := strings.Split(text, "\n")
		for _, fault := range faults {
			if fault.Line < 0 || fault.Line > len(lines) || fault.Line == 0 && fault.Col > 0 {
				t.Errorf("outside the file: %v", fault)
			} else if fault.Line > 0 && (fault.Col < 0 || fault.Col > len(lines[fault.Line-1])+2) {
				t.Errorf("outside the line of %d bytes: %v", len(lines[fault.Line-1]), fault)
			}
			if strings.ContainsAny(fault.Error(), "\x00\x1b\n") {
				t.Errorf("control character in %q", fault.Error())
			}
		}
		if lost := config.Misplaced(text); len(lost) > 0 {
			t.Errorf("scanner and library differ: %q", lost)
		}
		if faults.Err() != nil {
			return
		}
		if len(c.Links) == 0 || len(c.Nodes) == 0 || c.Keys == nil || 2*c.Keepalive >= c.Deadtime || c.Initdead < c.Deadtime || c.Warntime <= 0 {
			t.Errorf("accepted: %+v", c)
		}
		for _, g := range c.Table.Groups {
			if g.Name == "" || len(g.Resources) == 0 {
				t.Errorf("accepted: %+v", g)
			}
		}
	})
}
