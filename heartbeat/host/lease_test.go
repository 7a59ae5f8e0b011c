package host_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

// both runs a test with each mechanism.
func both(t *testing.T, test func(t *testing.T, m host.Mechanism)) {
	for _, m := range []host.Mechanism{host.MechanismBPF, host.MechanismNFT} {
		t.Run(string(m), func(t *testing.T) {
			if m == host.MechanismNFT {
				require.Tool(t, "nft", "leases held by nftables")
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

// endsOnTime never excuses an answer that came too late. One that did not come at all may have been lost to a machine that stood still
// for a moment: that is tried again.
func (b *bench) endsOnTime(t *testing.T, l *host.Lease, q question, about netip.Addr, length time.Duration) {
	for range 5 {
		until := boot() + length
		b.must(l.Renew("service", until))
		if got, err := l.Until("service"); err != nil || got != until {
			t.Errorf("the lease is in force until %v (%v), want %v", got, err, until)
		}
		last, lost := b.askUntil(q, about, until, length/3+l.Grain())
		if last-until > l.Grain() {
			t.Fatalf("answered a question that came %v after the lease's end (grain %v)", last-until, l.Grain())
		}
		if lost == 0 {
			t.Logf("last answered question %v from the end", last-until)
			return
		}
	}
	t.Error("questions before the lease's end were not answered")
}

// askUntil asks beyond the end of a lease. It returns when the last answered question was asked, and how many were not answered of those
// asked earlier than a margin before the end.
func (b *bench) askUntil(q question, about netip.Addr, until, margin time.Duration) (last time.Duration, lost int) {
	for now := boot(); now < until+15*time.Millisecond; now = boot() {
		patience := 200 * time.Microsecond
		if now < until-margin {
			patience = 50 * time.Millisecond
		}
		switch answered := b.ask(q, about, patience); {
		case answered:
			last = now
		case now < until-margin:
			lost++
		}
	}
	return last, lost
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
