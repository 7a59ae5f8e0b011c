package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// conntrack is the resource Conntrack[::dev=INTERFACE::peer=ADDRESS][::port=PORT], or Conntrack::FILE with a configuration of
// the administrator's: established connections go on when a router pair changes over. It drives the distribution's
// conntrackd, which runs on both nodes all the time: this agent writes its configuration, starts it and keeps it running.
// On a takeover the connections that the other node had are put into the kernel before Start returns, and so before the
// addresses behind it on the line answer.
type conntrack struct {
	env    Environment
	file   string // of the configuration
	own    bool   // it is ours to write
	device string // "" is every link of the pair
	peer   string // "" is what the link says
	port   int

	mu        sync.Mutex
	keeping   context.CancelFunc // ends the supervision; nil while there is none
	kept      chan struct{}      // closed when it has ended
	after     sync.WaitGroup     // what Start leaves to be done in the background
	complaint error              // why connections would not survive; nil when all is well
	starts    atomic.Int32
	health    syncHealth
	apart     error     // what comparing with the other node's counters said,
	apartAt   time.Time // and when
	report    func(haresources.State, error)
}

// conntrackPort is conntrackd's usual UDP port.
const conntrackPort = 3780

// openConntrack makes the agent.
func openConntrack(env Environment, r haresources.Resource) (haresources.Agent, error) {
	a, err := parseArguments(r, "dev", "peer", "port")
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(newMarker(env, r).path)
	c := &conntrack{env: env, file: filepath.Join(dir, "hapair-conntrackd.conf"), own: true, device: a.named["dev"], peer: a.named["peer"]}
	if c.port, err = parseNumber(a.named["port"], "port", 65535, conntrackPort); err != nil {
		return nil, err
	}
	switch {
	case len(a.plain) > 1 || len(a.plain) == 1 && len(a.named) > 0:
		return nil, errors.New("write Conntrack, Conntrack::dev=INTERFACE::peer=ADDRESS, or Conntrack::FILE")
	case len(a.plain) == 1 && !filepath.IsAbs(a.plain[0]):
		return nil, fmt.Errorf("%q is not the path of a configuration of conntrackd", a.plain[0])
	case len(a.plain) == 1:
		c.file, c.own = a.plain[0], false
	case c.peer != "" && c.device == "":
		return nil, errors.New("peer= needs dev=")
	}
	return c, nil
}

// Timeout leaves room for a table of millions.
func (c *conntrack) Timeout(op haresources.Operation) time.Duration {
	if op == haresources.OpStatus {
		return 10 * time.Second
	}
	return 30 * time.Second
}

// ctl has the running conntrackd do something.
func (c *conntrack) ctl(ctx context.Context, option string) ([]string, error) {
	lines, err := tool{name: "conntrackd", args: []string{"-C", c.file, option}}.run(ctx, c.env)
	if err != nil {
		return nil, fmt.Errorf("conntrackd %s: %w", option, lastWords(err, lines))
	}
	return lines, nil
}

// Standby starts conntrackd, or finds the one that runs, and keeps it running from then on.
func (c *conntrack) Standby(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keep(ctx)
}

// Prepare is the same: nothing of it is in the other node's way.
func (c *conntrack) Prepare(ctx context.Context) error { return c.Standby(ctx) }

// Start puts the other node's connections into the kernel, and has ours sent to it in the background. If that fails, Start
// complains and succeeds: a router that forgets connections is better than none.
func (c *conntrack) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.keep(ctx)
	if err == nil {
		_, err = c.ctl(ctx, "-c")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.complaint = err
	if err != nil {
		c.complaint = fmt.Errorf("connections that the other node had are lost: %w", err)
		say(ctx, "ERROR: "+c.complaint.Error())
	} else {
		c.after.Go(c.lead)
	}
	return c.mark(true)
}

// lead tells conntrackd that it is the active one now: its caches begin anew from the kernel, and go to the other node.
func (c *conntrack) lead() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, option := range []string{"-f", "-R", "-B"} {
		if _, err := c.ctl(ctx, option); err != nil {
			c.complain(fmt.Errorf("the other node does not get our connections: %w", err))
			return
		}
	}
}

// Lingers is true: what this node's conntrackd forgets does not concern the one that has committed the connections.
func (c *conntrack) Lingers() bool { return true }

// Stop has conntrackd forget, after a minute, the connections that are the other node's now, and ask that one for its own.
func (c *conntrack) Stop(ctx context.Context) error {
	c.after.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	running, err := c.marked()
	if err != nil || !running {
		return err
	}
	for _, option := range []string{"-t", "-n"} {
		if _, err := c.ctl(ctx, option); err != nil && ctx.Err() == nil {
			say(ctx, "WARN: "+err.Error()) // nothing of it keeps the group from going
		}
	}
	return c.mark(false)
}

