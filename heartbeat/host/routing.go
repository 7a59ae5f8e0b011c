package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Route is one entry of a routing table.
type Route struct {
	Dst      netip.Prefix // 0.0.0.0/0 or ::/0 for the default route
	Gateway  netip.Addr   // invalid for none
	Index    int          // of the interface; 0 for none, or for whichever leads to the gateway
	Source   netip.Addr   // preferred source address; invalid for none
	Table    int          // unix.RT_TABLE_MAIN, …
	Metric   int          // the lowest wins; IPv6 makes 1024 of 0
	Type     int          // unix.RTN_UNICAST, RTN_BLACKHOLE, …
	OnLink   bool         // the gateway is on the interface although no route says so
	Scope    int          // unix.RT_SCOPE_…; IPv4 only
	Protocol int          // who made it: unix.RTPROT_KERNEL, …
	several  bool         // it has more than one next hop
}

// RouteProtocol marks the routes and rules that this program makes.
const RouteProtocol = 72

// Several says whether the route has several next hops, which this package does not show.
func (r Route) Several() bool { return r.several }

// RoutingRule chooses a routing table for packets.
type RoutingRule struct {
	IPv6     bool
	Priority int
	From, To netip.Prefix // invalid for any
	In, Out  string       // interfaces; "" for any
	Mark     uint32
	Mask     uint32 // 0 for a rule without a mark
	Table    int
}

// Routing reads and changes routes and rules of one network namespace. Safe for concurrent use.
type Routing struct {
	mu     sync.Mutex
	handle *netlink.Handle
	closed bool
}

// OpenRouting opens a socket in the network namespace of the calling thread.
func OpenRouting() (*Routing, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &Routing{handle: handle}, nil
}

// Close releases the socket; routes and rules stay.
func (r *Routing) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.handle.Close()
	}
	r.closed = true
	return nil
}

// use calls f unless the socket is closed.
func (r *Routing) use(f func(*netlink.Handle) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return os.ErrClosed
	}
	return f(r.handle)
}

// ReplaceRoute adds a route, or puts it in the place of the one with the same destination, table and metric.
func (r *Routing) ReplaceRoute(want Route) error {
	err := r.use(func(h *netlink.Handle) error { return h.RouteReplace(want.message()) })
	if err != nil {
		return fmt.Errorf("set route to %v: %w", want.Dst, routeHint(want, err))
	}
	return nil
}

// RemoveRoute removes a route. One that is not there is not an error.
func (r *Routing) RemoveRoute(gone Route) error {
	err := r.use(func(h *netlink.Handle) error { return h.RouteDel(gone.message()) })
	if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove route to %v: %w", gone.Dst, err)
	}
	return nil
}

// Routes lists the routes to a destination in a table, of every metric and protocol; in the kernel's order.
func (r *Routing) Routes(dst netip.Prefix, table int) ([]Route, error) {
	list, err := r.list(dst.Addr().Is6(), table, func(have Route) bool { return have.Dst == dst.Masked() })
	if err != nil {
		return nil, fmt.Errorf("list routes to %v: %w", dst, err)
	}
	return list, nil
}

// RoutesOn lists the routes of a family in the main table that lead out of one interface.
func (r *Routing) RoutesOn(index int, ipv6 bool) ([]Route, error) {
	list, err := r.list(ipv6, unix.RT_TABLE_MAIN, func(have Route) bool { return have.Index == index })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return list, nil
}

// list lists the routes of a table that are wanted.
func (r *Routing) list(ipv6 bool, table int, wanted func(Route) bool) (list []Route, err error) {
	family := unix.AF_INET
	if ipv6 {
		family = unix.AF_INET6
	}
	err = r.use(func(h *netlink.Handle) error {
		found, err := dumped(h.RouteListFiltered(family, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE))
		for _, m := range found {
			if route := newRoute(m, ipv6); wanted(route) {
				list = append(list, route)
			}
		}
		return err
	})
	return list, err
}

// AddRule adds a rule. One that is there already is not an error.
func (r *Routing) AddRule(rule RoutingRule) error {
	err := r.use(func(h *netlink.Handle) error { return h.RuleAdd(rule.message()) })
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add routing rule: %w", err)
	}
	return nil
}

