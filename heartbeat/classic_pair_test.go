package heartbeat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// pairCase is one situation of a mixed pair, played with ours as alpha and as beta. Group 10.0.0.1 prefers alpha, 10.0.0.2 beta.
type pairCase struct {
	name     string
	failback heartbeat.Failback
	play     func(s *stage)
	tolerate bool // Linux-HA logs errors in it whoever the peer is
}

// stage is a mixed pair under direction.
type stage struct {
	*mixedPair
	t *testing.T
}

func newStage(t *testing.T, ours int, failback heartbeat.Failback) *stage {
	return newStageBeating(t, ours, failback, 200*time.Millisecond, 2*time.Second)
}

func newStageBeating(t *testing.T, ours int, failback heartbeat.Failback, keepalive, deadtime time.Duration) *stage {
	w := newWorld(1, options{keepalive: keepalive, deadtime: deadtime, initdead: 5 * time.Second, failback: failback,
		groups: 2, links: 2, scriptTime: 50 * time.Millisecond, prepares: true})
	w.script = &scenario{w: w, fails: map[string]int{}}
	p := &mixedPair{world: w, ours: w.nodes[ours], theirs: w.nodes[1-ours]}
	p.site = installLinuxHA(p.theirs, 50*time.Millisecond)
	p.ours.exempt = p.exempt
	return &stage{p, t}
}

// pass lets time pass.
func (s *stage) pass(d time.Duration) { s.run(s.now + d) }

// on wants 10.0.0.1 and 10.0.0.2 to run on these nodes, and nowhere else.
func (s *stage) on(first, second string) {
	s.t.Helper()
	for i, want := range []string{first, second} {
		if owners := s.owners(s.cfg.Groups[i].Name); !slices.Equal(owners, []string{want}) || s.fault != "" {
			s.t.Fatalf("at %v %s runs on %v, not on %s; %s\n%s", s.now, s.cfg.Groups[i].Name, owners, want, s.fault, tail(s.world))
		}
	}
}

// both starts the pair and waits until it has settled.
func (s *stage) both() {
	s.theirs.start()
	s.pass(100 * time.Millisecond)
	s.ours.start()
	s.pass(16 * time.Second)
}

// lose has those messages of Linux-HA not arrive.
func (s *stage) lose(which func(wire.Message) bool) {
	s.overhear = func(m *machine, send heartbeat.Send) {
		if m == s.theirs && which(send.Msg) {
			s.cut(false, s.theirs)
			s.at(0, func() { s.cut(true, s.theirs) })
		}
	}
}

func (s *stage) cut(up bool, from ...*machine) {
	for _, c := range s.links {
		for _, m := range from {
			c.up[m.index] = up
		}
	}
}

