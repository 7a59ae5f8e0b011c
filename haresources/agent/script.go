package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// absence decides what it means that a program cannot be found. As long as its resource was not seen to run, there is
// nothing to stop, and a misspelled name must not block the group; afterwards nobody knows.
type absence struct{ ran atomic.Bool }

// saw notes what became of a start or a query.
func (a *absence) saw(s haresources.State, err error) (haresources.State, error) {
	switch {
	case s == haresources.Running || s == haresources.Failed:
		a.ran.Store(true)
	case s == haresources.Stopped && err == nil:
		a.ran.Store(false)
	}
	return s, err
}

// state is the state of a resource whose program cannot be found.
func (a *absence) state(missing error) (haresources.State, error) {
	if a.ran.Load() {
		return haresources.Unknown, missing
	}
	return haresources.Stopped, missing
}

// stop is the result of stopping a resource whose program cannot be found.
func (a *absence) stop(ctx context.Context, missing error) error {
	if a.ran.Load() {
		return missing
	}
	if tell := haresources.OutputTo(ctx); tell != nil {
		tell(missing.Error() + ": there is nothing to stop")
	}
	return nil
}

// did is the result of a start or stop that was tried.
func (a *absence) did(op haresources.Operation, err error) error {
	switch {
	case op == haresources.OpStart:
		a.ran.Store(true) // a start that failed may have left something behind
	case err == nil:
		a.ran.Store(false)
	}
	return err
}

// examining remembers an examination that could not be ended, so that there are never two of one resource.
type examining struct {
	mu    sync.Mutex
	stuck *host.StuckError
	since time.Time
}

// last says that the examination before has not ended; nil where it has.
func (e *examining) last() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stuck == nil {
		return nil
	}
	select {
	case <-e.stuck.Ended:
		e.stuck = nil
		return nil
	default:
		return fmt.Errorf("%w: its status, process %d, was to end at %s and sleeps in the kernel", haresources.ErrUnkillable, e.stuck.PID, e.since.Format(time.TimeOnly))
	}
}

// note remembers how an examination ended.
func (e *examining) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if errors.As(err, &e.stuck) {
		e.since = time.Now()
	}
}

// script is a resource that a shell script of the classic kind runs: NAME ARGUMENT… start|stop|status.
type script struct {
	env  Environment
	name string
	args []string
	dirs []string // where it is looked for, in this order
	own  func(output string, exit error) (haresources.State, error)
	examining
	absence
}

// find looks the script up, as late as possible: it may stand on a file system that an earlier resource of the line mounts.
func (s *script) find() (string, error) {
	var why error
	for _, dir := range s.dirs {
		path := filepath.Join(dir, s.name)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			why = err
		case !info.Mode().IsRegular():
			why = fmt.Errorf("%s is no regular file", path)
		case info.Mode()&0o111 == 0:
			why = fmt.Errorf("%s is not executable", path)
		default:
			return path, nil
		}
	}
	if why != nil {
		return "", fmt.Errorf("cannot locate resource script %s: %w", s.name, why)
	}
	return "", fmt.Errorf("cannot locate resource script %s in %s", s.name, strings.Join(s.dirs, " or "))
}

// program is the script with its arguments and an operation.
func (s *script) program(op haresources.Operation) (host.Program, error) {
	path, err := s.find()
	if err != nil {
		return host.Program{}, err
	}
	args := append(append([]string(nil), s.args...), string(op))
	return host.Program{Path: path, Args: args, Env: s.env.environ(), Ledger: s.env.now().Ledger, Key: strings.Join(append([]string{s.name}, s.args...), "::")}, nil
}

// Start runs the script with "start".
func (s *script) Start(ctx context.Context) error { return s.do(ctx, haresources.OpStart) }

// Stop runs the script with "stop".
func (s *script) Stop(ctx context.Context) error { return s.do(ctx, haresources.OpStop) }

