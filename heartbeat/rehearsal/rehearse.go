package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Options says what to rehearse.
type Options struct {
	Dir         string            // configuration directory; "" rehearses the example that comes with the program
	Binary      string            // the heartbeat program of hapair nodes; "" is this program's own file
	Pairs       [][2]string       // what both nodes run, Hapair or LinuxHA each; each pair rehearses everything; none is Hapair twice
	Scenarios   []string          // by name, see Scenarios; none means all that concern the pair, see ScenariosFor
	Wirings     []string          // ways for the heartbeats in place of those in the files, see Wirings: each is tried with everything; none is as the files say
	Repeat      int               // how often each; 0 is once
	Set         map[string]string // directives of ha.cf to replace in the copies
	Lasting     time.Duration     // how long trials last in which nothing may happen (loss, busy cores, idle); 0: as they say
	Frames      bool              // report frames that the nodes sent
	RealScripts bool              // run the resource scripts of Dir, not stand-ins
	Jobs        int               // how many performances at once; 0 is one after the other. What loads the whole machine comes last then, alone
	Busy        bool              // keep every core busy with something else meanwhile
	Started     func(scenario string, implementations [2]string, repetition int)
	Ended       func(Run) // each performance, as soon as it ends; where there are several at once, Started is called just before it
}

// Scenario is the name of something that can be rehearsed, and a line about it.
type Scenario struct{ Name, About string }

// Scenarios lists everything that can be rehearsed, in the order in which it is, and what the files must have for it.
func Scenarios() []Scenario {
	var all []Scenario
	for _, s := range scenarios() {
		if condition := s.condition(); condition != "" {
			s.about += " (" + condition + ")"
		}
		all = append(all, Scenario{s.name, s.about})
	}
	return all
}

// Rehearse performs scenarios on whole pairs in namespaces on this machine, and reports what a client saw of each. It
// returns an error when that cannot be done here, or ctx ends; a pair that does not do what it must is no error, but a
// report that says so.
func Rehearse(ctx context.Context, o Options) (Report, error) {
	report := Report{Schema: 1, Directory: o.Dir, Passed: true}
	chosen, err := findScenarios(o.Scenarios)
	if err != nil {
		return report, err
	}
	if len(o.Scenarios) == 0 {
		chosen = o.concerned(chosen)
	}
	pairs := o.Pairs
	if len(pairs) == 0 {
		pairs = [][2]string{{Hapair, Hapair}}
	}
	for _, w := range o.Wirings {
		if _, err := parseWiring(w); err != nil {
			return report, err
		}
	}
	all, err := o.plan(chosen, pairs)
	if err != nil {
		return report, err
	}
	if err := o.performAll(ctx, all); err != nil {
		return report, err
	}
	for _, p := range all {
		report.enter(p)
	}
	for _, impls := range pairs {
		for _, s := range chosen {
			report.summarise(s, impls)
		}
	}
	return report, nil
}

// job is what all performances of a pair have in common.
func (o Options) job(impls [2]string) (job, error) {
	j := job{Implementations: impls, Set: o.Set, RealScripts: o.RealScripts, Lasting: o.Lasting, Frames: o.Frames}
	for _, name := range impls {
		if _, err := findImplementation(name); err != nil {
			return j, err
		}
	}
	var err error
	if j.Binary, err = binaryPath(o.Binary); err != nil {
		return j, err
	}
	if j.Binary, err = filepath.Abs(j.Binary); err != nil {
		return j, fmt.Errorf("find %s: %w", o.Binary, err)
	}
	if o.Dir != "" {
		if j.Dir, err = filepath.Abs(o.Dir); err != nil {
			return j, fmt.Errorf("find %s: %w", o.Dir, err)
		}
		keys, err := os.Open(filepath.Join(j.Dir, "authkeys"))
		if errors.Is(err, fs.ErrPermission) {
			return j, fmt.Errorf("%w: the keys are for their owner only (run this as root, or rehearse a copy of the directory with keys of its own)", err)
		}
		keys.Close()
	}
	return j, nil
}

// summarise adds the figures of all performances of one scenario.
func (r *Report) summarise(s scenario, impls [2]string) {
	byPhase := map[string]*struct{ outage, dual, serves, taken []float64 }{}
	var order []string
	passed, runs := true, 0
	for _, run := range r.Runs {
		if run.Scenario != s.name || run.Implementations != impls {
			continue
		}
		runs++
		passed = passed && run.Passed
		for _, p := range run.Phases {
			f := byPhase[p.Name]
			if f == nil {
				f = &struct{ outage, dual, serves, taken []float64 }{}
				byPhase[p.Name] = f
				order = append(order, p.Name)
			}
			f.outage, f.dual, f.serves = append(f.outage, p.OutageMS), append(f.dual, p.DualMS), append(f.serves, p.ServesMS)
			if p.TakenMS > 0 {
				f.taken = append(f.taken, p.TakenMS)
			}
		}
	}
	for _, name := range order {
		f := byPhase[name]
		summary := Summary{Scenario: s.name, Implementations: impls, Phase: name, Runs: runs, Passed: passed,
			OutageMS: spread(f.outage), DualMS: spread(f.dual), ServesMS: spread(f.serves), TakenMS: spread(f.taken)}
		r.judgeMedian(s, impls, &summary)
		r.Summaries = append(r.Summaries, summary)
	}
}

// enoughForMedian is how many performances make a median worth judging.
const enoughForMedian = 5

// judgeMedian holds the median outage of several performances against its own, stricter bound.
func (r *Report) judgeMedian(s scenario, impls [2]string, summary *Summary) {
	for _, run := range r.Runs {
		if run.Scenario != s.name || run.Implementations != impls {
			continue
		}
		for _, p := range run.Phases {
			if p.Name == summary.Phase {
				summary.MedianLimitMS = p.MedianLimitMS
			}
		}
	}
	if limit := milliseconds(planned); summary.Runs >= enoughForMedian && impls[0] != impls[1] && summary.TakenMS.Median > limit && r.takenByOurs(s.name, impls, summary.Phase) {
		summary.Passed, r.Passed = false, false
	}
	if summary.Runs >= enoughForMedian && summary.MedianLimitMS > 0 && summary.OutageMS.Median > summary.MedianLimitMS {
		summary.Passed, r.Passed = false, false
	}
}

// takenByOurs says whether what moved in a phase was taken by a node of ours, from one of linux-ha.
func (r *Report) takenByOurs(scenario string, impls [2]string, phase string) bool {
	for _, run := range r.Runs {
		for _, p := range run.Phases {
			if run.Scenario == scenario && run.Implementations == impls && p.Name == phase && p.TakenLimitMS > 0 {
				return true
			}
		}
	}
	return false
}
