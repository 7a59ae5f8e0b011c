package link_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"hapair/heartbeat/link"
)

// specs are one line of each UDP kind as each of the two nodes writes it.
var specs = map[string][2]link.Spec{
	"ucast":  {{Kind: "ucast", Device: device, Peer: addrB}, {Kind: "ucast", Device: device, Peer: addrA}},
	"ucast6": {{Kind: "ucast6", Device: device, Peer: addrB6}, {Kind: "ucast6", Device: device, Peer: addrA6}},
	"bcast":  {{Kind: "bcast", Device: device}, {Kind: "bcast", Device: device}},
	"mcast":  {mcast("225.0.0.1"), mcast("225.0.0.1")},
	"mcast6": {mcast6("ff02::694"), mcast6("ff02::694")},
}

func mcast(group string) link.Spec {
	return link.Spec{Kind: "mcast", Device: device, Group: group, Port: 694, TTL: 1}
}

func mcast6(group string) link.Spec {
	return link.Spec{Kind: "mcast6", Device: device, Group: group, Port: 694, TTL: 1}
}

func TestUDPKinds(t *testing.T) {
	for kind, spec := range specs {
		t.Run(kind, func(t *testing.T) {
			a, b := newPair(t)
			testLink(t, wiring{a: a.open(spec[0]), b: b.open(spec[1])}, 0, 1, 300, 1400, 9000, 60000, 65507)
		})
	}
	if n := link.OpenHubs(); n != 0 {
		t.Errorf("%d receive sockets left open", n)
	}
}

func TestOtherPort(t *testing.T) {
	a, b := newPair(t)
	spec := specs["ucast"]
	spec[0].Port, spec[1].Port = 6940, 6940
	testLink(t, wiring{a: a.open(spec[0]), b: b.open(spec[1])}, 300)
}

// TestLinkLocal needs no zone: the device says it.
func TestLinkLocal(t *testing.T) {
	a, b := newPair(t)
	a.addr(device, "fe80::a/64")
	b.addr(device, "fe80::b/64")
	testLink(t, wiring{
		a: a.open(link.Spec{Kind: "ucast6", Device: device, Peer: "fe80::b"}),
		b: b.open(link.Spec{Kind: "ucast6", Device: device, Peer: "fe80::a%" + device}),
	}, 300)
}

// TestManyLinksOnOneCard: each frame reaches the link that it was sent over, and no other.
func TestManyLinksOnOneCard(t *testing.T) {
	a, b := newPair(t)
	a.addr(device, "10.8.0.1/24")
	b.addr(device, "10.8.0.2/24")
	second := [2]link.Spec{{Kind: "ucast", Device: device, Peer: "10.8.0.2"}, {Kind: "ucast", Device: device, Peer: "10.8.0.1"}}
	other := [2]link.Spec{mcast("225.0.0.9"), mcast("225.0.0.9")}
	lines := [][2]link.Spec{specs["ucast"], second, specs["bcast"], specs["mcast"], other, specs["ucast6"], specs["mcast6"]}
	var mouths []link.Link
	var ears []*ear
	for _, spec := range lines {
		mouths = append(mouths, a.open(spec[0]))
		ears = append(ears, listen(t, b.open(spec[1])))
	}
	if n := link.OpenHubs(); n != 4 {
		t.Errorf("%d receive sockets for two nodes and two families, want 4", n)
	}
	for round := range 20 {
		for i, l := range mouths {
			say(t, l, fmt.Sprint(round, " over ", i))
		}
		for i, e := range ears {
			e.want(fmt.Sprint(round, " over ", i))
		}
	}
	for i, e := range ears { // while others of the hub go, the rest goes on
		e.quiet()
		if i%2 == 0 {
			e.l.Close()
			continue
		}
		say(t, mouths[i], "still here")
		e.want("still here")
	}
	for _, e := range ears {
		e.quiet()
	}
}

