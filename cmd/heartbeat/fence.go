package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/stonith"
)

func (a *app) fenceCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "fence", Short: "Try the fencing (STONITH) devices of ha.cf, or use them by hand",
		Long: "Try the fencing (STONITH) devices of ha.cf, or use them by hand. All of it works without a running daemon too.\n" +
			"docs/fencing.md says how to set one up.",
	}
	c.AddCommand(a.fenceCheckCommand(), a.fenceStatusCommand(), a.fenceTypesCommand())
	c.AddCommand(a.fenceVerbCommand("off", "Switch the other node off and leave it off", stonith.Off))
	c.AddCommand(a.fenceVerbCommand("reboot", "Reset the other node", stonith.Reset))
	c.AddCommand(a.fenceVerbCommand("on", "Switch the other node on", stonith.On))
	return c
}

// fencing opens the devices, with what they write on standard error.
func (a *app) fencing() (*daemon.FencingTool, error) {
	t, err := daemon.OpenFencing(a.dirs.paths(), func(line string) { fmt.Fprintln(a.err, line) })
	if err != nil {
		return nil, &exit{exitFailure, err}
	}
	return t, nil
}

// interruptible ends what it is given to when a person presses control-C.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}

// peerStatus is what a running daemon says, nil where none runs.
func (a *app) peerStatus(ctx context.Context) *daemon.Status {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	s, err := daemon.FetchStatus(ctx, a.dirs.paths())
	if err != nil {
		return nil
	}
	return s
}

// isAlive tells whether the peer's heartbeats arrive.
func isAlive(s *daemon.Status) bool {
	return s != nil && (s.Peer.State == "active" || s.Peer.State == "up" || s.Peer.State == "init")
}

func (a *app) fenceCheckCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check", Short: "Tell whether each device would work, and what is wrong with it", Args: cobra.NoArgs,
		Long: "Ask each device of ha.cf whether it would work: its program, its parameters, its address and credentials, and whether\n" +
			"it knows the other node. No machine is switched. The daemon does the same at its start and every hour.\n" +
			"Exit code 0: all work; 1: one does not.",
		RunE: func(*cobra.Command, []string) error { return a.fenceCheck(asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "for programs")
	return c
}

func (a *app) fenceCheck(asJSON bool) error {
	t, err := a.fencing()
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	reports := t.Check(ctx, isAlive(a.peerStatus(ctx)))
	bad := false
	for _, r := range reports {
		bad = bad || !r.OK
	}
	if asJSON {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(struct {
			Schema  int                   `json:"schema"`
			Peer    string                `json:"peer"`
			OK      bool                  `json:"ok"`
			Devices []daemon.DeviceReport `json:"devices"`
		}{1, t.Peer, !bad, reports}); err != nil {
			return err
		}
	} else {
		for _, r := range reports {
			fmt.Fprintln(a.out, deviceLine(r, t))
		}
	}
	if bad {
		return &exit{code: exitFailure}
	}
	return nil
}

// deviceLine says what became of one device.
func deviceLine(r daemon.DeviceReport, t *daemon.FencingTool) string {
	place := fmt.Sprintf("%s:%d", t.File, r.Line)
	if t.Several() {
		place += fmt.Sprintf(" (level %d)", r.Level)
	}
	if !r.OK {
		return fmt.Sprintf("%s: NOT WORKING: %s", place, r.Error)
	}
	text := fmt.Sprintf("%s: %s works, it answered in %v", place, r.Type, time.Duration(r.TookMS)*time.Millisecond)
	if r.Power != "unknown" {
		text += fmt.Sprintf("; %s is %s", t.Peer, r.Power)
	}
	return text
}

func (a *app) fenceStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Tell whether the other node is switched on, as the device sees it, and what the daemon does about it", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			t, err := a.fencing()
			if err != nil {
				return err
			}
			ctx, cancel := interruptible()
			defer cancel()
			if s := a.peerStatus(ctx); s != nil && s.Fencing != nil {
				fmt.Fprintf(a.out, "heartbeat: %s\n", fencingLine(s))
			}
			power, err := t.Power(ctx)
			if errors.Is(err, stonith.ErrCannotTell) {
				fmt.Fprintf(a.out, "device: it cannot tell whether %s is on; `heartbeat fence check` tells whether it works\n", t.Peer)
				return nil
			}
			if err != nil {
				return &exit{exitFailure, err}
			}
			fmt.Fprintf(a.out, "device: %s is %s\n", t.Peer, power)
			return nil
		},
	}
}

