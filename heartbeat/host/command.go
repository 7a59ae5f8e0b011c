package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long a program is given at each step of being ended, unless it says otherwise.
const (
	DefaultGrace = 3 * time.Second // from TERM to KILL
	killWait     = 2 * time.Second // from KILL to giving it up as stuck in the kernel
)

// ErrStuck is in the error of a program that did not end even after SIGKILL: it sleeps in the kernel, most often on a dead
// disk or file server. It still exists.
var ErrStuck = errors.New("did not end after SIGKILL")

// StuckError is ErrStuck with the process that it is about.
type StuckError struct {
	PID   int
	Ended <-chan struct{} // closed when it has ended after all
}

// Error names the process.
func (e *StuckError) Error() string { return fmt.Sprintf("%v (process %d)", ErrStuck, e.PID) }

// Unwrap gives ErrStuck.
func (e *StuckError) Unwrap() error { return ErrStuck }

// ExitError says that a program ended, but not well.
type ExitError struct {
	Code   int            // exit status; -1 when a signal ended it
	Signal syscall.Signal // what ended it, 0 when it exited by itself
	Last   string         // its last line of output, "" when it wrote none
}

// Error renders the exit code or signal, and the last line of output.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("exit code %d", e.Code)
	if e.Signal != 0 {
		text = fmt.Sprintf("ended by signal %d (%v)", int(e.Signal), e.Signal)
	}
	if e.Last != "" {
		text += ": " + e.Last
	}
	return text
}

// Command prepares a program that runs beside the daemon: in a session and process group of its own, and not ended with the
// daemon. Give it to Start. A script with a time-out is better run as a Program.
func Command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// Start starts cmd so that it inherits nothing from the daemon that it was not given: neither its realtime scheduling, nor
// ignored signals, nor open files, nor its protection against the out-of-memory killer.
func Start(cmd *exec.Cmd) error {
	unignoreSignals()
	keepFiles()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		restore, err := leaveRealtime()
		if err == nil {
			err = cmd.Start()
		}
		failed <- err
		if restore() == nil {
			runtime.UnlockOSThread() // otherwise the thread ends with this goroutine, so that no other runs on it
		}
	}()
	if err := <-failed; err != nil {
		return err
	}
	exposeToOOM(cmd.Process.Pid)
	return nil
}

// leaveRealtime puts the calling thread under ordinary scheduling, and returns what undoes that.
func leaveRealtime() (restore func() error, err error) {
	restore = func() error { return nil }
	have, err := unix.SchedGetAttr(0, 0)
	if err != nil || have.Policy == unix.SCHED_NORMAL && have.Nice == 0 {
		return restore, nil
	}
	ordinary := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	if err := unix.SchedSetAttr(0, &ordinary, 0); err != nil && have.Policy != unix.SCHED_NORMAL {
		return restore, fmt.Errorf("leave realtime scheduling: %w", err)
	}
	return func() error { return unix.SchedSetAttr(0, have, 0) }, nil
}

// nowhere receives the signals that unignoreSignals takes.
var nowhere = make(chan os.Signal, 1)

// unignoreSignals makes signals that this process ignores (it was started by nohup) arrive nowhere instead: that has the
// same effect here, and programs that we start get the default again.
func unignoreSignals() {
	for s := syscall.Signal(1); s < 32; s++ {
		if signal.Ignored(s) {
			signal.Notify(nowhere, s)
		}
	}
}

// keepFiles marks the files that this process was itself started with, beyond the standard three, as not to be handed on.
// Those that it opened are marked already.
var keepFiles = sync.OnceFunc(func() {
	if unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, _ := os.ReadDir("/proc/self/fd") // kernels before 5.11
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
})

// exposeToOOM gives a child the ordinary out-of-memory score where the daemon protects itself by a lower one. It is a
// favour to the machine: nothing depends on it.
func exposeToOOM(pid int) {
	score, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil || !strings.HasPrefix(string(score), "-") {
		return
	}
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("0"), 0)
}

// Program is a script or other program that runs to its end.
type Program struct {
	Path   string
	Args   []string // without the name of the program
	Env    []string // all of its environment
	Dir    string   // "" is /
	Stdin  []byte
	Line   func(string)  // called for each line of output, from one goroutine; nil drops them
	Errors func(string)  // as Line, for standard error alone and from another goroutine; nil has Line take both
	Grace  time.Duration // from TERM to KILL; 0 is DefaultGrace

	Ledger *Ledger // where it is written down while it runs; nil for nowhere
	Key    string  // what it works on, for the ledger: it does not start beside a predecessor's of the same key
}

