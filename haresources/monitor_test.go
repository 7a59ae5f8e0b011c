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

// polled hides all optional interfaces of a fake, as a script has none, and counts how it is asked.
type polled struct {
	f           *fake
	mu          sync.Mutex
	asked, now  int
	most        int
	takes       time.Duration
	silent      bool
	alwaysFails bool
}

func (p *polled) Start(ctx context.Context) error {
	err := p.f.Start(ctx)
	p.mu.Lock()
	dies := p.alwaysFails
	p.mu.Unlock()
	if dies {
		p.f.die()
	}
	return err
}
func (p *polled) Stop(ctx context.Context) error { return p.f.Stop(ctx) }

func (p *polled) Status(ctx context.Context) (haresources.State, error) {
	p.mu.Lock()
	p.asked++
	p.now++
	p.most = max(p.most, p.now)
	takes, silent := p.takes, p.silent
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.now--
		p.mu.Unlock()
	}()
	if err := pause(ctx, takes); err != nil {
		return haresources.Unknown, err
	}
	if silent {
		return haresources.Unknown, nil
	}
	return p.f.Status(ctx)
}

func (p *polled) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *polled) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// die ends a resource behind the manager's back.
func (f *fake) die() {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.state = haresources.Stopped
}

// spoil changes how a resource misbehaves.
func (f *fake) spoil(how func(*fake)) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	how(f)
}

// watched is a manager of polled resources that holds its first group, and what it gave up.
type watched struct {
	*haresources.Manager
	w     *world
	all   map[string]*polled
	mu    sync.Mutex
	given []string
}

func hold(t *testing.T, lines ...string) *watched {
	t.Helper()
	h := &watched{w: newWorld(), all: map[string]*polled{}}
	def := table(t, lines...)
	m, err := haresources.New(def, func(r haresources.Resource) (haresources.Agent, error) {
		p := &polled{f: h.w.fake(r.Name)}
		h.all[r.Name] = p
		return p, nil
	}, h.w.notify)
	if err != nil {
		t.Fatal(err)
	}
	h.Manager = m
	m.OnFailed(func(group string, why error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.given = append(h.given, fmt.Sprintf("%s: %v", group, why))
	})
	if err := m.Acquire(context.Background(), def.Groups[0].Name); err != nil {
		t.Fatal(err)
	}
	h.w.did()
	return h
}

func (h *watched) gaveUp() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.given)
}

// wait lets time pass and what follows from it happen.
func wait(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

func TestMonitorRestartsInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a b c")
		defer h.Close()
		wait(30 * time.Second)
		if n := h.all["b"].count(); n < 3 || n > 6 {
			t.Errorf("asked %d times in 30 s", n)
		}
		h.w.did()
		h.w.fake("b").die()
		wait(11 * time.Second)
		expect(t, h.w, "-b +b")
		if g := h.gaveUp(); g != nil {
			t.Errorf("gave up: %v", g)
		}
		if got := h.Resources("a")[1]; got.State != haresources.Running {
			t.Errorf("state %v", got)
		}
	})
}

func TestMonitorGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a b #hapair: monitor-restarts=2 monitor-interval@b=1s monitor-interval@a=off")
		defer h.Close()
		wait(5 * time.Second)
		h.all["b"].set(func() { h.all["b"].alwaysFails = true })
		h.w.fake("b").die()
		wait(4 * time.Second)
		if got := h.gaveUp(); len(got) == 0 || got[0] != `a: monitor of "b": it is stopped, and nobody stopped it` {
			t.Errorf("gave up %q", got)
		}
		if got := h.w.did(); got != "-b +b -b +b" {
			t.Errorf("did %q", got)
		}
		if n := h.all["a"].count(); n != 1 {
			t.Errorf("a was asked %d times, although its monitor is off", n)
		}
	})
}

func TestMonitorWindowSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a #hapair: monitor-restarts=1 monitor-window=1m")
		defer h.Close()
		for range 3 {
			wait(2 * time.Minute)
			h.w.fake("a").die()
		}
		wait(time.Minute)
		expect(t, h.w, "-a +a -a +a -a +a")
		if g := h.gaveUp(); g != nil {
			t.Errorf("gave up: %v", g)
		}
	})
}

func TestMonitorTimeoutIsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a #hapair: status-timeout=2s monitor-restarts=0")
		defer h.Close()
		wait(15 * time.Second)
		h.all["a"].set(func() { h.all["a"].takes = time.Hour })
		wait(15 * time.Second)
		if got := h.gaveUp(); len(got) == 0 || !strings.Contains(got[0], "did not end within 2s") {
			t.Errorf("gave up %q", got)
		}
		if h.all["a"].most != 1 {
			t.Errorf("%d examinations at one time", h.all["a"].most)
		}
	})
}

