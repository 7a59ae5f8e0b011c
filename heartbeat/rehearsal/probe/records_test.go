package probe_test

import (
	"slices"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/probe"
)

const ms = time.Millisecond

// every lists instants from a until before b, a millisecond apart.
func every(a, b time.Duration) []time.Duration {
	var times []time.Duration
	for t := a; t < b; t += ms {
		times = append(times, t)
	}
	return times
}

// answered are answers of one node at the given instants.
func answered(node int, times ...time.Duration) []probe.Answer {
	var answers []probe.Answer
	for _, t := range times {
		answers = append(answers, probe.Answer{At: t, Node: node})
	}
	return answers
}

func TestLongestGap(t *testing.T) {
	steady := every(0, 1000*ms)
	stall := append(every(0, 300*ms), every(340*ms, 1000*ms)...)
	tests := []struct {
		name     string
		answers  []probe.Answer
		sends    []time.Duration
		from, to time.Duration
		want     probe.Gap
	}{
		{"steady", answered(0, steady...), steady, 100 * ms, 900 * ms, probe.Gap{From: 99 * ms, To: 100 * ms}},
		{"takeover", append(answered(0, every(0, 200*ms)...), answered(1, every(400*ms, 1000*ms)...)...), steady, 100 * ms, 900 * ms,
			probe.Gap{From: 199 * ms, To: 400 * ms}},
		{"prober stalled inside", append(answered(0, every(0, 200*ms)...), answered(1, every(400*ms, 1000*ms)...)...), stall, 100 * ms, 900 * ms,
			probe.Gap{From: 199 * ms, To: 400 * ms, Stalled: 40 * ms}},
		{"a stall is no outage", answered(0, stall...), stall, 100 * ms, 900 * ms, probe.Gap{From: 299 * ms, To: 340 * ms, Stalled: 40 * ms}},
		{"for ever", answered(0, every(0, 200*ms)...), steady, 100 * ms, 900 * ms, probe.Gap{From: 199 * ms, To: 900 * ms, Open: true}},
		{"never", nil, steady, 100 * ms, 900 * ms, probe.Gap{From: 100 * ms, To: 900 * ms, Open: true}},
		{"ends outside", append(answered(0, every(0, 200*ms)...), answered(1, 950*ms)...), steady, 100 * ms, 900 * ms, probe.Gap{From: 199 * ms, To: 950 * ms}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := probe.LongestGap(test.answers, test.sends, ms, probe.Span{From: test.from, To: test.to})
			if test.name == "a stall is no outage" {
				if got.Outage() > ms {
					t.Errorf("got an outage of %v", got.Outage())
				}
				return
			}
			if test.name == "steady" {
				if got.Raw() != ms || got.Open {
					t.Errorf("got %+v", got)
				}
				return
			}
			if got.From != test.want.From || got.To != test.want.To || got.Open != test.want.Open || got.Stalled != test.want.Stalled {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestMoves(t *testing.T) {
	answers := answered(0, 1*ms, 2*ms, 3*ms)
	answers = append(answers, answered(1, 4*ms)...) // one answer crossed another
	answers = append(answers, answered(0, 5*ms)...)
	answers = append(answers, answered(1, 6*ms, 7*ms, 8*ms)...)
	got := probe.Moves(answers, probe.Span{To: 10 * ms})
	if want := []probe.Move{{At: 1 * ms, Node: 0}, {At: 6 * ms, Node: 1}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := probe.Moves(nil, probe.Span{To: ms}); got != nil {
		t.Errorf("no answers: got %v", got)
	}
}

func TestOverlapsAndMoves(t *testing.T) {
	asked := []time.Duration{0, 10 * ms, 20 * ms, 30 * ms}
	in := func(slot int, node int, after time.Duration) probe.Answer {
		return probe.Answer{At: asked[slot] + after, Node: node}
	}
	tests := []struct {
		name    string
		answers []probe.Answer
		want    time.Duration
	}{
		{"the asker was held up while the address moved", []probe.Answer{in(0, 0, 0), in(1, 0, 0), in(1, 1, 3*ms), in(2, 1, 0)}, 0},
		{"both at once", []probe.Answer{in(0, 0, 0), in(1, 0, 0), in(1, 1, ms/10), in(2, 1, 0)}, 10 * ms},
		{"both in turns", []probe.Answer{in(0, 0, 0), in(1, 0, 0), in(1, 1, 3*ms), in(1, 0, 5*ms), in(2, 1, 0)}, 10 * ms},
		{"the first goes on", []probe.Answer{in(0, 0, 0), in(1, 0, 0), in(1, 1, 3*ms), in(2, 0, 0), in(2, 1, 3*ms)}, 20 * ms},
		{"the second came before", []probe.Answer{in(0, 0, 0), in(0, 1, 3*ms), in(1, 0, 0), in(1, 1, 3*ms), in(2, 1, 0)}, 20 * ms},
		{"the first comes back", []probe.Answer{in(0, 0, 0), in(1, 0, 0), in(1, 1, 3*ms), in(2, 0, 0)}, 10 * ms},
	}
	for _, test := range tests {
		if got := probe.Total(probe.Overlaps(test.answers, asked, 10*ms, probe.Span{To: 40 * ms})); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	asked := []time.Duration{0, 10 * ms, 20 * ms, 30 * ms, 40 * ms}
	answers := []probe.Answer{
		{0, 0}, {1 * ms, 0}, // both questions answered by one
		{10 * ms, 0}, {11 * ms, 1}, // both
		{20*ms + 1, 1}, {20*ms + 2, 0}, // both
		{31 * ms, 1}, {32 * ms, probe.Nobody},
		{41 * ms, 1}, {42 * ms, 0}, // both again
	}
	got := probe.Overlaps(answers, asked, 10*ms, probe.Span{To: 50 * ms})
	want := []probe.Span{{From: 10 * ms, To: 30 * ms}, {From: 40 * ms, To: 50 * ms}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := probe.Total(got); got != 30*ms {
		t.Errorf("in all: got %v", got)
	}
	if got := probe.Overlaps(answers, asked, 10*ms, probe.Span{From: 25 * ms, To: 39 * ms}); got != nil {
		t.Errorf("a window without: got %v", got)
	}
}
