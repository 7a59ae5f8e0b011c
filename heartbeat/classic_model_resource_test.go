package heartbeat_test

import (
	"slices"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// This file is the model's resource state machine: protocol section 7.

// holding is what a node says it holds: bit 0 local, bit 1 foreign.
type holding int

var holdingNames = []string{"none", "local", "foreign", "all"}

func (h holding) String() string { return holdingNames[h] }

func (h holding) swap() holding { return h&1<<1 | h>>1 }

// lhaHold reads a holding; what is absent or unknown means all, as in hb_standby.
func lhaHold(s string) holding {
	if i := slices.Index(holdingNames, s); i >= 0 {
		return holding(i)
	}
	return 3
}

// States and phases of the real one.
const (
	lhaInit = iota
	lhaStarting
	lhaBothStarting
	lhaReceived
	lhaStable
	lhaShutdown
)

const (
	lhaNot = iota
	lhaMe
	lhaOther
	lhaDone
)

// lhaResources is its resource layer.
type lhaResources struct {
	state       int
	hold        holding
	other       holding
	otherStable bool
	takeover    bool
	failback    bool // needs_failback
	kept        bool // started with -R -C
	mayHold     bool // legacy: the peer may hold resources
	timed       bool // the ten-second timer has been started
	phase       int
	which       holding
	until       time.Duration
	wantStop    bool // SIGTERM came
	wantRestart bool
	stopping    bool
}

func (l *linuxHA) nice() bool { return l.cfg.Failback != heartbeat.FailbackLegacy }

func (l *linuxHA) stableFlag() string {
	if l.state == lhaStable {
		return "1"
	}
	return "0"
}

func (l *linuxHA) sayHold(stable, info string) {
	if !l.nice() && info != "shutdown" {
		return
	}
	m := message("resource", "rsc_hold", l.hold.String(), "rtype", "full", "isstable", stable)
	if info != "" {
		m.Add("info", info)
	}
	l.send(m)
}

// resourcesBegin is comm_now_up's part for the resources.
func (l *linuxHA) resourcesBegin() {
	if !l.nice() {
		l.state = lhaStable
		l.ownResources(false)
		return
	}
	l.state = lhaStarting
	if l.kept {
		l.state = lhaStable
	}
	l.send(message("starting"))
}

func (l *linuxHA) resourceMessage(m wire.Message, own bool) {
	if m.Kind() == "shutdone" {
		l.shutdone(own)
		return
	}
	if l.member != "active" {
		return // the handlers are not there yet
	}
	switch m.Kind() {
	case "starting":
		if !own {
			l.starting()
		}
	case "resource":
		l.holdings(m, own)
	case "ask_resources":
		l.askResources(m, own)
	case "hb_takeover":
		if !own {
			l.script(func(done func()) {
				which := "all"
				switch m.Get("rsc_hold") {
				case "local":
					which = "foreign"
				case "foreign":
					which = "local"
				}
				l.send(message("ask_resources", "rsc_hold", which, "info", "me"))
				done()
			})
		}
	case "ip-request":
		if !own {
			l.ipRequest(m)
		}
	case "ip-request-resp":
		l.script(func(done func()) {
			if m.Get("ok") != "OK" || l.stopping {
				done()
				return
			}
			l.take(m.Get("ipaddr"), done)
		})
	}
	l.audit()
}

func (l *linuxHA) audit() {
	if !l.nice() {
		return
	}
	if l.hold&1 != 0 && l.other&2 != 0 {
		l.complain("Both machines own our resources!")
	}
	if l.hold&2 != 0 && l.other&1 != 0 {
		l.complain("Both machines own foreign resources!")
	}
}

func (l *linuxHA) starting() {
	if l.state == lhaInit {
		l.complain("Received 'starting' message in state 0")
		return
	}
	l.otherStable = false
	before := l.state
	l.sayHold(l.stableFlag(), "")
	if before == lhaStarting {
		l.state = lhaBothStarting
	}
}

// received starts the ten seconds once.
func (l *linuxHA) received() {
	if l.state != lhaStarting && l.state != lhaBothStarting {
		return
	}
	l.state = lhaReceived
	if l.timed {
		return
	}
	l.timed = true
	l.after(10*time.Second, func() {
		if l.state < lhaStable {
			l.state = lhaStable
			l.ownResources(false)
			l.sayHold("1", "")
			l.tryFailback()
		}
	})
}

func update2(full bool, current, said holding) holding {
	if full || said == 0 {
		return said
	}
	return current | said
}

func (l *linuxHA) holdings(m wire.Message, own bool) {
	if l.state == lhaInit {
		l.complain("resource message received in state 0")
		return
	}
	full := m.Get("rtype") == "full"
	said := lhaHold(m.Get("rsc_hold"))
	l.received()
	if own {
		l.hold = update2(full, l.hold, said)
		switch m.Get("info") {
		case "mach_down":
			l.takeover, l.failback, l.otherStable = false, true, true
			l.hold |= 2
		case "shutdown":
			l.state = lhaShutdown
		}
		return
	}
	l.other = update2(full, l.other, said)
	switch m.Get("isstable") {
	case "1":
		if !l.otherStable {
			l.otherStable = true
			l.sayHold(l.stableFlag(), "")
			l.tryFailback()
		}
	case "0":
		l.otherStable = false
	}
	if l.state < lhaStable && l.otherStable {
		l.state = lhaStable
		l.ownResources(false)
		l.sayHold("1", "")
		l.tryFailback()
	}
}

// tryFailback gives foreign resources back.
func (l *linuxHA) tryFailback() {
	if l.cfg.Failback != heartbeat.FailbackOn || !l.failback || l.hold&2 == 0 || l.stopping {
		return
	}
	if !l.settled() || l.peer == "dead" {
		l.after(time.Second, l.tryFailback)
		return
	}
	l.failback = false
	l.send(message("ask_resources", "rsc_hold", "foreign", "info", "me"))
}

// recoverDead is hb_rsc_recover_dead_resources.
func (l *linuxHA) recoverDead() {
	l.phase = lhaNot
	if l.wantStop || l.stopping {
		if l.state != lhaShutdown && l.state != lhaStable {
			l.giveUp()
		}
		return
	}
	l.failback = true
	if l.heard && (l.nice() && l.other == 0 || !l.nice() && !l.mayHold) {
		l.send(message("stonith", "node", l.cfg.Peer, "result", "unneeded"))
		l.other, l.otherStable = 0, true
		if l.hold&1 == 0 {
			l.ownResources(true)
		}
		if l.hold&2 == 0 {
			l.machDown()
		}
		return
	}
	l.send(message("stonith", "node", l.cfg.Peer, "result", "n_stnth"))
	l.takeOver()
}

func (l *linuxHA) takeOver() {
	l.logf("Resources being acquired from %s.", l.cfg.Peer)
	l.machDown()
	l.ownResources(true)
}

// machDown is the status script run for a dead node.
func (l *linuxHA) machDown() {
	l.hold |= 2
	l.other, l.otherStable, l.takeover, l.mayHold = 0, true, true, false
	l.script(func(done func()) {
		l.takeAll(l.keys(2), func() {
			if l.nice() {
				l.send(message("resource", "rsc_hold", "foreign", "info", "mach_down"))
			} else {
				l.takeover = false
			}
			done()
		})
	})
}

// shutdone is a node that has released everything.
func (l *linuxHA) shutdone(own bool) {
	if own {
		again := time.Duration(0)
		if l.wantRestart {
			again = time.Second * time.Duration((l.cfg.Deadtime+time.Second-1)/time.Second+1)
		} else if l.site.downtime > 0 {
			again = l.site.downtime
		}
		l.after(time.Second, func() {
			if l.wantRestart {
				l.padding = 30 * time.Second
				l.sayStatus()
			}
			l.halt("Heartbeat shutdown complete.", again)
		})
		return
	}
	l.logf("Received shutdown notice from '%s'.", l.cfg.Peer)
	l.other, l.otherStable, l.mayHold = 0, true, false
	if l.wantStop || l.stopping {
		l.logf("Resource takeover cancelled - shutdown in progress.")
		return
	}
	if l.hold != 3 && l.nice() && l.member == "active" {
		l.lateStandby()
	}
	l.takeOver()
}

// lateStandby is the odd hand-over from a node that has already left: it acts on what is held, and on everything if nothing is.
func (l *linuxHA) lateStandby() {
	keys := l.keys(l.hold)
	if l.hold == 0 {
		keys = l.keys(3)
	}
	l.phase, l.which, l.until = lhaDone, 3, l.now.Mono+time.Hour
	l.child(func(done func()) {
		l.takeAll(keys, func() {
			l.report(message("ask_resources", "rsc_hold", "all", "info", "done"))
			done()
		})
	})
}
