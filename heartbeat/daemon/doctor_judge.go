package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

// Finding is one thing that would spoil a takeover: what, how it was seen, and what to do.
type Finding struct {
	Node     string         `json:"node"`  // where it was found
	About    string         `json:"about"` // link, size, peer, key, clock, config, files, group, ping, gateway, mirror, privilege, disk, lease, drbd, fencing, …
	Severity fault.Severity `json:"severity"`
	What     string         `json:"what"`
	Evidence string         `json:"evidence"`
	Remedy   string         `json:"remedy"`
}

// The bounds beyond which the doctor speaks.
const (
	clockMost    = 3 * time.Second // heartbeats tell the time to half a second
	refusedFresh = 2 * time.Minute
	diskLeast    = 16 << 20
)

// judge draws the conclusions: worst first.
func (f facts) judge() []Finding {
	d := diagnosis{node: f.status.Node}
	f.judgePeer(&d)
	f.judgeLinks(&d)
	f.judgeKeys(&d)
	f.judgeClocks(&d)
	f.judgeFiles(&d)
	f.judgeGroups(&d)
	f.judgeNetwork(&d)
	f.judgeMachine(&d)
	f.judgeStorage(&d)
	slices.SortStableFunc(d.list, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return d.list
}

// diagnosis collects findings.
type diagnosis struct {
	node string
	list []Finding
}

func (d *diagnosis) add(about string, severity fault.Severity, what, evidence, remedy string) {
	d.list = append(d.list, Finding{Node: d.node, About: about, Severity: severity, What: what, Evidence: evidence, Remedy: remedy})
}

// peerThere tells whether the other daemon is heard.
func (s *Status) peerThere() bool {
	switch s.Peer.State {
	case "dead", "left", "unknown", "":
		return false
	}
	return true
}

func (f facts) judgePeer(d *diagnosis) {
	s, p := f.status, f.status.Peer
	heard := "last heard " + agePhrase(p.LastHeardMS) + " ago"
	if p.LastHeardMS < 0 {
		heard = "never heard since this node started"
	}
	switch {
	case p.Name == "":
		d.add("peer", fault.Warning, "this node has no peer", "the configuration names one node only", "name both nodes, on both")
	case p.State == "left":
		d.add("peer", fault.Error, "heartbeat was stopped on "+p.Name, heard, "start it there: systemctl start heartbeat")
	case !s.peerThere():
		d.add("peer", fault.Error, p.Name+" is not heard on any link", heard,
			"look whether that machine and heartbeat on it run; then at links, firewalls and keys, with heartbeat doctor there")
	case p.State != "active":
		d.add("peer", fault.Warning, p.Name+" is not ready yet", "its state is "+p.State, "wait a moment, and ask again")
	}
	if p.UUID != "" && p.UUID == s.UUID {
		d.add("peer", fault.Error, "both nodes have the same identity", "hb_uuid is "+s.UUID+" on both: one machine was cloned from the other",
			"stop heartbeat on one of them, remove its /var/lib/heartbeat/hb_uuid, start it")
	}
	if s.PausedMS > 0 {
		d.add("paused", fault.Warning, "takeover is paused", "for another "+agePhrase(s.PausedMS), "heartbeat pause 0 ends it")
	}
	if !s.Managed {
		d.add("unmanaged", fault.Warning, "this node takes nothing over", "heartbeat was started with --no-resources (-M)", "start it without")
	}
}

// port is the remedy's word for what has to be let through on a link.
func port(l LinkView) string {
	switch l.Kind {
	case "serial":
		return "check the null modem cable, and that both ends have the same baud"
	case "bcast", "mcast", "mcast6":
		return "let UDP port 694 (udpport) in and out on " + l.Name + " on both nodes, broadcast and multicast too, and have the switch pass it"
	}
	return "let UDP port 694 (udpport) in and out on " + l.Name + " on both nodes, and check that each names the other's address"
}

func (f facts) judgeLinks(d *diagnosis) {
	s := f.status
	for _, l := range s.Links {
		p, tested := f.probes[l.ID]
		arrives := tested && p.small
		switch {
		case l.Kind == kindMirror:
			if l.State != "up" && s.peerThere() {
				d.add("mirror", fault.Warning, "the mirror "+l.ID+" does not work", firstOf(l.Reason, "no heartbeat comes back by way of it, last "+agePhrase(l.LastHeardMS)),
					"have that host answer pings from both nodes; where the network forbids it (clouds do), write #hapair: mirror=off, and have a second link")
			}
			continue
		case l.State == "unusable":
			d.add("link", fault.Error, "link "+l.ID+" cannot be used here", l.Reason, unusableRemedy(l))
			continue
		case l.State == "up" && l.Reason != "": // frames arrive on it, and so it counts as up
			d.add("link", fault.Error, "nothing can be sent on link "+l.ID+" from here", l.Reason, unusableRemedy(l))
			continue
		case !s.peerThere():
			continue // said already
		case l.State != "up" && arrives:
			d.add("oneway", fault.Error, "link "+l.ID+" works in one direction only: nothing arrives here",
				"frames from "+s.Node+" arrive at "+s.Peer.Name+" on it; from there none was heard for "+agePhrase(l.LastHeardMS), "this node's own firewall, or the way here: "+port(l))
		case l.State != "up":
			d.add("link", fault.Error, "nothing arrives on link "+l.ID, "last frame "+agePhrase(l.LastHeardMS)+" ago, while "+s.Peer.Name+" is heard elsewhere",
				"check the cable and that "+s.Peer.Name+" sends on it; "+port(l))
		case tested && !p.small:
			d.add("oneway", fault.Error, "link "+l.ID+" works in one direction only: nothing arrives at "+s.Peer.Name,
				"frames from there arrive here; of this node's none did", s.Peer.Name+"'s firewall, or the way there: "+port(l))
		case tested && p.size > 0 && !p.large:
			d.add("size", fault.Error, "link "+l.ID+" does not carry large frames to "+s.Peer.Name, fmt.Sprintf("a frame of %d bytes is lost, a small one arrives", p.size),
				"set the same MTU on both ends and on the switch between: ip link set "+l.Name+" mtu …; or let fragments through")
		}
		if l.Dropped > 0 && l.State == "up" && l.Kind == "serial" {
			d.add("link", fault.Warning, "link "+l.ID+" is too slow", fmt.Sprintf("%d frames waited too long and were dropped", l.Dropped), "a higher baud on both nodes, or a longer keepalive")
		}
	}
}

// unusableRemedy says what to do about a link that cannot be used.
func unusableRemedy(l LinkView) string {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(l.Reason, w) })
	}
	switch {
	case has("firewall", "forbids"):
		return "this node's own firewall drops outgoing heartbeats: let UDP port 694 (udpport) out on " + l.Name
	case has("is gone", "no such", "no interface"):
		return "ip link shows the interfaces: bring " + l.Name + " back, give it its address, or name the right one in the configuration"
	case has("is down"):
		return "ip link set " + l.Name + " up, and check the cable"
	case has("no way", "unreachable"):
		return "ip route get shows the way: give " + l.Name + " an address in the peer's network, or correct the peer's address"
	case has("in use"):
		return "another program has the port or the line: ss -ulpn shows it; stop it, or choose another udpport on both nodes"
	case has("not take the frame"):
		return "check the cable and that the other end is on"
	}
	return "correct what the reason says; heartbeat opens the link again by itself"
}

