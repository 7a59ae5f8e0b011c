package haresources

import (
	"context"
	"errors"
	"fmt"
)

// Stander is an agent that can be made ready on a node that does not hold its group, so that a takeover finds less to do: a firewall
// loads its standby rules and tries the active ones, conntrackd begins to listen.
type Stander interface {
	Standby(ctx context.Context) error
}

// Foreseer is an agent that can prepare, while its group is held, for the moment when it is given away.
type Foreseer interface {
	Foresee(ctx context.Context) error
}

// Standby makes a group ready for its next change: for a takeover by this node, or, where it is held, for being given away. It does
// nothing while the group is being worked on.
func (m *Manager) Standby(ctx context.Context, name string) error {
	g, err := m.find(name)
	if err != nil {
		return err
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	default:
		return nil
	}
	held := m.Held(name)
	var errs []error
	for _, it := range g.snapshot() {
		var err error
		if a, ok := it.agent.(Foreseer); ok && held {
			err = a.Foresee(ctx)
		} else if a, ok := it.agent.(Stander); ok && !held {
			err = a.Standby(ctx)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("make %s ready: %w", quote(it.spec()), err))
		}
	}
	return errors.Join(errs...)
}
