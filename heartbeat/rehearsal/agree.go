package rehearsal

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// After each phase both nodes have to agree: about each other, about who holds what, and in that neither complains of what the other one said. A scenario that
// looks right from outside while a log fills with errors has not gone well.

// complaint is a line of a log that says that something is wrong.
type complaint struct {
	at   time.Duration
	text string // without what differs from line to line
}

// complains are the levels of lines that say that something is wrong.
var complains = regexp.MustCompile(`^(?i:error|crit|alert|emerg)`)

// keep keeps a line of a log that complains.
func (f *follower) keep(line string) {
	if text := f.reading.complaint(line); text != "" {
		f.bad = append(f.bad, complaint{f.w.clock.Now(), text})
	}
}

// reading reads the log of a daemon.
type reading struct {
	stopping bool // it is one of Linux-HA and stops
}

// complaint is the complaint in the next line of the log, "" for none. A daemon of Linux-HA that stops does without its realtime priority: that it is late is then no
// word about anybody else.
func (r *reading) complaint(line string) string {
	m := daemonLine.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	switch {
	case strings.HasPrefix(m[2], "Heartbeat shutdown in progress"):
		r.stopping = true
	case strings.HasPrefix(m[2], "Configuration validated. Starting heartbeat"):
		r.stopping = false
	}
	if !complains.MatchString(m[1]) || r.stopping && strings.HasPrefix(m[2], "Late heartbeat: ") {
		return ""
	}
	return m[1] + ": " + m[2]
}

// excuse is a complaint that is no fault of the other node's.
type excuse struct {
	text      *regexp.Regexp
	scenarios []string // in these only; nil for all. A name that ends in a dash stands for all that begin with it
	pairs     pairs    // of these only
	why       string
}

// excuses are what a node complains of although the other one did nothing wrong: every one has been seen between two nodes of Linux-HA too.
var excuses = []excuse{
	{regexp.MustCompile(`Cannot lock ourselves into memory`), nil, always, "the machine that plays everything allows little locked memory"},
	{regexp.MustCompile(`Killing pid|Emergency Shutdown`), []string{"daemon-killed"}, always, "it was killed"},
	{regexp.MustCompile(`unknown directive|Configuration error`), []string{"reload-broken"}, always, "its files are wrong"},
	{regexp.MustCompile(`start of "|Giving up resource group|cannot run here`), []string{"start-fails", "takeover-fails"}, always, "a resource was told to fail"},
	{regexp.MustCompile(`This node lets go of everything \(stood still`), nil, always, "the machine that plays everything was held up: what it says is of itself"},
	{regexp.MustCompile(`Both (machines|nodes) (own|hold)|Letting go of`), []string{"partition", "one-way", "freeze-long", "debugged", "daemon-killed", "loss-", "busy"}, always, "both had it, as they must or may here"},
	{regexp.MustCompile(`is silent, but something still answers`), []string{"partition", "one-way", "freeze-long", "daemon-killed", "loss-half"}, always, "it is so: Linux-HA has no lease"},
	{regexp.MustCompile(`Late heartbeat|returning after partition`), []string{"partition-", "partition", "one-way", "freeze-", "debugged", "loss-", "cut-in-loss", "busy", "uplink-", "ping-lost-both"}, always,
		"the nodes did not hear each other, or a ping node, for longer than deadtime"},
	{regexp.MustCompile(`Message hist queue is filling up`), []string{"loss-"}, theirsOnly, "each acknowledges only at a moment at which it misses nothing; ours acknowledges what it can"},
}

// ofItself are complaints of a node about its own doings, with its name: it took its own word for an order that is over, or was held up.
const ofItself = `Ignored standby message '\w+' from %[1]s |Late heartbeat: Node %[1]s:`

// excused says whether a complaint of a node says nothing of the other one.
func (r *run) excused(node, text string) bool {
	if own, _ := regexp.MatchString(fmt.Sprintf(ofItself, regexp.QuoteMeta(node)), text); own {
		return true
	}
	return r.inTable(text)
}

// heldUp tells that a node of Linux-HA says that it did not get to run for longer than deadtime, which it was not meant to: what it says to itself is on no link.
func (r *run) heldUp(node, text string) bool {
	return strings.HasPrefix(text, "CRIT: Late heartbeat: Node "+node+": ") && !r.inTable(text)
}

