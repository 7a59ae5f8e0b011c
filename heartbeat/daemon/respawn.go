package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/config"
	"hapair/heartbeat/host"
)

// How a client that keeps ending is treated (protocol section 1.6).
const (
	neverAgain   = 100              // exit code that asks not to be started again
	shortLife    = 30 * time.Second // a life shorter than this counts as failed
	shortLives   = 10               // more of them in a row end it
	clientGrace  = 10 * time.Second // from TERM to KILL
	betweenLives = 100 * time.Millisecond
)

// clients runs the `respawn` and `failfast` programs.
type clients struct {
	log    *Log
	env    []string
	reboot func(reason string)

	mu      sync.Mutex
	running []*client      // in the order of the file
	left    []legacyClient // of a predecessor, until the first apply
	record  string         // file for a successor, "" for none
	writing sync.Mutex     // one at a time into it
}

// client is one program and its supervisor.
type client struct {
	config.Client
	failfast bool
	stop     chan struct{}
	done     chan struct{}
	pid      int  // 0 while it does not run; guarded by clients.mu
	runs     int  // the process that a predecessor started; 0 for none
	orphan   bool // and that is no child of this process
}

// start starts one client.
func (c *clients) start(conf config.Client, failfast bool) {
	one := &client{Client: conf, failfast: failfast, stop: make(chan struct{}), done: make(chan struct{})}
	c.mu.Lock()
	if i := slices.IndexFunc(c.left, func(l legacyClient) bool {
		return l.User == conf.User && l.Command == conf.Command && l.FailFast == failfast
	}); i >= 0 {
		one.runs, one.orphan = c.left[i].PID, c.left[i].orphan
		c.left = slices.Delete(c.left, i, i+1)
	}
	c.running = append(c.running, one)
	c.mu.Unlock()
	go c.supervise(one)
}

// legacy lists the clients that run, for a successor in this process.
func (c *clients) legacy() []legacyClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.left)
	for _, one := range c.running {
		if one.pid != 0 {
			list = append(list, legacyClient{User: one.User, Command: one.Command, FailFast: one.failfast, PID: one.pid, Begun: host.ProcessBegun(one.pid)})
		}
	}
	return list
}

// stopAll ends the clients one at a time in reverse order, each awaited until ctx ends.
func (c *clients) stopAll(ctx context.Context) {
	for {
		c.mu.Lock()
		if len(c.running) == 0 {
			c.mu.Unlock()
			return
		}
		last := c.running[len(c.running)-1]
		c.running = c.running[:len(c.running)-1]
		c.mu.Unlock()
		close(last.stop)
		select {
		case <-last.done:
		case <-ctx.Done():
			return
		}
	}
}

// apply starts and stops clients so that the lists hold: what a reload does.
func (c *clients) apply(respawn, failfast []config.Client) {
	type key struct {
		user, command string
		failfast      bool
	}
	want := map[key]bool{}
	for _, r := range respawn {
		want[key{r.User, r.Command, false}] = true
	}
	for _, r := range failfast {
		want[key{r.User, r.Command, true}] = true
	}
	c.mu.Lock()
	var keep, drop []*client
	for _, one := range c.running {
		k := key{one.User, one.Command, one.failfast}
		if want[k] {
			keep = append(keep, one)
			delete(want, k)
		} else {
			drop = append(drop, one)
		}
	}
	c.running = keep
	c.mu.Unlock()
	for _, one := range drop {
		close(one.stop)
	}
	for _, r := range respawn {
		if want[key{r.User, r.Command, false}] {
			c.start(r, false)
		}
	}
	for _, r := range failfast {
		if want[key{r.User, r.Command, true}] {
			c.start(r, true)
		}
	}
	c.mu.Lock()
	stray := c.left
	c.left = nil
	c.mu.Unlock()
	for _, l := range stray { // ha.cf does not want them any more
		unix.Kill(-l.PID, unix.SIGTERM)
		if !l.orphan {
			go unix.Wait4(l.PID, nil, 0, nil)
		}
	}
}

