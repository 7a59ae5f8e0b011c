package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/fault"
)

// frameBits is an estimate of a status message on a serial line: 300 bytes of 10 bits each.
const frameBits = 300 * 10

// finishTimes computes the defaults that depend on other times and checks how they fit together (protocol section 1.5).
func (p *parser) finishTimes() {
	c := p.cfg
	for name, d := range map[string]struct {
		where     *time.Duration
		otherwise time.Duration
	}{
		"warntime": {&c.Warntime, c.Deadtime / 2},
		"deadping": {&c.Deadping, c.Deadtime},
		"initdead": {&c.Initdead, defaultInitdead(c.Deadtime)},
	} {
		if _, given := p.given[name]; !given {
			*d.where = d.otherwise
		}
	}
	if p.spoil["keepalive"] || p.spoil["deadtime"] {
		return // what follows would be about values that nobody wrote
	}
	p.checkDead("deadtime", "dead time", c.Deadtime)
	if p.lineOf("deadping") > 0 {
		p.checkDead("deadping", "ping dead time", c.Deadping)
	}
	p.checkInitdead()
	if c.Warntime >= c.Deadtime && !p.spoil["warntime"] {
		p.faults.Addf(p.placed(fault.Warning, "warntime", "deadtime"), fmt.Sprintf("write %s: half of deadtime", p.settingTime("warntime", c.Deadtime/2)),
			"warntime %s is not below deadtime %s: nobody is warned before a node is declared dead", show(c.Warntime), show(c.Deadtime))
	}
	p.checkSerial()
}

// defaultInitdead is the initdead of a file that gives none (protocol section 1.5).
func defaultInitdead(deadtime time.Duration) time.Duration {
	switch {
	case deadtime > 10*time.Second:
		return deadtime
	case deadtime < 6*time.Second:
		return 12 * time.Second
	}
	return 2 * deadtime
}

// placed is a fault at the first of some directives that the file gives.
func (p *parser) placed(severity fault.Severity, names ...string) fault.Fault {
	for _, name := range names {
		if g, given := p.given[name]; given {
			return p.at(severity, g.line, g.col)
		}
	}
	return p.at(severity, 0, 0)
}

// said is a time with the words that tell where it comes from.
func (p *parser) said(name string, d time.Duration) string {
	if line := p.lineOf(name); line > 0 {
		return fmt.Sprintf("%s %s (line %d)", name, show(d), line)
	}
	return fmt.Sprintf("%s %s (the default)", name, show(d))
}

// checkDead compares a dead time with keepalive.
func (p *parser) checkDead(name, what string, d time.Duration) {
	keepalive := p.cfg.Keepalive
	hint := fmt.Sprintf("write %s or more, or a shorter keepalive", p.settingTime(name, 4*keepalive))
	switch {
	case d <= 2*keepalive:
		p.faults.Addf(p.placed(fault.Error, name, "keepalive"), hint, "%s is too small for %s: the %s must be more than two intervals",
			p.said(name, d), p.said("keepalive", keepalive), what)
	case d < 3*keepalive:
		p.faults.Addf(p.placed(fault.Warning, name, "keepalive"), hint, "%s is less than three intervals of %s: two lost frames make a dead node",
			p.said(name, d), p.said("keepalive", keepalive))
	}
}

// checkInitdead compares initdead with deadtime and with what a network needs to come up.
func (p *parser) checkInitdead() {
	c := p.cfg
	if p.lineOf("initdead") == 0 {
		return
	}
	switch {
	case c.Initdead < c.Deadtime:
		p.faults.Addf(p.placed(fault.Error, "initdead"), fmt.Sprintf("write %s or more", p.settingTime("initdead", max(2*c.Deadtime, 10*time.Second))),
			"%s is smaller than %s", p.said("initdead", c.Initdead), p.said("deadtime", c.Deadtime))
	case c.Initdead < 10*time.Second:
		p.faults.Addf(p.placed(fault.Warning, "initdead"), p.either("write initdead 10 or more", `write initdead = "10s" or more`),
			"initdead %s may be too small: networks and switches take longer to come up, and a node that starts alone then takes everything", show(c.Initdead))
	}
}

// checkSerial refuses serial lines on which heartbeats would pile up.
func (p *parser) checkSerial() {
	for _, l := range p.cfg.Links {
		if l.Kind != "serial" || l.Baud == 0 {
			continue
		}
		frame := time.Duration(frameBits) * time.Second / time.Duration(l.Baud)
		if 2*frame <= p.cfg.Keepalive {
			continue
		}
		hint := fmt.Sprintf("write %s or more", p.setting("keepalive", fmt.Sprintf("%dms", (2*frame+time.Millisecond).Milliseconds())))
		for _, b := range bauds {
			if 2*frameBits*time.Second <= p.cfg.Keepalive*time.Duration(b) {
				hint += fmt.Sprintf(p.either(", or baud %d before the serial line", ", or baud = %d"), b)
				break
			}
		}
		p.faults.Addf(p.on(fault.Error, l.Line), hint, "%s: a frame takes about %dms at baud %d, more than half of %s",
			l.ID, frame.Milliseconds(), l.Baud, p.said("keepalive", p.cfg.Keepalive))
	}
}

// crossCheck checks what only the whole file shows, once this node's name is known.
func (p *parser) crossCheck() {
	p.checkNodes()
	p.checkLinks()
	p.checkPings()
	p.checkStonith()
	if p.cfg.AutoFailback == FailbackLegacy && !p.cfg.AutoFailbackExplicit && !p.spoil["auto_failback"] {
		p.faults.Addf(p.at(fault.Warning, 0, 0), "write auto_failback on or auto_failback off",
			"auto_failback is not given: legacy, as in Linux-HA; between two nodes of hapair legacy means on")
	}
}

