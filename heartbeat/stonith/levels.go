package stonith

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Levels are devices in an order of preference: all of a level must succeed; where one fails, the next level is tried.
type Levels struct {
	levels [][]Fencer
	log    func(Level, string)

	mu   sync.Mutex
	used int // the level that last switched a machine off, for On
}

// NewLevels joins devices. There must be at least one level, and none empty.
func NewLevels(levels [][]Fencer, log func(Level, string)) *Levels {
	return &Levels{levels: levels, log: log}
}

// Name lists the devices.
func (l *Levels) Name() string {
	var levels []string
	for _, level := range l.levels {
		var names []string
		for _, f := range level {
			names = append(names, NameOf(f))
		}
		levels = append(levels, strings.Join(names, " and "))
	}
	return strings.Join(levels, ", else ")
}

// Fence tries level after level. In a level of several devices (two power supplies) each switches off before any switches on.
func (l *Levels) Fence(ctx context.Context, node string, how Verb) (Evidence, error) {
	if how == On {
		return l.on(ctx, node)
	}
	began := time.Now()
	var failed []string
	var last error
	for i, level := range l.levels {
		ev, err := l.fenceLevel(ctx, level, node, how)
		ev.Took = time.Since(began)
		if err == nil {
			l.mu.Lock()
			l.used = i
			l.mu.Unlock()
			return ev, nil
		}
		if ctx.Err() != nil {
			return Evidence{Device: l.Name()}, context.Cause(ctx)
		}
		last = err
		failed = append(failed, l.place(i)+err.Error())
		if i < len(l.levels)-1 {
			l.log(Warn, fmt.Sprintf("STONITH: level %d failed for %s, trying the next one: %v", i+1, node, err))
		}
	}
	if len(l.levels) == 1 {
		return Evidence{Device: l.Name()}, last
	}
	return Evidence{Device: l.Name()}, &Failure{Device: "STONITH", Cause: CauseOf(last), What: strings.Join(failed, "; "),
		Remedy: "all levels failed; repair one of them, or see to the machine and run `heartbeat confirm-dead " + node + "`", Err: last}
}

// place names a level where there are several.
func (l *Levels) place(i int) string {
	if len(l.levels) == 1 {
		return ""
	}
	return fmt.Sprintf("level %d: ", i+1)
}

func (l *Levels) fenceLevel(ctx context.Context, level []Fencer, node string, how Verb) (Evidence, error) {
	if len(level) == 1 {
		return level[0].Fence(ctx, node, how)
	}
	all := Evidence{Device: NameOf(&Levels{levels: [][]Fencer{level}}), Certain: true, LeftOff: how == Reset}
	for _, f := range level {
		ev, err := f.Fence(ctx, node, Off)
		if err != nil {
			return all, err
		}
		all.Certain = all.Certain && ev.Certain
		for _, s := range ev.Seen {
			all.Seen = append(all.Seen, ev.Device+": "+s)
		}
	}
	return all, nil
}

// on switches on what was switched off.
func (l *Levels) on(ctx context.Context, node string) (Evidence, error) {
	l.mu.Lock()
	level := l.levels[l.used]
	l.mu.Unlock()
	all := Evidence{Device: l.Name(), Certain: true}
	for _, f := range level {
		ev, err := f.Fence(ctx, node, On)
		if err != nil {
			return all, err
		}
		all.Seen = append(all.Seen, ev.Seen...)
	}
	return all, nil
}

// Check checks every device of every level: one that is needed only when another fails is the one that nobody looks at.
func (l *Levels) Check(ctx context.Context) error {
	var failed []string
	var first error
	for i, level := range l.levels {
		for _, f := range level {
			if err := f.Check(ctx); err != nil {
				if first == nil {
					first = err
				}
				failed = append(failed, l.place(i)+err.Error())
			}
		}
	}
	if len(failed) <= 1 {
		return first
	}
	return &Failure{Device: "STONITH", Cause: CauseOf(first), What: strings.Join(failed, "; "), Remedy: "see each of them", Err: first}
}

// Power asks the first device that can tell; ErrCannotTell where none can.
func (l *Levels) Power(ctx context.Context, node string) (Power, error) {
	var first error
	for _, level := range l.levels {
		for _, f := range level {
			e, ok := f.(Examiner)
			if !ok {
				continue
			}
			p, err := e.Power(ctx, node)
			if err == nil {
				return p, nil
			}
			if first == nil {
				first = err
			}
		}
	}
	if first == nil {
		first = ErrCannotTell
	}
	return PowerUnknown, first
}
