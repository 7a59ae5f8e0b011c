package heartbeat_test

import (
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// This file is the model's hand-over, its scripts and its end: protocol sections 7.3, 7.5, 7.8, 7.11.

// lhaScripts is what it runs: children side by side, rc.d scripts one after another.
type lhaScripts struct {
	ops       map[heartbeat.OpID]func(heartbeat.Done)
	busy      map[string][]func() // one operation at a time on a group
	next      heartbeat.OpID
	queue     []func(done func())
	children  int
	deafUntil time.Duration   // the FIFO loses a netstring that comes before that
	started   map[string]bool // groups that this run has started, or found running when it was to start them
}

// askResources is ask_for_resources.
func (l *linuxHA) askResources(m wire.Message, own bool) {
	which, info := lhaHold(m.Get("rsc_hold")), m.Get("info")
	switch {
	case l.stopping:
	case info == "me":
		l.standbyAsked(which, own)
	case info == "other" && own:
	case info == "other" && l.phase == lhaMe:
		l.logf("standby: %s can take our %s resources", l.cfg.Peer, which)
		l.until = l.now.Mono + time.Hour
		l.hold &^= which
		l.sayHold("0", "standby")
		l.child(func(done func()) {
			l.giveAll(l.keys(which), func() {
				l.report(message("ask_resources", "rsc_hold", which.String(), "info", "done"))
				done()
			})
		})
	case info == "done" && own && l.phase == lhaMe:
		l.logf("Local standby process completed [%s].", which)
		l.phase = lhaDone
	case info == "done" && !own && l.phase == lhaOther:
		l.logf("standby: acquire [%s] resources from %s", which, l.cfg.Peer)
		l.phase = lhaDone
		l.child(func(done func()) {
			l.takeAll(l.keys(which.swap()), func() {
				l.report(message("ask_resources", "rsc_hold", which.String(), "info", "done"))
				done()
			})
		})
	case info == "done" && l.phase == lhaDone:
		l.phase, l.until = lhaNot, 0
		if own {
			l.hold |= which.swap()
		} else {
			l.logf("Other node completed standby takeover of %s resources.", which)
		}
		l.sayHold("1", "")
	default:
		l.complain("Ignored standby message '%s' from %s in state %d", info, m.Get("src"), l.phase)
	}
}

func (l *linuxHA) standbyAsked(which holding, own bool) {
	switch {
	case !l.nice():
		l.complain("Standby mode only implemented when nice_failback on")
	case l.phase != lhaNot:
		l.logf("Standby in progress- new request ignored")
	case !l.otherStable:
		l.logf("standby message [me] ignored.  Other side is in flux.")
	case l.state != lhaStable:
		l.logf("standby message [me] ignored.  local resources in flux.")
	case own:
		l.otherStable = false
		l.phase, l.which, l.until = lhaMe, which, l.now.Mono+10*time.Second
	default:
		l.otherStable = false
		l.phase, l.which, l.until = lhaOther, which, l.now.Mono+time.Hour
		l.send(message("ask_resources", "rsc_hold", which.String(), "info", "other"))
	}
}

// expireStandby is looked at whenever a packet is processed.
func (l *linuxHA) expireStandby() {
	if l.phase != lhaNot && l.until > 0 && l.now.Mono >= l.until {
		l.logf("No reply to standby request.  Standby request cancelled.")
		l.phase, l.until, l.otherStable = lhaNot, 0, true
	}
}

// ownResources is req_our_resources: the bit first, then a child.
func (l *linuxHA) ownResources(forced bool) {
	if !forced && l.nice() && (l.other&2 != 0 || l.hold&1 != 0) {
		return
	}
	if l.nice() {
		l.hold |= 1
	}
	ask := !l.nice() && l.peer == "active" && !forced
	l.child(func(done func()) {
		for _, key := range l.keys(1) {
			switch {
			case l.m.runs[key]:
				l.started[key] = true
			case ask:
				l.send(message("ip-request", "ipaddr", key))
			default:
				l.send(message("ip-request-resp", "dest", l.cfg.Node, "ipaddr", key, "weown", "yes", "ok", "OK"))
			}
		}
		if l.nice() {
			l.report(message("resource", "rsc_hold", l.hold.String(), "rtype", "full", "isstable", "1", "info", "req_our_resources()"))
		}
		done()
	})
}

// ipRequest gives a group up and answers (legacy).
func (l *linuxHA) ipRequest(m wire.Message) {
	key := m.Get("ipaddr")
	l.script(func(done func()) {
		answer := func(own string) {
			l.send(message("ip-request-resp", "dest", l.cfg.Peer, "ipaddr", key, "weown", own, "ok", "OK"))
			done()
		}
		if !l.m.runs[key] {
			answer("no")
			return
		}
		l.give(key, func() { answer("yes") })
	})
}

// askStop is SIGTERM, or the restart after a healed partition.
func (l *linuxHA) askStop(restart bool) {
	if l.stopping || l.wantStop {
		return
	}
	l.wantStop, l.wantRestart = true, restart
	l.stopWhenStable()
}

// stopWhenStable begins the shutdown when nothing moves any more.
func (l *linuxHA) stopWhenStable() {
	if l.wantStop && !l.stopping && l.member == "active" && l.settled() {
		l.giveUp()
	}
}

// settled is hb_rsc_isstable.
func (l *linuxHA) settled() bool {
	quiet := l.children == 0 && len(l.queue) == 0 && !l.takeover
	return quiet && (!l.nice() || l.otherStable && l.phase == lhaNot && l.state == lhaStable)
}

// giveUp is hb_giveup_resources.
func (l *linuxHA) giveUp() {
	l.stopping = true
	l.hold, l.state = 0, lhaShutdown
	l.sayHold("0", "shutdown")
	l.child(func(done func()) {
		l.giveAll(l.keys(3), func() {
			l.send(message("shutdone", "st", "dead"))
			done()
		})
	})
}

// keys lists the groups of a set in the order of the file.
func (l *linuxHA) keys(h holding) []string {
	var list []string
	for _, g := range l.cfg.Groups {
		if g.Preferred == l.cfg.Node && h&1 != 0 || g.Preferred != l.cfg.Node && h&2 != 0 {
			list = append(list, g.Name)
		}
	}
	return list
}

// fork is how long a child takes before it does something.
func (l *linuxHA) fork() time.Duration { return l.site.speed/4 + l.m.w.upTo(l.site.speed) }

// report is a child's word to its daemon that its scripts have ended. With msgfmt netstring (site.forgetful) every second of those that follow one another within a second is lost.
func (l *linuxHA) report(m wire.Message) {
	if l.site.forgetful && l.now.Mono < l.deafUntil {
		l.deafUntil = 0
		return
	}
	l.deafUntil = l.now.Mono + time.Second
	l.send(m)
}

// child runs beside everything else.
func (l *linuxHA) child(run func(done func())) {
	l.children++
	l.after(l.fork(), func() {
		run(func() { l.children--; l.stopWhenStable() })
	})
}

// script queues an rc.d script.
func (l *linuxHA) script(run func(done func())) {
	l.queue = append(l.queue, run)
	if len(l.queue) == 1 {
		l.nextScript()
	}
}

func (l *linuxHA) nextScript() {
	l.after(l.fork(), func() {
		l.queue[0](func() {
			l.queue = l.queue[1:]
			if len(l.queue) > 0 {
				l.nextScript()
			}
			l.stopWhenStable()
		})
	})
}

func (l *linuxHA) takeAll(keys []string, then func()) { l.each(keys, l.take, then) }
func (l *linuxHA) giveAll(keys []string, then func()) { l.each(keys, l.give, then) }

func (l *linuxHA) each(keys []string, do func(string, func()), then func()) {
	if len(keys) == 0 {
		then()
		return
	}
	do(keys[0], func() { l.each(keys[1:], do, then) })
}

// alone runs operations on one group one after another.
func (l *linuxHA) alone(group string, run func()) {
	l.busy[group] = append(l.busy[group], run)
	if len(l.busy[group]) == 1 {
		run()
	}
}

func (l *linuxHA) free(group string) {
	l.busy[group] = l.busy[group][1:]
	if len(l.busy[group]) > 0 {
		l.busy[group][0]()
	}
}

// take is takegroup: what runs is left alone; a failed start leads to hb_standby foreign half a minute later.
func (l *linuxHA) take(group string, then func()) {
	l.alone(group, func() {
		l.started[group] = true
		if l.m.runs[group] {
			l.free(group)
			then()
			return
		}
		l.next++
		l.ops[l.next] = func(d heartbeat.Done) {
			if d.Err != nil {
				l.after(30*time.Second, func() { l.send(message("ask_resources", "rsc_hold", "foreign", "info", "me")) })
			}
			l.free(group)
			then()
		}
		l.out = append(l.out, heartbeat.Acquire{Op: l.next, Group: group})
	})
}

// give is givegroup: what cannot be stopped reboots the machine.
func (l *linuxHA) give(group string, then func()) {
	l.alone(group, func() {
		l.next++
		l.ops[l.next] = func(d heartbeat.Done) {
			if d.Err != nil {
				l.reboot()
				return
			}
			l.free(group)
			then()
		}
		l.out = append(l.out, heartbeat.Release{Op: l.next, Group: group})
	})
}

func (l *linuxHA) reboot() {
	l.ended = true
	m, w := l.m, l.m.w
	w.at(10*time.Second, func() {
		if m.node != daemon(l) {
			return
		}
		w.logf("%s reboots: a resource does not stop", m.name)
		m.powerCut()
		w.at(2*w.opt.deadtime, func() { m.powered = true; m.start() })
	})
}
