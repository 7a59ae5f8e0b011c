package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// timingEvery is how often what was measured of the heartbeats is written down.
const timingEvery = 10 * time.Minute

// savedTiming is the file of Paths.Timing. Steps are those of heartbeat.Histogram; only those that counted something are there.
type savedTiming struct {
	Schema      int         `json:"schema"`
	KeepaliveMS float64     `json:"keepalive_ms"`
	WatchedMS   int64       `json:"watched_ms"`
	Lapses      uint64      `json:"lapses"`
	Gaps        savedCounts `json:"gaps"`
	Stalls      savedCounts `json:"stalls"`
}

type savedCounts struct {
	LargestUS int64          `json:"largest_us"`
	Counts    map[int]uint64 `json:"counts"`
}

func saveCounts(h heartbeat.Histogram) savedCounts {
	s := savedCounts{LargestUS: h.Largest.Microseconds(), Counts: map[int]uint64{}}
	for step, count := range h.Counts {
		if count > 0 {
			s.Counts[step] = count
		}
	}
	return s
}

func (s savedCounts) histogram() (h heartbeat.Histogram) {
	h.Largest = time.Duration(s.LargestUS) * time.Microsecond
	for step, count := range s.Counts {
		if step >= 0 && step < len(h.Counts) {
			h.Counts[step] = count
		}
	}
	return h
}

// loadTiming reads what earlier runs measured. A missing file is an empty measurement; a broken one too, with an error to tell of.
func loadTiming(path string) (t heartbeat.Timing, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("read timing: %w", err)
	}
	var s savedTiming
	if err := json.Unmarshal(text, &s); err != nil {
		return t, fmt.Errorf("read timing %s: %w", path, err)
	}
	return heartbeat.Timing{
		Keepalive: time.Duration(s.KeepaliveMS * float64(time.Millisecond)), Watched: time.Duration(s.WatchedMS) * time.Millisecond,
		Lapses: s.Lapses, Gaps: s.Gaps.histogram(), Stalls: s.Stalls.histogram(),
	}, nil
}

func saveTiming(path string, t heartbeat.Timing) error {
	text, err := json.Marshal(savedTiming{
		Schema: 1, KeepaliveMS: float64(t.Keepalive) / float64(time.Millisecond), WatchedMS: t.Watched.Milliseconds(), Lapses: t.Lapses,
		Gaps: saveCounts(t.Gaps), Stalls: saveCounts(t.Stalls),
	})
	if err != nil {
		return err
	}
	return host.ReplaceFile(path, append(text, '\n'), 0o644)
}

// keepTiming writes the measurement down now and then, until ctx ends. It is worth no alarm: what is lost is measured again.
func (e *engine) keepTiming(ctx context.Context) {
	ticker := time.NewTicker(timingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		answer := make(chan heartbeat.Timing, 1)
		if e.inLoop(ctx, loopPatience, func() { answer <- e.loop.core.Status().Timing }) != nil {
			continue
		}
		if err := saveTiming(e.paths.Timing(), <-answer); err != nil {
			e.log.Warnf("What was measured of the heartbeats is not kept: %v", err)
		}
	}
}

// AdviceView is what was measured of the peer's heartbeats and of this node, and what follows from it.
type AdviceView struct {
	WatchedMS     int64    `json:"watched_ms"` // for how long in all the peer was heard, with the present keepalive
	LongestGapMS  float64  `json:"longest_gap_ms"`
	LongestMS     float64  `json:"longest_stall_ms"` // of this node itself
	Lapses        uint64   `json:"lapses"`           // how often this node had to ask before it answered again
	FailoversYear *float64 `json:"failovers_a_year"` // false ones, expected with the present deadtime; null while too little was measured
	SafeMS        int64    `json:"safe_deadtime_ms"` // with which less than one a year is expected; 0 while too little was measured

	Gaps   []StepView `json:"gaps"`
	Stalls []StepView `json:"stalls"`
}

// StepView is one step of a histogram that counted something.
type StepView struct {
	UpToMS float64 `json:"up_to_ms"`
	Count  uint64  `json:"count"`
}

func stepsOf(h heartbeat.Histogram) []StepView {
	list := []StepView{}
	for step, count := range h.Counts {
		if count > 0 {
			list = append(list, StepView{millis(heartbeat.TimingBound(step)), count})
		}
	}
	return list
}

// safeRate is how many false failovers in a year are little enough.
const safeRate = 1

// roundSafe rounds a dead time up to a figure that one would write.
func roundSafe(d time.Duration) time.Duration {
	unit := time.Millisecond
	for d > 50*unit {
		unit *= 10
	}
	return (d + unit - 1).Truncate(unit)
}

func adviceOf(t heartbeat.Timing, deadtime time.Duration) *AdviceView {
	v := &AdviceView{WatchedMS: t.Watched.Milliseconds(), LongestGapMS: millis(t.Gaps.Largest), LongestMS: millis(t.Stalls.Largest),
		Lapses: t.Lapses, Gaps: stepsOf(t.Gaps), Stalls: stepsOf(t.Stalls)}
	if rate := t.FailoversAYear(deadtime); !math.IsNaN(rate) {
		v.FailoversYear, v.SafeMS = &rate, roundSafe(t.Safe(safeRate)).Milliseconds()
	}
	return v
}

// checkTiming says what the measurement of earlier runs makes of the configured dead time.
func checkTiming(c *config.Config, p Paths) (faults fault.List) {
	t, err := loadTiming(p.Timing())
	at := fault.Fault{File: c.File, Severity: fault.Notice}
	if err != nil {
		faults.Addf(at, "it is written anew", "%v", err)
		return faults
	}
	if t.Keepalive != c.Keepalive || !t.Enough() || c.Peer == "" {
		return nil // of another interval, or too little
	}
	rate := t.FailoversAYear(c.Deadtime)
	hint := ""
	if rate > safeRate {
		at.Severity = fault.Warning
		hint = "deadtime " + roundSafe(t.Safe(safeRate)).String() + " would be safe here"
	}
	faults.Addf(at, hint, "deadtime %v: %s false failovers a year are to be expected, as far as %v of heartbeats tell, of which the longest came after %v",
		c.Deadtime, Rate(rate), t.Watched.Round(time.Minute), t.Gaps.Largest.Round(100*time.Microsecond))
	return faults
}

// EnoughTiming is how long the peer must have been watched before status says anything of a year.
const EnoughTiming = heartbeat.EnoughTiming

// Rate words a number of events a year: two figures are all that is known.
func Rate(r float64) string {
	switch {
	case r < 0.01:
		return "less than 0.01"
	case r < 10:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", r), "0"), ".")
	}
	return fmt.Sprintf("%.0f", r)
}
