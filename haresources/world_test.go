package haresources_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
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
	w                     *world
	name                  string
	state                 haresources.State
	statusErr, startErr   error
	stopFails             int // how many stops fail before one succeeds
	startTakes, stopTakes time.Duration
	startSticks           bool
	pragma                string
	closed, watched       int
	configured            int
	report                func(haresources.State, error)
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
	f.w.mu.Lock()
	takes := f.startTakes
	f.w.mu.Unlock()
	err := pause(ctx, takes)
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
	f.configured++
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
