package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"hapair/heartbeat/rehearsal/lab"
)

// performance is one scenario on one pair, once, and what came of it.
type performance struct {
	job        job
	repetition int

	run     *Run   // nil where it was skipped
	skip    string // why
	notices []string
}

// plan lists all performances in the order of the report.
func (o Options) plan(chosen []scenario, pairs [][2]string) (all []*performance, err error) {
	wirings := o.Wirings
	if len(wirings) == 0 {
		wirings = []string{""}
	}
	for _, impls := range pairs {
		j, err := o.job(impls)
		if err != nil {
			return nil, err
		}
		for _, s := range chosen {
			j.Scenario, j.Sharing = s.name, o.Jobs > 1 && !s.fillsMachine(impls)
			for _, j.Wiring = range wirings {
				for repetition := range max(1, o.Repeat) {
					all = append(all, &performance{job: j, repetition: repetition})
				}
			}
		}
	}
	return all, nil
}

// fillsMachine tells that a scenario disturbs, or is about, everything on the machine: what else is performed meanwhile would be judged by it, or it by
// that. What ours costs is known from the pair of ours.
func (s scenario) fillsMachine(impls [2]string) bool {
	loads := slices.ContainsFunc(s.phases, func(p phase) bool {
		return slices.ContainsFunc(p.steps, func(s step) bool { return s.do.loads })
	})
	return loads || s.needs&memoryLimits != 0 || s.measuresCost() && oursOnly.in(impls)
}

// performAll performs several at once where that was asked for; what must be alone comes last.
func (o Options) performAll(ctx context.Context, all []*performance) error {
	if o.Busy {
		busy, stop := context.WithCancel(ctx)
		var wait sync.WaitGroup
		wait.Go(func() { keepBusy(busy) })
		defer wait.Wait()
		defer stop()
	}
	if err := o.performThose(ctx, all, true, max(1, o.Jobs)); err != nil {
		return err
	}
	return o.performThose(ctx, all, false, 1)
}

