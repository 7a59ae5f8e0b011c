package heartbeat_test

import (
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// This file is the model's membership: protocol section 6.

func (l *linuxHA) setMember(st string) {
	l.member = st
	l.sayStatus()
}

func (l *linuxHA) sayStatus() {
	dt := l.cfg.Deadtime + l.padding
	l.send(message("status", "st", l.member, "dt", strconv.FormatInt(dt.Milliseconds(), 16), "protocol", "1"))
}

// beat is the heartbeat.
func (l *linuxHA) beat() {
	l.sayStatus()
	l.ping()
	l.after(l.cfg.Keepalive, l.beat)
}

// poll is what the real one looks at four times a second.
func (l *linuxHA) poll() {
	l.after(250*time.Millisecond, l.poll)
	limit, since := l.deadAfter, l.lastUpdate
	if l.member != "active" {
		limit = l.cfg.Initdead
		if l.peer == "" {
			since = l.m.started
		}
	}
	if l.peer != "dead" && l.now.Mono-since > limit {
		l.markDead()
	}
	l.commUp()
	l.pollPings()
	l.stopWhenStable()
}

// commUp ends the start when the peer is known to be dead, or has answered.
func (l *linuxHA) commUp() {
	if l.member != "up" || l.peer == "" {
		return
	}
	if l.peer == "dead" || l.answered {
		l.setMember("active")
		l.resourcesBegin()
		return
	}
	if !l.asked {
		l.asked = true
		l.askNodes()
	}
}

func (l *linuxHA) askNodes() {
	if l.member == "up" && l.peer != "dead" {
		l.send(message("reqnodes", "dest", l.cfg.Peer))
		l.after(time.Second, l.askNodes)
	}
}

// process hands a kept message, or an own one, to who handles it.
func (l *linuxHA) process(m wire.Message, own bool) {
	if dest := m.Get("dest"); dest != "" && dest != l.cfg.Node {
		return
	}
	if uuid := m.Get("destuuid"); strings.Trim(uuid, "\x00") != "" && uuid != string(l.boot.UUID[:]) {
		return
	}
	switch m.Kind() {
	case "status":
		if !own {
			l.peerStatus(m)
		}
	case "reqnodes":
		answer := wire.Message{}
		answer.Add("dest", l.cfg.Peer)
		answer.Add("t", "repnodes")
		answer.Add("nodelist", strings.Join(l.cfg.Nodes, " ")+" ")
		answer.Add("delnodelist", " ")
		l.send(answer)
	case "repnodes":
		l.answered = true
		l.commUp()
	default:
		if !l.ipfail(m, own) {
			l.resourceMessage(m, own)
		}
	}
	if !own {
		l.expireStandby()
		l.stopWhenStable()
	}
}

// peerStatus is HBDoMsg_T_STATUS.
func (l *linuxHA) peerStatus(m wire.Message) {
	dt, _ := strconv.ParseInt(m.Get("dt"), 16, 64)
	l.deadAfter = time.Duration(dt) * time.Millisecond
	if l.lastGap >= 0 && l.now.Mono-l.lastGap > l.cfg.Deadtime {
		l.logf("Late heartbeat: Node %s: interval %d ms (> deadtime)", l.cfg.Peer, (l.now.Mono - l.lastGap).Milliseconds())
		l.markDead()
	}
	seq, _ := strconv.ParseUint(m.Get("seq"), 16, 64)
	l.status = max(l.status, seq)
	l.lastUpdate, l.lastGap = l.now.Mono, l.now.Mono
	if st := m.Get("st"); st != l.peer {
		l.logf("Status update for node %s: status %s", l.cfg.Peer, st)
		l.peer = st
	}
}

// returned is a node that was taken for dead.
func (l *linuxHA) returned() {
	l.logf("Cluster node %s returning after partition.", l.cfg.Peer)
	l.sayStatus()
	l.after(2*time.Second, func() { l.askStop(true) })
}

func (l *linuxHA) markDead() {
	l.logf("node %s: is dead", l.cfg.Peer)
	l.peer = "dead"
	l.last = 0
	clear(l.missing)
	l.recoverDead()
}

// operator is what a person asks of the node, with the classic commands.
func (l *linuxHA) operator(ev heartbeat.Request) {
	switch ev.Kind {
	case heartbeat.RequestStandby:
		which := ev.Which
		if which == "failback" {
			which = "foreign"
		}
		l.send(message("ask_resources", "rsc_hold", which, "info", "me"))
	case heartbeat.RequestTakeover:
		l.send(message("hb_takeover", "rsc_hold", ev.Which))
	case heartbeat.RequestStop:
		l.askStop(false)
	case heartbeat.RequestQuit: // reload with a changed ha.cf: quick restart that keeps the resources
		l.padding = 30 * time.Second
		l.sayStatus()
		l.site.carried = l.hold.String()
		l.halt("quick restart", time.Second)
	}
}

// halt ends this run; a positive duration starts the next one.
func (l *linuxHA) halt(why string, again time.Duration) {
	l.ended = true
	l.out = append(l.out, heartbeat.Halt{Reason: why})
	if again > 0 {
		l.m.w.at(again, l.m.start)
	}
}