var pairCases = []pairCase{
	{name: "both start", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		s.on("alpha", "beta")
	}},
	{name: "ours joins a stable one without the ten seconds", failback: heartbeat.FailbackOn, play: func(s *stage) {
		s.theirs.start()
		s.pass(20 * time.Second)
		s.on(s.theirs.name, s.theirs.name)
		s.ours.start()
		s.pass(4 * time.Second)
		s.on("alpha", "beta")
	}},
	{name: "Linux-HA joins a stable one of ours", failback: heartbeat.FailbackOn, play: func(s *stage) {
		s.ours.start()
		s.pass(20 * time.Second)
		s.on(s.ours.name, s.ours.name)
		s.theirs.start()
		s.pass(5 * time.Second)
		s.on("alpha", "beta")
	}},
	{name: "auto_failback off leaves them", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.ours.start()
		s.pass(20 * time.Second)
		s.theirs.start()
		s.pass(15 * time.Second)
		s.on(s.ours.name, s.ours.name)
	}},
	{name: "ours stops and they move at once", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		s.ours.request(heartbeat.RequestStop, "")
		s.pass(800 * time.Millisecond)
		s.on(s.theirs.name, s.theirs.name)
	}},
	{name: "Linux-HA stops and they move at once", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		s.theirs.request(heartbeat.RequestStop, "")
		s.pass(800 * time.Millisecond)
		s.on(s.ours.name, s.ours.name)
	}},
	{name: "ours says nothing in the last third of a second before it ends", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		last := s.now
		s.overhear = func(m *machine, _ heartbeat.Send) {
			if m == s.ours {
				last = s.now
			}
		}
		s.ours.request(heartbeat.RequestStop, "")
		for s.ours.node != nil {
			s.pass(time.Millisecond)
		}
		if quiet := s.now - last; quiet < 300*time.Millisecond || quiet > 700*time.Millisecond {
			s.t.Fatalf("it ended %v after its last frame: Linux-HA, which looks every 250 ms, can take it for one of an attacker when the next run has begun\n%s", quiet, tail(s.world))
		}
	}},
	{name: "both stop", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		s.ours.request(heartbeat.RequestStop, "")
		s.theirs.request(heartbeat.RequestStop, "")
		s.pass(10 * time.Second)
		if s.ours.node != nil || s.theirs.node != nil || len(s.owners("10.0.0.1"))+len(s.owners("10.0.0.2")) > 0 {
			s.t.Fatalf("they have not stopped\n%s", tail(s.world))
		}
	}},
	{name: "ours is killed and comes back within deadtime", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		s.ours.kill()
		s.pass(500 * time.Millisecond)
		s.ours.start()
		s.pass(5 * time.Second)
		s.on("alpha", "beta")
	}},
	{name: "ours holding everything is killed and comes back within deadtime", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.ours.start()
		s.pass(20 * time.Second)
		s.theirs.start()
		s.pass(15 * time.Second)
		s.ours.kill()
		s.pass(500 * time.Millisecond)
		s.on(s.ours.name, s.ours.name) // the resources do not notice
		s.ours.start()
		s.pass(10 * time.Second)
		s.on(s.ours.name, s.ours.name)
	}},
	{name: "Linux-HA holding everything is killed and comes back within deadtime", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.theirs.start()
		s.pass(20 * time.Second)
		s.ours.start()
		s.pass(5 * time.Second)
		s.theirs.kill()
		s.pass(500 * time.Millisecond)
		s.theirs.start()
		s.pass(20 * time.Second)
		s.on("alpha", "beta")
	}},
	{name: "Linux-HA is killed, comes back late, and stops what its predecessor left", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		s.theirs.kill()
		s.pass(5 * time.Second)
		s.theirs.start()
		s.pass(10 * time.Second)
		s.on(s.ours.name, s.ours.name)
	}},
	{name: "a start fails on ours", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.script.fails["start "+s.cfg.Groups[s.ours.index].Name] = 1
		s.both()
		s.on(s.theirs.name, s.theirs.name)
	}},
	{name: "a start fails on Linux-HA and a person takes over", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.script.fails["start "+s.cfg.Groups[s.theirs.index].Name] = 1
		s.both()
		s.pass(40 * time.Second)
		s.ours.request(heartbeat.RequestTakeover, "foreign")
		s.pass(3 * time.Second)
		s.on(s.ours.name, s.ours.name)
	}},
	{name: "a stop fails on ours and is mended", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		s.script.fails["stop "+s.cfg.Groups[s.ours.index].Name] = 1
		s.ours.request(heartbeat.RequestStandby, "all")
		s.pass(3 * time.Second)
		s.on("alpha", "beta") // it is not given away while something of it may run
		s.ours.request(heartbeat.RequestCleanup, "")
		s.pass(3 * time.Second)
		s.on(s.theirs.name, s.theirs.name)
	}},
	{name: "partition that both notice", failback: heartbeat.FailbackOff, tolerate: true, play: func(s *stage) {
		s.both()
		s.cut(false, s.ours, s.theirs)
		s.pass(8 * time.Second)
		s.cut(true, s.ours, s.theirs)
		s.pass(4 * time.Second)
		s.on(s.ours.name, s.ours.name) // Linux-HA restarts, ours stays
		s.pass(20 * time.Second)
		s.on(s.ours.name, s.ours.name)
	}},
	{name: "ours does not hear Linux-HA", failback: heartbeat.FailbackOff, tolerate: true, play: func(s *stage) {
		s.both()
		s.cut(false, s.theirs)
		s.pass(8 * time.Second)
		s.cut(true, s.theirs)
		s.pass(5 * time.Second)
		s.on("alpha", "beta") // it never missed ours, so ours lets go
	}},
	{name: "Linux-HA does not hear ours", failback: heartbeat.FailbackOff, tolerate: true, play: func(s *stage) {
		s.both()
		s.cut(false, s.ours)
		s.pass(8 * time.Second)
		s.on(s.theirs.name, s.theirs.name) // ours hears that, and lets go
		s.cut(true, s.ours)
		s.pass(5 * time.Second)
		s.on(s.ours.name, s.ours.name) // it restarts
	}},
	{name: "Linux-HA freezes", failback: heartbeat.FailbackOff, tolerate: true, play: func(s *stage) {
		s.both()
		s.theirs.paused = true
		s.pass(8 * time.Second)
		s.theirs.resume()
		s.pass(30 * time.Second)
		for _, g := range s.cfg.Groups {
			if owners := s.owners(g.Name); len(owners) != 1 {
				s.t.Fatalf("%s runs on %v\n%s", g.Name, owners, tail(s.world))
			}
		}
	}},
	{name: "partition shorter than deadtime", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		s.cut(false, s.ours, s.theirs)
		s.pass(1200 * time.Millisecond)
		s.cut(true, s.ours, s.theirs)
		s.pass(5 * time.Second)
		s.on("alpha", "beta")
	}},
	{name: "legacy: both start, power cut, return", failback: heartbeat.FailbackLegacy, play: func(s *stage) {
		s.both()
		s.on("alpha", "beta")
		for _, m := range []*machine{s.ours, s.theirs} {
			m.powerCut()
			s.pass(4 * time.Second)
			s.on(s.nodes[1-m.index].name, s.nodes[1-m.index].name)
			m.powered = true
			m.start()
			s.pass(8 * time.Second)
			s.on("alpha", "beta")
		}
	}},
	{name: "upgrade and the way back", failback: heartbeat.FailbackOff, play: func(s *stage) {
		s.both()
		build, exempt := s.theirs.build, s.theirs.exempt
		s.theirs.request(heartbeat.RequestStop, "")
		s.pass(3 * time.Second)
		s.theirs.build, s.theirs.exempt = nil, nil
		s.theirs.start()
		s.pass(5 * time.Second)
		s.on(s.ours.name, s.ours.name) // auto_failback off
		s.theirs.request(heartbeat.RequestTakeover, "all")
		s.pass(2 * time.Second)
		s.on(s.theirs.name, s.theirs.name)
		s.theirs.request(heartbeat.RequestStop, "")
		s.pass(3 * time.Second)
		s.on(s.ours.name, s.ours.name)
		s.theirs.build, s.theirs.exempt = build, exempt
		s.theirs.start()
		s.pass(5 * time.Second)
		s.on(s.ours.name, s.ours.name)
		s.ours.request(heartbeat.RequestStandby, "all")
		s.pass(3 * time.Second)
		s.on(s.theirs.name, s.theirs.name)
	}},
}

