package agent_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/rehearsal/require"
)

func TestUnitStates(t *testing.T) {
	for facts, want := range map[string]haresources.State{
		"loaded active running": haresources.Running, "loaded active exited": haresources.Running, "loaded reloading reload": haresources.Running,
		"loaded inactive dead": haresources.Stopped, "not-found inactive dead": haresources.Stopped, "loaded failed failed": haresources.Stopped,
		"loaded activating start-pre": haresources.Failed, "loaded deactivating stop-sigterm": haresources.Failed, "loaded  ": haresources.Unknown, "  ": haresources.Unknown,
	} {
		f := strings.Split(facts, " ")
		got, err := agent.UnitState("x.service", map[string]string{"LoadState": f[0], "ActiveState": f[1], "SubState": f[2]})
		if got != want || (got == haresources.Unknown) && err == nil {
			t.Errorf("%q: %v, %v; want %v", facts, got, err, want)
		}
	}
}

// TestNoSystemd: where systemd does not run, that is said, with what to do instead.
func TestNoSystemd(t *testing.T) {
	agent.PretendSystemd(t, filepath.Join(t.TempDir(), "nosuch"))
	m := newSite(t).manager(t, "alpha systemd:nginx")
	err := m.Acquire(t.Context(), "systemd:nginx")
	var stuck *haresources.StuckError
	if errors.As(err, &stuck) || err == nil || !strings.Contains(err.Error(), `start of "systemd:nginx": systemd does not run on this machine`) {
		t.Errorf("error %v", err)
	}
	if faults := agent.Check(resource(t, "systemd:nginx"), newSite(t).env); !strings.Contains(faults.Error(), "systemd does not run") {
		t.Errorf("check says %v", faults)
	}
}

// unitsBus is a bus of its own with what systemd offers there, as far as units are started and stopped.
type unitsBus struct {
	conn *dbus.Conn
	mu   sync.Mutex
	jobs int
	did  []string
	unit map[string]*pretendedUnit // by name
}

// pretendedUnit is one unit. result is what its next job ends with; "" never ends.
type pretendedUnit struct {
	active, load, result, fate string
	takes                      time.Duration
}

// startUnitsBus starts a message bus and pretends to be systemd on it.
func startUnitsBus(t *testing.T) *unitsBus {
	t.Helper()
	require.Tool(t, "dbus-daemon", "units over D-Bus (package dbus-daemon)")
	path, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "bus.conf")
	text := fmt.Sprintf(`<busconfig><type>custom</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`, dir)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	bus := exec.Command(path, "--config-file="+config, "--nofork", "--nopidfile", "--print-address")
	out, err := bus.StdoutPipe()
	if err == nil {
		err = bus.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		bus.Process.Kill()
		bus.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", strings.TrimSpace(address))
	agent.PretendSystemd(t, dir)
	b := &unitsBus{unit: map[string]*pretendedUnit{}}
	if b.conn, err = dbus.Connect(strings.TrimSpace(address)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.conn.Close() })
	if err := b.conn.Export(b, "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.conn.RequestName("org.freedesktop.systemd1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return b
}

// add makes a unit known.
func (b *unitsBus) add(t *testing.T, name string, u *pretendedUnit) {
	t.Helper()
	b.mu.Lock()
	b.unit[name] = u
	b.mu.Unlock()
	path := dbus.ObjectPath("/org/freedesktop/systemd1/unit/" + strings.NewReplacer(".", "_2e", "-", "_2d").Replace(name))
	if err := b.conn.Export(&unitProperties{b, u}, path, "org.freedesktop.DBus.Properties"); err != nil {
		t.Fatal(err)
	}
}

// StartUnit is systemd's.
func (b *unitsBus) StartUnit(name, _ string) (dbus.ObjectPath, *dbus.Error) {
	return b.job("+", name, "active")
}

// StopUnit is systemd's.
func (b *unitsBus) StopUnit(name, _ string) (dbus.ObjectPath, *dbus.Error) {
	return b.job("-", name, "inactive")
}

