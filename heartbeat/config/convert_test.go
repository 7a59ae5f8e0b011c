package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

// sources are all directories of three files that this repository holds.
func sources(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(cases, "*"))
	if err != nil || len(dirs) < 50 {
		t.Fatalf("found %d cases, error %v", len(dirs), err)
	}
	dirs = append(dirs, "../../ha.d")
	examples, err := filepath.Glob("../../ha.d/examples/*/ha.cf")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		dirs = append(dirs, filepath.Dir(e))
	}
	return slices.DeleteFunc(dirs, func(dir string) bool { return extra(dir, "ha.cf") == "" || extra(dir, "heartbeat.toml") != "" })
}

// copyFiles copies the files of a case to where their modes are what they should be.
func copyFiles(t testing.TB, dir string) string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"ha.cf", "haresources", "authkeys", "heartbeat.toml"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			files[name] = string(data)
		}
	}
	return write(t, files)
}

// write makes a directory of files that only their owner may read.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestConvertEverything converts every configuration of the repository that can be started from, and reads the result from a directory of
// its own as each node does.
func TestConvertEverything(t *testing.T) {
	converted := 0
	for _, dir := range sources(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			from := copyFiles(t, dir)
			out, err := config.Convert(from)
			if errors.Is(err, config.ErrFaults) {
				if out.Faults.Err() == nil {
					t.Error("refused without an error in the files")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			converted++
			first, _ := config.Load(from)
			for _, node := range first.Nodes {
				want, _ := config.Load(from, config.WithNode(node))
				to := write(t, map[string]string{"heartbeat.toml": string(out.Text), "authkeys": extra(from, "authkeys")})
				got, faults := config.Load(to, config.WithNode(node))
				for _, f := range faults {
					if f.Severity == fault.Error && !strings.HasSuffix(f.File, "authkeys") {
						t.Errorf("%v\n%s", f, out.Text)
					}
				}
				if d := config.Differences(want, got); len(d) > 0 {
					t.Errorf("%s\n%s", strings.Join(d, "\n"), out.Text)
				}
			}
		})
	}
	if converted < 35 {
		t.Errorf("only %d configurations were converted", converted)
	}
}

// TestConvertPragmas: what pragmas say is said, for each node what counts there.
func TestConvertPragmas(t *testing.T) {
	dir := write(t, map[string]string{"authkeys": goodKeys, "ha.cf": `#hapair: failback-delay=20 retry-failed=5m hook-timeout=3s mirror=off lease=off damping-moves=0 damping-window=90
#hapair: start-policy=ask fence-delay=3 fence-timeout=20 fence-action=off
# is the disk well?
#hapair: check=disk:/etc/ha.d/checks/disk,interval=5s,rise=1
#hapair: check=gw:/etc/ha.d/checks/gw,action=tell,fall=9,timeout=1
node alpha beta
auto_failback off
bcast eth1
serial /dev/ttyS0
udpport 700
ucast eth0 10.20.0.2
mcast eth0 239.0.0.1 694 2 1
#hapair: fence-level=2
stonith_host alpha external/rackpdu beta 10.9.0.3 # the plug
stonith_host beta external/rackpdu alpha 10.9.0.3
#hapair: fence-level=1
stonith_host * fence_ipmilan ip=10.9.0.2  password="a  b"
`, "haresources": "# the shop\nalpha 10.20.0.100/24/eth0 Filesystem::/dev/sdb1::/srv::ext4 apache2 #hapair: prefer=availability stop-retries=0 monitor-interval=off stop-timeout=90 " +
		"start-timeout@apache2=1.5 announce-refresh@10.20.0.100/24/eth0=off on-stop-failure=block\n# the mail\nbeta 10.20.0.101 \\\n  postfix\n"})
	out, err := config.Convert(dir)
	if err != nil {
		t.Fatalf("%v\n%v", err, out.Faults)
	}
	for _, want := range []string{"# is the disk well?\n[check.disk]", "mirror = false", `failback_delay = "20s"`, `damping_window = "90s"`, `delay = "3s"`, "level = 2", "# the plug", `node = "beta"`,
		`parameters = "ip=10.9.0.2  password=\"a  b\""`, "# the shop\n[group.\"10.20.0.100/24/eth0\"]", "stop_retries = 0", `monitor_interval = "off"`, `start_timeout = "1.5s"`, "# the mail\n[group.\"10.20.0.101\"]", "port = 700"} {
		if !strings.Contains(string(out.Text), want) {
			t.Errorf("%s is not in\n%s", want, out.Text)
		}
	}
}

// TestConvertRefuses: what heartbeat.toml cannot say is not written, and named.
func TestConvertRefuses(t *testing.T) {
	const head = "node alpha beta\nauto_failback off\nbcast eth1\nserial /dev/ttyS0\n"
	dir := write(t, map[string]string{"authkeys": goodKeys, "haresources": "", "ha.cf": head + "stonith meatware /etc/x\nstonith_host alpha null beta\n"})
	out, err := config.Convert(dir)
	if err == nil || out.Text != nil || !strings.Contains(err.Error(), "file goes with neither parameters nor node") {
		t.Errorf("%v\n%s", err, out.Text)
	}
	var difference *config.DifferenceError
	err = &config.DifferenceError{Node: "alpha", Differences: []string{"Keepalive: 1s there, 2s here"}}
	if !errors.As(err, &difference) || !strings.Contains(err.Error(), "Keepalive: 1s there, 2s here") {
		t.Error(err)
	}
	if _, err := config.Convert(write(t, map[string]string{"heartbeat.toml": leastTOML})); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Error(err)
	}
}

// TestDifferencesAreSeen: a change of any setting is a difference, and none is where the same files are read twice.
func TestDifferencesAreSeen(t *testing.T) {
	base := uncommented(t)
	load := func(text string) *config.Config { c, _ := loadTOML(t, text); return c }
	plain := load(base)
	if d := config.Differences(plain, load(base)); len(d) > 0 {
		t.Errorf("the same files differ: %v", d)
	}
	// What only places or names something: the tables of links, of pings by address, of devices and of clients have names for people.
	changes := 0
	for _, line := range strings.Split(base, "\n") {
		key, value, found := strings.Cut(line, " = ")
		if !found || strings.HasPrefix(key, "#") {
			continue
		}
		var other string
		switch {
		case value == "true":
			other = "false"
		case value == "false":
			other = "true"
		case !strings.ContainsAny(value, `"[`):
			other = value + "1"
		case strings.HasSuffix(value, `s"`) && len(value) < 8:
			other = `"7` + value[1:]
		case strings.HasSuffix(value, `m"`) && len(value) < 8:
			other = `"7` + value[1:]
		default:
			continue
		}
		c, faults := loadTOML(t, strings.Replace(base, "\n"+line+"\n", "\n"+key+" = "+other+"\n", 1))
		if strings.Contains(faults.Error(), "error: "+key) || strings.Contains(faults.Error(), key+" = "+other) {
			continue // not such a value
		}
		changes++
		if d := config.Differences(plain, c); len(d) == 0 {
			t.Errorf("%s = %s instead of %s is no difference", key, other, value)
		}
	}
	if changes < 30 {
		t.Errorf("only %d settings were changed", changes)
	}
}