func TestMixedPair(t *testing.T) {
	for _, c := range pairCases {
		for ours, name := range []string{"alpha", "beta"} {
			t.Run(fmt.Sprintf("%s/ours is %s", c.name, name), func(t *testing.T) {
				s := newStage(t, ours, c.failback)
				c.play(s)
				if len(s.site.complaints) > 0 && !c.tolerate {
					t.Errorf("Linux-HA logs as errors: %q\n%s", s.site.complaints, tail(s.world))
				}
			})
		}
	}
}

// TestMixedAcknowledges wants Linux-HA to be able to forget what it has sent while half of all frames is lost and something is always missing: it keeps 500 messages,
// complains from 375 on, and stops to listen to its own clients with 250.
func TestMixedAcknowledges(t *testing.T) {
	s := newStageBeating(t, 0, heartbeat.FailbackOff, 50*time.Millisecond, 2*time.Second)
	s.both()
	s.opt.loss = 0.5
	most := uint64(0)
	for end := s.now + time.Minute; s.now < end; {
		s.pass(100 * time.Millisecond)
		most = max(most, s.site.last.seq-s.site.last.acked)
	}
	t.Logf("at most %d messages unacknowledged", most)
	if most > 100 {
		t.Errorf("%d messages of Linux-HA were unacknowledged", most)
	}
	s.on("alpha", "beta")
}

