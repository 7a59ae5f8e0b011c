package host

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Alarm wakes its owner at an instant of CLOCK_BOOTTIME, to a few microseconds, and at once on resume when that instant
// passed during suspension. The Go runtime's own timers are rounded to the next millisecond by epoll and wake twice.
// Its system calls are raw for the reason given at readClock. Set is not safe for concurrent use; Close may be called at any
// time.
type Alarm struct {
	file   *os.File
	raw    syscall.RawConn
	forget func()

	spec  unix.ItimerSpec
	errno syscall.Errno
	set   func(fd uintptr) // kept, so that Set does not allocate a closure
}

// NewAlarm makes a disarmed alarm. Close it when done.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	a := &Alarm{file: os.NewFile(uintptr(fd), "timerfd"), forget: func() {}}
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.file.Close()
		return nil, fmt.Errorf("create timer: %w", err)
	}
	a.set = a.settime
	return a, nil
}

// Each has f called at each expiry from now on, by the goroutine of the process's selector, so it must not wait.
func (a *Alarm) Each(f func()) error {
	forget, err := selectOn(a.raw, unix.EPOLLIN|unix.EPOLLET, f) // edge-triggered: an expiry needs no reading
	if err != nil {
		return fmt.Errorf("wait for timer: %w", err)
	}
	a.forget = forget
	return nil
}

// Set arms the alarm for that instant of CLOCK_BOOTTIME, replacing what was set; an instant in the past fires at once, and
// a negative one disarms.
func (a *Alarm) Set(at time.Duration) error {
	a.spec = unix.ItimerSpec{}
	if at >= 0 {
		a.spec.Value = unix.NsecToTimespec(max(int64(at), 1))
	}
	if err := a.raw.Control(a.set); err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	if a.errno != 0 {
		return fmt.Errorf("set timer: %w", a.errno)
	}
	return nil
}

func (a *Alarm) settime(fd uintptr) {
	_, _, a.errno = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, unix.TFD_TIMER_ABSTIME, uintptr(unsafe.Pointer(&a.spec)), 0, 0, 0)
}

// Close ends the alarm.
func (a *Alarm) Close() error {
	a.forget()
	return a.file.Close()
}
