package heartbeat

import (
	"math"
	"math/bits"
	"time"
)

// Timing is what a node has measured of the silence between two signs of life of its peer, and of its own lateness: what dead time is safe here.
// It outlives a restart (Boot.Timing).
type Timing struct {
	Keepalive time.Duration // the interval that it was measured with; another one begins it anew
	Watched   time.Duration // for how long in all the peer was heard
	Gaps      Histogram     // between two signs of life on any link, less what this node itself was late
	Stalls    Histogram     // how much later than it asked this node was woken
	Lapses    uint64        // how often it had to ask before it answered again, because its lease had run out while it stood still
}

// Histogram counts durations in steps of a sixteenth of an octave, from a millisecond on. Its zero value is empty.
type Histogram struct {
	Counts  [timingSteps]uint64
	Largest time.Duration
}

const (
	timingFirst  = time.Millisecond
	timingOctave = 16                  // steps
	timingSteps  = 1 + timingOctave*20 // up to a quarter of an hour
)

// TimingBound is the upper end of a histogram's step.
func TimingBound(step int) time.Duration {
	return time.Duration(float64(timingFirst) * math.Exp2(float64(step)/timingOctave))
}

// stepBounds are all TimingBound but the last one, which has none.
var stepBounds = func() (list [timingSteps - 1]time.Duration) {
	for i := range list {
		list[i] = TimingBound(i)
	}
	return list
}()

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	h.Largest = max(h.Largest, d)
	step := 0
	if d > timingFirst { // the octave first, then a few comparisons
		step = timingOctave * (bits.Len64(uint64(d/timingFirst)) - 1)
		for step < len(stepBounds) && d > stepBounds[step] {
			step++
		}
	}
	h.Counts[min(step, timingSteps-1)]++
}

// Total is how many durations were counted.
func (h *Histogram) Total() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Above is how many of them were longer than the end of a step.
func (h *Histogram) Above(step int) (n uint64) {
	for _, c := range h.Counts[min(step+1, timingSteps):] {
		n += c
	}
	return n
}

// year is what rates are given by.
const year = 365 * 24 * time.Hour

// tailSizes are how many of the longest gaps an estimate rests on: the one of them that says the worst counts, since a tail that is heavier
// far out than near shows only there.
var tailSizes = [...]uint64{10, 30, 100, 300}

// EnoughTiming is how long the peer must have been watched before anything is said of a year.
const EnoughTiming = 10 * time.Minute

// Enough tells whether the measurement carries an estimate.
func (t *Timing) Enough() bool { return t.Watched >= EnoughTiming && t.Gaps.Total() >= 1000 }

// FailoversAYear estimates how often in a year a living peer would be silent for longer than a dead time. It extends the tail of what was
// measured by an exponential: what is rarer than that, a switch that restarts or a machine that is paused, it cannot know. Of a measurement
// that is too short it says nothing: NaN.
func (t *Timing) FailoversAYear(deadtime time.Duration) float64 {
	if !t.Enough() {
		return math.NaN()
	}
	worst := 0.0
	for _, tail := range t.tails() {
		worst = max(worst, tail.exceed(deadtime))
	}
	return worst * float64(year) / float64(t.Watched)
}

// Safe is the shortest dead time for which FailoversAYear is at most a rate; it is at least twice the longest gap seen. 0 where the
// measurement is too short.
func (t *Timing) Safe(rate float64) time.Duration {
	if !t.Enough() {
		return 0
	}
	allowed := rate * float64(t.Watched) / float64(year)
	safe := max(2*t.Gaps.Largest, 3*t.Keepalive)
	for _, tail := range t.tails() {
		if tail.count > allowed {
			safe = max(safe, tail.from+time.Duration(float64(tail.mean)*math.Log(tail.count/allowed)))
		}
	}
	return safe
}

// tail is the upper end of a histogram as an exponential: count gaps longer than from, by mean on the average.
type tail struct {
	from, mean time.Duration
	count      float64
}

// exceed is how many gaps longer than d it has.
func (t tail) exceed(d time.Duration) float64 {
	if d <= t.from {
		return t.count
	}
	return t.count * math.Exp(-float64(d-t.from)/float64(t.mean))
}

func (t *Timing) tails() (list []tail) {
	for _, size := range tailSizes {
		step, count := timingSteps-2, uint64(0)
		for step >= 0 {
			count = t.Gaps.Above(step)
			if count >= size {
				break
			}
			step--
		}
		if step < 0 {
			continue
		}
		from, sum := TimingBound(step), 0.0
		for i := step + 1; i < timingSteps; i++ {
			lower := TimingBound(i - 1)
			middle := (lower + max(lower, min(TimingBound(i), t.Gaps.Largest))) / 2
			sum += float64(t.Gaps.Counts[i]) * float64(middle-from)
		}
		list = append(list, tail{from: from, mean: max(time.Duration(sum/float64(count)), time.Microsecond), count: float64(count)})
	}
	return list
}

// heardPeer notes a new sign of life of the peer.
func (n *Node) heardPeer() {
	p, t := &n.peer, &n.timing
	if p.life == lifeAlive && p.lastHeard != never && n.member == memberActive {
		gap := n.now.Mono - p.lastHeard
		t.Watched += gap
		t.Gaps.Add(max(0, gap-p.grace))
	}
	p.lastHeard, p.grace, p.warned = n.now.Mono, 0, false
}

// timingBefore is what an earlier run measured, where that holds for this one.
func timingBefore(cfg Config, boot Boot) Timing {
	if boot.Timing.Keepalive != cfg.Keepalive {
		return Timing{Keepalive: cfg.Keepalive}
	}
	return boot.Timing
}
