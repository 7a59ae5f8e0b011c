package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/fault"
)

// doctorPatience is how long both nodes may take to examine themselves.
const doctorPatience = 40 * time.Second

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "doctor", Short: "Find out, on both nodes, what would spoil a takeover, without moving anything", Args: cobra.NoArgs,
		Long: "Have the running daemons of both nodes examine what a takeover needs: each link in both directions and with small and large frames, keys,\n" +
			"firewalls, clocks, the interface of each address, who answers for it, scripts and files on both nodes, ping nodes, gateway, mirrors, lease,\n" +
			"privileges, disks, DRBD, the fencing device. Nothing is moved, started or stopped. Each finding is told with how it was seen and what to do.\n" +
			"Exit code 0: nothing found; 1: warnings only; 2: errors; 3: heartbeat does not run here.",
		RunE: func(*cobra.Command, []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), doctorPatience)
			defer cancel()
			client, err := daemon.Dial(ctx, a.dirs.paths())
			if errors.Is(err, daemon.ErrNotRunning) {
				return a.doctorWithout(asJSON, err)
			}
			if err != nil {
				return callError(err)
			}
			defer client.Close()
			reply, err := client.Call(ctx, daemon.Request{Command: daemon.CommandDoctor})
			if err != nil {
				return callError(err)
			}
			x := reply.Examination
			if asJSON {
				e := json.NewEncoder(a.out)
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				err = e.Encode(x)
			} else {
				err = writeExamination(a.out, x)
			}
			if code := x.ExitCode(); err == nil && code != exitOK {
				return &exit{code: code}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "for programs (schema 1)")
	return c
}

// doctorWithout says what can be said where no daemon runs: what keeps it from starting.
func (a *app) doctorWithout(asJSON bool, cause error) error {
	report := daemon.Check(a.dirs.paths(), true)
	write := report.WriteText
	if asJSON {
		write = report.WriteJSON
	}
	if err := write(a.out); err != nil {
		return err
	}
	return &exit{exitNotRunning, fmt.Errorf("%w: only its files were examined; start it, and ask again", cause)}
}

// writeExamination renders findings for a person: what, how it was seen, what to do.
func writeExamination(w io.Writer, x *daemon.Examination) error {
	var b strings.Builder
	on := screenOf(w)
	tell := func(mark, text string) {
		for _, l := range on.wrap(mark, text) {
			b.WriteString(l + "\n")
		}
	}
	who := x.Node + " and " + x.Peer
	if !x.Both {
		who = x.Node + " alone"
	}
	switch len(x.Findings) {
	case 0:
		fmt.Fprintf(&b, "%s: nothing stands in the way of a takeover\n", who)
	case 1:
		fmt.Fprintf(&b, "%s: 1 finding\n", who)
	default:
		fmt.Fprintf(&b, "%s: %d findings\n", who, len(x.Findings))
	}
	if !x.Both {
		tell("", "the other node was not examined: "+x.Why)
	}
	for _, f := range x.Findings {
		b.WriteString("\n")
		for _, l := range on.wrap("", fmt.Sprintf("%s on %s: %s", mark(f.Severity), f.Node, f.What)) {
			b.WriteString(on.paint(severityStyle(f.Severity), l) + "\n")
		}
		if f.Evidence != "" {
			tell("  seen:   ", f.Evidence)
		}
		if f.Remedy != "" {
			tell("  remedy: ", f.Remedy)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mark is how a severity begins a finding.
func mark(s fault.Severity) string { return strings.ToUpper(s.String()) }

// severityStyle is the colour of a finding.
func severityStyle(s fault.Severity) lipgloss.Style {
	switch s {
	case fault.Error:
		return styleBad
	case fault.Warning:
		return styleDoubt
	}
	return styleTitle
}
