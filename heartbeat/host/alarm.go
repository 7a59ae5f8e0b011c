package host

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm wakes its owner at an instant of CLOCK_BOOTTIME, to a few microseconds, and at once on resume when that instant
// passed during suspension. The Go runtime's own timers are rounded to the next millisecond by epoll and wake twice.
type Alarm struct {
	file *os.File
	c    chan struct{}
}

// NewAlarm makes a disarmed alarm. Close it when done.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	a := &Alarm{file: os.NewFile(uintptr(fd), "timerfd"), c: make(chan struct{}, 1)}
	go a.run()
	return a, nil
}

// run turns expiries of the timer into tokens; it ends when the file is closed.
func (a *Alarm) run() {
	var count [8]byte
	for {
		if _, err := a.file.Read(count[:]); err != nil {
			return
		}
		select {
		case a.c <- struct{}{}:
		default:
		}
	}
}

// C delivers one token for each expiry; a token that nobody took is not doubled.
func (a *Alarm) C() <-chan struct{} { return a.c }

// Set arms the alarm for that instant of CLOCK_BOOTTIME, replacing what was set; an instant in the past fires at once, and
// a negative one disarms.
func (a *Alarm) Set(at time.Duration) error {
	spec := unix.ItimerSpec{}
	if at >= 0 {
		spec.Value = unix.NsecToTimespec(max(int64(at), 1))
	}
	raw, err := a.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	var setErr error
	if err := raw.Control(func(fd uintptr) {
		setErr = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
	}); err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	if setErr != nil {
		return fmt.Errorf("set timer: %w", setErr)
	}
	return nil
}

// Close ends the alarm and its goroutine.
func (a *Alarm) Close() error { return a.file.Close() }
