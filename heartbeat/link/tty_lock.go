package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lockDirectory is where programs that use a serial device say so; a variable for the tests.
var lockDirectory = "/var/lock"

// lockAttempts bounds the race for a stale lock.
const lockAttempts = 5

// ttyLock is a UUCP lock file, LCK..ttyS0 with our process id in it, and our own note that this process has the device.
type ttyLock struct {
	path   string // "" when there is no directory to lock in
	device string
}

// ttysInUse is the serial devices that links of this process have: the lock file names the process only.
var ttysInUse = struct {
	sync.Mutex
	devices map[string]bool
}{devices: map[string]bool{}}

// lockTTY takes the device, under whatever name, for one link of this process. A machine without a lock directory, or that
// does not let us write there, has no lock files and needs none: openTTY locks the device itself.
func lockTTY(device string) (*ttyLock, error) {
	if real, err := filepath.EvalSymlinks(device); err == nil {
		device = real
	}
	l := &ttyLock{path: filepath.Join(lockDirectory, lockName(device)), device: device}
	ttysInUse.Lock()
	defer ttysInUse.Unlock()
	if ttysInUse.devices[device] {
		return nil, fmt.Errorf("%w: another link of ours has %s", ErrInUse, device)
	}
	err := l.create()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		l.path, err = "", nil
	}
	if err != nil {
		return nil, err
	}
	ttysInUse.devices[device] = true
	return l, nil
}

// lockName is LCK.. and the device's name: of /dev/ttyS0 ttyS0, of /dev/pts/3 pts_3.
func lockName(device string) string {
	return "LCK.." + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, strings.TrimPrefix(device, "/dev/"))
}

// create makes the lock file, removing one that a dead program left. The file appears with its content: it is written under
// another name and linked.
func (l *ttyLock) create() error {
	temporary := filepath.Join(filepath.Dir(l.path), fmt.Sprintf("LTMP.%d.%s", os.Getpid(), filepath.Base(l.path)))
	if err := os.WriteFile(temporary, fmt.Appendf(nil, "%11d\n", os.Getpid()), 0o644); err != nil {
		return err
	}
	defer os.Remove(temporary)
	var err error
	for range lockAttempts {
		if err = os.Link(temporary, l.path); !errors.Is(err, fs.ErrExist) {
			return err
		}
		if owner := lockOwner(l.path); owner != 0 {
			return fmt.Errorf("%w: process %d has %s (%s)", ErrInUse, owner, l.device, l.path)
		}
		if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the stale lock %s: %w", l.path, err)
		}
	}
	return err
}

// lockOwner is the process that holds a lock file, 0 when the lock is stale: its process is gone, was this one (an earlier run
// under the same number), wrote nothing legible, or wrote before the machine was started.
func lockOwner(path string) int {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || pid <= 0 || pid == os.Getpid() || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return 0
	}
	var info unix.Sysinfo_t
	if at, err := os.Stat(path); err == nil && unix.Sysinfo(&info) == nil {
		if started := time.Now().Add(-time.Duration(info.Uptime) * time.Second); at.ModTime().Before(started.Add(-time.Minute)) {
			return 0
		}
	}
	return pid
}

// release gives the device back.
func (l *ttyLock) release() {
	ttysInUse.Lock()
	defer ttysInUse.Unlock()
	delete(ttysInUse.devices, l.device)
	if l.path != "" {
		_ = os.Remove(l.path)
	}
}
