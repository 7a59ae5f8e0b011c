package rehearsal

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// printer writes a report for people.
type printer struct {
	out     io.Writer
	verbose bool
}

// started says what is about to be played.
func (p *printer) started(name string, impls [2]string, repetition int) {
	if repetition > 0 {
		return
	}
	for _, s := range Scenarios() {
		if s.Name == name {
			fmt.Fprintf(p.out, "\n== %s: %s%s\n", s.Name, s.About, pairWords(impls))
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
	fmt.Fprintln(p.out)
	p.timeline(r)
	fmt.Fprintln(p.out)
	for _, phase := range r.Phases {
		p.phase(phase)
	}
	if r.Failure != "" {
		fmt.Fprintf(p.out, "  could not go on: %s\n", r.Failure)
	}
	if !r.Realtime {
		fmt.Fprintln(p.out, "  (without root the prober has no real-time priority: its own stalls are taken off the outage)")
	}
}

// phase prints the figures of one phase.
func (p *printer) phase(f Phase) {
	verdict := "ok"
	if len(f.Failures) > 0 {
		verdict = "FAILED"
	}
	figures := []string{fmt.Sprintf("nobody answered for %.1f ms%s", f.OutageMS, limitWords(f.OutageLimitMS)),
		fmt.Sprintf("both answered for %.0f ms", f.DualMS)}
	if f.ServesMS > 0 {
		figures = append(figures, fmt.Sprintf("all in place after %.1f ms%s", f.ServesMS, limitWords(f.ServesLimitMS)))
	}
	fmt.Fprintf(p.out, "  %-8s %-14s %s\n", verdict, f.Name, strings.Join(figures, ", "))
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
		fmt.Fprintf(p.out, "  %+9.3f s  %-*s %s %s\n", e.Time, width, e.Source, marker, clip(text, 160))
	}
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
		verdict := "ok"
		if !s.Passed {
			verdict = "FAILED"
		}
		limit := ""
		if s.MedianLimitMS > 0 {
			limit = fmt.Sprintf(" median ≤ %.0f", s.MedianLimitMS)
		}
		fmt.Fprintf(p.out, "%-18s %-14s %4d  %-30s %-24s %s%s\n", s.Scenario, s.Phase, s.Runs, s.OutageMS, s.DualMS, verdict, limit)
	}
}

// String renders `median (min–max)`.
func (s Spread) String() string { return fmt.Sprintf("%.1f (%.1f–%.1f)", s.Median, s.Min, s.Max) }
