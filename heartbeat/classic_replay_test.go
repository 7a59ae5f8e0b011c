package heartbeat_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// TestReplay puts a node of ours into the place of one of the two real ones of a recording, and plays it what the other said. What ours says
// and does is in testdata/cluster/classic/NAME.ROLE.golden, with what the real one said otherwise at the end; -update writes it anew.
func TestReplay(t *testing.T) {
	for _, file := range recordingNames(t) {
		r := readRecording(t, file)
		for _, role := range r.cfg.Nodes {
			if len(r.said(role)) == 0 {
				continue // it never ran
			}
			t.Run(r.name+"/"+role, func(t *testing.T) {
				p := newReplay(r, role)
				p.play()
				p.check(t)
				golden := strings.TrimSuffix(file, ".txt") + "." + role + ".golden"
				if *update {
					if err := os.WriteFile(golden, []byte(p.transcript()), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got := p.transcript(); got != string(want) {
					t.Errorf("the transcript differs from %s; got:\n%s", golden, got)
				}
			})
		}
	}
}

// replay is a node of ours that hears a recording.
type replay struct {
	r         *recording
	role      string
	node      *heartbeat.Node // nil while it does not run
	boot      heartbeat.Boot
	now       time.Duration
	queue     []happening
	order     int
	lines     []string
	says      []said
	acks      int
	seq       uint64 // of ours
	heard     int
	runs      map[string]bool
	startFail int
	cut       bool
	lossy     map[uint64]bool // numbers of the peer that were lost the first time
	linkDown  map[string]bool
	requests  uint64
}

// happening is something in a replay's future.
type happening struct {
	at    time.Duration
	order int
	run   func()
}

// scriptsTake is how long starting or stopping a group takes in a replay.
const scriptsTake = 50 * time.Millisecond

func newReplay(r *recording, role string) *replay {
	p := &replay{r: r, role: role, runs: map[string]bool{}, lossy: map[uint64]bool{}, linkDown: map[string]bool{}}
	p.boot = heartbeat.Boot{UUID: r.uuid[role], Seed: 1, Epochs: map[string]uint64{}}
	for _, l := range r.lines {
		if l.node == role && l.done == nil && l.msg.Kind() == "NS_rexmit" {
			seq, _ := strconv.ParseUint(l.msg.Get("firstseq"), 10, 64)
			p.lossy[seq] = true // that is how it is known what was lost
		}
	}
	return p
}

func (p *replay) at(t time.Duration, run func()) {
	p.order++
	p.queue = append(p.queue, happening{t, p.order, run})
}

// play lets the recording happen.
func (p *replay) play() {
	first := map[uint64]bool{}
	for _, l := range p.r.lines {
		switch {
		case l.done != nil:
			p.at(l.at, func() { p.do(l) })
		case l.node != p.role:
			lost := p.lossy[l.seq] && !first[l.seq]
			first[l.seq] = true
			p.at(l.at, func() {
				if !lost && !p.cut {
					p.hear(l)
				}
			})
		}
	}
	for len(p.queue) > 0 {
		slices.SortFunc(p.queue, func(a, b happening) int {
			if a.at != b.at {
				return int(a.at - b.at)
			}
			return a.order - b.order
		})
		next := p.queue[0]
		wake := time.Hour
		if p.node != nil {
			wake = max(p.node.Wake().Mono-replayBase, p.now+10*time.Microsecond)
		}
		if wake < next.at {
			p.now = wake
			p.step(heartbeat.Tick{})
			continue
		}
		p.queue = p.queue[1:]
		p.now = next.at
		next.run()
	}
}

// replayBase is the monotonic clock at the first packet of a recording.
const replayBase = time.Minute

func (p *replay) instant() heartbeat.Instant {
	at := replayBase + p.now
	return heartbeat.Instant{Mono: at, Boot: at, Wall: p.r.ts.Add(p.now)}
}

func (p *replay) note(format string, args ...any) {
	p.lines = append(p.lines, fmt.Sprintf("%7.2f ", p.now.Seconds())+fmt.Sprintf(format, args...))
}

// hear hands the node a message of the peer, on the first link that is up.
func (p *replay) hear(l recorded) {
	if p.node == nil {
		return
	}
	if g := gist(l.msg); g != "" {
		p.note("hears  %s", g)
	}
	if l.msg.Kind() == "NS_ackmsg" { // it acknowledges what the real node had sent by then
		acked, _ := strconv.ParseUint(l.msg.Get("ackseq"), 16, 64)
		l.msg = l.msg.Clone()
		l.msg.Set("ackseq", strconv.FormatUint(min(acked, p.seq), 16))
	}
	p.heard++
	for _, link := range p.r.cfg.Links {
		if !p.linkDown[link.ID] {
			p.step(heartbeat.Received{Link: link.ID, From: l.node, Msg: l.msg.Clone()})
		}
	}
}

// do does to the node what was done to the real one; what was done to the peer is only noted.
func (p *replay) do(l recorded) {
	what := strings.Join(l.done, " ")
	if l.node == "-" {
		p.note("-      %s", what)
		if len(l.done) == 1 {
			p.cut = what == "cut"
		} else if l.done[0] != "loss" {
			p.linkDown["bcast "+l.done[1]] = l.done[0] == "cut"
		}
		return
	}
	if l.node != p.role {
		if l.done[0] != "run" && l.done[0] != "start" && l.done[0] != "boot" {
			p.note("-      %s on %s", what, l.node)
		}
		if len(l.done) == 2 && (l.done[0] == "cut" || l.done[0] == "restore") {
			p.linkDown["bcast "+l.done[1]] = l.done[0] == "cut"
		}
		return
	}
	switch l.done[0] {
	case "run":
		p.start(l.done[1])
		return
	case "start", "boot":
		return
	}
	p.note("-      %s here", what)
	switch l.done[0] {
	case "power-cut":
		p.node, p.runs, p.boot.Held = nil, map[string]bool{}, nil
	case "kill":
		p.node = nil
	case "stop", "restart":
		p.request(heartbeat.Request{Kind: heartbeat.RequestStop})
	case "reload":
		p.request(heartbeat.Request{Kind: heartbeat.RequestQuit})
	case "standby":
		p.request(heartbeat.Request{Kind: heartbeat.RequestStandby, Which: l.done[1]})
	case "takeover":
		p.request(heartbeat.Request{Kind: heartbeat.RequestTakeover, Which: l.done[1]})
	case "fail":
		p.startFail = 1
	case "cut", "restore":
		p.linkDown["bcast "+l.done[1]] = l.done[0] == "cut"
		p.linkDown["ping"] = l.done[0] == "cut"
	}
}

func (p *replay) request(ev heartbeat.Request) {
	p.requests++
	ev.ID, ev.By = p.requests, "operator"
	p.step(ev)
}

// start starts the daemon, where the real one was started; ours does not restart itself after a partition.
func (p *replay) start(hg string) {
	if p.node != nil {
		p.note("-      the real node starts again here; ours runs on")
		return
	}
	generation, _ := strconv.ParseUint(hg, 16, 32)
	p.boot.Generation, p.seq = uint32(generation), 0
	cfg := p.r.cfg
	cfg.Node, cfg.Peer = p.role, map[string]string{"alpha": "beta", "beta": "alpha"}[p.role]
	node, err := heartbeat.New(cfg, p.boot, p.instant())
	if err != nil {
		panic(err)
	}
	p.node = node
	p.note("-      starts")
	p.step(heartbeat.Tick{})
}

func (p *replay) step(ev heartbeat.Event) {
	if p.node == nil {
		return
	}
	for _, a := range p.node.Step(p.instant(), ev) {
		p.perform(a)
	}
}

func (p *replay) perform(a heartbeat.Action) {
	switch a := a.(type) {
	case heartbeat.Send:
		p.send(a)
	case heartbeat.Examine:
		running := p.runs[a.Group]
		p.later(heartbeat.Done{Op: a.Op, Running: running})
	case heartbeat.Acquire:
		p.note("starts %s: %s", a.Group, a.Reason)
		if p.startFail > 0 {
			p.startFail--
			p.later(heartbeat.Done{Op: a.Op, Err: errors.New("exit status 1")})
			return
		}
		p.runs[a.Group] = true
		p.later(heartbeat.Done{Op: a.Op})
	case heartbeat.Release:
		p.note("stops  %s: %s", a.Group, a.Reason)
		p.runs[a.Group] = false
		p.later(heartbeat.Done{Op: a.Op})
	case heartbeat.Reply:
		if a.Err != nil {
			p.note("refuses: %v", a.Err)
		}
	case heartbeat.Report:
		if a.Level >= heartbeat.Warn && !strings.HasPrefix(a.Text, "Late heartbeat") && !strings.Contains(a.Text, " is late: ") {
			p.note("logs   %s", a.Text)
		}
	case heartbeat.Persist:
		p.boot.Epochs, p.boot.Held = a.Epochs, a.Held
	case heartbeat.Halt:
		p.note("-      ends: %s", a.Reason)
		p.node = nil
	}
}

func (p *replay) later(ev heartbeat.Done) {
	node := p.node
	p.at(p.now+scriptsTake, func() {
		if p.node == node {
			p.step(ev)
		}
	})
}

func (p *replay) send(s heartbeat.Send) {
	if seq, err := strconv.ParseUint(s.Msg.Get("seq"), 16, 64); err == nil {
		p.seq = max(p.seq, seq)
	}
	switch kind := s.Msg.Kind(); {
	case kind == "NS_st":
		if !p.linkDown["ping"] {
			answer := message("NS_st", "st", "ping", "info", "ping", "src", s.Msg.Get("src"), "ts", s.Msg.Get("ts"))
			p.at(p.now+time.Millisecond, func() { p.step(heartbeat.Received{Link: s.Link, From: s.Msg.Get("src"), Msg: answer}) })
		}
	case kind == "NS_ackmsg":
		p.acks++
	case kind == "NS_rexmit":
		p.note("asks for %s", s.Msg.Get("firstseq"))
		p.resend(s.Msg)
	case gist(s.Msg) != "":
		p.note("says   %s", gist(s.Msg))
		p.says = append(p.says, said{p.now, gist(s.Msg)})
	}
}

// resend answers a request as the recorded node would have answered it.
func (p *replay) resend(ask wire.Message) {
	seq, _ := strconv.ParseUint(ask.Get("firstseq"), 10, 64)
	for _, l := range p.r.lines {
		if l.node != p.role && l.seq == seq && l.at <= p.now && l.done == nil {
			p.at(p.now+2*time.Millisecond, func() {
				if !p.cut {
					p.hear(l)
				}
			})
		}
	}
}

// check looks at what holds for every recording.
func (p *replay) check(t *testing.T) {
	t.Helper()
	if p.heard > 40 && (p.acks < p.heard/25 || p.acks > p.heard/5) {
		t.Errorf("%d acknowledgements for %d messages", p.acks, p.heard)
	}
}

// transcript is everything worth reading.
func (p *replay) transcript() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s in the place of %s, hearing what was recorded of the other node.\n", "Ours", p.role)
	for _, l := range p.lines {
		fmt.Fprintln(&b, l)
	}
	if p.node != nil {
		s := p.node.Status()
		fmt.Fprintf(&b, "\nIn the end: %s, rscstatus %s, peer %s holding %v\n", s.State, s.ClassicHold, s.Peer.State, s.Peer.Holds)
		for _, g := range s.Groups {
			fmt.Fprintf(&b, "  %s %s, owner %q\n", g.Name, g.State, g.Owner)
		}
	}
	b.WriteString("\nWhat the real node said otherwise (-), and ours (+), between two things that were done:\n")
	real, ours := p.r.phases(p.r.said(p.role)), p.r.phases(p.says)
	for i := range real {
		a, c := strings.Split(real[i], "\n    "), strings.Split(ours[i], "\n    ")
		for _, line := range a {
			if !slices.Contains(c, line) && !internal(line, p.role) {
				fmt.Fprintf(&b, "  %d - %s\n", i, line)
			}
		}
		for _, line := range c {
			if !slices.Contains(a, line) && line != "" {
				fmt.Fprintf(&b, "  %d + %s\n", i, line)
			}
		}
	}
	return b.String()
}

// internal is what a Linux-HA node broadcasts although it concerns itself only: its own programs talk that way.
func internal(line, node string) bool {
	return line == "" || strings.HasPrefix(line, "ip-request-resp dest="+node) || strings.HasSuffix(line, "info=mach_down") || strings.HasPrefix(line, "stonith ")
}