// Run starts the program and waits until it ended; processes that it left behind are not waited for. When ctx ends first,
// its whole process group gets SIGTERM, after Grace SIGKILL, and the error wraps context.Cause(ctx); if that does not end it
// within two seconds either, the error wraps a *StuckError and the program still exists. An exit code other than 0 is an
// *ExitError.
func (p Program) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := p.Ledger.await(ctx, p.Key); err != nil {
		return err
	}
	out, err := newOutputs(p.Line, p.Errors)
	if err != nil {
		return err
	}
	cmd := Command(p.Path, p.Args...)
	cmd.Env, cmd.Dir = p.Env, p.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	cmd.Stdout, cmd.Stderr = out.stdout.write, out.stderr.write
	if err := p.input(cmd); err != nil {
		out.abandon()
		return err
	}
	mark, marking := p.Ledger.announce(p.Key)
	cmd.Env = append(slices.Clip(cmd.Env), marking...)
	err = Start(cmd)
	if stdin, ok := cmd.Stdin.(*os.File); ok {
		stdin.Close()
	}
	if err != nil {
		p.Ledger.began(mark, p.Key, 0)
		out.abandon()
		return fmt.Errorf("start: %w", startHint(p.Path, err))
	}
	out.start()
	return p.wait(ctx, cmd, out, p.Ledger.began(mark, p.Key, cmd.Process.Pid))
}

// input gives the program its standard input: a file in memory, so that nobody has to wait until it reads.
func (p Program) input(cmd *exec.Cmd) error {
	if len(p.Stdin) == 0 {
		return nil
	}
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make standard input: %w", err)
	}
	f := os.NewFile(uintptr(fd), "input")
	if _, err := f.WriteAt(p.Stdin, 0); err != nil {
		f.Close()
		return fmt.Errorf("make standard input: %w", err)
	}
	cmd.Stdin = f
	return nil
}

// startHint says what the kernel's two most confusing answers mean.
func startHint(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("%w: its first line is not #!INTERPRETER", err)
	case errors.Is(err, unix.ENOENT):
		if _, statErr := os.Stat(path); statErr == nil {
			return fmt.Errorf("%w: the interpreter in its first line does not exist (or that line ends in CR)", err)
		}
	}
	return err
}

// wait is Run from the moment on that the program runs.
func (p Program) wait(ctx context.Context, cmd *exec.Cmd, out outputs, gone func()) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		waitUnreaped(cmd.Process.Pid)
	}()
	select {
	case <-ended:
		gone()
		return out.finish(cmd.Wait())
	case <-ctx.Done():
	}
	grace := p.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	cause := context.Cause(ctx)
	if !endGroup(cmd.Process.Pid, ended, grace) {
		stuck := &StuckError{PID: cmd.Process.Pid}
		if left := groupMembers(cmd.Process.Pid); len(left) > 0 {
			stuck.PID = left[0]
		}
		done := make(chan struct{})
		stuck.Ended = done
		go func() {
			<-ended
			for len(groupMembers(cmd.Process.Pid)) > 0 {
				time.Sleep(stuckInterval)
			}
			gone()
			close(done)
			_ = cmd.Wait()
		}()
		out.release()
		return fmt.Errorf("%w: %w%s", cause, stuck, out.lastLine())
	}
	gone()
	_ = out.finish(cmd.Wait())
	return fmt.Errorf("%w%s", cause, out.lastLine())
}

// waitUnreaped waits until a child has ended, and leaves it to be reaped: its pid, and so its process group, stay reserved.
func waitUnreaped(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// How often a process group is looked at: that is being ended, and that did not end.
const (
	endInterval   = 20 * time.Millisecond
	stuckInterval = 2 * time.Second
)

// groupMembers are the processes of a group that have not ended.
func groupMembers(group int) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" && fields[0] != "X" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endGroup ends a process group whose leader is not yet reaped, and reports whether all of it did end: a mount that sleeps in the kernel for
// a dead disk goes on when the disk is back, long after the script that called it was killed.
func endGroup(pid int, ended <-chan struct{}, grace time.Duration) bool {
	_ = unix.Kill(-pid, unix.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	_ = unix.Kill(-pid, unix.SIGKILL) // also what the leader left behind in its group
	timer.Reset(killWait)
	select {
	case <-ended:
	case <-timer.C:
		return false
	}
	for len(groupMembers(pid)) > 0 {
		select {
		case <-timer.C:
			return false
		case <-time.After(endInterval):
		}
	}
	return true
}