func (s *script) do(ctx context.Context, op haresources.Operation) error {
	p, err := s.program(op)
	if err != nil && op == haresources.OpStop {
		return s.absence.stop(ctx, err)
	}
	if err != nil {
		return err
	}
	return s.did(op, run(ctx, p))
}

// Status runs the script with "status".
func (s *script) Status(ctx context.Context) (haresources.State, error) {
	if err := s.last(); err != nil {
		return haresources.Unknown, err
	}
	p, err := s.program(haresources.OpStatus)
	if err != nil {
		return s.state(err)
	}
	p.Env = s.env.environ(append(p.Env, "LC_ALL=C")...)
	output, err := capture(ctx, p)
	s.note(err)
	var exit *host.ExitError
	if err != nil && !errors.As(err, &exit) {
		return haresources.Unknown, err
	}
	return s.saw(s.own(output, err))
}

// run runs a program for an operation; what it writes goes to the Manager.
func run(ctx context.Context, p host.Program) error {
	p.Line = haresources.OutputTo(ctx)
	return unkillable(p.Run(ctx))
}

// capture runs a program and returns what it writes to standard output, bounded. Standard error goes to the Manager.
func capture(ctx context.Context, p host.Program) (string, error) {
	const most = 64 << 10
	var mu sync.Mutex // the last line may come from another goroutine than the others
	var text strings.Builder
	p.Line = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if text.Len() < most {
			text.WriteString(line + "\n")
		}
	}
	if p.Errors = haresources.OutputTo(ctx); p.Errors == nil {
		p.Errors = func(string) {}
	}
	err := unkillable(p.Run(ctx))
	mu.Lock()
	defer mu.Unlock()
	return text.String(), err
}

// unkillable translates the host's word for a process that did not end.
func unkillable(err error) error {
	if errors.Is(err, host.ErrStuck) {
		return fmt.Errorf("%w: %w", haresources.ErrUnkillable, err)
	}
	return err
}

// What Heartbeat looks for in what a script answers to "status" (protocol section 8.4).
var (
	saysNotRunning = regexp.MustCompile(`(?s)[Nn][Oo][Tt] .*[Rr]unning`)
	saysRunning    = regexp.MustCompile(`[Rr]unning|OK`)
	saysStopped    = regexp.MustCompile(`(?i)\b(stopped|not running|inactive|unused|dead)\b`)
)

// ownedByText is Heartbeat's ownership test: what the script writes counts, its exit code does not. A script that says
// nothing of the kind is Unknown, which Heartbeat takes for not owned, unless its words or its exit code say that it is
// stopped.
func ownedByText(output string, exit error) (haresources.State, error) {
	switch {
	case saysNotRunning.MatchString(output):
		return haresources.Stopped, nil
	case saysRunning.MatchString(output):
		return haresources.Running, nil
	case saysStopped.MatchString(output):
		return haresources.Stopped, nil
	}
	if code := exitCode(exit); code == lsbStopped || code == ocfNotRunning {
		return haresources.Stopped, nil
	}
	return haresources.Unknown, nil
}

// Exit codes of an init script's "status" (Linux Standard Base).
const (
	lsbRunning  = 0
	lsbDeadPid  = 1
	lsbDeadLock = 2
	lsbStopped  = 3
)

// ownedByCode is the ownership test for scripts that were declared to conform to the LSB.
func ownedByCode(_ string, exit error) (haresources.State, error) {
	switch exitCode(exit) {
	case lsbRunning:
		return haresources.Running, nil
	case lsbStopped:
		return haresources.Stopped, nil
	case lsbDeadPid, lsbDeadLock:
		return haresources.Failed, fmt.Errorf("died: %w", exit)
	}
	return haresources.Unknown, exit
}

// exitCode is the exit code in an error, 0 for none, -1 where there is none to be had.
func exitCode(err error) int {
	var exit *host.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	}
	return -1
}
