package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// nobodyServes begins a problem that is a group which runs nowhere, and the core's alarm about one.
const nobodyServes = "nobody serves "

// NotTheSame begins a problem that is a difference between the nodes.
const NotTheSame = "not the same on both nodes: "

// judge fills Health and Problems: what is wrong, and what to do about it, worst first.
func (s *Status) judge() {
	s.Health = Healthy
	failed := func(format string, args ...any) {
		s.Health = Failed
		s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
	}
	degraded := func(format string, args ...any) {
		if s.Health == Healthy {
			s.Health = Degraded
		}
		s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
	}
	for _, g := range s.Groups {
		s.judgeGroup(g, failed, degraded)
	}
	switch {
	case s.Isolated != "":
		degraded("this node is isolated (%s): it takes nothing over; see to its cables and its switch", s.Isolated)
	case s.ByMirror:
		degraded("%s is heard only by way of hosts that answer pings: no link between the nodes works, so nothing can be handed over; mend the links", s.Peer.Name)
	case s.PeerAnswers:
		degraded("%s is silent on every link and still answers on the service network: the links are broken, not the node, and nothing is taken over; mend the links", s.Peer.Name)
	}
	s.judgePeer(degraded)
	for _, l := range s.Links {
		switch l.State {
		case "up":
		case "oneway":
			degraded("link %s works in one direction only: %s is heard, and hears nothing of this node on it", l.ID, s.Peer.Name)
		case "unusable":
			if l.Kind == kindMirror {
				continue // not every network lets it pass
			}
			degraded("link %s is unusable here: %s", l.ID, l.Reason)
		default:
			if s.Peer.State != "dead" && s.Peer.State != "left" && s.Peer.State != "unknown" {
				degraded("link %s is %s: nothing heard from %s for %s; check the cable and that %s sends there", l.ID, l.State, s.Peer.Name, agePhrase(l.LastHeardMS), s.Peer.Name)
			}
		}
	}
	if s.Files != nil {
		for _, text := range s.Files.degrading {
			degraded("%s%s", NotTheSame, text)
		}
	}
	for _, p := range s.Pings {
		if !p.Up {
			degraded("ping node %s does not answer this node", p.Name)
		}
	}
	if s.PausedMS > 0 {
		degraded("takeover is paused for another %s: until then nobody takes over from a node that dies; `heartbeat pause 0` ends it", agePhrase(s.PausedMS))
	}
	if text := s.fencingNow(); text != "" {
		degraded("%s", text)
	}
	for _, a := range s.Alarms {
		if group, _, found := strings.Cut(a, ": it failed here"); found && strings.HasPrefix(group, nobodyServes) {
			s.Health = Failed // also while it is tried again
			if slices.ContainsFunc(s.Problems, func(p string) bool { return strings.HasPrefix(p, group+":") }) {
				continue // said already, with its remedy
			}
		}
		degraded("%s", a)
	}
	if s.StaleMS > 0 {
		degraded("the main loop has not answered for %d ms: this machine is overloaded or was suspended", s.StaleMS)
	}
}

// fencingNow says what goes on to make certain that the peer is off, "" where nothing does. What only a person can end has its alarm.
func (s *Status) fencingNow() string {
	f := s.Fencing
	if f == nil {
		return ""
	}
	switch f.State {
	case "delayed":
		return fmt.Sprintf("%s is fenced in %s: this node waits, so that %s comes first if it lives and serves; if it is certainly off, `heartbeat confirm-dead %s` saves the wait",
			s.Peer.Name, agePhrase(f.DueMS), s.Peer.Name, s.Peer.Name)
	case "running":
		return fmt.Sprintf("%s is being fenced by %s (attempt %d): until it is certainly off nothing of it is taken over", s.Peer.Name, f.Device, f.Tries)
	case "failed":
		if f.DueMS >= 0 {
			return fmt.Sprintf("%s is fenced again in %s (attempt %d failed)", s.Peer.Name, agePhrase(f.DueMS), f.Tries)
		}
	}
	return ""
}

// hangs is how long an operation may take before status speaks of it: most scripts are done in a second.
const hangs = 5 * time.Second

