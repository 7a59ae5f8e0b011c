package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
)

// TestAddressForms: every form of the field, as it ends up on the interface.
func TestAddressForms(t *testing.T) {
	newPatch(t, "10.0.0.1/24", "2001:db8::1/64")
	for spec, want := range map[string]string{
		"10.0.0.5":                                   "10.0.0.5/24 brd 10.0.0.255",
		"10.0.0.5/32":                                "10.0.0.5/32",
		"IPaddr::10.0.0.5/24":                        "10.0.0.5/24 brd 10.0.0.255",
		"IPaddr2::10.0.0.5/255.255.0.0":              "10.0.0.5/16 brd 10.0.255.255",
		"10.0.0.5/24/near":                           "10.0.0.5/24 brd 10.0.0.255",
		"10.9.0.5/24/near":                           "10.9.0.5/24 brd 10.9.0.255",
		"10.9.0.5/31/near":                           "10.9.0.5/31",
		"10.0.0.5/24/near:0":                         "10.0.0.5/24 near:0 brd 10.0.0.255",
		"IPaddr2::10.0.0.5/24/near:vip1/10.0.0.127":  "10.0.0.5/24 near:vip1 brd 10.0.0.127",
		"10.0.0.5/24/near/10.0.0.255":                "10.0.0.5/24 brd 10.0.0.255",
		"10.0.0.5/24/10.0.0.127":                     "10.0.0.5/24 brd 10.0.0.127",
		"10.0.0.5//8/near:10":                        "10.0.0.5/8 near:10 brd 10.255.255.255",
		"2001:db8::5":                                "2001:db8::5/64",
		"2001:db8::5/128":                            "2001:db8::5/128",
		"IPv6addr::2001:db8::5/48/near":              "2001:db8::5/48",
		"IPaddr2::2001:db8::5/64":                    "2001:db8::5/64",
		"IPv6addr::2001:db8:0:0:0:0:0:5/64/near:lab": "2001:db8::5/64",
	} {
		t.Run(spec, func(t *testing.T) {
			n := newSite(t)
			m := n.manager(t, "alpha "+spec)
			before := addresses(t, "near")
			if faults := agent.Check(resource(t, spec), n.env); faults.Err() != nil {
				t.Errorf("check: %v", faults)
			}
			group := m.Table().Groups[0].Name
			if running, err := m.Examine(t.Context(), group); running || err != nil {
				t.Fatalf("runs before: %v, %v", running, err)
			}
			if err := m.Acquire(t.Context(), group); err != nil {
				t.Fatal(err)
			}
			if got := addresses(t, "near"); !strings.Contains("; "+got+"; ", "; "+want+"; ") {
				t.Errorf("addresses %s, want %s", got, want)
			}
			if running, err := m.Examine(t.Context(), group); !running || err != nil {
				t.Errorf("runs: %v, %v", running, err)
			}
			if err := m.Acquire(t.Context(), group); err != nil {
				t.Errorf("second time: %v", err)
			}
			for range 2 {
				if err := m.Release(t.Context(), group); err != nil {
					t.Fatal(err)
				}
			}
			if got := addresses(t, "near"); got != before {
				t.Errorf("addresses %s, before %s", got, before)
			}
		})
	}
}

// TestAddressRefused: what is wrong with an address is said before anything starts.
func TestAddressRefused(t *testing.T) {
	n := newSite(t)
	for spec, want := range map[string]string{
		"IPaddr":                              "no address",
		"IPaddr::/":                           "no address",
		"IPaddr::/24":                         `"24" is not an IP address`,
		"IPaddr::eth0":                        `"eth0" is not an IP address`,
		"IPaddr2::10.0.0.1/24/eth0::lvs":      "ocf:heartbeat:IPaddr2::ip=10.0.0.1",
		"IPaddr2::10.0.0.1::lvs_support=true": "lvs_support",
		"10.0.0.1/33":                         "prefix length from 1 to 32",
		"10.0.0.1/0":                          "prefix length from 1 to 32",
		"10.0.0.1/eth0":                       `"eth0" is not a prefix length`,
		"10.0.0.1/255.0.255.0":                "not a netmask",
		"10.0.0.1/24/0:0":                     "neither an interface nor a broadcast address",
		"10.0.0.1/24/eth0/eth1":               "neither an interface nor a broadcast address",
		"10.0.0.1/24/eth0/10.0.0.255/x":       `"x" at the end`,
		"10.0.0.1/24/averyverylongname0":      "is not an interface",
		"10.0.0.1/24/eth0:averylonglabel":     "longer than 15",
		"IPv6addr::10.0.0.1":                  "use IPaddr",
		"127.0.0.1/8":                         "cannot be the address of a service",
		"224.0.0.1/4":                         "cannot be the address of a service",
		"2001:db8::1/129":                     "prefix length from 1 to 128",
		"2001:db8::1/64/eth0/10.0.0.1":        "neither an interface nor a broadcast address",
	} {
		r := resource(t, spec)
		faults := agent.Check(r, n.env)
		if err := faults.Err(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), spec) {
			t.Errorf("%s: check says %v, want %q", spec, err, want)
		}
		if _, err := agent.Open(n.env)(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: open says %v, want %q", spec, err, want)
		}
	}
	for spec, want := range map[string]string{
		"10.0.0.5/24/eth0/10.0.0.5":   "the broadcast address is the address itself",
		"10.0.0.5/24/eth0/10.0.0.254": "10.0.0.254 is not the broadcast address of 10.0.0.0/24 (10.0.0.255, or leave it out)",
		"10.0.0.5/32/eth0/10.0.0.255": "is not the broadcast address",
		"10.0.0.255/24":               "is the broadcast address of its own subnet",
		"10.0.0.0/24":                 "is the address of its subnet itself",
	} {
		if faults := agent.Check(resource(t, spec), n.env); faults.Err() != nil || !strings.Contains(faults.Error(), want) {
			t.Errorf("%s: check says %v, want %q", spec, faults, want)
		}
	}
}

