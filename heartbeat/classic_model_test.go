package heartbeat_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// linuxHA models a node of Linux-HA Heartbeat 3.0.6 as it is seen from outside: protocol sections 5 to 7 and 10.1, its bugs included, since
// a node of ours has to live with them. It takes the same events and asks for the same actions as a node of ours, so that it runs on a
// machine of the simulation; TestModelSaysWhatWasRecorded holds it against recordings of the real program.
type linuxHA struct {
	site   *lhaSite
	m      *machine // its scripts look at what really runs
	cfg    heartbeat.Config
	boot   heartbeat.Boot
	rng    *rand.Rand
	now    heartbeat.Instant
	out    []heartbeat.Action
	due    []alarm
	order  uint64
	handed time.Duration // when the last received frame reaches the main process
	ended  bool

	lhaSession
	lhaMembership
	lhaResources
	lhaScripts
	lhaPings
}

// alarm is something that the model does by itself later.
type alarm struct {
	at    time.Duration
	order uint64
	run   func()
}

// lhaSession is its reliability layer.
type lhaSession struct {
	seq      uint64
	sent     []wire.Message // all sequenced messages of this run; the real one keeps 500
	resent   map[uint64]time.Duration
	acked    uint64
	peerGen  uint64
	last     uint64
	missing  map[uint64]time.Duration
	status   uint64 // highest status of the peer
	trigger  uint64
	heard    bool
	peerUUID string
}

// lhaMembership is what it knows of who is there.
type lhaMembership struct {
	member     string
	peer       string // status of the peer: "" before the first, init, up, active, dead
	lastUpdate time.Duration
	lastGap    time.Duration // for the late check; -1 for none
	deadAfter  time.Duration
	asked      bool // reqnodes goes out each second
	padding    time.Duration
	answered   bool
}

// lhaSite is an installation of Linux-HA on a machine of the simulation: what outlives its daemon.
type lhaSite struct {
	m          *machine
	speed      time.Duration // how long a script takes besides the resources, at most
	carried    string        // heartbeat -R -C: what the previous run held and left running
	latency    time.Duration // between a frame's arrival and its processing, at most
	downtime   time.Duration // a stopped daemon is started again after this; 0 for never
	forgetful  bool          // its FIFO loses what comes within a second of a netstring
	last       *linuxHA      // the newest daemon, which may have ended
	complaints []string      // what it logged as an error
}

// installLinuxHA makes a machine run Linux-HA.
func installLinuxHA(m *machine, speed time.Duration) *lhaSite {
	site := &lhaSite{m: m, speed: speed}
	m.build = func(m *machine, cfg heartbeat.Config) (daemon, error) {
		site.last = newLinuxHA(site, cfg)
		return site.last, nil
	}
	m.exempt = func(heartbeat.Acquire) bool { return true } // what it starts is its own affair
	return site
}

func newLinuxHA(site *lhaSite, cfg heartbeat.Config) *linuxHA {
	m := site.m
	l := &linuxHA{site: site, m: m, cfg: cfg, boot: m.boot, now: m.w.instant(), rng: rand.New(rand.NewPCG(m.boot.Seed, 7))}
	l.resent, l.missing, l.trigger = map[uint64]time.Duration{}, map[uint64]time.Duration{}, l.rng.Uint64N(10)
	l.lastGap, l.deadAfter, l.padding = -1, cfg.Deadtime, 2*time.Second
	l.started = map[string]bool{}
	l.linkHeard = map[string]time.Duration{}
	l.ops, l.busy = map[heartbeat.OpID]func(heartbeat.Done){}, map[string][]func(){}
	if site.carried != "" {
		l.hold, l.kept, site.carried = lhaHold(site.carried), true, ""
	}
	l.after(5*time.Second, func() { l.padding = 0 })
	l.setMember("init")
	l.setMember("up")
	l.after(cfg.Keepalive, l.beat)
	l.after(time.Duration(l.rng.Int64N(int64(250*time.Millisecond))), l.poll)
	return l
}

// Step is the seam with the machine.
func (l *linuxHA) Step(now heartbeat.Instant, ev heartbeat.Event) []heartbeat.Action {
	l.now = now
	if !l.ended {
		l.event(ev)
	}
	out := l.out
	l.out = nil
	return out
}

