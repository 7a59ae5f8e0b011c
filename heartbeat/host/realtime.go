package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockMemory keeps every page that this process touches in memory, now and later, so that swapping cannot delay a heartbeat.
// Pages are locked when they are first touched (MCL_ONFAULT), not in whole arenas. Children do not inherit the lock.
// It returns an error, and changes nothing, where the lock could later make an allocation fail: that would end the process.
func LockMemory() error {
	if err := allowUnlimitedLock(); err != nil {
		return err
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("lock memory: %w", err)
	}
	return nil
}

// allowUnlimitedLock is nil when no limit on locked memory applies to this process.
func allowUnlimitedLock() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return fmt.Errorf("read limit of locked memory: %w", err)
	}
	if limit.Cur == unix.RLIM_INFINITY || hasCapability(unix.CAP_IPC_LOCK) && inInitialUserNamespace() {
		return nil
	}
	raised := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &raised); err != nil {
		return fmt.Errorf("raise limit of locked memory from %d bytes: %w", limit.Cur, err)
	}
	return nil
}

// hasCapability tells whether the effective set of this thread holds the capability.
func hasCapability(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

// inInitialUserNamespace tells whether capabilities count against the whole machine, as memory locks and scheduling do.
func inInitialUserNamespace() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	return strings.Join(strings.Fields(string(text)), " ") == "0 0 4294967295"
}

// Realtime puts every thread of this process, present and future, under SCHED_RR with the priority, 1 (lowest) to 99.
// Threads inherit it from the one that creates them, and so would child processes: start those with Command.
func Realtime(priority int) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: uint32(priority)}
	for range 100 {
		changed, err := scheduleThreads(&attr)
		if err != nil {
			return fmt.Errorf("set realtime priority %d: %w", priority, err)
		}
		if changed == 0 {
			return nil
		}
	}
	return errors.New("set realtime priority: threads appear faster than they can be changed")
}

// Timesharing undoes Realtime.
func Timesharing() error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	for range 100 {
		changed, err := scheduleThreads(&attr)
		if err != nil {
			return fmt.Errorf("leave realtime scheduling: %w", err)
		}
		if changed == 0 {
			return nil
		}
	}
	return errors.New("leave realtime scheduling: threads appear faster than they can be changed")
}

// scheduleThreads gives want to every thread that has another policy or priority, and counts them. A thread that has ended
// meanwhile is none.
func scheduleThreads(want *unix.SchedAttr) (changed int, err error) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		have, err := unix.SchedGetAttr(tid, 0)
		if errors.Is(err, unix.ESRCH) || err == nil && have.Policy == want.Policy && have.Priority == want.Priority {
			continue
		}
		if err != nil {
			return changed, err
		}
		if err := unix.SchedSetAttr(tid, want, 0); errors.Is(err, unix.ESRCH) {
			continue
		} else if err != nil {
			return changed, err
		}
		changed++
	}
	return changed, nil
}

// Reboot resets this machine without asking any process. Inside a container it ends that container instead.
func Reboot() error {
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return nil
}
