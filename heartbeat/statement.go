package heartbeat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/wire"
)

// Two nodes of ours know each other by an extra field in `status`, which Linux-HA ignores:
//
//	hapair=1 n=NONCE e=ECHO v=VERSION k=KNOWN h=AGE o=LINKS w=WATCHDOG z=PAUSE p=PINGS q=AGE d=DEVICE a=HASH,… m=SEQ f=FLAGS
//
// n is the sender's challenge, drawn at its start; e the peer's challenge as last heard ("-" before the first); v the version of
// the sender's statement about its groups; k the version of the peer's statement that the sender has processed; h for how many
// milliseconds the sender has not heard the peer; o the sender's links in the order of its ha.cf, the first letter of each one's kind, a
// capital where it hears nothing on it; w after how many milliseconds its watchdog resets it; z for how many more milliseconds it
// wants takeovers to be paused; p one more than the ping nodes it reaches, where ipfail compares them; q how many milliseconds ago the last of
// these to answer did; d how many milliseconds its fencing device takes; a the groups that a person asked it to take; m the number of the sender's newest
// message that is not a plain heartbeat; f flags. All numbers are hex. Unknown words are ignored, so that later versions can say more.
//
// The statement itself, one entry a group, travels in a second field until the peer has acknowledged its version:
//
//	hapair-groups=HASH HOLD WISH EPOCH,…      e.g. 3fa29c01hn1f,77e0b212iw3
//
// With it go the hardware addresses of the sender's service interfaces, in a third field, hapair-macs, and what its files, scripts and
// program are, in hapair-digest (digest.go).
//
// A status is therefore small when nothing changes, and a lost statement is said again with the next heartbeat without any timer.
const (
	fieldHello      = "hapair"
	fieldGroups     = "hapair-groups"
	fieldMACs       = "hapair-macs"
	protocolVersion = "1"
)

// Flags of a hello.
const (
	flagActive  = 'a' // the sender is past its start and can take groups
	flagLeaving = 'l' // the sender is stopping: it will acquire nothing any more
	flagLease   = 'e' // the sender's right to answer ends with its daemon
	flagGone    = 'g' // the sender has released everything and ends
)

// hello is the parsed extra field.
type hello struct {
	nonce, echo    uint64
	version, known uint64
	message        uint64
	heard          time.Duration // how long ago the sender had heard this node
	pings          int           // one more than the ping nodes that the sender reaches; 0 when it does not say
	pingsAge       time.Duration // within this every one of them answered; negative when it does not say
	links          string        // its links, see the field's description
	asked          []uint32      // short names of the groups that a person wants the sender to take
	active         bool
	leaving        bool
	gone           bool
	leased         bool
	watchdog       time.Duration // 0 for none
	device         time.Duration // how long its fencing device takes; 0 when it does not say
	pause          time.Duration // for how much longer a pause asked for there lasts; 0 for none
}

// parseHello reads the extra field of a status; ok is false when there is none that we understand.
func parseHello(m wire.Message) (h hello, ok bool) {
	h.pingsAge = -1
	text, ok := m.Lookup(fieldHello)
	if !ok {
		return h, false
	}
	words := strings.Fields(text)
	if len(words) == 0 || words[0] != protocolVersion {
		return h, false
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		number, _ := strconv.ParseUint(value, 16, 64)
		switch key {
		case "n":
			h.nonce = number
		case "e":
			h.echo = number
		case "v":
			h.version = number
		case "k":
			h.known = number
		case "m":
			h.message = number
		case "a":
			for hash := range strings.SplitSeq(value, ",") {
				if number, err := strconv.ParseUint(hash, 16, 32); err == nil && len(h.asked) < maxAsked {
					h.asked = append(h.asked, uint32(number))
				}
			}
		case "p":
			h.pings = int(min(number, 1<<16))
		case "q":
			h.pingsAge = time.Duration(min(number, 1<<40)) * time.Millisecond
		case "z":
			h.pause = time.Duration(min(number, 1<<40)) * time.Millisecond
		case "d":
			h.device = time.Duration(min(number, 1<<40)) * time.Millisecond
		case "w":
			h.watchdog = time.Duration(min(number, 1<<40)) * time.Millisecond
		case "o":
			h.links = value
		case "h":
			h.heard = time.Duration(min(number, 1<<40)) * time.Millisecond
		case "f":
			h.active = strings.ContainsRune(value, flagActive)
			h.leaving = strings.ContainsRune(value, flagLeaving)
			h.leased = strings.ContainsRune(value, flagLease)
			h.gone = strings.ContainsRune(value, flagGone)
		}
	}
	return h, h.nonce != 0
}

