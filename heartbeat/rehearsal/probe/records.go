package probe

import (
	"slices"
	"time"
)

// Nobody stands for an answer, or an announcement, that came from neither node.
const Nobody = -1

// Answer is one answer to one question.
type Answer struct {
	At   time.Duration // since the Clock's start, when the kernel received it
	Node int           // 0 or 1, or Nobody
}

// Gap is a stretch of time without answers.
type Gap struct {
	From, To time.Duration // the last answer before and the first one after; or the end of what was looked at
	Stalled  time.Duration // of which the prober itself did not run
	Open     bool          // no answer followed
}

// Raw is the gap's whole length.
func (g Gap) Raw() time.Duration { return g.To - g.From }

// Outage is the gap's length without the time in which the prober itself did not run: nobody asked then.
func (g Gap) Outage() time.Duration { return max(0, g.Raw()-g.Stalled) }

// LongestGap is the longest stretch without an answer in a window, judged without the prober's own stalls. answers
// and sends are in the order of time; period is the time between two sends when all is well.
func LongestGap(answers []Answer, sends []time.Duration, period time.Duration, window Span) Gap {
	from, to := window.From, window.To
	longest := Gap{From: from, To: from}
	consider := func(a, b time.Duration, open bool) {
		g := Gap{From: a, To: b, Stalled: stalled(sends, period, a, b), Open: open}
		if g.Outage() > longest.Outage() || open && b > a && g.Outage() == longest.Outage() {
			longest = g
		}
	}
	last := from
	first, _ := slices.BinarySearchFunc(answers, from, func(a Answer, t time.Duration) int { return int(a.At - t) })
	if first > 0 {
		last = answers[first-1].At
	}
	for _, a := range answers[first:] {
		if a.At > to {
			consider(last, a.At, false)
			return longest
		}
		consider(last, a.At, false)
		last = a.At
	}
	consider(last, to, true)
	return longest
}

// stalled sums by how much the sends between a and b were late, as far as it is more than a period.
func stalled(sends []time.Duration, period, a, b time.Duration) time.Duration {
	var sum time.Duration
	i, _ := slices.BinarySearch(sends, a)
	for i = max(i, 1); i < len(sends) && sends[i-1] < b; i++ {
		begin, end := max(sends[i-1], a), min(sends[i], b)
		if late := end - begin - period; late > period {
			sum += late
		}
	}
	return sum
}

// Move is a change of the node that answers.
type Move struct {
	At   time.Duration
	Node int // who answers from now on
}

// Moves lists the changes of the answering node in a window; the first entry is the first answer. Single answers
// that were under way while the node changed do not count as moves back: an answer counts once the next two agree with it.
func Moves(answers []Answer, window Span) []Move {
	var moves []Move
	inside := within(answers, window)
	for i, a := range inside {
		if len(moves) > 0 && moves[len(moves)-1].Node == a.Node {
			continue
		}
		following := inside[i:min(i+3, len(inside))]
		if !slices.ContainsFunc(following, func(b Answer) bool { return b.Node != a.Node }) {
			moves = append(moves, Move(a))
		}
	}
	return moves
}

// within is the part of the records in a window.
func within(answers []Answer, window Span) []Answer {
	i, _ := slices.BinarySearchFunc(answers, window.From, func(a Answer, t time.Duration) int { return int(a.At - t) })
	j, _ := slices.BinarySearchFunc(answers, window.To, func(a Answer, t time.Duration) int { return int(a.At - t) })
	return answers[i:max(i, j)]
}

// Span is a stretch of time.
type Span struct{ From, To time.Duration }

// Overlaps are the stretches of a window in which both nodes answered in the same slot; slots are asked one every period, and slot i
// began at asked[i]. An answer belongs to the slot that was asked last before it. A slot across which the address moved is none of them:
// one in which one node's answers end a millisecond or more before the other's begin, where the asker was held up between its two
// questions, and in the slots beside it only the one and only the other answered.
func Overlaps(answers []Answer, asked []time.Duration, period time.Duration, window Span) []Span {
	var spans []Span
	inside := within(answers, window)
	for len(inside) > 0 {
		slot, found := slices.BinarySearch(asked, inside[0].At)
		if !found {
			slot--
		}
		end := window.To
		if slot+1 < len(asked) {
			end = asked[slot+1]
		}
		n := 0
		for n < len(inside) && (inside[n].At < end || n == 0) {
			n++
		}
		if answerers(inside[:n]) == 3 && !moved(answers, asked, slot, inside[:n]) {
			spans = addSlot(spans, asked[max(slot, 0)], period)
		}
		inside = inside[n:]
	}
	return spans
}

// answerers are the nodes that answered, a bit each.
func answerers(answers []Answer) (mask int) {
	for _, a := range answers {
		if a.Node != Nobody {
			mask |= 1 << a.Node
		}
	}
	return mask
}

// crossing is how far apart the answers of both nodes in one slot are at least where the address moved between them: they are asked within
// microseconds, and no hand-over is that short.
const crossing = time.Millisecond

// moved tells that the address went from one node to the other in a slot.
func moved(all []Answer, asked []time.Duration, slot int, answers []Answer) bool {
	if slot < 1 || slot+2 >= len(asked) {
		return false
	}
	first := answers[0].Node
	next := slices.IndexFunc(answers, func(a Answer) bool { return a.Node != first })
	if first == Nobody || next < 0 || answers[next].Node == Nobody || answerers(answers[next:]) != 1<<answers[next].Node {
		return false
	}
	before := answerers(within(all, Span{From: asked[slot-1], To: asked[slot] - 1}))
	after := answerers(within(all, Span{From: asked[slot+1], To: asked[slot+2] - 1}))
	return answers[next].At-answers[next-1].At >= crossing && before == 1<<first && after == 1<<answers[next].Node
}

// addSlot appends one slot, and joins it to the span before when they touch.
func addSlot(spans []Span, at, period time.Duration) []Span {
	if n := len(spans); n > 0 && at-spans[n-1].To < period/2 {
		spans[n-1].To = at + period
		return spans
	}
	return append(spans, Span{From: at, To: at + period})
}

// Total is the summed length of spans.
func Total(spans []Span) time.Duration {
	var sum time.Duration
	for _, s := range spans {
		sum += s.To - s.From
	}
	return sum
}
