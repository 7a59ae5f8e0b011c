package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// route is the resource Route::DESTINATION[::GATEWAY][::INTERFACE][::NAME=VALUE…]: a route that is where the group is. A
// route of another origin to the same destination with the same metric is put aside meanwhile: it stays in the table with a
// metric that never wins, where it is found again even after a restart.
type route struct {
	routing
	want   host.Route
	device string
	ahead  atomic.Bool // set by Follow, and not yet started or taken back
}

// asideMetric is added to the metric of a route that is put aside.
const asideMetric = 0x48000000

// routeTypes are the routes that lead nowhere.
var routeTypes = map[string]int{
	"": unix.RTN_UNICAST, "unicast": unix.RTN_UNICAST, "blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE,
	"prohibit": unix.RTN_PROHIBIT,
}

// openRoute makes the agent.
func openRoute(_ Environment, r haresources.Resource) (haresources.Agent, error) {
	a, err := parseArguments(r, "via", "dev", "src", "table", "metric", "type", "onlink", "family")
	if err != nil {
		return nil, err
	}
	route := &route{}
	if err := route.parse(a); err != nil {
		return nil, fmt.Errorf("%w; write Route::DESTINATION[::GATEWAY][::INTERFACE][::src=…][::table=…][::metric=…]", err)
	}
	return route, nil
}

// parse reads the arguments.
func (r *route) parse(a arguments) error {
	if len(a.plain) == 0 {
		return errors.New("no destination")
	}
	for _, word := range a.plain[1:] {
		name := "dev"
		if _, err := netip.ParseAddr(word); err == nil {
			name = "via"
		}
		if a.named[name] != "" {
			return fmt.Errorf("%q after %s %q", word, name, a.named[name])
		}
		a.named[name] = word
	}
	if err := r.parsePlace(a.named); err != nil {
		return err
	}
	var err error
	if r.want.Dst, err = destination(a.plain[0], a.named, r.want.Gateway, r.want.Source); err != nil {
		return err
	}
	for _, other := range []netip.Addr{r.want.Gateway, r.want.Source} {
		if other.IsValid() && other.Is6() != r.want.Dst.Addr().Is6() {
			return fmt.Errorf("%v and %v are of different families", r.want.Dst, other)
		}
	}
	if r.want.Dst.Addr().Is6() && r.want.Metric == 0 {
		r.want.Metric = 1024 // as the kernel does
	}
	if !r.want.Dst.Addr().Is6() && !r.want.Gateway.IsValid() && r.want.Type == unix.RTN_UNICAST {
		r.want.Scope = unix.RT_SCOPE_LINK
	}
	nowhere := r.want.Type != unix.RTN_UNICAST
	switch {
	case nowhere && (r.device != "" || r.want.Gateway.IsValid()):
		return errors.New("a route to nowhere has neither gateway nor interface")
	case !nowhere && r.device == "" && !r.want.Gateway.IsValid():
		return errors.New("neither a gateway nor an interface")
	case r.device == "" && r.want.Gateway.Is6() && r.want.Gateway.IsLinkLocalUnicast():
		return fmt.Errorf("the gateway %v is link-local and needs an interface", r.want.Gateway)
	}
	return nil
}

// parsePlace reads what does not depend on the destination.
func (r *route) parsePlace(named map[string]string) (err error) {
	for name, into := range map[string]*netip.Addr{"via": &r.want.Gateway, "src": &r.want.Source} {
		if named[name] == "" {
			continue
		}
		a, err := netip.ParseAddr(named[name])
		if err != nil {
			return fmt.Errorf("%s: %q is not an address", name, named[name])
		}
		if a.Zone() != "" {
			named["dev"], a = a.Zone(), a.WithZone("")
		}
		*into = a
	}
	if named["dev"] != "" {
		if r.device, err = parseDevice(named["dev"]); err != nil {
			return err
		}
	}
	if r.want.Table, err = parseTable(named["table"]); err != nil {
		return err
	}
	if r.want.Metric, err = parseNumber(named["metric"], "metric", asideMetric-1, 0); err != nil {
		return err
	}
	kind, known := routeTypes[named["type"]]
	if !known {
		return fmt.Errorf("type: %q is none of unicast, blackhole, unreachable, prohibit", named["type"])
	}
	if named["onlink"] != "" && named["onlink"] != "yes" && named["onlink"] != "no" {
		return fmt.Errorf("onlink: %q is neither yes nor no", named["onlink"])
	}
	r.want.Type, r.want.OnLink, r.want.Protocol = kind, named["onlink"] == "yes", host.RouteProtocol
	return nil
}

// destination reads a subnet, or default: of the family of the other addresses, or of what family says.
func destination(word string, named map[string]string, others ...netip.Addr) (netip.Prefix, error) {
	if word != "default" {
		return parsePrefix(word)
	}
	ipv6 := named["family"] == "inet6"
	if f := named["family"]; f != "" && f != "inet" && f != "inet6" {
		return netip.Prefix{}, fmt.Errorf("family: %q is neither inet nor inet6", f)
	}
	for _, a := range others {
		ipv6 = ipv6 || a.Is6()
	}
	if ipv6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), nil
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
}

