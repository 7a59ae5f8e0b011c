package haresources_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hapair/haresources"
)

// stage notes in which order agents were called.
type stage struct {
	mu    sync.Mutex
	calls []string
}

func (s *stage) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
}

func (s *stage) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.calls = nil }()
	return strings.Join(s.calls, " ")
}

// actor is an agent that notes what it is asked to do.
type actor struct {
	*stage
	name    string
	running bool
	gate    chan struct{} // its stop waits for it; nil does not
}

func (a *actor) Start(context.Context) error {
	a.note("start-%s", a.name)
	a.running = true
	return nil
}

func (a *actor) Stop(ctx context.Context) error {
	if a.gate != nil {
		select {
		case <-a.gate:
		case <-ctx.Done():
			a.note("cancelled-%s", a.name)
			return ctx.Err()
		}
	}
	a.note("stop-%s", a.name)
	a.running = false
	return nil
}

func (a *actor) Status(context.Context) (haresources.State, error) {
	a.note("status-%s", a.name)
	if a.running {
		return haresources.Running, nil
	}
	return haresources.Stopped, nil
}

// rules is an actor with all that a firewall can do.
type rules struct{ *actor }

func (r rules) Lingers() bool                 { return true }
func (r rules) Prepare(context.Context) error { r.note("prepare-%s", r.name); return nil }
func (r rules) Foresee(context.Context) error { r.note("foresee-%s", r.name); return nil }
func (r rules) Complaint() error              { return errors.New("a mistake") }
func (r rules) Letter() string                { return "letter of " + r.name }
func (r rules) Read(letter string)            { r.note("read %q", letter) }

// performance is a group of rules, an address and a route.
func performance(t *testing.T, gate chan struct{}) (*haresources.Manager, string, *stage) {
	t.Helper()
	table, faults := haresources.Parse("haresources", strings.NewReader("alpha Firewall::/r web Route::default\n"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	s := &stage{}
	m, err := haresources.New(table, func(r haresources.Resource) (haresources.Agent, error) {
		a := &actor{stage: s, name: r.Name}
		if r.Name == "web" {
			return a, nil
		}
		a.gate = gate
		return rules{a}, nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, table.Groups[0].Name, s
}

// TestPrepareLeavesLittleForTheStart: what was prepared and asked before is not asked again, but only for a while and once.
func TestPrepareLeavesLittleForTheStart(t *testing.T) {
	m, group, s := performance(t, nil)
	defer m.Close()
	if !m.Prepares(group) {
		t.Error("nothing to prepare")
	}
	if err := m.Prepare(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if got, want := s.take(), "foresee-Firewall foresee-Route prepare-Firewall prepare-Route status-Firewall status-web status-Route"; got != want {
		t.Errorf("prepared by %s, want %s", got, want)
	}
	if err := m.Acquire(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if got, want := s.take(), "start-Firewall start-web start-Route"; got != want {
		t.Errorf("acquired by %s, want %s", got, want)
	}
	if err := m.Prepare(t.Context(), group); err != nil || strings.Contains(s.take(), "prepare") {
		t.Errorf("a held group was prepared, or: %v", err)
	}
	if err := m.Acquire(t.Context(), group); err != nil || !strings.Contains(s.take(), "status-web") {
		t.Errorf("what was learned before is believed a second time, or: %v", err)
	}
}

// TestReleaseDoesNotWaitForWhatLingers: the peer may start when the rest has stopped, and a new start ends what lingers.
func TestReleaseDoesNotWaitForWhatLingers(t *testing.T) {
	gate := make(chan struct{})
	m, group, s := performance(t, gate)
	defer m.Close()
	if err := m.Acquire(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	s.take()
	if err := m.Release(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if got := s.take(); got != "stop-web" {
		t.Errorf("released by %s", got)
	}
	if err := m.Acquire(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if got := s.take(); !strings.HasPrefix(got, "cancelled-Route") || !strings.Contains(got, "start-web") {
		t.Errorf("acquired again by %s", got)
	}
	if err := m.Release(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	close(gate)
	m.Settle(10 * time.Second)
	if got, want := s.take(), "stop-web stop-Route stop-Firewall"; got != want {
		t.Errorf("released by %s, want %s", got, want)
	}
}

func TestComplaintsAndLetters(t *testing.T) {
	m, _, s := performance(t, nil)
	defer m.Close()
	complaints := m.Complaints()
	if len(complaints) != 2 || complaints["Firewall::/r"] == nil {
		t.Errorf("complaints %v", complaints)
	}
	letters := m.Letters()
	if len(letters) != 2 || letters["Route::default"] != "letter of Route" {
		t.Errorf("letters %v", letters)
	}
	m.Read("Route::default", "of the other")
	m.Read("nothing", "of the other")
	if got := s.take(); got != `read "of the other"` {
		t.Errorf("read %s", got)
	}
}
