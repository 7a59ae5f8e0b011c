package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hapair/haresources"
	"hapair/heartbeat/daemon"
)

// planPatience is how long all resources of a group may take to say whether they run.
const planPatience = 2 * time.Minute

func (a *app) planCommand() *cobra.Command {
	c := &cobra.Command{Use: "plan", Short: "Print what would run, in order, and why; nothing is changed",
		Long: "Print what would run, in order, and why. Resources are asked for their status, as every acquisition begins with; nothing is changed."}
	kinds := []struct {
		use, short string
		run        func(*planner, []string) error
	}{
		{"acquire [GROUP]", "What starting groups here would run", (*planner).acquire},
		{"release [GROUP]", "What stopping groups here would run", (*planner).release},
		{"takeover [GROUP]", "What taking from the other node what this one does not hold would run", (*planner).takeover},
		{"reload", "What reading the configuration again would run", (*planner).reload},
	}
	for _, k := range kinds {
		c.AddCommand(&cobra.Command{Use: k.use, Short: k.short, Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			p, err := a.planner()
			if err != nil {
				return err
			}
			defer p.end()
			return k.run(p, args)
		}})
	}
	return c
}

// planner is what a plan is made from.
type planner struct {
	*app
	table   haresources.Table
	manager *haresources.Manager
	status  *daemon.Status // nil where no daemon runs
	end     func()
}