// TestEndsConfiguredDifferently: Heartbeat hears a ucast peer on a bcast line, and the reverse.
func TestEndsConfiguredDifferently(t *testing.T) {
	a, b := newPair(t)
	testLink(t, wiring{a: a.open(specs["ucast"][0]), b: b.open(specs["bcast"][1])}, 300)
}

// TestPeerWithAnotherAddress: the sender's address is not what is believed; the signature is.
func TestPeerWithAnotherAddress(t *testing.T) {
	a, b := newPair(t)
	a.addr(device, "10.7.0.1/24")
	b.addr(device, "10.7.0.2/24")
	e := listen(t, b.open(specs["ucast"][1]))
	say(t, a.open(link.Spec{Kind: "ucast", Device: device, Peer: "10.7.0.2"}), "from elsewhere")
	if h := e.want("from elsewhere"); h.from != "10.7.0.1" {
		t.Errorf("from %s", h.from)
	}
}

func TestConfiguredTwice(t *testing.T) {
	a, _ := newPair(t)
	a.open(specs["bcast"][0])
	if _, err := a.tryOpen(specs["bcast"][0]); !errors.Is(err, link.ErrInUse) {
		t.Errorf("opened the same line twice: %v", err)
	}
}

func TestOwnAddress(t *testing.T) {
	a, b := newPair(t)
	for _, own := range []link.Spec{
		{Kind: "ucast", Device: device, Peer: addrA},
		{Kind: "ucast6", Device: device, Peer: addrA6},
	} {
		if _, err := a.tryOpen(own); !errors.Is(err, link.ErrOwnAddress) {
			t.Errorf("%v: %v, want ErrOwnAddress", own, err)
		}
		if _, err := b.tryOpen(own); err != nil {
			t.Error(err)
		}
	}
	if n := link.OpenHubs(); n != 2 {
		t.Errorf("%d receive sockets, want b's 2", n)
	}
}

// TestPeerAddressBecomesOurs: then the link leads nowhere.
func TestPeerAddressBecomesOurs(t *testing.T) {
	a, _ := newPair(t)
	e := listen(t, a.open(specs["ucast"][0]))
	a.do(func() {})
	a.addr("lo", addrB+"/32")
	if err := e.wantEnd(); !errors.Is(err, link.ErrOwnAddress) {
		t.Errorf("%v, want ErrOwnAddress", err)
	}
}

// TestOwnFrames: a node does not hear itself, unless multicast is told to loop.
func TestOwnFrames(t *testing.T) {
	a, b := newPair(t)
	looped := specs["mcast"]
	looped[0].Loop, looped[0].Group = true, "225.0.0.7"
	for _, spec := range []link.Spec{specs["bcast"][0], specs["mcast"][0], specs["mcast6"][0]} {
		e := listen(t, a.open(spec))
		say(t, e.l, "my own")
		answer := spec
		say(t, b.open(answer), "from the peer")
		e.want("from the peer")
		e.quiet()
	}
	e := listen(t, a.open(looped[0]))
	say(t, e.l, "my own")
	e.want("my own")
}

func TestPortTaken(t *testing.T) {
	a, _ := newPair(t)
	a.do(func() {
		taken := listenUDP(t, ":694")
		defer taken.Close()
		_, err := link.Open(specs["bcast"][0])
		if !errors.Is(err, link.ErrInUse) {
			t.Errorf("%v, want ErrInUse", err)
		}
		t.Log(err)
	})
	a.open(specs["bcast"][0])
}

func TestTooLong(t *testing.T) {
	a, _ := newPair(t)
	for _, spec := range []link.Spec{specs["ucast"][0], specs["bcast"][0], {Kind: "ping", Peer: addrB}} {
		l := a.open(spec)
		if err := l.Send(make([]byte, 70000), time.Now()); !errors.Is(err, link.ErrTooLong) {
			t.Errorf("%s: %v, want ErrTooLong", l.ID(), err)
		}
		say(t, l, "short")
	}
}
