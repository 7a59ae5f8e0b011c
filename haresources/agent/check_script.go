package agent

import (
	"context"
	"fmt"
	"time"

	"hapair/heartbeat/host"
)

// Counter turns the results of a check script into a verdict: Fall failures in a row make it bad, Rise successes in a row good
// again. It begins good.
type Counter struct {
	Rise, Fall int
	bad        bool
	row        int // results in a row that speak against the verdict
}

// Add takes one result, and says whether the verdict changed.
func (c *Counter) Add(ok bool) (changed bool) {
	if ok != c.bad {
		c.row = 0
		return false
	}
	c.row++
	most := c.Fall
	if c.bad {
		most = c.Rise
	}
	if c.row < most {
		return false
	}
	c.bad, c.row = !c.bad, 0
	return true
}

// RunCheck runs a check script once, within its time: nil when it exits with 0. Its output goes to line.
func RunCheck(ctx context.Context, env Environment, path string, timeout time.Duration, line func(string)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("did not end within %v", timeout))
	defer cancel()
	p := host.Program{Path: path, Env: env.environ("HA_CHECK=1"), Line: line, Grace: min(timeout, time.Second)}
	return p.Run(ctx)
}
