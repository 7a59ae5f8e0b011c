package main

import (
	"strings"
	"testing"

	"hapair/heartbeat/daemon"
)

// TestStatusAdvice renders what a measurement makes of the deadtime, and one that is too short to say anything.
func TestStatusAdvice(t *testing.T) {
	f := startFake(t)
	rate := 0.37
	f.change(func(s *daemon.Status) {
		s.Advice = &daemon.AdviceView{WatchedMS: 3_600_000, LongestGapMS: 90, LongestMS: 3.5, Lapses: 2, FailoversYear: &rate, SafeMS: 190,
			Gaps: []daemon.StepView{{UpToMS: 50.8, Count: 60_000}, {UpToMS: 53.1, Count: 39_900}, {UpToMS: 92.6, Count: 100}}, Stalls: []daemon.StepView{{UpToMS: 3.6, Count: 1}}}
	})
	flat := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	_, out, err := call(t, f.run, "heartbeat", "status", "--timing")
	for _, want := range []string{
		"false failovers to be expected in a year with this deadtime: 0.37; less than one with 190ms (twice the longest silence at least)",
		"as far as 1h0m0s of heartbeats tell, the longest silence 90ms", "right to answer lapsed 2 times",
		"up to 64 ms 99900 99.9000 %", "up to 128 ms 100 0.1000 %", "up to 4 ms 1 100.0000 %",
	} {
		if err != "" || !strings.Contains(flat(out), want) {
			t.Errorf("status --timing does not say %q; %s\n%s", want, err, out)
		}
	}
	f.change(func(s *daemon.Status) { s.Advice.FailoversYear = nil })
	if _, out, _ := call(t, f.run, "heartbeat", "status", "--timing"); !strings.Contains(flat(out), "are too little to say how many false failovers a year this deadtime makes") {
		t.Errorf("too short a measurement:\n%s", out)
	}
	if _, out, _ := call(t, f.run, "heartbeat", "status"); strings.Contains(out, "lapsed") {
		t.Errorf("status without --timing gives the advice too:\n%s", out)
	}
}
