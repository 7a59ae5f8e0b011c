package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/haresources/agent"
)

func TestCheckScripts(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/apache2", "")
	n.script(t, "init.d/mysqld", "")
	n.script(t, "init.d/open", "")
	if err := os.Chmod(filepath.Join(n.env.Paths.InitDir, "open"), 0o757); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/mnt/shared/start", filepath.Join(n.env.Paths.ResourceDir, "onmount")); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(n.env.Paths.ResourceDir, "plain"), nil, 0o644)
	for spec, want := range map[string]string{
		"apache2":            "",
		"mysqld::x":          "",
		"lsb:mysqld":         "",
		"apache":             "error: apache: cannot locate resource script apache in " + n.env.Paths.ResourceDir + " or " + n.env.Paths.InitDir + " (did you mean apache2?)",
		"lsb:apache2":        "error: lsb:apache2: cannot locate resource script apache2 in " + n.env.Paths.InitDir,
		"IPAddr2::10.0.0.1":  "(did you mean IPaddr2?)",
		"plain":              "is not executable",
		"onmount":            "warning: onmount: " + n.env.Paths.ResourceDir + "/onmount points to /mnt/shared/start, which is not there now",
		"open":               "/open may be changed by everybody (mode 0757), and it runs as root (chmod o-w ",
		"10.0.0.1/24/eth0:0": "",
	} {
		got := agent.Check(resource(t, spec), n.env)
		if want == "" && len(got) > 0 || !strings.Contains(got.Error(), want) {
			t.Errorf("%s: %v, want %s", spec, got, want)
		}
	}
}

func TestCheckPrograms(t *testing.T) {
	n := newSite(t)
	n.script(t, "hooks/peer-lost.d/10-mail", "")
	n.script(t, "hooks/peer-lots.d/10-mail", "")
	n.script(t, "hooks/stray", "")
	n.script(t, "rc.d/status", "mach_down $HA_src\n")
	n.script(t, "rc.d/mine", "")
	os.WriteFile(filepath.Join(n.env.Paths.HooksDir, "peer-lost.d", "20-plain"), nil, 0o644)
	got := agent.CheckPrograms(n.env)
	var lines []string
	for _, f := range got {
		lines = append(lines, strings.TrimPrefix(f.Error(), n.env.Paths.Dir+"/"))
	}
	want := []string{
		"hooks/peer-lost.d/20-plain: warning: hook " + n.env.Paths.HooksDir + "/peer-lost.d/20-plain is not executable: not run (chmod +x " + n.env.Paths.HooksDir + "/peer-lost.d/20-plain)",
		"hooks/peer-lots.d: warning: not the directory of an event: nothing in it is run (did you mean peer-lost.d?)",
		"hooks/stray: warning: not the directory of an event: nothing in it is run (the events are pre-acquire,",
		"rc.d/status: notice: not run: it calls mach_down, which the daemon does itself (put additions of your own into hooks/)",
	}
	if len(lines) != len(want) {
		t.Fatalf("faults %q", lines)
	}
	for i := range want {
		if !strings.HasPrefix(lines[i], want[i]) {
			t.Errorf("fault %q\nwant  %q", lines[i], want[i])
		}
	}
}
