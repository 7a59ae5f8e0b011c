package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ledger keeps which programs run for a daemon, one file each in a directory, so that the successor of a daemon that was killed finds
// those that outlived it: a start script that goes on in the middle of its work beside the successor's own would start its service twice.
// The nil Ledger keeps nothing.
type Ledger struct {
	dir  string
	left map[string][]*leftover // by their key
}

// entry is what the ledger writes of a program.
type entry struct {
	Key   string `json:"key"`
	Begun string `json:"begun"` // see ProcessBegun
}

// leftover is a program of a predecessor.
type leftover struct {
	pid   int
	key   string
	ended chan struct{}
}

// OpenLedger opens the ledger in a directory and begins to end, all at once and in the background, what a killed predecessor left running:
// the process group gets SIGTERM, after grace SIGKILL. say gets a line for each when it begins and when it has ended.
func OpenLedger(dir string, grace time.Duration, say func(string)) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep which scripts run: %w", err)
	}
	l := &Ledger{dir: dir, left: map[string][]*leftover{}}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("keep which scripts run: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		left, alive := readLeftover(path)
		os.Remove(path)
		if !alive {
			continue
		}
		l.left[left.key] = append(l.left[left.key], left)
		say(fmt.Sprintf("%s (process %d) was left running by a daemon that was killed: ending it, its resource is examined afterwards", left.key, left.pid))
		go left.end(grace, say)
	}
	return l, nil
}

// readLeftover reads one entry, and tells whether its program still runs.
func readLeftover(path string) (*leftover, bool) {
	pid, err := strconv.Atoi(filepath.Base(path))
	if err != nil || pid < 2 {
		return nil, false
	}
	text, err := os.ReadFile(path)
	var e entry
	if err != nil || json.Unmarshal(text, &e) != nil || e.Begun == "" || ProcessBegun(pid) != e.Begun {
		return nil, false
	}
	return &leftover{pid: pid, key: e.Key, ended: make(chan struct{})}, true
}

// end ends the program and tells how that went.
func (p *leftover) end(grace time.Duration, say func(string)) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		WaitProcess(p.pid)
	}()
	if endGroup(p.pid, gone, grace) {
		say(fmt.Sprintf("%s (process %d), left by a killed daemon, has ended", p.key, p.pid))
	} else {
		say(fmt.Sprintf("%s (process %d), left by a killed daemon, %v: it sleeps in the kernel, most often on a dead disk or file server; "+
			"nothing is done with its resource until it ends", p.key, p.pid, ErrStuck))
		<-gone
	}
	close(p.ended)
}

// await waits until nothing of a predecessor runs under a key. Its error is ctx's cause.
func (l *Ledger) await(ctx context.Context, key string) error {
	if l == nil {
		return nil
	}
	for _, p := range l.left[key] {
		select {
		case <-p.ended:
		case <-ctx.Done():
			return fmt.Errorf("%w: process %d, left by a daemon that was killed, has not ended", context.Cause(ctx), p.pid)
		}
	}
	return nil
}

// began writes a program down; ended, called once it is no more, strikes it out. That nothing can be written (the run directory is full) is
// no reason to leave the program alone.
func (l *Ledger) began(key string, pid int) (ended func()) {
	if l == nil {
		return func() {}
	}
	path := filepath.Join(l.dir, strconv.Itoa(pid))
	text, err := json.Marshal(entry{Key: key, Begun: ProcessBegun(pid)})
	if err == nil {
		_ = os.WriteFile(path, text, 0o600)
	}
	return func() { os.Remove(path) }
}

// ProcessBegun is when a process was started, in the kernel's own count; "" when there is none of that number, or only its remains. With it a
// number that was given to another process since is not mistaken.
func ProcessBegun(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

// WaitProcess waits until a process has ended that need not be a child of this one.
func WaitProcess(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
