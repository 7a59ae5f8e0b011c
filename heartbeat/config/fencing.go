package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/fault"
)

// fenceLevel is the pragma that makes levels of several fencing devices: it gives its number to the lines below it.
const fenceLevel = "fence-level"

// Device is one line of ha.cf that names a fencing device.
type Device struct {
	Type   string // "external/ipmi", "fence_virsh", "meatware", …
	Params string // of stonith_host
	File   string // of stonith, which holds the parameters; "" for stonith_host
	Shared bool   // for all nodes: the other one has the same line
	Level  int    // from 1; 0 where nothing makes levels of the lines up to this one
	Line   int    // in ha.cf or heartbeat.toml
}

// fencePragmas are the keys about fencing.
func fencePragmas() []PragmaKey {
	delay := timePragma("fence-delay", "auto", "how long the standby waits before it fences a silent peer, so that an active peer shoots first (auto: "+
		"twice the measured time of the device, and a second)", func(c *Config) *time.Duration { return &c.FenceDelay })
	plain := delay.set
	delay.hint = "a time, or auto"
	delay.set = func(c *Config, value string) bool {
		if value == "auto" {
			c.FenceDelay = -1
			return true
		}
		return plain(c, value)
	}
	level := PragmaKey{Name: fenceLevel, Kind: "number", Explain: "the stonith and stonith_host lines below it are devices of this level: all of " +
		"a level must succeed, and where one fails, the next level is tried", hint: "1 to 9", repeatedly: true,
		set: func(_ *Config, value string) bool { return len(value) == 1 && value >= "1" && value <= "9" }}
	return []PragmaKey{
		level, delay,
		timePragma("fence-timeout", "60s", "how long one call of a fencing device's program may take",
			func(c *Config) *time.Duration { return &c.FenceTimeout }),
		wordPragma("fence-action", "what is done to a silent peer: reset lets it start again, off leaves it off",
			func(c *Config) *string { return &c.FenceAction }, "reset", "off"),
		wordPragma("start-policy", "what to do about a peer that is not heard within initdead of a start: start takes it for dead (and fences it), "+
			"start-if-ping does so once a ping node answers, ask waits for `heartbeat confirm-dead`",
			func(c *Config) *string { return &c.StartPolicy }, "start", "start-if-ping", "ask"),
	}
}

// FencingLevels are the devices with which this node makes certain that the other is off, in the order in which the levels are tried. As in
// Linux-HA the last line counts, where no pragma makes levels of them; empty for none.
func (c *Config) FencingLevels() [][]Device {
	devices := c.fencingDevices()
	if len(devices) == 0 {
		return nil
	}
	layered := func(d Device) bool { return d.Level > 0 }
	if c.fenceLevel() == 0 && !slices.ContainsFunc(devices, layered) {
		return [][]Device{{devices[len(devices)-1]}}
	}
	byLevel := map[int][]Device{}
	var numbers []int
	for _, d := range devices {
		level := max(d.Level, 1)
		if byLevel[level] == nil {
			numbers = append(numbers, level)
		}
		byLevel[level] = append(byLevel[level], d)
	}
	slices.Sort(numbers)
	var levels [][]Device
	for _, n := range numbers {
		levels = append(levels, byLevel[n])
	}
	return levels
}

// fencingDevices are this node's, in the order of ha.cf.
func (c *Config) fencingDevices() []Device {
	var devices []Device
	for _, s := range c.Stoniths {
		devices = append(devices, Device{Type: s.Type, File: s.File, Shared: true, Level: s.Level, Line: s.Line})
	}
	for _, h := range c.StonithHosts {
		if h.Host == "*" || h.Host == c.Node {
			devices = append(devices, Device{Type: h.Type, Params: h.Params, Shared: h.Host == "*", Level: h.Level, Line: h.Line})
		}
	}
	slices.SortStableFunc(devices, func(a, b Device) int { return cmp.Compare(a.Line, b.Line) })
	return devices
}

// fenceLevel is the level that the last pragma read so far gives to the lines below it, 0 where there is none.
func (c *Config) fenceLevel() int {
	for _, p := range slices.Backward(c.Pragmas) {
		if p.Key == fenceLevel {
			level, _ := strconv.Atoi(p.Value)
			return level
		}
	}
	return 0
}