// FuzzAddressArguments: no argument panics, and what is refused is refused by check and by open alike.
func FuzzAddressArguments(f *testing.F) {
	for _, seed := range []string{"10.0.0.1", "10.0.0.1/24/eth0:0/10.0.0.255", "10.0.0.1//8/eth0", "2001:db8::1/64/eth0", "fe80::1%eth0/64", "/", "10.0.0.1/255.0.0.0"} {
		f.Add(seed)
	}
	env := agent.Environment{Paths: agent.DefaultPaths(f.TempDir())}
	f.Fuzz(func(t *testing.T, arg string) {
		r := haresources.Resource{Spec: arg, Name: "IPaddr2", Args: []string{arg}}
		a, err := agent.Open(env)(r)
		if bad := agent.Check(r, env).Err(); (bad != nil) != (err != nil) {
			t.Errorf("%q: check says %v, open says %v", arg, bad, err)
		}
		if err == nil {
			a.(interface{ Close() error }).Close()
		}
	})
}

func TestAddressStartErrors(t *testing.T) {
	newPatch(t, "10.0.0.1/24")
	m := newSite(t).manager(t, "alpha 10.0.0.5/24/nosuch", "alpha 192.168.7.7")
	for group, want := range map[string]string{
		"10.0.0.5/24/nosuch": `start of "10.0.0.5/24/nosuch": no such interface "nosuch" on this machine`,
		"192.168.7.7":        `no interface of this machine is on a network with 192.168.7.7: write 192.168.7.7/PREFIX/INTERFACE`,
	} {
		err := m.Acquire(t.Context(), group)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", group, err, want)
		}
		if err := m.Release(t.Context(), group); err != nil {
			t.Errorf("release of %s: %v", group, err)
		}
	}
}

// thousand is a line with many addresses.
func thousand(count int) string {
	var b strings.Builder
	b.WriteString("alpha")
	for i := range count {
		fmt.Fprintf(&b, " 10.%d.%d.%d/8/near", 1+i/62500, i/250%250, i%250+1)
	}
	return b.String()
}

// TestThousandAddresses: all are up and announced in both forms, repeated ones within the bound on bursts, and all go.
func TestThousandAddresses(t *testing.T) {
	c := newPatch(t)
	n := newSite(t)
	m := n.manager(t, thousand(1000))
	group := m.Table().Groups[0].Name
	begin := time.Now()
	if err := m.Acquire(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	forms := map[string]map[string]bool{"request": {}, "reply": {}}
	var last time.Duration
	for len(forms["request"]) < 1000 || len(forms["reply"]) < 1000 {
		h := c.next(t, time.Second)
		if h.form == "" {
			t.Fatalf("heard only %d requests, %d replies", len(forms["request"]), len(forms["reply"]))
		}
		if !forms[h.form][h.addr.String()] {
			last = h.at.Sub(begin)
		}
		forms[h.form][h.addr.String()] = true
	}
	if took > 500*time.Millisecond || last > took {
		t.Errorf("acquired in %v, last first announcement after %v", took, last)
	}
	t.Logf("acquired in %v, last first announcement after %v", took, last)
	begin = time.Now()
	if err := m.Release(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	t.Logf("released in %v", time.Since(begin))
	if got := addresses(t, "near"); got != "" {
		t.Errorf("addresses left: %.200s", got)
	}
}

// quiet is a Manager whose events nobody wants.
func quiet(b *testing.B, line string) *haresources.Manager {
	b.Helper()
	table, _ := haresources.Parse("haresources", strings.NewReader(line))
	m, err := haresources.New(table, agent.Open(newSite(b).env), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	return m
}

// BenchmarkAcquireAddress is the time from the call to the first announcement on the wire, and back.
func BenchmarkAcquireAddress(b *testing.B) {
	c := newPatch(b, "10.0.0.1/24")
	m := quiet(b, "alpha 10.0.0.5")
	var announced time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := m.Acquire(context.Background(), "10.0.0.5"); err != nil {
			b.Fatal(err)
		}
		h := c.next(b, time.Second)
		announced += h.at.Sub(begin)
		b.StopTimer()
		if err := m.Release(context.Background(), "10.0.0.5"); err != nil {
			b.Fatal(err)
		}
		for c.next(b, time.Millisecond).form != "" {
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(announced.Microseconds())/float64(b.N), "µs-to-announcement")
}

// BenchmarkAcquireThousand is the time from the call until a thousand addresses are up and announced in both forms.
func BenchmarkAcquireThousand(b *testing.B) {
	newPatch(b)
	m := quiet(b, thousand(1000))
	group := m.Table().Groups[0].Name
	var released time.Duration
	for b.Loop() {
		if err := m.Acquire(context.Background(), group); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		begin := time.Now()
		if err := m.Release(context.Background(), group); err != nil {
			b.Fatal(err)
		}
		released += time.Since(begin)
		b.StartTimer()
	}
	b.ReportMetric(float64(released.Microseconds())/float64(b.N)/1000, "ms-to-release")
}
