package host_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"hapair/heartbeat/host"
)

// both runs a test with each mechanism.
func both(t *testing.T, test func(t *testing.T, m host.Mechanism)) {
	for _, m := range []host.Mechanism{host.MechanismBPF} {
		t.Run(string(m), func(t *testing.T) {
			if m == host.MechanismNFT {
				requireTool(t, "nft", "leases held by nftables")
			}
			test(t, m)
		})
	}
}

// TestLeaseEndsOnTime: answers of every kind go on until the instant, and none comes after it.
func TestLeaseEndsOnTime(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		l := b.lease(m)
		b.answers(false, serviceAddr, serviceAddr6) // mute until the first renewal
		for _, length := range []time.Duration{100, 30, 10} {
			for about, list := range asked(serviceAddr, serviceAddr6) {
				for _, q := range list {
					t.Run(fmt.Sprintf("%v/%d ms", q.name, length), func(t *testing.T) { b.endsOnTime(t, l, q, about, length*time.Millisecond) })
				}
			}
		}
	})
}

func (b *bench) endsOnTime(t *testing.T, l *host.Lease, q question, about netip.Addr, length time.Duration) {
	until := boot() + length
	b.must(l.Renew("service", until))
	if got, err := l.Until("service"); err != nil || got != until {
		t.Errorf("the lease is in force until %v (%v), want %v", got, err, until)
	}
	var last, first time.Duration // last answered question, first unanswered one
	for now := boot(); now < until+15*time.Millisecond; now = boot() {
		if b.ask(q, about, 200*time.Microsecond) {
			last = now
		} else if first == 0 && now > until {
			first = now
		}
	}
	// The last question was asked before the end, and the machine's stalls apart, just before it.
	if late := last - until; late > l.Grain() || late < -5*time.Millisecond {
		t.Errorf("the last answer came to a question %v after the lease's end (grain %v)", late, l.Grain())
	}
	t.Logf("last answered question %v from the end, first unanswered one %v", last-until, first-until)
}

// TestLeaseRenewedIsNeverFelt: a ping every millisecond, a renewal every 50 ms.
func TestLeaseRenewedIsNeverFelt(t *testing.T) {
	both(t, func(t *testing.T, m host.Mechanism) {
		b := newBench(t)
		l := b.lease(m)
		b.must(l.Renew("service", boot()+200*time.Millisecond))
		stop := make(chan struct{})
		done := make(chan error)
		go func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				if err := l.Renew("service", boot()+200*time.Millisecond); err != nil {
					done <- err
					return
				}
				select {
				case <-stop:
					done <- nil
					return
				case <-tick.C:
				}
			}
		}()
		lost, asks := 0, 0
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for end := time.Now().Add(4 * time.Second); time.Now().Before(end); <-pace.C {
			for about, list := range asked(serviceAddr, serviceAddr6) {
				asks++
				if !b.ask(list[0], about, 50*time.Millisecond) {
					lost++
				}
			}
		}
		close(stop)
		b.must(<-done)
		if lost > 0 {
			t.Errorf("%d of %d pings lost while the lease was renewed", lost, asks)
		}
		t.Logf("%d pings", asks)
	})
}
