package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
)

// statusExit is the exit code for each health.
var statusExit = map[daemon.Health]int{daemon.Healthy: 0, daemon.Degraded: 1, daemon.Failed: 2}

func (a *app) statusCommand() *cobra.Command {
	var asJSON, timing bool
	c := &cobra.Command{
		Use: "status", Short: "Show who is active for what, since when and why", Args: cobra.NoArgs,
		Long: "Show this node, the other one, what each holds, each link and the last transitions with their reasons.\n" +
			"With --timing: how regularly the heartbeats come, how late this node itself was, and what deadtime that makes safe.\n" +
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
				err = writeStatus(a.out, screenOf(a.out), s, timing)
			}
			if code := statusExit[s.Health]; err == nil && code != 0 {
				return &exit{code: code}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "for programs (schema 1)")
	c.Flags().BoolVar(&timing, "timing", false, "show also how late heartbeats came on each link, and what deadtime that leaves room for")
	return c
}

// statusText is a status as it is being written.
type statusText struct {
	strings.Builder
	screen
	s *daemon.Status
}

// writeStatus renders a status for a person who was woken by it: the verdict first, then what to do, then the details.
func writeStatus(w io.Writer, on screen, s *daemon.Status, timing bool) error {
	b := &statusText{screen: on, s: s}
	b.verdict()
	if s.Peer.Name != "" {
		text := fmt.Sprintf("peer %s is %s%s, heard %s", s.Peer.Name, b.paint(stateStyle(s.Peer.State), s.Peer.State), s.HoldsPhrase(s.Peer.Name), ago(s.Peer.LastHeardMS))
		if s.Peer.Kind != "" {
			text += " (" + s.Peer.Kind + ")"
		}
		b.line("\n" + text)
	}
	b.files()
	b.fencing()
	b.links()
	if timing {
		b.timing()
	}
	b.groups()
	b.transitions()
	_, err := io.WriteString(w, b.String())
	return err
}

// line writes a line, broken to the width.
func (b *statusText) line(text string) { b.marked("", text) }

// marked writes text behind a mark, broken to the width.
func (b *statusText) marked(mark, text string) {
	for part := range strings.SplitSeq(text, "\n") {
		b.all(b.wrap(mark, part))
	}
}

// all writes lines.
func (b *statusText) all(lines []string) {
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
}

// heading begins a section.
func (b *statusText) heading(text string) { b.WriteString("\n" + b.paint(styleTitle, text) + "\n") }

func (b *statusText) verdict() {
	s := b.s
	style := healthStyles[s.Health]
	b.line(b.paint(styleTitle, s.Node+" is "+s.State+s.HoldsPhrase(s.Node)+":") + " " + b.paint(style, strings.ToUpper(string(s.Health))))
	for _, p := range s.Problems {
		for _, l := range b.wrap("  ! ", p) {
			b.WriteString(b.paint(style, l) + "\n")
		}
	}
}

// files says whether both nodes have the same; what degrades the pair stands among the problems already.
func (b *statusText) files() {
	if b.s.Files == nil {
		return
	}
	switch b.s.Files.State {
	case "equal":
		b.line("files, scripts and program are the same on both nodes")
	case "different":
		for _, d := range b.s.Files.Differences {
			if !slices.Contains(b.s.Problems, daemon.NotTheSame+d) {
				b.line(daemon.NotTheSame + d)
			}
		}
	}
}

// fencing says by what this node would make certain that the other one is off, and whether that works.
func (b *statusText) fencing() {
	f := b.s.Fencing
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
	b.line(fmt.Sprintf("fencing device %s: %s; as the standby this node waits %v before it fences", f.Device, state, time.Duration(f.DelayMS)*time.Millisecond))
	if f.State == "confirmed" {
		b.line(fmt.Sprintf("%s is certainly off: %s", b.s.Peer.Name, f.Reason))
	}
}

func (b *statusText) links() {
	s := b.s
	if len(s.Links)+len(s.Pings) == 0 {
		return
	}
	b.heading("links:")
	var rows []row
	if slices.ContainsFunc(s.Links, func(l daemon.LinkView) bool { return l.Timing != nil }) {
		rows = append(rows, row{cells: []string{"", "", "heard", "lost", "round trip", "jitter", "safe deadtime"}})
	}
	for _, l := range s.Links {
		r := row{cells: []string{l.ID, b.paint(stateStyle(l.State), l.State), ago(l.LastHeardMS), "", "", "", ""}}
		if t := l.Timing; t != nil && l.State == "up" {
			r.cells[3], r.cells[4], r.cells[5], r.cells[6] = percent(t.LossPercent), span(t.RTTMS), span(t.JitterMS), "?"
			if t.SafeMS > 0 {
				r.cells[6] = "from " + span(float64(t.SafeMS))
			}
		}
		if l.State != "up" {
			r.remark = l.Reason
		}
		rows = append(rows, r)
	}
	for _, p := range s.Pings {
		state := "dead"
		if p.Up {
			state = "up"
		}
		rows = append(rows, row{cells: []string{"ping " + p.Name, b.paint(stateStyle(state), state), ago(p.LastHeardMS)}})
	}
	b.all(b.table(rows, 2, 3, 4, 5, 6))
	if text := daemon.DeadtimeAdvice(s); text != "" {
		b.marked("  ", text)
	}
	if s.Reach != nil {
		b.marked("  ", "ipfail: "+comparison(s))
	}
}

