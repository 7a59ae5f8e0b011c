package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// srcaddr is the resource IPsrcaddr::ADDRESS[/PREFIX[/INTERFACE]]: what this machine itself sends comes from the address. It
// is set as the source of the routes that lead out of the address's interface: the default route, and that of its subnet.
type srcaddr struct {
	routing
	want   placement
	before map[netip.Prefix]netip.Addr
}

// openSrcaddr makes the agent.
func openSrcaddr(_ Environment, r haresources.Resource) (haresources.Agent, error) {
	p, err := parsePlacement(r)
	if err != nil {
		return nil, err
	}
	return &srcaddr{want: p, before: map[netip.Prefix]netip.Addr{}}, nil
}

// errNotHere says that the address has to come first.
var errNotHere = errors.New("is not on this machine: on the line, it has to stand before IPsrcaddr")

// routes are those that the address is, or shall be, the source of, and the addresses on their interface. There are none
// while the address is not here.
func (s *srcaddr) routes() (list []host.Route, addrs []host.Address, err error) {
	if err := s.open(); err != nil {
		return nil, nil, err
	}
	n, err := host.OpenNetlink()
	if err != nil {
		return nil, nil, err
	}
	defer n.Close()
	all, err := n.ListAddresses(0)
	if err != nil {
		return nil, nil, err
	}
	index := 0
	for _, a := range all {
		if a.Prefix.Addr() == s.want.addr {
			index = a.Index
		}
	}
	if index == 0 {
		return nil, nil, fmt.Errorf("%v %w", s.want.addr, errNotHere)
	}
	for _, a := range all {
		if a.Index == index {
			addrs = append(addrs, a)
		}
	}
	found, err := s.table.RoutesOn(index, s.want.addr.Is6())
	for _, r := range found {
		if r.Type == unix.RTN_UNICAST && !r.Several() && (r.Dst.Bits() == 0 || r.Dst.Contains(s.want.addr) && !r.Dst.IsSingleIP()) {
			list = append(list, r)
		}
	}
	return list, addrs, err
}

// Start makes the address the source.
func (s *srcaddr) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, _, err := s.routes()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("no route leads out of the interface of %v", s.want.addr)
	}
	for _, r := range list {
		if r.Source == s.want.addr {
			continue
		}
		s.before[r.Dst] = r.Source
		r.Source = s.want.addr
		if err := s.set(r); err != nil {
			return err
		}
	}
	return nil
}

// set changes the source of a route.
func (s *srcaddr) set(r host.Route) error {
	if r.Dst.Addr().Is6() { // IPv6 does not take a route with another source for the same
		old := r
		old.Source = netip.Addr{}
		if err := s.table.RemoveRoute(old); err != nil {
			return err
		}
	}
	return s.table.ReplaceRoute(r)
}

// Stop gives the routes the source that they had before, or would have by themselves.
func (s *srcaddr) Stop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, addrs, err := s.routes()
	if errors.Is(err, errNotHere) {
		return nil // its routes went with the address
	}
	if err != nil {
		return err
	}
	for _, r := range list {
		if r.Source != s.want.addr {
			continue
		}
		r.Source = s.natural(r, addrs)
		if err := s.set(r); err != nil {
			return err
		}
	}
	return nil
}

// natural is the source of a route without this resource.
func (s *srcaddr) natural(r host.Route, addrs []host.Address) netip.Addr {
	before, known := s.before[r.Dst]
	for _, a := range addrs {
		switch {
		case a.Prefix.Addr() == s.want.addr:
		case known && a.Prefix.Addr() == before:
			return before
		case !known && r.Protocol == unix.RTPROT_KERNEL && a.Prefix.Addr().Is4() && !a.Secondary() && a.Prefix.Masked() == r.Dst:
			return a.Prefix.Addr()
		}
	}
	return netip.Addr{}
}

// Status says whether the address is the source of the routes.
func (s *srcaddr) Status(context.Context) (haresources.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, _, err := s.routes()
	if errors.Is(err, errNotHere) {
		return haresources.Stopped, nil
	}
	if err != nil {
		return haresources.Unknown, err
	}
	count := 0
	for _, r := range list {
		if r.Source == s.want.addr {
			count++
		}
	}
	switch {
	case count == 0:
		return haresources.Stopped, nil
	case count < len(list):
		return haresources.Failed, fmt.Errorf("%v is the source of %d of %d routes only", s.want.addr, count, len(list))
	}
	return haresources.Running, nil
}

// Watch sets the source again when something else changes the routes.
func (s *srcaddr) Watch(report func(haresources.State, error)) func() {
	return (&repairer{watch: host.WatchRouting, status: s.Status, start: s.Start, report: report}).begin()
}