// fencingLine is the daemon's view in a sentence.
func fencingLine(s *daemon.Status) string {
	f := s.Fencing
	text := map[string]string{
		"idle":      "nothing to do, " + s.Peer.Name + " is " + s.Peer.State,
		"waiting":   s.Peer.Name + " is not fenced now: " + f.Reason,
		"delayed":   "waits as the standby before it fences " + s.Peer.Name,
		"running":   fmt.Sprintf("fencing %s, attempt %d", s.Peer.Name, f.Tries),
		"failed":    fmt.Sprintf("attempt %d to fence %s failed: %s", f.Tries, s.Peer.Name, f.LastError),
		"confirmed": s.Peer.Name + " is certainly off: " + f.Reason,
	}[f.State]
	return text + fmt.Sprintf(" (delay as standby %v)", time.Duration(f.DelayMS)*time.Millisecond)
}

func (a *app) fenceTypesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "types", Short: "List the types of devices that are installed here", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(a.out, strings.Join(stonith.Types(stonith.Environment{Dir: a.dirs.paths().Config}), "\n"))
			return nil
		},
	}
}

func (a *app) fenceVerbCommand(name, short string, how stonith.Verb) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: name + " [NODE] --yes", Short: short, Args: cobra.MaximumNArgs(1),
		Long: short + ", through the devices of ha.cf, as the daemon would.\n" +
			"Only the other node can be named; a takeover that waits for certainty goes on when this succeeds.",
		RunE: func(_ *cobra.Command, args []string) error {
			t, err := a.fencing()
			if err != nil {
				return err
			}
			if len(args) == 1 && !strings.EqualFold(args[0], t.Peer) {
				return &exit{exitUsage, fmt.Errorf("%q is not the other node: that is %s", args[0], t.Peer)}
			}
			return a.fenceBy(t, how, yes)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return c
}

// fenceBy does it, and tells a daemon that waits for it.
func (a *app) fenceBy(t *daemon.FencingTool, how stonith.Verb, yes bool) error {
	ctx, cancel := interruptible()
	defer cancel()
	s := a.peerStatus(ctx)
	if !yes {
		warning := ""
		if isAlive(s) {
			warning = fmt.Sprintf("; %s is alive and holds %s", t.Peer, strings.Join(append(s.Peer.Holds, ""), " "))
		}
		return &exit{exitUsage, fmt.Errorf("this does `%s` to %s%s: say --yes if that is meant", how, t.Peer, strings.TrimRight(warning, " "))}
	}
	ev, err := t.Fence(ctx, how)
	if err != nil {
		return &exit{exitFailure, err}
	}
	for _, seen := range ev.Seen {
		fmt.Fprintf(a.out, "%s\n", seen)
	}
	if !ev.Certain {
		fmt.Fprintf(a.out, "%s proves nothing: look at %s yourself.\n", ev.Device, t.Peer)
		return nil
	}
	if how == stonith.On {
		fmt.Fprintf(a.out, "%s is switched on.\n", t.Peer)
		return nil
	}
	fmt.Fprintf(a.out, "%s is certainly down: %s confirmed it after %v.\n", t.Peer, ev.Device, ev.Took.Round(time.Millisecond))
	if s != nil { // at once: a takeover may wait for it
		if _, err := a.call(daemon.Request{Command: daemon.CommandFenced, Name: t.Peer}); err != nil {
			fmt.Fprintf(a.err, "heartbeat: the daemon was not told: %v\n", err)
		}
	}
	if ev.LeftOff {
		if err := t.SwitchOn(ctx); err != nil {
			fmt.Fprintf(a.err, "It could not be switched on again: %v\n", err)
		}
	}
	return nil
}