// timing shows everything that is known of how punctual both nodes are.
func (b *statusText) timing() {
	s := b.s
	b.heading("timing:")
	b.marked("  ", fmt.Sprintf("keepalive %v, deadtime %v", milli(s.KeepaliveMS), milli(s.DeadtimeMS)))
	rows := []row{{cells: []string{"heartbeats of " + s.Peer.Name, "came", "lost", "99 of 100 late by", "latest by", "longest silence", "round trip", "longest"}}}
	add := func(name string, t *daemon.TimingView) {
		if t == nil {
			rows = append(rows, row{cells: []string{name, "none"}})
			return
		}
		rows = append(rows, row{cells: []string{name, fmt.Sprint(t.Heartbeats), fmt.Sprintf("%d (%s)", t.Lost, percent(t.LossPercent)), span(t.JitterMS), span(t.JitterMaxMS), span(t.SilenceMS),
			span(t.RTTMS), span(t.RTTMaxMS)}})
	}
	for _, l := range s.Links {
		if l.Kind != "mirror" {
			add(l.ID, l.Timing)
		}
	}
	if len(s.Links) > 1 {
		add("on any link", s.Timing)
	}
	if s.Peer.Name != "" {
		b.all(b.table(rows, 5, 2, 1, 3, 7, 6, 4))
	}
	b.marked("  ", fmt.Sprintf("this node itself was late by %s at most", span(float64(s.WorstStall)/1000)))
	b.advice()
}

// advice says what the heartbeats of all runs so far make of the deadtime.
func (b *statusText) advice() {
	a := b.s.Advice
	if a == nil {
		return
	}
	watched := span(float64(a.WatchedMS))
	if a.FailoversYear == nil {
		b.marked("  ", fmt.Sprintf("%s of heartbeats are too little to say how many false failovers a year this deadtime makes: %v and a thousand are needed", watched, daemon.EnoughTiming))
	} else {
		b.marked("  ", fmt.Sprintf("false failovers to be expected in a year with this deadtime: %s; less than one with %v (twice the longest silence at least)",
			daemon.Rate(*a.FailoversYear), milli(a.SafeMS)))
		b.marked("  ", fmt.Sprintf("as far as %s of heartbeats tell, the longest silence %s: a switch that restarts, a machine that is moved, may be rarer", watched, span(a.LongestGapMS)))
	}
	b.marked("  ", fmt.Sprintf("this node's right to answer lapsed %d times", a.Lapses))
	b.steps("silence between two signs of life of "+b.s.Peer.Name, a.Gaps)
	b.steps("lateness of this node", a.Stalls)
}

// steps draws a histogram, a line for each octave that has something.
func (b *statusText) steps(title string, steps []daemon.StepView) {
	if len(steps) == 0 {
		return
	}
	var bounds []float64
	counts := map[float64]uint64{}
	total := uint64(0)
	for _, s := range steps {
		upTo := 1.0
		for upTo < s.UpToMS-0.001 {
			upTo *= 2
		}
		if counts[upTo] == 0 {
			bounds = append(bounds, upTo)
		}
		counts[upTo] += s.Count
		total += s.Count
	}
	b.marked("  ", title+":")
	for _, upTo := range bounds {
		b.marked("  ", fmt.Sprintf("  up to %6g ms  %9d  %8.4f %%", upTo, counts[upTo], 100*float64(counts[upTo])/float64(total)))
	}
}

// percent renders a share of lost frames.
func percent(p float64) string {
	switch {
	case p == 0:
		return "0 %"
	case p < 0.01:
		return "<0.01 %"
	case p < 1:
		return fmt.Sprintf("%.2f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

// span renders milliseconds; negative ones are not known.
func span(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case ms < 0:
		return "?"
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// milli is so many milliseconds.
func milli(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

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

func (b *statusText) groups() {
	s := b.s
	if len(s.Groups) == 0 {
		return
	}
	b.heading("resource groups:")
	var rows []row
	for _, g := range s.Groups {
		where := b.paint(styleBad, "on nobody")
		switch {
		case g.Double:
			where = b.paint(styleBad, "on BOTH")
		case g.Owner != "":
			where = "on " + b.paint(styleGood, g.Owner)
		}
		state := g.State
		if state == "idle" || state == "held" {
			state = ""
		}
		rows = append(rows, row{cells: []string{g.Name, where, b.paint(stateStyle(state), state), "since " + clock(g.Since)}, remark: g.Reason})
		for _, r := range g.Resources {
			if g.Owner != s.Node && r.Error == "" && g.State == "idle" {
				continue // it is at rest here, as it should be
			}
			rows = append(rows, row{cells: []string{"  " + r.Spec, b.paint(stateStyle(r.State), r.State)}, remark: r.Error})
		}
	}
	b.all(b.table(rows, 3))
}

// shownTransitions is how many of the last transitions a person wants to see at once.
const shownTransitions = 8

func (b *statusText) transitions() {
	last := b.s.Transitions
	if len(last) > shownTransitions {
		last = last[len(last)-shownTransitions:]
	}
	if len(last) == 0 {
		return
	}
	b.heading("last transitions:")
	for _, t := range last {
		text := t.What
		if t.Reason != "" {
			text += " (" + t.Reason + ")"
		}
		b.marked("  "+clock(t.Time)+"  ", text)
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
