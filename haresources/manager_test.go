package haresources_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
)

func TestAcquireRelease(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha a b c", "beta d")
	w.fake("b").state = haresources.Running
	ctx := context.Background()
	if running, err := m.Examine(ctx, "a"); err != nil || !running {
		t.Errorf("examined: %v, %v", running, err)
	}
	if running, err := m.Examine(ctx, "d"); err != nil || running {
		t.Errorf("examined: %v, %v", running, err)
	}
	if err := m.Acquire(ctx, "a"); err != nil || !m.Held("a") {
		t.Fatal(err)
	}
	expect(t, w, "+a =b +c")
	if err := m.Acquire(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "=a =b =c")
	if err := m.Announce(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "@a @b @c")
	if err := m.Release(ctx, "a"); err != nil || m.Held("a") {
		t.Fatal(err)
	}
	expect(t, w, "-c -b -a")
	if err := m.Release(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "-c -b -a")
	for _, call := range []func(context.Context, string) error{m.Acquire, m.Release, m.Announce} {
		if err := call(ctx, "x"); err == nil || err.Error() != `no group "x"` {
			t.Errorf("error %v", err)
		}
	}
}

func TestNewReportsEveryBadResource(t *testing.T) {
	_, err := haresources.New(table(t, "alpha a bad", "beta bad::x"), newWorld().open, nil)
	want := "1:9: \"bad\": no such thing\n2:6: \"bad::x\": no such thing"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestAcquireRollsBack(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha a b c d")
	w.fake("b").startErr = errors.New("exit code 3: no disk")
	w.fake("d").state = haresources.Running
	err := m.Acquire(context.Background(), "a")
	var op *haresources.OperationError
	if !errors.As(err, &op) || op.Resource != "b" || op.Operation != haresources.OpStart {
		t.Fatalf("error %v", err)
	}
	if want := `start of "b": exit code 3: no disk`; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	expect(t, w, "+a !+b -d -b -a")
	if m.Held("a") {
		t.Error("still held")
	}
	for i, want := range []haresources.State{haresources.Stopped, haresources.Stopped, haresources.Stopped, haresources.Stopped} {
		if got := m.Resources("a")[i]; got.State != want || got.Doing != "" {
			t.Errorf("resource %d: %+v", i, got)
		}
	}
}

func TestAcquireRestartsFailed(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha a b")
	w.fake("a").state = haresources.Failed
	if err := m.Acquire(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "-a +a +b")
}

func TestAcquireUnknownIsStarted(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha a b")
	w.fake("a").statusErr = errors.New("exit code 127")
	w.fake("b").state = haresources.Unknown
	if err := m.Acquire(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "+a +b")
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b c #hapair: start-timeout=7s start-timeout@b=90")
		w.fake("c").startTakes = time.Hour
		w.fake("b").startTakes = 80 * time.Second
		begin := time.Now()
		err := m.Acquire(context.Background(), "a")
		if want := `start of "c": did not end within 7s`; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("error %v is no time-out", err)
		}
		if took := time.Since(begin); took != 87*time.Second {
			t.Errorf("took %v", took)
		}
		expect(t, w, "+a +b !+c -c -b -a")
	})
}

// TestReleaseCutsAcquireShort: the release does not wait for a script that hangs, and the group ends stopped, once.
func TestReleaseCutsAcquireShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b c")
		w.fake("b").startTakes = time.Minute
		acquired := make(chan error, 2)
		for range 2 { // one runs, one waits for its turn
			go func() { acquired <- m.Acquire(context.Background(), "a") }()
		}
		time.Sleep(time.Second)
		begin := time.Now()
		if doing := m.Resources("a")[1]; doing.Doing != haresources.OpStart || time.Since(doing.DoingSince) != time.Second || doing.LastLine != "starting b" {
			t.Errorf("status %+v", doing)
		}
		if err := m.Release(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("release took %v", took)
		}
		for range 2 {
			if err := <-acquired; !errors.Is(err, haresources.ErrReleased) {
				t.Errorf("acquire: %v", err)
			}
		}
		expect(t, w, "+a !+b -c -b -a")
	})
}

func TestUnkillableStartIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b")
		w.fake("b").startTakes, w.fake("b").startSticks = time.Hour, true
		err := m.Acquire(context.Background(), "a")
		var stuck *haresources.StuckError
		if !errors.As(err, &stuck) || stuck.Resource != "b" {
			t.Errorf("error %v", err)
		}
	})
}

