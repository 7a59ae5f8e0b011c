package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/wire"
)

// comparing boots a pair whose nodes compare their files; change makes beta's different.
func comparing(t *testing.T, change func(*config.Config)) (alpha, beta *labNode, cables map[string]*cable) {
	t.Helper()
	cables = map[string]*cable{"eth0": newCable("eth0"), "eth1": newCable("eth1")}
	made := func(node string) *config.Config {
		c := testConfig(t, node, "eth0", "eth1")
		c.File, c.Table.File = "/etc/ha.d/ha.cf", "/etc/ha.d/haresources"
		c.Lines = map[string]int{"deadtime": 3}
		for i := range c.Table.Groups {
			c.Table.Groups[i].Line = i + 1
		}
		return c
	}
	a, b := made("alpha"), made("beta")
	change(b)
	alpha, beta = boot(t, a, cables, 10), boot(t, b, cables, 20)
	for _, n := range []*labNode{alpha, beta} {
		n.groups.tasks.Go(func() { n.compare.run(n.compare.calls.ctx) })
	}
	time.Sleep(5 * time.Second)
	return alpha, beta, cables
}

// filesOf is what a node's status says.
func filesOf(t *testing.T, n *labNode) (*Status, FilesView) {
	t.Helper()
	s, err := n.status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s, *s.Files
}

func TestEqualNodesAreFoundEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := comparing(t, func(*config.Config) {})
		for _, n := range []*labNode{alpha, beta} {
			s, f := filesOf(t, n)
			if f.State != "equal" || len(f.Differences) > 0 || s.Health != Healthy || strings.Contains(n.sink.text(), "Not the same") {
				t.Errorf("%s: %+v, %s %v", n.manager.node, f, s.Health, s.Problems)
			}
		}
		alpha.end()
		beta.end()
	})
}

func TestDifferenceIsNamedOnBothNodesAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := comparing(t, func(c *config.Config) {
			c.Table.Groups[1].Resources[0].Args = []string{"other"}
			c.Table.Groups[1].Line = 7
			c.Deadtime = 1200 * time.Millisecond
		})
		for _, n := range []*labNode{alpha, beta} {
			s, f := filesOf(t, n)
			text := strings.Join(f.Differences, "\n")
			mine, theirs := 2, 7
			if n == beta {
				mine, theirs = 7, 2
			}
			for _, want := range []string{
				"ha.cf:3:1: deadtime is ", "1.2s", fmt.Sprintf("haresources:%d:1: the group mail differs from ", mine), fmt.Sprintf("(haresources:%d)", theirs), "copy haresources to the other node",
			} {
				if !strings.Contains(text, want) || s.Health != Degraded || !strings.Contains(strings.Join(s.Problems, "\n"), want) {
					t.Errorf("%s lacks %q in %s\n%s: %v", n.manager.node, want, text, s.Health, s.Problems)
				}
			}
			n.compare.changed() // looked at again, and the same
		}
		time.Sleep(3 * time.Second)
		for _, n := range []*labNode{alpha, beta} {
			if count := strings.Count(n.sink.text(), "the group mail differs"); count != 1 {
				t.Errorf("%s logged it %d times", n.manager.node, count)
			}
		}
		c := *alpha.conf() // as a reload would
		c.Table.Groups = slices.Clone(c.Table.Groups)
		c.Table.Groups[1].Resources = []haresources.Resource{{Spec: "mail", Args: []string{"other"}}}
		c.Deadtime = 1200 * time.Millisecond
		alpha.config.Store(&c)
		alpha.compare.changed()
		time.Sleep(3 * time.Second)
		for _, n := range []*labNode{alpha, beta} {
			if s, f := filesOf(t, n); f.State != "equal" || s.Health != Healthy {
				t.Errorf("after the repair %s says %+v, %v", n.manager.node, f, s.Problems)
			}
		}
		alpha.end()
		beta.end()
	})
}

