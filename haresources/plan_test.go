package haresources_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hapair/haresources"
)

// stepsText renders a plan in one line.
func stepsText(steps []haresources.Step) string {
	var words []string
	for _, s := range steps {
		word := string(s.Do) + " " + s.Resource.Spec
		if s.Skip {
			word = "(" + word + ")"
		}
		words = append(words, word+": "+s.Why)
	}
	return strings.Join(words, "; ")
}

func TestPlans(t *testing.T) {
	g := table(t, "alpha a b c d").Groups[0]
	states := []haresources.State{haresources.Running, haresources.Stopped, haresources.Failed, haresources.Unknown}
	for name, tt := range map[string]struct {
		steps []haresources.Step
		want  string
	}{
		"acquire": {haresources.PlanAcquire(g, states),
			"(start a): runs already; start b: does not run; stop c: is in a failed state; start c: was in a failed state; start d: does not say that it runs"},
		"release": {haresources.PlanRelease(g),
			"stop d: the group is released; stop c: the group is released; stop b: the group is released; stop a: the group is released"},
		"rollback": {haresources.PlanRollback(g, 0, states),
			"stop d: an earlier start failed, and it may run; stop c: an earlier start failed, and it may run; (stop b): does not run; stop a: its start failed"},
	} {
		if got := stepsText(tt.steps); got != tt.want {
			t.Errorf("%s: %s\nwant %s", name, got, tt.want)
		}
	}
}

func TestDiff(t *testing.T) {
	old := table(t, "alpha 10.0.0.1 x", "alpha gone", "beta 10.0.0.2 y", "beta p #hapair: stop-retries=3", "alpha 10.0.0.9 k l m")
	d := haresources.Diff(old, table(t, "alpha IPaddr::10.0.0.7 k l m", "beta 10.0.0.2 y z", "alpha 10.0.0.1 x", "alpha p", "beta new"))
	want := haresources.Difference{
		Added: []string{"IPaddr::10.0.0.7", "new"}, Removed: []string{"gone", "10.0.0.9"}, Changed: []string{"10.0.0.2", "p"},
		Renamed: map[string]string{"10.0.0.9": "IPaddr::10.0.0.7"},
	}
	if got := fmt.Sprintf("%+v", d); got != fmt.Sprintf("%+v", want) {
		t.Errorf("difference %s\nwant %+v", got, want)
	}
	if d.Empty() || !haresources.Diff(old, old).Empty() {
		t.Error("Empty is wrong")
	}
}

// letters makes a line of distinct random one-letter resources.
func letters(r *rand.Rand) []string {
	all := strings.Split("a b c d e f g h", " ")
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+r.IntN(len(all))]
}

// TestAcquireProperty: whatever runs before and whatever fails, a group ends either running whole or stopped whole; starts
// go from left to right, stops from right to left, and nothing that ran is started again.
func TestAcquireProperty(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld()
		names := letters(r)
		for _, name := range names {
			f := w.fake(name)
			f.state = haresources.State(r.IntN(4))
			if r.IntN(6) == 0 {
				f.startErr = errors.New("exit code 1")
			}
		}
		before := w.running()
		m := manager(t, w, "alpha "+strings.Join(names, " "))
		err := m.Acquire(context.Background(), names[0])
		trace := strings.Fields(w.did())
		running := w.running()
		if sorted := slices.Sorted(slices.Values(names)); err == nil && !slices.Equal(running, sorted) || err != nil && len(running) > 0 {
			t.Fatalf("seed %d: %v: of %v runs %v after %v", seed, err, names, running, trace)
		}
		checkOrder(t, seed, names, trace, before, w)
		if err != nil {
			continue
		}
		if err := m.Release(context.Background(), names[0]); err != nil || len(w.running()) > 0 {
			t.Fatalf("seed %d: %v; runs %v", seed, err, w.running())
		}
	}
}

// checkOrder checks the order of starts and stops in a trace.
func checkOrder(t *testing.T, seed uint64, names, trace, before []string, w *world) {
	t.Helper()
	last, down := -1, false
	for _, step := range trace {
		mark, name := step[:len(step)-1], step[len(step)-1:]
		i := slices.Index(names, name)
		switch {
		case mark == "+" || mark == "=" || mark == "!+":
			if i <= last || down {
				t.Fatalf("seed %d: start out of order in %v of %v", seed, trace, names)
			}
			if last = i; mark == "!+" {
				last, down = len(names), true
			}
		case !down && i > last: // a failed one is stopped before its start
			if !slices.Contains(before, name) {
				t.Fatalf("seed %d: %s was stopped without need in %v", seed, name, trace)
			}
		case i >= last:
			t.Fatalf("seed %d: stop out of order in %v of %v", seed, trace, names)
		default:
			last = i
		}
	}
}
