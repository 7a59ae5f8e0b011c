package daemon

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"hapair/heartbeat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair boots both nodes of a pair on two cables and waits until each holds its own group.
func pair(t *testing.T) (alpha, beta *labNode, cables map[string]*cable) {
	t.Helper()
	cables = map[string]*cable{"eth0": newCable("eth0"), "eth1": newCable("eth1")}
	alpha = boot(t, testConfig(t, "alpha", "eth0", "eth1"), cables, 10)
	beta = boot(t, testConfig(t, "beta", "eth0", "eth1"), cables, 20)
	time.Sleep(time.Second)
	alpha.wants(t, "web")
	beta.wants(t, "mail")
	return alpha, beta, cables
}

func TestPairStartsWithinASecondAndSurvivesTheDeathOfEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := pair(t)
		alpha.end()
		time.Sleep(1200 * time.Millisecond)
		beta.wants(t, "mail web")
		s, err := beta.status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s.State != "active" || s.Peer.State != "dead" || s.Health != Degraded || strings.Join(s.Holds, " ") != "local foreign" {
			t.Errorf("status says %s, peer %s, %s, holds %v", s.State, s.Peer.State, s.Health, s.Holds)
		}
		beta.end()
	})
}

func TestPoliteStopHandsEverythingOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := pair(t)
		if err := alpha.request(context.Background(), heartbeat.Request{Kind: heartbeat.RequestStop, By: "test"}); err != nil {
			t.Fatal(err)
		}
		halt := <-alpha.halted
		if halt == nil || !halt.Released {
			t.Fatalf("halt = %+v, want a released one", halt)
		}
		alpha.wants(t, "")
		time.Sleep(50 * time.Millisecond)
		beta.wants(t, "mail web")
		alpha.end()
		beta.end()
	})
}

func TestStandbyAndMoveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := pair(t)
		who := caller{uid: 0, may: true}
		if r := alpha.answer(context.Background(), who, Request{Command: CommandStandby, Which: "all"}); !r.OK {
			t.Fatal(r.Error)
		}
		time.Sleep(300 * time.Millisecond)
		alpha.wants(t, "")
		beta.wants(t, "mail web")
		if r := alpha.answer(context.Background(), who, Request{Command: CommandMove, Group: "web"}); !r.OK {
			t.Fatal(r.Error)
		}
		time.Sleep(300 * time.Millisecond)
		alpha.wants(t, "web")
		beta.wants(t, "mail")
		if r := alpha.answer(context.Background(), who, Request{Command: CommandMove, Group: "wbe"}); r.OK || !strings.Contains(r.Error, "no resource group") {
			t.Errorf("moving an unknown group: %+v", r)
		}
		alpha.end()
		beta.end()
	})
}

func TestStuckLinkDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, cables := pair(t)
		for p := range cables["eth0"].ends {
			p.mu.Lock()
			p.stuck = true
			p.mu.Unlock()
		}
		time.Sleep(30 * time.Second)
		alpha.wants(t, "web")
		beta.wants(t, "mail")
		s, err := alpha.status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s.Links[0].State != "unusable" || s.Links[1].State != "up" || s.Links[1].LastHeardMS > 150 || s.Links[0].SendErrors < 100 {
			t.Errorf("links: %+v", s.Links)
		}
		alpha.end()
		beta.end()
	})
}

func TestHungGroupDelaysNeitherHeartbeatsNorStatusNorOtherGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := pair(t)
		beta.manager.mu.Lock()
		beta.manager.hang["web"] = true
		beta.manager.mu.Unlock()
		alpha.end()
		time.Sleep(20 * time.Second)
		beta.wants(t, "mail")
		before := time.Now()
		s, err := beta.status(context.Background())
		if err != nil || time.Since(before) > 50*time.Millisecond {
			t.Fatalf("status after %v: %v", time.Since(before), err)
		}
		if s.Groups[0].State != "acquiring" || s.Links[0].Sent < 200 {
			t.Errorf("web is %s after %d frames, want acquiring after 200 and more", s.Groups[0].State, s.Links[0].Sent)
		}
		if err := beta.request(context.Background(), heartbeat.Request{Kind: heartbeat.RequestStop, By: "test"}); err != nil {
			t.Fatal(err)
		}
		if halt := <-beta.halted; halt == nil || !halt.Released {
			t.Errorf("a stop while an acquisition hangs ends with %+v", halt)
		}
		beta.wants(t, "")
		beta.end()
	})
}

func TestPartitionHealsWithoutARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, cables := pair(t)
		for _, c := range cables {
			c.setCut(true)
		}
		time.Sleep(3 * time.Second)
		alpha.wants(t, "mail web")
		beta.wants(t, "mail web")
		for _, c := range cables {
			c.setCut(false)
		}
		time.Sleep(3 * time.Second)
		if a, b := alpha.manager.runs(), beta.manager.runs(); len(a)+len(b) != len("mailweb") && a+b != "mail web" {
			t.Errorf("after healing alpha runs %q and beta %q, want each group once\n%s", a, b, alpha.sink.text())
		}
		alpha.end()
		beta.end()
	})
}
