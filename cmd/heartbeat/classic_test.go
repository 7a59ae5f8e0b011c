package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/daemon"
)

// writePid makes this very process look like a running daemon.
func writePid(t *testing.T, run string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(run, "heartbeat.pid"), fmt.Appendf(nil, "%11d\n", os.Getpid()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestGetopt(t *testing.T) {
	tests := []struct {
		args    string
		letters string // given, in order of the specification
		c       string
		rest    string
		err     string
	}{
		{"", "", "", "", ""},
		{"-dfd", "ddf", "", "", ""},
		{"-R -C local", "RC", "local", "", ""},
		{"-RClocal", "RC", "local", "", ""},
		{"-s word -- -k", "s", "", "word -k", ""},
		{"-x", "", "", "", "invalid option -- 'x'"},
		{"-:", "", "", "", "invalid option -- ':'"},
		{"-RC", "", "", "", "option requires an argument -- 'C'"},
	}
	for _, tt := range tests {
		o, err := getopt(classicOptions, strings.Fields(tt.args))
		if fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
			t.Errorf("%q: error %v, want %q", tt.args, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		letters := ""
		for _, l := range []byte(classicOptions) {
			letters += strings.Repeat(string(l), o.given[l])
		}
		if letters != tt.letters || o.value['C'] != tt.c || strings.Join(o.rest, " ") != tt.rest {
			t.Errorf("%q: %q, C=%q, rest %q", tt.args, letters, o.value['C'], o.rest)
		}
	}
}

func TestClassicOptions(t *testing.T) {
	stopped, stale, running := t.TempDir(), t.TempDir(), t.TempDir()
	os.WriteFile(filepath.Join(stale, "heartbeat.pid"), []byte("    4194999\n"), 0o644)
	writePid(t, running)
	uname, _ := (&app{}).names()
	tests := []struct {
		run, args string
		code      int
		out, err  string
	}{
		{stopped, "-V", 0, "3.0.6 (node: 958e11be8686759f1b99204c17812f2c2633b169)\n", ""},
		{stopped, "-s", 3, "heartbeat is stopped. No process\n", ""},
		{stale, "-s", 1, "heartbeat is stopped. No process\n", ""},
		{running, "-s", 0, "heartbeat OK [pid PID et al] is running on " + uname + " [" + uname + "]...\n", ""},
		{stopped, "-k", 0, "", "INFO: Heartbeat already stopped.\n"},
		{stopped, "-R", 6, "", "ERROR: heartbeat is not running.\n"},
		{running, "-R -C local", 1, "", "ERROR: Heartbeat already running [pid PID].\n"},
		{stopped, "-C local", 2, "", classicUsage},
		{stopped, "-R -C some", 2, "", classicUsage},
		{stopped, "-r -R", 2, "", classicUsage},
		{stopped, "-s extra", 2, "", classicUsage},
		{stopped, "-x", 2, "", "heartbeat: invalid option -- 'x'\n" + classicUsage},
		{running, "-f", 0, "", "heartbeat: already running [pid PID].\n"},
	}
	for _, tt := range tests {
		code, out, err := call(t, tt.run, append([]string{"heartbeat"}, strings.Fields(tt.args)...)...)
		if code != tt.code || out != tt.out || err != tt.err {
			t.Errorf("heartbeat %s: %d, %q, %q; want %d, %q, %q", tt.args, code, out, err, tt.code, tt.out, tt.err)
		}
	}
	if code, _, err := call(t, running, "heartbeat"); code != 0 || err != "heartbeat: already running [pid PID].\n" {
		t.Errorf("heartbeat without options: %d, %q", code, err)
	}
}

func TestClassicDefaults(t *testing.T) {
	code, out, _ := call(t, t.TempDir(), "heartbeat", "-D")
	for _, want := range []string{"keepalive 1000ms\n", "deadtime 30000ms\n", "auto_failback legacy\n"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("-D: %d, %q lacks %q", code, out, want)
		}
	}
	if _, out, _ := call(t, t.TempDir(), "heartbeat", "-W"); !strings.HasPrefix(out, "||") {
		t.Errorf("-W: %q", out)
	}
}

func TestClassicReloadRefusesABadFile(t *testing.T) {
	run := t.TempDir()
	writePid(t, run)
	code, _, err := call(t, run, "heartbeat", "-r")
	if code != 1 || !strings.Contains(err, "INFO: Config errors: Heartbeat pid PID NOT restarted\n") {
		t.Errorf("-r with an empty directory: %d, %q", code, err)
	}
}

func TestHbStandbyAndTakeover(t *testing.T) {
	f := startFake(t)
	date := time.Now().Format("Jan _2 15:04")
	code, out, _ := call(t, f.run, "hb_standby")
	if code != 0 || !strings.HasPrefix(out, date) || !strings.HasSuffix(out, " Going standby [all].\n") {
		t.Errorf("hb_standby: %d, %q", code, out)
	}
	if code, out, err := call(t, f.run, "hb_takeover", "local"); code != 0 || out+err != "" {
		t.Errorf("hb_takeover local: %d, %q, %q", code, out, err)
	}
	call(t, f.run, "hb_standby", "failback")
	if got := f.requests(); got != "standby all; takeover local; standby failback" {
		t.Errorf("asked for %s", got)
	}
	for args, want := range map[string]string{
		"hb_standby sideways":  "hb_standby: wrong resources(sideways).\nusage: ",
		"hb_standby local all": "hb_standby: too many arguments\nusage: ",
		"hb_takeover --help":   "usage: hb_takeover",
	} {
		if code, out, _ := call(t, f.run, strings.Fields(args)...); code != 1 || !strings.HasPrefix(out, want) {
			t.Errorf("%s: %d, %q, want 1 and %q", args, code, out, want)
		}
	}
	f.mu.Lock()
	f.refuse = "beta is not there (dead): nobody could take over or give"
	f.mu.Unlock()
	if code, out, err := call(t, f.run, "hb_standby"); code != 1 || out != "" || !strings.Contains(err, "beta is not there") {
		t.Errorf("a refused hb_standby: %d, %q, %q", code, out, err)
	}
}

func TestUnsupportedToolsSayWhy(t *testing.T) {
	for _, name := range []string{"hb_addnode", "hb_delnode", "hb_setweight", "hb_setsite", "ha_propagate"} {
		code, out, err := call(t, t.TempDir(), name, "gamma")
		if code != 1 || out != "" || !strings.HasPrefix(err, name+": not supported: ") {
			t.Errorf("%s: %d, %q, %q", name, code, out, err)
		}
	}
}

func TestSubCommands(t *testing.T) {
	f := startFake(t)
	tests := []struct {
		args string
		code int
		out  string
	}{
		{"standby", 0, "Going standby [all].\n"},
		{"takeover foreign", 0, "Taking over [foreign].\n"},
		{"move mail", 0, "Moving mail.\n"},
		{"resource cleanup mail", 0, "mail may be tried on this node again.\n"},
		{"reload", 0, "The configuration was read again and is in force.\n"},
		{"stop --no-wait --keep-resources", 0, ""},
		{"standby sideways", 2, ""},
		{"standby all local", 2, ""},
		{"nonsense", 2, ""},
		{"wait --for nothing", 2, ""},
		{"run --log nowhere", 2, ""},
		{"version", 0, "hapair " + daemon.Version + " (behaves as Linux-HA Heartbeat 3.0.6)\n"},
	}
	for _, tt := range tests {
		if code, out, err := call(t, f.run, append([]string{"heartbeat"}, strings.Fields(tt.args)...)...); code != tt.code || out != tt.out {
			t.Errorf("heartbeat %s: %d, %q, %q; want %d, %q", tt.args, code, out, err, tt.code, tt.out)
		}
	}
	if got := f.requests(); got != "standby all; takeover foreign; move mail; cleanup mail; reload; quit" {
		t.Errorf("asked for %s", got)
	}
	for _, args := range []string{"status", "standby", "takeover", "move x", "reload", "stop", "wait --timeout 50ms", "wait --timeout 0.05"} {
		if code, _, err := call(t, t.TempDir(), append([]string{"heartbeat"}, strings.Fields(args)...)...); code != 3 || !strings.Contains(err, "heartbeat is not running") {
			t.Errorf("heartbeat %s without a daemon: %d, %q", args, code, err)
		}
	}
}

func TestWait(t *testing.T) {
	f := startFake(t)
	check := func(what string, want int) {
		t.Helper()
		if code, _, err := call(t, f.run, "heartbeat", "wait", "--for", what, "--timeout", "100ms"); code != want {
			t.Errorf("wait --for %s: %d (%s), want %d", what, code, err, want)
		}
	}
	check("active", 0)
	check("standby", 1)
	check("stable", 0)
	f.change(func(s *daemon.Status) { s.Groups[1].Owner = "" })
	check("stable", 1)
	f.change(func(s *daemon.Status) { s.Groups[1].Owner, s.State = "beta", "transition" })
	check("stable", 1)
	f.change(func(s *daemon.Status) { s.State, s.Peer.State = "standby", "unknown" })
	check("stable", 1)
	check("standby", 0)
}
