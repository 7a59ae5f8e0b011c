// Package packages_test tries the packages that `make deb rpm` builds.
package packages_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/probe"
	"hapair/heartbeat/rehearsal/require"
)

// TestMain has the test binary be the client of the life-cycle test when it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "client" {
		if err := client(os.Args[1], os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// client asks an address each millisecond until the file stop is there, and then tells how many questions were answered. It makes the file
// ready once somebody answers.
func client(address, stop, ready string) error {
	target, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	clock := probe.NewClock()
	ask := func() (*probe.Echo, error) {
		return probe.StartEcho(func(f func() error) error { return f() }, clock, []netip.Addr{target})
	}
	wait := func(what string, there func() bool) error {
		for end := time.Now().Add(2 * time.Minute); !there(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				return fmt.Errorf("%s: still waiting for %s", address, what)
			}
		}
		return nil
	}
	first, err := ask()
	if err != nil {
		return err
	}
	err = wait("an answer", func() bool { return len(first.Answers(target)) > 0 })
	first.Stop()
	if err != nil {
		return err
	}
	echo, err := ask() // from here on every question has to be answered
	if err != nil {
		return err
	}
	from := clock.Now()
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		return err
	}
	if err := wait(stop, func() bool { _, err := os.Stat(stop); return err == nil }); err != nil {
		return err
	}
	echo.SetPeriod(time.Hour)
	time.Sleep(500 * time.Millisecond) // for the last answers
	sends, answers := echo.Sends(), echo.Answers(target)
	gap := probe.LongestGap(answers, sends, probe.EchoPeriod, probe.Span{From: from, To: sends[len(sends)-1]})
	fmt.Printf("asked %d answered %d times, the longest time without an answer was %v\n", len(sends), len(answers), gap.Outage().Round(100*time.Microsecond))
	return nil
}

// from is the commit that the first packages were built from, for the others to be built from the same.
var (
	builtFrom sync.Once
	from      string
)