// hello renders the extra field.
func (n *Node) hello() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s n=%x", protocolVersion, n.nonce)
	if n.peer.hello.nonce != 0 {
		fmt.Fprintf(&b, " e=%x", n.peer.hello.nonce)
	} else {
		b.WriteString(" e=-")
	}
	fmt.Fprintf(&b, " v=%x k=%x", n.version, n.peer.seen)
	fmt.Fprintf(&b, " h=%x", n.deafFor().Milliseconds())
	fmt.Fprintf(&b, " o=%s", n.linkLetters())
	if n.cfg.Watchdog > 0 {
		fmt.Fprintf(&b, " w=%x", n.cfg.Watchdog.Milliseconds())
	}
	if count, known := n.pingCount(); known {
		fmt.Fprintf(&b, " p=%x q=%x", count+1, n.pingsAge().Milliseconds()+1)
	}
	if took := n.deviceTime(); n.cfg.Fencing && took > 0 {
		fmt.Fprintf(&b, " d=%x", max(1, took.Milliseconds()))
	}
	if left := n.pause.until - n.now.Boot; n.pause.until > 0 && left > 0 {
		fmt.Fprintf(&b, " z=%x", max(1, left.Milliseconds()))
	}
	sep := " a="
	for _, g := range n.groups {
		if g.asked && g.peerWish != wishOffer {
			fmt.Fprintf(&b, "%s%x", sep, g.hash)
			sep = ","
		}
	}
	if n.tx.message > 0 {
		fmt.Fprintf(&b, " m=%x", n.tx.message)
	}
	b.WriteString(" f=")
	if n.member == memberActive {
		b.WriteByte(flagActive)
	}
	if n.stop.asked {
		b.WriteByte(flagLeaving)
	}
	if n.cfg.Lease > 0 {
		b.WriteByte(flagLease)
	}
	if n.stop.said > 0 && !n.stop.keep {
		b.WriteByte(flagGone)
	}
	return b.String()
}

// linkLetters says of each link between the nodes whether the peer is heard on it.
func (n *Node) linkLetters() string {
	var b strings.Builder
	for _, l := range n.links {
		if l.Kind == kindMirror {
			continue
		}
		letter := l.letter()
		if l.state == linkDead || l.state == linkUnusable {
			letter -= 'a' - 'A'
		}
		b.WriteByte(letter)
	}
	return b.String()
}

// letter stands for the kind of a link.
func (l *link) letter() byte {
	if l.Kind == "" {
		return 'x'
	}
	return l.Kind[0]
}

// readLinks notes on which links the peer does not hear this node. The nodes' links are the same in the same order, as their ha.cf are; where
// they are not, nothing is known.
func (n *Node) readLinks() {
	heard, i := n.peer.hello.links, 0
	for _, l := range n.links {
		if l.Kind == kindMirror {
			continue
		}
		deaf := len(heard) == len(n.linkLetters()) && heard[i] == l.letter()-'a'+'A'
		i++
		switch {
		case !deaf || l.state == linkDead || l.state == linkUnusable: // of a link that is dead here too there is nothing to add
			l.deafSince = never
		case l.deafSince == never:
			l.deafSince = n.now.Mono
		}
	}
}

// maxAsked is how many groups of a peer that were asked for by hand are remembered.
const maxAsked = 1000

// asks tells that a person asked the peer to take a group.
func (p *peer) asks(g *group) bool {
	return slices.Contains(p.hello.asked, g.hash) || slices.ContainsFunc(g.alias, func(old uint32) bool { return slices.Contains(p.hello.asked, old) })
}

// deafFor is how long this node has not heard the peer, counted so that it takes over when this reaches the dead time: before the first
// contact, initdead stands in for the dead time.
func (n *Node) deafFor() time.Duration {
	if n.peer.lastHeard == never {
		return max(0, n.now.Mono-n.initdeadAt()+n.cfg.Deadtime)
	}
	return max(0, n.now.Mono-n.peer.lastHeard)
}

// statement renders what this node holds and wishes, group by group.
func (n *Node) statement() string {
	var b strings.Builder
	say := func(hash uint32, g *group) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%08x%c%c%x", hash, g.hold.letter(), g.wish.letter(), g.epoch)
	}
	for _, g := range n.groups {
		if g.hash != 0 {
			say(g.hash, g)
		}
		for _, hash := range g.alias {
			say(hash, g)
		}
	}
	return b.String()
}

// changed marks the statement as new: the peer hears it at once, and until it has acknowledged it.
func (n *Node) changed() {
	n.version++
	n.announce = true
}

