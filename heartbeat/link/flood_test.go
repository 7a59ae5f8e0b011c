package link_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/link"
)

// floodFor is how long a flood lasts; floodMost bounds it in datagrams too.
const (
	floodFor  = 500 * time.Millisecond
	floodMost = 300000
)

// flood sends garbage to the heartbeat port of b as fast as it goes.
func flood(t *testing.T, from *space, address string, payload []byte) (stop func() (sent int)) {
	t.Helper()
	var c net.Conn
	from.do(func() {
		var err error
		dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(address)}}
		c, err = dialer.Dial("udp4", addrB+":694")
		must(t, err)
	})
	sent := make(chan int)
	go func() {
		defer c.Close()
		n := 0
		for end := time.Now().Add(floodFor); n < floodMost && time.Now().Before(end); n++ {
			_, _ = c.Write(payload)
		}
		sent <- n
	}()
	return func() int { return <-sent }
}

// TestFlood: whatever one program sends, even one on the peer's machine, the peer is heard, and the reader is spared nearly
// all of it.
func TestFlood(t *testing.T) {
	const stranger = "10.9.0.66"
	for _, c := range []struct {
		name, address string
		payload       []byte
	}{
		{"small", stranger, []byte("###\nnot a frame")},
		{"like heartbeats", stranger, bytes.Repeat([]byte("###\n14:"), 43)},
		{"from the peer's machine", addrA, bytes.Repeat([]byte("###\n14:"), 43)},
		{"oversized", stranger, make([]byte, 65507)},
		{"empty", stranger, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newPair(t)
			a.addr(device, stranger+"/24")
			l := a.open(specs["ucast"][0])
			e := listen(t, b.open(specs["bcast"][1]))
			testFlood(t, l, e, flood(t, a, c.address, c.payload))
		})
	}
}

func testFlood(t *testing.T, l link.Link, e *ear, ended func() int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	frames := int(floodFor / (10 * time.Millisecond))
	for i := range frames {
		<-tick.C
		say(t, l, fmt.Sprint("heartbeat ", i))
	}
	sent := ended()
	heardPeer, garbage := e.count(fmt.Sprint("heartbeat ", frames-1))
	c := link.Count(e.l)
	t.Logf("%d of %d heartbeats and %d of %d datagrams of garbage came through; %+v", heardPeer, frames, garbage, sent, c)
	if heardPeer < frames*9/10 {
		t.Errorf("%d of %d heartbeats came through", heardPeer, frames)
	}
	if most := 512 + 2*1024; garbage > most {
		t.Errorf("%d datagrams of garbage reached the reader, want at most %d", garbage, most)
	}
	if sent > 10000 && c.Dropped+c.Overflow == 0 {
		t.Error("nothing counted as dropped")
	}
}

// count reads until the last heartbeat, or until nothing comes any more.
func (e *ear) count(last string) (peer, garbage int) {
	e.t.Helper()
	for {
		select {
		case h := <-e.frames:
			if !strings.HasPrefix(h.data, "heartbeat ") {
				garbage++
				continue
			}
			if peer++; h.data == last {
				return peer, garbage
			}
		case <-time.After(patience / 5):
			return peer, garbage
		}
	}
}

// TestSendAllocatesNothing: a daemon that lives for years makes no garbage with each heartbeat.
func TestSendAllocatesNothing(t *testing.T) {
	a, _ := newPair(t)
	frame := make([]byte, 300)
	for _, spec := range []link.Spec{specs["ucast"][0], specs["bcast"][0], specs["mcast"][0], specs["ucast6"][0], {Kind: "ping", Peer: addrB}} {
		l := a.open(spec)
		deadline := time.Now().Add(time.Second)
		if n := testing.AllocsPerRun(100, func() { must(t, l.Send(frame, deadline)) }); n > 0 {
			t.Errorf("%s: %v allocations for one Send", l.ID(), n)
		}
	}
}

// TestReceiveAllocatesNothing, whether the frame is wanted or dropped.
func TestReceiveAllocatesNothing(t *testing.T) {
	a, b := newPair(t)
	l, r := a.open(specs["bcast"][0]), b.open(specs["bcast"][1])
	came := make(chan int, 1)
	r.(interface{ Deliver(func(link.Frame)) }).Deliver(func(f link.Frame) { came <- len(f.Data) })
	frame := make([]byte, 300)
	if n := testing.AllocsPerRun(200, func() {
		must(t, l.Send(frame, time.Time{}))
		if size := <-came; size != len(frame) {
			t.Fatalf("%d bytes came", size)
		}
	}); n > 0 {
		t.Errorf("%v allocations to receive a frame", n)
	}
}
