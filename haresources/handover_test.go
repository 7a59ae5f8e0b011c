package haresources_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
	if err := m.Prepare(t.Context(), group, nil); err != nil {
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
	if err := m.Prepare(t.Context(), group, nil); err != nil || strings.Contains(s.take(), "prepare") {
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

// floating is an actor that is an address.
type floating struct {
	*actor
	addr netip.Addr
}

func (f floating) Addr() netip.Addr { return f.addr }

func (f floating) AddMute(_ context.Context, list []haresources.Agent) error {
	for _, a := range list {
		f.note("mute-%s", a.(floating).name)
	}
	return nil
}

func (f floating) Voice(_ context.Context, list []haresources.Agent) error {
	for _, a := range list {
		f.note("voice-%s", a.(floating).name)
	}
	return nil
}

// through is a firewall that addresses need not wait for.
type through struct{ rules }

func (through) Transparent() bool { return true }

// behind is a route that can be set when the addresses before it are there, unless it is of the kind that cannot.
type behind struct{ *actor }

func (b behind) Transparent() bool { return true }

func (b behind) Follow(context.Context) error {
	b.note("follow-%s", b.name)
	if b.name == "Nowhere" {
		return errors.New("no way there")
	}
	return nil
}

// TestAddressesAreAddedMuteAheadOfAHandOver: those that may answer as soon as the group is acquired, and that the kernel does keep mute.
func TestAddressesAreAddedMuteAheadOfAHandOver(t *testing.T) {
	for _, c := range []struct{ line, protected, want string }{
		{"alpha Firewall one two", "one two", "mute-one mute-two"},
		{"alpha Firewall one service two", "one two", "mute-one"}, // two must not answer before the service runs
		{"alpha service one", "one", ""},
		{"alpha one two", "two", ""}, // one would answer at once
		{"alpha one two", "one", "mute-one"},
		{"alpha Firewall one Route two", "one two", "mute-one follow-Route mute-two"},
		{"alpha Firewall one Nowhere two", "one two", "mute-one follow-Nowhere"}, // two must not answer before the route is there
	} {
		table, faults := haresources.Parse("haresources", strings.NewReader(c.line+"\n"))
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		s := &stage{}
		addrs := map[string]netip.Addr{"one": netip.MustParseAddr("10.0.0.1"), "two": netip.MustParseAddr("10.0.0.2")}
		m, err := haresources.New(table, func(r haresources.Resource) (haresources.Agent, error) {
			a := &actor{stage: s, name: r.Name}
			switch {
			case r.Name == "Firewall":
				return through{rules{a}}, nil
			case r.Name == "Route", r.Name == "Nowhere":
				return behind{a}, nil
			case addrs[r.Name].IsValid():
				return floating{a, addrs[r.Name]}, nil
			}
			return a, nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		mute := func(a netip.Addr) bool {
			return strings.Contains(c.protected, "one") && a == addrs["one"] || strings.Contains(c.protected, "two") && a == addrs["two"]
		}
		if err := m.Prepare(t.Context(), table.Groups[0].Name, mute); err != nil {
			t.Fatal(err)
		}
		var muted []string
		for call := range strings.FieldsSeq(s.take()) {
			if strings.HasPrefix(call, "mute-") || strings.HasPrefix(call, "follow-") {
				muted = append(muted, call)
			}
		}
		if got := strings.Join(muted, " "); got != c.want {
			t.Errorf("%s, mute are %s: added %q, want %q", c.line, c.protected, got, c.want)
		}
		if err := m.Acquire(t.Context(), table.Groups[0].Name); err != nil {
			t.Fatal(err)
		}
		if calls := s.take(); !strings.HasPrefix(calls, "voice-") {
			t.Errorf("%s: what is there is not heard first: %s", c.line, calls)
		}
		m.Close()
	}
}

// TestReleaseDoesNotWaitForMuteAddresses: those that are mute when it is done are removed after it, unless something left of them had to be
// stopped: until then they answer.
func TestReleaseDoesNotWaitForMuteAddresses(t *testing.T) {
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	addrs := map[string]netip.Addr{"one": one, "two": two}
	for _, c := range []struct {
		line           string
		mute           []netip.Addr
		before, lasted string
	}{
		{"alpha Firewall one Route two", []netip.Addr{one, two}, "", "stop-two stop-Route stop-one stop-Firewall"},
		{"alpha Firewall one Route two", []netip.Addr{one}, "stop-two", "stop-Route stop-one stop-Firewall"},
		{"alpha Firewall one Route two", []netip.Addr{two}, "stop-two stop-one", "stop-Route stop-Firewall"},
		{"alpha Firewall one service two", []netip.Addr{one, two}, "stop-two stop-service", "stop-one stop-Firewall"},
		{"alpha one two", nil, "stop-two stop-one", ""},
	} {
		table, faults := haresources.Parse("haresources", strings.NewReader(c.line+"\n"))
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		s, gate := &stage{}, make(chan struct{})
		m, err := haresources.New(table, func(r haresources.Resource) (haresources.Agent, error) {
			a := &actor{stage: s, name: r.Name}
			if strings.Contains(c.lasted, "stop-"+r.Name) {
				a.gate = gate
			}
			switch {
			case addrs[r.Name].IsValid():
				return floating{a, addrs[r.Name]}, nil
			case r.Name == "service":
				return a, nil
			}
			return rules{a}, nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Mutes = func(string) func(netip.Addr) bool {
			return func(a netip.Addr) bool { return slices.Contains(c.mute, a) }
		}
		group := table.Groups[0].Name
		if err := m.Acquire(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		s.take()
		if err := m.Release(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		if got := s.take(); got != c.before {
			t.Errorf("%s, mute are %v: released when %q, want %q", c.line, c.mute, got, c.before)
		}
		close(gate)
		m.Settle(10 * time.Second)
		if got := s.take(); got != c.lasted {
			t.Errorf("%s, mute are %v: after the release %q, want %q", c.line, c.mute, got, c.lasted)
		}
		m.Close()
	}
}
