package haresources_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
)

// world is a machine on which resources are only pretended. What its agents were asked to do is its trace, in words:
// "+name" started, "-name" stopped, "!+name" start failed, "!-name" stop failed, "=name" adopted.
type world struct {
	mu     sync.Mutex
	trace  []string
	fakes  map[string]*fake
	events []haresources.Event
}

// fake is one pretended resource. Its fields say how it misbehaves.
type fake struct {
	w                         *world
	name                      string
	state                     haresources.State
	statusErr, startErr       error
	stopFails                 int // how many stops fail before one succeeds
	startTakes, stopTakes     time.Duration
	startSticks, watchReports bool
	pragma                    string
	closed, watched           int
	report                    func(haresources.State, error)
}

func newWorld() *world { return &world{fakes: map[string]*fake{}} }

// open is the world's Opener; "bad" cannot be opened.
func (w *world) open(r haresources.Resource) (haresources.Agent, error) {
	if r.Name == "bad" {
		return nil, errors.New("no such thing")
	}
	f := w.fake(r.Name)
	if strings.HasPrefix(r.Name, "many") {
		return &batched{f}, nil
	}
	return f, nil
}

func (w *world) fake(name string) *fake {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fakes[name] == nil {
		w.fakes[name] = &fake{w: w, name: name, state: haresources.Stopped}
	}
	return w.fakes[name]
}

func (w *world) notify(e haresources.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// did is the trace since the last call.
func (w *world) did() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.trace, " ")
	w.trace = nil
	return s
}

// running lists what runs.
func (w *world) running() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name, f := range w.fakes {
		if f.state == haresources.Running || f.state == haresources.Failed {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (f *fake) note(s string) { f.w.trace = append(f.w.trace, s+f.name) }

// pause takes time, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *fake) Start(ctx context.Context) error {
	if to := haresources.OutputTo(ctx); to != nil {
		to("starting " + f.name)
	}
	err := pause(ctx, f.startTakes)
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.startSticks && err != nil {
		err = fmt.Errorf("%w: %w", err, haresources.ErrUnkillable)
	}
	if err == nil {
		err = f.startErr
	}
	if err != nil {
		f.note("!+")
		f.state = haresources.Failed
		return err
	}
	f.note("+")
	f.state = haresources.Running
	return nil
}

func (f *fake) Stop(ctx context.Context) error {
	err := pause(ctx, f.stopTakes)
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if err == nil && f.stopFails > 0 {
		f.stopFails--
		err = errors.New("exit code 1: busy")
	}
	if err != nil {
		f.note("!-")
		return err
	}
	f.note("-")
	f.state = haresources.Stopped
	return nil
}

func (f *fake) Status(context.Context) (haresources.State, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.statusErr != nil {
		return haresources.Unknown, f.statusErr
	}
	return f.state, nil
}

func (f *fake) Adopt(context.Context) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.note("=")
	return nil
}

func (f *fake) Announce(context.Context) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.note("@")
	return nil
}

func (f *fake) Watch(report func(haresources.State, error)) func() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.watched++
	f.report = report
	return func() {
		f.w.mu.Lock()
		defer f.w.mu.Unlock()
		f.watched--
	}
}

func (f *fake) Configure(pragma func(string) string) error {
	f.pragma = pragma(haresources.PragmaRefresh)
	return nil
}

func (f *fake) Close() error { f.closed++; return nil }

// batched is a fake that can be handled together with its neighbours.
type batched struct{ *fake }

func (b *batched) BatchKey() string { return "many" }

func (b *batched) each(agents []haresources.Agent, mark string, do func(haresources.Agent) error) (int, error) {
	b.w.mu.Lock()
	b.w.trace = append(b.w.trace, fmt.Sprintf("%s%d", mark, len(agents)))
	b.w.mu.Unlock()
	for i, a := range agents {
		if err := do(a); err != nil {
			return i, err
		}
	}
	return len(agents), nil
}

func (b *batched) StartAll(ctx context.Context, agents []haresources.Agent) (int, error) {
	return b.each(agents, "start", func(a haresources.Agent) error { return a.Start(ctx) })
}

