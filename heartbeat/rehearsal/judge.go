package rehearsal

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hapair/heartbeat/rehearsal/probe"
)

// measured is what the probes say of one service in one phase.
type measured struct {
	gap    probe.Gap
	dual   []probe.Span
	moves  []probe.Move
	serves time.Duration // from the phase's begin; negative when it never came to that
}

// judge measures a phase, compares it with its bounds and the model, and records it. before is the model as it was at the
// phase's begin; reached says whether everything came to where it belongs.
func (r *run) judge(p phase, before *model, window probe.Span, reached bool) {
	for _, c := range r.world.clients {
		c.echo.Drain(window.To)
		c.ask.Drain(window.To)
	}
	result := Phase{Name: p.name, Starts: p.starts(), OverlongMS: milliseconds(r.overlong), Owners: map[string]string{}}
	limitOutage, limitDual, limitServes := r.limit(p.outage, before), r.limit(p.dual, before), r.limit(p.serves, before)
	probed := r.world.probed()
	for i, s := range r.world.pair.services {
		client := r.world.clientOf(s)
		if client == nil || !slices.Contains(probed, s) || client.echo.Answers(s.addr) == nil && client.ask.Answers(s.addr) == nil && r.model.owner[i] == nobody {
			continue
		}
		m := r.measure(s, window, r.model.owner[i])
		r.tell(s, m, before.owner[i] != nobody)
		result.Strips = append(result.Strips, newStrip(s, client.echo.Answers(s.addr), m.dual, window))
		held := r.world.holders(s, seen)
		result.Owners[s.addr.String()] = r.world.nodeNames(held)
		if !r.acceptable(p, s, held) {
			result.fail("%s: %s answers in the end, not %s", s.addr, r.world.nodeNames(held), r.wanted(p, s))
		}
		result.DualMS = max(result.DualMS, milliseconds(probe.Total(m.dual)))
		result.ServesMS = max(result.ServesMS, milliseconds(m.serves))
		if before.owner[i] == nobody || r.model.owner[i] == nobody {
			continue
		}
		if o := milliseconds(m.gap.Outage()); o >= result.OutageMS {
			result.OutageMS, result.OutageRawMS = o, milliseconds(m.gap.Raw())
		}
		r.split(p, &result, m.gap, before.owner[i], r.model.owner[i])
		moves := len(m.moves) - 1
		result.Moves = max(result.Moves, moves)
		allowed := p.moves
		if before.owner[i] != r.model.owner[i] {
			allowed++
		}
		both := withTheir.in(r.impls) && p.mayStay.in(r.impls) // then the client goes to whoever announced itself last
		if moves > allowed && !both && !p.anyNode.in(r.impls) {
			result.fail("%s moved %d times between the nodes, %d were due", s.addr, moves, allowed)
		}
	}
	r.judgeThrough(&result, window)
	r.judgeResets(p, &result, window.From)
	if !reached && len(result.Failures) == 0 {
		result.fail("not everything was in place %v after the first step", r.patienceOf(p))
	}
	result.compare(limitOutage, limitDual, limitServes, r.timing)
	r.accounts(p, &result)
	r.judgeTraffic(&result, window.From, window.To)
	r.judgeLogs(&result, window.From)
	if len(result.Failures) > 0 {
		r.result.Passed = false
	}
	r.result.Phases = append(r.result.Phases, result)
}

// split divides the outage of a planned move at the word of the node that gave: what comes after is the taker's alone, whoever gave.
func (r *run) split(p phase, result *Phase, gap probe.Gap, giver, taker int) {
	if !p.outage.planned || gap.Open || giver == nobody || taker == nobody || giver == taker {
		return
	}
	word, said := r.world.tap.released(giver, gap.From-50*time.Millisecond, gap.To)
	if !said {
		return // between two of ours other messages do it
	}
	given, taken := milliseconds(max(0, word-gap.From)), milliseconds(max(0, gap.To-max(word, gap.From)-gap.Stalled))
	if taken < result.TakenMS {
		return
	}
	result.GivenMS, result.TakenMS = given, taken
	if r.impls[taker] == Hapair {
		result.TakenLimitMS = milliseconds(p.outage.ours.span.of(r.timing))
		if taken > result.TakenLimitMS {
			result.fail("%s answered %.1f ms after %s had said that it gave, allowed are %.1f ms", r.world.nodes[taker].name, taken, r.world.nodes[giver].name, result.TakenLimitMS)
		}
	}
}

// limit chooses the bound that holds for this pair and this phase.
func (r *run) limit(l limits, before *model) *bound {
	taker := -1
	for i, o := range r.model.owner {
		if o != nobody && o != before.owner[i] {
			taker = o
		}
	}
	return l.of(r.impls, taker, r.world.pair)
}