// online tells whether a client of that name (its program's file name) runs.
func (c *clients) online(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.running {
		if filepath.Base(one.Path) == name && one.pid != 0 {
			return true
		}
	}
	return false
}

// supervise keeps one client running until it is stopped, asks not to be started again, or ends too quickly too often.
func (c *clients) supervise(one *client) {
	defer close(one.done)
	for short := 0; ; {
		started := time.Now()
		err := c.live(one)
		select {
		case <-one.stop:
			return
		default:
		}
		var exit *exec.ExitError
		died := errors.As(err, &exit)
		if one.failfast && died {
			c.reboot(fmt.Sprintf("failfast client %q ended: %v", one.Command, err))
			return
		}
		if died && exit.ExitCode() == neverAgain {
			c.log.Infof("Client %q exited with code %d: it will not be started again", one.Command, neverAgain)
			return
		}
		if short++; time.Since(started) >= shortLife {
			short = 0
		}
		if short > shortLives {
			c.log.Errorf("Client %q respawning too fast: it is not started again; see its own log, then `heartbeat reload`", one.Command)
			return
		}
		c.log.Warnf("Client %q ended (%s): starting it again", one.Command, outcome(err))
		select {
		case <-time.After(betweenLives):
		case <-one.stop:
			return
		}
	}
}

// outcome is how a program ended, for a person.
func outcome(err error) string {
	if err == nil {
		return "exit code 0"
	}
	return err.Error()
}

// live runs a client once, or goes on with one that runs, and ends it when the supervisor is stopped.
func (c *clients) live(one *client) error {
	if pid := one.runs; pid != 0 {
		one.runs = 0
		c.log.Infof("Client %q runs on (pid %d)", one.Command, pid)
		if one.orphan {
			return c.await(one, pid, func() error { host.WaitProcess(pid); return errOrphanEnded })
		}
		return c.await(one, pid, func() error { return waitChild(pid) })
	}
	cmd := host.Command("/bin/sh", "-c", "exec "+one.Command)
	cmd.Env, cmd.Dir = c.env, "/"
	uid, gid, err := become(cmd, one.User)
	if err != nil {
		return err
	}
	c.log.Infof("Starting child client \"%s\" (%d,%d)", one.Command, uid, gid)
	if err := host.Start(cmd); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	c.log.Infof("Starting \"%s\" as uid %d  gid %d (pid %d)", one.Command, uid, gid, cmd.Process.Pid)
	return c.await(one, cmd.Process.Pid, cmd.Wait)
}

// waitChild waits for a child that was not started by an exec.Cmd of this program.
func waitChild(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		return &exec.ExitError{ProcessState: state}
	}
	return err
}

// await waits until a client has ended, or ends it when the supervisor is stopped.
func (c *clients) await(one *client, pid int, wait func() error) error {
	c.setPID(one, pid)
	defer c.setPID(one, 0)
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	select {
	case err := <-ended:
		return err
	case <-one.stop:
	}
	unix.Kill(-pid, unix.SIGTERM)
	select {
	case err := <-ended:
		return err
	case <-time.After(clientGrace):
		unix.Kill(-pid, unix.SIGKILL)
		return <-ended
	}
}

func (c *clients) setPID(one *client, pid int) {
	c.mu.Lock()
	one.pid = pid
	c.mu.Unlock()
	c.writing.Lock()
	defer c.writing.Unlock()
	c.keepRecord()
}

// become makes a command run as a user, with that user's groups.
func become(cmd *exec.Cmd, name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return 0, 0, fmt.Errorf("find user %q: %w", name, err)
		}
	}
	uid, errU := strconv.Atoi(u.Uid)
	gid, errG := strconv.Atoi(u.Gid)
	if err := errors.Join(errU, errG); err != nil {
		return 0, 0, err
	}
	if uid == unix.Geteuid() && gid == unix.Getegid() {
		return uid, gid, nil
	}
	credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if ids, err := u.GroupIds(); err == nil {
		for _, id := range ids {
			if n, err := strconv.Atoi(id); err == nil {
				credential.Groups = append(credential.Groups, uint32(n))
			}
		}
	}
	cmd.SysProcAttr.Credential = credential
	return uid, gid, nil
}
