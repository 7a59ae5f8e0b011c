package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Ledger keeps which programs run for a daemon, one file each in a directory, so that the successor of a daemon that was killed finds
// those that outlived it: a start script that goes on in the middle of its work beside the successor's own would start its service twice.
// A program is announced before it is started, by a mark that its environment carries, and has its number written down once it has one: a
// daemon that is killed between the two leaves the mark. The nil Ledger keeps nothing.
type Ledger struct {
	dir  string
	left map[string][]*leftover // by their key
	next atomic.Uint64          // makes marks differ
}

// entry is what the ledger writes of a program, in a file named by its process number; before it has one, in a file named by its mark.
type entry struct {
	Key   string `json:"key"`
	Begun string `json:"begun,omitempty"` // see ProcessBegun; "" before the program has a number
}

// markVariable is the environment variable by which a program that has no number yet is found again.
const markVariable = "HA_OPERATION"

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
	text, err := os.ReadFile(path)
	var e entry
	if err != nil || json.Unmarshal(text, &e) != nil {
		return nil, false
	}
	pid, err := strconv.Atoi(filepath.Base(path))
	switch {
	case err != nil:
		pid = marked(filepath.Base(path))
	case e.Begun == "" || ProcessBegun(pid) != e.Begun:
		return nil, false
	}
	return &leftover{pid: pid, key: e.Key, ended: make(chan struct{})}, pid > 1
}

// marked finds the program with a mark in its environment that leads its process group, 0 if there is none.
func marked(mark string) int {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(append([]byte{0}, text...), []byte("\x00"+markVariable+"="+mark+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil {
			if group, err := unix.Getpgid(pid); err == nil && group == pid {
				return pid
			}
		}
	}
	return 0
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

// announce writes down that a program is about to be started, and returns what its environment needs for that. That nothing can be written
// (the run directory is full) is no reason to leave the program alone.
func (l *Ledger) announce(key string) (mark string, environ []string) {
	if l == nil {
		return "", nil
	}
	mark = fmt.Sprintf("operation-%d-%s-%d", os.Getpid(), ProcessBegun(os.Getpid()), l.next.Add(1))
	l.write(mark, entry{Key: key})
	return mark, []string{markVariable + "=" + mark}
}

// began writes an announced program down by its number, 0 if it could not be started; ended, called once it is no more, strikes it out.
func (l *Ledger) began(mark, key string, pid int) (ended func()) {
	if l == nil {
		return func() {}
	}
	name := strconv.Itoa(pid)
	if pid > 0 {
		l.write(name, entry{Key: key, Begun: ProcessBegun(pid)})
	}
	os.Remove(filepath.Join(l.dir, mark))
	return func() { os.Remove(filepath.Join(l.dir, name)) }
}

func (l *Ledger) write(name string, e entry) {
	if text, err := json.Marshal(e); err == nil {
		_ = os.WriteFile(filepath.Join(l.dir, name), text, 0o600)
	}
}

// Close removes the ledger of a daemon that has ended everything it started; programs that could not be ended stay written down.
func (l *Ledger) Close() {
	if l != nil {
		os.Remove(l.dir) // fails while there is an entry, as it should
	}
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
