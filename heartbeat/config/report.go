package config

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
)

// Exit codes of `heartbeat check`.
const (
	ExitClean    = 0 // no faults, or notices only
	ExitWarnings = 1 // warnings only
	ExitErrors   = 2 // the daemon would not start, or not do what the files say
	ExitUnread   = 3 // a file could not be read
)

// Report is what `heartbeat check` prints.
type Report struct {
	Faults  fault.List
	Summary Summary
}

// Summary is a Report in a few numbers.
type Summary struct {
	Dir      string   `json:"dir"`
	Node     string   `json:"node"`
	Peer     string   `json:"peer"`
	Links    int      `json:"links"`
	Groups   int      `json:"groups"`
	Errors   int      `json:"errors"`
	Warnings int      `json:"warnings"`
	Notices  int      `json:"notices"`
	Unread   []string `json:"unread"` // files that could not be read at all
	Exit     int      `json:"exit"`   // one of the Exit constants
}

// NewReport sums up what Load and CheckHost found.
func NewReport(c *Config, lists ...fault.List) Report {
	r := Report{Faults: fault.List{}, Summary: Summary{
		Dir: c.Dir, Node: c.Node, Peer: c.Peer, Links: len(c.Links), Groups: len(c.Table.Groups), Unread: append([]string{}, c.Unread...),
	}}
	return r.With(lists...)
}

// With is the report with more faults, wherever they were found.
func (r Report) With(lists ...fault.List) Report {
	r.Faults = slices.Clone(r.Faults)
	for _, l := range lists {
		r.Faults = append(r.Faults, l...)
	}
	for i, f := range r.Faults {
		if f.Line > 0 {
			r.Faults[i].Col = max(f.Col, 1)
		}
	}
	r.Faults.Sort()
	r.Summary.Errors, r.Summary.Warnings, r.Summary.Notices = 0, 0, 0
	for _, f := range r.Faults {
		switch f.Severity {
		case fault.Error:
			r.Summary.Errors++
		case fault.Warning:
			r.Summary.Warnings++
		default:
			r.Summary.Notices++
		}
	}
	r.Summary.Exit = r.ExitCode()
	return r
}

// ExitCode is one of the Exit constants.
func (r Report) ExitCode() int {
	switch {
	case len(r.Summary.Unread) > 0:
		return ExitUnread
	case r.Summary.Errors > 0:
		return ExitErrors
	case r.Summary.Warnings > 0:
		return ExitWarnings
	}
	return ExitClean
}

// WriteText writes one fault a line and a sentence at the end.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Faults {
		fmt.Fprintln(&b, f.Error())
	}
	fmt.Fprintln(&b, r.Summary)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the faults and the summary as one object.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Schema  int        `json:"schema"`
		Faults  fault.List `json:"faults"`
		Summary Summary    `json:"summary"`
	}{1, r.Faults, r.Summary})
}

// String is the sentence at the end of the text.
func (s Summary) String() string {
	who := s.Node
	if s.Peer != "" {
		who += " with " + s.Peer
	}
	verdict := "ready to start"
	switch s.Exit {
	case ExitErrors:
		verdict = "correct the errors first"
	case ExitUnread:
		verdict = "cannot read " + strings.Join(s.Unread, ", ")
	}
	return fmt.Sprintf("%s: %s: %s, %s; %s, %s, %s: %s", s.Dir, who, count(s.Links, "link"), count(s.Groups, "group"),
		count(s.Errors, "error"), count(s.Warnings, "warning"), count(s.Notices, "notice"), verdict)
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