// performThose performs those that share the machine, or those that have it to themselves, so many at once.
func (o Options) performThose(ctx context.Context, all []*performance, sharing bool, atOnce int) error {
	var machine *standstills
	if atOnce > 1 {
		machine = watchMachine()
		defer machine.stop()
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(atOnce)
	var telling sync.Mutex
	for _, p := range all {
		if p.job.Sharing != sharing {
			continue
		}
		work.Go(func() error {
			if atOnce == 1 {
				o.tellStarted(p)
			}
			if err := p.performOn(ctx, machine); err != nil || p.run == nil {
				return err
			}
			telling.Lock()
			defer telling.Unlock()
			if atOnce > 1 {
				o.tellStarted(p)
			}
			if o.Ended != nil {
				o.Ended(*p.run)
			}
			return nil
		})
	}
	return work.Wait()
}

func (o Options) tellStarted(p *performance) {
	if o.Started != nil {
		o.Started(p.job.Scenario, p.job.Implementations, p.repetition)
	}
}

// performedAgain is how often a performance is repeated that says nothing of the pair.
const performedAgain = 2

// performOn performs it. What failed and says nothing of the pair is performed again, which a notice tells.
func (p *performance) performOn(ctx context.Context, machine *standstills) error {
	var notices []string
	for again := 0; ; again++ {
		begun := time.Now()
		if err := p.perform(ctx); err != nil {
			return err
		}
		p.notices = append(p.notices, notices...)
		if p.run == nil || p.run.Passed || again == performedAgain {
			return nil
		}
		why := p.run.whyAgain(machine.longest(begun))
		if why == "" {
			return nil
		}
		notices = append(notices, fmt.Sprintf("%s%s was performed again: %s", rowName(p.job.Scenario, p.job.Wiring), pairWords(p.job.Implementations), why))
	}
}

// whyAgain is why a performance that failed says nothing of the pair, with the longest standstill of the machine meanwhile; "" where it does.
func (r *Run) whyAgain(still time.Duration) string {
	switch {
	case still > 0:
		return fmt.Sprintf("a core of this machine ran no daemon meanwhile, for %v", still.Round(time.Millisecond))
	case r.overlong():
		return "this machine took more time to connect the nodes again than a short partition may last longer"
	case r.heldUp():
		return "linux-ha did not get to run for longer than deadtime, as it says of its own heartbeats"
	case r.deafStart():
		return "linux-ha took the other node for dead in its first second, in which it hears nobody"
	case r.onlyCost():
		return "what a daemon costs is the least of several measurements, since a machine can be slow for a while"
	case r.threeLost():
		return "linux-ha takes a live node for dead when three heartbeats in a row are lost"
	}
	return ""
}

// longerBy is what a short partition may last longer than meant, in milliseconds: a fifth of the keepalive of 50 ms and so of the reserve that there is with
// a deadtime of four of them.
const longerBy = 10

// overlong tells that a performance failed in a phase with such a partition: the kernel lets one at a time change a network of this machine, so beside other
// performances it can take long to end.
func (r *Run) overlong() bool {
	return slices.ContainsFunc(r.Phases, func(p Phase) bool { return p.OverlongMS > longerBy && len(p.Failures) > 0 })
}

// heldUp tells that a performance failed in a phase in which this machine did not run a daemon of Linux-HA for longer than deadtime. Where a core stands still,
// standstills sees it; what held up one daemon alone only that daemon says.
func (r *Run) heldUp() bool {
	return slices.ContainsFunc(r.Phases, func(p Phase) bool { return p.HeldUp && len(p.Failures) > 0 })
}

// deafSecond is what Linux-HA says when it has heard the other node, and then, for its first second, nothing more: with a deadtime below a second it then
// begins with a partition, and starts again.
var deafSecond = regexp.MustCompile(`Late heartbeat: Node \S+: interval ([5-9]\d\d|10\d\d) ms`)

// deafStart tells that a performance failed by that: in a phase that begins with the start of a daemon.
func (r *Run) deafStart() bool {
	return withTheir.in(r.Implementations) && slices.ContainsFunc(r.Phases, func(p Phase) bool {
		return p.Starts && slices.ContainsFunc(p.Failures, deafSecond.MatchString)
	})
}

// costs is how a cost is found too high.
var costs = regexp.MustCompile(` used [\d.]+ % of one core, allowed are `)

// onlyCost tells that a performance failed by nothing but the processor time that it took.
func (r *Run) onlyCost() bool {
	failed := false
	for _, p := range r.Phases {
		for _, f := range p.Failures {
			if failed = true; !costs.MatchString(f) {
				return false
			}
		}
	}
	return failed && r.Failure == ""
}

// threeLost tells that two of Linux-HA failed while frames were lost: with a deadtime of four keepalives one of them may take the other for dead, which says
// nothing of this program. Beside one of ours none does.
func (r *Run) threeLost() bool {
	return theirsOnly.in(r.Implementations) && (strings.HasPrefix(r.Scenario, "loss") || r.Scenario == "cut-in-loss" || r.Scenario == "tour")
}

// starts tells that a daemon is started in a phase.
func (p phase) starts() bool {
	return slices.ContainsFunc(p.steps, func(s step) bool { return s.do.words == startDaemon.words })
}

// perform performs it in a fresh laboratory.
func (p *performance) perform(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c collector
	if err := lab.Enter(ctx, programName, p.job, c.line); err != nil {
		return err
	}
	p.notices, p.skip, p.run = c.notices, c.skip, c.result()
	if p.skip == "" && p.run == nil {
		return errors.New("the laboratory ended without a result")
	}
	return nil
}

// enter adds what came of a performance to the report.
func (r *Report) enter(p *performance) {
	for _, n := range p.notices {
		if !slices.Contains(r.Notices, n) {
			r.Notices = append(r.Notices, n)
		}
	}
	if p.run == nil {
		s := Skip{Scenario: p.job.Scenario, Wiring: p.job.Wiring, Implementations: p.job.Implementations, Reason: p.skip}
		if !slices.Contains(r.Skipped, s) {
			r.Skipped = append(r.Skipped, s)
		}
		return
	}
	r.Runs = append(r.Runs, *p.run)
	r.Passed = r.Passed && p.run.Passed
}
