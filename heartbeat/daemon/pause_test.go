package daemon

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPauseIsShownOnBothNodesAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, cables := pair(t)
		who := caller{uid: 0, may: true}
		if r := alpha.answer(context.Background(), who, Request{Command: CommandPause, DurationMS: 60_000}); !r.OK {
			t.Fatal(r.Error)
		}
		time.Sleep(time.Second)
		for _, n := range []*labNode{alpha, beta} {
			s, err := n.status(context.Background())
			if err != nil || s.PausedMS < 58_000 || s.Health != Degraded || !strings.Contains(strings.Join(s.Problems, "\n"), "takeover is paused for another 59s") {
				t.Errorf("%s: %v, %d ms, %v", n.manager.node, err, s.PausedMS, s.Problems)
			}
		}
		for _, c := range cables {
			c.setCut(true)
		}
		time.Sleep(50 * time.Second)
		alpha.wants(t, "web")
		beta.wants(t, "mail")
		for _, c := range cables {
			c.setCut(false)
		}
		time.Sleep(20 * time.Second)
		alpha.wants(t, "web")
		beta.wants(t, "mail")
		if s, err := beta.status(context.Background()); err != nil || s.PausedMS != 0 || s.Health != Healthy {
			t.Errorf("after its end: %v, %d ms, %v", err, s.PausedMS, s.Problems)
		}
		if r := alpha.answer(context.Background(), who, Request{Command: CommandPause, DurationMS: 25 * 3600_000}); r.OK || !strings.Contains(r.Error, "24h") {
			t.Errorf("a day and an hour: %+v", r)
		}
		alpha.end()
		beta.end()
	})
}
