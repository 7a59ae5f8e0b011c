package main

import (
	"strings"
	"testing"

	"hapair/heartbeat/daemon"
)

// TestStatusShowsWhatIpfailCompares in words, with what follows.
func TestStatusShowsWhatIpfailCompares(t *testing.T) {
	for _, tt := range []struct {
		reach *daemon.ReachView
		want  string
	}{
		{nil, ""},
		{&daemon.ReachView{Here: 1, Peer: -1}, "  ipfail: 1 of 2 reached here; beta does not say, so nothing is compared\n"},
		{&daemon.ReachView{Here: 1, Peer: 2}, "  ipfail: 1 of 2 reached here, 2 from beta: beta is to serve\n"},
		{&daemon.ReachView{Here: 1, Peer: 0}, "  ipfail: 1 of 2 reached here, 0 from beta: alpha is to serve\n"},
		{&daemon.ReachView{Here: 1, Peer: 1}, "  ipfail: 1 of 2 reached here, 1 from beta: a tie, nothing moves\n"},
	} {
		s := pairStatus()
		s.Reach = tt.reach
		b := &statusText{s: &s}
		b.links()
		if text := b.String(); tt.want == "" && strings.Contains(text, "ipfail") || !strings.HasSuffix(text, tt.want) {
			t.Errorf("%+v: %q, want %q", tt.reach, text, tt.want)
		}
	}
}
