package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat"
	"hapair/heartbeat/rehearsal/require"
)

func TestPidFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heartbeat.pid")
	if pid, state := checkPidFile(path); state != PidNone || pid != 0 {
		t.Errorf("without a file: %d, %v", pid, state)
	}
	if err := writePidFile(path, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil || len(content) != 12 || content[11] != '\n' {
		t.Errorf("pid file = %q, %v; want 11 columns and a newline", content, err)
	}
	if pid, state := checkPidFile(path); state != PidRunning || pid != os.Getpid() {
		t.Errorf("with our own pid: %d, %v", pid, state)
	}
	for _, stale := range []string{"          1\n", "garbage", "", " 4194999\n"} {
		if err := os.WriteFile(path, []byte(stale), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, state := checkPidFile(path); state != PidStale {
			t.Errorf("%q: state %v, want stale", stale, state)
		}
	}
}

// TestAnotherUsersPidFile: who may not see which program a process runs goes by what it is called.
func TestAnotherUsersPidFile(t *testing.T) {
	require.Root(t, "the pid file of another user's daemon")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]PidState{"heartbeat": PidRunning, "heartbeats": PidStale} {
		program := filepath.Join(dir, name)
		if err := os.Symlink(sleep, program); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".pid")
		if err := writePidFile(path, cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid)); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("the program of another user's process: %v", err)
			}
			if _, state := checkPidFile(path); state != want {
				t.Errorf("a process called %s: %v, want %v", name, state, want)
			}
		})
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// asNobody calls f with this thread's effective user being nobody.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nobody, keep = 65534, ^uintptr(0)
	set := func(euid uintptr) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, euid, keep); errno != 0 {
			t.Fatal(errno)
		}
	}
	set(nobody)
	defer set(0)
	f()
}

func TestClaimRunDirIsExclusive(t *testing.T) {
	p := NewPaths(t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "run"))
	first, err := claimRunDir(p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = claimRunDir(p)
	var running *RunningError
	if !errors.As(err, &running) || running.PID != os.Getpid() {
		t.Errorf("second claim: %v, want a RunningError with our pid", err)
	}
	if pid, state := Running(p); state != PidRunning || pid != os.Getpid() {
		t.Errorf("Running = %d, %v while it runs", pid, state)
	}
	first.release()
	if _, state := Running(p); state != PidNone {
		t.Errorf("Running says %v after the end", state)
	}
	if err := writePidFile(p.PidFile(), os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if _, state := Running(p); state != PidStale {
		t.Errorf("Running says %v of a pid file without the lock, want stale", state)
	}
	os.Remove(p.PidFile())
	if _, err := os.Stat(p.PidFile()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pid file after the end: %v", err)
	}
	again, err := claimRunDir(p)
	if err != nil {
		t.Fatal(err)
	}
	again.release()
}

func TestClassicPidFilePath(t *testing.T) {
	if got := NewPaths("", "", "").PidFile(); got != "/run/heartbeat.pid" {
		t.Errorf("PidFile = %q", got)
	}
	if got := NewPaths("", "", "/tmp/x/").PidFile(); got != "/tmp/x/heartbeat.pid" {
		t.Errorf("PidFile = %q", got)
	}
}

func TestKeeperWritesWhatTheNextStartReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	log := newLog(0)
	defer log.Close()
	k := newKeeper(path, "boot-1", newAlarms(log))
	k.start()
	k.keep(heartbeat.Persist{Epochs: map[string]uint64{"web": 6}, Held: []string{"web"}})
	k.keep(heartbeat.Persist{Epochs: map[string]uint64{"web": 7}, Held: []string{"web", "mail"}})
	k.close(5 * time.Second)
	same, err := loadState(path, "boot-1")
	if err != nil || same.Epochs["web"] != 7 || len(same.Held) != 2 {
		t.Errorf("in the same boot: %+v, %v", same, err)
	}
	other, err := loadState(path, "boot-2")
	if err != nil || other.Epochs["web"] != 7 || len(other.Held) != 0 {
		t.Errorf("in another boot: %+v, %v; want the epochs and nothing held", other, err)
	}
	if unknown, _ := loadState(path, ""); len(unknown.Held) != 0 {
		t.Error("without a boot id something is taken for held")
	}
	if err := os.WriteFile(path, []byte("{torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := loadState(path, "boot-1"); err == nil || s.Held != nil {
		t.Errorf("a broken file: %+v, %v", s, err)
	}
	if s, err := loadState(path+".missing", "boot-1"); err != nil || s.Held != nil {
		t.Errorf("a missing file: %+v, %v", s, err)
	}
}

// brokenDir is a directory that does not exist until made: a disk that takes nothing, for root too.
func brokenDir(t *testing.T) string { return filepath.Join(t.TempDir(), "later") }

func TestKeeperRaisesAnAlarmAndRecovers(t *testing.T) {
	dir := brokenDir(t)
	log := newLog(0)
	defer log.Close()
	a := newAlarms(log)
	k := newKeeper(filepath.Join(dir, "state.json"), "boot", a)
	written := false
	k.generation = func() error { written = true; return nil }
	k.start()
	k.keep(heartbeat.Persist{Held: []string{"web"}})
	await(t, func() bool { return strings.Contains(strings.Join(a.texts(), "\n"), "cannot keep the state") })
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	wake(k.kick)
	await(t, func() bool { return len(a.texts()) == 0 })
	k.close(5 * time.Second)
	if s, err := loadState(k.path, "boot"); err != nil || len(s.Held) != 1 || !written {
		t.Errorf("after recovery: %+v, %v, generation written: %v", s, err, written)
	}
}

func TestJournalRotatesAndSurvivesAFullDisk(t *testing.T) {
	dir := brokenDir(t)
	log := newLog(0)
	defer log.Close()
	a := newAlarms(log)
	j := newJournal(filepath.Join(dir, "journal.jsonl"), a)
	j.limit = 1000
	j.start()
	j.add(JournalEntry{Node: "alpha", What: "first", Reason: "of the test"})
	await(t, func() bool { return strings.Contains(strings.Join(a.texts(), "\n"), "cannot write the journal") })
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		j.add(JournalEntry{Node: "alpha", What: "more", Reason: "of the test"})
	}
	await(t, func() bool { return len(a.texts()) == 0 })
	j.close(5 * time.Second)
	older, newer := entries(t, j.path+".1"), entries(t, j.path)
	if len(newer) == 0 || len(older) == 0 || newer[len(newer)-1].What != "more" {
		t.Errorf("%d entries in the older file and %d in the newer", len(older), len(newer))
	}
}

// entries reads a journal, every line of which has to be whole.
func entries(t *testing.T, path string) (list []JournalEntry) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) > 1000 {
		t.Errorf("%s has %d bytes, more than its limit", path, len(content))
	}
	for line := range strings.Lines(string(content)) {
		var e JournalEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v in %q", path, err, line)
		}
		list = append(list, e)
	}
	return list
}

// await polls for something that another goroutine brings about on a real disk or socket.
func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !done() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-deadline:
			t.Fatal("waited ten seconds in vain")
		}
	}
}
