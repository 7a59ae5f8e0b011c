package rehearsal

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// printer writes a report for people.
type printer struct {
	out     io.Writer
	verbose bool // every line of the logs
	brief   bool // one line for each performance that passed
	colour  bool // the output is a terminal
}

// started says what is about to be played.
func (p *printer) started(name string, impls [2]string, repetition int) {
	if repetition > 0 || p.brief {
		return
	}
	for _, s := range scenarios() {
		if s.name == name {
			fmt.Fprintf(p.out, "\n== %s: %s%s\n", s.name, s.about, pairWords(impls))
		}
	}
}

// pairWords says what the nodes run, where that is not hapair on both.
func pairWords(impls [2]string) string {
	if impls == [2]string{Hapair, Hapair} {
		return ""
	}
	return fmt.Sprintf(" [%s and %s]", impls[0], impls[1])
}

// ended prints the time line and the figures of one performance.
func (p *printer) ended(r Run) {
	if p.brief {
		fmt.Fprintf(p.out, "%-6s %-18s %-9s %-9s %s\n", verdict(r.Passed), rowName(r.Scenario, r.Wiring), r.Implementations[0], r.Implementations[1], briefly(r))
		if r.Passed {
			return
		}
	}
	fmt.Fprintln(p.out)
	p.timeline(r)
	fmt.Fprintln(p.out)
	for _, phase := range r.Phases {
		p.phase(phase)
		p.strips(phase, r.Nodes)
	}
	if r.Failure != "" {
		fmt.Fprintf(p.out, "  could not go on: %s\n", r.Failure)
	}
	if !r.Realtime {
		fmt.Fprintln(p.out, "  (without root the prober has no real-time priority: its own stalls are taken off the outage)")
	}
}

// judged is the verdict in eight columns and in colour.
func (p *printer) judged(passed bool) string {
	return p.in(map[bool]string{true: green, false: red}[passed], fmt.Sprintf("%-8s", verdict(passed)))
}

func verdict(passed bool) string {
	if passed {
		return "ok"
	}
	return "FAILED"
}

