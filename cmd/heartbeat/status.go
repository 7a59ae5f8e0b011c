package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
)

// statusExit is the exit code for each health.
var statusExit = map[daemon.Health]int{daemon.Healthy: 0, daemon.Degraded: 1, daemon.Failed: 2}

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Show who is active for what, since when and why", Args: cobra.NoArgs,
		Long: "Show this node, the other one, what each holds, each link and the last transitions with their reasons.\n" +
			"Exit code 0: healthy; 1: degraded; 2: something is served by nobody or by both; 3: heartbeat does not run.",
		RunE: func(*cobra.Command, []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			s, err := daemon.FetchStatus(ctx, a.dirs.paths())
			if errors.Is(err, daemon.ErrNotRunning) && asJSON {
				fmt.Fprintf(a.out, "{\"schema\":%d,\"error\":\"heartbeat is not running\"}\n", daemon.StatusSchema)
			}
			if err != nil {
				return callError(err)
			}
			if asJSON {
				e := json.NewEncoder(a.out)
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				err = e.Encode(s)
			} else {
				err = writeStatus(a.out, s)
			}
			if code := statusExit[s.Health]; err == nil && code != 0 {
				return &exit{code: code}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "for programs (schema 1)")
	return c
}

// writeStatus renders a status for a person who was woken by it: the verdict first, then what to do, then the details.
func writeStatus(w io.Writer, s *daemon.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s", s.Node, s.State)
	if len(s.Holds) > 0 {
		fmt.Fprintf(&b, " and holds %s", strings.Join(s.Holds, " and "))
	}
	fmt.Fprintf(&b, ": %s\n", strings.ToUpper(string(s.Health)))
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "  ! %s\n", p)
	}
	if s.Peer.Name != "" {
		fmt.Fprintf(&b, "\npeer %s is %s", s.Peer.Name, s.Peer.State)
		if len(s.Peer.Holds) > 0 {
			fmt.Fprintf(&b, " and holds %s", strings.Join(s.Peer.Holds, " and "))
		}
		fmt.Fprintf(&b, ", heard %s", ago(s.Peer.LastHeardMS))
		if s.Peer.Kind != "" {
			fmt.Fprintf(&b, " (%s)", s.Peer.Kind)
		}
		b.WriteString("\n")
	}
	writeFiles(&b, s)
	writeFencing(&b, s)
	writeLinks(&b, s)
	writeGroups(&b, s)
	writeTransitions(&b, s)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeFiles says whether both nodes have the same; what degrades the pair stands among the problems already.
func writeFiles(b *strings.Builder, s *daemon.Status) {
	if s.Files == nil {
		return
	}
	switch s.Files.State {
	case "equal":
		b.WriteString("files, scripts and program are the same on both nodes\n")
	case "different":
		for _, d := range s.Files.Differences {
			if !slices.Contains(s.Problems, daemon.NotTheSame+d) {
				fmt.Fprintf(b, "%s%s\n", daemon.NotTheSame, d)
			}
		}
	}
}

// writeFencing says by what this node would make certain that the other one is off, and whether that works.
func writeFencing(b *strings.Builder, s *daemon.Status) {
	f := s.Fencing
	if f == nil {
		return
	}
	state := "not checked yet"
	switch {
	case f.CheckError != "":
		state = "NOT WORKING at " + clock(f.Checked)
	case f.Checked != "":
		state = fmt.Sprintf("worked at %s, it answered in %v", clock(f.Checked), time.Duration(f.CheckMS)*time.Millisecond)
	}
	fmt.Fprintf(b, "fencing device %s: %s; as the standby this node waits %v before it fences\n", f.Device, state, time.Duration(f.DelayMS)*time.Millisecond)
	if f.State == "confirmed" {
		fmt.Fprintf(b, "%s is certainly off: %s\n", s.Peer.Name, f.Reason)
	}
}

func writeLinks(b *strings.Builder, s *daemon.Status) {
	if len(s.Links)+len(s.Pings) == 0 {
		return
	}
	b.WriteString("\nlinks:\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, l := range s.Links {
		fmt.Fprintf(t, "  %s\t%s\tlast frame %s", l.ID, l.State, ago(l.LastHeardMS))
		if l.Reason != "" && l.State != "up" {
			fmt.Fprintf(t, "\t%s", l.Reason)
		}
		fmt.Fprintln(t)
	}
	for _, p := range s.Pings {
		state := "dead"
		if p.Up {
			state = "up"
		}
		fmt.Fprintf(t, "  ping %s\t%s\tlast reply %s\n", p.Name, state, ago(p.LastHeardMS))
	}
	t.Flush()
	if s.Reach != nil {
		fmt.Fprintf(b, "  ipfail: %s\n", comparison(s))
	}
}

// comparison words what ipfail makes of the ping nodes that each node reaches.
func comparison(s *daemon.Status) string {
	here, peer := s.Reach.Here, s.Reach.Peer
	if peer < 0 {
		return fmt.Sprintf("%d of %d reached here; %s does not say, so nothing is compared", here, len(s.Pings), s.Peer.Name)
	}
	text := fmt.Sprintf("%d of %d reached here, %d from %s: ", here, len(s.Pings), peer, s.Peer.Name)
	switch {
	case here < peer:
		return text + s.Peer.Name + " is to serve"
	case here > peer:
		return text + s.Node + " is to serve"
	}
	return text + "a tie, nothing moves"
}

func writeGroups(b *strings.Builder, s *daemon.Status) {
	if len(s.Groups) == 0 {
		return
	}
	b.WriteString("\nresource groups:\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, g := range s.Groups {
		where := "on nobody"
		if g.Owner != "" {
			where = "on " + g.Owner
		}
		if g.Double {
			where = "on BOTH"
		}
		state := g.State
		if state == "idle" || state == "held" {
			state = ""
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\tsince %s\t%s\n", g.Name, where, state, clock(g.Since), g.Reason)
		for _, r := range g.Resources {
			if g.Owner != s.Node && r.Error == "" && g.State == "idle" {
				continue // it is at rest here, as it should be
			}
			fmt.Fprintf(t, "    %s\t%s\t\t%s\t\n", r.Spec, r.State, r.Error)
		}
	}
	t.Flush()
}

// shownTransitions is how many of the last transitions a person wants to see at once.
const shownTransitions = 8

func writeTransitions(b *strings.Builder, s *daemon.Status) {
	last := s.Transitions
	if len(last) > shownTransitions {
		last = last[len(last)-shownTransitions:]
	}
	if len(last) == 0 {
		return
	}
	b.WriteString("\nlast transitions:\n")
	for _, t := range last {
		fmt.Fprintf(b, "  %s  %s", clock(t.Time), t.What)
		if t.Reason != "" {
			fmt.Fprintf(b, " (%s)", t.Reason)
		}
		b.WriteString("\n")
	}
}

// ago renders an age.
func ago(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case ms < 0:
		return "never"
	case d < 10*time.Second:
		return d.String() + " ago"
	case d < 2*time.Hour:
		return d.Round(time.Second).String() + " ago"
	}
	return d.Round(time.Minute).String() + " ago"
}

// clock renders a time of the JSON form: of today without the date.
func clock(stamp string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return stamp
	}
	if now := time.Now().In(t.Location()); now.YearDay() == t.YearDay() && now.Year() == t.Year() {
		return t.Format("15:04:05.000")
	}
	return t.Format("2006-01-02 15:04:05")
}
