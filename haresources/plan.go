package haresources

import "slices"

// Step is one thing to do with one resource of a group.
type Step struct {
	Index    int // of the resource in its group
	Resource Resource
	Do       Operation
	Skip     bool   // nothing is done after all
	Why      string // for a person
}

// PlanAcquire says what acquiring a group does, given the state of each of its resources: left to right, what runs is not
// started again, what is broken is stopped first.
func PlanAcquire(g Group, states []State) []Step {
	var steps []Step
	for i, r := range g.Resources {
		steps = append(steps, planStart(i, r, states[i])...)
	}
	return steps
}

// planStart is PlanAcquire for one resource.
func planStart(i int, r Resource, state State) []Step {
	start := Step{Index: i, Resource: r, Do: OpStart}
	switch state {
	case Running:
		start.Skip, start.Why = true, "runs already"
		return []Step{start}
	case Failed:
		start.Why = "was in a failed state"
		return []Step{{Index: i, Resource: r, Do: OpStop, Why: "is in a failed state"}, start}
	case Unknown:
		start.Why = "does not say that it runs"
		return []Step{start}
	}
	start.Why = "does not run"
	return []Step{start}
}

// PlanRelease says what releasing a group does: everything is stopped, right to left.
func PlanRelease(g Group) []Step {
	var steps []Step
	for i, r := range slices.Backward(g.Resources) {
		steps = append(steps, Step{Index: i, Resource: r, Do: OpStop, Why: "the group is released"})
	}
	return steps
}

// PlanRollback says what is done when the start of resource failed did not succeed: the whole group is stopped, right to
// left, but what stands right of the failed one and does not run is left alone.
func PlanRollback(g Group, failed int, states []State) []Step {
	steps := PlanRelease(g)
	for k := range steps {
		switch i := steps[k].Index; {
		case i == failed:
			steps[k].Why = "its start failed"
		case i < failed:
			steps[k].Why = "a later start failed"
		case states[i] == Stopped:
			steps[k].Skip, steps[k].Why = true, "does not run"
		default:
			steps[k].Why = "an earlier start failed, and it may run"
		}
	}
	return steps
}

// Difference is what changes from one table to another.
type Difference struct {
	Added   []string          // groups that are new
	Removed []string          // groups that are gone
	Changed []string          // groups that keep their name but not their resources or pragmas
	Renamed map[string]string // removed groups whose resources a new group of the same node begins with or has taken over, by old name
	Moved   []Move            // resources that stand on the line of another group now
}

// Move is one resource that stands on the line of another group now. A group that only has another name is the same group.
type Move struct {
	Resource Resource
	From     string // its group's old name
	To       string // its group's new name
}

// Parts are the new groups that hold resources of another group, by their names: the old name of that group.
func (d Difference) Parts() map[string]string {
	parts := map[string]string{}
	for _, m := range d.Moved {
		if _, known := parts[m.To]; !known && slices.Contains(d.Added, m.To) && !d.heir(m.To) {
			parts[m.To] = m.From
		}
	}
	return parts
}

// Joined are the removed groups of which another group has resources now, by their names: the new name of that group.
func (d Difference) Joined() map[string]string {
	joined := map[string]string{}
	for _, m := range d.Moved {
		if _, known := joined[m.From]; !known && slices.Contains(d.Removed, m.From) && d.Renamed[m.From] == "" {
			joined[m.From] = m.To
		}
	}
	return joined
}

// heir says whether a new group is a removed one under another name.
func (d Difference) heir(name string) bool {
	for _, to := range d.Renamed {
		if to == name {
			return true
		}
	}
	return false
}

// Empty says that nothing changed.
func (d Difference) Empty() bool { return len(d.Added)+len(d.Removed)+len(d.Changed) == 0 }

// Diff compares two tables.
func Diff(old, changed Table) Difference {
	d := Difference{Renamed: map[string]string{}}
	for _, g := range old.Groups {
		now, found := changed.Group(g.Name)
		switch {
		case !found:
			d.Removed = append(d.Removed, g.Name)
		case !sameGroup(g, now):
			d.Changed = append(d.Changed, g.Name)
		}
	}
	for _, g := range changed.Groups {
		if _, found := old.Group(g.Name); !found {
			d.Added = append(d.Added, g.Name)
		}
	}
	for _, name := range d.Removed {
		gone, _ := old.Group(name)
		if heir := successor(gone, changed, d); heir != "" {
			d.Renamed[name] = heir
		}
	}
	d.Moved = moves(old, changed, d.Renamed)
	return d
}

// moves finds the resources that stand on the line of another group now.
func moves(old, changed Table, renamed map[string]string) (all []Move) {
	left := map[string][]Resource{} // what each old group does not have any more
	for _, g := range old.Groups {
		name := g.Name
		if heir := renamed[name]; heir != "" {
			name = heir
		}
		now, _ := changed.Group(name)
		left[name] = unshared(g.Resources, now.Resources)
	}
	before := map[string]string{} // new names of groups that have another one now, and their old ones
	for from, to := range renamed {
		before[to] = from
	}
	for _, g := range changed.Groups {
		name := g.Name
		if from := before[name]; from != "" {
			name = from
		}
		was, _ := old.Group(name)
		for _, r := range unshared(g.Resources, was.Resources) {
			for _, giver := range old.Groups {
				key := giver.Name
				if heir := renamed[key]; heir != "" {
					key = heir
				}
				if i := slices.IndexFunc(left[key], r.Same); i >= 0 && key != g.Name {
					left[key] = slices.Delete(left[key], i, i+1)
					all = append(all, Move{Resource: r, From: giver.Name, To: g.Name})
					break
				}
			}
		}
	}
	return all
}

// unshared are those of some resources that others do not hold.
func unshared(some, others []Resource) (rest []Resource) {
	others = slices.Clone(others)
	for _, r := range some {
		if i := slices.IndexFunc(others, r.Same); i >= 0 {
			others = slices.Delete(others, i, i+1)
			continue
		}
		rest = append(rest, r)
	}
	return rest
}

// sameGroup says whether nothing about a group changed but its place in the file.
func sameGroup(a, b Group) bool {
	if a.Preferred != b.Preferred || len(a.Pragmas) != len(b.Pragmas) {
		return false
	}
	for key, value := range a.Pragmas {
		if other, found := b.Pragmas[key]; !found || other != value {
			return false
		}
	}
	return slices.EqualFunc(a.Resources, b.Resources, Resource.Same)
}

// successor is the new group of the same node that shares most resources with a removed one, if that is any, and not yet
// taken by another.
func successor(gone Group, changed Table, d Difference) string {
	best, most := "", 0
	for _, name := range d.Added {
		g, _ := changed.Group(name)
		if g.Preferred != gone.Preferred || slices.ContainsFunc(d.Removed, func(old string) bool { return d.Renamed[old] == name }) {
			continue
		}
		shared := 0
		for _, r := range g.Resources {
			if slices.ContainsFunc(gone.Resources, r.Same) {
				shared++
			}
		}
		if shared > most {
			best, most = name, shared
		}
	}
	return best
}
