package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
)

// places is a locator that knows where everything is.
type places map[string][]haresources.Location

func (p places) Locations(_ context.Context, group string) ([]haresources.Location, error) {
	return p[group], nil
}

func at(addr, ifname string, mac ...byte) haresources.Location {
	return haresources.Location{Addr: netip.MustParseAddr(addr), Interface: ifname, MAC: net.HardwareAddr(mac)}
}

// TestLeaseCoversWhatARouterForwards: a group with a ruleset and addresses on several interfaces routes; each interface is one group's.
func TestLeaseCoversWhatARouterForwards(t *testing.T) {
	groups := map[string]struct {
		names     []string
		locations []haresources.Location
	}{
		"server":  {[]string{"IPaddr", "Firewall"}, []haresources.Location{at("10.0.0.1", "eth0")}},
		"no-fw":   {[]string{"IPaddr", "IPaddr"}, []haresources.Location{at("10.0.1.1", "eth0"), at("10.0.2.1", "eth1")}},
		"router":  {[]string{"Firewall", "IPaddr", "IPaddr"}, []haresources.Location{at("10.1.0.1", "wan"), at("10.1.1.1", "lan"), at("10.1.1.2", "lan")}},
		"second":  {[]string{"Firewall", "IPaddr", "IPaddr"}, []haresources.Location{at("10.2.0.1", "wan"), at("10.2.1.1", "dmz")}},
		"virtual": {[]string{"Firewall", "VirtualMAC"}, []haresources.Location{at("10.3.0.1", "wan", 2, 0, 0, 0, 0, 1), at("10.3.1.1", "lan", 2, 0, 0, 0, 0, 2)}},
	}
	var c config.Config
	known := places{}
	for _, name := range []string{"server", "no-fw", "router", "second", "virtual"} {
		g := haresources.Group{Name: name}
		for _, n := range groups[name].names {
			g.Resources = append(g.Resources, haresources.Resource{Name: n})
		}
		c.Table.Groups = append(c.Table.Groups, g)
		known[name] = groups[name].locations
	}
	interfaces := func(mode string) map[string][]string {
		c.Lease = mode
		log := newLog(0)
		defer log.Close()
		list, _ := newLeases(t.Context(), nil, known, newInbox(), log).locate(&c)
		found := map[string][]string{}
		for _, p := range list {
			if p.Interfaces != nil {
				found[p.Group] = p.Interfaces
			}
			if p.Group == "virtual" && len(p.MACs) != 2 {
				t.Errorf("virtual: hardware addresses %v, want both", p.MACs)
			}
		}
		return found
	}
	if got, want := interfaces("on"), map[string][]string{"router": {"wan", "lan"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("forwarding ends with the lease on %v, want %v", got, want)
	}
	if got := interfaces("addresses"); len(got) > 0 {
		t.Errorf("with lease=addresses, forwarding ends with the lease on %v", got)
	}
}

func TestLeaseLength(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ keepalive, deadtime, grain, want time.Duration }{
		{50 * ms, 200 * ms, 0, 149 * ms},    // a dead time after the last heartbeat but one
		{10 * ms, 30 * ms, 0, 28500 * 1000}, // no room for that
		{2000 * ms, 30000 * ms, 0, 27999 * ms},
		{1000 * ms, 3000 * ms, 0, 2850 * ms},
		{50 * ms, 200 * ms, 12 * ms, 137 * ms}, // a coarse mechanism
	} {
		if got := leaseLength(c.deadtime, c.keepalive, c.grain); got != c.want {
			t.Errorf("keepalive %v, deadtime %v, grain %v: lease %v, want %v", c.keepalive, c.deadtime, c.grain, got, c.want)
		}
	}
}

// TestALookThatFailsTellsNothing, unless another address could be asked for.
func TestALookThatFailsTellsNothing(t *testing.T) {
	where := []haresources.Location{at("10.0.0.1", "eth0"), at("10.0.1.1", "eth1")}
	down := errors.New("network is down")
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 9}
	for _, c := range []struct {
		answers [][]net.HardwareAddr
		errs    []error
		want    heartbeat.Looked
	}{
		{[][]net.HardwareAddr{nil, nil}, []error{down, down}, heartbeat.Looked{Op: 7, Failed: "network is down"}},
		{[][]net.HardwareAddr{nil, nil}, []error{down, nil}, heartbeat.Looked{Op: 7}},
		{[][]net.HardwareAddr{nil, {mac}}, []error{down, nil}, heartbeat.Looked{Op: 7, Answered: true}},
	} {
		if got := judge(heartbeat.Look{Op: 7, MACs: []string{mac.String()}}, where, c.answers, c.errs); got != c.want {
			t.Errorf("answers %v, errors %v: %+v, want %+v", c.answers, c.errs, got, c.want)
		}
	}
}
