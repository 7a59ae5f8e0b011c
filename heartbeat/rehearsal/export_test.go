package rehearsal

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Layout describes what a rehearsal would build for a configuration directory.
func Layout(dir string) (string, error) {
	p, err := readPair(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "nodes %v port %d keepalive %v deadtime %v initdead %v failback %s\n", p.nodes, p.port, p.timing.keepalive, p.timing.deadtime, p.timing.initdead, p.timing.failback)
	for _, n := range p.networks {
		fmt.Fprintf(&b, "%s heartbeat=%v\n", n.device, n.heartbeat)
		for _, s := range n.subnets {
			fmt.Fprintf(&b, "  %s nodes %v client %s\n", s.prefix, s.nodes, s.client)
		}
	}
	for _, path := range p.serials {
		fmt.Fprintln(&b, path)
	}
	for _, s := range p.services {
		fmt.Fprintf(&b, "service %s on %s of %s\n", s.addr, s.network.device, p.nodes[s.preferred])
	}
	for _, h := range p.names {
		fmt.Fprintf(&b, "host %s %s\n", h.net.family(h.v6).nodes[h.node], h.name)
	}
	for _, h := range p.pings {
		fmt.Fprintf(&b, "ping %s is %s on %s\n", h.name, h.addr, h.net.device)
	}
	for _, r := range p.scripts {
		fmt.Fprintf(&b, "script %s\n", r.Spec)
	}
	return b.String(), nil
}

// Copies is what both nodes' files would be.
func Copies(dir string, to [2]string, real, failing bool) (notices []string, err error) {
	c := copies{source: dir, real: real, failing: failing}
	if c.pair, err = readPair(dir); err != nil {
		return nil, err
	}
	for i, d := range to {
		if err := c.write(d, nodeFiles{node: i, extra: []string{"logfile /var/log/x"}, replaces: []string{"logfile"}, classic: i == 1}); err != nil {
			return nil, err
		}
	}
	notices = c.notices()
	slices.Sort(notices)
	return notices, nil
}

// ReplaceDirectives is how --set works.
var ReplaceDirectives = replaceDirectives

// ShortLog is how log lines are shown.
var ShortLog = shortLog

// Predict performs the steps of a scenario on the model only, and says who holds each service after each phase.
func Predict(dir, name string) ([]string, error) {
	return PredictFor(dir, name, [2]string{Hapair, Hapair})
}

// Densest is how storms are found.
var Densest = densest

// PredictFor is Predict for a pair of implementations.
func PredictFor(dir, name string, impls [2]string) ([]string, error) {
	p, err := readPair(dir)
	if err != nil {
		return nil, err
	}
	found, err := findScenarios([]string{name})
	if err != nil {
		return nil, err
	}
	if failback, ok := found[0].set["auto_failback"]; ok {
		p.timing.failback = failback
	}
	r := &run{scenario: found[0], timing: p.timing, model: newModel(p), impls: impls}
	r.model.impls = impls
	var all []string
	perform := func(ph phase) {
		for _, s := range ph.steps {
			if s.do.predict != nil {
				s.do.predict(r.model, r.node(s.on), s)
			}
		}
		var words []string
		for _, o := range r.model.owner {
			if o == nobody {
				words = append(words, "nobody")
			} else {
				words = append(words, p.nodes[o])
			}
		}
		all = append(all, ph.name+": "+strings.Join(words, " "))
	}
	if first := r.startPhase(); first != nil {
		perform(*first)
	}
	r.chooseActive()
	for _, ph := range found[0].phases {
		perform(ph)
	}
	return all, nil
}

// CheckScenarios finds what is wrong in the table of scenarios.
func CheckScenarios() []string {
	var faults []string
	seen := map[string]bool{}
	for _, s := range scenarios() {
		if s.name == "" || s.about == "" || seen[s.name] || len(s.phases) == 0 {
			faults = append(faults, fmt.Sprintf("%q: name, words and phases are needed, and each name once", s.name))
		}
		seen[s.name] = true
		phases := map[string]bool{}
		for _, p := range s.phases {
			if phases[p.name] || len(p.steps) == 0 || p.name == "start" && s.start != byPhases {
				faults = append(faults, fmt.Sprintf("%s: phase %q: each name once, with steps", s.name, p.name))
			}
			phases[p.name] = true
			for _, step := range p.steps {
				if step.do.do == nil || step.do.words == "" {
					faults = append(faults, fmt.Sprintf("%s: %s: a step does nothing", s.name, p.name))
				}
			}
		}
	}
	return faults
}

// NewTestReport makes a report of given outages, to see how it is judged and printed.
func NewTestReport(limit float64, outages ...float64) Report {
	r := Report{Schema: 1, Passed: true}
	s := scenarios()[0]
	for _, o := range outages {
		r.Runs = append(r.Runs, Run{Scenario: s.name, Implementations: [2]string{Hapair, Hapair}, Passed: true, Nodes: [2]string{"a", "b"},
			Phases: []Phase{{Name: "p", OutageMS: o, MedianLimitMS: limit}}})
	}
	r.summarise(s, [2]string{Hapair, Hapair})
	return r
}

// CopiesFor is what the first node's files would be in a scenario.
func CopiesFor(dir, to, name string) error {
	found, err := findScenarios([]string{name})
	if err != nil {
		return err
	}
	c := copies{source: dir, fencing: found[0].fence}
	if c.pair, err = readPair(dir); err != nil {
		return err
	}
	return c.write(to, nodeFiles{})
}

// LongestStandstill is the longest of some standstills, by when they ended and how long they lasted, that ended after an instant.
func LongestStandstill(since time.Time, list map[time.Time]time.Duration) time.Duration {
	s := &standstills{}
	for end, lasted := range list {
		s.list = append(s.list, standstill{end, lasted})
	}
	return s.longest(since)
}

// NobodyWatches is what is known of standstills where performances come one after the other.
func NobodyWatches(since time.Time) time.Duration { return (*standstills)(nil).longest(since) }

// DeafStart tells that a performance with these phases is performed again because Linux-HA began one by hearing nobody.
func DeafStart(impls [2]string, phases ...Phase) bool {
	return (&Run{Implementations: impls, Phases: phases}).deafStart()
}

// Overlong tells that a performance with these phases is performed again because a short partition was not short.
func Overlong(phases ...Phase) bool { return (&Run{Phases: phases}).overlong() }

// Complaints are those in the log of a daemon.
func Complaints(log ...string) (complaints []string) {
	var r reading
	for _, line := range log {
		if text := r.complaint(line); text != "" {
			complaints = append(complaints, text)
		}
	}
	return complaints
}

// HeldUp tells that a performance with these phases is performed again because a daemon of Linux-HA did not get to run.
func HeldUp(phases ...Phase) bool { return (&Run{Phases: phases}).heldUp() }

// SaysHeldUp tells that a complaint of a node in a scenario says that its daemon did not get to run.
func SaysHeldUp(impls [2]string, name, node, text string) bool {
	return (&run{impls: impls, scenario: scenario{name: name}}).heldUp(node, text)
}

// ThreeLost tells that a failed performance of a scenario is performed again because two of Linux-HA count nothing but what arrives.
func ThreeLost(impls [2]string, name string) bool {
	return (&Run{Implementations: impls, Scenario: name}).threeLost()
}

// OnlyCost tells that a performance with these failures is performed again because it only used too much of a processor.
func OnlyCost(failures ...string) bool {
	return (&Run{Phases: []Phase{{}, {Failures: failures}}}).onlyCost()
}