// TestMixedBeatsOften wants Linux-HA, which counts nothing but heartbeats that arrive, not to take ours for dead because three in a row are lost, where deadtime is
// four keepalives.
func TestMixedBeatsOften(t *testing.T) {
	s := newStageBeating(t, 0, heartbeat.FailbackOff, 50*time.Millisecond, 200*time.Millisecond)
	s.both()
	s.opt.loss = 0.35
	beats := 0
	s.overhear = func(m *machine, send heartbeat.Send) {
		if m == s.ours && send.Msg.Kind() == "status" {
			beats++
		}
	}
	s.pass(time.Minute)
	s.on("alpha", "beta")
	if deadtimes := int(time.Minute / (200 * time.Millisecond)); beats < 8*deadtimes {
		t.Errorf("%d heartbeats in %d deadtimes", beats, deadtimes)
	}
	for _, line := range s.trace {
		if strings.Contains(line, "is dead") || strings.Contains(line, "Letting go") {
			t.Error(line)
		}
	}
}

// TestMixedBelatedDone loses the word of Linux-HA that it has given a set up, until that is too old to be believed. It must not wait for the end of the hand-over,
// and ignore every request, for an hour.
func TestMixedBelatedDone(t *testing.T) {
	s := newStage(t, 0, heartbeat.FailbackOff)
	s.both()
	lost, until := "", time.Duration(0)
	s.lose(func(msg wire.Message) bool {
		if lost == "" && msg.Kind() == "ask_resources" && msg.Get("info") == "done" {
			lost, until = msg.Get("seq"), s.now+1100*time.Millisecond
		}
		return msg.Get("seq") == lost && s.now < until
	})
	s.theirs.request(heartbeat.RequestStandby, "all")
	s.pass(3 * time.Second)
	s.on("alpha", "alpha")
	if s.now < until || lost == "" {
		t.Fatal("the word was not lost")
	}
	s.theirs.request(heartbeat.RequestTakeover, "all")
	s.pass(3 * time.Second)
	s.on("beta", "beta")
	if len(s.site.complaints) > 0 {
		t.Errorf("Linux-HA logs as errors: %q", s.site.complaints)
	}
}

// TestMixedNetstrings has one hand-over follow another at once, with msgfmt netstring: Linux-HA must hear the end of its own scripts both times, or it waits for an
// hour and refuses every hand-over meanwhile.
func TestMixedNetstrings(t *testing.T) {
	const standby, takeover = heartbeat.RequestStandby, heartbeat.RequestTakeover
	for name, orders := range map[string][2]struct {
		asks int // 0 is ours
		kind heartbeat.RequestKind
	}{
		"ours gives back":              {{1, standby}, {0, standby}},
		"ours takes back":              {{0, standby}, {0, takeover}},
		"ours is asked to give back":   {{1, standby}, {1, takeover}},
		"ours is asked to take back":   {{0, standby}, {1, standby}},
		"ours gives what it has taken": {{0, takeover}, {0, standby}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 0, heartbeat.FailbackOff)
			s.cfg.Netstrings, s.site.forgetful = true, true
			s.both()
			holder := func(asks int, kind heartbeat.RequestKind) string { return s.cfg.Nodes[(asks+int(kind-standby)+1)%2] }
			for _, o := range orders {
				s.nodes[o.asks].request(o.kind, "all")
				for want := holder(o.asks, o.kind); !s.holdsAll(want); s.pass(10 * time.Millisecond) {
					if s.now > time.Minute {
						t.Fatalf("%s does not hold everything\n%s", want, tail(s.world))
					}
				}
				s.pass(300 * time.Millisecond)
			}
			s.pass(3 * time.Second)
			for _, giver := range []int{0, 1, 0} {
				if s.holdsAll(s.cfg.Nodes[1-giver]) {
					continue
				}
				s.nodes[giver].request(standby, "all")
				s.pass(5 * time.Second)
				s.on(s.cfg.Nodes[1-giver], s.cfg.Nodes[1-giver])
			}
			if len(s.site.complaints) > 0 {
				t.Errorf("Linux-HA logs as errors: %q", s.site.complaints)
			}
		})
	}
}

