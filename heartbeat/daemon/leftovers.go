package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/config"
)

// What a daemon that was killed left running is examined by its successor, group by group. What was taken out of the files meanwhile is in no
// group: for that the lines of the groups that run are kept beside the state, and what is on none of the lines in force is stopped.

// leftoverPatience is how long a start waits for leftovers to be stopped; what takes longer goes on beside it.
const leftoverPatience = 500 * time.Millisecond

// leftovers are the resources of lines that were in force that are on none of the lines that are, as a table. An address that is on one
// in another spelling is none: it is that one's now.
func leftovers(lines []string, now haresources.Table) haresources.Table {
	old, _ := haresources.Parse("the state file", strings.NewReader(strings.Join(lines, "\n")))
	wanted := func(r haresources.Resource) bool {
		return slices.ContainsFunc(now.Groups, func(g haresources.Group) bool {
			return slices.ContainsFunc(g.Resources, func(other haresources.Resource) bool {
				return r.Same(other) || address(r) != "" && address(r) == address(other)
			})
		})
	}
	var rest haresources.Table
	for _, g := range old.Groups {
		g.Resources = slices.DeleteFunc(slices.Clone(g.Resources), wanted)
		if len(g.Resources) > 0 {
			rest.Groups = append(rest.Groups, g)
		}
	}
	return rest
}

// address is the address that a resource stands for, "" where it is none.
func address(r haresources.Resource) string {
	if r.Class != haresources.ClassHeartbeat || !slices.Contains([]string{"IPaddr", "IPaddr2", "IPv6addr"}, r.Name) || len(r.Args) == 0 {
		return ""
	}
	head, _, _ := strings.Cut(r.Args[0], "/")
	return strings.ToLower(head)
}

// removeLeftovers stops what a predecessor in this boot of the machine left running that is in the files no more.
func (n *node) removeLeftovers(lines []string, c *config.Config) {
	rest := leftovers(lines, c.Table)
	if len(rest.Groups) == 0 || n.Unmanaged {
		return
	}
	m, err := haresources.New(rest, agent.OpenLive(func() agent.Environment { return *n.runner.env.Load() }), func(ev haresources.Event) { logResource(n.log, ev) })
	if err != nil {
		n.log.Errorf("What a predecessor left running and is not in haresources any more cannot be stopped: %v", err)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer m.Close()
		for _, g := range rest.Groups {
			n.removeLeftover(m, g)
		}
	}()
	select {
	case <-done:
	case <-time.After(leftoverPatience):
	}
}

// removeLeftover stops what runs of one group.
func (n *node) removeLeftover(m *haresources.Manager, g haresources.Group) {
	var specs []string
	for _, r := range g.Resources {
		specs = append(specs, r.Spec)
	}
	text := strings.Join(specs, " ")
	running, err := m.Examine(context.Background(), g.Name)
	if err == nil && !running {
		return
	}
	n.log.Noticef("Left running by a predecessor, and not in haresources any more: stopping %s", text)
	if err := m.Release(context.Background(), g.Name); err != nil {
		n.engine.alarms.raise("leftover "+g.Name, fmt.Sprintf("%s: left running by a predecessor, not in haresources any more, and not to be stopped: %v; stop it by hand", text, err))
	}
}
