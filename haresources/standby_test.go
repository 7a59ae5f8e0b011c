package haresources_test

import (
	"context"
	"strings"
	"testing"

	"hapair/haresources"
)

// readyAgent counts how often it was made ready.
type readyAgent struct {
	running bool
	ready   int
}

func (a *readyAgent) Start(context.Context) error { a.running = true; return nil }
func (a *readyAgent) Stop(context.Context) error  { a.running = false; return nil }
func (a *readyAgent) Status(context.Context) (haresources.State, error) {
	if a.running {
		return haresources.Running, nil
	}
	return haresources.Stopped, nil
}
func (a *readyAgent) Standby(context.Context) error { a.ready++; return nil }

func TestStandbyOnlyWhereTheGroupIsNotHeld(t *testing.T) {
	table, faults := haresources.Parse("haresources", strings.NewReader("alpha Firewall::/etc/nft\n"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	a := &readyAgent{}
	m, err := haresources.New(table, func(haresources.Resource) (haresources.Agent, error) { return a, nil }, func(haresources.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	name := table.Groups[0].Name
	if err := m.Standby(t.Context(), name); err != nil || a.ready != 1 {
		t.Fatalf("not held: made ready %d times, %v", a.ready, err)
	}
	if err := m.Acquire(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := m.Standby(t.Context(), name); err != nil || a.ready != 1 {
		t.Errorf("held: made ready %d times, %v", a.ready, err)
	}
	if err := m.Standby(t.Context(), "nobody"); err == nil {
		t.Error("an unknown group was made ready")
	}
}