// greet processes the peer's extra field and, where it is there, its statement.
func (n *Node) greet(h hello, m wire.Message) {
	p := &n.peer
	if h.nonce != p.hello.nonce {
		if p.hello.nonce != 0 && len(n.rx.nonces) < maxSeenNonces {
			n.rx.nonces = append(n.rx.nonces, p.hello.nonce)
		}
		p.proven, p.current, p.seen, p.acked = false, false, 0, 0
		n.probes.seen = 0
		n.announce = true // it wants to see its challenge echoed
	}
	p.hello = h
	p.leased, p.watchdog, p.deviceTime = h.leased, h.watchdog, h.device
	p.lastStatus = n.now.Mono
	p.pinged = never
	if h.pingsAge >= 0 && n.now.Mono >= n.listenUntil {
		p.pinged = n.now.Mono - h.pingsAge
	}
	n.shortenLeases()
	if h.echo != n.nonce {
		p.proven = false
		return
	}
	p.reflected = false
	if !p.proven {
		p.proven = true
		n.changed()
	}
	p.acked = h.known
	n.readLinks()
	n.peerPause(h.pause)
	if text, ok := m.Lookup(fieldGroups); ok && h.version > p.seen {
		n.readStatement(text)
		n.readBases(m)
		n.readDigest(m)
		p.macs = strings.FieldsFunc(m.Get(fieldMACs), func(c rune) bool { return c == ',' })
		p.seen = h.version
		n.announce = true // let it know that it was understood
	}
	p.current = p.seen == h.version
	if h.gone {
		n.peerLeft()
	}
}

// said is what the peer says of one group.
type said struct {
	hold  hold
	wish  wish
	epoch uint64
}

// readStatement stores what the peer says of each group. A group that it does not name is one that it cannot run. Until the peer has read the
// same files, what became one group here is understood by its old names, and a part of a group by that group's name.
func (n *Node) readStatement(text string) {
	byHash := map[uint32]said{}
	for entry := range strings.SplitSeq(text, ",") {
		if len(entry) < 11 {
			continue
		}
		hash, err := strconv.ParseUint(entry[:8], 16, 32)
		epoch, err2 := strconv.ParseUint(entry[10:], 16, 64)
		if err == nil && err2 == nil {
			byHash[uint32(hash)] = said{holdOf(entry[8]), wishOf(entry[9]), epoch}
		}
	}
	for _, g := range n.groups {
		s, named := n.saidOf(g, byHash)
		if !named {
			g.peerHold, g.peerWish = holdIdle, wishUnable
			continue
		}
		g.peerHold, g.peerWish, g.peerEpoch = s.hold, s.wish, s.epoch
		if g.peerHold == holdIdle {
			n.splitEnded(g)
		}
	}
}

// saidOf finds what the peer says of a group. Of several that are one here, the one counts that the peer has most of.
func (n *Node) saidOf(g *group, byHash map[uint32]said) (s said, named bool) {
	s, named = byHash[g.hash]
	if named {
		g.part = 0
	}
	known := len(g.alias)
	g.alias = slices.DeleteFunc(g.alias, func(hash uint32) bool {
		_, ok := byHash[hash]
		return named && !ok
	})
	if len(g.alias) != known {
		n.changed()
	}
	for _, hash := range g.alias {
		if other, ok := byHash[hash]; ok && (!named || other.hold.runs() && !s.hold.runs()) {
			s, named = other, true
		}
	}
	if part, ok := byHash[g.part]; ok && g.part != 0 && !named {
		return part, true
	}
	return s, named
}

// publish sends a status when one is due or something changed that the peer should hear now.
func (n *Node) publish() {
	if n.mute || n.stop.halted {
		n.statusDue = n.now.Mono + n.heartbeatInterval()
		return
	}
	if !n.announce && n.now.Mono < n.statusDue {
		return
	}
	n.announce = false
	n.statusDue = n.now.Mono + n.heartbeatInterval()
	n.tx.status = n.now
	m := wire.New(typeStatus)
	m.Add("st", n.member)
	m.Add("dt", strconv.FormatInt((n.cfg.Deadtime+n.classicPadding()).Milliseconds(), 16))
	m.Add("protocol", "1")
	m.Add(fieldHello, n.hello())
	if n.peer.kind != kindClassic && (n.peer.acked < n.version || !n.peer.proven) {
		m.Add(fieldGroups, n.statement())
		if len(n.cfg.MACs) > 0 {
			m.Add(fieldMACs, strings.Join(n.cfg.MACs, ","))
		}
		if len(n.cfg.Bases) > 0 {
			m.Add(fieldBases, strings.Join(n.cfg.Bases, ","))
		}
		if n.digest != "" {
			m.Add(fieldDigest, n.digest)
		}
	}
	n.send(m)
	n.renewAll()
	for _, p := range n.pings {
		p.unanswered++
		n.sendEcho(p)
	}
}

// sendEcho asks a ping node; the question is a signed message that its answer brings back (protocol section 4.6).
func (n *Node) sendEcho(p *ping) {
	echo := wire.New(typePing)
	echo.Add("st", "ping")
	if p.Group {
		echo.Add("info", "ping_group")
	} else {
		echo.Add("info", "ping")
	}
	echo.Add("src", p.Name)
	echo.Add("ts", strconv.FormatInt(n.now.Wall.Unix(), 16))
	n.do(Send{Link: p.ID, Msg: echo})
}
