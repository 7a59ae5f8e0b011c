package rehearsal

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"sync"
	"time"
)

// Kind says what sort of line of the time line an Event is.
type Kind string

// The kinds of events.
const (
	KindAction Kind = "action" // the rehearsal did something
	KindLog    Kind = "log"    // a node logged something
	KindClient Kind = "client" // a client saw something
	KindNotice Kind = "notice" // something about the rehearsal itself
)

// Event is one line of a time line.
type Event struct {
	Time   float64 `json:"time"`   // seconds; 0 is the first thing done to the running pair
	Source string  `json:"source"` // a node's name, a client, or "rehearsal"
	Kind   Kind    `json:"kind"`
	Text   string  `json:"text"`
}

// Phase is what was measured in one phase of a run. Times are in milliseconds. A limit of 0 means that the figure is not
// judged.
type Phase struct {
	Name          string            `json:"name"`
	Starts        bool              `json:"starts,omitempty"`      // a daemon is started in it
	OverlongMS    float64           `json:"overlong_ms,omitempty"` // how much longer than meant a short partition lasted
	HeldUp        bool              `json:"held_up,omitempty"`     // a daemon of linux-ha said, where nobody had stopped it, that its own heartbeats were late by more than deadtime
	OutageMS      float64           `json:"outage_ms"`             // longest stretch without answers for any address, the prober's own stalls taken off
	OutageRawMS   float64           `json:"outage_raw_ms"`         // the same with them
	OutageLimitMS float64           `json:"outage_limit_ms,omitempty"`
	GivenMS       float64           `json:"given_ms,omitempty"` // of the outage of a planned move, what passed until the node that gave said that it had
	TakenMS       float64           `json:"taken_ms,omitempty"` // and what passed from then on
	TakenLimitMS  float64           `json:"taken_limit_ms,omitempty"`
	MedianLimitMS float64           `json:"median_limit_ms,omitempty"` // of the outage, over five performances and more
	ThroughMS     float64           `json:"through_ms,omitempty"`      // the same as OutageMS for packets that a pair of routers forwards
	DualMS        float64           `json:"dual_ms"`                   // time in which both nodes answered for the same address
	DualLimitMS   *float64          `json:"dual_limit_ms,omitempty"`
	ServesMS      float64           `json:"serves_ms"` // from the first step until every address answered from where it belongs
	ServesLimitMS float64           `json:"serves_limit_ms,omitempty"`
	Moves         int               `json:"moves"`            // how often the answering node changed, for the address where that was most
	Owners        map[string]string `json:"owners"`           // who answers for each address in the end
	Strips        []Strip           `json:"strips,omitempty"` // who answered when, one for each address
	Costs         []Cost            `json:"costs,omitempty"`
	Traffic       []Traffic         `json:"traffic,omitempty"` // where messages were lost
	Resets        []string          `json:"resets,omitempty"`  // nodes that a fencing device switched off
	Failures      []string          `json:"failures,omitempty"`
}

// Cost is what one node's programs used during a phase.
type Cost struct {
	Node       string  `json:"node"`
	CPUPercent float64 `json:"cpu_percent"` // of one core
	ResidentMB float64 `json:"resident_mb"` // summed over its processes
	Processes  int     `json:"processes"`
	FramesSent float64 `json:"frames_a_second"` // on the networks without floating addresses: heartbeats only
}

// Traffic is what one node said more than once during a phase, summed over its links.
type Traffic struct {
	Node  string `json:"node"`
	Asked int    `json:"asked"` // for lost messages
	Again int    `json:"again"` // messages sent once more, because they were asked for
}

// Run is one performance of a scenario.
type Run struct {
	Scenario        string      `json:"scenario"`
	Wiring          string      `json:"wiring,omitempty"` // how the heartbeats went, where that was not as the files say
	Implementations [2]string   `json:"implementations"`
	Nodes           [2]string   `json:"nodes"`
	Passed          bool        `json:"passed"`
	Failure         string      `json:"failure,omitempty"` // why it could not be performed to its end
	Realtime        bool        `json:"realtime"`          // the prober had real-time priority
	Phases          []Phase     `json:"phases"`
	Events          []Event     `json:"events"`
	Frames          [2][][]byte `json:"frames,omitzero"` // of each node, as they were on the wire; the first few hundred, where they were asked for
}

// Summary is what several performances of a scenario have in common.
type Summary struct {
	Scenario        string    `json:"scenario"`
	Implementations [2]string `json:"implementations"`
	Phase           string    `json:"phase"`
	Runs            int       `json:"runs"`
	OutageMS        Spread    `json:"outage_ms"`
	DualMS          Spread    `json:"dual_ms"`
	ServesMS        Spread    `json:"serves_ms"`
	TakenMS         Spread    `json:"taken_ms"`                  // see Phase
	MedianLimitMS   float64   `json:"median_limit_ms,omitempty"` // of the outage
	Passed          bool      `json:"passed"`
}

// Spread is the least, the middle and the greatest of several figures.
type Spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// Skip is a scenario that could not be performed here, and why.
type Skip struct {
	Scenario        string    `json:"scenario"`
	Wiring          string    `json:"wiring,omitempty"`
	Implementations [2]string `json:"implementations"`
	Reason          string    `json:"reason"`
}

// Report is everything that a rehearsal found out.
type Report struct {
	Schema    int       `json:"schema"` // 1
	Directory string    `json:"directory"`
	Notices   []string  `json:"notices,omitempty"` // what is played or left out
	Runs      []Run     `json:"runs"`
	Summaries []Summary `json:"summaries"`
	Skipped   []Skip    `json:"skipped,omitempty"`
	Passed    bool      `json:"passed"` // every run passed; skips do not count
}

// spread sorts and picks.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	middle := values[len(values)/2]
	if len(values)%2 == 0 {
		middle = (values[len(values)/2-1] + middle) / 2
	}
	return Spread{Min: values[0], Median: middle, Max: values[len(values)-1]}
}

// message is what the inside of the laboratory tells the outside: one of these.
type message struct {
	Event   *Event   `json:",omitempty"`
	Notices []string `json:",omitempty"`
	Skip    string   `json:",omitempty"`
	Run     *Run     `json:",omitempty"`
	Zero    float64  `json:",omitempty"` // with Run: the zero of its time line, in seconds of the events
}

// reporter sends messages out of the laboratory.
type reporter struct {
	mu      sync.Mutex
	encoder *json.Encoder
}

func newReporter(out io.Writer) *reporter { return &reporter{encoder: json.NewEncoder(out)} }

func (r *reporter) send(m message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.encoder.Encode(m)
}

// collector puts a run together from the messages of the laboratory.
type collector struct {
	events  []Event
	notices []string
	skip    string
	run     *Run
}

func (c *collector) line(raw []byte) {
	var m message
	if json.Unmarshal(raw, &m) != nil {
		return
	}
	c.notices = append(c.notices, m.Notices...)
	switch {
	case m.Event != nil:
		c.events = append(c.events, *m.Event)
	case m.Skip != "":
		c.skip = m.Skip
	case m.Run != nil:
		c.run = m.Run
		for i := range c.events {
			c.events[i].Time -= m.Zero
		}
		for _, p := range c.run.Phases {
			for i := range p.Strips {
				p.Strips[i].FromMS -= m.Zero * 1000
			}
		}
	}
}

// result is the run, with its time line in order; nil when there is none.
func (c *collector) result() *Run {
	if c.run == nil {
		return nil
	}
	slices.SortStableFunc(c.events, func(a, b Event) int { return cmp.Compare(a.Time, b.Time) })
	c.run.Events = c.events
	return c.run
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
