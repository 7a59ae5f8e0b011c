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

// Standby makes a group ready for a takeover by this node. It does nothing where the group is held, or is being worked on.
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
	if m.Held(name) {
		return nil
	}
	var errs []error
	for _, it := range g.snapshot() {
		if a, ok := it.agent.(Stander); ok {
			if err := a.Standby(ctx); err != nil {
				errs = append(errs, fmt.Errorf("make %s ready: %w", quote(it.spec()), err))
			}
		}
	}
	return errors.Join(errs...)
}
