package host_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// openRouting opens the routes of the test's namespace.
func openRouting(t testing.TB) *host.Routing {
	t.Helper()
	r, err := host.OpenRouting()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRoutesAreSetAndRemoved(t *testing.T) {
	w := newWire(t)
	w.assign(t, "10.1.0.1/24")
	w.assign(t, "10.1.0.9/24")
	r := openRouting(t)
	dst := netip.MustParsePrefix("0.0.0.0/0")
	route := host.Route{
		Dst: dst, Gateway: netip.MustParseAddr("10.1.0.254"), Source: netip.MustParseAddr("10.1.0.9"), Table: unix.RT_TABLE_MAIN,
		Metric: 7, Type: unix.RTN_UNICAST, Protocol: host.RouteProtocol,
	}
	for range 2 {
		if err := r.ReplaceRoute(route); err != nil {
			t.Fatal(err)
		}
	}
	list, err := r.Routes(dst, unix.RT_TABLE_MAIN)
	if err != nil || len(list) != 1 || list[0].Gateway != route.Gateway || list[0].Source != route.Source || list[0].Metric != 7 ||
		list[0].Index != w.near.Attrs().Index || list[0].Protocol != host.RouteProtocol || list[0].Several() {
		t.Fatalf("routes: %+v, %v", list, err)
	}
	for range 2 {
		if err := r.RemoveRoute(list[0]); err != nil {
			t.Fatal(err)
		}
	}
	route.Gateway = netip.MustParseAddr("192.0.2.1")
	if err := r.ReplaceRoute(route); err == nil {
		t.Error("a gateway on no subnet was accepted")
	}
}

func TestRulesOfRoutingAreSetAndRemoved(t *testing.T) {
	newWire(t)
	r := openRouting(t)
	for _, rule := range []host.RoutingRule{
		{Priority: 100, From: netip.MustParsePrefix("10.0.0.0/8"), In: "near", Table: 77},
		{Priority: 101, Mark: 5, Mask: 0xff, Table: 400},
		{IPv6: true, Priority: 102, To: netip.MustParsePrefix("2001:db8::/32"), Table: 78},
	} {
		for range 2 {
			if err := r.AddRule(rule); err != nil {
				t.Fatal(err)
			}
		}
		count := func() (n int) {
			list, err := r.Rules(rule.IPv6)
			if err != nil {
				t.Fatal(err)
			}
			for _, have := range list {
				if have == rule {
					n++
				}
			}
			return n
		}
		if n := count(); n != 1 {
			list, _ := r.Rules(rule.IPv6)
			t.Errorf("%+v is there %d times: %+v", rule, n, list)
		}
		for range 2 {
			if err := r.RemoveRule(rule); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(); n != 0 {
			t.Errorf("%+v is still there", rule)
		}
	}
}
