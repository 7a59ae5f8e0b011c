package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/haresources"
)

// drbdadmDouble is a test double of the program drbdadm: it has the roles, exit codes and messages of DRBD 8 and 9, and no
// disks. A file "behave" beside it says what happens at the next change of role: nothing, peer-primary, busy or outdated.
const drbdadmDouble = `#!/bin/sh
cd "$(dirname "$0")"
behave=$(cat behave 2>/dev/null)
case "$1 $behave" in
"sh-resources "*) echo r0 data; exit 0;;
esac
[ "$2" = r0 ] || { echo "'$2' not defined in your config (for this host)." >&2; exit 1; }
case "$1 $behave" in
"role down") echo "Could not connect to 'drbd' generic netlink family" >&2; exit 20;;
"role "*) cat role;;
"primary peer-primary"|"primary peer-primary-once")
	[ "$behave" = peer-primary-once ] && rm behave
	echo "r0: State change failed: (-1) Multiple primaries not allowed by config" >&2; exit 11;;
"primary outdated") echo "r0: State change failed: (-2) Need access to UpToDate data" >&2; exit 17;;
"primary "*) echo "Primary$(cat suffix 2>/dev/null)" > role;;
"secondary busy") echo "r0: State change failed: (-12) Device is held open by someone" >&2; exit 11;;
"secondary "*) echo "Secondary$(cat suffix 2>/dev/null)" > role;;
esac
`

// doubleDRBD puts the test double in the place of the program.
func doubleDRBD(t testing.TB, suffix string) (env Environment, behave func(string)) {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	put("drbdadm", drbdadmDouble, 0o755)
	put("suffix", suffix, 0o644)
	put("role", "Secondary"+suffix+"\n", 0o644)
	return Environment{Environ: []string{"PATH=" + dir + ":" + os.Getenv("PATH")}}, func(how string) { put("behave", how, 0o644) }
}

func TestDRBDRolesWithTestDouble(t *testing.T) {
	for _, suffix := range []string{"", "/Secondary", "/Unknown"} {
		env, behave := doubleDRBD(t, suffix)
		d, err := openDRBD(env, resource(t, "drbddisk::r0"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		expect := func(want haresources.State) {
			t.Helper()
			if got, err := d.Status(ctx); got != want {
				t.Fatalf("%q: status %v (%v), not %v", suffix, got, err, want)
			}
		}
		expect(haresources.Stopped)
		behave("peer-primary-once")
		for range 2 {
			if err := d.Start(ctx); err != nil {
				t.Fatal(err)
			}
			expect(haresources.Running)
		}
		for range 2 {
			if err := d.Stop(ctx); err != nil {
				t.Fatal(err)
			}
			expect(haresources.Stopped)
		}
		behave("down")
		expect(haresources.Stopped)
	}
}

func TestDRBDRefusalsWithTestDouble(t *testing.T) {
	env, behave := doubleDRBD(t, "")
	d, err := openDRBD(env, resource(t, "drbddisk::r0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		behave, want string
		do           func(context.Context) error
	}{
		{"peer-primary", "although heartbeat does not", d.Start},
		{"outdated", "not current", d.Start},
		{"busy", "is it mounted", d.Stop},
	} {
		behave(c.behave)
		ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
		if err := c.do(ctx); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", c.behave, err, c.want)
		}
		cancel()
	}
	for spec, want := range map[string]string{"drbddisk::r0": "", "drbddisk::dat": "did you mean data", "drbddisk": ""} {
		d, err := openDRBD(env, resource(t, spec))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.(*drbddisk).Check().Error(); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("check of %s: %q, not %q", spec, got, want)
		}
	}
}
