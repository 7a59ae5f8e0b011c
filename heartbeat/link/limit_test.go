package link

import (
	"net/netip"
	"testing"
	"time"
)

// TestLimiter counts what gets through, in time that the test makes up.
func TestLimiter(t *testing.T) {
	sender := netip.MustParseAddrPort("10.9.0.2:40000")
	const start = int64(1e18)
	for _, c := range []struct {
		name         string
		size         int
		every        time.Duration // between two frames
		frames, want int           // of so many frames so many get through
		enough       bool          // and the sender is shunned in the end
	}{
		{name: "heartbeats", size: 300, every: 10 * time.Millisecond, frames: 10000, want: 10000},
		{name: "a burst of repairs", size: 300, every: 0, frames: 500, want: 500},
		{name: "twice the rate", size: 300, every: time.Second / 2048, frames: 4096, want: 512 + 2048, enough: true},
		{name: "a flood", size: 300, every: time.Microsecond, frames: 1000000, want: 512 + 1024, enough: true},
		{name: "large frames", size: 65507, every: time.Second, frames: 1000, want: 1000},
		{name: "a flood of large frames", size: 65507, every: 10 * time.Microsecond, frames: 100000, want: 32 + 64, enough: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLimiter()
			got, enough := 0, false
			for i := range c.frames {
				ok, e := l.allow(sender, c.size, start+int64(i)*int64(c.every))
				if ok {
					got++
				}
				enough = enough || e
			}
			if got < c.want*95/100 || got > c.want*105/100 || enough != c.enough {
				t.Errorf("%d of %d frames got through, shunned %v; want about %d, %v", got, c.frames, enough, c.want, c.enough)
			}
		})
	}
}

// TestLimiterForgets: after a quiet second, and after any jump of the clock, a sender has its full allowance.
func TestLimiterForgets(t *testing.T) {
	sender := netip.MustParseAddrPort("[fd09::2]:40000")
	for _, jump := range []time.Duration{1100 * time.Millisecond, time.Hour, -time.Hour, -1} {
		l := newLimiter()
		now := int64(1e18)
		for ok := true; ok; {
			ok, _ = l.allow(sender, 300, now)
		}
		got := 0
		for ok := true; ok; got++ {
			ok, _ = l.allow(sender, 300, now+int64(jump))
		}
		if got != senderBurst+1 {
			t.Errorf("after a jump of %v %d frames got through, want %d", jump, got-1, senderBurst)
		}
	}
}

// TestLimiterTellsProgramsApart: a flood from the peer's own machine is another program's.
func TestLimiterTellsProgramsApart(t *testing.T) {
	l := newLimiter()
	l.seed = 1 // any fixed one: a random one shares a bucket now and then
	flood, peer := netip.MustParseAddrPort("10.9.0.2:50000"), netip.MustParseAddrPort("10.9.0.2:40000")
	for range 10000 {
		l.allow(flood, 300, 1e18)
	}
	if ok, _ := l.allow(peer, 300, 1e18); !ok {
		t.Error("the peer's frame was dropped for another program's flood")
	}
}
