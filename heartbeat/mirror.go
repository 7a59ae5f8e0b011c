package heartbeat

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/wire"
)

// Mirrors: whoever answers pings and reaches both nodes connects them. A message of liveness goes to such a host as an echo request in the
// peer's name, and its answer takes it to the peer. As long as some host sees both nodes, they hear each other, although every link between
// them is broken; nothing is handed over that way (alive.go).

const (
	// LinkMirrors is the Send.Link that stands for all mirrors.
	LinkMirrors = "mirror"
	kindMirror  = "mirror"
	fieldBases  = "hapair-bases"
)

// The rhythm of the mirrors: seldom while another link is heard, quickly while none is.
const (
	mirrorSlow = time.Second
	mirrorFast = 50 * time.Millisecond
)

// mirroring is the state of the mirrors.
type mirroring struct {
	due        time.Duration
	answerable time.Duration // when a question may be answered again by way of them
	hurried    bool          // at the quick rhythm
	sent       time.Duration // when the last message went by way of them, on the boot clock; 0 before
	notUntil   time.Duration // a peer that is dead is not believed alive by way of them before then
	only       bool          // the peer is heard by way of mirrors alone
}

// directLate tells whether every link between the nodes is silent for longer than a heartbeat takes.
func (n *Node) directLate() bool { return n.now.Mono >= n.directLateAt() }

func (n *Node) directLateAt() time.Duration {
	return n.peer.lastDirect + n.cfg.Keepalive + max(n.cfg.Keepalive/5, 2*time.Millisecond)
}

// mirrorRhythm is the time between two messages by way of mirrors where nothing else connects the nodes.
func (n *Node) mirrorRhythm() time.Duration { return max(mirrorFast, min(n.cfg.Keepalive, mirrorSlow)) }

// mirrorsSuffice tells whether mirrors alone can keep a peer alive: two of their messages fit into its dead time. And one that was believed
// alive by way of them, and did not go on, is not believed again for a while.
func (n *Node) mirrorsSuffice() bool {
	return 2*n.mirrorRhythm() <= n.peer.deadtime && n.now.Mono >= n.mirror.notUntil
}

// mirrorPatience is how long that is.
const mirrorPatience = 10 * time.Second

// reflects tells whether this run of the peer can be reached by way of mirrors. One that is dead may only be cut off: then a mirror that comes
// up again, or a peer that wakes, must find the other.
func (n *Node) reflects() bool {
	p := &n.peer
	return n.cfg.Mirrors && p.kind == kindOurs && p.hello.echo == n.nonce && (p.life == lifeAlive || p.life == lifeDead) && n.member == memberActive && !n.mute
}

func (n *Node) mirrorDeadline(sooner func(time.Duration)) {
	if !n.reflects() {
		return
	}
	sooner(n.mirror.due)
	if n.peer.life != lifeAlive {
		return
	}
	if !n.directLate() {
		sooner(n.directLateAt())
	}
}

// reflect sends to the mirrors when that is due.
func (n *Node) reflect() {
	if !n.reflects() {
		return
	}
	deaf := n.peer.hello.heard > n.cfg.Keepalive*3/2
	rhythm, late := mirrorSlow, n.peer.life == lifeAlive && (n.directLate() || deaf) || n.lapsed()
	if late {
		rhythm = n.mirrorRhythm()
		if !n.mirror.hurried {
			n.mirror.due = n.now.Mono // the first of them at once
		}
	}
	n.mirror.hurried = late
	if n.now.Mono < n.mirror.due {
		return
	}
	n.mirror.due, n.mirror.sent = n.now.Mono+rhythm, n.now.Boot
	n.do(Send{Link: LinkMirrors, Msg: n.aliveMessage(deaf || n.lapsed())}) // a question where the answer is waited for
}

// lapsed tells whether this node has a group that it must ask about before it answers for it again.
func (n *Node) lapsed() bool {
	for _, g := range n.groups {
		if g.lapsed {
			return true
		}
	}
	return false
}

// watchMirrors says when the mirrors are all that connects the nodes, and when they no longer are.
func (n *Node) watchMirrors() {
	only := n.peer.life == lifeAlive && n.cfg.Mirrors && n.now.Mono-n.peer.lastDirect >= n.peer.deadtime && n.peer.lastHeard > n.peer.lastDirect
	if only == n.mirror.only {
		return
	}
	if only && n.now.Mono-n.peer.lastHeard >= n.peer.deadtime/2 {
		return // the last sign of a node that has just died may have come this way: one that lives will be heard again first
	}
	n.mirror.only = only
	if n.peer.life != lifeAlive {
		return
	}
	if only {
		n.transition(Crit, "nothing of it on any link between the nodes for "+n.peer.deadtime.String(),
			"%s is heard only by way of hosts that answer pings: it lives, nothing is taken over, and nothing can be handed over. Mend the links", n.peer.name)
		return
	}
	n.transition(Info, "a link between the nodes works", "%s is heard directly again", n.peer.name)
}

// aliveMessage is a question or answer of alive.go.
func (n *Node) aliveMessage(question bool) wire.Message {
	n.probes.counter++
	m := wire.New(typeAlive)
	m.Add("dest", n.peer.name)
	m.Add(fieldHello, n.hello())
	m.Add(fieldCounter, strconv.FormatUint(n.probes.counter, 16))
	if question {
		m.Add(fieldQuestion, "1")
	}
	m.Add("src", n.cfg.Node)
	m.AddBinary("srcuuid", n.boot.UUID[:])
	m.Add("hg", strconv.FormatUint(uint64(n.boot.Generation), 16))
	m.Add("ts", strconv.FormatInt(n.now.Wall.Unix(), 16))
	return m
}

// readBases notes the peer's addresses on the service networks, and has mirrors set up for them.
func (n *Node) readBases(m wire.Message) {
	text := m.Get(fieldBases)
	if text == n.peer.bases || !n.cfg.Mirrors {
		return
	}
	n.peer.bases = text
	n.links = slices.DeleteFunc(n.links, func(l *link) bool { return l.Kind == kindMirror })
	n.do(Mirrors{Bases: strings.FieldsFunc(text, func(c rune) bool { return c == ',' })})
}

// mirrorLink makes a mirror known as a link, for status, when something is heard of it.
func (n *Node) mirrorLink(id string) {
	if !strings.HasPrefix(id, kindMirror+" ") {
		return
	}
	for _, l := range n.links {
		if l.ID == id {
			return
		}
	}
	n.links = append(n.links, &link{LinkConfig: LinkConfig{ID: id, Name: strings.TrimPrefix(id, kindMirror+" "), Kind: kindMirror},
		lastHeard: never, state: linkDead, deafSince: never, made: n.now.Mono})
}

// mirrorTrial is how long a mirror is tried before it is said that it does not work.
const mirrorTrial = 5 * mirrorSlow

// watchMirror finds out whether a new mirror works: the peer uses it too, so something of it must come.
func (n *Node) watchMirror(l *link) {
	if l.lastHeard != never || l.state != linkDead || n.peer.life != lifeAlive || n.now.Mono < max(l.made, n.peer.back)+mirrorTrial {
		return
	}
	l.state, l.reason = linkUnusable, "nothing of "+n.peer.name+" came by way of it in "+mirrorTrial.String()+
		": the host does not answer pings, or the network drops what is sent in another's name"
	n.transition(Info, l.reason, "Mirror %s does not work", l.Name)
}
