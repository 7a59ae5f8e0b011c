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
// Its system calls are raw for the reason given at readClock. One goroutine may Wait
// while another one Sets; Close may be called at any time.
type Alarm struct {
	file *os.File
	raw  syscall.RawConn

	spec  unix.ItimerSpec
	errno syscall.Errno
	set   func(fd uintptr) // kept, so that Set does not allocate a closure

	count [8]byte
	read  func(fd uintptr) bool // kept, as set
}

// NewAlarm makes a disarmed alarm. Close it when done.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	a := &Alarm{file: os.NewFile(uintptr(fd), "timerfd")}
	if a.raw, err = a.file.SyscallConn(); err != nil {
		a.file.Close()
		return nil, fmt.Errorf("create timer: %w", err)
	}
	a.set, a.read = a.settime, a.expired
	return a, nil
}

// Wait waits for the next expiry of the timer. It ends with an error when the alarm is closed.
func (a *Alarm) Wait() error {
	if err := a.raw.Read(a.read); err != nil {
		return fmt.Errorf("wait for timer: %w", err)
	}
	return nil
}

func (a *Alarm) expired(fd uintptr) bool {
	_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&a.count)), uintptr(len(a.count)))
	return errno != unix.EAGAIN
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

// Close ends the alarm and whoever waits for it.
func (a *Alarm) Close() error { return a.file.Close() }