func (l *linuxHA) event(ev heartbeat.Event) {
	switch ev := ev.(type) {
	case heartbeat.Tick:
		l.alarms()
	case heartbeat.Received: // the process that reads a link hands over in order, and takes its time
		l.handed = max(l.handed, l.now.Mono+l.m.w.upTo(l.site.latency))
		l.after(l.handed-l.now.Mono, func() { l.receive(ev) })
	case heartbeat.Done:
		if then := l.ops[ev.Op]; then != nil {
			delete(l.ops, ev.Op)
			then(ev)
		}
	case heartbeat.Request:
		l.operator(ev)
	}
}

// Wake is the next alarm.
func (l *linuxHA) Wake() heartbeat.Instant {
	at := l.now.Mono + time.Hour
	for _, a := range l.due {
		at = min(at, a.at)
	}
	return heartbeat.Instant{Mono: at}
}

// Status is nothing: the model is looked at from outside only.
func (l *linuxHA) Status() heartbeat.Status { return heartbeat.Status{Node: l.cfg.Node} }

// Walked is nothing: the state table is ours.
func (l *linuxHA) Walked(func(string, bool)) {}

func (l *linuxHA) after(d time.Duration, run func()) {
	l.order++
	l.due = append(l.due, alarm{at: l.now.Mono + d, order: l.order, run: run})
}

