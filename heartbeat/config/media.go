package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hapair/heartbeat/fault"
)

// defaultPort is UDP's service ha-cluster.
const defaultPort = 694

// bauds are the speeds that Linux-HA knows.
var bauds = []int{9600, 19200, 38400, 57600, 115200, 230400, 460800}

// setUDPPort notes a port; finishLinks decides which links use it.
func setUDPPort(p *parser, s statement) {
	for _, w := range s.words {
		if n, ok := p.integer(w, 1, 65535); ok {
			p.ports = append(p.ports, latch{s.line, w.col, n})
		}
	}
}

// setBaud notes the speed of the serial links.
func setBaud(p *parser, s statement) {
	scalar(func(p *parser, w word) bool {
		n, ok := p.integer(w, 1, 1<<30)
		if ok && !slices.Contains(bauds, n) {
			p.fail(w, "one of "+strings.Trim(fmt.Sprint(bauds), "[]"), "baud %d is not a speed of a serial line", n)
			ok = false
		}
		if ok {
			p.bauds = append(p.bauds, latch{s.line, w.col, n})
		}
		return ok
	})(p, s)
}

// setMissingPlugin warns of a medium that does not exist here.
func setMissingPlugin(p *parser, s statement) {
	p.warn(s.name, "use ucast, bcast, mcast or serial", "%s needs a plugin that hapair does not have: left out, so there is one path less than the file says", s.name.text)
}

// setSerial adds the devices of a line.
func setSerial(p *parser, s statement) {
	for _, w := range s.words {
		if !strings.HasPrefix(w.text, "/") {
			hint := "write the full path, like /dev/ttyS0"
			if n, garbled, ok := parseInt(w.text); ok && !garbled && slices.Contains(bauds, n) {
				hint = "the speed stands on a line of its own: baud " + w.text
			}
			p.error(w, hint, "serial %s is not a device", quote(w.text))
			continue
		}
		p.link(w, Link{ID: "serial " + w.text, Name: w.text, Kind: "serial", Device: w.text})
	}
}

// setBcast adds the interfaces of a line.
func setBcast(p *parser, s statement) {
	for _, w := range s.words {
		if device, ok := p.device(w); ok {
			p.link(w, Link{ID: "bcast " + device, Name: device, Kind: "bcast", Device: device})
		}
	}
}

// device checks the name of a network interface. An alias means the interface it is an alias of.
func (p *parser) device(w word) (string, bool) {
	name, _, alias := strings.Cut(w.text, ":")
	if a, err := netip.ParseAddr(w.text); err == nil {
		hint := "write the interface first: ucast eth0 " + a.String()
		if p.now.name.text == "bcast" {
			hint = "bcast takes interfaces, like eth0; an address goes with ucast: ucast eth0 " + a.String()
		}
		p.error(w, hint, "%s %s: an address where an interface belongs", p.now.name.text, w.text)
		return "", false
	}
	if name == "" || len(name) > 15 || strings.ContainsAny(name, "/ ") || name == "." || name == ".." {
		p.error(w, "an interface as ip link shows it, like eth0", "%s %s is not a network interface", p.now.name.text, quote(w.text))
		return "", false
	}
	if alias {
		p.warn(w, "write "+name, "%s is an alias: heartbeats go over the interface %s", w.text, name)
	}
	return name, true
}

// mediaWords are the words of a medium whose line is one value, of which it needs least; more than most are ignored.
func (p *parser) mediaWords(form string, least, most int) ([]word, bool) {
	s := p.now
	if s.comma {
		p.warn(s.rest, "write blanks", "Linux-HA takes the commas on a %s line for parts of the words", s.name.text)
	}
	if len(s.words) < least {
		p.error(s.rest, "write "+form, "%s needs %d words, not %d", s.name.text, least, len(s.words))
		return nil, false
	}
	if len(s.words) > most {
		p.warn(s.words[most], "write "+form, "words after the first %d of a %s line are ignored", most, s.name.text)
	}
	return s.words, true
}

// setUcast adds `DEV HOST`.
func setUcast(p *parser, s statement) {
	words, ok := p.mediaWords("ucast INTERFACE ADDRESS", 2, 2)
	if !ok {
		return
	}
	device, ok := p.device(words[0])
	if !ok || !p.host(words[1]) {
		return
	}
	peer := words[1].text
	a, err := netip.ParseAddr(peer)
	switch {
	case err != nil:
		p.warn(words[1], "write the address", "%s is a name: where it cannot be resolved at start, the link does not come up", quote(peer))
	case a.Is6():
		p.error(words[1], "write ucast6 "+device+" "+peer, "ucast with the IPv6 address %s", peer)
		return
	case a.IsMulticast():
		p.error(words[1], fmt.Sprintf("write mcast %s %s %d 1 0", device, peer, defaultPort), "ucast with the multicast address %s", peer)
		return
	case a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || a.IsLoopback():
		p.error(words[1], "write the address of the other node", "ucast to %s reaches no other node", peer)
		return
	}
	p.link(words[1], Link{ID: "ucast " + device + " " + peer, Name: device, Kind: "ucast", Device: device, Peer: peer})
}

