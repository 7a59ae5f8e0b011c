package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/haresources"
)

// tomlWriter writes a Config as a heartbeat.toml.
type tomlWriter struct {
	b     strings.Builder
	c     *Config
	given map[string]given // the directives to write: those that the file gives
	above func(line int) []string
	trail func(line int) string // the comment behind what stood on that line, with its #
}

// line writes one setting with the comments of the line that it stood on.
func (w *tomlWriter) line(at int, key, value string) {
	w.comments(at)
	fmt.Fprintf(&w.b, "%s = %s", key, value)
	if trail := w.trail(at); trail != "" {
		w.b.WriteString("  " + trail)
	}
	w.b.WriteByte('\n')
}

// comments writes what stood above a line.
func (w *tomlWriter) comments(at int) {
	for _, c := range w.above(at) {
		w.b.WriteString(c + "\n")
	}
}

// table begins a table.
func (w *tomlWriter) table(at int, path ...string) {
	for i, p := range path {
		path[i] = tomlKey(p)
	}
	w.b.WriteByte('\n')
	w.comments(at)
	fmt.Fprintf(&w.b, "[%s]", strings.Join(path, "."))
	if trail := w.trail(at); trail != "" {
		w.b.WriteString("  " + trail)
	}
	w.b.WriteByte('\n')
}

// set writes a setting of a table.
func (w *tomlWriter) set(key, value string) { fmt.Fprintf(&w.b, "%s = %s\n", key, value) }

// write writes all of it.
func (w *tomlWriter) write() {
	w.top()
	w.links()
	w.pings()
	w.groups()
	w.checks()
	w.fencing()
	w.sections()
	w.clients()
}

// top writes the keys before the first table.
func (w *tomlWriter) top() {
	c := w.c
	if len(c.Nodes) > 0 {
		w.line(w.given["node"].line, "nodes", tomlList(c.Nodes))
	}
	w.directive("cluster", "", func() string { return tomlText(c.Cluster) })
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"keepalive", c.Keepalive}, {"warntime", c.Warntime}, {"deadtime", c.Deadtime}, {"initdead", c.Initdead}, {"deadping", c.Deadping}} {
		w.directive(t.name, "", func() string { return tomlTime(t.d) })
	}
	w.failback()
	w.directive("udpport", "port", func() string { raw, _ := c.Directive("udpport"); return strconv.Itoa(leadingInt(raw)) })
	if c.IPFail {
		w.line(w.given["ipfail"].line, "ipfail", "true")
	}
	w.directive("watchdog", "", func() string { return tomlText(c.Watchdog) })
	for _, g := range w.lastPragmas() {
		if g.Key != "check" && !strings.HasPrefix(g.Key, fencePrefix) {
			w.line(g.Line, strings.ReplaceAll(g.Key, "-", "_"), w.pragma(g))
		}
	}
}

// failback writes auto_failback where it is not what heartbeat.toml means anyway.
func (w *tomlWriter) failback() {
	at, said := w.given["auto_failback"]
	if !said {
		at = w.given["nice_failback"]
	}
	if said || w.c.AutoFailback != FailbackOff {
		w.line(at.line, "auto_failback", tomlText(w.c.AutoFailback))
	}
}

// directive writes a setting that ha.cf gave; key is its name here where that differs.
func (w *tomlWriter) directive(name, key string, value func() string) {
	if g, said := w.given[name]; said {
		if key == "" {
			key = name
		}
		w.line(g.line, key, value())
	}
}

// lastPragmas are the pragmas that count: the last of each key.
func (w *tomlWriter) lastPragmas() (list []Pragma) {
	for i, g := range w.c.Pragmas {
		later := slices.ContainsFunc(w.c.Pragmas[i+1:], func(o Pragma) bool { return o.Key == g.Key })
		if !later && g.Key != fenceLevel {
			list = append(list, g)
		}
	}
	return list
}

// pragma writes the value of a pragma of ha.cf.
func (w *tomlWriter) pragma(g Pragma) string {
	for _, k := range pragmaKeys() {
		switch {
		case k.Name != g.Key:
		case k.Kind == "on|off":
			return strconv.FormatBool(g.Value == "on")
		case k.Kind == "number":
			return strconv.Itoa(leadingInt(g.Value))
		case k.Kind == "time" && g.Value != autoWord:
			return spanText(g.Value)
		}
	}
	return tomlText(g.Value)
}

