package haresources_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
)

func TestReload(t *testing.T) {
	ctx := context.Background()
	w := newWorld()
	m := manager(t, w, "alpha a b c", "alpha d e", "beta f", "beta g")
	for _, name := range []string{"a", "d", "g"} {
		if err := m.Acquire(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	w.did()
	changed := table(t, "alpha a x c y #hapair: announce-refresh=9s", "alpha z e", "beta f h")
	d, err := m.Reload(ctx, changed, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(d); got != fmt.Sprint(haresources.Diff(table(t, "alpha a b c", "alpha d e", "beta f", "beta g"), changed)) {
		t.Errorf("difference %s", got)
	}
	if steps := strings.Fields(w.did()); strings.Join(within(steps, "bxy"), " ") != "-b +x +y" || strings.Join(within(steps, "dz"), " ") != "-d +z" || len(steps) != 5 {
		t.Errorf("did %v", steps) // f is not held: its new h is not started
	}
	if got := w.fake("c").pragma; got != "9s" {
		t.Errorf("pragma after reload: %q", got)
	}
	if w.fake("b").closed != 1 || w.fake("b").watched != 0 || w.fake("x").watched != 1 || w.fake("c").watched != 1 {
		t.Error("watching or closing is wrong")
	}
	if !m.Held("z") || w.fake("e").watched != 1 || w.fake("z").watched != 1 {
		t.Error("the group is not held under its new name, or not watched")
	}
	if err := m.Release(ctx, "g"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "-g")
	if err := m.Release(ctx, "g"); err == nil {
		t.Error("a removed group is still known after its release")
	}
	if m.Resources("d") != nil {
		t.Error("the old name is still known")
	}
	if got := m.Table().String(); got != changed.String() {
		t.Errorf("table %s", got)
	}
}

// within are the steps that concern resources of one letter each.
func within(steps []string, names string) []string {
	return slices.DeleteFunc(slices.Clone(steps), func(s string) bool { return !strings.Contains(names, s[1:]) })
}

func TestReloadBadChangesNothing(t *testing.T) {
	ctx := context.Background()
	w := newWorld()
	m := manager(t, w, "alpha a b")
	if err := m.Acquire(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	w.did()
	if _, err := m.Reload(ctx, table(t, "alpha a c", "beta bad"), time.Minute); err == nil {
		t.Fatal("no error")
	}
	if err := m.Release(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "-b -a")
}

func TestReloadReportsFailures(t *testing.T) {
	ctx := context.Background()
	w := newWorld()
	m := manager(t, w, "alpha a b")
	if err := m.Acquire(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	w.did()
	w.fake("x").startErr = errors.New("exit code 1")
	_, err := m.Reload(ctx, table(t, "alpha a x b y"), time.Minute)
	var op *haresources.OperationError
	if !errors.As(err, &op) || op.Resource != "x" {
		t.Errorf("error %v", err)
	}
	expect(t, w, "!+x -x +y")
	if got := w.running(); !slices.Equal(got, []string{"a", "b", "y"}) {
		t.Errorf("runs %v", got)
	}
}

// TestReloadBesideAHungStart: a group that is being started, for as long as that takes, holds up no change of another one.
func TestReloadBesideAHungStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld()
		m := manager(t, w, "alpha a", "alpha b")
		if err := m.Acquire(ctx, "b"); err != nil {
			t.Fatal(err)
		}
		w.fake("a").startTakes = time.Hour
		started := make(chan error, 1)
		go func() { started <- m.Acquire(ctx, "a") }()
		synctest.Wait()
		w.did()
		begin := time.Now()
		if _, err := m.Reload(ctx, table(t, "# a comment", "alpha a", "alpha b c"), time.Minute); err != nil || time.Since(begin) > time.Second {
			t.Errorf("reload: %v after %v", err, time.Since(begin))
		}
		expect(t, w, "+c")
		if got := w.fake("a").configured; got != 1 {
			t.Errorf("configured %d times while it is being started", got)
		}
		if err := m.Release(ctx, "a"); err != nil {
			t.Error(err)
		}
		if err := <-started; !errors.Is(err, haresources.ErrReleased) {
			t.Errorf("start: %v", err)
		}
		synctest.Wait()
		if got := w.fake("a").configured; got != 2 {
			t.Errorf("configured %d times in all: a firewall does not read its changed files again", got)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

func TestReloadSameResourceTwice(t *testing.T) {
	ctx := context.Background()
	w := newWorld()
	m := manager(t, w, "alpha a b")
	if err := m.Acquire(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Reload(ctx, table(t, "alpha a b b"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Resources("a")); n != 3 {
		t.Errorf("%d resources", n)
	}
}

// TestReloadProperty: what stands in both tables is not touched, and afterwards exactly what stands in the new one runs.
func TestReloadProperty(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld()
		before := letters(r)
		m := manager(t, w, "alpha key "+strings.Join(before, " "))
		if err := m.Acquire(ctx, "key"); err != nil {
			t.Fatal(err)
		}
		w.did()
		after := letters(r)
		if _, err := m.Reload(ctx, table(t, "alpha key "+strings.Join(after, " ")), time.Minute); err != nil {
			t.Fatal(err)
		}
		trace := w.did()
		for _, step := range strings.Fields(trace) {
			name := step[1:]
			if slices.Contains(before, name) && slices.Contains(after, name) {
				t.Fatalf("seed %d: %v to %v touched %s: %s", seed, before, after, name, trace)
			}
		}
		want := append([]string{"key"}, after...)
		slices.Sort(want)
		if got := w.running(); !slices.Equal(got, want) {
			t.Fatalf("seed %d: runs %v, want %v", seed, got, want)
		}
	}
}

// TestReloadDoesNotWaitForASlowScript: a reload comes back when its patience is over, the script goes on, a second reload does not meddle, a
// release of the group ends the start, and the other groups are as they are to be.
func TestReloadDoesNotWaitForASlowScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld()
		m := manager(t, w, "alpha a", "alpha b", "alpha c")
		for _, name := range []string{"a", "b", "c"} {
			if err := m.Acquire(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
		w.did()
		slow := w.fake("s")
		slow.startTakes = time.Hour
		begin := time.Now()
		_, err := m.Reload(ctx, table(t, "alpha s a", "alpha b d", "alpha c"), 5*time.Second)
		if took := time.Since(begin); took != 5*time.Second || err == nil || !strings.Contains(err.Error(), `group "s" is still being changed`) {
			t.Errorf("reload: %v after %v", err, took)
		}
		if steps := within(strings.Fields(w.did()), "d"); strings.Join(steps, " ") != "+d" {
			t.Errorf("the other group: %v", steps)
		}
		begin = time.Now()
		if _, err := m.Reload(ctx, table(t, "alpha a", "alpha b", "alpha c"), 5*time.Second); err == nil || !strings.Contains(err.Error(), "reload before this one") || time.Since(begin) != 5*time.Second {
			t.Errorf("second reload: %v after %v", err, time.Since(begin))
		}
		if err := m.Release(ctx, "b"); err != nil {
			t.Error(err)
		}
		begin = time.Now()
		if err := m.Release(ctx, "s"); err != nil || time.Since(begin) > time.Minute {
			t.Errorf("release of the group that is being changed: %v after %v", err, time.Since(begin))
		}
		if steps := within(strings.Fields(w.did()), "a"); strings.Join(steps, " ") != "-a" {
			t.Errorf("the group that is being changed, after its release: %v", steps)
		}
		synctest.Wait()
		if _, err := m.Reload(ctx, table(t, "alpha a", "alpha b", "alpha c"), 5*time.Second); err != nil {
			t.Errorf("third reload: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestReloadMovesResourcesBetweenLines: a resource that stands on the line of another held group now goes on running, whether lines join, part
// or exchange resources; one whose new group is not held is stopped before anything is started.
func TestReloadMovesResourcesBetweenLines(t *testing.T) {
	tests := []struct {
		name          string
		before, after []string
		held          []string
		did           string
		heldAfter     string
		moved         string
	}{
		{"one changes its line", []string{"alpha a b", "alpha c"}, []string{"alpha a", "alpha c b"}, []string{"a", "c"}, "", "a c", "b a>c"},
		{"two change places", []string{"alpha a b", "alpha c d"}, []string{"alpha a d", "alpha c b"}, []string{"a", "c"}, "", "a c", "d c>a b a>c"},
		{"lines join", []string{"alpha a", "alpha c d"}, []string{"alpha a c d"}, []string{"a", "c"}, "", "a c", "c c>a d c>a"},
		{"a line parts", []string{"alpha a b c"}, []string{"alpha a", "alpha b c"}, []string{"a"}, "", "a b", "b a>b c a>b"},
		{"a line parts, with something new", []string{"alpha a b"}, []string{"alpha a", "alpha b x"}, []string{"a"}, "+x", "a b", "b a>b"},
		{"its new group is not held", []string{"alpha a b", "beta c"}, []string{"alpha a", "beta c b"}, []string{"a"}, "-b", "a", "b a>c"},
		{"its old group is not held", []string{"alpha a b", "beta c"}, []string{"alpha a", "beta c b"}, []string{"c"}, "+b", "c", "b a>c"},
		{"a renamed line gives", []string{"alpha a b c"}, []string{"alpha x b", "alpha c"}, []string{"a"}, "-a +x", "c x", "c a>c"},
		{"nothing moves", []string{"alpha a b", "alpha c"}, []string{"alpha a b d", "alpha c"}, []string{"a", "c"}, "+d", "a c", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.Background()
			w := newWorld()
			m := manager(t, w, tt.before...)
			for _, name := range tt.held {
				if err := m.Acquire(ctx, name); err != nil {
					t.Fatal(err)
				}
			}
			w.did()
			changed := table(t, tt.after...)
			d, err := m.Reload(ctx, changed, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, w, tt.did)
			var moved []string
			for _, move := range d.Moved {
				moved = append(moved, move.Resource.Spec, move.From+">"+move.To)
			}
			if got := strings.Join(moved, " "); got != tt.moved {
				t.Errorf("moved %q, want %q", got, tt.moved)
			}
			for _, name := range d.Removed { // as the daemon does
				if m.Held(name) {
					if err := m.Release(ctx, name); err != nil {
						t.Error(err)
					}
				}
			}
			var held, want []string
			for _, g := range changed.Groups {
				if m.Held(g.Name) {
					held = append(held, g.Name)
					for _, r := range g.Resources {
						want = append(want, r.Name)
						if f := w.fake(r.Name); f.watched != 1 {
							t.Errorf("%s is watched %d times", r.Name, f.watched)
						}
					}
				}
			}
			slices.Sort(held)
			slices.Sort(want)
			wantHeld := slices.DeleteFunc(strings.Fields(tt.heldAfter), func(name string) bool { return slices.Contains(d.Removed, name) })
			if !slices.Equal(held, wantHeld) || !slices.Equal(w.running(), want) {
				t.Errorf("holds %v, want %v; runs %v, want %v", held, wantHeld, w.running(), want)
			}
		})
	}
}

// TestReloadMovesProperty: whatever becomes of the lines of one node, what stands in both files is not touched, and afterwards exactly what
// stands in the new ones runs.
func TestReloadMovesProperty(t *testing.T) {
	ctx := context.Background()
	lines := func(r *rand.Rand) (list, all []string) {
		for _, name := range []string{"k", "l", "m"} {
			list = append(list, "alpha "+name)
		}
		for _, letter := range strings.Split("abcdefgh", "") {
			if i := r.IntN(5); i < len(list) {
				list[i] += " " + letter
				all = append(all, letter)
			}
		}
		return list[:2+r.IntN(2)], all
	}
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := newWorld()
		before, _ := lines(r)
		old := table(t, before...)
		m := manager(t, w, before...)
		for _, g := range old.Groups {
			if err := m.Acquire(ctx, g.Name); err != nil {
				t.Fatal(err)
			}
		}
		w.did()
		after, _ := lines(r)
		changed := table(t, after...)
		d, err := m.Reload(ctx, changed, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range d.Removed {
			if err := m.Release(ctx, name); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for _, name := range d.Added { // one that is no part of another is not held before it is acquired
			if !m.Held(name) && d.Parts()[name] != "" {
				t.Fatalf("seed %d: %v to %v: %s is not held", seed, before, after, name)
			}
			if m.Held(name) {
				continue
			}
			if err := m.Acquire(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
		trace := w.did()
		var want []string
		for _, g := range changed.Groups {
			for _, res := range g.Resources {
				want = append(want, res.Name)
				was := slices.ContainsFunc(old.Groups, func(g haresources.Group) bool { return slices.ContainsFunc(g.Resources, res.Same) })
				if was && len(within(strings.Fields(trace), res.Name)) > 0 {
					t.Fatalf("seed %d: %v to %v touched %s: %s", seed, before, after, res.Name, trace)
				}
			}
		}
		slices.Sort(want)
		if got := w.running(); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %v to %v: runs %v, want %v (%s)", seed, before, after, got, want, trace)
		}
	}
}
