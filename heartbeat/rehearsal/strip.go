package rehearsal

import (
	"strings"
	"time"

	"hapair/heartbeat/rehearsal/probe"
)

// Strip shows who answered for an address during a phase, in equal columns: 1 or 2 for the nodes, x for both, a dot for
// nobody.
type Strip struct {
	Address  string  `json:"address"`
	FromMS   float64 `json:"from_ms"`   // of the first column, on the time line
	ColumnMS float64 `json:"column_ms"` // the length of one column
	Columns  string  `json:"columns"`
}

// stripColumns is how many columns a strip has.
const stripColumns = 72

// newStrip draws the answers for one service in a window, begun a little before it.
func newStrip(s *service, answers []probe.Answer, dual []probe.Span, window probe.Span) Strip {
	column := max((window.To-window.From)/(stripColumns-6), time.Millisecond)
	from := window.From - 6*column
	cells := []byte(strings.Repeat(".", stripColumns))
	at := func(t time.Duration) int { return int((t - from) / column) }
	for _, a := range answers {
		if i := at(a.At); a.At >= from && i < stripColumns && a.Node != probe.Nobody {
			cells[i] = "12"[a.Node]
		}
	}
	for _, d := range dual {
		for i := max(0, at(d.From)); i <= at(d.To-time.Millisecond) && i < stripColumns; i++ {
			cells[i] = 'x'
		}
	}
	return Strip{Address: s.addr.String(), FromMS: milliseconds(from), ColumnMS: milliseconds(column), Columns: string(cells)}
}

// telling says whether the strip shows more than one node answering all the time.
func (s Strip) telling() bool { return strings.Trim(s.Columns, s.Columns[:1]) != "" }
