package heartbeat_test

import (
	"strconv"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// lhaPings is the model's view of its ping nodes, and the program ipfail: protocol section 10.1.
type lhaPings struct {
	pingHeard map[string]time.Duration
	pingDead  map[string]bool
	giveupAt  int // counts giveups, so that a cancelled one does nothing
	pending   bool
	begun     bool // ipfail has been started
	joined    bool
	linkHeard map[string]time.Duration
}

// pingNodes gives the pair ping nodes to compare.
func (w *world) pingNodes(count int) {
	for i := range count {
		name := "10.0.0." + strconv.Itoa(254-i)
		w.cfg.Pings = append(w.cfg.Pings, heartbeat.PingConfig{ID: "ping " + name, Name: name})
	}
	w.cfg.IPFail = true
	w.answerPings()
}

// answerPings lets the ping nodes of a world answer who can reach them.
func (w *world) answerPings() {
	w.echo = func(m *machine, s heartbeat.Send) {
		for _, p := range w.cfg.Pings {
			if p.ID == s.Link && !w.deaf[m.index] && !w.chance(w.opt.loss) {
				answer := message("NS_st", "st", "ping", "info", "ping", "src", p.Name, "ts", s.Msg.Get("ts"))
				w.at(100*time.Microsecond, func() { m.deliver(heartbeat.Received{Link: p.ID, From: p.Name, Msg: answer}) })
			}
		}
	}
}

// ping sends the echoes with each heartbeat.
func (l *linuxHA) ping() {
	for _, p := range l.cfg.Pings {
		m := message("NS_st", "st", "ping", "info", "ping", "src", p.Name, "ts", strconv.FormatInt(l.now.Wall.Unix(), 16))
		l.out = append(l.out, heartbeat.Send{Link: p.ID, Msg: m})
	}
	if len(l.cfg.Pings) > 0 && l.cfg.IPFail && l.nice() && l.member == "active" && !l.begun {
		l.begun = true
		l.after(100*time.Millisecond, func() {
			l.joined = true
			l.send(message("hbapi-clstat", "st", "join", "from_id", "ipfail", "to_id", "ipfail", "src", l.cfg.Node, "info", "signon", "client_gen", "0"))
		})
	}
}

// pingAnswer takes an echo's answer.
func (l *linuxHA) pingAnswer(m wire.Message) bool {
	if m.Kind() != "NS_st" {
		return false
	}
	if l.pingHeard == nil {
		l.pingHeard, l.pingDead = map[string]time.Duration{}, map[string]bool{}
	}
	name := m.Get("src")
	l.pingHeard[name] = l.now.Mono
	if l.pingDead[name] {
		l.pingDead[name] = false
		l.askPings()
	}
	return true
}

// pollPings finds ping nodes that fell silent, and links.
func (l *linuxHA) pollPings() {
	for _, link := range l.cfg.Links {
		if at, heard := l.linkHeard[link.ID]; heard && l.now.Mono-at > l.cfg.Deadtime {
			delete(l.linkHeard, link.ID)
			l.askPings()
		}
	}
	for _, p := range l.cfg.Pings {
		if at, heard := l.pingHeard[p.Name]; heard && !l.pingDead[p.Name] && l.now.Mono-at > l.cfg.Deadping {
			l.pingDead[p.Name] = true
			l.logf("node %s: is dead", p.Name)
			l.askPings()
		}
	}
}

func (l *linuxHA) pingCount() int {
	n := 0
	for name := range l.pingHeard {
		if !l.pingDead[name] {
			n++
		}
	}
	return n
}

// client is a message from one ipfail to the other.
func (l *linuxHA) client(m wire.Message) {
	m.Add("from_id", "ipfail")
	m.Add("to_id", "ipfail")
	m.Add("client_gen", "0")
	l.send(m)
}

// askPings tells the other how many are seen here.
func (l *linuxHA) askPings() {
	if l.joined {
		l.client(message("num_ping_nodes", "src", l.cfg.Node, "num_ping", strconv.Itoa(l.pingCount()), "dest", l.cfg.Peer))
	}
}

// ipfail handles the other's messages; false if m is none of them.
func (l *linuxHA) ipfail(m wire.Message, own bool) bool {
	switch m.Kind() {
	case "hbapi-clstat":
		if !own && l.joined {
			l.after(2*time.Second, l.askPings)
		}
	case "num_ping_nodes":
		if own || !l.joined {
			return true
		}
		theirs, _ := strconv.Atoi(m.Get("num_ping"))
		switch ours := l.pingCount(); {
		case ours == theirs:
			l.pending = false
			l.client(message("abort_giveup", "src", l.cfg.Node, "dest", l.cfg.Peer))
		case ours > theirs:
			l.client(message("you_are_dead", "dest", l.cfg.Peer))
		default:
			l.giveup()
		}
	case "you_are_dead":
		if !own && l.joined {
			l.giveup()
		}
	case "abort_giveup":
		if !own {
			l.pending = false
		}
	default:
		return false
	}
	return true
}

// giveup asks to go standby two keepalives later.
func (l *linuxHA) giveup() {
	if l.pending {
		return
	}
	l.pending = true
	l.giveupAt++
	id := l.giveupAt
	l.after(2*l.cfg.Keepalive, func() {
		if l.pending && l.giveupAt == id {
			l.pending = false
			l.client(message("ask_resources", "rsc_hold", "all", "src", l.cfg.Node, "info", "me"))
		}
	})
}