// setUcast6 adds `DEV ADDRESS[%scope]`.
func setUcast6(p *parser, s statement) {
	words, ok := p.mediaWords("ucast6 INTERFACE ADDRESS", 2, 2)
	if !ok {
		return
	}
	device, ok := p.device(words[0])
	if !ok {
		return
	}
	a, err := netip.ParseAddr(words[1].text)
	switch {
	case err != nil || !a.Is6() || a.Is4In6():
		p.error(words[1], "write an address like fe80::1%"+device, "ucast6 %s is not an IPv6 address", quote(words[1].text))
		return
	case a.IsMulticast():
		p.error(words[1], fmt.Sprintf("write mcast6 %s %s %d 1 0", device, a, defaultPort), "ucast6 with the multicast address %s", a)
		return
	case a.IsUnspecified() || a.IsLoopback():
		p.error(words[1], "write the address of the other node", "ucast6 to %s reaches no other node", a)
		return
	case a.IsLinkLocalUnicast() && a.Zone() == "":
		p.warn(words[1], fmt.Sprintf("write %s%%%s", a, device), "Linux-HA needs a scope with the link-local address %s", a)
		a = a.WithZone(device)
	}
	p.link(words[1], Link{ID: "ucast6 " + device + " " + a.String(), Name: device, Kind: "ucast6", Device: device, Peer: a.String()})
}

// setMcast adds `DEV GROUP PORT TTL LOOP`.
func setMcast(p *parser, s statement) {
	p.multicast("mcast INTERFACE GROUP PORT TTL LOOP, like mcast eth0 239.0.0.1 694 1 0", func(a netip.Addr) bool { return a.Is4() })
}

// setMcast6 adds `DEV GROUP PORT HOPS LOOP`.
func setMcast6(p *parser, s statement) {
	p.multicast("mcast6 INTERFACE GROUP PORT HOPS LOOP, like mcast6 eth0 ff02::694 694 1 0", func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() })
}

// multicast adds a link to a group of the right family.
func (p *parser) multicast(form string, family func(netip.Addr) bool) {
	words, ok := p.mediaWords(form, 5, 5)
	if !ok {
		return
	}
	kind := p.now.name.text
	device, ok := p.device(words[0])
	if !ok {
		return
	}
	a, err := netip.ParseAddr(words[1].text)
	if err != nil || !family(a) || !a.IsMulticast() {
		p.error(words[1], "write "+form, "%s %s is not a multicast group of the right kind", kind, quote(words[1].text))
		return
	}
	port, ok1 := p.integer(words[2], 1, 65535)
	ttl, ok2 := p.integer(words[3], 0, 255)
	loop, ok3 := p.integer(words[4], 0, 1)
	if !ok1 || !ok2 || !ok3 {
		return
	}
	switch {
	case ttl == 0:
		p.warn(words[3], "write 1", "with a TTL of 0 no frame leaves this machine")
	case ttl > 4:
		p.warn(words[3], "write 1: the nodes of a pair are neighbours", "Linux-HA refuses a TTL of %d: at most 4", ttl)
	}
	id := fmt.Sprintf("%s %s %s %d", kind, device, a, port)
	p.link(words[1], Link{ID: id, Name: device, Kind: kind, Device: device, Group: a.String(), Port: port, TTL: ttl, Loop: loop == 1})
}

// link adds a link, once.
func (p *parser) link(at word, l Link) {
	l.Line, l.Col = p.now.line, at.col
	if line, again := p.named[l.ID]; again {
		p.warn(at, "remove one of the two", "the same link also stands on line %d", line)
		return
	}
	p.named[l.ID] = l.Line
	if len(p.cfg.Links) == maxLinks {
		p.error(at, "remove links", "more than %d links", maxLinks)
	}
	p.cfg.Links = append(p.cfg.Links, l)
}

