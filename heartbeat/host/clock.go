package host

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Clocks is one reading of this machine's clocks.
type Clocks struct {
	Mono time.Duration // CLOCK_MONOTONIC: stands still while the machine is suspended; for every deadline
	Boot time.Duration // CLOCK_BOOTTIME: goes on during suspension; Boot minus Mono grows by what was slept
	Wall time.Time     // for display; may jump
}

// ReadClocks reads all clocks at (nearly) the same moment.
func ReadClocks() Clocks {
	wall := time.Now()
	return Clocks{Mono: startMono + wall.Sub(startTime), Boot: readClock(unix.CLOCK_BOOTTIME), Wall: wall}
}

// startMono and startTime are one moment by CLOCK_MONOTONIC and by the runtime's clock, which run alike: reading the former
// needs no system call.
var startMono, startTime = readClock(unix.CLOCK_MONOTONIC), time.Now()

// readClock reads one clock that Linux always has, so that there is no error to return. The call is raw: it never waits, and
// an ordinary one would wake the runtime's monitor thread each time this process wakes, which costs more than all the rest.
func readClock(id int32) time.Duration {
	var ts unix.Timespec
	unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