// roleFile says that Start was called since Stop.
func (c *conntrack) roleFile() marker {
	return marker{filepath.Join(c.dir(), "hapair-conntrackd.active")}
}

// dir is where our files are.
func (c *conntrack) dir() string { return filepath.Dir(newMarker(c.env, haresources.Resource{}).path) }

func (c *conntrack) mark(active bool) error {
	if active {
		return c.roleFile().set()
	}
	return c.roleFile().clear()
}

func (c *conntrack) marked() (bool, error) {
	state, err := c.roleFile().status()
	return state == haresources.Running, err
}

// Status says whether Start was called since Stop. That conntrackd does not do its work is a complaint, not a state: moving
// the group to the other node would not mend it.
func (c *conntrack) Status(context.Context) (haresources.State, error) {
	active, err := c.marked()
	switch {
	case err != nil:
		return haresources.Unknown, err
	case active:
		return haresources.Running, nil
	}
	return haresources.Stopped, nil
}

// Adopt begins to look after what runs already.
func (c *conntrack) Adopt(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.keep(ctx); err != nil {
		c.complaint = err
		say(ctx, "ERROR: "+err.Error())
	}
	return nil
}

// Watch has complaints reported.
func (c *conntrack) Watch(report func(haresources.State, error)) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report = report
	if c.complaint != nil {
		report(haresources.Running, c.complaint)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.report = nil
	}
}

// complain notes what is wrong, or nil, and reports a change.
func (c *conntrack) complain(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := (err == nil) != (c.complaint == nil) || err != nil && err.Error() != c.complaint.Error()
	c.complaint = err
	if changed && c.report != nil {
		c.report(haresources.Running, err)
	}
}

// Describe shows the counters.
func (c *conntrack) Describe() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := c.health.last.String()
	if n := c.starts.Load(); n > 1 {
		text += fmt.Sprintf(", conntrackd was started %d times", n)
	}
	if c.health.peerAt != (time.Time{}) {
		text += fmt.Sprintf("; the other node says: %v", c.health.peer)
	}
	if c.complaint != nil {
		text += "; " + c.complaint.Error()
	} else if c.apart != nil {
		text += "; " + c.apart.Error()
	}
	return text
}

// Letter is the counters as they were last seen, for the other node to compare its own with.
func (c *conntrack) Letter() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.health.seen {
		return ""
	}
	text, _ := json.Marshal(c.health.last) // numbers: cannot fail
	return string(text)
}

// Read compares the counters of the other node with ours, and complains when connections do not get there.
func (c *conntrack) Read(letter string) {
	var peer SyncCounters
	if json.Unmarshal([]byte(letter), &peer) != nil {
		return // of another version
	}
	active, err := c.marked()
	if err != nil {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apart, c.apartAt = c.health.compare(active, peer, now), now
}

// Complaint is why connections would not survive a takeover; nil when all is well.
func (c *conntrack) Complaint() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.complaint == nil && time.Since(c.apartAt) < freshness {
		return c.apart
	}
	return c.complaint
}

// Close ends the supervision; conntrackd keeps running, so that nothing is lost over a restart.
func (c *conntrack) Close() error {
	c.mu.Lock()
	cancel, kept := c.keeping, c.kept
	c.keeping = nil
	c.mu.Unlock()
	if cancel != nil {
		cancel()
		<-kept
	}
	c.after.Wait()
	return nil
}

// Check looks for the program, the links and the kernel.
func (c *conntrack) Check() (list fault.List) {
	if _, err := findTool(c.env, "conntrackd"); err != nil {
		list.Addf(fault.Fault{Severity: fault.Error}, "install conntrackd", "%v", err)
	}
	if !c.own {
		if _, err := os.Stat(c.file); err != nil {
			list.Addf(fault.Fault{File: c.file, Severity: fault.Error}, "", "cannot read the configuration of conntrackd: %s", cause(err))
		}
		return list
	}
	links, err := c.links()
	if err != nil {
		list.Addf(fault.Fault{Severity: fault.Error}, "give them: Conntrack::dev=INTERFACE::peer=ADDRESS", "%v", err)
	}
	for _, l := range links {
		if _, err := host.InterfaceByName(l.device); err != nil {
			list.Addf(fault.Fault{Severity: fault.Warning}, "", "%v", err)
		}
	}
	return list
}
