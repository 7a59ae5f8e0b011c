package link_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/link"
	"hapair/heartbeat/rehearsal/require"
)

func listenUDP(t *testing.T, at string) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket("udp4", at)
	must(t, err)
	return c
}

// eventually opens a link as the daemon's loop does.
func (s *space) eventually(spec link.Spec) link.Link {
	s.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var l link.Link
		if l, err = s.tryOpen(spec); err == nil {
			return l
		}
		if !errors.Is(err, link.ErrGone) {
			s.t.Fatalf("%v, want ErrGone until it is back", err)
		}
	}
	s.t.Fatal(err)
	return nil
}

func TestDeviceGoesAndComesBack(t *testing.T) {
	for kind, spec := range specs {
		t.Run(kind, func(t *testing.T) {
			a, b := newPair(t)
			lost := [2]*ear{listen(t, a.open(spec[0])), listen(t, b.open(spec[1]))}
			began := time.Now()
			a.delDevice(device)
			for _, e := range lost {
				if err := e.wantEnd(); !errors.Is(err, link.ErrGone) {
					t.Errorf("%v, want ErrGone", err)
				}
				if err := e.l.Send([]byte("into the void"), time.Now()); !errors.Is(err, link.ErrGone) {
					t.Errorf("Send: %v, want ErrGone", err)
				}
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("noticed after %v", took)
			}
			if _, err := a.tryOpen(spec[0]); !errors.Is(err, link.ErrGone) {
				t.Errorf("Open: %v, want ErrGone", err)
			}
			cable(a, b, device)
			a.addr(device, addrA+"/24")
			b.addr(device, addrB+"/24")
			a.addr(device, addrA6+"/64")
			b.addr(device, addrB6+"/64")
			for _, e := range lost {
				e.l.Close()
			}
			e := listen(t, b.eventually(spec[1]))
			say(t, a.eventually(spec[0]), "back")
			e.want("back")
		})
	}
}

// TestAddressChanges: the broadcast address is recomputed when, and only when, the one in use went.
func TestAddressChanges(t *testing.T) {
	a, b := newPair(t)
	e := listen(t, a.open(specs["bcast"][0]))
	other := listen(t, b.open(specs["bcast"][1]))
	a.addr(device, "10.9.0.100/24") // a service address comes and goes
	a.addr(device, "10.6.0.1/24")
	a.delAddr(device, "10.9.0.100/24")
	a.delAddr(device, addrA+"/24")
	if err := e.wantEnd(); !errors.Is(err, link.ErrGone) {
		t.Fatalf("%v, want ErrGone", err)
	}
	e.l.Close()
	b.addr(device, "10.6.0.2/24")
	say(t, a.eventually(specs["bcast"][0]), "from the new subnet")
	if h := other.want("from the new subnet"); h.from != "10.6.0.1" {
		t.Errorf("from %s", h.from)
	}
	a.delAddr(device, "10.6.0.1/24")
	a.addr(device, addrA+"/24")
	say(t, a.eventually(specs["bcast"][0]), "and back")
	other.want("and back")
}

// TestServiceAddressDoesNotDisturb: a takeover adds addresses to the very device that a link is on.
func TestServiceAddressDoesNotDisturb(t *testing.T) {
	a, b := newPair(t)
	for kind, spec := range specs {
		e := listen(t, b.open(spec[1]))
		l := a.open(spec[0])
		b.addr(device, "10.9.0.50/24")
		b.addr(device, "fd09::50/64")
		say(t, l, kind)
		e.want(kind)
		b.delAddr(device, "10.9.0.50/24")
		b.delAddr(device, "fd09::50/64")
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range 12 { // the watch looks meanwhile
			<-tick.C
			say(t, l, kind)
			e.want(kind)
		}
	}
}

func TestOwnFirewall(t *testing.T) {
	require.Tool(t, "nft", "links under a firewall")
	for kind, spec := range specs {
		t.Run(kind, func(t *testing.T) {
			a, b := newPair(t)
			testFirewall(t, a, a.open(spec[0]), listen(t, b.open(spec[1])))
		})
	}
}

// testFirewall: what the own firewall drops is known at once, and over as soon as the rule is.
func testFirewall(t *testing.T, a *space, l link.Link, e *ear) {
	t.Helper()
	say(t, l, "before")
	e.want("before")
	a.run("nft", "add table inet f; add chain inet f o { type filter hook output priority 0; policy drop; }")
	for range 3 {
		if err := l.Send([]byte("dropped"), time.Now()); !errors.Is(err, link.ErrPermission) {
			t.Fatalf("%v, want ErrPermission", err)
		}
	}
	a.run("nft", "flush ruleset")
	say(t, l, "after")
	e.want("after")
}

// TestNoAddressForAWhile: a link whose peer cannot be reached just now needs no reopening.
func TestNoAddressForAWhile(t *testing.T) {
	a, b := newPair(t)
	e := listen(t, b.open(specs["ucast6"][1]))
	l := a.open(specs["ucast6"][0])
	a.delAddr(device, addrA6+"/64")
	if err := l.Send([]byte("nowhere"), time.Now()); !errors.Is(err, link.ErrNoRoute) {
		t.Errorf("%v, want ErrNoRoute", err)
	}
	a.addr(device, addrA6+"/64")
	say(t, l, "again")
	e.want("again")
}

// TestFramesToAnIPv6AddressComeFromTheNodesOwn: not from that of a service, which came later, and which is mute whenever its lease has ended.
func TestFramesToAnIPv6AddressComeFromTheNodesOwn(t *testing.T) {
	a, b := newPair(t)
	e := listen(t, b.open(specs["ucast6"][1]))
	before := a.open(specs["ucast6"][0])
	a.addr(device, "fd09::50/64")
	wants := func(l link.Link, what string) {
		say(t, l, what)
		if h := e.want(what); !strings.Contains(h.from, addrA6) || strings.Contains(h.from, "fd09::50") {
			t.Errorf("%s the service's address came: a frame from %s", what, h.from)
		}
	}
	wants(before, "opened before")
	must(t, before.Close())
	wants(a.open(specs["ucast6"][0]), "opened after")
}

func TestCondition(t *testing.T) {
	a, b := newPair(t)
	l := a.open(specs["bcast"][0])
	must(t, link.Condition(l))
	b.up(device, false)
	if err := link.Condition(l); !errors.Is(err, link.ErrDown) {
		t.Errorf("without carrier: %v, want ErrDown", err)
	}
	a.up(device, false)
	if err := link.Condition(l); !errors.Is(err, link.ErrDown) {
		t.Errorf("set down: %v, want ErrDown", err)
	}
	if err := l.Send([]byte("down"), time.Now()); !errors.Is(err, link.ErrNoRoute) {
		t.Errorf("Send on a device that is down: %v, want ErrNoRoute", err)
	}
	a.up(device, true)
	b.up(device, true)
	must(t, link.Condition(l))
	e := listen(t, b.open(specs["bcast"][1]))
	// Until the kernel has noticed the carrier again, which may take it a second, it drops what is sent and says nothing.
	for end := time.Now().Add(patience); len(e.frames) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		say(t, l, "up again")
	}
	e.want("up again")
	a.delDevice(device)
	if err := link.Condition(l); !errors.Is(err, link.ErrGone) {
		t.Errorf("deleted: %v, want ErrGone", err)
	}
}
