package rehearsal

import (
	"slices"
	"time"
)

// scenario is one thing that can happen to a pair: what is done, and what must come of it.
type scenario struct {
	name   string
	about  string            // one line
	set    map[string]string // directives of ha.cf that it needs; "" removes one
	needs  need
	fence  *fencePlan // the laboratory's fencing devices that take the place of those in the files; nil for none at all
	start  start
	phases []phase
}

// need is what a scenario cannot do without.
type need int

const (
	twoMedia      need = 1 << iota // two heartbeat media
	packetLoss                     // the nft program
	failingStart                   // a resource that can be told to fail
	oursBoth                       // both nodes run hapair: linux-ha does not know such a thing
	gateway                        // a host that both nodes can ask for their way: there is one where there are clients
	comparedPings                  // a ping node that ipfail compares
	memoryLimits                   // control groups that bound memory
	fencingDevice                  // the files name a device, so that there is something to rehearse
	idleNode                       // a node that no group prefers: what becomes of it alone disturbs nobody
	oursActive                     // the first node runs hapair: of linux-ha it is known that it does this wrong
)

// start is how the pair comes up before the first phase.
type start int

const (
	together   start = iota // both daemons are started at once
	byPhases                // the phases start them
	firstOnly               // the first node's daemon only
	secondOnly              // the second node's daemon only
)

// role names a node by what it did when the first phase began.
type role int

const (
	active  role = iota // answered for the first address; the first node while nobody did
	standby             // the other one
	both
)

// phase is a stretch of a scenario that is measured and judged by itself.
type phase struct {
	name  string
	steps []step
	hold  span // how long things must stay as they are afterwards; half a second at least

	holdTheirs span // the same where linux-ha takes part, if that is longer

	outage     limits       // longest stretch without answers, for each address
	dual       limits       // time in which both nodes answered, summed for each address
	serves     limits       // until every address answers from where it belongs, from the first step on
	anyNode    pairs        // with these implementations either node may be the holder in the end
	apart      bool         // in the end the nodes do not hear each other: what they say of each other is not judged
	mayStay    pairs        // with these the node that lost the addresses may go on answering for them
	claimsMore pairs        // with these linux-ha says that it holds what it could not start
	cost       *cost        // what the daemon may use; measured either way
	resets     map[role]int // how often a fencing device switches each node off
	moves      int          // how often the answering node may change for one address, beside where the addresses must move
}

// cost is what one node's daemon uses.
type cost struct {
	percent   float64 // of one core, with up to two paths for heartbeats and pings; in proportion where there are more
	megabytes float64 // resident, summed over its processes
}

// step is one thing done.
type step struct {
	do   verb
	on   role
	what string // of standby and takeover: all, local, foreign
	span span   // how long, for verbs that last
}

// span is a length of time relative to the pair's own timing.
type span struct {
	deadtimes float64
	initdeads float64
	deadpings float64
	plus      time.Duration
	lasting   time.Duration // replaced by Options.Lasting
}

func (s span) of(t timing) time.Duration {
	if s.lasting > 0 && t.lasting > 0 {
		s.lasting = t.lasting
	}
	return time.Duration(s.deadtimes*float64(t.deadtime)) + time.Duration(s.initdeads*float64(t.initdead)) + time.Duration(s.deadpings*float64(t.deadping)) + s.plus + s.lasting
}

// pairs is a set of pairs of implementations.
type pairs int

const (
	oursOnly    pairs = 1 << iota // both nodes run hapair
	withTheir                     // one node, or both, run linux-ha
	theirActive                   // the first node, which is the active one, runs linux-ha
	theirsOnly                    // both nodes run linux-ha
	always      = oursOnly | withTheir
)

// in says whether the set has this pair.
func (p pairs) in(impls [2]string) bool {
	if impls == [2]string{Hapair, Hapair} {
		return p&oursOnly != 0
	}
	return p&withTheir != 0 || p&theirActive != 0 && impls[0] == LinuxHA || p&theirsOnly != 0 && impls == [2]string{LinuxHA, LinuxHA}
}

// limits are bounds by who does the work; a nil bound is measured and reported but not judged.
type limits struct {
	ours    *bound // both nodes run hapair
	theirs  *bound // linux-ha takes part
	planned bool   // somebody asked for it, and both nodes take part
	taker   bool   // the node that takes the addresses decides alone which bound holds
}

// bound is what a time may be at most.
type bound struct {
	span   span
	median *span // over five repetitions and more, where that is stricter
}

// of chooses the bound for a pair of implementations, and adds what its resources need beside an address: a script runs
// for a while, and linux-ha runs scripts for addresses too.
func (l limits) of(impls [2]string, taker int, p *pair) *bound {
	ours := impls == [2]string{Hapair, Hapair}
	if l.taker && taker >= 0 {
		ours = impls[taker] == Hapair
	}
	chosen, more := l.theirs, 3*time.Second*time.Duration(max(0, len(p.services)+len(p.scripts)-1))
	if ours {
		chosen, more = l.ours, 0
		for _, r := range p.scripts {
			if _, builtIn := harmless[r.Name]; builtIn {
				more += 50 * time.Millisecond
			} else {
				more += 500 * time.Millisecond
			}
		}
	}
	if chosen == nil {
		return nil
	}
	b := *chosen
	b.span.plus += more
	if b.median != nil {
		median := *b.median
		median.plus += more
		b.median = &median
	}
	return &b
}

// within is a bound on a fixed time.
func within(d time.Duration) *bound { return &bound{span: span{plus: d}} }

// deadtimes is a bound of some deadtimes and a fixed time.
func deadtimes(n float64, plus time.Duration) *bound {
	return &bound{span: span{deadtimes: n, plus: plus}}
}

// findScenarios finds scenarios by name; no names at all mean every one.
func findScenarios(names []string) ([]scenario, error) {
	all := scenarios()
	if len(names) == 0 {
		return all, nil
	}
	var chosen []scenario
	for _, name := range names {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, unknownScenario(name, all)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
