package daemon

import (
	"context"
	"slices"
	"strings"

	"hapair/haresources"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

// endsWithLease are the resources whose effect on others ends with a lease, or that have none that lasts: they speak by the group's addresses.
var endsWithLease = []string{"IPaddr", "IPaddr2", "IPv6addr", "VirtualMAC", "Firewall", "Route", "Rule", "IPsrcaddr", "SendArp", "Delay", "MailTo", "portblock",
	"Conntrack", "NFSExport"}

// checkLease says which resources a lease does not protect, and what would. A node that hangs stops answering by itself; what else of it goes on
// is nobody's to end but the one who can switch it off.
func checkLease(c *config.Config) (faults fault.List) {
	if c.Peer == "" {
		return nil
	}
	for _, g := range c.Table.Groups {
		at := fault.Fault{File: c.Table.File, Line: g.Line, Severity: fault.Notice}
		if c.Lease == "off" {
			faults.Addf(at, "leave lease=off out", "%s: without leases (lease=off) a hung or killed node goes on answering for it while the other one serves", g.Name)
			continue
		}
		var beyond []string
		addresses := 0
		for _, r := range g.Resources {
			name := r.Name[strings.LastIndex(r.Name, ":")+1:]
			switch {
			case r.Class != haresources.ClassSystemd && slices.Contains(endsWithLease, name):
				if strings.HasPrefix(name, "IP") {
					addresses++
				}
			default:
				beyond = append(beyond, r.Spec)
			}
		}
		if len(beyond) == 0 {
			continue
		}
		at.Line, at.Col = g.Resources[0].Line, g.Resources[0].Col
		remedy := "a fencing device would (docs/fencing.md)"
		if len(c.FencingLevels()) > 0 {
			remedy = "the fencing device does"
		} else if !config.PrefersSafety(g) {
			remedy = "nobody reaches them by the group's addresses any more; where that is not enough, " + remedy
		}
		if addresses == 0 {
			faults.Addf(at, remedy, "%s: it has no address, so a lease protects nothing of it: when its node hangs, %s may run on both", g.Name, strings.Join(beyond, ", "))
			continue
		}
		faults.Addf(at, remedy, "%s: the lease ends its addresses on a node that hangs, and does not stop %s there", g.Name, strings.Join(beyond, ", "))
	}
	return faults
}

// withRuleset is the part of a table that may forward for others: its groups with a ruleset.
func withRuleset(t haresources.Table) haresources.Table {
	t.Groups = slices.DeleteFunc(slices.Clone(t.Groups), func(g haresources.Group) bool { return !hasRuleset(g) })
	return t
}

// checkRouters says which groups forward by the same interface: the packets that come by it do not tell which group they are forwarded for, so
// only the first one's forwarding ends with its lease.
func checkRouters(c *config.Config, where locator) (faults fault.List) {
	if c.Peer == "" || c.Lease == "off" || c.Lease == "addresses" {
		return nil
	}
	first := map[string]string{} // interface to group
	for _, g := range withRuleset(c.Table).Groups {
		places, err := where.Locations(context.Background(), g.Name)
		if err != nil {
			continue // told with the resource that cannot be placed
		}
		for _, name := range forwardsBetween(g, places) {
			if other := first[name]; other != "" {
				faults.Addf(fault.Fault{File: c.Table.File, Line: g.Line, Col: 1, Severity: fault.Warning},
					"give the addresses of one of them VirtualMAC, or put both on one line",
					"%s and %s both forward by %s: when their node hangs, what it forwards for %s does not end with its lease", other, g.Name, name, g.Name)
				break
			}
			first[name] = g.Name
		}
	}
	return faults
}
