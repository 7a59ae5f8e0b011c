// Package fault is how every part of hapair says what is wrong in a file: where, how bad, what, and what would be right.
//
// Each parser collects a List instead of stopping at the first mistake, so that an administrator sees all of them at once,
// before anything starts.
package fault

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Severity ranks a Fault; a List with an Error in it must not be started from.
type Severity int

// The severities, mildest first.
const (
	Notice  Severity = iota // accepted and without effect, or merely worth knowing
	Warning                 // works, but probably not as meant; or Linux-HA would have refused or misread it
	Error                   // cannot be started from
)

// String is the word printed in `file:line:col: severity: message`.
func (s Severity) String() string {
	switch s {
	case Notice:
		return "notice"
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	return fmt.Sprintf("severity(%d)", int(s))
}

// MarshalText makes a Severity a word in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Severity) UnmarshalText(text []byte) error {
	for _, known := range []Severity{Notice, Warning, Error} {
		if string(text) == known.String() {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("no severity is called %s", Quote(string(text)))
}

// Fault is one thing wrong at one place.
type Fault struct {
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"` // from 1; 0 means the file as a whole
	Col      int      `json:"col,omitempty"`  // from 1, in bytes; 0 means the line as a whole, which begins at 1
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"` // what would be right
}

// Error renders `file:line:col: severity: message (hint)`.
func (f Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", f.Line, max(f.Col, 1)) // always both: editors and scripts go by file:line:col
		}
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s: %s", f.Severity, f.Message)
	if f.Hint != "" {
		fmt.Fprintf(&b, " (%s)", f.Hint)
	}
	return b.String()
}

// List is every fault of a set of files. The zero value is ready to use.
type List []Fault

// Addf appends a fault; hint may be empty.
func (l *List) Addf(at Fault, hint, format string, args ...any) {
	at.Hint, at.Message = hint, fmt.Sprintf(format, args...)
	*l = append(*l, at)
}

// Worst is the highest severity in the list, Notice when it is empty.
func (l List) Worst() Severity {
	worst := Notice
	for _, f := range l {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Err is nil unless the list holds an Error.
func (l List) Err() error {
	if l.Worst() < Error {
		return nil
	}
	return l
}

// Error renders one fault a line.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, f := range l {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Sort orders the list by file, line, column, so that the same files always give the same report.
func (l List) Sort() {
	slices.SortStableFunc(l, func(a, b Fault) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
}

// Nearest is the candidate that word was probably meant to be, or "" when none is near enough to suggest.
func Nearest(word string, candidates []string) string {
	best, bestDistance := "", len(word)/2+1
	if bestDistance > 3 {
		bestDistance = 3
	}
	lower := strings.ToLower(word)
	for _, c := range candidates {
		if d := distance(lower, strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of neighbours between a and b.
func distance(a, b string) int {
	previous2, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], previous2[j-2]+1)
			}
		}
		previous2, previous, current = previous, current, previous2
	}
	return previous[len(b)]
}

// Quote puts a word into a message: in quotes, bounded, and with nothing that a terminal would obey.
func Quote(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most]
		for len(s) > 0 && !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return `"` + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s) + `"`
}
