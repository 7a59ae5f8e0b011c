package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// pairPlan is what `heartbeat init` is going to write.
type pairPlan struct {
	node, peer string
	links      []plannedLink
	gateway    netip.Addr // to ping; invalid for none
	address    string     // the floating address, as a resource: 10.0.0.100/24/eth0
	service    string     // the resource that runs with it, "" for none
	watchdog   string     // device, "" for none
	useDog     bool       // and it shall be used
}

// plannedLink is a heartbeat medium.
type plannedLink struct {
	kind, device string
	addresses    []string // of both nodes
	why          string
	off          bool // written as a comment only
}

// toml is the text of heartbeat.toml.
func (p pairPlan) toml() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("# A pair: %s and %s. Both nodes have the same file. Every key is explained in heartbeat.toml.reference.", p.node, p.peer)
	say("")
	say("nodes = [%q, %q]      # what `uname -n` prints on each", p.node, p.peer)
	say("")
	say("# How long things take. A dead node's address answers on the other node deadtime after its last heartbeat.")
	say("keepalive = \"200ms\"     # between two heartbeats")
	say("warntime = \"1s\"         # a heartbeat this late is worth a line in the log")
	say("deadtime = \"3s\"         # a node silent for so long is dead")
	say("initdead = \"15s\"        # the same at start, when the network may need a while")
	say("")
	say("auto_failback = \"off\"   # what was taken over stays until somebody moves it: one interruption, not two")
	switch {
	case p.useDog:
		say("watchdog = %q   # resets this machine when its heartbeat hangs", p.watchdog)
	case p.watchdog != "":
		say("#watchdog = %q  # would reset this machine when its heartbeat hangs", p.watchdog)
	}
	say("#metrics = \"127.0.0.1:9694\"  # would tell Prometheus, and show a status page; only this machine can ask there")
	say("")
	say("# The ways that heartbeats take. Two at least, with nothing in common: a node that is merely unreachable is not dead.")
	for _, l := range p.links {
		p.tomlLink(say, l)
	}
	if p.gateway.IsValid() {
		say("# What answers pings tells a node that has lost its network from one whose peer has died.")
		say("[ping.gateway]\naddress = %q\n", p.gateway)
	}
	say("# What moves: started from left to right, stopped from right to left.")
	say("[group.%s]", p.group())
	say("node = %q            # that prefers to run it", p.node)
	say("resources = [%s]", strings.Join(quoteEach(p.resources()), ", "))
	return b.String()
}

// tomlLink writes one [link.NAME].
func (p pairPlan) tomlLink(say func(string, ...any), l plannedLink) {
	mark := ""
	if l.off {
		mark = "#"
	}
	name := strings.TrimPrefix(l.device, "/dev/")
	if strings.ContainsFunc(name, func(c rune) bool { return c == '.' || c == ':' || c == '@' }) {
		name = strconv.Quote(name)
	}
	say("%s[link.%s]   # %s", mark, name, l.why)
	say("%skind = %q", mark, l.kind)
	if l.kind == "serial" {
		say("%sdevice = %q", mark, l.device)
		say("%sbaud = 115200", mark)
	}
	if len(l.addresses) > 0 {
		say("%saddress = [%s]", mark, strings.Join(quoteEach(l.addresses), ", "))
	}
	say("")
}

// group is the name of the group.
func (p pairPlan) group() string {
	name := p.service[strings.LastIndexByte(p.service, ':')+1:]
	name, _, _ = strings.Cut(name, "@")
	bad := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if name == "" || strings.ContainsFunc(name, bad) {
		return "service"
	}
	return name
}

// resources are those of the group.
func (p pairPlan) resources() []string {
	if p.service == "" {
		return []string{p.address}
	}
	return []string{p.address, p.service}
}

// quoteEach puts texts into double quotes.
func quoteEach(texts []string) []string {
	all := make([]string, len(texts))
	for i, t := range texts {
		all[i] = strconv.Quote(t)
	}
	return all
}

// classic are the texts of ha.cf and haresources.
func (p pairPlan) classic() (haCF, haresources string) {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("# A pair: %s and %s. Both nodes have the same files.", p.node, p.peer)
	say("")
	say("node %s %s              # what `uname -n` prints on each", p.node, p.peer)
	say("")
	say("# How long things take. A dead node's address answers on the other node deadtime after its last heartbeat.")
	say("keepalive 200ms          # between two heartbeats")
	say("warntime 1               # a heartbeat this late is worth a line in the log")
	say("deadtime 3               # a node silent for so long is dead")
	say("initdead 15              # the same at start, when the network may need a while")
	say("")
	say("# The ways that heartbeats take. Two at least, with nothing in common: a node that is merely unreachable is not dead.")
	if slices.ContainsFunc(p.links, func(l plannedLink) bool { return l.kind == "serial" && !l.off }) {
		say("baud 115200")
	}
	for _, l := range p.links {
		mark := ""
		if l.off {
			mark = "#"
		}
		if len(l.addresses) == 0 {
			say("%s%s %s  # %s", mark, l.kind, l.device, l.why)
		}
		for _, a := range l.addresses {
			say("%s%s %s %s  # %s", mark, l.kind, l.device, a, l.why)
		}
	}
	say("")
	if p.gateway.IsValid() {
		say("# What answers pings tells a node that has lost its network from one whose peer has died.")
		say("ping %s\n", p.gateway)
	}
	switch {
	case p.useDog:
		say("watchdog %s   # resets this machine when its heartbeat hangs", p.watchdog)
	case p.watchdog != "":
		say("#watchdog %s  # would reset this machine when its heartbeat hangs", p.watchdog)
	}
	say("auto_failback off        # what was taken over stays until somebody moves it: one interruption, not two")
	return b.String(), fmt.Sprintf("# The node that prefers to run it, then what it runs: started from left to right, stopped from right to left.\n%s %s\n",
		p.node, strings.Join(p.resources(), " "))
}
