package daemon

import (
	"strconv"
	"sync"
	"time"

	"hapair/heartbeat/wire"
)

// The bounds of what is remembered of the heartbeats' timing.
const (
	lossWindow  = 5 * time.Minute // loss for people is that of the window that runs and the one before it
	enoughBeats = 100             // fewer heartbeats than this recommend no deadtime
	safeFactor  = 2               // a safe deadtime is so many times the longest silence that was no outage,
	safeBeats   = 4               // and at least so many keepalives
)

// timing is how the peer's heartbeats arrive on one link, or on any of them: what of them is lost, how late they come, and for how long there
// was silence. A heartbeat is known by its sequence number, which a node counts through one run; it goes on every link. The zero value is
// ready to use.
type timing struct {
	mu         sync.Mutex
	generation uint64
	last       uint64    // the highest sequence number that came, 0 before the first
	at         time.Time // when

	expected, lost uint64 // since the start
	window         [2]struct{ expected, lost uint64 }
	turn           time.Time // when the window that runs began

	jitter  histogram // how much later than a keepalive after the one before each came
	silence histogram // between one heartbeat that came and the next
	trip    histogram // there and back on this link

	asked   string // the question of this node that is on its way, "" for none
	askedAt time.Time
}

// arrived notes a message of the peer that came at an instant; keepalive is how often heartbeats are to come, and deadtime from when on a
// silence is an outage, which says nothing of the timing.
func (t *timing) arrived(at time.Time, m wire.Message, keepalive, deadtime time.Duration) {
	seq, err := strconv.ParseUint(m.Get("seq"), 16, 64)
	if err != nil || seq == 0 {
		return
	}
	generation, err := strconv.ParseUint(m.Get("hg"), 16, 32)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == 0 || generation > t.generation {
		t.generation, t.last, t.at = generation, seq, at
		t.count(at, 1, 0)
		return
	}
	if generation < t.generation || seq <= t.last {
		return // sent again, or replayed
	}
	ahead, gap := seq-t.last, max(0, at.Sub(t.at))
	t.last, t.at = seq, at
	t.count(at, ahead, ahead-1)
	if gap >= deadtime {
		return
	}
	t.silence.add(gap)
	if ahead == 1 {
		t.jitter.add(max(0, gap-keepalive))
	}
}

// count adds messages that should have come, and those that did not.
func (t *timing) count(at time.Time, expected, lost uint64) {
	if passed := at.Sub(t.turn); passed >= lossWindow {
		t.window[1] = t.window[0]
		if passed >= 2*lossWindow {
			t.window[1].expected, t.window[1].lost = 0, 0
		}
		t.window[0].expected, t.window[0].lost = 0, 0
		t.turn = at
	}
	t.expected += expected
	t.lost += lost
	t.window[0].expected += expected
	t.window[0].lost += lost
}

// ask notes that a question leaves now; answered takes its answer. One that is late is as good as lost.
func (t *timing) ask(id string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked, t.askedAt = id, now
}

func (t *timing) answered(id string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == "" || id != t.asked {
		return false
	}
	t.asked = ""
	t.trip.add(max(0, now.Sub(t.askedAt)))
	return true
}

// TimingView is how the peer's heartbeats arrive. Times are in milliseconds; a quantile is rounded up to a bound of the histogram.
type TimingView struct {
	Heartbeats  uint64  `json:"heartbeats"`    // that arrived
	Lost        uint64  `json:"lost"`          // that did not, since this daemon started
	LossPercent float64 `json:"loss_percent"`  // in the last five to ten minutes
	RTTMS       float64 `json:"rtt_ms"`        // there and back, half of them are quicker; -1 while unknown, and where it is not measured
	RTTMaxMS    float64 `json:"rtt_max_ms"`    // the longest; -1 while unknown
	JitterMS    float64 `json:"jitter_ms"`     // 99 of 100 heartbeats come no later than this after they are due
	JitterMaxMS float64 `json:"jitter_max_ms"` // the latest
	SilenceMS   float64 `json:"silence_ms"`    // the longest silence that was not an outage
	SafeMS      int64   `json:"safe_deadtime_ms,omitempty"`
}