func (b *unitsBus) job(sign, name, to string) (dbus.ObjectPath, *dbus.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.did = append(b.did, sign+name)
	u := b.unit[name]
	if u == nil {
		return "", dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + name + " not loaded."})
	}
	b.jobs++
	id, path := uint32(b.jobs), dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", b.jobs))
	result := u.result
	if to == "inactive" {
		result = "done"
	}
	if result == "" {
		return path, nil
	}
	time.AfterFunc(u.takes, func() {
		b.mu.Lock()
		if result == "done" {
			u.active = to
		} else {
			u.active, u.fate = "failed", "exit-code"
		}
		b.mu.Unlock()
		b.conn.Emit("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager.JobRemoved", id, path, name, result)
	})
	return path, nil
}

// unitProperties answers for the properties of a unit.
type unitProperties struct {
	b *unitsBus
	u *pretendedUnit
}

// GetAll is D-Bus's.
func (p *unitProperties) GetAll(string) (map[string]dbus.Variant, *dbus.Error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	return map[string]dbus.Variant{"LoadState": dbus.MakeVariant(p.u.load), "ActiveState": dbus.MakeVariant(p.u.active), "SubState": dbus.MakeVariant("x")}, nil
}

// Get is D-Bus's.
func (p *unitProperties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if name == "Result" {
		return dbus.MakeVariant(p.u.fate), nil
	}
	return dbus.Variant{}, dbus.NewError("org.freedesktop.DBus.Error.UnknownProperty", nil)
}

// steps are the jobs since the last call.
func (b *unitsBus) steps() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.Join(b.did, " ")
	b.did = nil
	return s
}

// TestUnits starts and stops units over a real bus, and reads the results of the jobs.
func TestUnits(t *testing.T) {
	b := startUnitsBus(t)
	b.add(t, "good-one.service", &pretendedUnit{active: "inactive", load: "loaded", result: "done", takes: 100 * time.Millisecond})
	b.add(t, "bad.service", &pretendedUnit{active: "inactive", load: "loaded", result: "failed"})
	b.add(t, "slow.service", &pretendedUnit{active: "inactive", load: "loaded"})
	b.add(t, "gone.service", &pretendedUnit{active: "inactive", load: "not-found", result: "done"})
	n := newSite(t)
	m := n.manager(t, "alpha systemd:good-one", "alpha systemd:bad", "alpha systemd:slow #hapair: start-timeout=300ms", "alpha systemd:nosuch")
	if err := m.Acquire(t.Context(), "systemd:good-one"); err != nil || b.steps() != "+good-one.service" {
		t.Errorf("start: %v", err)
	}
	if running, err := m.Examine(t.Context(), "systemd:good-one"); err != nil || !running {
		t.Errorf("examined: %v, %v", running, err)
	}
	if err := m.Release(t.Context(), "systemd:good-one"); err != nil || b.steps() != "-good-one.service" {
		t.Errorf("stop: %v", err)
	}
	if running, err := m.Examine(t.Context(), "systemd:good-one"); err != nil || running {
		t.Errorf("examined after the stop: %v, %v", running, err)
	}
	for group, want := range map[string]string{
		"systemd:bad": "unit bad.service: it failed (exit-code): its own words are in journalctl -u bad.service", "systemd:slow": "did not end within 300ms",
		"systemd:nosuch": "Unit nosuch.service not loaded.",
	} {
		err := m.Acquire(context.Background(), group)
		var stuck *haresources.StuckError
		if err == nil || !strings.Contains(err.Error(), want) || errors.As(err, &stuck) {
			t.Errorf("%s: error %v, want %q", group, err, want)
		}
	}
	if did := strings.Fields(b.steps()); !slices.Contains(did, "-bad.service") || !slices.Contains(did, "-slow.service") {
		t.Errorf("what failed to start was not stopped: %v", did)
	}
	if faults := agent.Check(resource(t, "systemd:gone"), n.env); !strings.Contains(faults.Error(), "unit gone.service is not-found") {
		t.Errorf("check says %v", faults)
	}
	if faults := agent.Check(resource(t, "systemd:good-one"), n.env); faults.Err() != nil {
		t.Errorf("check says %v", faults)
	}
}