// sections writes [log], [host], [wire] and [env].
func (w *tomlWriter) sections() {
	c := w.c
	type setting struct{ directive, key, value string }
	facility := c.Log.Facility
	if facility == "" {
		facility = "none"
	}
	for _, s := range []struct {
		name     string
		settings []setting
	}{
		{"log", []setting{
			{"logfacility", "facility", tomlText(facility)}, {"logfile", "file", tomlText(c.Log.File)}, {"debugfile", "debugfile", tomlText(c.Log.DebugFile)},
			{"debug", "debug", strconv.Itoa(c.Log.Debug)}, {"log_badpack", "badpack", strconv.FormatBool(c.Log.LogBadpack)},
			{"syslogmsgfmt", "syslogmsgfmt", strconv.FormatBool(c.Log.SyslogFmt)},
		}},
		{"host", []setting{
			{"realtime", "realtime", strconv.FormatBool(c.Realtime)}, {"rtprio", "rtprio", strconv.Itoa(c.RTPrio)},
			{"coredumps", "coredumps", strconv.FormatBool(c.CoreDumps)}, {"coreroot", "coreroot", tomlText(c.CoreRoot)},
		}},
		{"wire", []setting{
			{"msgfmt", "msgfmt", tomlText(c.MsgFmt)}, {"hbgenmethod", "hbgenmethod", tomlText(c.HBGenMethod)}, {"uuidfrom", "uuidfrom", tomlText(c.UUIDFrom)},
			{"hopfudge", "hopfudge", strconv.Itoa(c.HopFudge)}, {"max_rexmit_delay", "max_rexmit_delay", tomlTime(c.MaxRexmitDelay)},
		}},
	} {
		begun := false
		for _, one := range s.settings {
			g, said := w.given[one.directive]
			if !said {
				continue
			}
			if !begun {
				begun = true
				w.table(0, s.name)
			}
			w.line(g.line, one.key, one.value)
		}
	}
	if len(c.Env) > 0 {
		w.table(w.given["env"].line, "env")
	}
	for i, e := range c.Env {
		if !slices.ContainsFunc(c.Env[i+1:], func(o Directive) bool { return o.Name == e.Name }) {
			w.set(tomlKey(e.Name), tomlText(e.Value))
		}
	}
}

// names gives each table a name of its own.
type names map[string]bool

// free is the wish, or the wish with a number behind it.
func (n names) free(wish string) string {
	name := wish
	for i := 2; n[name]; i++ {
		name = fmt.Sprintf("%s-%d", wish, i)
	}
	n[name] = true
	return name
}

// links writes [link.NAME]. Unicast links over one interface that follow each other become one table: the same file on both nodes.
func (w *tomlWriter) links() {
	taken := names{}
	c := w.c
	port := defaultPort
	if _, said := w.given["udpport"]; said {
		raw, _ := c.Directive("udpport")
		port = leadingInt(raw)
	}
	for i := 0; i < len(c.Links); i++ {
		l := c.Links[i]
		name := taken.free(strings.TrimPrefix(l.Device, "/dev/"))
		w.table(l.Line, "link", name)
		w.set("kind", tomlText(l.Kind))
		if l.Kind == "serial" {
			w.set("device", tomlText(l.Device))
			if l.Baud != 19200 {
				w.set("baud", strconv.Itoa(l.Baud))
			}
			continue
		}
		if name != l.Device {
			w.set("interface", tomlText(l.Device))
		}
		if l.Peer != "" {
			peers := []string{l.Peer}
			for ; i+1 < len(c.Links) && c.Links[i+1].Kind == l.Kind && c.Links[i+1].Device == l.Device && c.Links[i+1].Port == l.Port; i++ {
				peers = append(peers, c.Links[i+1].Peer)
			}
			w.set("address", tomlList(peers))
		}
		if l.Group != "" {
			w.set("group", tomlText(l.Group))
		}
		if l.Port != port {
			w.set("port", strconv.Itoa(l.Port))
		}
		if l.Group != "" {
			w.set("ttl", strconv.Itoa(l.TTL))
			w.set("loop", strconv.FormatBool(l.Loop))
		}
	}
}

// pings writes [ping.NAME].
func (w *tomlWriter) pings() {
	taken := names{}
	for _, g := range w.c.Pings { // the names of groups go over the wire
		if g.Kind == "ping_group" {
			taken[g.Name] = true
		}
	}
	for _, g := range w.c.Pings {
		if g.Kind == "ping_group" {
			w.table(g.Line, "ping", g.Name)
			w.set("any_of", tomlList(g.Hosts))
			continue
		}
		w.table(g.Line, "ping", taken.free(g.Name))
		w.set("address", tomlText(g.Hosts[0]))
	}
}

