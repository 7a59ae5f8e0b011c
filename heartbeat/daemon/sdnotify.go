package daemon

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// supervisor is the service manager that started this daemon, if it wants to hear of it (sd_notify). The zero value talks to
// nobody.
type supervisor struct {
	conn     *net.UnixConn
	watchdog time.Duration // how often it wants a sign of life; 0 for not at all
	fed      time.Duration // Mono of the last one
}

// newSupervisor finds the manager in the environment.
func newSupervisor() *supervisor {
	s := &supervisor{}
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return s
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return s
	}
	s.conn = conn
	if pid, err := strconv.Atoi(os.Getenv("WATCHDOG_PID")); err == nil && pid != os.Getpid() {
		return s
	}
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		s.watchdog = time.Duration(us) * time.Microsecond / 3
	}
	return s
}

// tell sends a state. What the manager cannot take within a moment is lost: it must not hold up the daemon.
func (s *supervisor) tell(lines ...string) {
	if s.conn == nil {
		return
	}
	s.conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	s.conn.Write([]byte(strings.Join(lines, "\n")))
}

// reloading says that a reload begins; the manager wants to know the monotonic time of it.
func (s *supervisor) reloading() {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	s.tell("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", ts.Nano()/1000))
}

// alive feeds the manager's watchdog when that is due. The loop calls it, so that it proves that the loop runs.
func (s *supervisor) alive(mono time.Duration) {
	if s.watchdog > 0 && mono-s.fed >= s.watchdog {
		s.fed = mono
		s.tell("WATCHDOG=1")
	}
}
