package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// A daemon that is killed leaves its clients running. So that its successor goes on with them instead of starting each a second time, what
// runs is kept in a file of the run directory.

// keepRecord writes down which clients run.
func (c *clients) keepRecord() {
	if c.record == "" {
		return
	}
	text, err := json.Marshal(c.legacy())
	if err == nil {
		err = host.ReplaceFile(c.record, text, 0o600)
	}
	if err != nil {
		c.log.Warnf("Clients: %v: should this daemon be killed, its successor starts them a second time", err)
	}
}

// readOrphans are the clients of a killed predecessor that still run.
func readOrphans(path string) []legacyClient {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var all, alive []legacyClient
	if json.Unmarshal(text, &all) != nil {
		return nil
	}
	for _, l := range all {
		if l.Begun != "" && processBegun(l.PID) == l.Begun {
			l.orphan = true
			alive = append(alive, l)
		}
	}
	return alive
}

// processBegun is when a process was started, in the kernel's own count; "" when there is none of that number, or only its remains. With it a
// number that was given to another process since is not mistaken.
func processBegun(pid int) string {
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

// errOrphanEnded says that a client ended of which nobody knows how: the parent that could have asked was killed.
var errOrphanEnded = errors.New("it ended, nobody knows how")

// waitOrphan waits for a process that is no child of this one.
func waitOrphan(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return errOrphanEnded
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return errOrphanEnded
		}
	}
}
