package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	systemdbus "github.com/coreos/go-systemd/v22/dbus"

	"hapair/haresources"
)

// systemdRuns is the directory that exists exactly where systemd is the running init (sd_booted(3)).
var systemdRuns = "/run/systemd/system"

// systemd is a resource that is a systemd unit. It is started and stopped over D-Bus, and the result of the job is waited for.
type systemd struct {
	unit string
}

// openSystemd makes an agent for systemd:NAME.
func openSystemd(r haresources.Resource) *systemd {
	unit := r.Name
	if !strings.Contains(unit, ".") {
		unit += ".service"
	}
	return &systemd{unit: unit}
}

// errNoSystemd says why no unit can be started.
var errNoSystemd = errors.New("systemd does not run on this machine: use the unit's program as an init script (lsb:NAME) or an OCF agent")

// connect reaches systemd: by the system bus, or directly where there is none.
func (s *systemd) connect(ctx context.Context) (*systemdbus.Conn, error) {
	if _, err := os.Stat(systemdRuns); err != nil {
		return nil, errNoSystemd
	}
	conn, err := systemdbus.NewWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach systemd over D-Bus: %w", err)
	}
	return conn, nil
}

// Start starts the unit and waits until it is started.
func (s *systemd) Start(ctx context.Context) error {
	return s.do(ctx, (*systemdbus.Conn).StartUnitContext)
}

// Stop stops the unit and waits until it is stopped. Where systemd does not run, and for a unit that there is not, there is nothing to stop.
func (s *systemd) Stop(ctx context.Context) error {
	err := s.do(ctx, (*systemdbus.Conn).StopUnitContext)
	if errors.Is(err, errNoSystemd) || err != nil && strings.Contains(err.Error(), "not loaded") {
		return nil
	}
	return err
}

// job is a method of systemd that begins a job.
type job func(c *systemdbus.Conn, ctx context.Context, unit, mode string, result chan<- string) (int, error)

// do begins a job, in place of any other one of the unit, and waits for its result.
func (s *systemd) do(ctx context.Context, begin job) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	result := make(chan string, 1)
	if _, err := begin(conn, ctx, s.unit, "replace", result); err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	select {
	case word := <-result:
		return s.judge(ctx, conn, word)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// jobResults say what systemd means by the result of a job (org.freedesktop.systemd1(5)).
var jobResults = map[string]string{
	"canceled": "the job was cancelled by another one before it ended", "timeout": "systemd gave it up after its own time-out",
	"failed": "it failed", "dependency": "a unit that it depends on failed", "invalid": "the job does not apply to it", "assert": "an assertion of it does not hold",
	"unsupported": "this machine does not support such a unit", "collected": "it was unloaded meanwhile", "once": "it may be started once only",
	"frozen": "it is frozen", "concurrency": "too many units of its slice run",
}

// judge turns the result of a job into an error. A unit whose condition does not hold is skipped, which is not started.
func (s *systemd) judge(ctx context.Context, conn *systemdbus.Conn, result string) error {
	if result == "done" {
		return nil
	}
	text := jobResults[result]
	if text == "" {
		text = "the job ended with " + result
	}
	if result == "skipped" {
		text = "a condition of it does not hold (systemctl status " + s.unit + ")"
	}
	facts := s.facts(ctx, conn)
	if facts["Result"] != "" && facts["Result"] != "success" {
		text += " (" + facts["Result"] + ")"
	}
	return fmt.Errorf("unit %s: %s: its own words are in journalctl -u %s", s.unit, text, s.unit)
}

// facts are the properties of the unit that its state is read from. What cannot be learned is left out.
func (s *systemd) facts(ctx context.Context, conn *systemdbus.Conn) map[string]string {
	facts := map[string]string{}
	properties, err := conn.GetUnitPropertiesContext(ctx, s.unit)
	if err != nil {
		return facts
	}
	for _, name := range []string{"LoadState", "ActiveState", "SubState"} {
		facts[name], _ = properties[name].(string)
	}
	kind := s.unit[strings.LastIndex(s.unit, ".")+1:]
	if own, err := conn.GetUnitTypePropertyContext(ctx, s.unit, strings.ToUpper(kind[:1])+kind[1:], "Result"); err == nil {
		facts["Result"], _ = own.Value.Value().(string)
	}
	return facts
}

// Status reads the unit's state.
func (s *systemd) Status(ctx context.Context) (haresources.State, error) {
	conn, err := s.connect(ctx)
	if errors.Is(err, errNoSystemd) {
		return haresources.Stopped, err
	}
	if err != nil {
		return haresources.Unknown, err
	}
	defer conn.Close()
	return unitState(s.unit, s.facts(ctx, conn))
}

// unitState judges the properties of a unit.
func unitState(unit string, facts map[string]string) (haresources.State, error) {
	switch facts["ActiveState"] {
	case "active", "reloading", "refreshing":
		return haresources.Running, nil
	case "inactive":
		if load := facts["LoadState"]; load != "" && load != "loaded" {
			return haresources.Stopped, fmt.Errorf("unit %s is %s", unit, load)
		}
		return haresources.Stopped, nil
	case "failed": // nothing of it runs, and it can be started again
		return haresources.Stopped, fmt.Errorf("unit %s failed: %s", unit, facts["Result"])
	case "activating", "deactivating", "maintenance":
		return haresources.Failed, fmt.Errorf("unit %s is %s (%s)", unit, facts["ActiveState"], facts["SubState"])
	}
	return haresources.Unknown, fmt.Errorf("unit %s is in the state %q", unit, facts["ActiveState"])
}

// check says why the unit could not be started.
func (s *systemd) check() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if load := s.facts(ctx, conn)["LoadState"]; load != "loaded" {
		return fmt.Errorf("unit %s is %s", s.unit, load)
	}
	return nil
}