// RemoveRule removes a rule. One that is not there is not an error.
func (r *Routing) RemoveRule(rule RoutingRule) error {
	err := r.use(func(h *netlink.Handle) error { return h.RuleDel(rule.message()) })
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove routing rule: %w", err)
	}
	return nil
}

// Rules lists the rules of a family in the order of their priority.
func (r *Routing) Rules(ipv6 bool) (list []RoutingRule, err error) {
	family := unix.AF_INET
	if ipv6 {
		family = unix.AF_INET6
	}
	var found []netlink.Rule
	err = r.use(func(h *netlink.Handle) (err error) {
		found, err = dumped(h.RuleList(family))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list routing rules: %w", err)
	}
	for _, m := range found {
		list = append(list, newRule(m, ipv6))
	}
	return list, nil
}

func familyOf(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// message is the route as the library has it.
func (r Route) message() *netlink.Route {
	m := &netlink.Route{
		LinkIndex: r.Index, Dst: toIPNet(r.Dst), Table: r.Table, Priority: r.Metric, Type: r.Type, Family: familyOf(r.Dst.Addr()),
		Protocol: netlink.RouteProtocol(r.Protocol), Scope: netlink.Scope(r.Scope),
	}
	if r.Gateway.IsValid() {
		m.Gw = r.Gateway.AsSlice()
	}
	if r.Source.IsValid() {
		m.Src = r.Source.AsSlice()
	}
	if r.OnLink {
		m.Flags = unix.RTNH_F_ONLINK
	}
	return m
}

func newRoute(m netlink.Route, ipv6 bool) Route {
	r := Route{
		Dst: fromIPNet(m.Dst), Gateway: fromIP(m.Gw), Index: m.LinkIndex, Source: fromIP(m.Src), Table: m.Table, Metric: m.Priority,
		Type: m.Type, OnLink: m.Flags&unix.RTNH_F_ONLINK != 0, Scope: int(m.Scope), Protocol: int(m.Protocol), several: len(m.MultiPath) > 1,
	}
	if !r.Dst.IsValid() {
		r.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if ipv6 {
			r.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return r
}

func (r RoutingRule) message() *netlink.Rule {
	m := netlink.NewRule()
	m.Family = unix.AF_INET
	if r.IPv6 {
		m.Family = unix.AF_INET6
	}
	m.Priority, m.Table, m.IifName, m.OifName, m.Mark = r.Priority, r.Table, r.In, r.Out, r.Mark
	if r.Mask != 0 {
		m.Mask = &r.Mask
	}
	if r.From.IsValid() {
		m.Src = toIPNet(r.From)
	}
	if r.To.IsValid() {
		m.Dst = toIPNet(r.To)
	}
	m.Protocol = RouteProtocol
	return m
}

func newRule(m netlink.Rule, ipv6 bool) RoutingRule {
	r := RoutingRule{IPv6: ipv6, Priority: max(m.Priority, 0), In: m.IifName, Out: m.OifName, Mark: m.Mark, Table: m.Table}
	if m.Mask != nil {
		r.Mask = *m.Mask
	}
	if m.Src != nil {
		r.From = fromIPNet(m.Src)
	}
	if m.Dst != nil {
		r.To = fromIPNet(m.Dst)
	}
	return r
}

func toIPNet(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func fromIPNet(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(fromIP(n.IP), ones)
}

func fromIP(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// routeHint explains the kernel's terser answers.
func routeHint(r Route, err error) error {
	switch {
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH):
		return fmt.Errorf("%w: the gateway %v is on no subnet of this machine (is its address up before the route?)", err, r.Gateway)
	case errors.Is(err, unix.ENETDOWN):
		return fmt.Errorf("%w: the interface is down", err)
	case errors.Is(err, unix.EINVAL) && r.Source.IsValid():
		return fmt.Errorf("%w: the source address %v has to be an address of this machine", err, r.Source)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: this needs the capability CAP_NET_ADMIN", err)
	}
	return err
}
