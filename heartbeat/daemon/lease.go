package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/host"
)

// leaseKeeper is what the daemon needs of *host.Lease.
type leaseKeeper interface {
	Mechanism() host.Mechanism
	Grain() time.Duration
	Attach(ifname string) error
	Detach(ifname string) error
	Protect(list []host.Protection) error
	Renew(group string, until time.Duration) error
	Until(group string) (time.Duration, error)
	Rename(from, to string) error
	Share(from, to string) error
	Keep(ctx context.Context, notify func(ifname string, err error)) error
	Close() error
	Remove() error
}

// locator is a manager that knows where the addresses of a group belong; *haresources.Manager is one.
type locator interface {
	Locations(ctx context.Context, group string) ([]haresources.Location, error)
}

// leases connects the core's leases with the kernel's, and asks on the service network who answers. A nil one keeps none.
type leases struct {
	lease   leaseKeeper
	manager locator
	in      *inbox
	log     *Log
	ctx     context.Context
	tasks   sync.WaitGroup

	usable   atomic.Bool // the kernel enforces it on every interface that matters
	mu       sync.Mutex
	where    map[string][]haresources.Location // by group
	attached []string
}

// newLeases makes leases that protect nothing until apply is told a configuration; ctx ends their work.
func newLeases(ctx context.Context, lease leaseKeeper, m locator, in *inbox, log *Log) *leases {
	return &leases{lease: lease, manager: m, in: in, log: log, ctx: ctx}
}

// keep enforces the lease again where it was lost; it runs until the daemon ends.
func (l *leases) keep() {
	l.tasks.Go(func() {
		l.lease.Keep(l.ctx, func(ifname string, err error) {
			if err != nil {
				l.log.Errorf("Lease on %s lost and not put back: %v. A frozen daemon's addresses would go on answering there", ifname, err)
				return
			}
			l.log.Warnf("Lease on %s was lost and stands again", ifname)
		})
	})
}

// apply protects the groups of a configuration and completes the core's view of it.
func (l *leases) apply(c *config.Config, core *heartbeat.Config) {
	if l == nil || !core.Managed || c.Peer == "" || c.Lease == "off" {
		l.drop()
		return
	}
	list, interfaces := l.locate(c)
	if len(list) == 0 {
		l.drop()
		return
	}
	if err := l.stand(list, interfaces); err != nil {
		l.log.Errorf("No lease: %v. If this daemon is frozen or killed its addresses go on answering while %s takes over", err, c.Peer)
		l.drop()
		return
	}
	core.Lease = leaseLength(c.Deadtime, c.Keepalive, l.lease.Grain())
	core.Look = true
	core.MACs = l.addressesOf(list, interfaces)
	if core.Lease < c.Keepalive {
		l.log.Warnf("No lease: deadtime %v leaves no room for one beside keepalive %v", c.Deadtime, c.Keepalive)
		core.Lease, core.Look = 0, false
		l.drop()
		return
	}
	if !l.usable.Swap(true) {
		l.log.Infof("Leases held by %s on %s: the right to answer ends %v after the last heartbeat, whatever becomes of this daemon",
			l.lease.Mechanism(), strings.Join(interfaces, ", "), core.Lease)
	}
}

// leaseLength is how long the right to answer lasts after a heartbeat. Where the timing leaves room it ends a dead time after the last heartbeat
// but one, so that a node which freezes just after a heartbeat that was lost is mute before its peer starts; and else before a dead time after the
// last one. Shorter than two and a half keepalives is not worth it: the heartbeats would have to come more often (see docs/safety.md).
func leaseLength(deadtime, keepalive, grain time.Duration) time.Duration {
	margin := grain + time.Millisecond
	length := deadtime - max(deadtime/20, margin)
	if covering := deadtime - keepalive - margin; covering >= keepalive*5/2 {
		length = min(length, covering)
	}
	return length
}

