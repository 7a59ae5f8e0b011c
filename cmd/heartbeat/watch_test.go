package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/daemon"
)

// press is a key as a terminal sends it.
func press(name string) tea.KeyPressMsg {
	special := map[string]rune{"up": tea.KeyUp, "down": tea.KeyDown, "home": tea.KeyHome, "end": tea.KeyEnd}
	if code := special[name]; code != 0 {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Code: rune(name[0]), Text: name}
}

// after is the model after messages, in order.
func after(w watch, messages ...tea.Msg) watch {
	for _, m := range messages {
		next, _ := w.Update(m)
		w = next.(watch)
	}
	return w
}

// shown is the screen without its colours.
func shown(w watch) string { return ansi.Strip(w.render()) }

// troubled is a pair of which something is wrong, with many transitions.
func troubled(transitions int) *daemon.Status {
	s := pairStatus()
	s.Time, s.Health = "2026-11-02T07:30:00.000Z", daemon.Degraded
	s.Problems = []string{"link ucast eth1 10.0.0.2 is dead: nothing heard from beta for 2m5s; check the cable and that beta sends there", "ping node routers does not answer this node"}
	s.Transitions = nil
	for i := range transitions {
		s.Transitions = append(s.Transitions, daemon.TransitionView{Time: fmt.Sprintf("2026-11-02T07:00:%02d.000Z", i), What: fmt.Sprintf("Change %d.", i), Reason: "because"})
	}
	return &s
}