func (f facts) judgeKeys(d *diagnosis) {
	for _, id := range slices.Sorted(maps.Keys(f.refused)) {
		r := f.refused[id]
		if len(r.counts) == 0 || r.ago > refusedFresh {
			continue
		}
		_, text := counts(r.counts)
		evidence := fmt.Sprintf("%s on link %s, last from %s %s ago", text, id, firstOf(r.from, "an unknown sender"), r.ago.Round(time.Second))
		if r.counts["wrong signature"]+r.counts["unknown key index"] > 0 {
			d.add("key", fault.Error, "frames are refused because they are signed with another key", evidence,
				"if they come from "+firstOf(f.status.Peer.Name, "the peer")+": copy authkeys from one node to the other (scp -p), then heartbeat reload there; if not, give the two pairs different ports")
			continue
		}
		d.add("key", fault.Warning, "frames are refused because they are no heartbeats", evidence, "find who sends to this port, and let only the peer through")
	}
	if f.status.Keys == nil || !f.status.peerThere() {
		return
	}
	for _, k := range f.status.Keys.Entries {
		if k.Signs && k.Peer == "lacks" {
			d.add("key", fault.Error, fmt.Sprintf("%s does not have key %d, which this node signs with", f.status.Peer.Name, k.Index), "it says so in its heartbeats",
				"heartbeat key shows how to bring a key to both nodes before it is used")
		}
	}
}

