package haresources

import (
	"context"
	"fmt"
	"strings"
)

// Place finds a resource in the table by the word on its line, or by its name where only one has it, and returns its group.
func (m *Manager) Place(spec string) (group string, r Resource, err error) {
	var found []Resource
	for _, exact := range []bool{true, false} {
		for _, g := range m.Table().Groups {
			for _, r2 := range g.Resources {
				if exact && r2.Spec == spec || !exact && strings.EqualFold(r2.Name, spec) {
					group, r, found = g.Name, r2, append(found, r2)
				}
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch {
	case len(found) == 0:
		return "", Resource{}, fmt.Errorf("no resource %s in haresources", quote(spec))
	case len(found) > 1:
		return "", Resource{}, fmt.Errorf("%s is the name of %d resources: give it as it stands in haresources, for instance %s", quote(spec), len(found), quote(found[0].Spec))
	}
	return group, r, nil
}

// ByHand starts, stops or examines (OpMonitor) one resource because a person wants it, and returns its state afterwards. What is
// stopped so is not restarted until it is started by hand or its group is acquired again. A start is refused where the group is
// not held, since the other node may run it: force lifts that.
func (m *Manager) ByHand(ctx context.Context, spec string, op Operation, force bool) (ResourceStatus, error) {
	name, r, err := m.Place(spec)
	if err != nil {
		return ResourceStatus{}, err
	}
	g, err := m.find(name)
	if err != nil {
		return ResourceStatus{}, err
	}
	if op != OpMonitor { // an examination waits for nothing but another one of the same resource
		end, err := g.begin(ctx)
		if err != nil {
			return ResourceStatus{}, err
		}
		defer end()
	}
	items := g.snapshot()
	i := indexOf(items, r)
	if i < 0 {
		return ResourceStatus{}, fmt.Errorf("no resource %s in haresources", quote(spec))
	}
	it := items[i]
	switch op {
	case OpStart:
		err = g.startByHand(ctx, it, force)
	case OpStop:
		it.pause(true)
		g.unwatch([]*item{it})
		err = g.stop(ctx, it)
	case OpMonitor:
		_, err = g.ask(ctx, it)
	default:
		err = fmt.Errorf("unknown operation %s", quote(string(op)))
	}
	return it.report(), err
}

// startByHand starts one resource.
func (g *group) startByHand(ctx context.Context, it *item, force bool) error {
	g.mu.Lock()
	held := g.held
	g.mu.Unlock()
	if !held && !force {
		return fmt.Errorf("group %s is not held by this node: a resource of it started here could run on both nodes; move the group here instead (`heartbeat move %s`)",
			quote(g.definition().Name), quote(g.definition().Name))
	}
	if _, err := g.startUnit(ctx, []*item{it}); err != nil {
		return err
	}
	if held {
		g.watch([]*item{it})
	}
	return nil
}
