package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
)

// sets are the words for groups of resources, as in Linux-HA.
var sets = []string{"all", "local", "foreign", "failback"}

// whichSet reads the optional word.
func whichSet(args []string) (string, error) {
	if len(args) == 0 {
		return "all", nil
	}
	if !slices.Contains(sets, args[0]) {
		return "", fmt.Errorf("%q: all, local (those that this node prefers), foreign (those that the other prefers) or failback", args[0])
	}
	return args[0], nil
}

func (a *app) standbyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "standby [all|local|foreign|failback]", Short: "Give resources to the other node", Args: cobra.MaximumNArgs(1), ValidArgs: sets,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.hand(daemon.CommandStandby, args, "Going standby [%s].\n")
		},
	}
}

func (a *app) takeoverCommand() *cobra.Command {
	return &cobra.Command{
		Use: "takeover [all|local|foreign|failback]", Short: "Take resources from the other node", Args: cobra.MaximumNArgs(1), ValidArgs: sets,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.hand(daemon.CommandTakeover, args, "Taking over [%s].\n")
		},
	}
}

// hand asks for a hand-over and says that it began.
func (a *app) hand(c daemon.Command, args []string, done string) error {
	which, err := whichSet(args)
	if err != nil {
		return err
	}
	if _, err := a.call(daemon.Request{Command: c, Which: which}); err != nil {
		return err
	}
	fmt.Fprintf(a.out, done, which)
	return nil
}

func (a *app) moveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "move GROUP", Short: "Move one resource group to the other node", Args: cobra.ExactArgs(1),
		Long: "Move one resource group, named by its first resource as in haresources, to the node that does not hold it.",
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := a.call(daemon.Request{Command: daemon.CommandMove, Group: args[0]}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Moving %s.\n", args[0])
			return nil
		},
	}
}

func (a *app) confirmDeadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "confirm-dead NODE", Short: "Say that you are certain that the other node is off", Args: cobra.ExactArgs(1),
		Long: "Say that you have made certain that the other node is off, so that its resources may be taken although no\n" +
			"STONITH device has confirmed it. If it still runs, both nodes will use the same data: look at it first.",
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := a.call(daemon.Request{Command: daemon.CommandConfirmDead, Name: args[0]}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "Taken down: %s is off. Whatever waited for that goes on now.\n", args[0])
			return nil
		},
	}
}

func (a *app) stopCommand() *cobra.Command {
	var keep, background bool
	c := &cobra.Command{
		Use: "stop", Short: "Stop the daemon: release the resources to the other node and say goodbye", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			command := daemon.CommandStop
			if keep {
				command = daemon.CommandQuit
			}
			if _, err := a.call(daemon.Request{Command: command}); err != nil {
				return err
			}
			if background {
				return nil
			}
			a.awaitEnd()
			fmt.Fprintln(a.out, "Heartbeat has stopped.")
			return nil
		},
	}
	c.Flags().BoolVar(&keep, "keep-resources", false, "leave the resources running here; the next start takes them on again")
	c.Flags().BoolVar(&background, "no-wait", false, "do not wait until it has stopped")
	return c
}

// awaitEnd returns when no daemon runs.
func (a *app) awaitEnd() {
	for {
		if _, state := daemon.Running(a.dirs.paths()); state != daemon.PidRunning {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Read the configuration again; one with errors changes nothing", Args: cobra.NoArgs,
		Long: "Read the configuration again; one with errors changes nothing. What stands in the old and the new one is not touched, also where it is on\n" +
			"another line now.\n" +
			"Exit code 0: it is in force; 1: it is not, or it is and a resource could not be started or stopped, or is still at it.",
		RunE: func(*cobra.Command, []string) error {
			reply, err := a.call(daemon.Request{Command: daemon.CommandReload})
			if reply != nil && reply.Faults != "" {
				fmt.Fprintln(a.err, reply.Faults)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, "The configuration was read again and is in force.")
			if reply.Value != "" {
				return &exit{exitFailure, fmt.Errorf("not everything went well: %s", reply.Value)}
			}
			return nil
		},
	}
}

func (a *app) debugCommand() *cobra.Command {
	var level int
	c := &cobra.Command{
		Use: "debug", Short: "Set the debug level of the running daemon's log", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			reply, err := a.call(daemon.Request{Command: daemon.CommandDebug, Level: level})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "The debug level is now %s.\n", reply.Value)
			return nil
		},
	}
	c.Flags().IntVar(&level, "level", 1, "0 for none")
	return c
}

// conditions are what `heartbeat wait` can wait for.
var conditions = map[string]func(*daemon.Status) bool{
	"active":  func(s *daemon.Status) bool { return s.State == "active" },
	"standby": func(s *daemon.Status) bool { return s.State == "standby" },
	"stable":  stable,
}

// stable tells that nothing is in motion: this node has its part, every group its owner, and the peer is up or known to be
// away.
func stable(s *daemon.Status) bool {
	if s.State != "active" && s.State != "standby" {
		return false
	}
	switch s.Peer.State {
	case "active", "dead", "left":
	default:
		return s.Peer.Name == ""
	}
	return !s.Managed || !slices.ContainsFunc(s.Groups, func(g daemon.GroupView) bool {
		return g.Owner == "" || g.State != "held" && g.State != "idle" && g.State != "failed"
	})
}

func (a *app) waitCommand() *cobra.Command {
	var what string
	timeout := time.Minute
	c := &cobra.Command{
		Use: "wait --for active|standby|stable", Short: "Wait until this node has a part", Args: cobra.NoArgs,
		Long: "Wait until this node serves something (active), serves nothing (standby), or nothing is in motion (stable).\n" +
			"Exit code 0: it does; 1: not within the time-out; 3: heartbeat does not run.",
		RunE: func(*cobra.Command, []string) error {
			met, ok := conditions[what]
			if !ok {
				return fmt.Errorf("--for %q: active, standby or stable", what)
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return a.wait(ctx, what, met)
		},
	}
	c.Flags().StringVar(&what, "for", "stable", "active, standby or stable")
	c.Flags().Var((*timeFlag)(&timeout), "timeout", "give up after this time, such as 30 (seconds) or 500ms")
	return c
}

// waitPoll is how often the daemon is asked.
const waitPoll = 20 * time.Millisecond

// wait polls until the condition is met. A daemon that has not been there yet may just be starting.
func (a *app) wait(ctx context.Context, what string, met func(*daemon.Status) bool) error {
	var last *daemon.Status
	for {
		s, err := daemon.FetchStatus(ctx, a.dirs.paths())
		switch {
		case err == nil && met(s):
			return nil
		case err == nil:
			last = s
		case errors.Is(err, daemon.ErrNotRunning) && last != nil:
			return &exit{exitNotRunning, fmt.Errorf("%w any more", daemon.ErrNotRunning)}
		}
		select {
		case <-time.After(waitPoll):
			continue
		case <-ctx.Done():
		}
		if last == nil {
			return &exit{exitNotRunning, daemon.ErrNotRunning}
		}
		return &exit{exitFailure, fmt.Errorf("not %s in time: this node is %s, %s is %s", what, last.State, last.Peer.Name, last.Peer.State)}
	}
}
