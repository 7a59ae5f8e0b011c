package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The kinds of a link.
var linkKinds = []string{"bcast", "ucast", "mcast", "ucast6", "mcast6", "serial"}

// tomlLink is one [link.NAME]. Each address of a unicast link is one Link.
type tomlLink struct {
	table     *entry
	kind      string
	device    string // interface or serial device
	addresses []word
	places    []place // of the addresses
	group     string
	port      int
	ttl       int
	loop      bool
	baud      int
}

// linkUses says which keys a kind of link takes, besides kind.
var linkUses = map[string][]string{
	"bcast": {"interface", "port"}, "ucast": {"interface", "address", "port"}, "ucast6": {"interface", "address", "port"},
	"mcast": {"interface", "group", "port", "ttl", "loop"}, "mcast6": {"interface", "group", "port", "ttl", "loop"},
	"serial": {"device", "baud"},
}

// linkTables are [link.NAME].
func (r *tomlReader) linkTables() field {
	var l tomlLink
	fields := []field{
		r.choice("kind", func(_ *entry, s string) { l.kind = s }, linkKinds...),
		r.text("interface", func(e *entry, s string) { l.device = r.interfaceName(e.valueAt, s) }),
		r.text("device", func(e *entry, s string) {
			if l.device = s; !strings.HasPrefix(s, "/") {
				r.failAt(e.valueAt, `write the full path, like "/dev/ttyS0"`, "device %s is not a device", quote(s))
			}
		}),
		r.list("address", func(_ *entry, words []word, places []place) { l.addresses, l.places = words, places }),
		r.text("group", func(_ *entry, s string) { l.group = s }),
		r.number("port", 1, 65535, func(_ *entry, n int) { l.port = n }),
		r.number("ttl", 0, 255, func(_ *entry, n int) { l.ttl = n }),
		r.flag("loop", func(_ *entry, b bool) { l.loop = b }),
		r.number("baud", 1, 1<<30, func(e *entry, n int) {
			if l.baud = n; !slices.Contains(bauds, n) {
				r.failAt(e.valueAt, "one of "+strings.Trim(fmt.Sprint(bauds), "[]"), "baud %d is not a speed of a serial line", n)
			}
		}),
	}
	return r.named("link", fields, func(t *entry) {
		l = tomlLink{table: t, ttl: 1, baud: 19200}
		before := len(*r.faults)
		r.table(t, fields)
		bad := len(*r.faults) > before
		if l.kind == "" && t.get("kind") != nil || !r.checkUses(t, l.kind) {
			r.spoil["link"] = true
			return
		}
		if r.spoil["link"] = r.spoil["link"] || bad; !bad || l.addresses != nil { // what follows from a bad value is not worth saying
			r.links = append(r.links, l)
		}
	})
}

// checkUses complains of what a link of a kind needs and lacks, or has and does not take.
func (r *tomlReader) checkUses(t *entry, kind string) bool {
	if !r.required(t, "kind") {
		return false
	}
	uses, good := linkUses[kind], true
	for _, e := range t.entries {
		if e.key != "kind" && !slices.Contains(uses, e.key) {
			r.failAt(e.at, "it takes "+strings.Join(uses, ", "), "a %s link has no %s", kind, e.key)
			good = false
		}
	}
	for _, needs := range []string{"device", "address", "group"} {
		if slices.Contains(uses, needs) && !r.required(t, needs) {
			good = false
		}
	}
	return good
}

// interfaceName checks the name of a network interface.
func (r *tomlReader) interfaceName(at place, text string) string {
	name, _, alias := strings.Cut(text, ":")
	_, err := netip.ParseAddr(text)
	switch {
	case err == nil:
		r.failAt(at, `write its interface, like "eth0", and the address as address = …`, "interface %s: an address where an interface belongs", text)
		return ""
	case name == "" || len(name) > 15 || strings.ContainsAny(name, "/ \t") || name == "." || name == "..":
		r.failAt(at, `an interface as ip link shows it, like "eth0"`, "%s is not a network interface", quote(text))
		return ""
	case alias:
		r.warnAt(at, "write "+strconv.Quote(name), "%s is an alias: heartbeats go over the interface %s", text, name)
	}
	return name
}

