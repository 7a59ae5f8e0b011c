package daemon

import (
	"crypto/sha256"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/link"
	"hapair/heartbeat/wire"
)

// coreConfig is what the core has to know of a configuration. Links that lead to this node itself are left out.
func coreConfig(c *config.Config, managed bool, own func(id string) bool) heartbeat.Config {
	core := heartbeat.Config{
		Node: c.Node, Peer: c.Peer, Nodes: c.Nodes,
		Keepalive: c.Keepalive, Warntime: c.Warntime, Deadtime: c.Deadtime, Initdead: c.Initdead, Deadping: c.Deadping,
		Failback: failbacks[c.AutoFailback], FailbackDelay: c.FailbackDelay,
		Fencing: len(c.FencingLevels()) > 0, FenceDelay: c.FenceDelay, FenceMost: fenceMost, FenceCalm: fenceCalm,
		Start: startPolicies[c.StartPolicy], HopFudge: c.HopFudge, MaxRexmitDelay: c.MaxRexmitDelay,
		IPFail: c.IPFail, Netstrings: framingOf(c) == wire.Netstring, Managed: managed, RetryFailed: c.RetryFailed,
		DampMoves: c.DampMoves, DampWindow: c.DampWindow,
	}
	for _, l := range c.Links {
		if !own(l.ID) {
			core.Links = append(core.Links, heartbeat.LinkConfig{ID: l.ID, Name: l.Name, Kind: l.Kind})
		}
	}
	for _, p := range c.Pings {
		core.Pings = append(core.Pings, heartbeat.PingConfig{ID: p.ID, Name: p.Name, Group: p.Kind == "ping_group"})
	}
	for _, g := range c.Table.Groups {
		core.Groups = append(core.Groups, heartbeat.Group{Name: g.Name, Preferred: g.Preferred, Fenced: config.PrefersSafety(g), OnStopFailure: stopPolicies[c.StopPolicy(g)]})
	}
	return core
}

var startPolicies = map[string]heartbeat.StartPolicy{
	"start": heartbeat.StartAlone, "start-if-ping": heartbeat.StartIfPing, "ask": heartbeat.StartAsk,
}

var stopPolicies = map[string]heartbeat.StopFailure{
	haresources.StopBlock: heartbeat.StopBlock, haresources.StopFenceSelf: heartbeat.StopFenceSelf, haresources.StopIgnore: heartbeat.StopIgnore,
}

var failbacks = map[string]heartbeat.Failback{
	config.FailbackOn: heartbeat.FailbackOn, config.FailbackOff: heartbeat.FailbackOff, config.FailbackLegacy: heartbeat.FailbackLegacy,
}

// wanted is one link to be open, and whether it only carries echoes.
type wanted struct {
	spec link.Spec
	ping bool
}

// wantedLinks is every link of a configuration.
func wantedLinks(c *config.Config) []wanted {
	list := make([]wanted, 0, len(c.Links)+len(c.Pings))
	for _, l := range c.Links {
		list = append(list, wanted{spec: link.Spec{
			ID: l.ID, Kind: l.Kind, Device: l.Device, Peer: l.Peer, Group: l.Group, Port: l.Port, TTL: l.TTL, Loop: l.Loop, Baud: l.Baud,
		}})
	}
	for _, p := range c.Pings {
		list = append(list, wanted{ping: true, spec: link.Spec{ID: p.ID, Kind: p.Kind, Group: p.Name, Hosts: p.Hosts}})
	}
	return list
}

// framingOf is how datagrams are written (protocol section 3.1).
func framingOf(c *config.Config) wire.Framing {
	if c.MsgFmt == "netstring" {
		return wire.Netstring
	}
	return wire.Classic
}

// logConfig is where a configuration wants its messages.
func logConfig(c *config.Config, stderr bool, verbosity int) LogConfig {
	return LogConfig{
		Node: c.Node, Facility: c.Log.Facility, File: c.Log.File, DebugFile: c.Log.DebugFile,
		SyslogFormat: c.Log.SyslogFmt, Debug: c.Log.Debug + verbosity, Stderr: stderr,
	}
}

// uuidFromName is the identifier of `uuidfrom nodename`: the same for the same name on every start.
func uuidFromName(name string) [16]byte {
	sum := sha256.Sum256([]byte("heartbeat node " + name))
	id := [16]byte(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}