func TestComparisonOnDemandSurvivesLossAndSaysWhyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, cables := comparing(t, func(c *config.Config) {
			for i := range 200 { // an answer of many parts
				c.Table.Groups = append(c.Table.Groups, haresources.Group{Name: fmt.Sprintf("10.1.%d.%d", i/200, i%200), Preferred: "beta", Line: 10 + i,
					Resources: []haresources.Resource{{Spec: "x"}}})
			}
		})
		cables["eth0"].setCut(true) // the first link, which questions go on: what is lost there comes again on the other
		r := alpha.answer(context.Background(), caller{may: true}, Request{Command: CommandCompare})
		if !r.OK || r.Comparison.State != "different" || len(r.Comparison.Faults) != 200 {
			t.Fatalf("%+v %+v", r, r.Comparison)
		}
		if _, err := alpha.compare.calls.ask(t.Context(), "nonsense", ""); err == nil || !strings.Contains(err.Error(), `does not know the question "nonsense"`) {
			t.Errorf("a question that nobody knows: %v", err)
		}
		beta.end()
		time.Sleep(3 * time.Second)
		r = alpha.answer(context.Background(), caller{may: true}, Request{Command: CommandCompare})
		if !r.OK || r.Comparison.State != "unknown" || !strings.Contains(r.Comparison.Why, "beta cannot be asked: it is dead") {
			t.Errorf("without a peer: %+v", r.Comparison)
		}
		alpha.end()
	})
}

func TestClassicPeerIsNotCompared(t *testing.T) {
	var s Status
	if v := (&comparer{}).view(classicStatus()); v.State != "unsupported" {
		t.Errorf("%+v", v)
	}
	if s.judge(); s.Health != Healthy {
		t.Error(s.Problems)
	}
	if err := reachable(withPeer(classicStatus())); !errors.Is(err, errClassicPeer) {
		t.Error(err)
	}
}

func TestScriptsAreSummedUp(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "resource.d"), 0o755)
	path := filepath.Join(dir, "resource.d", "web")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	rules := filepath.Join(dir, "rules.nft")
	write(rules, "table inet x {}\n")
	c := testConfig(t, "alpha", "eth0")
	c.Table.Groups = []haresources.Group{{Name: "10.0.0.1", Preferred: "alpha", Line: 3, Resources: []haresources.Resource{
		{Spec: "10.0.0.1", Class: haresources.ClassHeartbeat, Name: "IPaddr", Args: []string{"10.0.0.1"}, Line: 3},
		{Spec: "web", Class: haresources.ClassHeartbeat, Name: "web", Line: 3},
		{Spec: "Firewall::" + rules, Class: haresources.ClassHeartbeat, Name: "Firewall", Args: []string{rules}, Line: 4},
	}}}
	var s sums
	p := NewPaths(dir, dir, dir)
	item := func(key string) config.Item {
		for _, it := range s.items(c, p) {
			if it.Part == config.PartScripts && it.Key == key {
				return it
			}
		}
		t.Fatalf("no item %s", key)
		return config.Item{}
	}
	if got := item("web"); got.Value != config.Missing || !got.Open || got.Line != 3 {
		t.Errorf("a missing script: %+v", got)
	}
	write(path, "#!/bin/sh\n")
	one, fw := item("web"), item(rules)
	if one.Value == config.Missing || one.Open || fw.Value == config.Missing || fw.Line != 4 {
		t.Errorf("%+v %+v", one, fw)
	}
	before := digest(c, s.items(c, p), 1)
	write(path, "#!/bin/sh\nexit 0\n")
	after := digest(c, s.items(c, p), 1)
	if two := item("web"); two.Value == one.Value || before == after || len(after) > 200 {
		t.Errorf("a change is not seen: %s, %s", before, after)
	}
	other, _ := wire.ReadKeys("authkeys", strings.NewReader("auth 1\n1 sha1 another-secret\n"))
	c.Keys = other
	for i, word := range strings.Fields(digest(c, s.items(c, p), 1))[2:] {
		if word == strings.Fields(after)[2+i] {
			t.Errorf("%s does not depend on the key", word)
		}
	}
}

// classicStatus is a Linux-HA peer.
func classicStatus() heartbeat.PeerStatus {
	return heartbeat.PeerStatus{Name: "beta", State: "active", Kind: "linux-ha"}
}

func withPeer(p heartbeat.PeerStatus) heartbeat.Status {
	return heartbeat.Status{Node: "alpha", Member: "active", Peer: p}
}

func TestQuestionIsAnsweredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, _ := comparing(t, func(*config.Config) {})
		asked := 0
		beta.compare.calls.answers["slow"] = func(context.Context, string) (string, error) {
			asked++
			time.Sleep(5 * askAgain)
			return strings.Repeat("long ", 1000), nil
		}
		text, err := alpha.compare.calls.ask(t.Context(), "slow", "")
		if err != nil || len(text) != 5000 || asked != 1 {
			t.Errorf("%d bytes, asked %d times, %v", len(text), asked, err)
		}
		alpha.end()
		beta.end()
	})
}
