package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"hapair/haresources"
	"hapair/heartbeat/daemon"
)

// historyCommand shows the journal.
func (a *app) historyCommand() *cobra.Command {
	var asJSON bool
	var since string
	var count int
	c := &cobra.Command{
		Use: "history", Short: "Show past transitions with their reasons", Args: cobra.NoArgs,
		Long: "Show what happened on this node, oldest first, from the journal: it is there also while heartbeat does not run, and after a reboot.\n" +
			"Exit code 0, or 1 when the journal cannot be read.",
		RunE: func(*cobra.Command, []string) error {
			journal, err := daemon.ReadJournal(a.dirs.paths().Journal())
			if err != nil {
				return &exit{code: 1, cause: err}
			}
			if since != "" {
				d, err := haresources.ParseDuration(since)
				if err != nil || d <= 0 {
					return fmt.Errorf("--since %q is no time, such as 90m or 12h", since)
				}
				begin := time.Now().Add(-d)
				for len(journal) > 0 && journal[0].Time.Before(begin) {
					journal = journal[1:]
				}
			}
			if count > 0 && len(journal) > count {
				journal = journal[len(journal)-count:]
			}
			return a.writeJournal(journal, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line, as the journal has them")
	c.Flags().StringVar(&since, "since", "", "only what is not older than this, such as 90m or 12h")
	c.Flags().IntVarP(&count, "lines", "n", 50, "at most so many of the last; 0 for all")
	return c
}

func (a *app) writeJournal(journal []daemon.JournalEntry, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		for _, entry := range journal {
			if err := e.Encode(entry); err != nil {
				return err
			}
		}
		return nil
	}
	on, day := screenOf(a.out), ""
	for _, e := range journal {
		if d := e.Time.Local().Format("2006-01-02"); d != day {
			day = d
			fmt.Fprintln(a.out, on.paint(styleTitle, day))
		}
		a.entry(on, e)
	}
	if len(journal) == 0 {
		fmt.Fprintln(a.out, "Nothing is on record.")
	}
	return nil
}

// entry writes one entry for a person: what happened, and behind it, or below where that is too long, why.
func (a *app) entry(on screen, e daemon.JournalEntry) {
	what, style := e.What, lipgloss.NewStyle()
	if e.Resource != "" {
		what = e.Resource + " " + e.Operation + ": " + what
	}
	switch e.Level {
	case "CRIT", "ERROR":
		what, style = e.Level+": "+what, styleBad
	case "WARN":
		what, style = e.Level+": "+what, styleDoubt
	}
	mark := "  " + e.Time.Local().Format("15:04:05.000") + "  "
	text := what
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	for i, l := range on.wrap(mark, text) {
		if head, found := strings.CutPrefix(l, mark); found && i == 0 {
			l = mark + on.paint(style, head)
		}
		fmt.Fprintln(a.out, l)
	}
}

// whyCommand explains where the groups are.
func (a *app) whyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "why [GROUP]", Short: "Explain why a resource group is where it is", Args: cobra.MaximumNArgs(1),
		Long: "Show what led to the last change of each resource group on this node, or of one: what was heard and what was not, what was asked for,\n" +
			"what ran and how long it took. A group is named by its first resource. It reads the journal, so heartbeat need not run.\n" +
			"Exit code 0; 1 when nothing is known of the group.",
		RunE: func(_ *cobra.Command, args []string) error {
			p := a.dirs.paths()
			journal, err := daemon.ReadJournal(p.Journal())
			if err != nil {
				return &exit{code: 1, cause: err}
			}
			names := args
			if len(names) == 0 {
				if names, err = groupNames(p, journal); err != nil {
					return &exit{code: 1, cause: err}
				}
			}
			return a.explain(journal, names, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "for programs")
	return c
}

// groupNames are those of the groups that this node has: as the daemon says, else as the files say, else, where these hold errors, as far as the
// journal knows any.
func groupNames(p daemon.Paths, journal []daemon.JournalEntry) (names []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s, err := daemon.FetchStatus(ctx, p); err == nil {
		for _, g := range s.Groups {
			names = append(names, g.Name)
		}
		return names, nil
	}
	config, faults := daemon.LoadConfig(p)
	if err := faults.Err(); err != nil {
		if names = daemon.GroupsOf(journal); len(names) > 0 {
			return names, nil
		}
		return nil, fmt.Errorf("%w (name the group: heartbeat why GROUP)", err)
	}
	for _, g := range config.Table.Groups {
		names = append(names, g.Name)
	}
	return names, nil
}

func (a *app) explain(journal []daemon.JournalEntry, names []string, asJSON bool) error {
	var chains []daemon.Chain
	var unknown []error
	for _, name := range names {
		c, ok := daemon.Explain(journal, name)
		if !ok {
			unknown = append(unknown, fmt.Errorf("the journal of this node tells of no change of %q; the other node's may: heartbeat why there", name))
			continue
		}
		chains = append(chains, c)
	}
	if asJSON {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(chains); err != nil {
			return err
		}
		return knownOr(unknown)
	}
	on := screenOf(a.out)
	for i, c := range chains {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		last := c.Steps[len(c.Steps)-1]
		for _, l := range on.wrap("", fmt.Sprintf("%s: %s, %s", c.Group, last.What, last.Time.Local().Format("2006-01-02 15:04:05"))) {
			fmt.Fprintln(a.out, on.paint(styleTitle, l))
		}
		for _, e := range c.Steps {
			a.entry(on, e)
		}
	}
	return knownOr(unknown)
}

// knownOr is nil, or what is not known, with its exit code.
func knownOr(unknown []error) error {
	if len(unknown) == 0 {
		return nil
	}
	return &exit{code: 1, cause: errors.Join(unknown...)}
}
