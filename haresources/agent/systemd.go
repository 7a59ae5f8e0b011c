package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// systemdRuns is the directory that exists exactly where systemd is the running init (sd_booted(3)).
const systemdRuns = "/run/systemd/system"

// systemd is a resource that is a systemd unit; systemctl is asked to start and stop it, and waits for the job's result.
type systemd struct {
	env  Environment
	unit string
}

// openSystemd makes an agent for systemd:NAME.
func openSystemd(env Environment, r haresources.Resource) *systemd {
	unit := r.Name
	if !strings.Contains(unit, ".") {
		unit += ".service"
	}
	return &systemd{env: env, unit: unit}
}

// errNoSystemd says why no unit can be started.
var errNoSystemd = errors.New("systemd does not run on this machine: use the unit's program as an init script (lsb:NAME) or an OCF agent")

// program is systemctl with arguments.
func (s *systemd) program(args ...string) (host.Program, error) {
	if _, err := os.Stat(systemdRuns); err != nil {
		return host.Program{}, errNoSystemd
	}
	path, err := exec.LookPath("systemctl")
	if err != nil {
		return host.Program{}, fmt.Errorf("find systemctl: %w", err)
	}
	return host.Program{Path: path, Args: append(args, "--", s.unit), Env: s.env.environ("LC_ALL=C", "SYSTEMD_COLORS=0")}, nil
}

// Start starts the unit and waits until it is started.
func (s *systemd) Start(ctx context.Context) error { return s.do(ctx, "start") }

// Stop stops the unit and waits until it is stopped. Where systemd does not run there is nothing to stop.
func (s *systemd) Stop(ctx context.Context) error {
	if err := s.do(ctx, "stop"); !errors.Is(err, errNoSystemd) {
		return err
	}
	return nil
}

func (s *systemd) do(ctx context.Context, verb string) error {
	p, err := s.program(verb, "--quiet", "--no-ask-password")
	if err != nil {
		return err
	}
	return run(ctx, p)
}

// Status reads the unit's state.
func (s *systemd) Status(ctx context.Context) (haresources.State, error) {
	p, err := s.program("show", "--property=LoadState,ActiveState,SubState,Result")
	if errors.Is(err, errNoSystemd) {
		return haresources.Stopped, err
	}
	if err != nil {
		return haresources.Unknown, err
	}
	output, err := capture(ctx, p)
	if err != nil {
		return haresources.Unknown, err
	}
	return unitState(s.unit, output)
}

// unitState reads what `systemctl show` prints.
func unitState(unit, output string) (haresources.State, error) {
	facts := map[string]string{}
	for line := range strings.Lines(output) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		facts[name] = value
	}
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