// holdsAll tells whether every group runs on this node, and only there.
func (s *stage) holdsAll(node string) bool {
	for _, g := range s.cfg.Groups {
		if !slices.Equal(s.owners(g.Name), []string{node}) {
			return false
		}
	}
	return true
}

// TestMixedStirs has Linux-HA wake after a standstill and say something else before its status, to a node that was isolated meanwhile: that it is heard ends the
// isolation, and must not be taken for leave to start what it runs.
func TestMixedStirs(t *testing.T) {
	s := newStage(t, 0, heartbeat.FailbackOff)
	s.pingNodes(1)
	s.both()
	s.deaf[s.ours.index] = true
	s.theirs.paused = true
	s.pass(4 * time.Second)
	until := s.now + 500*time.Millisecond
	s.lose(func(msg wire.Message) bool { return msg.Kind() == "status" && s.now < until })
	s.theirs.resume()
	s.pass(30 * time.Second)
	for _, g := range s.cfg.Groups {
		if owners := s.owners(g.Name); len(owners) != 1 || s.fault != "" {
			t.Fatalf("%s runs on %v; %s\n%s", g.Name, owners, s.fault, tail(s.world))
		}
	}
}

// TestMixedStoppingIsSilent has Linux-HA be silent for three seconds in the middle of its stop, as it is on a busy machine, on which it does without its priority
// from then on: it still holds what it has not given up, so nothing of that is started beside it. One that never comes back is replaced all the same.
func TestMixedStoppingIsSilent(t *testing.T) {
	for _, back := range []bool{true, false} {
		s := newStage(t, 0, heartbeat.FailbackOff)
		s.both()
		s.overhear = func(m *machine, send heartbeat.Send) {
			if m == s.theirs && send.Msg.Kind() == "resource" && send.Msg.Get("info") == "shutdown" {
				m.paused = true
			}
		}
		s.theirs.request(heartbeat.RequestStop, "")
		s.pass(3 * time.Second)
		if !s.theirs.paused {
			t.Fatal("it was not silent")
		}
		for _, line := range s.trace {
			if strings.Contains(line, "is dead") {
				t.Error(line)
			}
		}
		if back {
			s.theirs.resume()
		}
		s.pass(10 * time.Second)
		for _, g := range s.cfg.Groups {
			if owners := s.owners(g.Name); back && (len(owners) != 1 || owners[0] != "alpha" || s.fault != "") {
				t.Errorf("%s runs on %v; %s\n%s", g.Name, owners, s.fault, tail(s.world))
			} else if !back && !slices.Contains(owners, "alpha") {
				t.Errorf("%s was not taken over\n%s", g.Name, tail(s.world))
			}
		}
	}
}