// groups writes [group.NAME].
func (w *tomlWriter) groups() {
	for _, g := range w.c.Table.Groups {
		w.table(-g.Line, "group", g.Name)
		w.set("node", tomlText(g.Preferred))
		specs := make([]string, len(g.Resources))
		for i, r := range g.Resources {
			specs[i] = r.Spec
		}
		if list := tomlList(specs); len(list) <= 110 {
			w.set("resources", list)
		} else {
			w.set("resources", "[")
			for _, s := range specs {
				w.b.WriteString("  " + tomlText(s) + ",\n")
			}
			w.b.WriteString("]\n")
		}
		scopes := map[string][]string{}
		for _, key := range slices.Sorted(maps.Keys(g.Pragmas)) {
			name, scope, scoped := strings.Cut(key, "@")
			if scoped {
				scopes[scope] = append(scopes[scope], name)
				continue
			}
			w.groupPragma(name, g.Pragmas[key])
		}
		for _, scope := range slices.Sorted(maps.Keys(scopes)) {
			w.table(0, "group", g.Name, "resource", scope)
			for _, name := range scopes[scope] {
				w.groupPragma(name, g.Pragmas[name+"@"+scope])
			}
		}
	}
}

// groupPragma writes a setting of a group. Unknown ones have no effect and are left out.
func (w *tomlWriter) groupPragma(name, value string) {
	for _, k := range haresources.PragmaKeys() {
		if k.Name != name {
			continue
		}
		text := tomlText(value)
		switch {
		case k.Check("7") == nil && k.Check("7s") != nil:
			text = strconv.Itoa(leadingInt(value))
		case k.Check("7s") == nil:
			text = spanText(value)
		}
		w.set(strings.ReplaceAll(name, "-", "_"), text)
	}
}

// checks writes [check.NAME].
func (w *tomlWriter) checks() {
	var lines []int
	for _, g := range w.c.Pragmas {
		if g.Key == "check" {
			lines = append(lines, g.Line)
		}
	}
	for i, k := range w.c.Checks {
		at := 0
		if i < len(lines) {
			at = lines[i]
		}
		w.table(at, "check", k.Name)
		w.set("program", tomlText(k.Path))
		w.set("interval", tomlTime(k.Interval))
		w.set("timeout", tomlTime(k.Timeout))
		w.set("rise", strconv.Itoa(k.Rise))
		w.set("fall", strconv.Itoa(k.Fall))
		if k.Tell {
			w.set("action", tomlText("tell"))
		}
	}
}

// fencing writes [fencing] and its devices.
func (w *tomlWriter) fencing() {
	begun := false
	for _, g := range w.lastPragmas() {
		if short, found := strings.CutPrefix(g.Key, fencePrefix); found {
			if !begun {
				begun = true
				w.table(0, "fencing")
			}
			w.line(g.Line, short, w.pragma(g))
		}
	}
	taken := names{}
	for _, d := range w.c.usedDevices() {
		w.table(d.Line, "fencing", "device", taken.free(d.Type))
		w.set("type", tomlText(d.Type))
		if d.node != "" {
			w.set("node", tomlText(d.node))
		}
		if d.Params != "" {
			w.set("parameters", tomlText(d.Params))
		}
		if d.File != "" {
			w.set("file", tomlText(d.File))
		}
		if d.Level > 1 {
			w.set("level", strconv.Itoa(d.Level))
		}
	}
}

// usedDevice is a fencing device and the node that uses it, "" for both.
type usedDevice struct {
	Device
	node string
}

// usedDevices are the fencing devices that count on some node, in the order of the file. Where ha.cf makes no levels, the last line for a
// node counts.
func (c *Config) usedDevices() (list []usedDevice) {
	by := map[int][]string{}
	all := map[int]Device{}
	for _, n := range c.Nodes {
		as := *c
		as.Node = n
		for _, level := range as.FencingLevels() {
			for _, d := range level {
				by[d.Line], all[d.Line] = append(by[d.Line], n), d
			}
		}
	}
	for _, line := range slices.Sorted(maps.Keys(all)) {
		u := usedDevice{Device: all[line]}
		if len(by[line]) == 1 && len(c.Nodes) > 1 {
			u.node = by[line][0]
		}
		list = append(list, u)
	}
	return list
}

// clients writes [client.NAME] and [apiauth.NAME].
func (w *tomlWriter) clients() {
	taken := names{}
	write := func(list []Client, end string) {
		for _, c := range list {
			w.table(c.Line, "client", taken.free(c.Path[strings.LastIndexByte(c.Path, '/')+1:]))
			w.set("user", tomlText(c.User))
			w.set("command", tomlText(c.Command))
			if end != "" {
				w.set("on_end", tomlText(end))
			}
		}
	}
	write(w.c.Respawn, "")
	write(w.c.FailFast, "reboot")
	for _, a := range w.c.APIAuth {
		if a.Line == 0 {
			continue
		}
		w.table(a.Line, "apiauth", a.Client)
		if len(a.UIDs) > 0 {
			w.set("uids", tomlList(a.UIDs))
		}
		if len(a.GIDs) > 0 {
			w.set("gids", tomlList(a.GIDs))
		}
	}
}