// build makes packages of a version in a directory and returns their files.
func build(t *testing.T, dir, version string, umask string, environment ...string) (deb, rpm string) {
	t.Helper()
	for _, tool := range []string{"make", "dpkg-deb", "gzip"} {
		require.Tool(t, tool, "the packages")
	}
	// The commit, as a build finds it, unless somebody commits in between.
	commit := "COMMIT=test"
	if out, err := exec.Command("git", "log", "-1", "--format=%h SOURCE_DATE_EPOCH=%ct").Output(); err == nil {
		builtFrom.Do(func() { from = "COMMIT=" + strings.TrimSpace(string(out)) })
		commit = from
	}
	cmd := exec.Command("sh", "-c", "umask "+umask+"; exec make -s -C ../.. deb rpm DIST="+dir+" VERSION="+version+" PACKAGE_VERSION="+version+" "+commit)
	cmd.Env = append(os.Environ(), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make deb rpm: %v\n%s", err, out)
	}
	one := func(pattern string) string {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		if len(found) != 1 {
			t.Fatalf("%s: %q", pattern, found)
		}
		return found[0]
	}
	return one("*.deb"), one("*.rpm")
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// say runs a program and returns what it prints.
func say(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// consider looks at every file that goes into a package, so that a result of go test's cache is not taken for one of today's files.
func consider(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // it has just gone
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "bin" || entry.Name() == "dist"):
			return fs.SkipDir
		}
		os.Stat(path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPackages builds the packages twice, compares them, looks into them, and lets them live on a machine with systemd.
func TestPackages(t *testing.T) {
	consider(t)
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c", "machine"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	oldDeb, oldRPM := build(t, filepath.Join(dir, "a"), "1.0.0", "022", "TZ=UTC", "LANG=C")
	againDeb, againRPM := build(t, filepath.Join(dir, "b"), "1.0.0", "077", "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8")
	for _, pair := range [][2]string{{oldDeb, againDeb}, {oldRPM, againRPM}} {
		if !bytes.Equal(read(t, pair[0]), read(t, pair[1])) {
			t.Errorf("%s is another one when it is built again", filepath.Base(pair[0]))
		}
	}
	t.Run("contents", func(t *testing.T) { contents(t, oldDeb) })
	newDeb, newRPM := build(t, filepath.Join(dir, "c"), "1.0.1", "022")
	machine := filepath.Join(dir, "machine")
	for name, from := range map[string]string{"old.deb": oldDeb, "new.deb": newDeb, "old.rpm": oldRPM, "new.rpm": newRPM, "inside": "../../testdata/package/lifecycle"} {
		if _, err := exec.LookPath("rpm"); strings.HasSuffix(name, ".rpm") && err != nil {
			t.Run(name, func(t *testing.T) { require.Skip(t, "installing the rpm, which was built", err.Error()) })
			continue
		}
		install(t, from, filepath.Join(machine, name))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	install(t, self, filepath.Join(machine, "client"))
	say(t, "dpkg-deb", "-x", oldDeb, filepath.Join(machine, "old"))
	if err := os.WriteFile(filepath.Join(machine, "new.version"), []byte("1.0.1"), 0o600); err != nil {
		t.Fatal(err)
	}
	lifecycle(t, machine)
}

func install(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, read(t, from), 0o755); err != nil {
		t.Fatal(err)
	}
}

// lifecycle runs the script of that name in a machine to throw away.
func lifecycle(t *testing.T, machine string) {
	cmd := exec.Command("timeout", "-k", "5", "400", "../../testdata/package/machine", machine)
	out, err := cmd.CombinedOutput()
	log, _ := os.ReadFile(filepath.Join(machine, "log"))
	switch code := cmd.ProcessState.ExitCode(); {
	case code == 42:
		require.Skip(t, "installing the packages", strings.TrimSpace(string(out)))
	case err != nil || !strings.Contains(string(log), "all passed"):
		console, _ := os.ReadFile(filepath.Join(machine, "console"))
		t.Errorf("exit code %d\n%s\n%s\nthe machine's console:\n%s", code, out, log, console[max(0, len(console)-4000):])
	default:
		t.Logf("%s", log)
	}
}

// contents looks into a deb.
func contents(t *testing.T, deb string) {
	about := say(t, "dpkg-deb", "-f", deb)
	for _, want := range []string{"Package: hapair\n", "Version: 1.0.0-1\n", "Provides: heartbeat\n", "Conflicts: heartbeat\n", "Replaces: heartbeat\n"} {
		if !strings.Contains(about+"\n", want) {
			t.Errorf("its description lacks %q:\n%s", want, about)
		}
	}
	conffiles := strings.Fields(say(t, "dpkg-deb", "-I", deb, "conffiles"))
	slices.Sort(conffiles)
	if got := strings.Join(conffiles, " "); got != "/etc/ha.d/README /etc/ha.d/resource.d/template /etc/init.d/heartbeat /etc/logrotate.d/heartbeat" {
		t.Errorf("its configuration files are %s", got)
	}
	list := say(t, "dpkg-deb", "-c", deb)
	for _, want := range []string{
		"-rwxr-xr-x root/root", " ./usr/libexec/heartbeat/heartbeat\n", " ./usr/sbin/heartbeat -> ../libexec/heartbeat/heartbeat\n",
		" ./usr/bin/cl_status -> ", " ./etc/ha.d/harc -> /usr/libexec/heartbeat/heartbeat\n", " ./usr/lib/systemd/system/heartbeat.service\n",
		" ./usr/lib/sysusers.d/heartbeat.conf\n", " ./usr/share/bash-completion/completions/heartbeat\n", " ./usr/share/zsh/vendor-completions/_heartbeat\n",
		" ./usr/share/fish/vendor_completions.d/heartbeat.fish\n", " ./usr/share/doc/hapair/copyright\n", " ./usr/share/doc/hapair/licenses/github.com/vishvananda/netlink/LICENSE\n", " ./usr/share/man/man8/heartbeat.8.gz\n",
		" ./usr/share/man/man5/heartbeat.toml.5.gz\n", " ./usr/share/man/man1/hb_takeover.1.gz\n", " ./usr/share/heartbeat/hb_standby -> ", " ./var/lib/heartbeat/\n",
		" ./usr/share/heartbeat/monitoring/alerts.yml\n", " ./usr/share/heartbeat/monitoring/grafana-dashboard.json\n", " ./usr/share/doc/hapair/monitoring.md\n",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("it lacks %q in\n%s", want, list)
		}
	}
	for line := range strings.Lines(list) {
		if !strings.Contains(line, " root/root ") || strings.Contains(line, "example/authkeys") && !strings.HasPrefix(line, "-rw------- ") {
			t.Errorf("owner or mode of %s", line)
		}
		if strings.Contains(line, "/etc/ha.d/authkeys") || strings.Contains(line, "/etc/ha.d/ha.cf") || strings.Contains(line, "/etc/ha.d/haresources") {
			t.Errorf("it brings a configuration: %s", line)
		}
	}
	tree := t.TempDir()
	say(t, "dpkg-deb", "-x", deb, tree)
	if got := say(t, filepath.Join(tree, "usr/libexec/heartbeat/heartbeat"), "version"); !strings.HasPrefix(got, "hapair 1.0.0") {
		t.Errorf("its program says %q", got)
	}
}