// TestAcquireCancelledBefore: what was cancelled before its turn touches nothing.
func TestAcquireCancelledBefore(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha a b")
	w.fake("a").state = haresources.Running
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 { // the turn and the end of ctx are both there: either may be seen first
		if err := m.Acquire(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
	}
	expect(t, w, "")
}

func TestRollbackSurvivesCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b")
		w.fake("b").startTakes = time.Hour
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Second, cancel)
		if err := m.Acquire(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		expect(t, w, "+a !+b -b -a")
	})
}

// TestGroupsAreIndependent: one that hangs does not delay 199 others by more than its place among those that start.
func TestGroupsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var lines []string
		for i := range 200 {
			name := fmt.Sprintf("s%d", i)
			lines = append(lines, "alpha "+name)
			w.fake(name).startTakes = time.Second
		}
		w.fake("s0").startTakes = time.Hour
		m := manager(t, w, lines...)
		begin := time.Now()
		var rest sync.WaitGroup
		for i := range 200 {
			run := func() { _ = m.Acquire(t.Context(), fmt.Sprintf("s%d", i)) }
			if i == 0 {
				go run()
			} else {
				rest.Go(run)
			}
		}
		rest.Wait()
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
		if err := m.Release(t.Context(), "s0"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

func TestBatch(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha x many1 many2 many3 y many4")
	ctx := context.Background()
	if err := m.Acquire(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "+x start3 +many1 +many2 +many3 +y +many4")
	if running, err := m.Examine(ctx, "x"); !running || err != nil {
		t.Errorf("examined: %v, %v", running, err)
	}
	w.fake("many2").stopFails = 1
	m.RetryPause = time.Millisecond
	if err := m.Release(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "-many4 -y stop3 -many3 !-many2 -many2 -many1 -x")
	w.fake("many2").startErr = errors.New("no device")
	err := m.Acquire(ctx, "x")
	if want := `start of "many2": no device`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	expect(t, w, "+x start3 +many1 !+many2 stop2 -many2 -many1 -x")
}

func TestWatch(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha a b")
	if err := m.Acquire(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	a := w.fake("a")
	if a.watched != 1 {
		t.Fatalf("watched %d times", a.watched)
	}
	a.report(haresources.Running, errors.New("was removed by someone; put back"))
	if got := m.Resources("a")[0]; got.State != haresources.Running || got.LastError == "" {
		t.Errorf("status %+v", got)
	}
	last := w.events[len(w.events)-1]
	if last.Operation != haresources.OpWatch || last.Group != "a" || last.Resource != "a" || last.Err == nil {
		t.Errorf("event %+v", last)
	}
	if err := m.Release(context.Background(), "a"); err != nil || a.watched != 0 {
		t.Errorf("watched %d times, %v", a.watched, err)
	}
	if err := m.Close(); err != nil || a.closed != 1 {
		t.Errorf("closed %d times, %v", a.closed, err)
	}
}

func TestEvents(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha a b")
	w.fake("b").state = haresources.Running
	if err := m.Acquire(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range w.events {
		got = append(got, fmt.Sprintf("%s/%s %s %s%s", e.Group, e.Resource, e.Operation, e.Phase, e.Line))
	}
	want := []string{"a/a start begin", "a/a start outputstarting a", "a/a start end", "a/b start skip"}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestExamineSaysWhenNobodyKnows: a resource that does not say whether it runs is not one that does not.
func TestExamineSaysWhenNobodyKnows(t *testing.T) {
	w := newWorld()
	m := manager(t, w, "alpha a b")
	for _, tt := range []struct {
		a, b    haresources.State
		running bool
		err     error
	}{
		{haresources.Stopped, haresources.Stopped, false, nil}, {haresources.Stopped, haresources.Unknown, false, haresources.ErrUnsure},
		{haresources.Running, haresources.Unknown, true, nil}, {haresources.Failed, haresources.Stopped, true, nil},
	} {
		w.fake("a").state, w.fake("b").state = tt.a, tt.b
		if running, err := m.Examine(t.Context(), "a"); running != tt.running || !errors.Is(err, tt.err) {
			t.Errorf("%v, %v: %v, %v", tt.a, tt.b, running, err)
		}
	}
}
