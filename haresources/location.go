package haresources

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Location is an address that a resource gives to an interface of this machine.
type Location struct {
	Addr      netip.Addr
	Interface string
	MAC       net.HardwareAddr // that comes with it, where it does not use the interface's own
}

// Locator is an agent whose resource is an address, and that can say where it belongs without adding it.
type Locator interface {
	Locate() (Location, error)
}

// Locations lists the addresses of a group, in the order of the line, as far as its agents know them: an address that a script adds is
// not among them. The error joins those of all that could not be placed; the list holds the others all the same.
func (m *Manager) Locations(_ context.Context, name string) ([]Location, error) {
	g, err := m.find(name)
	if err != nil {
		return nil, err
	}
	var list []Location
	var errs []error
	for _, it := range g.snapshot() {
		a, ok := it.agent.(Locator)
		if !ok {
			continue
		}
		l, err := a.Locate()
		if err != nil {
			errs = append(errs, fmt.Errorf("locate %s: %w", quote(it.spec()), err))
			continue
		}
		list = append(list, l)
	}
	return list, errors.Join(errs...)
}