// found are the routes to the destination: ours, one in its place, and one that was put aside.
type found struct{ ours, other, aside *host.Route }

// find looks at the table; call it locked.
func (r *route) find() (f found, index int, err error) {
	if err := r.open(); err != nil {
		return f, 0, err
	}
	if r.device != "" {
		if index, err = deviceIndex(r.device); err != nil {
			return f, 0, err
		}
	}
	list, err := r.table.Routes(r.want.Dst, r.want.Table)
	if err != nil {
		return f, 0, err
	}
	for i, have := range list {
		switch {
		case have.Metric == r.want.Metric+asideMetric:
			f.aside = &list[i]
		case have.Metric != r.want.Metric:
		case r.matches(have, index):
			f.ours = &list[i]
		default:
			f.other = &list[i]
		}
	}
	return f, index, nil
}

// matches says whether a route of the table is the one that we have set.
func (r *route) matches(have host.Route, index int) bool {
	w := r.want
	return have.Protocol == host.RouteProtocol && have.Gateway == w.Gateway && have.Type == w.Type && !have.Several() &&
		(index == 0 || have.Index == index) && (!w.Source.IsValid() || have.Source == w.Source)
}

// deviceIndex is the index of an interface.
func deviceIndex(name string) (int, error) {
	n, err := host.OpenNetlink()
	if err != nil {
		return 0, err
	}
	defer n.Close()
	d, err := n.Device(name)
	return d.Index, err
}

// Start sets the route.
func (r *route) Start(context.Context) error {
	r.ahead.Store(false)
	return r.set()
}

// Adopt is told that the group has the route now.
func (r *route) Adopt(ctx context.Context) error { return r.Start(ctx) }

// set sets the route, unless it is there.
func (r *route) set() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, index, err := r.find()
	if err != nil {
		return err
	}
	if f.ours != nil && f.other == nil {
		return nil
	}
	if f.other != nil && f.other.Several() {
		return fmt.Errorf("a route to %v with several next hops is there: give one of the two another metric", r.want.Dst)
	}
	if f.other != nil && f.other.Protocol != host.RouteProtocol && f.aside == nil {
		aside := *f.other
		aside.Metric += asideMetric
		if err := r.table.ReplaceRoute(aside); err != nil {
			return fmt.Errorf("put the route that is there aside: %w", err)
		}
	}
	if f.other != nil && f.other.Dst.Addr().Is6() { // IPv6 would have both side by side
		if err := r.table.RemoveRoute(*f.other); err != nil {
			return err
		}
	}
	want := r.want
	want.Index = index
	return r.table.ReplaceRoute(want)
}

// Stop removes the route, and brings back what was put aside.
func (r *route) Stop(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead.Store(false)
	f, _, err := r.find()
	if errors.Is(err, host.ErrNoInterface) {
		return nil // the route went with it
	}
	if err != nil {
		return err
	}
	if f.ours != nil {
		if err := r.table.RemoveRoute(*f.ours); err != nil {
			return err
		}
	}
	if f.aside == nil {
		return nil
	}
	back := *f.aside
	back.Metric -= asideMetric
	if f.other == nil {
		if err := r.table.ReplaceRoute(back); err != nil {
			return fmt.Errorf("bring back the route that was put aside: %w", err)
		}
	}
	return r.table.RemoveRoute(*f.aside)
}

// Lingers is true: where this node sends its packets does not concern the one that holds the group now.
func (r *route) Lingers() bool { return true }

// Transparent says that an address need not wait for it once Follow has set it.
func (r *route) Transparent() bool { return r.ahead.Load() }

// Follow sets the route ahead of a takeover: what it leads to is the concern of this node alone.
func (r *route) Follow(ctx context.Context) error {
	if err := r.set(); err != nil {
		return errors.Join(err, r.Stop(ctx)) // with what it had put aside
	}
	r.ahead.Store(true)
	return nil
}

// Standby takes back what Follow has set.
func (r *route) Standby(ctx context.Context) error {
	if !r.ahead.Load() {
		return nil
	}
	return r.Stop(ctx)
}

// Status looks for the route.
func (r *route) Status(context.Context) (haresources.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, _, err := r.find()
	switch {
	case errors.Is(err, host.ErrNoInterface):
		return haresources.Stopped, nil
	case err != nil:
		return haresources.Unknown, err
	case f.ours == nil:
		return haresources.Stopped, nil
	}
	return haresources.Running, nil
}

// Watch puts the route back when it goes.
func (r *route) Watch(report func(haresources.State, error)) func() {
	return (&repairer{watch: host.WatchRouting, status: r.Status, start: r.Start, report: report}).begin()
}

// Check looks whether the interface is there.
func (r *route) Check() (list fault.List) {
	if r.device == "" {
		return nil
	}
	if _, err := deviceIndex(r.device); err != nil {
		list.Addf(fault.Fault{Severity: fault.Warning}, "", "%v", err)
	}
	return list
}
