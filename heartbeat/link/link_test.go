package link_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/link"
)

// wiring is two links that hear each other. With a ping link both are the same one: what it says comes back to it.
type wiring struct {
	a, b   link.Link
	serial bool
}

// frame is a frame of about that size for the medium.
func (w wiring) frame(tag string, size int) string {
	fill := strings.Repeat("x", max(0, size-len(tag)))
	if w.serial {
		return ">>>\nt=" + tag + "\nfill=" + fill + "\n<<<\n"
	}
	return tag + fill
}

// testLink is what every kind of link must do.
func testLink(t *testing.T, w wiring, sizes ...int) {
	t.Helper()
	earA := listen(t, w.a)
	earB := earA
	if w.b != w.a {
		earB = listen(t, w.b)
	}
	for _, l := range []link.Link{w.a, w.b} {
		if l.ID() == "" || l.Name() == "" || (l.Kind() == "serial") != w.serial {
			t.Errorf("link %q has name %q, kind %s", l.ID(), l.Name(), l.Kind())
		}
	}
	for _, size := range sizes {
		before := time.Now()
		say(t, w.a, w.frame("to-b", size))
		h := earB.want(w.frame("to-b", size))
		if h.received.Before(before.Add(-time.Millisecond)) || h.received.After(time.Now()) {
			t.Errorf("received %v after it was sent", h.received.Sub(before))
		}
		if h.from == "" {
			t.Error("no sender told")
		}
		say(t, w.b, w.frame("to-a", size))
		earA.want(w.frame("to-a", size))
	}
	testNeverBlocks(t, w)
	testClose(t, w, earA)
}

// testNeverBlocks sends more than any medium takes at once.
func testNeverBlocks(t *testing.T, w wiring) {
	t.Helper()
	frame := []byte(w.frame("many", 300))
	for range 50 {
		began := time.Now()
		err := w.a.Send(frame, began.Add(100*time.Millisecond))
		if err != nil && !errors.Is(err, link.ErrTimeout) {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Fatalf("Send took %v with a deadline of 100 ms", took)
		}
	}
}

func testClose(t *testing.T, w wiring, e *ear) {
	t.Helper()
	began := time.Now()
	if err := w.a.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("Close took %v", took)
	}
	for ended := false; !ended; {
		select {
		case <-e.frames:
		case err := <-e.ended:
			ended = true
			if !errors.Is(err, link.ErrClosed) {
				t.Errorf("Receive ended with %v, want ErrClosed", err)
			}
		case <-time.After(patience):
			t.Fatal("Close did not end Receive")
		}
	}
	if err := w.a.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := w.a.Send([]byte("late"), time.Now().Add(time.Second)); !errors.Is(err, link.ErrClosed) {
		t.Errorf("Send after Close: %v, want ErrClosed", err)
	}
	if _, err := w.a.Receive(); !errors.Is(err, link.ErrClosed) {
		t.Errorf("Receive after Close: %v, want ErrClosed", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		spec link.Spec
		want string // in the message
		is   error
	}{
		{spec: link.Spec{Kind: "ucats", Device: "lo", Peer: "10.9.9.9"}, want: `did you mean "ucast"?`},
		{spec: link.Spec{Kind: "hbaping"}, want: `no kind of link is called "hbaping"`},
		{spec: link.Spec{Kind: "bcast", Device: "lp"}, want: `no such interface "lp" on this machine (did you mean "lo"?)`, is: link.ErrGone},
		{spec: link.Spec{Kind: "bcast"}, want: "no device given"},
		{spec: link.Spec{Kind: "bcast", Device: "lo"}, want: "lo has no broadcast (use ucast)"},
		{spec: link.Spec{Kind: "ucast", Device: "lo", Peer: "::1"}, want: `"::1" is no IPv4 address`},
		{spec: link.Spec{Kind: "ucast6", Device: "lo", Peer: "10.0.0.1"}, want: `"10.0.0.1" is no IPv6 address`},
		{spec: link.Spec{Kind: "ucast6", Device: "lo", Peer: "fe80::1%eth7"}, want: "fe80::1%eth7 is an address on eth7, but the link is on lo"},
		{spec: link.Spec{Kind: "ucast", Device: "lo", Peer: "127.0.0.1"}, want: "127.0.0.1 on lo", is: link.ErrOwnAddress},
		{spec: link.Spec{Kind: "ucast", Device: "lo", Peer: "10.9.9.9", Port: 70000}, want: "UDP port 70000 is not in 1 to 65535"},
		{spec: link.Spec{Kind: "mcast", Device: "lo", Group: "10.0.0.1"}, want: `"10.0.0.1" is no IPv4 group`},
		{spec: link.Spec{Kind: "mcast6", Device: "lo", Group: "225.0.0.1"}, want: `"225.0.0.1" is no IPv6 group`},
		{spec: link.Spec{Kind: "mcast", Device: "lo", Group: "225.0.0.1", TTL: 256}, want: "ttl 256"},
		{spec: link.Spec{Kind: "ping"}, want: "no host given"},
		{spec: link.Spec{Kind: "ping6", Peer: "fe80::1"}, want: "needs its interface"},
		{spec: link.Spec{Kind: "serial", Device: "/dev/ttyS0", Baud: 1234}, want: "baud 1234 is none of [9600 19200"},
	} {
		l, err := link.Open(c.spec)
		if err == nil {
			l.Close()
			t.Errorf("%v: opened", c.spec)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q in it", c.spec, err, c.want)
		}
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%v: %v, want it to be %q", c.spec, err, c.is)
		}
	}
}
