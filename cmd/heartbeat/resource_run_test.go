package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script writes a resource script into the daemon's configuration.
func (l *lone) script(name, body string) string {
	l.t.Helper()
	dir := filepath.Join(l.dir.config, "resource.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// comes waits until a command line has this exit code and says this.
func (l *lone) comes(within time.Duration, code int, out string, words ...string) {
	l.t.Helper()
	var gotCode int
	var got string
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if gotCode, got = l.call(words...); gotCode == code && strings.Contains(got, out) {
			return
		}
	}
	l.t.Errorf("%s: %d, %q after %v; want %d, %q", strings.Join(words, " "), gotCode, got, within, code, out)
}

const (
	// stateful runs while a file of its name is there; it cannot be started without the file NAME.ok.
	stateful = `me=$(basename "$0"); for op; do :; done
case $op in
start) [ -e "$HA_DIR/$me.ok" ] || { echo "$me: no disk"; exit 1; }; touch "$HA_DIR/$me.runs";;
stop) rm -f "$HA_DIR/$me.runs";;
status) if [ -e "$HA_DIR/$me.runs" ]; then echo running; else echo stopped; exit 3; fi;;
esac`
	// hanging ignores SIGTERM, has a child that does as well, and never ends.
	hanging = `case $1 in
start) trap '' TERM; (trap '' TERM; sleep 3600) & echo waiting for the disk; wait;;
status) echo stopped; exit 3;;
esac`
	// standing is stopped by a signal.
	standing = `case $1 in
start) kill -STOP $$;;
status) echo stopped; exit 3;;
esac`
	// keeping leaves a process of its own session behind that keeps its output open.
	keeping = `case $1 in
start) setsid sh -c 'echo $$ >"$HA_DIR/keeps.pid"; exec sleep 60' & while [ ! -s "$HA_DIR/keeps.pid" ]; do sleep 0.01; done; exit 0;;
stop) kill $(cat "$HA_DIR/keeps.pid") 2>/dev/null; rm -f "$HA_DIR/keeps.pid";;
status) if [ -s "$HA_DIR/keeps.pid" ]; then echo running; else echo stopped; exit 3; fi;;
esac`
)

// TestScriptsThatMisbehave has a real daemon run scripts that hang in every way, and one that cannot start: each delays its own group only,
// status says what hangs and since when, and what cannot start is not half up, is told, and is tried again.
func TestScriptsThatMisbehave(t *testing.T) {
	l := startLone(t, loneHaCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	l.script("web", stateful)
	l.script("broken", stateful)
	l.script("hangs", hanging)
	l.script("stands", standing)
	l.script("keeps", keeping)
	l.write("web.ok", "")
	l.write("haresources", `alpha 10.77.0.100/24
alpha hangs #hapair: start-timeout=60s
alpha stands #hapair: start-timeout=60s
alpha keeps
alpha 10.77.0.110/24 broken
alpha 10.77.0.120/24 web::x
`)
	l.wants(0, "in force", "heartbeat", "reload")
	l.comes(5*time.Second, 0, "running since", "heartbeat", "resource", "status", "web::x")
	l.comes(5*time.Second, 0, "running since", "heartbeat", "resource", "status", "keeps")
	l.comes(5*time.Second, 2, "nobody serves 10.77.0.110/24", "heartbeat", "status")
	l.wants(2, "broken: no disk", "heartbeat", "status")
	if got := l.addresses(); strings.Contains(got, "10.77.0.110/") || !strings.Contains(got, "10.77.0.120/24") {
		t.Errorf("a group that could not be started is half up, or another one is not: %s", got)
	}
	l.comes(15*time.Second, 2, "start of hangs in hangs has not ended for", "heartbeat", "status")
	l.wants(2, "its last output: waiting for the disk", "heartbeat", "status")
	l.comes(5*time.Second, 2, "start of stands in stands has not ended for", "heartbeat", "status")
	l.wants(1, "start since 20", "heartbeat", "resource", "status", "hangs")

	l.write("broken.ok", "")
	l.comes(20*time.Second, 0, "running since", "heartbeat", "resource", "status", "broken")
	if got := l.addresses(); !strings.Contains(got, "10.77.0.110/24") {
		t.Errorf("the group that was tried again is half up: %s", got)
	}
	begin := time.Now()
	l.wants(0, "has stopped", "heartbeat", "stop")
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("a stop with two hung starts took %v", took)
	}
}

// TestScriptOutlivesAKilledDaemon: the start script that a killed daemon leaves at work is ended before its successor starts the resource
// itself, so that no two starts of one resource are ever at work at the same time.
func TestScriptOutlivesAKilledDaemon(t *testing.T) {
	// slow says who works: the first start ignores SIGTERM and would never end as long as the test's directory is there.
	const slow = `case $1 in
start) echo "begin $$" >>"$HA_DIR/slow.log"
  if [ ! -e "$HA_DIR/slow.first" ]; then
    touch "$HA_DIR/slow.first"; trap '' TERM; while touch "$HA_DIR/slow.works" 2>/dev/null; do sleep 0.05; done
  fi
  rm -f "$HA_DIR/slow.works"; sleep 0.3; [ -e "$HA_DIR/slow.works" ] && echo "two at work" >>"$HA_DIR/slow.log"; touch "$HA_DIR/slow.runs";;
stop) rm -f "$HA_DIR/slow.runs";;
status) if [ -e "$HA_DIR/slow.runs" ]; then echo running; else echo stopped; exit 3; fi;;
esac`
	l := startLone(t, loneHaCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	l.script("slow", slow)
	l.write("haresources", "alpha 10.77.0.100/24\nalpha slow #hapair: start-timeout=60s\n")
	l.wants(0, "in force", "heartbeat", "reload")
	l.comes(5*time.Second, 1, "start since 20", "heartbeat", "resource", "status", "slow")
	waitFor(t, filepath.Join(l.dir.config, "slow.first"))
	l.cmd.Process.Kill()
	l.cmd.Wait()
	l.start()
	l.comes(20*time.Second, 0, "running since", "heartbeat", "resource", "status", "slow")
	log, err := os.ReadFile(filepath.Join(l.dir.config, "slow.log"))
	if err != nil || strings.Count(string(log), "begin") != 2 || strings.Contains(string(log), "two at work") {
		t.Errorf("two starts, one after the other, are wanted; the script wrote (%v):\n%s", err, log)
	}
	if left, err := os.ReadDir(filepath.Join(l.dir.run, "operations")); err != nil || len(left) != 0 {
		t.Errorf("the ledger of a daemon at rest holds %v, %v", left, err)
	}
	l.wants(0, "has stopped", "heartbeat", "stop")
	l.cmd.Wait()
	for _, want := range []string{"slow (process ", "was left running by a daemon that was killed", "left by a killed daemon, has ended"} {
		if !strings.Contains(l.out.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// waitFor waits until a file is there.
func waitFor(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatalf("%s does not come", path)
}

// TestResourcesByHand drives single resources of a running daemon, and asks it for plans.
func TestResourcesByHand(t *testing.T) {
	l := startLone(t, loneHaCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	path := l.script("web", stateful)
	l.write("web.ok", "")
	l.write("haresources", "alpha 10.77.0.100/24 web #hapair: monitor-interval=200ms\n")
	l.wants(0, "web  (is new on the line)", "heartbeat", "plan", "reload")
	l.wants(0, "in force", "heartbeat", "reload")
	l.wants(0, "No group changes", "heartbeat", "plan", "reload")
	l.wants(0, "web: running since", "heartbeat", "resource", "status", "web")
	l.wants(0, "nothing to do: this node holds it", "heartbeat", "plan", "takeover")
	l.wants(0, "leave web  (runs already)", "heartbeat", "plan", "acquire")
	l.wants(0, " 1. stop  web", "heartbeat", "plan", "release", "10.77.0.100/24")

	runs := filepath.Join(l.dir.config, "web.runs")
	l.wants(0, "stopped", "heartbeat", "resource", "stop", "web")
	time.Sleep(500 * time.Millisecond) // twice the interval of its monitor, which is to leave it alone
	if _, err := os.Stat(runs); err == nil {
		t.Error("what was stopped by hand was started again")
	}
	l.wants(1, "stopped", "heartbeat", "resource", "monitor", "web")
	l.wants(1, "web: stopped", "heartbeat", "resource", "status", "web")
	l.wants(0, "running", "heartbeat", "resource", "start", "web")
	l.wants(0, "running", "heartbeat", "resource", "monitor", "web")
	l.wants(1, "no resource", "heartbeat", "resource", "start", "wbe")
	time.Sleep(time.Second) // for its monitor to have seen it run
	if err := os.Remove(runs); err != nil {
		t.Fatal(err)
	}
	l.comes(5*time.Second, 0, "running", "heartbeat", "resource", "monitor", "web") // restarted in place
	if _, err := os.Stat(runs); err != nil {
		t.Errorf("it does not run: %v", err)
	}
	l.wants(1, "no resource group", "heartbeat", "resource", "cleanup", "nosuch")
	l.wants(0, "may be tried on this node again", "heartbeat", "resource", "cleanup", "10.77.0.100/24")

	t.Setenv("HA_DIR", l.dir.config)
	var out strings.Builder
	a := &app{out: &out, err: &out, dirs: l.dir}
	if code := a.dispatch("heartbeat", []string{"lint-script", path}); code != 0 {
		t.Errorf("lint-script: %d, %s", code, out.String())
	}
	out.Reset()
	if code := a.dispatch("heartbeat", []string{"lint-script", "--timeout", "1s", l.script("hangs", hanging)}); code != 1 || !strings.Contains(out.String(), "did not end in time") {
		t.Errorf("lint-script of a script that hangs: %d, %s", code, out.String())
	}
}

// TestLinesChangeUnderARunningDaemon: resources change their lines and are not touched; one that cannot be started is told by the exit code of the
// reload, and by status; what a killed daemon left running and the files do not have any more is stopped by its successor.
func TestLinesChangeUnderARunningDaemon(t *testing.T) {
	const counted = `me=$(basename "$0"); for op; do :; done
case $op in
start) echo start >>"$HA_DIR/$me.log"; [ ! -e "$HA_DIR/$me.bad" ] || { echo "$me: no disk"; exit 1; }; touch "$HA_DIR/$me.runs";;
stop) echo stop >>"$HA_DIR/$me.log"; rm -f "$HA_DIR/$me.runs";;
status) if [ -e "$HA_DIR/$me.runs" ]; then echo running; else echo stopped; exit 3; fi;;
esac`
	l := startLone(t, loneHaCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	for _, name := range []string{"web", "mail", "bad"} {
		l.script(name, counted)
	}
	l.write("bad.bad", "")
	begun := map[string]string{"web": "start\n", "mail": "start\n"}
	untouched := func(when string) {
		t.Helper()
		for name, want := range begun {
			if got, _ := os.ReadFile(filepath.Join(l.dir.config, name+".log")); string(got) != want {
				t.Errorf("%s: %s did %q", when, name, got)
			}
		}
	}
	l.write("haresources", "alpha 10.77.0.100/24 web mail\n")
	l.wants(0, "in force", "heartbeat", "reload")
	l.comes(5*time.Second, 0, "running since", "heartbeat", "resource", "status", "mail")

	l.write("haresources", "alpha 10.77.0.100/24 web\nalpha 10.77.0.120/24 mail\n")
	l.wants(0, "leave mail  (goes to 10.77.0.120/24: not touched)", "heartbeat", "plan", "reload")
	l.wants(0, "in force", "heartbeat", "reload")
	l.wants(0, "running since", "heartbeat", "resource", "status", "mail")
	untouched("after the line parted")
	l.write("haresources", "alpha 10.77.0.100/24 10.77.0.120/24 mail web\n")
	l.wants(0, "leave mail  (comes from 10.77.0.120/24: not touched)", "heartbeat", "plan", "reload")
	l.wants(0, "in force", "heartbeat", "reload")
	untouched("after the lines joined")
	if got := l.addresses(); !strings.Contains(got, "10.77.0.100/24") || !strings.Contains(got, "10.77.0.120/24") {
		t.Errorf("addresses: %s", got)
	}

	l.write("haresources", "alpha 10.77.0.100/24 10.77.0.120/24 mail web bad\n")
	l.wants(1, "not everything went well: start of \"bad\": exit code 1: bad: no disk", "heartbeat", "reload")
	l.wants(2, "resource bad of 10.77.0.100/24 is stopped although this node holds it", "heartbeat", "status")
	untouched("after a resource could not be started")

	l.cmd.Process.Kill()
	l.cmd.Wait()
	l.write("haresources", "alpha 10.77.0.100/24 web\n")
	l.start()
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	l.comes(20*time.Second, 0, "running since", "heartbeat", "resource", "status", "web")
	awaitOutput(t, "the end of what is not in the files any more", func() bool {
		_, err := os.Stat(filepath.Join(l.dir.config, "mail.runs"))
		return errors.Is(err, os.ErrNotExist) && !strings.Contains(l.addresses(), "10.77.0.120/24")
	})
	begun["mail"] = "start\nstop\n"
	untouched("after the restart")
}
