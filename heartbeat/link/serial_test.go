package link_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/link"
	"hapair/heartbeat/rehearsal/require"
)

// newPTY is a pseudo terminal: the end that a link opens, and the cable's end of it.
func newPTY(t *testing.T) (cable *os.File, tty string) {
	t.Helper()
	cable, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		require.Skip(t, "serial links", "no pseudo terminals: "+err.Error())
	}
	t.Cleanup(func() { cable.Close() })
	raw, err := cable.SyscallConn()
	must(t, err)
	number := 0
	must(t, raw.Control(func(fd uintptr) {
		must(t, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
		number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	}))
	must(t, err)
	return cable, fmt.Sprint("/dev/pts/", number)
}

// nullModem joins two pseudo terminals.
func nullModem(t *testing.T) (ttyA, ttyB string) {
	t.Helper()
	a, ttyA := newPTY(t)
	b, ttyB := newPTY(t)
	for _, way := range [][2]*os.File{{a, b}, {b, a}} {
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(way[1], way[0]) }()
		t.Cleanup(func() { a.Close(); b.Close(); <-done })
	}
	return ttyA, ttyB
}

// openSerial opens a serial link whose lock file goes to a directory of the test's own.
func openSerial(t *testing.T, device string) link.Link {
	t.Helper()
	l, err := link.Open(link.Spec{Kind: "serial", Device: device, Baud: 115200})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

const heartbeat = ">>>\nt=status\nst=active\nsrc=alpha\n<<<\n"

func TestSerial(t *testing.T) {
	link.SetLockDirectory(t, t.TempDir())
	ttyA, ttyB := nullModem(t)
	w := wiring{a: openSerial(t, ttyA), b: openSerial(t, ttyB), serial: true}
	testLink(t, w, 10, 300, 1400, 30000)
}

// TestSerialResynchronises: garbage, half frames and line noise cost the frames they hit and no other.
func TestSerialResynchronises(t *testing.T) {
	link.SetLockDirectory(t, t.TempDir())
	cable, tty := newPTY(t)
	e := listen(t, openSerial(t, tty))
	for name, noise := range map[string]string{
		"nothing":             "",
		"garbage":             "\xff\x00garbage\x7f\r\n",
		"half a frame":        ">>>\nt=status\nsr",
		"the end of a frame":  "c=alpha\n<<<\n",
		"a frame in a frame":  ">>>\nt=sta>>>\nt=",
		"carriage returns":    "\r\r\r",
		"control characters":  "\x03\x04\x1a\x11\x13\x15\x16\x17",
		"a login prompt":      "\r\nDebian GNU/Linux 12 alpha ttyS0\r\n\r\nalpha login: ",
		"an endless line":     strings.Repeat("x", 100000),
		"a frame without end": ">>>\n" + strings.Repeat("x=y\n", 20000),
	} {
		_, err := io.WriteString(cable, noise+"\n"+heartbeat)
		must(t, err)
		if h := e.want(heartbeat); h.from != tty {
			t.Errorf("after %s: from %q", name, h.from)
		}
	}
	_, err := io.WriteString(cable, strings.ReplaceAll(heartbeat, "\n", "\r\n"))
	must(t, err)
	e.want(heartbeat)
	e.quiet()
}

// TestSerialEndsHalfFrames: what a Heartbeat reader may take for the beginning of our frame is ended first, after opening and
// after a write that was cut off.
func TestSerialEndsHalfFrames(t *testing.T) {
	link.SetLockDirectory(t, t.TempDir())
	cable, tty := newPTY(t)
	l := openSerial(t, tty)
	say(t, l, heartbeat)
	say(t, l, heartbeat)
	got := make([]byte, len("\n<<<\n")+2*len(heartbeat))
	must(t, cable.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.ReadFull(cable, got)
	must(t, err)
	if want := "\n<<<\n" + heartbeat + heartbeat; string(got) != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// TestSerialStuck: a line that takes nothing holds a Send until its deadline and not longer, and works again when it does.
func TestSerialStuck(t *testing.T) {
	link.SetLockDirectory(t, t.TempDir())
	cable, tty := newPTY(t)
	l := openSerial(t, tty)
	frame := []byte(">>>\n" + strings.Repeat("x=y\n", 200) + "<<<\n")
	stuck := 0
	for range 200 {
		began := time.Now()
		err := l.Send(frame, began.Add(20*time.Millisecond))
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Fatalf("Send took %v with a deadline of 20 ms", took)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, link.ErrTimeout) {
			t.Fatalf("%v, want ErrTimeout", err)
		}
		if stuck++; stuck == 3 {
			break
		}
	}
	if stuck == 0 {
		t.Fatal("the line was never stuck: nothing was tested")
	}
	received := make(chan []byte)
	go func() {
		var all []byte
		buffer := make([]byte, 4096)
		for !bytes.HasSuffix(all, []byte(heartbeat)) {
			n, err := cable.Read(buffer)
			if err != nil {
				break
			}
			all = append(all, buffer[:n]...)
		}
		received <- all
	}()
	say(t, l, heartbeat)
	select {
	case all := <-received:
		if !bytes.HasSuffix(all, []byte("\n<<<\n"+heartbeat)) {
			t.Errorf("after the line was stuck came %.200q", all)
		}
	case <-time.After(patience):
		t.Fatal("the line did not come back")
	}
}

// TestSerialStuckClose: a stuck line does not hold Close either.
func TestSerialStuckClose(t *testing.T) {
	link.SetLockDirectory(t, t.TempDir())
	_, tty := newPTY(t)
	l := openSerial(t, tty)
	for err := error(nil); err == nil; {
		err = l.Send([]byte(heartbeat), time.Now().Add(10*time.Millisecond))
	}
	began := time.Now()
	must(t, l.Close())
	if took := time.Since(began); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestSerialHangup(t *testing.T) {
	link.SetLockDirectory(t, t.TempDir())
	cable, tty := newPTY(t)
	e := listen(t, openSerial(t, tty))
	must(t, cable.Close())
	if err := e.wantEnd(); !errors.Is(err, link.ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
	if err := e.l.Send([]byte(heartbeat), time.Now().Add(time.Second)); !errors.Is(err, link.ErrGone) {
		t.Errorf("Send: %v, want ErrGone", err)
	}
}

func TestSerialRefuses(t *testing.T) {
	locks := t.TempDir()
	link.SetLockDirectory(t, locks)
	_, tty := newPTY(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for device, want := range map[string]error{"/dev/ttyNone": link.ErrGone, file: nil, "": nil} {
		if l, err := link.Open(link.Spec{Kind: "serial", Device: device}); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%q: %v %v, want %v", device, l, err, want)
		}
	}
	if left, _ := os.ReadDir(locks); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	openSerial(t, tty)
	if _, err := link.Open(link.Spec{Kind: "serial", Device: tty}); !errors.Is(err, link.ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
}

// TestSerialTakenByAnother: a program that has only locked the device itself keeps it.
func TestSerialTakenByAnother(t *testing.T) {
	link.SetLockDirectory(t, filepath.Join(t.TempDir(), "there is none"))
	_, tty := newPTY(t)
	other, err := os.OpenFile(tty, os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	defer other.Close()
	must(t, unix.Flock(int(other.Fd()), unix.LOCK_EX))
	if _, err := link.Open(link.Spec{Kind: "serial", Device: tty}); !errors.Is(err, link.ErrInUse) {
		t.Errorf("%v, want ErrInUse", err)
	}
	must(t, unix.Flock(int(other.Fd()), unix.LOCK_UN))
	openSerial(t, tty)
}

func TestLockFile(t *testing.T) {
	_, tty := newPTY(t)
	name := "LCK..pts_" + filepath.Base(tty)
	parent := os.Getppid()
	for _, c := range []struct {
		name, content string
		age           time.Duration
		free          bool
	}{
		{name: "held by a living process", content: fmt.Sprintf("%11d\n", parent)},
		{name: "held by a living process, ten columns", content: fmt.Sprintf("%10d\n", parent)},
		{name: "left by a dead process", content: fmt.Sprintf("%11d\n", 1<<22-1), free: true},
		{name: "left by an earlier run with our number", content: fmt.Sprintf("%11d\n", os.Getpid()), free: true},
		{name: "empty", content: "", free: true},
		{name: "garbage", content: "\x01\x02\x03\x04", free: true},
		{name: "from before the machine was started", content: fmt.Sprintf("%11d\n", parent), age: 20 * 365 * 24 * time.Hour, free: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			link.SetLockDirectory(t, dir)
			lock := filepath.Join(dir, name)
			must(t, os.WriteFile(lock, []byte(c.content), 0o644))
			written := time.Now().Add(-c.age)
			must(t, os.Chtimes(lock, written, written))
			l, err := link.Open(link.Spec{Kind: "serial", Device: tty})
			if !c.free {
				if !errors.Is(err, link.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(parent)) {
					t.Errorf("%v, want ErrInUse that names process %d", err, parent)
				}
				return
			}
			must(t, err)
			if content, _ := os.ReadFile(lock); string(content) != fmt.Sprintf("%11d\n", os.Getpid()) {
				t.Errorf("the lock says %q", content)
			}
			must(t, l.Close())
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}
