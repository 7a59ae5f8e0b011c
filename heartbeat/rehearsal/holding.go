package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// doDebug holds every thread of the active node's daemon by ptrace, as a debugger does, for a while.
func doDebug(ctx context.Context, r *run, node int, s step) error {
	n := r.world.nodes[node]
	var err error
	var wait sync.WaitGroup
	wait.Go(func() {
		runtime.LockOSThread() // a thread that traces is the only one that may let go
		defer runtime.UnlockOSThread()
		var held []int
		if held, err = holdThreads(n.machine.Processes()[1:]); err == nil {
			err = pause(ctx, s.span.of(r.timing))
			r.world.note("rehearsal", KindAction, "let the daemon on "+n.name+" go on")
		}
		for _, tid := range held {
			if e := unix.PtraceDetach(tid); e != nil && !errors.Is(e, syscall.ESRCH) {
				err = errors.Join(err, fmt.Errorf("let thread %d go: %w", tid, e))
			}
		}
	})
	wait.Wait()
	return err
}

// holdThreads stops all threads of some processes, those too that they make meanwhile.
func holdThreads(pids []int) (held []int, err error) {
	known := map[int]bool{}
	for again := true; again; {
		again = false
		for _, pid := range pids {
			tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
			for _, t := range tasks {
				tid, err := strconv.Atoi(t.Name())
				if err != nil || known[tid] {
					continue
				}
				known[tid], again = true, true
				if err := hold(tid); errors.Is(err, syscall.ESRCH) {
					continue // it has ended
				} else if err != nil {
					return held, fmt.Errorf("hold thread %d as a debugger: %w", tid, err)
				}
				held = append(held, tid)
			}
		}
	}
	if len(held) == 0 {
		return nil, errors.New("hold the daemon as a debugger: it does not run")
	}
	return held, nil
}

func hold(tid int) error {
	if err := unix.PtraceSeize(tid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return err
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(tid, &status, unix.WALL, nil)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// doStarve gives everything on a node a little more memory than it has, and runs programs there that take all they can get, for a while: the
// kernel reclaims what it can and kills one of them after the other.
func doStarve(ctx context.Context, r *run, node int, s step) error {
	n := r.world.nodes[node]
	group, err := newMemoryGroup(fmt.Sprintf("hapair-rehearsal-%016x", rand.Uint64()))
	if err != nil {
		return err
	}
	defer group.remove()
	for _, pid := range n.machine.Processes() {
		if err := group.add(pid); err != nil {
			return err
		}
	}
	if err := group.limit(n.machine.Usage().Resident + 48<<20); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.span.of(r.timing))
	defer cancel()
	killed := 0
	for ctx.Err() == nil {
		hog, err := n.machine.Start("/var/log/hog", "tail", "/dev/zero") // looks for the end of a line that has none
		if err != nil {
			return err
		}
		if _, err := hog.Wait(ctx); err == nil {
			killed++
		} else if err := hog.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	if killed == 0 {
		return fmt.Errorf("starve %s of memory: nothing was killed for want of it", n.name)
	}
	r.world.note("rehearsal", KindAction, fmt.Sprintf("%d programs were killed on %s for want of memory", killed, n.name))
	return nil
}

// memoryGroup is a control group that bounds memory.
type memoryGroup struct{ dir, limitFile, parent string }

// memoryControl finds where memory can be bounded: the old hierarchy of memory alone, or the unified one.
func memoryControl() (parent, limitFile string, err error) {
	for _, c := range []struct{ parent, probe, limit string }{
		{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "/sys/fs/cgroup/cgroup.subtree_control", "memory.max"},
	} {
		text, err := os.ReadFile(c.probe)
		if err == nil && (c.limit != "memory.max" || strings.Contains(string(text), "memory")) {
			return c.parent, c.limit, nil
		}
	}
	return "", "", errors.New("no control group of this machine bounds memory")
}

func newMemoryGroup(name string) (*memoryGroup, error) {
	parent, limit, err := memoryControl()
	if err != nil {
		return nil, err
	}
	g := &memoryGroup{dir: filepath.Join(parent, name), limitFile: limit, parent: parent}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("bound memory: %w", err)
	}
	return g, nil
}

func (g *memoryGroup) add(pid int) error {
	err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("bound memory: %w", err)
	}
	return nil
}

func (g *memoryGroup) limit(bytes int64) error {
	if err := os.WriteFile(filepath.Join(g.dir, g.limitFile), []byte(strconv.FormatInt(bytes, 10)), 0); err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	return nil
}

// remove gives everything back to where it was.
func (g *memoryGroup) remove() {
	for range 50 {
		text, _ := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
		for _, pid := range strings.Fields(string(text)) {
			os.WriteFile(filepath.Join(g.parent, "cgroup.procs"), []byte(pid), 0)
		}
		if os.Remove(g.dir) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
