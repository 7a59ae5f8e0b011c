package rehearsal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal"
)

// promise is a row of the table in docs/safety.md.
type promise struct {
	number    string
	scenarios []string // as `heartbeat rehearse` names them, or cluster/NAME
}

// promises reads the table.
func promises(t *testing.T) (list []promise) {
	t.Helper()
	text, err := os.ReadFile("../../docs/safety.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \|.*\| ([^|]+) \|$`).FindAllStringSubmatch(string(text), -1) {
		p := promise{number: row[1]}
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			p.scenarios = append(p.scenarios, name[1])
		}
		list = append(list, p)
	}
	if len(list) < 8 {
		t.Fatalf("docs/safety.md makes %d promises: its table is not read as it is written", len(list))
	}
	return list
}

// TestEachPromiseIsTried: each row of docs/safety.md names scenarios of both kinds, with real processes and on the decisions alone, and they exist.
func TestEachPromiseIsTried(t *testing.T) {
	var known []string
	for _, s := range rehearsal.Scenarios() {
		known = append(known, s.Name)
	}
	for _, p := range promises(t) {
		real, virtual := 0, 0
		for _, name := range p.scenarios {
			file, isVirtual := strings.CutPrefix(name, "cluster/")
			switch {
			case isVirtual:
				virtual++
				if _, err := os.Stat(filepath.Join(cluster(""), file+".txt")); err != nil {
					t.Errorf("promise %s: %v", p.number, err)
				}
			case !slices.Contains(known, name):
				t.Errorf("promise %s is tried by %q, which no rehearsal knows", p.number, name)
			default:
				real++
			}
		}
		if real == 0 || virtual == 0 {
			t.Errorf("promise %s is tried by %d scenarios with real processes and %d on the decisions alone", p.number, real, virtual)
		}
	}
}

// TestPromises keeps each promise of docs/safety.md with real processes, by the scenarios that no other test plays.
func TestPromises(t *testing.T) {
	rehearse(t, rehearsal.Options{Dir: cluster("two-links"), Scenarios: []string{"freeze-long", "stand-still", "debugged", "starved", "one-way", "one-way-standby",
		"one-link-one-way", "heartbeats-filtered", "partition-gateway", "cables-pulled"}})
}