func (f facts) judgeClocks(d *diagnosis) {
	ahead := time.Duration(f.status.Peer.ClockAheadMS) * time.Millisecond
	if !f.status.peerThere() || ahead.Abs() <= clockMost {
		return
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	d.add("clock", fault.Warning, fmt.Sprintf("%s's clock is %s %s this node's", f.status.Peer.Name, ahead.Abs().Round(time.Second), direction),
		"the time in its heartbeats", "run a time service (chrony, systemd-timesyncd) on both nodes: takeovers do not depend on it, but logs, journals and many services do")
}

func (f facts) judgeFiles(d *diagnosis) {
	for _, c := range f.check {
		if c.Severity == fault.Notice {
			continue
		}
		place := c
		place.Message, place.Hint = "", ""
		evidence := strings.TrimSuffix(place.Error(), ": "+c.Severity.String()+": ")
		d.add("config", c.Severity, c.Message, evidence, firstOf(c.Hint, "correct it, then heartbeat reload"))
	}
	if len(f.stale) > 0 {
		d.add("stale", fault.Warning, "the files were changed and are not in force", strings.Join(f.stale, "; "), "heartbeat check, then heartbeat reload")
	}
	if f.status.LostLog > 0 {
		d.add("log", fault.Notice, "log lines were lost", fmt.Sprintf("%d, because the log could not be written fast enough", f.status.LostLog), "look at the disk and at syslog")
	}
}

func (f facts) judgeGroups(d *diagnosis) {
	s := f.status
	for _, g := range s.Groups {
		cleanup := fmt.Sprintf("repair it, then heartbeat resource cleanup '%s'", g.Name)
		switch {
		case g.Double:
			d.add("group", fault.Error, "both nodes hold "+g.Name, "they met while both held it", "it is being resolved; look at the links between the nodes")
		case g.State == "stuck":
			d.add("group", fault.Error, g.Name+" could not be stopped here", g.Reason, "stop it by hand, then heartbeat resource cleanup '"+g.Name+"'")
		case g.State == "failed":
			d.add("group", fault.Error, g.Name+" failed here and would not be taken over", g.Reason, cleanup)
		case g.Owner == "" && s.Managed && s.State != "init" && s.State != "up":
			d.add("group", fault.Error, "nobody serves "+g.Name, g.State+" here: "+g.Reason, "heartbeat why tells how it came to that")
		}
		for _, r := range g.Resources {
			if time.Duration(r.DoingMS)*time.Millisecond >= hangs {
				d.add("hang", fault.Error, fmt.Sprintf("%s of %s hangs", r.Doing, r.Spec), "for "+agePhrase(r.DoingMS)+firstOf(prefixed("; its last output: ", r.LastOutput)), "look at what the script waits for; it is ended when its time-out is over")
			}
		}
		if why := f.placing[g.Name]; why != "" {
			d.add("address", fault.Error, "an address of "+g.Name+" has no place on this machine", why, "write ADDRESS/PREFIX/INTERFACE in haresources, or give an interface an address in that network")
		}
	}
	for _, a := range s.Alarms {
		if !strings.HasPrefix(a, "STONITH device ") || f.fencing == nil { // else asked anew
			d.add("alarm", fault.Error, a, "an alarm of the running daemon", "as the alarm says; it ends by itself when its cause is gone")
		}
	}
}

func (f facts) judgeNetwork(d *diagnosis) {
	for _, p := range f.status.Pings {
		if !p.Up {
			d.add("ping", fault.Warning, "ping node "+p.Name+" does not answer this node", "last reply "+agePhrase(p.LastHeardMS), "check the way there: ping "+p.Name+"; it must be a host that always answers")
		}
	}
	for _, g := range f.gateways {
		if !g.answered {
			d.add("gateway", fault.Warning, "the default gateway "+g.addr+" does not answer", "asked on "+g.device, "check the cable of "+g.device+" and the gateway: what this node takes over would not be reached through it")
		}
	}
	for _, a := range f.answers {
		who := "nobody holds it"
		if a.holder != "" {
			who = a.holder + " holds it"
		}
		d.add("duplicate", fault.Error, "another machine answers for "+a.addr, a.mac+" on "+a.device+", while "+who, "find the machine with that hardware address, and take the address from it")
	}
}

func (f facts) judgeMachine(d *diagnosis) {
	if p := f.privileges; p.realtimeWanted && !p.realtime {
		d.add("realtime", fault.Warning, "no realtime scheduling", "the kernel refused it", "grant CAP_SYS_NICE and a realtime budget to the cgroup, or write realtime off: a busy machine may delay heartbeats")
	}
	if p := f.privileges; p.lockWanted && !p.locked {
		d.add("memory", fault.Warning, "not locked in memory", "the kernel refused it", "set LimitMEMLOCK=infinity: a machine that swaps may delay heartbeats")
	}
	if s := f.status; s.DeadtimeMS > 0 && s.WorstStall/1000 >= s.DeadtimeMS {
		d.add("stall", fault.Warning, "this machine stood still for longer than deadtime", fmt.Sprintf("the main loop was once woken %s late", agePhrase(s.WorstStall/1000)),
			"a longer deadtime, realtime scheduling, or less load; heartbeat why tells when")
	}
	switch l := f.lease; {
	case l.wanted && l.addresses > 0 && !l.usable:
		d.add("lease", fault.Warning, "no lease: a frozen node would go on answering for its addresses", "the kernel refused it; the log says why",
			"allow BPF (CAP_BPF, CAP_NET_ADMIN) or nftables; or write #hapair: lease=off, and read docs/safety.md")
	case len(l.expired) > 0:
		d.add("lease", fault.Error, "the lease has run out for "+strings.Join(l.expired, ", "), "this node holds it, and its addresses do not answer", "heartbeat why tells since when; heartbeats are not being sent in time")
	}
	if f.fencing != nil && f.fencing.err != "" {
		d.add("fencing", fault.Error, "the fencing device does not work", f.fencing.device+": "+f.fencing.err, "heartbeat fence check shows each device; without one that works nothing is taken over")
	}
}

func (f facts) judgeStorage(d *diagnosis) {
	for _, k := range f.disks {
		switch {
		case k.err != "":
			d.add("disk", fault.Error, "nothing can be written to "+k.path, k.err, "free some space, or mount it writable: the state and the journal are kept there")
		case k.free < diskLeast:
			d.add("disk", fault.Warning, "the disk under "+k.path+" is nearly full", fmt.Sprintf("%d kB are free", k.free>>10), "free some space")
		case !k.inodes:
			d.add("disk", fault.Error, "the disk under "+k.path+" takes no more files", "no inodes are free", "remove files that nobody needs")
		}
	}
	for _, r := range f.drbd {
		f.judgeDRBD(d, r)
	}
}

func (f facts) judgeDRBD(d *diagnosis, r drbdFact) {
	name := "the DRBD resource " + r.state.Name
	if r.err != "" {
		d.add("drbd", fault.Error, name+" cannot be asked", r.err, "modprobe drbd; drbdadm up "+r.state.Name+"; see /etc/drbd.d")
		return
	}
	for _, c := range r.state.Connection {
		if c != "Connected" && !strings.HasPrefix(c, "Sync") && !strings.HasPrefix(c, "Established") {
			d.add("drbd", fault.Error, name+" is not connected", "drbdadm cstate says "+c, "drbdadm connect "+r.state.Name+" on both nodes; after a split brain see docs/nfs.md")
		}
	}
	for _, disks := range r.state.Disks {
		for i, disk := range strings.Split(disks, "/") {
			if disk == "UpToDate" || disk == "Diskless" && i > 0 {
				continue
			}
			whose := "here"
			if i > 0 {
				whose = "on the other node"
			}
			d.add("drbd", fault.Error, name+" is not up to date "+whose, "drbdadm dstate says "+disks, "wait for the resynchronisation (drbdadm status); a takeover before would have old data, or none")
		}
	}
}

// firstOf is the first text that is not empty.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// prefixed is a text with what goes before it, "" for an empty one.
func prefixed(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// judgeComparison turns what is not the same on both nodes into findings.
func judgeComparison(node string, list fault.List, err error) []Finding {
	d := diagnosis{node: node}
	for _, f := range list {
		place := fault.Fault{File: f.File, Line: f.Line}
		evidence := firstOf(strings.TrimSuffix(place.Error(), ": notice: "), "as both nodes tell")
		d.add("files", f.Severity, "not the same on both nodes: "+f.Message, evidence, f.Hint)
	}
	if err != nil {
		d.add("files", fault.Notice, "files, scripts and program were not compared", err.Error(), "compare ha.cf, haresources and authkeys by hand")
	}
	return d.list
}

// staleParts says in what the files on disk differ from the configuration in force.
func staleParts(inForce, onDisk *config.Config) []string {
	list := config.Differences(inForce, onDisk)
	if inForce.Keys != nil && onDisk.Keys != nil && !inForce.Keys.Equal(onDisk.Keys) {
		list = append(list, "authkeys")
	}
	if len(list) > 3 {
		list = append(list[:3], fmt.Sprintf("and %d more", len(list)-3))
	}
	return list
}