func (b *batched) StopAll(ctx context.Context, agents []haresources.Agent) (int, error) {
	return b.each(agents, "stop", func(a haresources.Agent) error { return a.Stop(ctx) })
}

func (b *batched) StatusAll(ctx context.Context, agents []haresources.Agent) ([]haresources.State, error) {
	states := make([]haresources.State, len(agents))
	for i, a := range agents {
		states[i], _ = a.Status(ctx)
	}
	return states, nil
}

// table parses lines, which must be good.
func table(t testing.TB, lines ...string) haresources.Table {
	t.Helper()
	got, faults := haresources.Parse("haresources", strings.NewReader(strings.Join(lines, "\n")))
	if faults.Err() != nil {
		t.Fatal(faults)
	}
	return got
}

// manager makes a Manager over a world.
func manager(t testing.TB, w *world, lines ...string) *haresources.Manager {
	t.Helper()
	m, err := haresources.New(table(t, lines...), w.open, w.notify)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// expect compares what the world did since the last time.
func expect(t *testing.T, w *world, want string) {
	t.Helper()
	if got := w.did(); got != want {
		t.Errorf("did %q, want %q", got, want)
	}
}

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

func TestReleaseRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b c")
		if err := m.Acquire(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		w.did()
		w.fake("b").stopFails = 3
		begin := time.Now()
		if err := m.Release(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		expect(t, w, "-c !-b !-b !-b -b -a")
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestReleaseStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b c #hapair: stop-retries=2 stop-retry-delay=5s")
		if err := m.Acquire(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		w.did()
		w.fake("b").stopFails = 100
		begin := time.Now()
		err := m.Release(context.Background(), "a")
		var stuck *haresources.StuckError
		if !errors.As(err, &stuck) || stuck.Resource != "b" || stuck.Group != "a" {
			t.Fatalf("error %v", err)
		}
		if want := `"b" of group "a" may still run: stop of "b": exit code 1: busy`; err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		expect(t, w, "-c !-b !-b !-b") // a, which b stands on, is left as it is
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		if got := m.Resources("a"); got[1].LastError == "" || got[0].State != haresources.Running {
			t.Errorf("resources %+v", got)
		}
	})
}

// TestReleaseAcceptsStopped: a stop that fails on what does not run is a script that does not conform, and no reason to hold
// up a hand-over; one that says nothing is believed after all tries, as Linux-HA does; one that cannot be asked is not.
func TestReleaseAcceptsStopped(t *testing.T) {
	for _, tt := range []struct {
		state     haresources.State
		statusErr error
		tries     int
		stuck     bool
	}{
		{haresources.Stopped, nil, 1, false},
		{haresources.Unknown, nil, 11, false},
		{haresources.Unknown, errors.New("did not end"), 11, true},
		{haresources.Running, nil, 11, true},
		{haresources.Failed, nil, 11, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			m := manager(t, w, "alpha a")
			f := w.fake("a")
			f.stopFails, f.state, f.statusErr = 100, tt.state, tt.statusErr
			err := m.Release(context.Background(), "a")
			var stuck *haresources.StuckError
			if errors.As(err, &stuck) != tt.stuck || !tt.stuck && err != nil {
				t.Errorf("%v, %v: error %v", tt.state, tt.statusErr, err)
			}
			if tries := 100 - f.stopFails; tries != tt.tries {
				t.Errorf("%v, %v: %d tries, want %d", tt.state, tt.statusErr, tries, tt.tries)
			}
		})
	}
}

func TestReleaseForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a #hapair: stop-retries=0")
		w.fake("a").state, w.fake("a").stopFails = haresources.Running, 1000
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := m.Release(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if n := w.fake("a").stopFails; n != 0 {
			t.Errorf("%d tries left", n)
		}
		w.fake("a").state, w.fake("a").stopFails = haresources.Running, 10000
		var stuck *haresources.StuckError
		if err := m.Release(ctx, "a"); !errors.As(err, &stuck) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
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
