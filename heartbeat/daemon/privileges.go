package daemon

import (
	"os"
	"runtime"
	"runtime/debug"

	"hapair/heartbeat/config"
	"hapair/heartbeat/host"
)

// What the Go runtime may use. A node at rest needs a few megabytes and a fraction of one processor; two let a reader verify
// a flood while the loop works.
const (
	memoryLimit = 64 << 20
	processors  = 2
	garbage     = 200 // percent: half as many collections at rest for a few megabytes
)

// takePrivileges keeps this process in memory and ahead of others, as ha.cf says. What the machine refuses is mentioned once,
// with the remedy, and the daemon goes on without it.
func takePrivileges(c *config.Config, realtime bool, log *Log) {
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(garbage)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(processors, runtime.NumCPU()))
	}
	if !realtime {
		return
	}
	if err := host.LockMemory(); err != nil {
		log.Noticef("Not locked in memory (%v): a machine that swaps may delay heartbeats; in a container or under systemd set LimitMEMLOCK=infinity", err)
	} else {
		log.Debugf("pid locked in memory.")
	}
	if !c.Realtime {
		return
	}
	if err := host.Realtime(c.RTPrio); err != nil {
		log.Noticef("No realtime scheduling (%v): a busy machine may delay heartbeats; in a container or under systemd grant CAP_SYS_NICE, and a realtime budget to the cgroup, or write `realtime off`", err)
	}
}
