package host

import (
	"time"

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
	return Clocks{Mono: readClock(unix.CLOCK_MONOTONIC), Boot: readClock(unix.CLOCK_BOOTTIME), Wall: time.Now()}
}

// readClock reads one clock that Linux always has, so that there is no error to return.
func readClock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