// alarms runs what is due, in order.
func (l *linuxHA) alarms() {
	for !l.ended {
		next := -1
		for i, a := range l.due {
			if a.at <= l.now.Mono && (next < 0 || a.at < l.due[next].at || a.at == l.due[next].at && a.order < l.due[next].order) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		run := l.due[next].run
		l.due = slices.Delete(l.due, next, next+1)
		run()
	}
}

func (l *linuxHA) logf(format string, args ...any) {
	l.out = append(l.out, heartbeat.Report{Level: heartbeat.Info, Text: fmt.Sprintf(format, args...), Transition: true})
}

// complain is a line that the real program logs as an error.
func (l *linuxHA) complain(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.site.complaints = append(l.site.complaints, text)
	l.out = append(l.out, heartbeat.Report{Level: heartbeat.LevelError, Text: text, Transition: true, Reason: "ERROR"})
}

// send numbers a message, sends it, and processes it itself, as the real one does inside the call.
func (l *linuxHA) send(m wire.Message) {
	if l.ended {
		return
	}
	switch m.Get("dest") {
	case l.cfg.Peer:
		m.AddBinary("destuuid", append([]byte(l.peerUUID), make([]byte, 16-len(l.peerUUID))...))
	case l.cfg.Node:
		m.AddBinary("destuuid", l.boot.UUID[:])
	}
	m.Set("src", l.cfg.Node)
	m.AddBinary("srcuuid", l.boot.UUID[:])
	sequenced := !strings.HasPrefix(m.Kind(), "NS_")
	if sequenced {
		l.seq++
		m.Add("seq", strconv.FormatUint(l.seq, 16))
		l.sent = append(l.sent, m)
	}
	m.Add("hg", strconv.FormatUint(uint64(l.boot.Generation), 16))
	m.Add("ts", strconv.FormatInt(l.now.Wall.Unix(), 16))
	if sequenced {
		m.Add("ld", "0.00 0.00 0.00 1/1 1")
		l.sent[len(l.sent)-1] = m
	}
	m.Add("ttl", strconv.Itoa(l.cfg.HopFudge+len(l.cfg.Nodes)+len(l.cfg.Pings)))
	l.out = append(l.out, heartbeat.Send{Msg: m})
	if sequenced {
		l.process(m, true)
	}
}

// message builds a message of a kind from name, value pairs.
func message(kind string, pairs ...string) wire.Message {
	m := wire.New(kind)
	for i := 0; i < len(pairs); i += 2 {
		m.Add(pairs[i], pairs[i+1])
	}
	return m
}

// receive is process_clustermsg: protocol section 5.3.
func (l *linuxHA) receive(ev heartbeat.Received) {
	m := ev.Msg
	if l.pingAnswer(m) {
		return
	}
	if m.Get("src") != l.cfg.Peer {
		if m.Get("src") != l.cfg.Node {
			l.complain("process_status_message: bad node [%s] in message", m.Get("src"))
		}
		return
	}
	if strings.HasPrefix(m.Kind(), "NS_") {
		l.unsequenced(m)
		return
	}
	seq, err1 := strconv.ParseUint(m.Get("seq"), 16, 64)
	gen, err2 := strconv.ParseUint(m.Get("hg"), 16, 64)
	if err1 != nil || err2 != nil || seq == 0 || m.Get("ts") == "" {
		l.complain("should_drop_message: bad sequence number in %s", m)
		return
	}
	if gen < l.peerGen {
		l.complain("should_drop_message: attempted replay attack [%s]? [gen = %d, curgen = %d]", l.cfg.Peer, gen, l.peerGen)
		return
	}
	healed := false
	if m.Kind() == "status" {
		if healed = gen == l.peerGen && l.peer == "dead"; healed {
			if seq <= l.status {
				return
			}
			l.returned()
		} else if gen > l.peerGen {
			if l.peerGen > 0 {
				l.logf("Heartbeat restart on node %s", l.cfg.Peer)
			}
			l.last, l.status, l.lastGap, l.mayHold = 0, 0, -1, true
			clear(l.missing)
			healed = true
		}
		l.peerGen = gen
	}
	l.heard = true
	l.linkHeard[ev.Link] = l.now.Mono
	l.peerUUID = m.Get("srcuuid")
	if l.sequence(seq, healed) {
		l.process(m, false)
	}
}

// sequence places a number among those received; false for what is known already.
func (l *linuxHA) sequence(seq uint64, resync bool) bool {
	switch {
	case l.last == 0 || seq == l.last+1:
	case seq == l.last:
		return false
	case seq > l.last+251:
		l.complain("lost a lot of packets!")
		clear(l.missing)
	case seq > l.last:
		for s := l.last + 1; s < seq; s++ {
			lowest := 50 * time.Millisecond
			l.missing[s] = l.now.Mono + lowest + time.Duration(l.rng.Int64N(int64(l.cfg.MaxRexmitDelay-lowest)))
			l.after(l.missing[s]-l.now.Mono, l.askMissing)
		}
	default:
		if _, late := l.missing[seq]; late {
			delete(l.missing, seq)
			return true
		}
		if !resync {
			return false
		}
	}
	l.last = seq
	if seq%10 == l.trigger && len(l.missing) == 0 {
		l.send(message("NS_ackmsg", "dest", l.cfg.Peer, "ackseq", strconv.FormatUint(seq, 16)))
	}
	return true
}

// askMissing requests what is due.
func (l *linuxHA) askMissing() {
	for _, s := range slices.Sorted(maps.Keys(l.missing)) {
		if l.missing[s] <= l.now.Mono {
			l.missing[s] = l.now.Mono + l.cfg.MaxRexmitDelay
			l.after(l.cfg.MaxRexmitDelay, l.askMissing)
			number := strconv.FormatUint(s, 10)
			l.send(message("NS_rexmit", "dest", l.cfg.Peer, "firstseq", number, "lastseq", number))
		}
	}
}

// unsequenced handles the messages of the reliability layer.
func (l *linuxHA) unsequenced(m wire.Message) {
	if dest := m.Get("dest"); dest != "" && dest != l.cfg.Node {
		return
	}
	switch m.Kind() {
	case "NS_nak_rexmit":
		seq, _ := strconv.ParseUint(m.Get("firstseq"), 16, 64)
		l.complain("Irretrievably lost packet: node %s seq %d", l.cfg.Peer, seq)
		delete(l.missing, seq)
	case "NS_ackmsg":
		seq, _ := strconv.ParseUint(m.Get("ackseq"), 16, 64)
		if seq > l.seq {
			l.complain("corrupted ackseq")
			return
		}
		l.acked = max(l.acked, seq)
	case "NS_rexmit":
		first, _ := strconv.ParseUint(m.Get("firstseq"), 10, 64)
		last, _ := strconv.ParseUint(m.Get("lastseq"), 10, 64)
		for s := first; s <= last && s < first+50; s++ {
			l.resend(s)
		}
	}
}

func (l *linuxHA) resend(s uint64) {
	if s > l.seq || s == 0 {
		l.complain("Rexmit of seq %d requested. %d is max.", s, l.seq)
		return
	}
	if s <= l.acked {
		return
	}
	if at, done := l.resent[s]; done && l.now.Mono-at < l.cfg.MaxRexmitDelay-10*time.Millisecond {
		return
	}
	l.resent[s] = l.now.Mono
	l.out = append(l.out, heartbeat.Send{Msg: l.sent[s-1].Clone()})
}
