package rehearsal

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Many pairs at once can be more than a machine does: now and then nothing of the daemons' priority runs for a second on one of its cores.

// standstills knows when this machine stood still.
type standstills struct {
	done chan struct{}

	mu   sync.Mutex
	list []standstill
}

type standstill struct {
	end    time.Time
	lasted time.Duration
}

// A thread that sleeps for watchPeriod, and wakes later than noticed, did not run although it wanted to.
const (
	watchPeriod = 10 * time.Millisecond
	noticed     = 150 * time.Millisecond
)

// watchMachine begins to watch, with a thread on each core of the priority that the daemons have: it is one core at a time that stands still.
func watchMachine() *standstills {
	s := &standstills{done: make(chan struct{})}
	for core := range runtime.NumCPU() {
		go s.watch(core)
	}
	return s
}

func (s *standstills) watch(core int) {
	runtime.LockOSThread() // never unlocked: a real-time thread must not serve anyone else
	var only unix.CPUSet
	only.Set(core)
	if unix.SchedSetaffinity(0, &only) != nil {
		return // not ours to run on
	}
	unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0) // without the privilege it sees more
	last := time.Now()
	for {
		select {
		case <-s.done:
			return
		default:
		}
		ts := unix.NsecToTimespec(int64(watchPeriod))
		unix.Nanosleep(&ts, nil)
		now := time.Now()
		if lasted := now.Sub(last); lasted > noticed {
			s.mu.Lock()
			s.list = append(s.list, standstill{now, lasted})
			s.mu.Unlock()
		}
		last = now
	}
}

func (s *standstills) stop() { close(s.done) }

// longest is the longest standstill that ended since; 0 for none, and where nobody watches.
func (s *standstills) longest(since time.Time) (longest time.Duration) {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, each := range s.list {
		if each.end.After(since) {
			longest = max(longest, each.lasted)
		}
	}
	return longest
}
