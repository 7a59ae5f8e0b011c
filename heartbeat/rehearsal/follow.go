package rehearsal

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// follower reads what the programs on a node write to their logs, as it is written.
type follower struct {
	w       *world
	node    *node
	dir     string
	mu      sync.Mutex
	offset  map[string]int64
	rest    map[string][]byte
	bad     []complaint
	reading reading
}

// logNames are the logs that belong in the time line, and the one that has everything, which is only searched for complaints.
var logNames = []string{hapairLog, linuxHALog, linuxHADebug}

// follow begins to read the node's logs; a node that boots again is followed already.
func (w *world) follow(n *node) {
	if w.followed[n.index] != nil {
		return
	}
	f := &follower{w: w, node: n, dir: n.machine.LogDir(), offset: map[string]int64{}, rest: map[string][]byte{}}
	w.followed[n.index] = f
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		w.note("rehearsal", KindNotice, "the logs of "+n.name+" are missing from the time line: "+err.Error())
		return
	}
	if _, err := unix.InotifyAddWatch(fd, f.dir, unix.IN_MODIFY|unix.IN_CREATE); err != nil {
		unix.Close(fd)
		w.note("rehearsal", KindNotice, "the logs of "+n.name+" are missing from the time line: "+err.Error())
		return
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			if _, err := unix.Read(fd, buffer); err != nil && err != unix.EINTR {
				return
			}
			f.readAll()
		}
	}()
}

// readAll reads what is new in all logs.
func (f *follower) readAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range logNames {
		f.read(name)
	}
}

func (f *follower) read(name string) {
	file, err := os.Open(filepath.Join(f.dir, name))
	if err != nil {
		return
	}
	defer file.Close()
	if _, err := file.Seek(f.offset[name], io.SeekStart); err != nil {
		return
	}
	data, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return
	}
	f.offset[name] += int64(len(data))
	text := append(f.rest[name], data...)
	for {
		raw, rest, found := bytes.Cut(text, []byte("\n"))
		if !found {
			break
		}
		line := string(bytes.TrimSpace(raw))
		if name != linuxHADebug {
			f.w.note(f.node.name, KindLog, line)
		}
		if name != linuxHALog {
			f.keep(line)
		}
		text = rest
	}
	f.rest[name] = bytes.Clone(text)
}
