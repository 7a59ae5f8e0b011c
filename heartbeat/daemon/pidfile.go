package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// RunningError says that another daemon works in the same run directory.
type RunningError struct{ PID int }

// Error uses Heartbeat's words.
func (e *RunningError) Error() string {
	return fmt.Sprintf("heartbeat: already running [pid %d].", e.PID)
}

// claim is the exclusive right to a run directory.
type claim struct {
	lock    *os.File
	pidFile string
}

// claimRunDir makes the run directory if need be, locks it and writes the pid file. The error is a *RunningError when
// another daemon has it.
func claimRunDir(p Paths) (*claim, error) {
	if err := os.MkdirAll(p.Run, 0o755); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	lock, err := os.OpenFile(p.Lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim run directory: %w", err)
	}
	whole := wholeFile()
	if err := unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &whole); err != nil {
		lock.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			pid, _ := readPidFile(p.PidFile())
			return nil, &RunningError{PID: pid}
		}
		return nil, fmt.Errorf("claim run directory %s: %w", p.Run, err)
	}
	// The lock keeps our own kind out; a running Linux-HA knows nothing of it.
	if pid, err := readPidFile(p.PidFile()); err == nil && runsHeartbeat(pid) && !runsThis(pid) {
		lock.Close()
		return nil, &RunningError{PID: pid}
	}
	if err := writePidFile(p.PidFile(), os.Getpid()); err != nil {
		lock.Close()
		return nil, err
	}
	return &claim{lock: lock, pidFile: p.PidFile()}, nil
}

// release gives the run directory back.
func (c *claim) release() {
	if pid, err := readPidFile(c.pidFile); err == nil && pid == os.Getpid() {
		os.Remove(c.pidFile)
	}
	c.lock.Close()
}

// writePidFile writes Heartbeat's pid file, 12 bytes, so that it appears whole (protocol section 11.1).
func writePidFile(path string, pid int) error {
	tmp := fmt.Sprintf("%s.%d", path, pid)
	if err := os.WriteFile(tmp, fmt.Appendf(nil, "%11d\n", pid), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}

// readPidFile reads the process id in a pid file. The error wraps fs.ErrNotExist when there is none.
func readPidFile(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("read pid file %s: %q is no process id", path, strings.TrimSpace(string(text)))
	}
	return pid, nil
}

// PidState says what a pid file tells.
type PidState int

// The states of a pid file.
const (
	PidNone    PidState = iota // there is none
	PidStale                   // it names no running heartbeat
	PidRunning                 // it names a running heartbeat
)

// checkPidFile reads a pid file and tells whether its process is a heartbeat: one that runs the same program, or one whose
// program was replaced by an upgrade since.
func checkPidFile(path string) (pid int, state PidState) {
	pid, err := readPidFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, PidNone
	}
	if err != nil {
		return 0, PidStale
	}
	if runsThis(pid) || runsHeartbeat(pid) {
		return pid, PidRunning
	}
	return pid, PidStale
}

// runsThis tells whether that process runs this very program.
func runsThis(pid int) bool {
	theirs, errA := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	ours, errB := os.Stat("/proc/self/exe")
	return errA == nil && errB == nil && os.SameFile(theirs, ours)
}

// runsHeartbeat tells whether that process runs a program of Heartbeat's name.
func runsHeartbeat(pid int) bool {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if errors.Is(err, fs.ErrPermission) { // another user's process: what it is called has to do
		var line []byte
		line, err = os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		name, _, _ = strings.Cut(string(line), "\x00")
	}
	return err == nil && filepath.Base(strings.TrimSuffix(name, " (deleted)")) == "heartbeat"
}

// Running tells whether a daemon works in these directories, and its process id. What it cannot learn from the lock, being
// another user, the pid file has to tell.
func Running(p Paths) (pid int, state PidState) {
	pid, state = checkPidFile(p.PidFile())
	lock, err := os.Open(p.Lock())
	if err != nil {
		return pid, state
	}
	defer lock.Close()
	probe := wholeFile()
	if unix.FcntlFlock(lock.Fd(), unix.F_OFD_GETLK, &probe) != nil {
		return pid, state
	}
	switch {
	case probe.Type != unix.F_UNLCK:
		return pid, PidRunning
	case state == PidRunning && runsThis(pid):
		return pid, PidStale // a daemon of ours would have the lock: the number was given to another of our commands
	}
	return pid, state
}

// wholeFile is the lock of the daemon. It belongs to the open file, and can be asked for without being taken.
func wholeFile() unix.Flock_t { return unix.Flock_t{Type: unix.F_WRLCK} }