// checkNodes finds the peer and makes sure that this is a pair.
func (p *parser) checkNodes() {
	c := p.cfg
	switch {
	case len(c.Nodes) == 0:
		p.faults.Addf(p.at(fault.Error, 0, 0), p.either("write a node line for each of the two nodes, with the name that uname -n prints there",
			`write nodes = ["ONE", "OTHER"] with the names that uname -n prints there`), "no nodes defined")
		return
	case len(c.Nodes) == 1:
		p.faults.Addf(p.on(fault.Notice, p.nodes[c.Nodes[0]]), "", "only one node is named, %s: it runs alone and takes everything after initdead", c.Nodes[0])
	case len(c.Nodes) > 2:
		p.faults.Addf(p.on(fault.Error, p.nodes[c.Nodes[2]]), p.either("keep two node names; comments begin with #", "keep two"),
			"%d nodes (%s): hapair runs pairs, like haresources itself", len(c.Nodes), strings.Join(c.Nodes, ", "))
	}
	if c.Node == "" {
		return
	}
	if !slices.Contains(c.Nodes, c.Node) {
		p.faults.Addf(p.on(fault.Error, p.nodes[c.Nodes[0]]), p.nodeHint(), "this node is %s (%s), which is not among the nodes %s", quote(c.Node), c.NodeSource, strings.Join(c.Nodes, ", "))
		return
	}
	if len(c.Nodes) == 2 {
		c.Peer = c.Nodes[0]
		if c.Peer == c.Node {
			c.Peer = c.Nodes[1]
		}
	}
}

// nodeHint says how to make this node's name one of the nodes.
func (p *parser) nodeHint() string {
	c := p.cfg
	short := func(s string) string { head, _, _ := strings.Cut(s, "."); return head }
	for _, n := range c.Nodes {
		if short(n) == short(c.Node) {
			return fmt.Sprintf("the same host? write %s, or write %s into %s", p.either("node "+c.Node, strconv.Quote(c.Node)), n, nodeinfoPath(c.Dir))
		}
	}
	if near := fault.Nearest(c.Node, c.Nodes); near != "" {
		return fmt.Sprintf("did you mean %s? %s what uname -n prints", near, p.either("a node line takes", "nodes takes"))
	}
	return "write what uname -n prints on each node, or the name " + p.either(classicFile, tomlFile) + " uses into " + nodeinfoPath(c.Dir)
}

// checkLinks looks at how much redundancy there is.
func (p *parser) checkLinks() {
	c := p.cfg
	if p.spoil["link"] {
		return
	}
	if len(c.Links) == 0 {
		p.faults.Addf(p.at(fault.Error, 0, 0), p.either("write a link, like bcast eth0 or ucast eth0 10.0.0.2",
			`add a [link.eth0] with kind = "bcast", or with kind = "ucast" and address = ["10.0.0.1", "10.0.0.2"]`), "no heartbeat media defined")
		return
	}
	cables := map[string]bool{}
	for _, l := range c.Links {
		cables[cable(l.Device)] = true
	}
	if len(cables) > 1 || len(c.Nodes) == 1 {
		return
	}
	at := p.on(fault.Warning, c.Links[len(c.Links)-1].Line)
	const hint = "add a second path: a direct cable, a serial line, the service network"
	if device := c.Links[0].Device; len(c.Links) == 1 || onlyUcast(c.Links) {
		p.faults.Addf(at, hint, "%s is the only heartbeat path: when it breaks, each node takes the other for dead", device)
	} else {
		p.faults.Addf(at, hint, "all %d links use %s: that is one path, not %d; when it breaks, each node takes the other for dead", len(c.Links), device, len(c.Links))
	}
}

// onlyUcast says whether links are the two ucast lines of a file that is the same on both nodes.
func onlyUcast(links []Link) bool {
	for _, l := range links {
		if l.Kind != "ucast" && l.Kind != "ucast6" {
			return false
		}
	}
	return len(links) == 2
}

// cable is the physical interface of a VLAN's usual name: what breaks with it.
func cable(device string) string {
	if strings.HasPrefix(device, "/") {
		return device
	}
	head, _, _ := strings.Cut(device, ".")
	return head
}

// checkPings warns of ping nodes that say nothing about the network.
func (p *parser) checkPings() {
	c := p.cfg
	if len(c.Nodes)+len(c.Pings) > maxNodes {
		p.faults.Addf(p.at(fault.Error, 0, 0), "remove ping nodes", "%d nodes and ping nodes: at most %d", len(c.Nodes)+len(c.Pings), maxNodes)
	}
	peers := map[string]bool{}
	for _, l := range c.Links {
		if a, err := netip.ParseAddr(l.Peer); err == nil {
			peers[a.WithZone("").String()] = true
		}
	}
	c.Pings = slices.DeleteFunc(c.Pings, func(g Ping) bool {
		at := p.on(fault.Warning, g.Line)
		if slices.Contains(c.Nodes, strings.ToLower(g.Name)) {
			p.faults.Addf(at, "ping a router or a switch", "%s: %s is a node of the cluster, not a ping node: left out", g.ID, g.Name)
			return true
		}
		for _, h := range g.Hosts {
			if a, err := netip.ParseAddr(h); slices.Contains(c.Nodes, strings.ToLower(h)) || err == nil && peers[a.WithZone("").String()] {
				p.faults.Addf(at, "ping a router or a switch that both nodes reach",
					"%s: %s is a node of the cluster: when it dies, the other one seems to have lost its network", g.ID, h)
			}
		}
		return false
	})
}