// planner reads the configuration and asks the daemon, if one runs.
func (a *app) planner() (*planner, error) {
	c, faults := daemon.LoadConfig(a.dirs.paths())
	if err := faults.Err(); err != nil {
		return nil, &exit{exitFailure, err}
	}
	p := &planner{app: a, table: c.Table}
	var err error
	if p.manager, p.end, err = daemon.OpenResources(a.dirs.paths(), c.Table, func(string) {}); err != nil {
		return nil, &exit{exitFailure, err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.status, _ = daemon.FetchStatus(ctx, a.dirs.paths()) // without one the plan says less
	return p, nil
}

// chosen are the groups that the arguments name; none names all.
func (p *planner) chosen(args []string) ([]haresources.Group, error) {
	if len(args) == 0 {
		return p.table.Groups, nil
	}
	if g, ok := p.table.Group(args[0]); ok {
		return []haresources.Group{g}, nil
	}
	return nil, &exit{exitFailure, fmt.Errorf("no resource group %q in haresources: a group is named by the first resource of its line", args[0])}
}

// states asks the resources of a group.
func (p *planner) states(g haresources.Group) []haresources.State {
	ctx, cancel := context.WithTimeout(context.Background(), planPatience)
	defer cancel()
	_, _ = p.manager.Examine(ctx, g.Name) // what could not be asked is unknown, and shown so
	states := make([]haresources.State, len(g.Resources))
	for i, r := range p.manager.Resources(g.Name) {
		states[i] = r.State
	}
	return states
}

// print prints steps.
func (p *planner) print(steps []haresources.Step) {
	for i, s := range steps {
		do := string(s.Do)
		if s.Skip {
			do = "leave"
		}
		fmt.Fprintf(p.out, "  %2d. %-5s %s  (%s)\n", i+1, do, s.Resource.Spec, s.Why)
	}
}

func (p *planner) acquire(args []string) error {
	groups, err := p.chosen(args)
	for _, g := range groups {
		fmt.Fprintf(p.out, "Acquire %s, left to right; should a start fail, the whole group is stopped again:\n", g.Name)
		p.print(haresources.PlanAcquire(g, p.states(g)))
	}
	return err
}

func (p *planner) release(args []string) error {
	groups, err := p.chosen(args)
	for _, g := range groups {
		fmt.Fprintf(p.out, "Release %s, right to left; a stop that fails is tried again:\n", g.Name)
		p.print(haresources.PlanRelease(g))
	}
	return err
}

// takeover is acquire for what the daemon does not hold.
func (p *planner) takeover(args []string) error {
	groups, err := p.chosen(args)
	if err == nil && p.status == nil {
		fmt.Fprintln(p.out, "heartbeat does not run here: planned as if this node held nothing and the other one were dead.")
	}
	for _, g := range groups {
		owner := ""
		if p.status != nil {
			for _, v := range p.status.Groups {
				if v.Name == g.Name {
					owner = v.Owner
				}
			}
			if owner == p.status.Node {
				fmt.Fprintf(p.out, "%s: nothing to do: this node holds it.\n", g.Name)
				continue
			}
		}
		switch {
		case owner != "" && p.status.Peer.State == "active":
			fmt.Fprintf(p.out, "%s: %s is asked for it, releases it right to left, and says so; then here:\n", g.Name, owner)
		case p.status != nil && p.status.Fencing != nil:
			fmt.Fprintf(p.out, "%s: %s is fenced first (%s), and once that is certain, here:\n", g.Name, p.status.Peer.Name, p.status.Fencing.Device)
		default:
			fmt.Fprintf(p.out, "%s: nobody holds it; here:\n", g.Name)
		}
		p.print(haresources.PlanAcquire(g, p.states(g)))
	}
	return err
}

// reload compares the file with what is in force.
func (p *planner) reload([]string) error {
	if p.status == nil {
		return &exit{exitNotRunning, fmt.Errorf("%w: there is nothing to reload", daemon.ErrNotRunning)}
	}
	reply, err := p.call(daemon.Request{Command: daemon.CommandTable})
	if err != nil {
		return err
	}
	old, faults := haresources.Parse("haresources in force", strings.NewReader(reply.Value))
	if err := faults.Err(); err != nil {
		return &exit{exitFailure, errors.Join(errors.New("understand the daemon's table"), err)}
	}
	d := haresources.Diff(old, p.table)
	if d.Empty() {
		fmt.Fprintln(p.out, "No group changes: nothing is started or stopped.")
	}
	for _, name := range d.Changed {
		before, _ := old.Group(name)
		after, _ := p.table.Group(name)
		fmt.Fprintf(p.out, "%s changes:\n", name)
		p.change(d, before, after, p.holds(name))
	}
	parts := d.Parts()
	for _, name := range d.Added {
		after, _ := p.table.Group(name)
		switch {
		case parts[name] != "":
			fmt.Fprintf(p.out, "%s is new, and was a part of %s:\n", name, parts[name])
			p.change(d, haresources.Group{}, after, p.holds(parts[name]))
		case !slices.Contains(slices.Collect(maps.Values(d.Renamed)), name):
			fmt.Fprintf(p.out, "%s is new: it is acquired by the node that it belongs to.\n", name)
		}
	}
	for _, name := range d.Removed {
		before, _ := old.Group(name)
		if heir := d.Renamed[name]; heir != "" {
			after, _ := p.table.Group(heir)
			fmt.Fprintf(p.out, "%s becomes %s:\n", name, heir)
			p.change(d, before, after, p.holds(name))
			continue
		}
		fmt.Fprintf(p.out, "%s is gone:\n", name)
		p.change(d, before, haresources.Group{}, p.holds(name))
	}
	return nil
}

// holds says whether this node holds a group that is in force.
func (p *planner) holds(group string) bool {
	return slices.ContainsFunc(p.status.Groups, func(v daemon.GroupView) bool { return v.Name == group && v.Owner == p.status.Node })
}

// change prints what becomes of one group.
func (p *planner) change(d haresources.Difference, before, after haresources.Group, held bool) {
	if !held {
		fmt.Fprintln(p.out, "      not held here: nothing is started or stopped")
		return
	}
	var steps []haresources.Step
	for i := len(before.Resources) - 1; i >= 0; i-- {
		r := before.Resources[i]
		if contains(after, r) {
			continue
		}
		step := haresources.Step{Resource: r, Do: haresources.OpStop, Why: "is on no line any more"}
		for _, m := range d.Moved {
			switch {
			case m.From != before.Name || !m.Resource.Same(r):
			case p.goesOn(d, m.To):
				step.Skip, step.Why = true, "goes to "+m.To+": not touched"
			default:
				step.Why = "goes to " + m.To + ", which is not held here"
			}
		}
		steps = append(steps, step)
	}
	for _, r := range after.Resources {
		step := haresources.Step{Resource: r, Do: haresources.OpStart, Why: "is new on the line"}
		if contains(before, r) {
			step.Skip, step.Why = true, "stays: not touched"
		}
		for _, m := range d.Moved {
			if m.To == after.Name && m.Resource.Same(r) && p.holds(m.From) {
				step.Skip, step.Why = true, "comes from "+m.From+": not touched"
			}
		}
		steps = append(steps, step)
	}
	p.print(steps)
}

// goesOn says whether a group of the new files is one that this node holds, or a part of one.
func (p *planner) goesOn(d haresources.Difference, name string) bool {
	for from, to := range d.Renamed {
		if to == name {
			return p.holds(from)
		}
	}
	return p.holds(name) || p.holds(d.Parts()[name])
}

// contains says whether a group has a resource.
func contains(g haresources.Group, r haresources.Resource) bool {
	for _, other := range g.Resources {
		if other.Same(r) {
			return true
		}
	}
	return false
}
