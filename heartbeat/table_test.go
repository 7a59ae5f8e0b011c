package heartbeat_test

import (
	"os"
	"strings"
	"testing"

	"hapair/heartbeat"
)

func TestEveryStateIsReachedAndLeft(t *testing.T) {
	for letter, is := range heartbeat.States() {
		if !is[0] {
			t.Errorf("state %q cannot be reached", letter)
		}
		if !is[1] {
			t.Errorf("state %q cannot be left", letter)
		}
	}
}

// TestSimulationWalksEveryEdge shows that the simulation leaves no step of the table untried.
func TestSimulationWalksEveryEdge(t *testing.T) {
	taken := map[string]bool{}
	left := func() bool { // an edge that no seed has walked yet
		for _, is := range taken {
			if !is {
				return true
			}
		}
		return len(taken) == 0
	}
	for seed := uint64(0); seed < 2000 && left(); seed++ {
		for step, is := range simulate(seed).walked {
			taken[step] = taken[step] || is
		}
	}
	for step, is := range taken {
		if !is {
			t.Errorf("no seed walks %s", step)
		}
	}
	if len(taken) == 0 {
		t.Error("nothing was recorded")
	}
}

// TestDiagramIsCurrent keeps the drawing in the documentation in step with the table.
func TestDiagramIsCurrent(t *testing.T) {
	const name = "../docs/concepts.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), heartbeat.Diagram()) {
		t.Errorf("%s does not hold the present diagram, which is:\n%s", name, heartbeat.Diagram())
	}
}