// locate finds the addresses and interfaces of all groups.
func (l *leases) locate(c *config.Config) (list []host.Protection, interfaces []string) {
	where := map[string][]haresources.Location{}
	routing := map[string]string{} // interface to group
	for _, g := range c.Table.Groups {
		places, err := l.manager.Locations(l.ctx, g.Name)
		if err != nil {
			l.log.Warnf("Lease: %v: what is not found now is not protected", err)
		}
		where[g.Name] = places
		p := host.Protection{Group: g.Name}
		for _, place := range places {
			p.Addrs = append(p.Addrs, place.Addr)
			if len(place.MAC) > 0 {
				p.MACs = append(p.MACs, place.MAC)
			}
			if !slices.Contains(interfaces, place.Interface) {
				interfaces = append(interfaces, place.Interface)
			}
		}
		if c.Lease != "addresses" {
			p.Interfaces = l.routes(g, places, routing)
		}
		if len(p.Addrs) > 0 {
			list = append(list, p)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.where = where
	return list, interfaces
}

// routes lists the interfaces whose forwarded packets end with a group's lease: those that it forwards between (see forwardsBetween), as far as
// no other group does so.
func (l *leases) routes(g haresources.Group, places []haresources.Location, taken map[string]string) []string {
	list := forwardsBetween(g, places)
	for _, name := range list {
		if other := taken[name]; other != "" {
			l.log.Noticef("Lease: %s and %s both forward by %s: what %s forwards does not end with its lease (VirtualMAC would tell them apart)",
				other, g.Name, name, g.Name)
			return nil
		}
	}
	for _, name := range list {
		taken[name] = g.Name
	}
	return list
}

func hasRuleset(g haresources.Group) bool {
	return slices.ContainsFunc(g.Resources, func(r haresources.Resource) bool { return r.Name == "Firewall" })
}

// forwardsBetween lists the interfaces between which a group forwards for others: one that has a ruleset, and addresses on several interfaces.
// Where an address brings its own hardware address that tells what is forwarded, and the interface does not.
func forwardsBetween(g haresources.Group, places []haresources.Location) (list []string) {
	if !hasRuleset(g) {
		return nil
	}
	for _, p := range places {
		if len(p.MAC) == 0 && !slices.Contains(list, p.Interface) {
			list = append(list, p.Interface)
		}
	}
	if len(list) < 2 {
		return nil
	}
	return list
}

// stand puts the lease on the interfaces, before the addresses are protected, and takes it from those that are needed no longer.
func (l *leases) stand(list []host.Protection, interfaces []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range interfaces {
		if err := l.lease.Attach(name); err != nil {
			return err
		}
	}
	if err := l.lease.Protect(list); err != nil {
		return err
	}
	for _, name := range l.attached {
		if !slices.Contains(interfaces, name) {
			if err := l.lease.Detach(name); err != nil {
				l.log.Warnf("Lease: %v", err)
			}
		}
	}
	l.attached = interfaces
	return nil
}

// rename has groups that are called otherwise from now on keep what is in force.
func (l *leases) rename(renamed map[string]string) {
	if l == nil || !l.usable.Load() {
		return
	}
	for from, to := range renamed {
		if err := l.lease.Rename(from, to); err != nil && !errors.Is(err, host.ErrNoLease) {
			l.log.Warnf("Lease: %v: its addresses do not answer until the next heartbeat", err)
		}
	}
}

// part has groups that were a part of another one keep what is in force for that one, which may have another name now.
func (l *leases) part(parts map[string]heartbeat.Part, renamed map[string]string) {
	if l == nil || !l.usable.Load() {
		return
	}
	for name, from := range parts {
		whole := from.Of
		if heir := renamed[whole]; heir != "" {
			whole = heir
		}
		if !from.Runs {
			continue
		}
		if err := l.lease.Share(whole, name); err != nil && !errors.Is(err, host.ErrNoLease) {
			l.log.Warnf("Lease: %v: its addresses do not answer until the next heartbeat", err)
		}
	}
}

// left is what the run before left in force: until when each group may be answered for, on the boot clock.
func (l *leases) left(t haresources.Table) map[string]time.Duration {
	if l == nil || !l.usable.Load() {
		return nil
	}
	left := map[string]time.Duration{}
	for _, g := range t.Groups {
		if until, err := l.lease.Until(g.Name); err == nil && until > 0 {
			left[g.Name] = until
		}
	}
	return left
}

// mute says which addresses of a group the kernel keeps from answering until its lease is renewed; nil for none.
func (l *leases) mute(group string) func(netip.Addr) bool {
	if l == nil || !l.usable.Load() {
		return nil
	}
	if until, err := l.lease.Until(group); err != nil || until > host.ReadClocks().Boot {
		return nil
	}
	return l.protects(group)
}

// protects says which addresses of a group answer only while its lease lasts, which the core ends with every release; nil for none.
func (l *leases) protects(group string) func(netip.Addr) bool {
	if l == nil || !l.usable.Load() {
		return nil
	}
	l.mu.Lock()
	places := l.where[group]
	l.mu.Unlock()
	protected := make(map[netip.Addr]bool, len(places))
	for _, p := range places {
		protected[p.Addr] = true
	}
	return func(a netip.Addr) bool { return protected[a] }
}

// carrier tells the core whether any of the interfaces that carry the groups' addresses is connected.
func (l *leases) carrier() {
	if l == nil {
		return
	}
	l.mu.Lock()
	list := l.attached
	l.mu.Unlock()
	for _, name := range list {
		if i, err := host.InterfaceByName(name); err != nil || i.Carrier { // what cannot be found says nothing
			l.in.post(heartbeat.Carrier{})
			return
		}
	}
	l.in.post(heartbeat.Carrier{Lost: len(list) > 0, Reason: "no carrier on " + strings.Join(list, ", ")})
}

// drop ends all protection.
func (l *leases) drop() {
	if l == nil || !l.usable.Swap(false) {
		return
	}
	if err := l.lease.Protect(nil); err != nil {
		l.log.Errorf("Lease: %v", err)
	}
}

// addressesOf lists the hardware addresses that answer for this node: those of interfaces, and those that come with addresses.
func (l *leases) addressesOf(list []host.Protection, interfaces []string) (macs []string) {
	for _, p := range list {
		for _, mac := range p.MACs {
			macs = append(macs, mac.String())
		}
	}
	for _, name := range interfaces {
		i, err := net.InterfaceByName(name)
		if err == nil && len(i.HardwareAddr) > 0 {
			macs = append(macs, i.HardwareAddr.String())
		}
	}
	return macs
}

// renew is one write into a map of the kernel.
func (l *leases) renew(a heartbeat.Renew) {
	if l == nil || !l.usable.Load() {
		return
	}
	if err := l.lease.Renew(a.Group, a.Until); err != nil && !errors.Is(err, host.ErrNoLease) {
		l.log.Errorf("%v", err)
	}
}

// lookTime is how long one look at the service network takes.
const lookTime = 4 * time.Millisecond

// look asks for the addresses of groups on the service network, all at once, and posts what was heard.
func (l *leases) look(a heartbeat.Look) {
	if l == nil {
		return
	}
	l.mu.Lock()
	var places []haresources.Location
	for _, g := range a.Groups {
		places = append(places, l.where[g]...)
	}
	l.mu.Unlock()
	if len(places) > 64 { // a sample of a thousand addresses tells as much
		places = places[:64]
	}
	l.tasks.Go(func() {
		answers, errs := make([][]net.HardwareAddr, len(places)), make([]error, len(places))
		var all sync.WaitGroup
		for i, p := range places {
			all.Go(func() { answers[i], errs[i] = host.Probe(l.ctx, p.Interface, p.Addr, baseAddress(p), lookTime) })
		}
		all.Wait()
		l.in.post(judge(a, places, answers, errs))
	})
}

// judge tells the peer's answers from those of others. One address that could be asked for is enough to know.
func judge(a heartbeat.Look, places []haresources.Location, answers [][]net.HardwareAddr, errs []error) heartbeat.Looked {
	verdict := heartbeat.Looked{Op: a.Op}
	if len(places) > 0 && !slices.Contains(errs, nil) {
		verdict.Failed = errs[0].Error()
	}
	for i, macs := range answers {
		for _, mac := range macs {
			if len(a.MACs) == 0 || slices.Contains(a.MACs, mac.String()) {
				verdict.Answered = true
			} else if verdict.Foreign == "" {
				verdict.Foreign = fmt.Sprintf("%v answers for %v", mac, places[i].Addr)
			}
		}
	}
	return verdict
}

// baseAddress is an address of this machine in the same network as a service address, or an invalid one.
func baseAddress(p haresources.Location) netip.Addr {
	i, err := net.InterfaceByName(p.Interface)
	if err != nil {
		return netip.Addr{}
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr() != p.Addr && prefix.Contains(p.Addr) {
			return prefix.Addr()
		}
	}
	return netip.Addr{}
}

// close lets go of the kernel's lease. After a polite end nothing of it stays; otherwise it stays and runs out.
func (l *leases) close(released bool) {
	if l == nil {
		return
	}
	end := l.lease.Close
	if released {
		end = l.lease.Remove
	}
	if err := end(); err != nil {
		l.log.Errorf("Lease: %v", err)
	}
}