func (s *Status) judgeGroup(g GroupView, failed, degraded func(string, ...any)) {
	switch {
	case !s.Managed:
	case g.Double:
		failed("both nodes hold %s: it is being resolved; look at the links between the nodes", g.Name)
	case g.State == "stuck":
		failed("%s could not be stopped here (%s): stop it by hand, then run `heartbeat resource cleanup '%s'`", g.Name, g.Reason, g.Name)
	case g.Removed:
		degraded("%s is not in haresources any more and is being stopped (%s)", g.Name, g.State)
	case g.Owner == "" && g.State == "failed":
		failed(nobodyServes+"%s: it failed here (%s); repair it, then run `heartbeat resource cleanup '%s'`", g.Name, g.Reason, g.Name)
	case g.Owner == "" && s.Peer.State == "dead" && s.Fencing != nil && s.Fencing.State != "idle" && s.Fencing.State != "confirmed":
		failed("nobody serves %s: %s is dead, and until it is certainly off this node does not take it over", g.Name, s.Peer.Name)
	case g.Owner == "" && s.Peer.State == "dead" && s.State == "standby":
		failed("nobody serves %s: %s is dead and this node has not taken it over (%s)", g.Name, s.Peer.Name, g.Reason)
	case g.Owner == "":
		failed("nobody serves %s at the moment (%s here: %s)", g.Name, g.State, g.Reason)
	case g.State == "failed":
		degraded("%s failed here and cannot move back (%s): repair it, then run `heartbeat resource cleanup '%s'`", g.Name, g.Reason, g.Name)
	case g.State == "acquiring" || g.State == "releasing" || g.State == "adopting":
		degraded("%s is in motion (%s)", g.Name, g.State)
	}
	for _, r := range g.Resources {
		if took := time.Duration(r.DoingMS) * time.Millisecond; took >= hangs {
			text := fmt.Sprintf("%s of %s in %s has not ended for %s, since %s", r.Doing, r.Spec, g.Name, agePhrase(r.DoingMS), r.DoingSince)
			if r.LastOutput != "" {
				text += "; its last output: " + r.LastOutput
			}
			degraded("%s", text)
		}
		if g.Owner == s.Node && g.State == "held" && (r.State == "failed" || r.State == "stopped") {
			failed("resource %s of %s is %s although this node holds it: %s", r.Spec, g.Name, r.State, r.Error)
		}
	}
}

func (s *Status) judgePeer(degraded func(string, ...any)) {
	p := s.Peer
	switch {
	case p.Name == "":
	case p.State == "dead":
		heard := "never heard since this node started"
		if p.LastHeardMS >= 0 {
			heard = "last heard " + agePhrase(p.LastHeardMS) + " ago"
		}
		degraded("%s is dead, %s: nobody can take over from this node; see to that machine", p.Name, heard)
	case p.State == "left":
		degraded("heartbeat was stopped on %s: nobody can take over from this node; start it there", p.Name)
	case p.State == "unknown":
		degraded("%s has not been heard since this node started: check that it runs, and the links", p.Name)
	case p.State != "active":
		degraded("%s is still starting (%s)", p.Name, p.State)
	}
	if s.State == "init" || s.State == "up" {
		degraded("this node is still starting (%s)", s.State)
	}
}

// agePhrase renders milliseconds as a person says them.
func agePhrase(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case ms < 0:
		return "ever"
	case d < 10*time.Second:
		return d.String()
	case d < 2*time.Hour:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Minute).String()
}

// HoldsPhrase says what a node holds, by name while that is little: ", holds web, mail"; "" for nothing.
func (s *Status) HoldsPhrase(node string) string {
	const few = 3
	var names []string
	for _, g := range s.Groups {
		if node != "" && g.Owner == node {
			names = append(names, g.Name)
		}
	}
	switch {
	case len(names) == 0:
		return ""
	case len(names) == len(s.Groups) && len(names) > few:
		return fmt.Sprintf(", holds all %d groups", len(names))
	case len(names) > few:
		return fmt.Sprintf(", holds %d of %d groups", len(names), len(s.Groups))
	}
	return ", holds " + strings.Join(names, ", ")
}