// briefly is a performance in a few figures: the outage of each phase, and the time in which both answered where there was any.
func briefly(r Run) string {
	var words []string
	for _, f := range r.Phases {
		text := fmt.Sprintf("%s %.1f ms", f.Name, f.OutageMS)
		if f.Name == "start" || f.Name == "start alone" {
			text = fmt.Sprintf("%s after %.0f ms", f.Name, f.ServesMS)
		}
		if f.GivenMS+f.TakenMS > 0 {
			text += fmt.Sprintf(" (given in %.1f, taken in %.1f)", f.GivenMS, f.TakenMS)
		}
		if f.DualMS > 0 {
			text += fmt.Sprintf(" (both %.0f ms)", f.DualMS)
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}

// strips draws who answered when, where that is not the same node all the time.
func (p *printer) strips(f Phase, nodes [2]string) {
	for _, s := range f.Strips {
		if s.telling() && f.Name != "start" {
			fmt.Fprintf(p.out, "  %15s  %s  1 %s, 2 %s, x both, . nobody; %s each\n", s.Address, p.paint(s.Columns), nodes[0], nodes[1],
				time.Duration(s.ColumnMS*float64(time.Millisecond)).Round(100*time.Microsecond))
		}
	}
}

// paint colours a strip: green where one node answers, red where none or both do.
func (p *printer) paint(columns string) string {
	if !p.colour {
		return columns
	}
	var b strings.Builder
	for len(columns) > 0 {
		rest := strings.TrimLeft(columns, columns[:1])
		b.WriteString(p.in(map[byte]string{'1': green, '2': cyan}[columns[0]], columns[:len(columns)-len(rest)]))
		columns = rest
	}
	return b.String()
}

// The colours of the time line; red is for what hurts.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	bold   = "1"
)

// in writes text in a colour, red where none is given, if the output is a terminal.
func (p *printer) in(colour, text string) string {
	if !p.colour {
		return text
	}
	if colour == "" {
		colour = red
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// phase prints the figures of one phase.
func (p *printer) phase(f Phase) {
	figures := []string{fmt.Sprintf("nobody answered for %.1f ms%s", f.OutageMS, limitWords(f.OutageLimitMS)),
		fmt.Sprintf("both answered for %.0f ms", f.DualMS)}
	if f.GivenMS+f.TakenMS > 0 {
		figures = append(figures, fmt.Sprintf("given in %.1f ms and taken in %.1f ms", f.GivenMS, f.TakenMS))
	}
	if f.ThroughMS > 0 {
		figures = append(figures, fmt.Sprintf("nothing passed through for %.1f ms", f.ThroughMS))
	}
	if f.ServesMS > 0 {
		figures = append(figures, fmt.Sprintf("all in place after %.1f ms%s", f.ServesMS, limitWords(f.ServesLimitMS)))
	}
	fmt.Fprintf(p.out, "  %s %-14s %s\n", p.judged(len(f.Failures) == 0), f.Name, strings.Join(figures, ", "))
	for _, c := range f.Costs {
		fmt.Fprintf(p.out, "  %-8s %-14s %s used %.2f %% of one core, %.1f MB in %d processes, and sent %.1f frames a second\n", "", "", c.Node, c.CPUPercent, c.ResidentMB, c.Processes, c.FramesSent)
	}
	for _, failure := range f.Failures {
		fmt.Fprintf(p.out, "  %-8s %-14s - %s\n", "", "", failure)
	}
}

func limitWords(ms float64) string {
	if ms == 0 {
		return ""
	}
	return fmt.Sprintf(" (at most %.0f)", ms)
}

// timeline prints the events of one performance: what was done, what the nodes logged, what the clients saw.
func (p *printer) timeline(r Run) {
	width := len("rehearsal")
	for _, n := range r.Nodes {
		width = max(width, utf8.RuneCountInString(n))
	}
	for _, e := range r.Events {
		text := e.Text
		if e.Kind == KindLog {
			var show bool
			if text, show = shortLog(text); !show && !p.verbose {
				continue
			}
			if p.verbose {
				text = e.Text
			}
		}
		marker := map[Kind]string{KindAction: ">>", KindLog: "  ", KindClient: "**", KindNotice: "!!"}[e.Kind]
		line := fmt.Sprintf("%-*s %s %s", width, e.Source, marker, clip(text, 150))
		fmt.Fprintf(p.out, "  %+9.3f s  %s\n", e.Time, p.dress(e, line))
	}
}

// dress colours a line of the time line by what it is about.
func (p *printer) dress(e Event, line string) string {
	switch {
	case e.Kind == KindAction:
		return p.in(bold, line)
	case strings.Contains(line, "BOTH") || strings.Contains(line, "stops answering") || strings.Contains(line, "nothing passes"):
		return p.in(red, line)
	case e.Kind == KindClient:
		return p.in(cyan, line)
	case strings.Contains(line, "WARN:") || strings.Contains(line, "ERROR:") || strings.Contains(line, "CRIT:"):
		return p.in(yellow, line)
	}
	return line
}

// clip shortens a line.
func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// report prints what concerns the whole rehearsal.
func (p *printer) report(r Report) {
	fmt.Fprintln(p.out)
	p.summaries(r)
	p.matrix(r)
	for _, s := range r.Skipped {
		fmt.Fprintf(p.out, "NOT REHEARSED: %s%s: %s\n", s.Scenario, pairWords(s.Implementations), s.Reason)
	}
	for _, n := range r.Notices {
		fmt.Fprintf(p.out, "note: %s\n", n)
	}
	failed := 0
	for _, run := range r.Runs {
		if !run.Passed {
			failed++
		}
	}
	switch {
	case len(r.Runs) == 0:
		fmt.Fprintln(p.out, "NOTHING REHEARSED")
	case failed > 0:
		fmt.Fprintf(p.out, "FAILED: %d of %d\n", failed, len(r.Runs))
	case !r.Passed:
		fmt.Fprintln(p.out, "FAILED: a median is above its limit")
	default:
		fmt.Fprintf(p.out, "PASSED: %d of %d\n", len(r.Runs), len(r.Runs))
	}
}

// summaries prints a table of what was performed more than once.
func (p *printer) summaries(r Report) {
	header := false
	for _, s := range r.Summaries {
		if s.Runs < 2 {
			continue
		}
		if !header {
			fmt.Fprintf(p.out, "%-18s %-14s %4s  %-30s %-24s\n", "scenario", "phase", "runs", "outage ms: median (min–max)", "both answered ms")
			header = true
		}
		limit := ""
		if s.MedianLimitMS > 0 {
			limit = fmt.Sprintf(" median ≤ %.0f", s.MedianLimitMS)
		}
		if s.TakenMS.Max > 0 {
			limit += fmt.Sprintf(", taken in %s", s.TakenMS)
		}
		fmt.Fprintf(p.out, "%-18s %-14s %4d  %-30s %-24s %s%s\n", s.Scenario, s.Phase, s.Runs, s.OutageMS, s.DualMS, verdict(s.Passed), limit)
	}
}

// String renders `median (min–max)`.
func (s Spread) String() string { return fmt.Sprintf("%.1f (%.1f–%.1f)", s.Median, s.Min, s.Max) }

// rowName names what was rehearsed: the scenario, and the way of the heartbeats where that is not the files'.
func rowName(scenario, wiring string) string {
	if wiring == "" {
		return scenario
	}
	return scenario + " " + wiring
}

// matrix prints, where several pairs were rehearsed, which scenario passed with which.
func (p *printer) matrix(r Report) {
	var rows []string
	var columns [][2]string
	cells := map[string]string{}
	mark := func(scenario string, impls [2]string, text string) {
		if !slices.Contains(rows, scenario) {
			rows = append(rows, scenario)
		}
		if !slices.Contains(columns, impls) {
			columns = append(columns, impls)
		}
		if key := fmt.Sprint(scenario, impls); cells[key] != "FAILED" {
			cells[key] = text
		}
	}
	for _, run := range r.Runs {
		mark(rowName(run.Scenario, run.Wiring), run.Implementations, verdict(run.Passed))
	}
	for _, s := range r.Skipped {
		mark(rowName(s.Scenario, s.Wiring), s.Implementations, "-")
	}
	if len(columns) < 2 {
		return
	}
	width := 18
	for _, row := range rows {
		width = max(width, len(row))
	}
	fmt.Fprintf(p.out, "%-*s", width, "")
	for _, c := range columns {
		fmt.Fprintf(p.out, " %-19s", c[0]+"+"+c[1])
	}
	fmt.Fprintln(p.out)
	for _, row := range rows {
		fmt.Fprintf(p.out, "%-*s", width, row)
		for _, c := range columns {
			fmt.Fprintf(p.out, " %-19s", cells[fmt.Sprint(row, c)])
		}
		fmt.Fprintln(p.out)
	}
	fmt.Fprintln(p.out)
}
