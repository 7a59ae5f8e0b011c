package agent

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"hapair/heartbeat/host"
)

// supervisor keeps one conntrackd running: it starts it, starts it again when it ends, and reads its counters.
type supervisor struct {
	conntrack *conntrack
	first     chan error    // gets the outcome of the first start
	ended     chan error    // gets the end of the process, when it is our child
	pause     time.Duration // before the next start
}

// How a supervisor works.
const (
	lookEvery = 2 * time.Second
	mostPause = 30 * time.Second
)

// run supervises until ctx ends.
func (s *supervisor) run(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	err := s.up(ctx)
	s.first <- err
	if err != nil {
		s.conntrack.complain(err)
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-s.ended:
			s.ended = nil
			s.again(ctx, fmt.Errorf("conntrackd has ended: %w", err))
		case <-ticker.C:
			s.look(ctx)
		}
	}
}

// up makes conntrackd run, unless it does.
func (s *supervisor) up(ctx context.Context) error {
	c := s.conntrack
	if _, err := c.ctl(ctx, "-s"); err == nil {
		return nil // it has outlived the daemon before us
	}
	path, err := findTool(c.env, "conntrackd")
	if err != nil {
		return err
	}
	cmd := host.Command(path, "-C", c.file)
	cmd.Env, cmd.Dir = c.env.environ("LC_ALL=C"), "/"
	if err := host.Start(cmd); err != nil {
		return fmt.Errorf("start conntrackd: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- waited(cmd) }()
	for deadline := time.Now().Add(answerTime); ; {
		select {
		case err := <-ended:
			return fmt.Errorf("conntrackd ended at once: %w; it says why to the system's log, and when started by hand: conntrackd -C %s", err, c.file)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if _, err := c.ctl(ctx, "-s"); err == nil {
			s.ended = ended
			c.starts.Add(1)
			return nil
		} else if time.Now().After(deadline) {
			return fmt.Errorf("conntrackd does not answer %v after its start: %w", answerTime, err)
		}
	}
}

// waited is how a process has ended; never nil.
func waited(cmd *exec.Cmd) error {
	if err := cmd.Wait(); err != nil {
		return err
	}
	return errors.New("exit code 0")
}

// again starts conntrackd after a pause that grows.
func (s *supervisor) again(ctx context.Context, why error) {
	s.conntrack.complain(why)
	if wait(ctx, s.pause) != nil {
		return
	}
	s.pause = min(max(2*s.pause, time.Second), mostPause)
	if err := s.up(ctx); err != nil {
		s.conntrack.complain(fmt.Errorf("%w; %w", why, err))
		return
	}
	s.conntrack.complain(nil)
	s.after(ctx)
}

// after has a new conntrackd know what it must: on the active node the kernel's connections, on the other one the active
// node's.
func (s *supervisor) after(ctx context.Context) {
	c := s.conntrack
	options := []string{"-n"}
	if active, err := c.marked(); err == nil && active {
		options = []string{"-R", "-B"}
	}
	for _, option := range options {
		if _, err := c.ctl(ctx, option); err != nil {
			c.complain(err)
		}
	}
}

// look reads the counters, and starts what does not answer.
func (s *supervisor) look(ctx context.Context) {
	c := s.conntrack
	limited, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	lines, err := c.ctl(limited, "-s")
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if s.ended == nil {
			s.again(ctx, errors.New("conntrackd does not run"))
		} else {
			c.complain(err)
		}
		return
	}
	s.pause = 0
	counters := parseSync(lines)
	c.mu.Lock()
	verdict := c.health.add(counters, time.Now())
	c.mu.Unlock()
	c.complain(verdict)
}
