package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Processes lists the machine's processes, process 1 first, as the laboratory numbers them.
func (m *Machine) Processes() []int {
	pids := []int{m.pid}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return pids
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == m.pid {
			continue
		}
		space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		if err == nil && space == m.pidSpace {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Freeze stops every process of the machine, itself included; its kernel goes on answering, as that of a real machine
// does whose programs hang. It returns how long that took.
func (m *Machine) Freeze() time.Duration {
	begun := time.Now()
	stopped := map[int]bool{}
	for again := true; again; {
		again = false
		for _, pid := range m.Processes() {
			if !stopped[pid] && syscall.Kill(pid, syscall.SIGSTOP) == nil {
				stopped[pid], again = true, true
			}
		}
	}
	return time.Since(begun)
}

// Thaw lets every process of the machine go on.
func (m *Machine) Thaw() { m.signal(m.Processes(), syscall.SIGCONT) }

// KillAll kills every process on the machine but process 1, at once, as the kernel does when memory runs out: nothing
// gets a chance to tidy up.
func (m *Machine) KillAll() { m.signal(m.Processes()[1:], syscall.SIGKILL) }

func (m *Machine) signal(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		syscall.Kill(pid, s)
	}
}

// Signal sends a signal to a program that was started on the machine.
func (p *Process) Signal(s syscall.Signal) error {
	for _, pid := range p.machine.Processes() {
		if innerPid(pid) == p.pid {
			return syscall.Kill(pid, s)
		}
	}
	return fmt.Errorf("signal process %d on %s: %w", p.pid, p.machine.Name, syscall.ESRCH)
}

// innerPid is the number of a process in its own process namespace.
func innerPid(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("\nNSpid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) == 0 {
		return 0
	}
	inner, _ := strconv.Atoi(fields[len(fields)-1])
	return inner
}

// Usage is what the machine's processes cost, process 1 left out.
type Usage struct {
	Processes int
	CPU       time.Duration // user and system, of those alive now and of their ended children
	Resident  int64         // bytes, summed over the processes
}

// Usage reads the present cost of what runs on the machine.
func (m *Machine) Usage() Usage {
	var u Usage
	for _, pid := range m.Processes()[1:] {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		fields := strings.Fields(string(rest))
		if len(fields) < 22 {
			continue
		}
		u.Processes++
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			ticks, _ := strconv.ParseInt(f, 10, 64)
			u.CPU += time.Duration(ticks) * time.Second / 100
		}
		pages, _ := strconv.ParseInt(fields[21], 10, 64)
		u.Resident += pages * int64(os.Getpagesize())
	}
	return u
}