// A script whose status never says that it runs cannot be watched; that is said once, and it is left alone.
func TestMonitorSilentScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a")
		defer h.Close()
		h.all["a"].set(func() { h.all["a"].silent = true })
		wait(time.Minute)
		expect(t, h.w, "")
		told := 0
		for _, e := range h.w.events {
			if e.Operation == haresources.OpMonitor && e.Phase == haresources.Skip {
				told++
			}
		}
		if told != 1 || h.gaveUp() != nil {
			t.Errorf("told %d times, gave up %v", told, h.gaveUp())
		}
	})
}

// A status that cannot be asked for says nothing about the resource.
func TestMonitorCannotAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a")
		defer h.Close()
		wait(15 * time.Second)
		h.w.fake("a").spoil(func(f *fake) { f.statusErr = errors.New("fork: no memory") })
		wait(time.Minute)
		expect(t, h.w, "")
		if g := h.gaveUp(); g != nil {
			t.Errorf("gave up: %v", g)
		}
	})
}

// A mount that is restarted takes with it what stands on it.
func TestMonitorCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a Filesystem::/dev/x::/mnt::ext4 c")
		defer h.Close()
		wait(15 * time.Second)
		h.w.fake("Filesystem").die()
		wait(11 * time.Second)
		expect(t, h.w, "-c -Filesystem +Filesystem +c")
	})
}

// A release does not wait for an examination that hangs, nor for a restart that does.
func TestMonitorYieldsToRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a b")
		defer h.Close()
		wait(15 * time.Second)
		h.all["b"].set(func() { h.all["b"].takes = time.Hour })
		wait(15 * time.Second)
		begin := time.Now()
		if err := h.Release(context.Background(), "a"); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		expect(t, h.w, "-b -a")
		wait(time.Minute)
		expect(t, h.w, "")
		h.all["b"].set(func() { h.all["b"].takes = 0 })
		if err := h.Acquire(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		wait(15 * time.Second)
		h.w.fake("b").spoil(func(f *fake) { f.startTakes = time.Hour })
		h.w.fake("b").die()
		wait(15 * time.Second)
		h.w.did()
		begin = time.Now()
		if err := h.Release(context.Background(), "a"); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if r := h.w.running(); r != nil {
			t.Errorf("still running: %v", r)
		}
		if g := h.gaveUp(); g != nil {
			t.Errorf("gave up: %v", g)
		}
	})
}

// What an agent reports on its own is answered at once.
func TestMonitorListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := manager(t, w, "alpha a b")
		defer m.Close()
		if err := m.Acquire(context.Background(), "a"); err != nil {
			t.Fatal(err)
		}
		w.did()
		w.fake("b").report(haresources.Failed, errors.New("the interface is gone"))
		synctest.Wait()
		expect(t, w, "-b +b")
		if w.fake("b").watched != 1 {
			t.Errorf("watched %d times", w.fake("b").watched)
		}
		wait(time.Hour) // no polling
		expect(t, w, "")
	})
}

func TestByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a b", "beta c")
		defer h.Close()
		ctx := context.Background()
		wait(15 * time.Second)
		s, err := h.ByHand(ctx, "b", haresources.OpStop, false)
		if err != nil || s.State != haresources.Stopped {
			t.Fatalf("%+v, %v", s, err)
		}
		wait(time.Minute)
		expect(t, h.w, "-b")
		if s, err = h.ByHand(ctx, "b", haresources.OpMonitor, false); err != nil || s.State != haresources.Stopped {
			t.Fatalf("%+v, %v", s, err)
		}
		if s, err = h.ByHand(ctx, "b", haresources.OpStart, false); err != nil || s.State != haresources.Running {
			t.Fatalf("%+v, %v", s, err)
		}
		wait(15 * time.Second)
		h.w.fake("b").die()
		wait(15 * time.Second)
		expect(t, h.w, "+b -b +b")
		if _, err := h.ByHand(ctx, "c", haresources.OpStart, false); err == nil || !strings.Contains(err.Error(), "not held") {
			t.Errorf("started a resource of a group that is not held: %v", err)
		}
		if _, err := h.ByHand(ctx, "x", haresources.OpStart, false); err == nil {
			t.Error("found what is not there")
		}
	})
}

// A reload that changes only the interval takes effect, and restarts nothing.
func TestMonitorReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, "alpha a b #hapair: monitor-interval=off")
		defer h.Close()
		wait(time.Minute)
		before := h.all["b"].count()
		if _, err := h.Reload(context.Background(), table(t, "alpha a b #hapair: monitor-interval=1s"), time.Minute); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Second)
		if n := h.all["b"].count() - before; n < 7 || n > 11 {
			t.Errorf("asked %d times in 10 s", n)
		}
		expect(t, h.w, "")
	})
}
