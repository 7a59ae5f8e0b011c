package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/haresources"
	"hapair/haresources/agent"
)

// TestExamplesCanBeStartedFrom reads every example as it is shipped, and opens each of its resources.
func TestExamplesCanBeStartedFrom(t *testing.T) {
	files, err := filepath.Glob("../../ha.d/examples/*/haresources")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	open := agent.Open(agent.Environment{Paths: agent.DefaultPaths("/nonexistent"), Node: "fw1"})
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		table, faults := haresources.Parse(path, strings.NewReader(string(text)))
		if err := faults.Err(); err != nil {
			t.Errorf("%v", err)
		}
		for _, g := range table.Groups {
			for _, r := range g.Resources {
				a, err := open(r)
				if err != nil {
					t.Errorf("%s:%d: %s: %v", path, r.Line, r.Spec, err)
					continue
				}
				if c, ok := a.(interface{ Close() error }); ok {
					c.Close()
				}
			}
		}
	}
}

func TestExampleRulesAreGood(t *testing.T) {
	n := firewallNode(t)
	rules, err := filepath.Glob("../../ha.d/examples/*/rules/*.nft")
	if err != nil || len(rules) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	for _, path := range rules {
		whole, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		if r := n.must(order{Op: "check", Spec: "Firewall::" + whole, Pass: heartbeats}); len(r.Faults) > 0 {
			t.Errorf("%v", r.Faults)
		}
	}
}