// finishTOMLLinks makes Links of the tables, once the port is known.
func (r *tomlReader) finishTOMLLinks() {
	for _, l := range r.links {
		if l.port == 0 {
			l.port = r.port
		}
		if l.device == "" {
			if l.device = r.interfaceName(l.table.at, l.table.key); l.device == "" {
				continue
			}
		}
		switch l.kind {
		case "serial":
			r.addLink(l, Link{ID: "serial " + l.device, Name: l.device, Device: l.device, Baud: l.baud}, l.device)
			r.raw("baud", strconv.Itoa(l.baud))
		case "bcast":
			r.addLink(l, Link{ID: "bcast " + l.device, Name: l.device, Device: l.device, Port: l.port}, l.device)
		case "ucast", "ucast6":
			r.addUnicast(l)
		default:
			r.addMulticast(l)
		}
	}
}

// addLink adds a link to the configuration.
func (r *tomlReader) addLink(l tomlLink, link Link, raw string) {
	link.Kind = l.kind
	r.now = statement{line: l.table.at.line}
	r.link(word{col: l.table.at.col}, link)
	r.raw(l.kind, raw)
}

// addUnicast adds a link for each address.
func (r *tomlReader) addUnicast(l tomlLink) {
	for i, w := range l.addresses {
		peer := w.text
		a, err := netip.ParseAddr(peer)
		at, six := l.places[i], l.kind == "ucast6"
		switch {
		case six && (err != nil || !a.Is6() || a.Is4In6()):
			r.failAt(at, "write an address like fe80::1%"+l.device, "address %s is not an IPv6 address", quote(peer))
			continue
		case err == nil && a.Is6() && !six:
			r.failAt(at, `write kind = "ucast6"`, "ucast with the IPv6 address %s", peer)
			continue
		case err != nil && !r.goodHost(peer):
			r.failAt(at, r.hostHint(peer), "address %s is not an address", quote(peer))
			continue
		case err != nil:
			r.warnAt(at, "write the address", "%s is a name: where it cannot be resolved at start, the link does not come up", quote(peer))
		case a.IsMulticast():
			r.failAt(at, fmt.Sprintf("write kind = %q and group = %q", strings.Replace(l.kind, "ucast", "mcast", 1), a), "%s with the multicast address %s", l.kind, peer)
			continue
		case a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || a.IsLoopback():
			r.failAt(at, "write the addresses of the two nodes", "%s to %s reaches no other node", l.kind, peer)
			continue
		case six:
			if a.IsLinkLocalUnicast() && a.Zone() == "" {
				a = a.WithZone(l.device)
			}
			peer = a.String()
		}
		r.addLink(l, Link{ID: l.kind + " " + l.device + " " + peer, Name: l.device, Device: l.device, Peer: peer, Port: l.port}, l.device+" "+peer)
	}
}

// addMulticast adds a link to a group.
func (r *tomlReader) addMulticast(l tomlLink) {
	at, six := l.table.get("group").valueAt, l.kind == "mcast6"
	a, err := netip.ParseAddr(l.group)
	if err != nil || !a.IsMulticast() || a.Is4() == six || a.Is4In6() {
		r.failAt(at, map[bool]string{false: `like "239.0.0.1"`, true: `like "ff02::694"`}[six], "%s is not a group for %s", quote(l.group), l.kind)
		return
	}
	if l.ttl == 0 {
		r.warnAt(l.table.get("ttl").valueAt, "write 1", "with a TTL of 0 no frame leaves this machine")
	}
	loop := 0
	if l.loop {
		loop = 1
	}
	link := Link{ID: fmt.Sprintf("%s %s %s %d", l.kind, l.device, a, l.port), Name: l.device, Device: l.device, Group: a.String(), Port: l.port, TTL: l.ttl, Loop: l.loop}
	r.addLink(l, link, fmt.Sprintf("%s %s %d %d %d", l.device, a, l.port, l.ttl, loop))
}
