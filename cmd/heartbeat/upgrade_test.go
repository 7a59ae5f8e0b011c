package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// install puts a file of the program under a name, as a package manager does: another file takes the place of the old one.
func install(t *testing.T, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	installText(t, path, content)
}

func installText(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade replaces the program of a running daemon: the process, its address and its clients live on; what cannot take over is refused
// while the old one still runs.
func TestUpgrade(t *testing.T) {
	requireNamespace(t)
	program := filepath.Join(t.TempDir(), "heartbeat")
	install(t, program)
	l := startProgram(t, program, loneHaCF+"respawn root /bin/sleep 3333\n")
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	pid := l.cmd.Process.Pid
	client := l.client(t, pid)
	before := l.addresses()

	good, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	installText(t, program, []byte("#!/bin/sh\necho 'unknown command \"upgrade\"' >&2\nexit 2\n"))
	l.wants(1, "older than that", "heartbeat", "upgrade")
	installText(t, program, []byte("not a program"))
	l.wants(1, "nothing was changed", "heartbeat", "upgrade")
	installText(t, program, good)
	l.write("ha.cf", loneHaCF+"deadtiem 1\n")
	l.wants(1, "did you mean deadtime", "heartbeat", "upgrade")
	l.wants(0, "HEALTHY", "heartbeat", "status")

	l.write("ha.cf", loneHaCF+"respawn root /bin/sleep 3333\n")
	for range 2 { // also what was upgraded can be
		install(t, program)
		l.wants(0, fmt.Sprintf("(pid %d); nothing was released", pid), "heartbeat", "upgrade")
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || exe != program {
			t.Errorf("process %d runs %q, %v; want %s", pid, exe, err, program)
		}
		l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	}
	if after := l.addresses(); after != before {
		t.Errorf("addresses were\n%sand are\n%s", before, after)
	}
	if got := l.client(t, pid); got != client {
		t.Errorf("the client had pid %s and has %s", client, got)
	}
	l.wants(0, "heartbeat: already running [pid ", "heartbeat")

	l.write("ha.cf", loneHaCF)
	l.wants(0, "in force", "heartbeat", "reload") // the client is not wanted any more
	for deadline := time.Now().Add(10 * time.Second); l.children(pid) != "" && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := l.children(pid); got != "" {
		t.Errorf("children are left: %s", got)
	}
	l.wants(0, "has stopped", "heartbeat", "stop")
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended: %v", err)
	}
}

// TestClientsOutliveAKilledDaemon: a daemon that follows a killed one goes on with its clients instead of starting them a second time.
func TestClientsOutliveAKilledDaemon(t *testing.T) {
	const haCF = loneHaCF + "respawn root /bin/sleep 3333\n"
	l := startLone(t, haCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	client := l.client(t, l.cmd.Process.Pid)
	l.kept(t, client) // a daemon that is killed before it could write is none that this is about
	l.cmd.Process.Kill()
	l.cmd.Wait()
	l.start()
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	l.comes(5*time.Second, 0, "online", "cl_status", "clientstatus", "alpha", "sleep")
	if got := l.children(l.cmd.Process.Pid); got != "" {
		t.Errorf("started again: %s", got)
	}
	l.wants(0, "has stopped", "heartbeat", "stop")
	if line, err := os.ReadFile("/proc/" + client + "/cmdline"); err == nil && strings.Contains(string(line), "3333") {
		t.Errorf("process %s outlives the polite stop", client)
	}
}

// kept waits until the daemon has written down that its client runs.
func (l *lone) kept(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if text, _ := os.ReadFile(filepath.Join(l.dir.run, "clients")); strings.Contains(string(text), `:`+pid+`,`) {
			return
		}
	}
	t.Fatalf("the daemon does not write down that process %s runs", pid)
}

// children lists the processes that the daemon has started, zombies among them.
func (l *lone) children(pid int) string {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all strings.Builder
	for _, name := range names {
		text, _ := os.ReadFile(name)
		all.Write(text)
	}
	return strings.TrimSpace(all.String())
}

// client waits until the daemon's one client runs, and returns its process id.
func (l *lone) client(t *testing.T, pid int) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for _, child := range strings.Fields(l.children(pid)) {
			if line, _ := os.ReadFile("/proc/" + child + "/cmdline"); strings.Contains(string(line), "3333") {
				return child
			}
		}
	}
	t.Fatal("the client does not run")
	return ""
}
