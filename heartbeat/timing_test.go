package heartbeat_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"hapair/heartbeat"
)

// TestHistogramSteps: each duration is counted in the first step that it is not longer than.
func TestHistogramSteps(t *testing.T) {
	for step := range len(heartbeat.Histogram{}.Counts) - 1 {
		for _, d := range []time.Duration{heartbeat.TimingBound(step), heartbeat.TimingBound(step) + 1} {
			var h heartbeat.Histogram
			h.Add(d)
			want := step
			if d > heartbeat.TimingBound(step) {
				want++
			}
			if h.Counts[want] != 1 || h.Total() != 1 || h.Largest != d {
				t.Fatalf("%v is not in step %d, up to %v", d, want, heartbeat.TimingBound(want))
			}
			if above := h.Above(step); above != uint64(want-step) {
				t.Fatalf("%d above step %d, of one in step %d", above, step, want)
			}
		}
	}
	var h heartbeat.Histogram
	h.Add(0)
	h.Add(100 * time.Hour)
	if h.Counts[0] != 1 || h.Counts[len(h.Counts)-1] != 1 {
		t.Errorf("the shortest and the longest are not in the first and the last step")
	}
}

// exponential measures gaps of a keepalive and something that is exponential.
func exponential(keepalive, mean time.Duration, count int) (t heartbeat.Timing) {
	rng := rand.New(rand.NewPCG(1, 1))
	t.Keepalive = keepalive
	for range count {
		gap := keepalive + time.Duration(rng.ExpFloat64()*float64(mean))
		t.Gaps.Add(gap)
		t.Watched += gap
	}
	return t
}

// TestTimingAdvice holds the estimate against what is known of an exponential, and against a tail that is none.
func TestTimingAdvice(t *testing.T) {
	const ms = time.Millisecond
	year := 365 * 24 * time.Hour
	m := exponential(50*ms, 8*ms, 100_000)
	for _, deadtime := range []time.Duration{150 * ms, 200 * ms, 250 * ms} {
		known := float64(year/(58*ms)) * math.Exp(-float64(deadtime-50*ms)/float64(8*ms))
		got := m.FailoversAYear(deadtime)
		if got < known/10 || got > known*200 { // ten times better is worse than two hundred times worse: it extends a tail of ten
			t.Errorf("deadtime %v: %.3g a year, known are %.3g", deadtime, got, known)
		}
	}
	safe := m.Safe(1)
	if rate := m.FailoversAYear(safe); rate > 1.01 || safe > 600*ms || safe < 2*m.Gaps.Largest {
		t.Errorf("deadtime %v is called safe, longest gap %v, and gives %.3g failovers a year", safe, m.Gaps.Largest, rate)
	}
	before := m.FailoversAYear(400 * ms)
	for range 12 { // what an exponential does not have
		m.Gaps.Add(180 * ms)
	}
	if after := m.FailoversAYear(400 * ms); after < 1000*before || m.Safe(1) < 360*ms {
		t.Errorf("a dozen gaps of 180 ms change %.3g a year to %.3g, safe %v", before, after, m.Safe(1))
	}
	regular := exponential(50*ms, 10*time.Microsecond, 100_000)
	if rate := regular.FailoversAYear(200 * ms); rate > 0.01 {
		t.Errorf("of heartbeats that come within 10 µs, %.3g failovers a year are expected", rate)
	}
	short := exponential(50*ms, 8*ms, 5000) // less than EnoughTiming
	if rate := short.FailoversAYear(200 * ms); !math.IsNaN(rate) || short.Safe(1) != 0 {
		t.Errorf("five minutes are said to tell of %v failovers a year", rate)
	}
}

// TestTimingIsMeasured: gaps, the node's own lateness and lapses are counted, each where it belongs, and outlive a restart; not another keepalive.
func TestTimingIsMeasured(t *testing.T) {
	const ms = time.Millisecond
	w := newWorld(1, options{keepalive: 50 * ms, deadtime: 400 * ms, initdead: time.Second, groups: 1, links: 2, lease: true, roomy: true})
	alpha, beta := w.nodes[0], w.nodes[1]
	alpha.start()
	beta.start()
	w.run(10*time.Second + 10*ms) // just after a heartbeat
	m := beta.node.Status().Timing
	if m.Gaps.Total() < 150 || m.Gaps.Largest > 55*ms || m.Watched < 9*time.Second || m.Lapses != 0 || m.Stalls.Total() != 0 {
		t.Errorf("after ten quiet seconds: %d gaps up to %v in %v, %d stalls, %d lapses", m.Gaps.Total(), m.Gaps.Largest, m.Watched, m.Stalls.Total(), m.Lapses)
	}
	alpha.stand(false)
	w.run(w.now + 352*ms) // longer than the lease, shorter than the dead time
	alpha.resume()
	w.run(w.now + time.Second)
	a, b := alpha.node.Status().Timing, beta.node.Status().Timing
	if a.Lapses != 1 || a.Stalls.Largest < 100*ms || a.Gaps.Largest > 100*ms {
		t.Errorf("the node that stood still: %d lapses, late by %v, longest gap %v", a.Lapses, a.Stalls.Largest, a.Gaps.Largest)
	}
	if b.Lapses != 0 || b.Stalls.Total() != 0 || b.Gaps.Largest < 345*ms {
		t.Errorf("its peer: %d lapses, %d stalls, longest gap %v", b.Lapses, b.Stalls.Total(), b.Gaps.Largest)
	}
	alpha.powerCut()
	w.run(w.now + 5*time.Second)
	if after := beta.node.Status().Timing; after.Gaps.Largest != b.Gaps.Largest {
		t.Errorf("the death of the peer is counted as a gap of %v", after.Gaps.Largest)
	}
	for keepalive, want := range map[time.Duration]uint64{50 * ms: b.Gaps.Total(), 40 * ms: 0} {
		cfg := w.cfg
		cfg.Node, cfg.Peer, cfg.Keepalive = "beta", "alpha", keepalive
		n, err := heartbeat.New(cfg, heartbeat.Boot{Generation: 1, Timing: b}, beta.clock())
		if err != nil {
			t.Fatal(err)
		}
		m := n.Status().Timing
		if got := m.Gaps.Total(); got != want {
			t.Errorf("with keepalive %v a new run begins with %d gaps, not %d", keepalive, got, want)
		}
	}
}
