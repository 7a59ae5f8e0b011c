package agent_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"hapair/haresources"
	"hapair/haresources/agent"
)

func TestUnitStates(t *testing.T) {
	for output, want := range map[string]haresources.State{
		"LoadState=loaded\nActiveState=active\nSubState=running\n":                  haresources.Running,
		"LoadState=loaded\nActiveState=active\nSubState=exited\n":                   haresources.Running,
		"LoadState=loaded\nActiveState=reloading\nSubState=reload\n":                haresources.Running,
		"LoadState=loaded\nActiveState=inactive\nSubState=dead\n":                   haresources.Stopped,
		"LoadState=not-found\nActiveState=inactive\nSubState=dead\n":                haresources.Stopped,
		"LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n": haresources.Stopped,
		"LoadState=loaded\nActiveState=activating\nSubState=start-pre\n":            haresources.Failed,
		"LoadState=loaded\nActiveState=deactivating\nSubState=stop-sigterm\n":       haresources.Failed,
		"LoadState=loaded\nActiveState=\n":                                          haresources.Unknown,
		"":                                                                          haresources.Unknown,
	} {
		if got, err := agent.UnitState("x.service", output); got != want || (got == haresources.Unknown) && err == nil {
			t.Errorf("%q: %v, %v; want %v", output, got, err, want)
		}
	}
}

// TestNoSystemd: where systemd does not run, that is said, with what to do instead.
func TestNoSystemd(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return // it runs here
	}
	m := newSite(t).manager(t, "alpha systemd:nginx")
	err := m.Acquire(t.Context(), "systemd:nginx")
	var stuck *haresources.StuckError
	if errors.As(err, &stuck) || err == nil || !strings.Contains(err.Error(), `start of "systemd:nginx": systemd does not run on this machine`) {
		t.Errorf("error %v", err)
	}
}
