package rehearsal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"hapair/heartbeat/rehearsal/probe"
)

// run performs one scenario on a fresh world.
type run struct {
	world    *world
	scenario scenario
	impls    [2]string
	timing   timing
	model    *model
	active   int // who answered when the first phase began
	zero     time.Duration
	begun    time.Duration // when the phase under way did
	result   Run
	sharing  bool          // other performances share the machine
	mendBy   time.Duration // when a partition under way is to end that nobody is to take for a death; 0 for none
	overlong time.Duration // how much longer than meant such a one lasted, in the phase under way
}

// perform does the whole scenario. An error means that it could not be done; what went wrong with the pair is in the result.
func (r *run) perform(ctx context.Context) error {
	r.result.Passed = true
	if first := r.startPhase(); first != nil {
		if err := r.phase(ctx, *first); err != nil {
			return err
		}
	}
	for i, p := range r.scenario.phases {
		if i == 0 {
			r.chooseActive()
		}
		if err := r.phase(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// startPhase is the coming up of the pair, where the scenario does not spell it out.
func (r *run) startPhase() *phase {
	switch r.scenario.start {
	case together:
		return &phase{name: "start", steps: []step{{do: startDaemon, on: both}},
			serves: limits{ours: within(time.Second), theirs: within(45 * time.Second)}}
	case firstOnly, secondOnly:
		who := map[start]role{firstOnly: active, secondOnly: standby}[r.scenario.start]
		return &phase{name: "start alone", steps: []step{{do: startDaemon, on: who}},
			serves: limits{ours: &bound{span: span{initdeads: 1, plus: time.Second}}, theirs: &bound{span: span{initdeads: 1, plus: 45 * time.Second}}}}
	}
	return nil
}

// chooseActive names the node that answers for the first address: what happens, happens to it.
func (r *run) chooseActive() {
	if len(r.model.owner) > 0 && r.model.owner[0] != nobody {
		r.active = r.model.owner[0]
	}
}

// node is the node of a role, nobody for both.
func (r *run) node(who role) int {
	switch who {
	case active:
		return r.active
	case standby:
		return 1 - r.active
	}
	return nobody
}

// phase performs and judges one phase.
func (r *run) phase(ctx context.Context, p phase) error {
	if err := r.awaitSettled(ctx); err != nil {
		return fmt.Errorf("phase %q: %w", p.name, err)
	}
	// A fault comes at no particular moment.
	if err := pause(ctx, time.Duration(rand.Int64N(int64(300*time.Millisecond)))+100*time.Millisecond); err != nil {
		return err
	}
	before := r.model.clone()
	used := r.world.consumption()
	begun := r.world.clock.Now()
	r.begun, r.overlong = begun, 0
	if r.zero == 0 && p.name != "start" && p.name != "start alone" {
		r.zero = begun
	}
	for _, s := range p.steps {
		node := r.node(s.on)
		r.world.note("rehearsal", KindAction, r.sentence(s, node))
		if err := s.do.do(ctx, r, node, s); err != nil {
			return fmt.Errorf("phase %q: %s: %w", p.name, r.sentence(s, node), err)
		}
		if s.do.predict != nil {
			s.do.predict(r.model, node, s)
		}
	}
	reached, err := r.awaitOwners(ctx, p)
	if err != nil {
		return err
	}
	hold := max(p.hold.of(r.timing), 500*time.Millisecond)
	if r.impls != [2]string{Hapair, Hapair} {
		hold = max(hold, p.holdTheirs.of(r.timing))
	}
	if err := pause(ctx, hold); err != nil {
		return err
	}
	r.judge(p, before, probe.Span{From: begun, To: r.world.clock.Now()}, reached)
	r.judgeCost(p, used)
	return nil
}

// patienceOf is how long a phase may take to get where it should: far more than any bound, so that what is late is still
// seen to arrive.
func (r *run) patienceOf(p phase) time.Duration {
	base := 3*r.timing.deadtime + r.timing.initdead + 10*time.Second
	if r.impls != [2]string{Hapair, Hapair} {
		base += 45 * time.Second
	}
	return base
}

// awaitOwners waits until every address answers from where it belongs and, unless the phase lets it, from nowhere else.
func (r *run) awaitOwners(ctx context.Context, p phase) (bool, error) {
	deadline := r.world.clock.Now() + r.patienceOf(p)
	var since time.Duration
	for {
		now := r.world.clock.Now()
		switch {
		case !r.asPredicted(p, 50*time.Millisecond):
			since = 0
		case since == 0:
			since = now
		case now-since > 100*time.Millisecond:
			return true, nil
		}
		if now > deadline {
			return false, nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// asPredicted compares the answers of the last moments with the model.
func (r *run) asPredicted(p phase, moments time.Duration) bool {
	for _, s := range r.world.probed() {
		held := r.world.holders(s, moments)
		if !r.acceptable(p, s, held) {
			return false
		}
	}
	return true
}

// acceptable says whether a set of answering nodes is what the model wants for a service.
func (r *run) acceptable(p phase, s *service, held int) bool {
	owner := r.ownerOf(s)
	switch {
	case owner == nobody:
		return held == 0
	case p.anyNode.in(r.impls) && p.mayStay.in(r.impls):
		return held != 0
	case p.anyNode.in(r.impls):
		return held == 1 || held == 2
	case p.mayStay.in(r.impls):
		return held&(1<<owner) != 0
	}
	return held == 1<<owner
}

func (r *run) ownerOf(s *service) int {
	for i, t := range r.world.pair.services {
		if t == s {
			return r.model.owner[i]
		}
	}
	return nobody
}

// linuxHAPadding is for how long after its start linux-ha asks the other node for two seconds more of patience than its deadtime.
const linuxHAPadding = 5500 * time.Millisecond

// awaitSettled waits until nothing is in motion on any running node, by their own accounts.
func (r *run) awaitSettled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var last error
	for {
		all := true
		for _, n := range r.world.nodes {
			if !n.running || !r.world.works(n) {
				continue
			}
			ok, err := n.impl.settled(ctx, n)
			ok = ok && (n.impl.name() != LinuxHA || r.world.clock.Now()-n.begun > linuxHAPadding)
			if !ok {
				all, last = false, err
			}
		}
		if all {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("wait until nothing is in motion: %w (last: %v)", err, last)
		}
	}
}