// wanted words what the model wants for a service.
func (r *run) wanted(p phase, s *service) string {
	owner := r.ownerOf(s)
	switch {
	case owner == nobody:
		return "nobody"
	case p.anyNode.in(r.impls):
		return "one node alone"
	}
	return r.world.nodes[owner].name
}

// measure reads the probes' records.
func (r *run) measure(s *service, window probe.Span, owner int) measured {
	c := r.world.clientOf(s)
	answers := c.echo.Answers(s.addr)
	m := measured{
		gap:   probe.LongestGap(answers, c.echo.Sends(), c.echo.Period(), window),
		dual:  probe.Overlaps(c.ask.Answers(s.addr), c.ask.Rounds(), probe.AskPeriod, window),
		moves: probe.Moves(answers, probe.Span{From: window.From - 20*time.Millisecond, To: window.To}),
	}
	m.serves = -time.Millisecond
	for i := len(m.moves) - 1; i >= 0; i-- {
		if m.moves[i].Node == owner {
			m.serves = max(0, m.moves[i].At-window.From)
			break
		}
	}
	return m
}

// tell puts what a client saw into the time line.
func (r *run) tell(s *service, m measured, served bool) {
	w, source := r.world, "client"
	if g := m.gap; served && g.Outage() > 5*time.Millisecond {
		w.noteAt(g.From, source, KindClient, fmt.Sprintf("%s stops answering", s.addr))
		if !g.Open {
			text := fmt.Sprintf("%s answers again, after %.1f ms", s.addr, milliseconds(g.Outage()))
			if g.Stalled > time.Millisecond {
				text += fmt.Sprintf(" (%.1f ms less %.1f ms in which the prober itself did not run)", milliseconds(g.Raw()), milliseconds(g.Stalled))
			}
			w.noteAt(g.To, source, KindClient, text)
		}
	}
	for i, move := range m.moves {
		if move.Node != probe.Nobody && (i > 0 || !served) {
			w.noteAt(move.At, source, KindClient, fmt.Sprintf("%s is answered by %s", s.addr, w.nodes[move.Node].name))
		}
	}
	for _, span := range m.dual {
		w.noteAt(span.From, source, KindClient, fmt.Sprintf("BOTH nodes answer for %s, for %.0f ms", s.addr, milliseconds(span.To-span.From)))
	}
}

// tellAnnouncements puts into the time line whom the clients heard announce an address; one line for each burst.
func (r *run) tellAnnouncements() {
	const burst = 150 * time.Millisecond
	type claim struct {
		target netip.Addr
		node   int
	}
	for _, c := range r.world.clients {
		last := map[claim]time.Duration{}
		for _, a := range c.ask.Announcements() {
			who := claim{a.Target, a.Node}
			if before, known := last[who]; !known || a.At-before > burst {
				name := "somebody else"
				if a.Node != probe.Nobody {
					name = r.world.nodes[a.Node].name
				}
				r.world.noteAt(a.At, "client", KindClient, fmt.Sprintf("%s announces %s (%s)", name, a.Target, a.Form))
			}
			last[who] = a.At
		}
	}
}

// fail records what was not as it must be.
func (p *Phase) fail(format string, args ...any) {
	p.Failures = append(p.Failures, fmt.Sprintf(format, args...))
}

// compare judges the figures by the bounds.
func (p *Phase) compare(outage, dual, serves *bound, t timing) {
	if outage != nil {
		p.OutageLimitMS = milliseconds(outage.span.of(t))
		if outage.median != nil {
			p.MedianLimitMS = milliseconds(outage.median.of(t))
		}
		if p.OutageMS > p.OutageLimitMS {
			p.fail("no answers for %.1f ms, allowed are %.1f ms", p.OutageMS, p.OutageLimitMS)
		}
		if p.ThroughMS > p.OutageLimitMS {
			p.fail("nothing passed through the pair for %.1f ms, allowed are %.1f ms", p.ThroughMS, p.OutageLimitMS)
		}
	}
	if dual != nil {
		limit := milliseconds(dual.span.of(t))
		p.DualLimitMS = &limit
		if p.DualMS > limit {
			p.fail("both nodes answered for %.0f ms, allowed are %.0f ms", p.DualMS, limit)
		}
	}
	if serves != nil {
		p.ServesLimitMS = milliseconds(serves.span.of(t))
		if p.ServesMS > p.ServesLimitMS {
			p.fail("all addresses answered after %.0f ms, allowed are %.0f ms", p.ServesMS, p.ServesLimitMS)
		}
	}
}

// answersFor says whether a node answers for an address of the set, and whether there is one to answer for.
func (r *run) answersFor(n *node, set string) (serves, exists bool) {
	for _, s := range r.world.probed() {
		if (s.preferred == n.index) != (set == "local") {
			continue
		}
		exists = true
		serves = serves || r.world.holders(s, seen)&(1<<n.index) != 0
	}
	return serves, exists
}