// inTable says whether a complaint is one of the excuses.
func (r *run) inTable(text string) bool {
	return slices.ContainsFunc(excuses, func(e excuse) bool {
		here := len(e.scenarios) == 0 || slices.ContainsFunc(e.scenarios, func(s string) bool {
			return s == r.scenario.name || strings.HasSuffix(s, "-") && strings.HasPrefix(r.scenario.name, s)
		})
		return here && e.pairs.in(r.impls) && e.text.MatchString(text)
	})
}

// judgeLogs finds complaints in the logs of a pair in which Linux-HA takes part.
func (r *run) judgeLogs(result *Phase, from time.Duration) {
	for _, n := range r.world.nodes {
		f := r.world.followed[n.index]
		if f == nil || r.impls == [2]string{Hapair, Hapair} || !r.world.works(n) {
			continue
		}
		f.readAll()
		f.mu.Lock()
		bad := slices.Clone(f.bad)
		f.mu.Unlock()
		said := map[string]int{}
		var order []string
		for _, c := range bad {
			if c.at < from {
				continue
			}
			result.HeldUp = result.HeldUp || r.heldUp(n.name, c.text)
			if r.excused(n.name, c.text) {
				continue
			}
			if said[c.text]++; said[c.text] == 1 {
				order = append(order, c.text)
			}
		}
		for _, text := range order[:min(len(order), 5)] {
			result.fail("the log of %s complains: %s (%d times)", n.name, text, said[text])
		}
	}
}

// view is what a node says of itself and of the other one.
type view struct {
	holds     string // none, local, foreign, all, transition; "" where it does not say
	peer      string // active, dead, …
	peerHolds string // as holds
}

// agreePatience is how long nodes may take to come to an agreement after a phase: a script may take long.
const agreePatience = time.Minute

// accounts compares what the nodes say of themselves and each other with what the clients see, and finds daemons that ended by themselves.
func (r *run) accounts(p phase, result *Phase) {
	for _, n := range r.world.nodes {
		if !r.world.works(n) || !n.running || n.daemon == nil {
			continue
		}
		select {
		case <-n.daemon.Ended:
			result.fail("the daemon on %s ended by itself", n.name)
			n.running = false
		default:
		}
	}
	var faults []string
	ctx, cancel := context.WithTimeout(context.Background(), agreePatience)
	defer cancel()
	for {
		if faults = r.disagreements(ctx, p); len(faults) == 0 {
			return
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			result.Failures = append(result.Failures, faults...)
			return
		}
	}
}

// disagreements are what the nodes say that is not so.
func (r *run) disagreements(ctx context.Context, p phase) (faults []string) {
	fail := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	var views [2]view
	var runs [2]bool
	for i, n := range r.world.nodes {
		if runs[i] = r.world.works(n) && n.running; !runs[i] {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, 10*time.Second)
		v, err := n.impl.view(asked, n, r.world.nodes[1-i].name)
		cancel()
		if n.impl.name() == LinuxHA && r.timing.failback == "legacy" {
			v.holds = "" // it claims nothing then, it asks group by group
		}
		if err != nil {
			fail("ask %s what it knows: %v", n.name, err)
			return faults
		}
		views[i] = v
	}
	for i, n := range r.world.nodes {
		if !runs[i] {
			continue
		}
		v, other := views[i], r.world.nodes[1-i]
		if runs[1-i] && v.peer != "active" && !p.apart {
			fail("%s says that %s is %s", n.name, other.name, v.peer)
		}
		if !runs[1-i] && v.peer == "active" {
			fail("%s says that %s is active, which it is not", n.name, other.name)
		}
		for _, set := range []string{"local", "foreign"} {
			serves, exists := r.answersFor(n, set)
			if !exists {
				continue
			}
			if v.holds != "" && claims(v.holds, set) != serves && !(n.impl.name() == LinuxHA && (p.mayStay | p.claimsMore).in(r.impls)) {
				fail("%s says that it holds %s, but it %s for the %s addresses", n.name, v.holds,
					map[bool]string{true: "answers", false: "does not answer"}[serves], set)
			}
			if said := views[1-i].peerHolds; runs[1-i] && !p.apart && v.holds != "" && said != "" && claims(said, set) != claims(v.holds, set) {
				fail("%s says that it holds %s, but %s says that it holds %s", n.name, v.holds, other.name, said)
			}
		}
	}
	return faults
}

// claims tells whether what a node says it holds contains a set.
func claims(said, set string) bool { return said == set || said == "all" }