// TestMixedHandOver tries each command with each set, from each side.
func TestMixedHandOver(t *testing.T) {
	for ours := range 2 {
		for asks := range 2 {
			for _, kind := range []heartbeat.RequestKind{heartbeat.RequestStandby, heartbeat.RequestTakeover} {
				for _, which := range []string{"all", "local", "foreign", "failback"} {
					t.Run(fmt.Sprintf("ours %d, node %d asks %d %s", ours, asks, kind, which), func(t *testing.T) {
						s := newStage(t, ours, heartbeat.FailbackOff)
						s.both()
						s.nodes[asks].request(kind, which)
						s.pass(4 * time.Second)
						s.on(afterRequest(s, asks, kind, which))
						if len(s.site.complaints) > 0 {
							t.Errorf("Linux-HA logs as errors: %q", s.site.complaints)
						}
					})
				}
			}
		}
	}
}

// TestMixedPrepares wants what can be done before a takeover to be done while the scripts of Linux-HA still stop its own, whether it goes standby
// or leaves: what is left then is all that clients miss of ours.
func TestMixedPrepares(t *testing.T) {
	for ours := range 2 {
		for _, kind := range []heartbeat.RequestKind{heartbeat.RequestStandby, heartbeat.RequestStop} {
			s := newStage(t, ours, heartbeat.FailbackOff)
			s.both()
			theirs := s.cfg.Groups[s.theirs.index].Name
			s.ours.prepared = nil
			s.theirs.request(kind, "all")
			before := false
			for end := s.now + 4*time.Second; s.now < end && !s.ours.runs[theirs]; {
				s.pass(5 * time.Millisecond)
				before = before || slices.Contains(s.ours.prepared, theirs) && s.theirs.runs[theirs]
			}
			s.on(s.ours.name, s.ours.name)
			if !before || !slices.Equal(s.ours.prepared, []string{theirs}) {
				t.Errorf("ours is %s, request %d: it prepared %q, before Linux-HA had stopped: %v\n%s", s.ours.name, kind, s.ours.prepared, before, tail(s.world))
			}
		}
	}
}

// TestMixedLook has Linux-HA, which holds everything, fall silent. If nobody answers for its addresses any more they are taken when its dead time is over;
// if somebody does it is asked once more, and its addresses are taken fifty milliseconds later with an alarm, unless it answers.
func TestMixedLook(t *testing.T) {
	for _, c := range []struct {
		name   string
		silent func(s *stage)
		least  time.Duration // from the beginning of the silence until ours takes everything; 0: it does not
		alarm  bool
	}{
		{"power cut", func(s *stage) { s.theirs.powerCut() }, 1800 * time.Millisecond, false},
		{"daemon killed", func(s *stage) { s.theirs.kill() }, 1850 * time.Millisecond, true},
		{"heard again at the last moment", func(s *stage) {
			s.cut(false, s.theirs)
			s.at(1901*time.Millisecond, func() { s.cut(true, s.theirs) }) // a heartbeat was lost just before, the next is to come 200 ms later
		}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, 1, heartbeat.FailbackOff)
			s.cfg.Look, s.theirs.leaseless = true, true
			s.theirs.start()
			s.pass(20 * time.Second)
			s.ours.start()
			s.pass(5 * time.Second)
			s.on(s.theirs.name, s.theirs.name)
			s.pass(100 * time.Millisecond)
			begun, taken := s.now, time.Duration(0)
			c.silent(s)
			for s.now < begun+5*time.Second && taken == 0 {
				s.pass(time.Millisecond)
				if s.ours.runs[s.cfg.Groups[0].Name] {
					taken = s.now - begun
				}
			}
			if alarm := lastOf(s.ours.alarms, "look"); (alarm != "") != c.alarm || (taken == 0) != (c.least == 0) || taken < c.least || taken > c.least+350*time.Millisecond {
				t.Errorf("taken after %v, want %v or a little more; alarm %q\n%s", taken, c.least, alarm, tail(s.world))
			}
		})
	}
}