// checkStonith warns of fencing devices that are not used, and of settings without a device.
func (p *parser) checkStonith() {
	c := p.cfg
	for _, h := range c.StonithHosts {
		if h.Host != "*" && h.Host != c.Node && !slices.Contains(c.Nodes, h.Host) {
			p.faults.Addf(p.on(fault.Warning, h.Line), "the first word is the node that has the device, or * for both",
				p.either("stonith_host for", "a fencing device of")+" %s, which is not among the nodes %s: no node uses it", quote(h.Host), strings.Join(c.Nodes, ", "))
		}
	}
	levels, devices := c.FencingLevels(), c.fencingDevices()
	used := map[int]bool{}
	for _, level := range levels {
		for _, d := range level {
			used[d.Line] = true
		}
	}
	for _, d := range devices {
		if !used[d.Line] {
			p.faults.Addf(p.on(fault.Warning, d.Line), "keep one fencing device for each node, or make levels of them with "+pragmaMark+" fence-level=N before each",
				"this fencing device is not used: line %d names another for the same node, and the last one counts", devices[len(devices)-1].Line)
		}
	}
	p.checkFencePragmas(len(devices) > 0)
}

// checkFencePragmas looks at what the pragmas mean together with the devices.
func (p *parser) checkFencePragmas(device bool) {
	if p.toml {
		return // finishFencing did it, by the keys
	}
	for _, g := range p.cfg.Pragmas {
		at := p.at(fault.Warning, g.Line, 0)
		switch {
		case strings.HasPrefix(g.Key, "fence-") && !device:
			p.faults.Addf(at, "write stonith_host or stonith lines for it", "pragma %s=%s: this node has no fencing device", g.Key, g.Value)
		case g.Key == "fence-delay" && p.cfg.FenceDelay == 0:
			p.faults.Addf(at, "leave it out, unless the other node has no fencing device",
				"pragma fence-delay=%s: without a delay two nodes that lose sight of each other switch each other off", g.Value)
		}
	}
}

// Bounds of a watchdog, which counts whole seconds.
const (
	watchdogShortest = 2 * time.Second // below it a short stall of the machine would reset it
	watchdogDeadtime = 3 * time.Second // the shortest dead time with room for a watchdog below it
)

// WatchdogTimeout is after what time without this daemon the machine is reset: at least a second before the peer takes over, where the dead
// time has room for that. 0 where there is no watchdog.
func (c *Config) WatchdogTimeout() time.Duration {
	switch {
	case c.Watchdog == "":
		return 0
	case c.Deadtime < watchdogDeadtime:
		return watchdogShortest
	}
	return c.Deadtime.Truncate(time.Second) - time.Second
}

// checkWatchdog refuses a watchdog that would reset this machine only after its peer took over, or while it is well.
func (p *parser) checkWatchdog() {
	c := p.cfg
	if c.Watchdog == "" || p.spoil["deadtime"] || p.spoil["keepalive"] {
		return
	}
	timeout := c.WatchdogTimeout()
	at := p.placed(fault.Error, "watchdog")
	if 2*c.Keepalive > timeout {
		p.faults.Addf(at, fmt.Sprintf("write %s or less, or a longer deadtime", p.settingTime("keepalive", timeout/2)),
			"the watchdog resets this machine after %s without a heartbeat, and %s leaves it hardly one: a healthy node would be reset",
			show(timeout), p.said("keepalive", c.Keepalive))
	}
	if c.Deadtime >= watchdogDeadtime {
		return
	}
	var fenced []string
	for _, g := range c.Table.Groups {
		if PrefersSafety(g) {
			fenced = append(fenced, g.Name)
		}
	}
	if len(fenced) == 0 {
		p.faults.Addf(at, p.either("write deadtime 3", `write deadtime = "3s"`)+" or more, or leave the watchdog out: the kernel's leases end a hung node's addresses sooner",
			"a watchdog counts whole seconds, at least %s: with %s the peer would have taken over before it resets this machine",
			show(watchdogShortest), p.said("deadtime", c.Deadtime))
		return
	}
	at.Severity = fault.Notice
	p.faults.Addf(at, p.either("with deadtime 3", `with deadtime = "3s"`)+" or more there is no such delay",
		"a watchdog counts whole seconds: with %s the peer waits %s before it takes %s from this node when that falls silent",
		p.said("deadtime", c.Deadtime), show(timeout+time.Second), strings.Join(fenced, ", "))
}
