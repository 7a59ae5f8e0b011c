package agent_test

import (
	"strings"
	"testing"
	"time"
)

// TestDuplicateProbe: where the line wants it, an address that another machine answers for is not added, in both families; without that, or
// when nobody answers, it is.
func TestDuplicateProbe(t *testing.T) {
	l := newLAN(t)
	probing := map[string]string{"duplicate-probe": "100ms"}
	l.client.sh("ip addr add 192.0.2.50/24 dev eth0; ip -6 addr add 2001:db8::50/64 dev eth0 nodad")
	mac := strings.TrimSpace(l.client.sh("cat /sys/class/net/eth0/address"))
	for _, spec := range []string{"IPaddr::192.0.2.50/24/eth0", "IPv6addr::2001:db8::50/64/eth0", "VirtualMAC::192.0.2.50/24/eth0"} {
		l.one.must(order{Op: "configure", Spec: spec, Pragmas: probing})
		if r := l.one.do(order{Op: "start", Spec: spec}); !strings.Contains(r.Err, "another machine has the address: "+mac) {
			t.Errorf("%s, which another machine has: %q", spec, r.Err)
		}
		if addrs := l.one.sh("ip addr"); strings.Contains(addrs, "192.0.2.50") || strings.Contains(addrs, "2001:db8::50") {
			t.Errorf("%s was added all the same:\n%s", spec, addrs)
		}
		l.one.stop(spec)
		l.one.must(order{Op: "configure", Spec: spec, Pragmas: map[string]string{"duplicate-probe": "off"}})
		l.one.start(spec)
		l.one.expect(spec, "running")
		l.one.stop(spec)
	}
	l.client.sh("ip addr del 192.0.2.50/24 dev eth0; ip -6 addr del 2001:db8::50/64 dev eth0")
	for _, spec := range []string{"IPaddr::192.0.2.50/24/eth0", "IPv6addr::2001:db8::50/64/eth0"} {
		l.one.must(order{Op: "configure", Spec: spec, Pragmas: probing})
		begin := time.Now()
		l.one.start(spec)
		if took := time.Since(begin); took < 100*time.Millisecond {
			t.Errorf("%s: asked for %v only", spec, took)
		}
		begin = time.Now()
		l.one.start(spec)
		if took := time.Since(begin); took > 80*time.Millisecond {
			t.Errorf("%s: asked again, for %v, about an address that is here", spec, took)
		}
		l.one.must(order{Op: "mute", Spec: spec})
		l.one.stop(spec)
		l.one.must(order{Op: "mute", Spec: spec})
		l.one.expect(spec, "stopped") // the node before still has it then
	}
}

// TestAddressAddedMuteIsAnnouncedFirst: it is there ahead of the takeover, is announced by its voice, and its start has nothing left to do.
func TestAddressAddedMuteIsAnnouncedFirst(t *testing.T) {
	l := newLAN(t)
	for _, c := range []struct{ spec, addr string }{{"IPaddr::192.0.2.50/24/eth0", "192.0.2.50"}, {"IPv6addr::2001:db8::50/64/eth0", "2001:db8::50"}} {
		l.one.must(order{Op: "voice", Spec: c.spec})
		l.one.expect(c.spec, "stopped") // nothing was added before
		l.one.must(order{Op: "mute", Spec: c.spec})
		l.one.expect(c.spec, "running")
		if from := l.one.sh("ip route get " + map[bool]string{true: "2001:db8::100", false: "192.0.2.100"}[strings.Contains(c.addr, ":")]); strings.Contains(from, "src "+c.addr) {
			t.Errorf("what the node sends itself would come from the mute address: %s", from)
		}
		l.one.must(order{Op: "standby", Spec: c.spec})
		l.one.expect(c.spec, "stopped")

		l.client.sh("ip neigh replace " + c.addr + " lladdr 02:00:00:00:00:99 dev eth0 nud stale")
		l.one.must(order{Op: "mute", Spec: c.spec})
		if mac := l.client.neighbour(c.addr); mac != "02:00:00:00:00:99" {
			t.Errorf("%s was announced while it was mute: the client sees %s", c.addr, mac)
		}
		l.one.must(order{Op: "voice", Spec: c.spec})
		own := strings.TrimSpace(l.one.sh("cat /sys/class/net/eth0/address"))
		eventually(t, 2*time.Second, "the client learns", func() bool { return l.client.neighbour(c.addr) == own })
		hasNot(t, l.one.sh("ip addr"), "deprecated")
		l.one.start(c.spec)
		l.one.must(order{Op: "standby", Spec: c.spec})
		l.one.expect(c.spec, "running") // it is held now
		l.one.sh("ip addr del " + c.addr + "/" + map[bool]string{true: "64", false: "24"}[strings.Contains(c.addr, ":")] + " dev eth0")
		l.one.start(c.spec)
		l.one.expect(c.spec, "running")
		l.one.stop(c.spec)
		l.one.expect(c.spec, "stopped")
	}
}