// finishLinks gives ports and speeds to the links. Linux-HA's media take what was said last before the first line of their
// kind; where nothing was, the first that comes afterwards counts here.
func (p *parser) finishLinks() {
	port, baud := map[string]int{}, map[string]int{}
	for i := range p.cfg.Links {
		l := &p.cfg.Links[i]
		switch l.Kind {
		case "serial":
			if _, known := baud[l.Kind]; !known {
				baud[l.Kind] = p.latched(*l, p.bauds, 19200)
			}
			l.Baud = baud[l.Kind]
		case "ucast", "bcast", "ucast6":
			if _, known := port[l.Kind]; !known {
				port[l.Kind] = p.latched(*l, p.ports, defaultPort)
			}
			l.Port = port[l.Kind]
		}
	}
	for i := 1; i < len(p.ports); i++ {
		if now, before := p.ports[i], p.ports[i-1]; now.value != before.value {
			p.faults.Addf(p.at(fault.Warning, now.line, now.col), "keep one udpport",
				"udpport %d, but line %d says %d: each kind of link uses the one that stands before its first line", now.value, before.line, before.value)
		}
	}
}

// latched is the value that the first link of a kind uses.
func (p *parser) latched(first Link, values []latch, otherwise int) int {
	for i := len(values) - 1; i >= 0; i-- {
		if values[i].line < first.Line {
			return values[i].value
		}
	}
	if len(values) == 0 {
		return otherwise
	}
	v, name := values[0], "udpport"
	if first.Kind == "serial" {
		name = "baud"
	}
	if v.value == otherwise { // Linux-HA would use the same
		return v.value
	}
	if p.named[name+" is late"]++; p.named[name+" is late"] > 1 {
		return v.value
	}
	p.faults.Addf(p.at(fault.Warning, v.line, v.col), "put it before the first link",
		"%s %d stands after the %s link of line %d: it holds all the same, but Linux-HA would use %d there", name, v.value, first.Kind, first.Line, otherwise)
	return v.value
}

// host says whether a word can be an address or the name of a host.
func (p *parser) host(w word) bool {
	if _, err := netip.ParseAddr(w.text); err == nil {
		return true
	}
	hint := "an address like 10.0.0.2, or a host name"
	numeric := strings.IndexFunc(w.text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }) < 0
	if numeric {
		hint = "four numbers from 0 to 255 without leading zeros"
	}
	if numeric || strings.IndexFunc(w.text, notInName) >= 0 {
		p.error(w, hint, "%s %s is not an address", p.now.name.text, quote(w.text))
		return false
	}
	return true
}

// setPing adds the hosts of a line as ping nodes.
func setPing(p *parser, s statement) {
	for _, w := range s.words {
		if a, err := netip.ParseAddr(w.text); err == nil && a.Is6() {
			p.error(w, "write ping6 "+w.text, "ping with the IPv6 address %s", a)
			continue
		}
		if p.host(w) {
			p.pseudo(w, Ping{ID: "ping " + w.text, Name: w.text, Kind: "ping", Hosts: []string{w.text}})
		}
	}
}

// setPing6 adds the IPv6 addresses of a line as ping nodes.
func setPing6(p *parser, s statement) {
	for _, w := range s.words {
		a, err := netip.ParseAddr(w.text)
		if err != nil || !a.Is6() || a.Is4In6() {
			p.error(w, "an address like 2001:db8::1", "ping6 %s is not an IPv6 address", quote(w.text))
			continue
		}
		p.pseudo(w, Ping{ID: "ping6 " + w.text, Name: w.text, Kind: "ping6", Hosts: []string{w.text}})
	}
}

// setPingGroup adds `NAME HOST…`.
func setPingGroup(p *parser, s statement) {
	words, ok := p.mediaWords("ping_group NAME HOST [HOST…]", 2, len(s.words))
	if !ok {
		return
	}
	group := Ping{ID: "ping_group " + words[0].text, Name: words[0].text, Kind: "ping_group"}
	if _, err := netip.ParseAddr(group.Name); err == nil {
		p.warn(words[0], "write ping_group NAME HOST [HOST…]", "the first word of a ping_group is its name: %s is not pinged", group.Name)
	}
	for _, w := range words[1:] {
		if a, err := netip.ParseAddr(w.text); err == nil && a.Is6() {
			p.error(w, "write ping6 "+w.text, "ping_group with the IPv6 address %s", a)
			continue
		}
		if p.host(w) {
			group.Hosts = append(group.Hosts, w.text)
		}
	}
	if len(group.Hosts) > 0 {
		p.pseudo(words[0], group)
	}
}

// pseudo adds a ping node or group, once: its name is a node's name.
func (p *parser) pseudo(at word, g Ping) {
	g.Line = p.now.line
	if line, again := p.named["ping node "+g.Name]; again {
		p.warn(at, "remove one of the two", "the ping node %s also stands on line %s", g.Name, strconv.Itoa(line))
		return
	}
	p.named["ping node "+g.Name] = g.Line
	p.cfg.Pings = append(p.cfg.Pings, g)
}
