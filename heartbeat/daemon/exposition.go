package daemon

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// exposition writes metrics in Prometheus' text format (version 0.0.4). All samples of a family follow its header.
type exposition struct {
	text   []byte
	header string // of the family that has begun; written before its first sample
	name   string
}

// expositionType is the content type of what it writes.
const expositionType = "text/plain; version=0.0.4; charset=utf-8"

// family begins a family: kind is gauge, counter or histogram. One without samples is left out.
func (x *exposition) family(name, kind, help string) {
	x.name = name
	x.header = "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n"
}

// sample writes one value; labels are names and values in turn.
func (x *exposition) sample(value float64, labels ...string) { x.write("", value, labels) }

// flag writes 1 or 0.
func (x *exposition) flag(value bool, labels ...string) {
	if value {
		x.sample(1, labels...)
	} else {
		x.sample(0, labels...)
	}
}

// oneOf writes a sample for each state that there is: 1 for the one that holds.
func (x *exposition) oneOf(state string, states []string, labels ...string) {
	if !slices.Contains(states, state) && state != "" {
		states = append(slices.Clone(states), state)
	}
	for _, s := range states {
		x.flag(s == state, append(slices.Clip(labels), "state", s)...)
	}
}

// exportedBounds are the buckets of a histogram: few enough for many links, and among those that are counted.
var exportedBounds = []time.Duration{
	200 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 50 * time.Second,
}

// histogram writes the samples of one.
func (x *exposition) histogram(h *histogram, labels ...string) {
	for _, bound := range exportedBounds {
		x.write("_bucket", float64(h.upTo(bound)), append(slices.Clip(labels), "le", number(bound.Seconds())))
	}
	x.write("_bucket", float64(h.n), append(slices.Clip(labels), "le", "+Inf"))
	x.write("_sum", h.sum.Seconds(), labels)
	x.write("_count", float64(h.n), labels)
}

func (x *exposition) write(suffix string, value float64, labels []string) {
	x.text = append(x.text, x.header...)
	x.header = ""
	x.text = append(append(x.text, x.name...), suffix...)
	for i := 0; i+1 < len(labels); i += 2 {
		mark := byte(',')
		if i == 0 {
			mark = '{'
		}
		x.text = append(append(append(x.text, mark), labels[i]...), '=', '"')
		x.text = append(append(x.text, labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD"))...), '"')
	}
	if len(labels) > 0 {
		x.text = append(x.text, '}')
	}
	x.text = append(append(append(x.text, ' '), number(value)...), '\n')
}

// labelEscapes are those of the format.
var labelEscapes = strings.NewReplacer("\\", "\\\\", "\"", "\\\"", "\n", "\\n")

// number writes a value.
func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
