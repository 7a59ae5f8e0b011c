package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager's end of sd_notify(3): what a daemon that was started by it tells it.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

// newManager listens and puts its address into the environment of what is started next, with the watchdog's time.
func newManager(t *testing.T, address string, watchdog time.Duration) *manager {
	t.Helper()
	name := address
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:]
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", address)
	if watchdog > 0 {
		t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	}
	return &manager{t, conn}
}

// hear returns the next message within a time, "" if there is none.
func (m *manager) hear(within time.Duration) string {
	m.t.Helper()
	buffer := make([]byte, 4096)
	m.conn.SetReadDeadline(time.Now().Add(within))
	n, err := m.conn.Read(buffer)
	if err != nil {
		return ""
	}
	return string(buffer[:n])
}

// until returns the first message that has a line with this beginning; the test fails if none comes.
func (m *manager) until(prefix string) string {
	m.t.Helper()
	var heard []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		text := m.hear(time.Until(end))
		if strings.Contains("\n"+text, "\n"+prefix) {
			return text
		}
		heard = append(heard, text)
	}
	m.t.Fatalf("the manager did not hear %q, but %q", prefix, heard)
	return ""
}

// both waits for two messages that come in either order.
func (m *manager) both(a, b string) {
	m.t.Helper()
	var heard []string
	missing := map[string]bool{a: true, b: true}
	for end := time.Now().Add(20 * time.Second); len(missing) > 0; {
		if time.Now().After(end) {
			m.t.Fatalf("the manager did not hear %q and %q, but %q", a, b, heard)
		}
		text := m.hear(time.Until(end))
		heard = append(heard, text)
		for prefix := range missing {
			if strings.Contains("\n"+text, "\n"+prefix) {
				delete(missing, prefix)
			}
		}
	}
}

// signsOfLife collects when the watchdog was fed, for a time.
func (m *manager) signsOfLife(during time.Duration) (at []time.Duration) {
	m.t.Helper()
	begun := time.Now()
	for time.Since(begun) < during {
		if m.hear(during-time.Since(begun)) == "WATCHDOG=1" {
			at = append(at, time.Since(begun))
		}
	}
	return at
}

// wantsRegular holds the signs of life of some time to the watchdog and to a number. A machine that stands still for a moment, test and daemon alike,
// gets two more attempts.
func (m *manager) wantsRegular(during, watchdog time.Duration, fewest, most int) {
	m.t.Helper()
	var err error
	for range 3 {
		at := m.signsOfLife(during)
		err = nil
		if len(at) < fewest || len(at) > most {
			err = fmt.Errorf("%d of them, want %d to %d", len(at), fewest, most)
		}
		for i, last := 0, time.Duration(0); i < len(at); i++ {
			if at[i]-last > watchdog {
				err = fmt.Errorf("none between %v and %v, the watchdog takes %v", last, at[i], watchdog)
			}
			last = at[i]
		}
		if err == nil {
			return
		}
		m.t.Logf("signs of life at %v: %v", at, err)
	}
	m.t.Errorf("signs of life: %v", err)
}

// awaitStopped waits until a signal has stopped every thread of a process.
func awaitStopped(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		stopped := len(threads) > 0
		for _, stat := range threads {
			text, _ := os.ReadFile(stat)
			stopped = stopped && strings.Contains(string(text), ") T ")
		}
		if stopped {
			return
		}
	}
	t.Fatalf("process %d did not stop", pid)
}

// TestServiceManagerHearsOfADaemonsLife follows a real daemon from its start to its polite stop, by way of a reload, one that is refused, an
// upgrade and a freeze.
func TestServiceManagerHearsOfADaemonsLife(t *testing.T) {
	requireNamespace(t)
	const watchdog = 900 * time.Millisecond
	m := newManager(t, filepath.Join(t.TempDir(), "notify"), watchdog)
	program := filepath.Join(t.TempDir(), "heartbeat")
	install(t, program)
	l := startProgram(t, program, loneHaCF)
	pid := l.cmd.Process.Pid
	ready := func(when string) {
		t.Helper()
		if text := m.until("READY=1"); !strings.Contains(text, fmt.Sprintf("MAINPID=%d", pid)) {
			t.Errorf("%s: %q, want process %d", when, text, pid)
		}
	}
	ready("start")
	l.wants(0, "", "cl_status", "hbstatus") // it answers from the moment on in which it says that it is ready
	m.until("STATUS=alpha is active, holds 10.77.0.100")

	l.write("haresources", "alpha 10.77.0.101/24\n")
	l.wants(0, "in force", "heartbeat", "reload")
	if text := m.until("RELOADING=1"); !strings.Contains(text, "\nMONOTONIC_USEC=") {
		t.Errorf("reload: %q", text)
	}
	m.both("READY=1", "STATUS=alpha is active, holds 10.77.0.101")
	l.write("ha.cf", loneHaCF+"deadtiem 1\n")
	l.wants(1, "did you mean deadtime", "heartbeat", "reload")
	m.until("RELOADING=1")
	m.until("READY=1") // it runs as before
	l.write("ha.cf", loneHaCF)

	l.wants(0, "nothing was released", "heartbeat", "upgrade")
	m.until("RELOADING=1")
	ready("upgrade")

	m.wantsRegular(2*time.Second, watchdog, 3, 12) // neither too few nor one with each heartbeat
	l.cmd.Process.Signal(syscall.SIGSTOP)
	awaitStopped(t, pid)
	for m.hear(50*time.Millisecond) != "" { // what it had said before
	}
	if at := m.signsOfLife(watchdog); len(at) != 0 {
		t.Errorf("a stopped process gives signs of life at %v", at)
	}
	l.cmd.Process.Signal(syscall.SIGCONT)
	m.until("WATCHDOG=1")

	l.wants(0, "has stopped", "heartbeat", "stop")
	m.until("STOPPING=1")
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
}

// TestServiceManagerWithRareHeartbeats: a watchdog that is shorter than keepalive is fed all the same.
func TestServiceManagerWithRareHeartbeats(t *testing.T) {
	requireNamespace(t)
	const watchdog = 800 * time.Millisecond
	m := newManager(t, filepath.Join(t.TempDir(), "notify"), watchdog)
	l := startLone(t, strings.NewReplacer("keepalive 50ms", "keepalive 3", "deadtime 300ms", "deadtime 10", "initdead 500ms", "initdead 20").Replace(loneHaCF))
	m.until("READY=1")
	m.wantsRegular(4*time.Second, watchdog, 5, 16)
	l.wants(0, "", "heartbeat", "stop")
	l.cmd.Wait()
}
