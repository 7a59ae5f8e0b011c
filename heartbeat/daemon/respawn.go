package daemon

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
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
	running []*client // in the order of the file
}

// client is one program and its supervisor.
type client struct {
	config.Client
	failfast bool
	stop     chan struct{}
	done     chan struct{}
	pid      int // 0 while it does not run; guarded by clients.mu
}

// start starts one client.
func (c *clients) start(conf config.Client, failfast bool) {
	one := &client{Client: conf, failfast: failfast, stop: make(chan struct{}), done: make(chan struct{})}
	c.mu.Lock()
	c.running = append(c.running, one)
	c.mu.Unlock()
	go c.supervise(one)
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

// live runs a client once, and ends it when the supervisor is stopped.
func (c *clients) live(one *client) error {
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
	c.setPID(one, cmd.Process.Pid)
	defer c.setPID(one, 0)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-one.stop:
	}
	unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
	select {
	case err := <-ended:
		return err
	case <-time.After(clientGrace):
		unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		return <-ended
	}
}

func (c *clients) setPID(one *client, pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one.pid = pid
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
