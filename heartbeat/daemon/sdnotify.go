package daemon

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat"
)

// supervisor is the service manager that started this daemon, if it wants to hear of it (sd_notify(3)). The zero value talks to
// nobody. Nothing that it does waits, except where it says so: a manager that does not read must not hold up the loop.
type supervisor struct {
	conn     *net.UnixConn
	watchdog time.Duration // how long it waits for a sign of life before it kills this process; 0 for no end

	fed  time.Duration // Mono of the last sign of life, the loop's own
	sent time.Duration // Mono of the last heartbeat, the loop's own
	news bool          // the status line may be another, the loop's own

	mu      sync.Mutex
	status  string   // the last status line
	waiting []string // what it could not take yet
}

// supervisorQueue is how many messages may wait for a manager that does not read: of all that is said, few matter for long.
const supervisorQueue = 16

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
		s.watchdog = time.Duration(us) * time.Microsecond
	}
	return s
}

// tell sends a state. What the manager cannot take now is sent again at the end of each turn of the loop, in order.
func (s *supervisor) tell(lines ...string) {
	if s.conn == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(lines, "\n")
	if last := len(s.waiting) - 1; last >= 0 && isStatus(text) && isStatus(s.waiting[last]) {
		s.waiting[last] = text // only the newest is of interest
	} else {
		s.waiting = append(s.waiting, text)
	}
	s.flush()
	if over := len(s.waiting) - supervisorQueue; over > 0 {
		s.waiting = slices.Delete(s.waiting, 0, over)
	}
}

// isStatus tells whether a message is a status line and nothing else.
func isStatus(text string) bool { return strings.HasPrefix(text, "STATUS=") }

// tellLast is tell where no turn of the loop follows; it waits for the manager up to patience.
func (s *supervisor) tellLast(patience time.Duration, lines ...string) {
	if s.conn == nil {
		return
	}
	s.tell(lines...)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		s.flush()
		left := len(s.waiting)
		s.mu.Unlock()
		if left == 0 {
			return
		}
	}
}

// flush sends what waits. The caller holds mu.
func (s *supervisor) flush() {
	for len(s.waiting) > 0 && s.write(s.waiting[0]) {
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
}

// write sends one datagram unless the manager's queue is full. One that can never be sent counts as sent.
func (s *supervisor) write(text string) bool {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return true
	}
	full := false
	err = raw.Write(func(fd uintptr) bool {
		_, err := unix.Write(int(fd), []byte(text))
		full = err == unix.EAGAIN || err == unix.ENOBUFS
		return true
	})
	return err != nil || !full
}

// reloading says that a reload, or an upgrade, begins; the manager wants to know the monotonic time of it.
func (s *supervisor) reloading(lines ...string) {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	s.tell(append([]string{"RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", ts.Nano()/1000)}, lines...)...)
}

// ready says that this process works, and is the one to watch: it may have replaced another program (`heartbeat upgrade`).
func (s *supervisor) ready() { s.tell("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid())) }

// feedMost is how many of its waits the manager is at most told in vain; the loop turns far more often than that, with each heartbeat.
const feedMost = 3

// turned is called at the end of each turn of the loop: it feeds the manager's watchdog when that is due and sends what waits.
func (s *supervisor) turned(mono, keepalive time.Duration) {
	if s.conn == nil {
		return
	}
	if mono-s.fed >= s.watchdog/feedMost {
		s.alive(mono, keepalive)
	}
	s.mu.Lock()
	s.flush()
	s.mu.Unlock()
}

// alive feeds the manager's watchdog, if this node does what it is for: a loop that turns and sends no heartbeats is dead for the peer,
// and no more use than one that hangs.
func (s *supervisor) alive(mono, keepalive time.Duration) {
	if s.watchdog == 0 || mono-s.sent > s.watchdog/feedMost+2*keepalive {
		return
	}
	s.fed = mono
	s.write("WATCHDOG=1")
}

// tend has the loop, by way of post, feed the watchdog also where heartbeats are rarer than its half. done ends it.
func (s *supervisor) tend(post func(), done <-chan struct{}) {
	if s.watchdog == 0 {
		return
	}
	tick := time.NewTicker(s.watchdog / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			post()
		case <-done:
			return
		}
	}
}

// show tells the manager how this node is, for `systemctl status`, if that is news.
func (s *supervisor) show(st heartbeat.Status) {
	if s.conn == nil {
		return
	}
	line := "STATUS=" + printable(summary(st))
	s.mu.Lock()
	known := s.status == line
	s.status = line
	s.mu.Unlock()
	if !known {
		s.tell(line)
	}
}

// summary is a node's state in a line.
func summary(st heartbeat.Status) string {
	held := map[string][]string{}
	var moving []string
	for _, g := range st.Groups {
		held[g.Owner] = append(held[g.Owner], g.Name)
		if g.State != "idle" && g.State != "held" && g.State != "unknown" {
			moving = append(moving, g.Name+" is "+g.State)
		}
	}
	text := st.Node + " is " + st.State
	holds := func(node string) {
		if names := held[node]; len(names) > 0 && node != "" {
			text += ", holds " + strings.Join(names, ", ")
		}
	}
	holds(st.Node)
	if st.Peer.Name != "" {
		text += "; " + st.Peer.Name + " is " + st.Peer.State
		holds(st.Peer.Name)
	}
	if names := held[""]; len(names) > 0 {
		text += "; nobody holds " + strings.Join(names, ", ")
	}
	for _, m := range moving {
		text += "; " + m
	}
	return text
}