// view sums it up; nil where nothing came yet.
func (t *timing) view(keepalive time.Duration) *TimingView {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.expected == 0 {
		return nil
	}
	v := &TimingView{
		Heartbeats: t.expected - t.lost, Lost: t.lost, RTTMS: -1, RTTMaxMS: -1,
		JitterMS: millis(t.jitter.quantile(0.99)), JitterMaxMS: millis(t.jitter.most), SilenceMS: millis(t.silence.most),
	}
	if t.trip.n > 0 {
		v.RTTMS, v.RTTMaxMS = millis(t.trip.quantile(0.5)), millis(t.trip.most)
	}
	if e := t.window[0].expected + t.window[1].expected; e > 0 {
		v.LossPercent = 100 * float64(t.window[0].lost+t.window[1].lost) / float64(e)
	}
	if t.silence.n >= enoughBeats {
		v.SafeMS = safeDeadtime(t.silence.most, keepalive).Milliseconds()
	}
	return v
}

// safeDeadtime is the deadtime that silences so long leave room for, in two digits.
func safeDeadtime(longest, keepalive time.Duration) time.Duration {
	d := max(safeFactor*longest, safeBeats*keepalive)
	unit := time.Millisecond
	for d > 100*unit {
		unit *= 10
	}
	return (d + unit - 1) / unit * unit
}

// millis is a time in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// histogram counts times, on bounds of which ten make a decade. The zero value is ready to use; it is not safe for concurrent use.
type histogram struct {
	counts [histogramSize + 1]uint64 // the last one is for what is longer than all bounds
	n      uint64
	sum    time.Duration
	most   time.Duration
}

const histogramSize = 61

// histogramBounds are the upper bounds: 100 µs to 100 s.
var histogramBounds = func() (bounds [histogramSize]time.Duration) {
	decade := time.Microsecond
	for i := range bounds {
		bounds[i] = [...]time.Duration{100, 125, 160, 200, 250, 320, 400, 500, 630, 800}[i%10] * decade
		if i%10 == 9 {
			decade *= 10
		}
	}
	return bounds
}()

// add counts one.
func (h *histogram) add(d time.Duration) {
	low, high := 0, histogramSize
	for low < high {
		if middle := (low + high) / 2; d <= histogramBounds[middle] {
			high = middle
		} else {
			low = middle + 1
		}
	}
	h.counts[low]++
	h.n++
	h.sum += d
	h.most = max(h.most, d)
}

// quantile is a bound that a share of all does not exceed, and never more than the longest.
func (h *histogram) quantile(share float64) time.Duration {
	rank, seen := uint64(share*float64(h.n)), uint64(0)
	for i, c := range h.counts[:histogramSize] {
		if seen += c; seen > rank || seen == h.n {
			return min(histogramBounds[i], h.most)
		}
	}
	return h.most
}

// upTo counts what is not longer than a bound.
func (h *histogram) upTo(bound time.Duration) (count uint64) {
	for i, c := range h.counts[:histogramSize] {
		if histogramBounds[i] > bound {
			break
		}
		count += c
	}
	return count
}

// DeadtimeAdvice words what the heartbeats that came say about deadtime, "" while they say nothing yet.
func DeadtimeAdvice(s *Status) string {
	t := s.Timing
	if t == nil || t.SafeMS == 0 {
		return ""
	}
	span := func(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }
	longest := time.Duration(t.SilenceMS * float64(time.Millisecond)).Round(100 * time.Microsecond)
	text := "longest silence of " + s.Peer.Name + " " + longest.String() + " in " + strconv.FormatUint(t.Heartbeats, 10) + " heartbeats: "
	if t.SafeMS > s.DeadtimeMS {
		return text + "deadtime " + span(s.DeadtimeMS) + " is tight, " + span(t.SafeMS) + " would be safe"
	}
	return text + "deadtime " + span(s.DeadtimeMS) + " is safe (from " + span(t.SafeMS) + " on)"
}
