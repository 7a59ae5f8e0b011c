package daemon

import (
	"fmt"
	"testing"
)

// TestJudgeOfAGroupThatNobodyServes: it is a failure also in the moments in which it is being tried again, and is told once.
func TestJudgeOfAGroupThatNobodyServes(t *testing.T) {
	const alarm = "nobody serves web: it failed here (no disk), and beta is not there (dead); it is tried again here by itself"
	for state, want := range map[string]string{
		"acquiring": "[web is in motion (acquiring) " + alarm + "]",
		"failed":    "[nobody serves web: it failed here (no disk); repair it, then run `heartbeat resource cleanup 'web'`]",
	} {
		s := Status{Managed: true, Node: "alpha", State: "standby", Alarms: []string{alarm}, Groups: []GroupView{{Name: "web", State: state, Reason: "no disk"}}}
		if state == "acquiring" {
			s.Groups[0].Owner = "alpha" // as the core says of what it means to serve
		}
		s.judge()
		if got := fmt.Sprint(s.Problems); s.Health != Failed || got != want {
			t.Errorf("%s: %s, %s", state, s.Health, got)
		}
	}
	s := Status{Managed: true, Node: "alpha", State: "active", Groups: []GroupView{{Name: "web", State: "releasing", Removed: true}}}
	if s.judge(); s.Health != Degraded || len(s.Problems) != 1 {
		t.Errorf("a group that is taken away on purpose: %s, %v", s.Health, s.Problems)
	}
}
