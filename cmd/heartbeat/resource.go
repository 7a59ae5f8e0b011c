package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hapair/haresources"
	"hapair/heartbeat/daemon"
)

// handPatience is how long a start or stop by hand may take.
const handPatience = 10 * time.Minute

// resourceCommand is everything about single resources.
func (a *app) resourceCommand() *cobra.Command {
	c := &cobra.Command{Use: "resource", Short: "Start, stop and examine single resources by hand",
		Long: "Start, stop and examine single resources by hand. SPEC is the word as it stands in haresources, or the name of the script where only\n" +
			"one resource has it. The running daemon does it, so that it does not take the change for a failure; without one it is done here."}
	var force bool
	start := a.operation("start", "Start one resource of a group that this node holds", haresources.OpStart, &force)
	start.Flags().BoolVar(&force, "force", false, "even where this node does not hold the group: be certain that the other one does not run it")
	c.AddCommand(start,
		a.operation("stop", "Stop one resource; it is not restarted until it is started by hand or its group moves", haresources.OpStop, nil),
		a.operation("monitor", "Examine one resource now", haresources.OpMonitor, nil),
		a.resourceStatusCommand(), a.cleanupCommand())
	return c
}

// operation is one sub-command that does something to one resource.
func (a *app) operation(name, short string, op haresources.Operation, force *bool) *cobra.Command {
	return &cobra.Command{
		Use: name + " SPEC", Short: short, Args: cobra.ExactArgs(1),
		Long: short + ".\nExit code 0: it runs afterwards (stop: it does not); 1: otherwise.",
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.byHand(args[0], op, force != nil && *force)
			if err != nil {
				return err
			}
			return a.showResource(s, op != haresources.OpStop)
		},
	}
}

// showResource prints one resource, and fails where it is not in the wanted state.
func (a *app) showResource(s haresources.ResourceStatus, running bool) error {
	line := fmt.Sprintf("%s: %s", s.Spec, s.State)
	if !s.Since.IsZero() {
		line += " since " + s.Since.Format(time.DateTime)
	}
	if s.Doing != "" {
		line += fmt.Sprintf(", %s since %s", s.Doing, s.DoingSince.Format(time.DateTime))
	}
	if s.LastError != "" {
		line += " (" + s.LastError + ")"
	}
	fmt.Fprintln(a.out, line)
	if (s.State == haresources.Running) != running {
		return &exit{code: exitFailure}
	}
	return nil
}

// byHand has the daemon do it, or does it here where none runs.
func (a *app) byHand(spec string, op haresources.Operation, force bool) (haresources.ResourceStatus, error) {
	ctx, cancel := context.WithTimeout(context.Background(), handPatience)
	defer cancel()
	c, err := daemon.Dial(ctx, a.dirs.paths())
	if errors.Is(err, daemon.ErrNotRunning) {
		return a.withoutDaemon(ctx, spec, op)
	}
	if err != nil {
		return haresources.ResourceStatus{}, callError(err)
	}
	defer c.Close()
	r := daemon.Request{Command: daemon.CommandResource, Name: spec, Which: string(op)}
	if force {
		r.Level = 1
	}
	reply, err := c.Call(ctx, r)
	if err != nil {
		return haresources.ResourceStatus{}, callError(err)
	}
	if reply.Resource == nil {
		return haresources.ResourceStatus{}, &exit{exitFailure, errors.New("the daemon is older than this command")}
	}
	return *reply.Resource, nil
}

// withoutDaemon does it in this process.
func (a *app) withoutDaemon(ctx context.Context, spec string, op haresources.Operation) (haresources.ResourceStatus, error) {
	none := haresources.ResourceStatus{}
	c, faults := daemon.LoadConfig(a.dirs.paths())
	if err := faults.Err(); err != nil {
		return none, &exit{exitFailure, err}
	}
	m, end, err := daemon.OpenResources(a.dirs.paths(), c.Table, func(line string) { fmt.Fprintln(a.err, line) })
	if err != nil {
		return none, &exit{exitFailure, err}
	}
	defer end()
	s, err := m.ByHand(ctx, spec, op, true)
	if err != nil {
		return none, &exit{exitFailure, err}
	}
	return s, nil
}

func (a *app) resourceStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status [SPEC]", Short: "Say what is known of one resource, or of all", Args: cobra.MaximumNArgs(1),
		Long: "Say what the running daemon knows of one resource, or of all; nothing is examined (see monitor). Without a daemon it is examined.\n" +
			"Exit code 0: it runs; 1: it does not; 3: heartbeat does not run.",
		RunE: func(_ *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			s, err := daemon.FetchStatus(ctx, a.dirs.paths())
			if errors.Is(err, daemon.ErrNotRunning) && len(args) == 1 {
				r, err := a.withoutDaemon(context.Background(), args[0], haresources.OpMonitor)
				if err != nil {
					return err
				}
				return a.showResource(r, true)
			}
			if err != nil {
				return callError(err)
			}
			return a.showResources(s, args)
		},
	}
}

// showResources prints what the daemon knows.
func (a *app) showResources(s *daemon.Status, only []string) error {
	found, running, spec := false, false, ""
	if len(only) == 1 {
		var err error
		if spec, err = meant(s, only[0]); err != nil {
			return &exit{exitFailure, err}
		}
	}
	for _, g := range s.Groups {
		for _, r := range g.Resources {
			if len(only) == 1 && r.Spec != spec {
				continue
			}
			found, running = true, r.State == "running"
			line := fmt.Sprintf("%s: %s", r.Spec, r.State)
			if r.Since != "" {
				line += " since " + r.Since
			}
			if r.Error != "" {
				line += " (" + r.Error + ")"
			}
			if r.Doing != "" {
				line += fmt.Sprintf(", %s since %s", r.Doing, r.DoingSince)
				if r.LastOutput != "" {
					line += ", its last output: " + r.LastOutput
				}
			}
			fmt.Fprintln(a.out, line)
		}
	}
	switch {
	case len(only) == 1 && !(found && running):
		return &exit{code: exitFailure}
	}
	return nil
}

// meant finds the resource that a person means: by the word on its line, or by the name of its script where only one has it.
func meant(s *daemon.Status, word string) (string, error) {
	var named []string
	for _, g := range s.Groups {
		for _, r := range g.Resources {
			if r.Spec == word {
				return word, nil
			}
			name, _, _ := strings.Cut(r.Spec, "::")
			if strings.EqualFold(name, word) || strings.EqualFold(name[strings.LastIndex(name, ":")+1:], word) {
				named = append(named, r.Spec)
			}
		}
	}
	switch len(named) {
	case 0:
		return "", fmt.Errorf("no resource %q in haresources", word)
	case 1:
		return named[0], nil
	}
	return "", fmt.Errorf("%q is the name of %d resources: give it as it stands in haresources, for instance %s", word, len(named), named[0])
}

func (a *app) cleanupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cleanup SPEC", Short: "Forget that a group failed here, and let it be tried again", Args: cobra.ExactArgs(1),
		Long: "Forget that a group failed here, and let it be tried again; what could not be stopped is stopped again. SPEC is the name of the group, or\n" +
			"one of its resources.",
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := a.call(daemon.Request{Command: daemon.CommandCleanup, Group: args[0]}); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s may be tried on this node again.\n", args[0])
			return nil
		},
	}
}