// TestMixedLegacyAlarmsForAGroupThatNobodyServes: with auto_failback legacy a group that does not start on ours cannot be given to Linux-HA.
func TestMixedLegacyAlarmsForAGroupThatNobodyServes(t *testing.T) {
	s := newStage(t, 0, heartbeat.FailbackLegacy)
	s.script.fails["start 10.0.0.1"] = 3
	s.both()
	if got := lastOf(s.ours.alarms, "deserted 10.0.0.1"); !slices.ContainsFunc(s.ours.alarms, func(a heartbeat.Alarm) bool {
		return a.Key == "deserted 10.0.0.1" && strings.Contains(a.Text, "beta cannot be asked to run it with auto_failback legacy")
	}) || got != "" {
		t.Errorf("the last alarm is %q, of %+v\n%s", got, s.ours.alarms, tail(s.world))
	}
	s.on("alpha", "beta") // it was tried again
}

// TestMixedAnnouncesWhenFree: after a partition both hold everything, and Linux-HA restarts. When it has released, clients that went to it learn where the
// addresses are now.
func TestMixedAnnouncesWhenFree(t *testing.T) {
	for ours := range 2 {
		s := newStage(t, ours, heartbeat.FailbackOff)
		s.both()
		s.cut(false, s.ours, s.theirs)
		s.pass(5 * time.Second)
		s.cut(true, s.ours, s.theirs)
		begun := s.now
		for s.now < begun+20*time.Second && len(s.owners("10.0.0.1"))+len(s.owners("10.0.0.2")) > 2 {
			s.pass(5 * time.Millisecond)
		}
		s.pass(200 * time.Millisecond)
		for _, g := range s.cfg.Groups {
			if !slices.ContainsFunc(s.ours.announced, func(a announcement) bool { return a.group == g.Name && a.at > begun && !a.runsThere }) {
				t.Errorf("%s is not announced by %s, which has it alone now: %+v\n%s", g.Name, s.ours.name, s.ours.announced, tail(s.world))
			}
		}
	}
}

// afterRequest is where both groups belong when each ran on its own node before. A Linux-HA node takes the word failback of another one's
// hb_takeover for all.
func afterRequest(s *stage, asks int, kind heartbeat.RequestKind, which string) (first, second string) {
	me, other := s.nodes[asks].name, s.nodes[1-asks].name
	target := map[heartbeat.RequestKind]string{heartbeat.RequestStandby: other, heartbeat.RequestTakeover: me}[kind]
	places := []string{"alpha", "beta"}
	for i, g := range s.cfg.Groups {
		local := g.Preferred == me
		if which == "all" || which == "local" && local || which == "foreign" && !local {
			places[i] = target
		}
	}
	return places[0], places[1]
}

// A live peer that never answers reqnodes must not hold up the start for ever.
func TestReqnodesUnanswered(t *testing.T) {
	cfg := newWorld(1, options{keepalive: 200 * time.Millisecond, deadtime: 2 * time.Second, initdead: 5 * time.Second, groups: 1, links: 1}).cfg
	cfg.Node, cfg.Peer = "alpha", "beta"
	now := heartbeat.Instant{Mono: time.Minute, Boot: time.Minute, Wall: epoch}
	node, err := heartbeat.New(cfg, heartbeat.Boot{Generation: 1, UUID: [16]byte{1}}, now)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for seq := 1; seq < 75; seq++ {
		now.Mono, now.Boot = now.Mono+cfg.Keepalive, now.Boot+cfg.Keepalive
		status := message("status", "st", "up", "dt", "7d0", "protocol", "1", "src", "beta", "seq", fmt.Sprintf("%x", seq), "hg", "5", "ts", "1")
		out := node.Step(now, heartbeat.Received{Link: cfg.Links[0].ID, Msg: status})
		for _, a := range append(out, node.Step(now, heartbeat.Tick{})...) {
			if send, ok := a.(heartbeat.Send); ok && send.Msg.Kind() == "reqnodes" {
				asked++
			}
		}
	}
	if asked < 8 || asked > 12 {
		t.Errorf("it asked %d times in 15 s", asked)
	}
	if s := node.Status(); s.Member != "active" {
		t.Errorf("after 15 s it is still %s", s.Member)
	}
}
