package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestARealDaemonMovesToTOML turns the files of a running daemon into heartbeat.toml, reloads, changes it, breaks it, and starts from it.
func TestARealDaemonMovesToTOML(t *testing.T) {
	l := startLone(t, loneHaCF)
	l.wants(0, "", "heartbeat", "wait", "--for", "active", "--timeout", "20s")
	file := filepath.Join(l.dir.config, "heartbeat.toml")
	l.wants(0, "verified field by field", "heartbeat", "convert", "-o", file)
	l.wants(1, "only one of the two can count", "heartbeat", "reload")
	for _, name := range []string{"ha.cf", "haresources"} {
		if err := os.Remove(filepath.Join(l.dir.config, name)); err != nil {
			t.Fatal(err)
		}
	}
	l.wants(0, "in force", "heartbeat", "reload")
	if got := l.addresses(); !strings.Contains(got, "10.77.0.100/24") {
		t.Errorf("addresses: %s", got)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l.write("heartbeat.toml", string(text)+"[group.more]\nnode = \"alpha\"\nresources = [\"10.77.0.101/24\"]\nstrat_timeout = \"3s\"\n")
	l.wants(1, "did you mean start_timeout?", "heartbeat", "reload")
	l.write("heartbeat.toml", string(text)+"[group.more]\nnode = \"alpha\"\nresources = [\"10.77.0.101/24\"]\nstart_timeout = \"3s\"\n")
	l.wants(0, "in force", "heartbeat", "reload")
	l.wants(0, "", "heartbeat", "wait", "--for", "stable", "--timeout", "10s")
	if got := l.addresses(); !strings.Contains(got, "10.77.0.100/24") || !strings.Contains(got, "10.77.0.101/24") {
		t.Errorf("addresses: %s", got)
	}
	l.wants(0, "more", "heartbeat", "status")
	l.wants(0, "300ms\n", "cl_status", "hbparameter", "-p", "deadtime")
	l.wants(0, "more\n", "ResourceManager", "allkeys")
}