func TestWatchFitsAnOldTerminal(t *testing.T) {
	w := after(newWatch(nil, time.Second), tea.WindowSizeMsg{Width: 80, Height: 24}, fetched{status: troubled(20)})
	want := `alpha is active, holds 10.0.0.1: DEGRADED  2026-11-02 07:30:00
  ! link ucast eth1 10.0.0.2 is dead: nothing heard from beta for 2m5s; check
    the cable and that beta sends there
  ! ping node routers does not answer this node
peer beta is active, holds mail (hapair), heard 80ms ago

links
  bcast eth0           up        last frame 80ms ago
  ucast eth1 10.0.0.2  dead      last frame 2m5s ago
  serial /dev/ttyS0    unusable  last frame never     no such device
  … and 2 more

resource groups
  10.0.0.1  on alpha  since 2026-11-02 07:26:54  both nodes came up
  mail      on beta   since 2026-11-02 07:26:54  beta holds it

last transitions
  2026-11-02 07:00:14  Change 14. (because)
  2026-11-02 07:00:15  Change 15. (because)
  2026-11-02 07:00:16  Change 16. (because)
  2026-11-02 07:00:17  Change 17. (because)
  2026-11-02 07:00:18  Change 18. (because)
  2026-11-02 07:00:19  Change 19. (because)
q quits, up and down scroll; renewed every 1s`
	if got := shown(w); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWatchKeepsToAnySize(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {40, 10}, {200, 60}, {20, 3}, {1, 1}} {
		for _, s := range []*daemon.Status{nil, troubled(0), troubled(20)} {
			w := after(newWatch(nil, time.Second), tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			if s != nil {
				w = after(w, fetched{status: s})
			}
			lines := strings.Split(shown(w), "\n")
			if len(lines) != size[1] {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, l := range lines {
				if ansi.StringWidth(l) > size[0] {
					t.Errorf("%v: %q is wider", size, l)
				}
			}
		}
	}
}

func TestWatchScrolls(t *testing.T) {
	w := after(newWatch(nil, time.Second), fetched{status: troubled(20)}, press("up"), press("up"), press("up"))
	if got := shown(w); !strings.Contains(got, "last transitions (3 newer below)") || strings.Contains(got, "Change 17.") || !strings.Contains(got, "Change 16.") {
		t.Errorf("three lines up:\n%s", got)
	}
	w = after(w, fetched{status: troubled(22)}) // two more come: what is read stays
	if got := shown(w); !strings.Contains(got, "(5 newer below)") || !strings.Contains(got, "Change 16.") || strings.Contains(got, "Change 17.") {
		t.Errorf("after news:\n%s", got)
	}
	if got := shown(after(w, press("end"))); !strings.Contains(got, "Change 21.") || strings.Count(got, "Change 21.") != 1 {
		t.Errorf("at the end:\n%s", got)
	}
	if got := shown(after(w, press("home"), press("up"))); !strings.Contains(got, "Change 0.") {
		t.Errorf("at the beginning:\n%s", got)
	}
	later := troubled(22)
	later.Transitions = later.Transitions[5:] // a status brings the last ones only; those before are kept
	w = after(w, fetched{status: later}, press("home"))
	if len(w.transitions) != 22 {
		t.Errorf("%d transitions are kept", len(w.transitions))
	}
}

func TestWatchWithoutAnAnswer(t *testing.T) {
	gone := errors.New("heartbeat is not running")
	w := after(newWatch(nil, time.Second), fetched{err: gone})
	if got := shown(w); !strings.HasPrefix(got, "heartbeat is not running\n") {
		t.Errorf("before the first answer:\n%s", got)
	}
	w = after(w, fetched{status: troubled(3)}, fetched{err: gone})
	if got := shown(w); !strings.Contains(got, "no answer since then: heartbeat is not running") || !strings.Contains(got, "Change 2.") {
		t.Errorf("after the last answer:\n%s", got)
	}
}

func TestWatchEndsAndAsksAgain(t *testing.T) {
	s := troubled(1)
	w := newWatch(func() (*daemon.Status, error) { return s, nil }, time.Millisecond)
	if m, ok := w.Init()().(fetched); !ok || m.status != s {
		t.Error("does not begin by asking")
	}
	_, next := w.Update(fetched{status: s})
	if _, ok := next().(due); !ok {
		t.Error("does not wait for the next time")
	}
	_, next = w.Update(due{})
	if _, ok := next().(fetched); !ok {
		t.Error("does not ask again")
	}
	for _, name := range []string{"q"} {
		_, next := w.Update(press(name))
		if _, ok := next().(tea.QuitMsg); !ok {
			t.Errorf("%s does not end it", name)
		}
	}
}

func TestWatchNeedsATerminal(t *testing.T) {
	f := startFake(t)
	if code, _, err := call(t, f.run, "heartbeat", "watch", "--interval", "1ms"); code != 2 || !strings.Contains(err, "from 100ms on") {
		t.Errorf("%d %s", code, err)
	}
	cmd := program(t, "watch", "--run", f.run)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "watch needs a terminal") {
		t.Errorf("%v: %s", err, out)
	}
}

// program is this program in a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "TERM=xterm")
	return cmd
}

// TestWatchInATerminal runs the program on a terminal of the test's own, until q.
func TestWatchInATerminal(t *testing.T) {
	f := startFake(t)
	master, slave := terminal(t)
	cmd := program(t, "watch", "--run", f.run, "--interval", "100ms")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()
	var mu sync.Mutex
	var screen bytes.Buffer
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			mu.Lock()
			screen.Write(buffer[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	text := func() string {
		mu.Lock()
		defer mu.Unlock()
		return ansi.Strip(screen.String())
	}
	awaitOutput(t, "the status on the terminal", func() bool { return strings.Contains(text(), "alpha is active, holds 10.0.0.1: HEALTHY") })
	f.change(func(s *daemon.Status) { s.Health = daemon.Degraded })
	awaitOutput(t, "the change on the terminal", func() bool { return strings.Contains(text(), "DEGRADED") })
	if _, err := master.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v:\n%s", err, text())
		}
	case <-time.After(10 * time.Second):
		t.Errorf("q does not end it:\n%s", text())
	}
}

// terminal opens a pseudo-terminal of 80 by 24.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}
