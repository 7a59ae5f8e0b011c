package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/host"
)

// TestLedger: what a predecessor left running is ended before anything of the same key starts, and nothing else is touched: neither a process
// that was given the number since, nor what only works on another resource.
func TestLedger(t *testing.T) {
	dir := t.TempDir()
	left, stranger := host.Command("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"), host.Command("/bin/sleep", "60")
	for _, cmd := range []interface {
		Start() error
		Wait() error
	}{left, stranger} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go cmd.Wait()
	}
	defer stranger.Process.Kill()
	time.Sleep(50 * time.Millisecond) // the shell becomes deaf
	write := func(pid int, begun string) {
		text := fmt.Sprintf(`{"key":"web","begun":%q}`, begun)
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(pid)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(left.Process.Pid, host.ProcessBegun(left.Process.Pid))
	write(stranger.Process.Pid, "1")
	os.WriteFile(filepath.Join(dir, "torn"), []byte(`{"key":`), 0o600)
	said := make(chan string, 10)
	l, err := host.OpenLedger(dir, 300*time.Millisecond, func(line string) { said <- line })
	if err != nil {
		t.Fatal(err)
	}
	if line := <-said; !strings.Contains(line, "web (process "+strconv.Itoa(left.Process.Pid)+") was left running") {
		t.Errorf("says %q", line)
	}

	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	p := host.Program{Path: "/bin/true", Ledger: l, Key: "web"}
	if err := p.Run(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not ended") {
		t.Errorf("beside the predecessor's: %v", err)
	}
	if err := (host.Program{Path: "/bin/true", Ledger: l, Key: "mail"}).Run(context.Background()); err != nil {
		t.Errorf("on another resource: %v", err)
	}
	if host.ProcessBegun(left.Process.Pid) == "" {
		t.Error("what works on another resource waited")
	}
	if err := p.Run(context.Background()); err != nil {
		t.Errorf("after the predecessor's: %v", err)
	}
	if host.ProcessBegun(left.Process.Pid) != "" {
		t.Error("started while the predecessor's runs")
	}
	if host.ProcessBegun(stranger.Process.Pid) == "" {
		t.Error("a process that only has the number was ended")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("left in the ledger: %v, %v", files, err)
	}
}

// TestLedgerFindsWhatHadNoNumberYet: a daemon that is killed between starting a program and writing down its number has announced it.
func TestLedgerFindsWhatHadNoNumberYet(t *testing.T) {
	dir := t.TempDir()
	left := host.Command("/bin/sh", "-c", "sleep 60; exit 0")
	left.Env = []string{"HA_OPERATION=operation-7-7-1"}
	other := host.Command("/bin/sleep", "60")
	other.Env = []string{"HA_OPERATION=operation-7-7-11"}
	for _, cmd := range []*exec.Cmd{left, other} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go cmd.Wait()
	}
	defer other.Process.Kill()
	for _, mark := range []string{"operation-7-7-1", "operation-7-7-2"} { // the second one never got as far as to be started
		if err := os.WriteFile(filepath.Join(dir, mark), []byte(`{"key":"web"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := make(chan string, 10)
	l, err := host.OpenLedger(dir, time.Second, func(line string) { said <- line })
	if err != nil {
		t.Fatal(err)
	}
	if line := <-said; !strings.Contains(line, "web (process "+strconv.Itoa(left.Process.Pid)+") was left running") {
		t.Errorf("says %q", line)
	}
	var environ string
	p := host.Program{Path: "/usr/bin/env", Ledger: l, Key: "web", Line: func(line string) { environ += line + "\n" }}
	if err := p.Run(context.Background()); err != nil {
		t.Error(err)
	}
	if host.ProcessBegun(left.Process.Pid) != "" {
		t.Error("started while the predecessor's runs")
	}
	if host.ProcessBegun(other.Process.Pid) == "" {
		t.Error("a program with another mark was ended")
	}
	if !strings.Contains(environ, "HA_OPERATION=operation-"+strconv.Itoa(os.Getpid())+"-") {
		t.Errorf("a program is started with %q", environ)
	}
	l.Close()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a closed ledger in which nothing stands is left: %v", err)
	}
}
