package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/fault"
)

// TOMLKeys lists every key that heartbeat.toml knows, with the tables that it stands in; NAME stands for a name of the administrator's
// choice: "keepalive", "log.file", "link.NAME.kind".
func TOMLKeys() []string {
	var keys []string
	var walk func(prefix string, fields []field)
	walk = func(prefix string, fields []field) {
		for _, f := range fields {
			name := prefix + f.name
			if f.many {
				name += ".NAME"
			}
			if f.sub == nil {
				keys = append(keys, name)
				continue
			}
			walk(name+".", f.sub)
		}
	}
	walk("", topFields())
	return keys
}

// topFields are the keys of any file, for their names.
func topFields() []field {
	r := &tomlReader{parser: newParser(&Config{}, tomlFile, new(fault.List))}
	return r.topFields()
}

// classicPlaces says where what ha.cf calls so stands in heartbeat.toml, for those who know ha.cf.
var classicPlaces = map[string]string{
	"node": "nodes", "udpport": "port", "udp": `[link.NAME] with kind = "bcast"`,
	"bcast": `[link.NAME] with kind = "bcast"`, "ucast": `[link.NAME] with kind = "ucast" and address`, "ucast6": `[link.NAME] with kind = "ucast6" and address`,
	"mcast": `[link.NAME] with kind = "mcast" and group`, "mcast6": `[link.NAME] with kind = "mcast6" and group`,
	"serial": `[link.NAME] with kind = "serial" and device`, "baud": "baud in the [link.NAME] of the serial line",
	"ping_group": "[ping.NAME] with any_of", "ping6": "[ping.NAME] with address",
	"logfile": "file in [log]", "debugfile": "debugfile in [log]", "logfacility": "facility in [log]", "log_badpack": "badpack in [log]",
	"stonith": "[fencing.device.NAME] with type and file", "stonith_host": "[fencing.device.NAME] with type and parameters",
	"fence_delay": "delay in [fencing]", "fence_timeout": "timeout in [fencing]", "fence_action": "action in [fencing]",
	"fence_level": "level in [fencing.device.NAME]",
	"respawn":     "[client.NAME] with user and command", "failfast": `[client.NAME] with on_end = "reboot"`,
	"nice_failback": "auto_failback", "resource": "[group.NAME] with resources", "resources": "[group.NAME] with node and resources",
}

// topFields are the keys of the file.
func (r *tomlReader) topFields() []field {
	c := r.cfg
	fields := []field{
		r.list("nodes", r.setNodes),
		r.text("cluster", func(e *entry, s string) { c.Cluster = s; r.remembered(e, "cluster", s) }),
		r.time("keepalive", time.Millisecond, &c.Keepalive),
		r.time("warntime", time.Millisecond, &c.Warntime),
		r.time("deadtime", 0, &c.Deadtime),
		r.time("initdead", 0, &c.Initdead),
		r.time("deadping", 0, &c.Deadping),
		r.choice("auto_failback", func(e *entry, s string) {
			c.AutoFailback = s
			r.remembered(e, "auto_failback", s)
			if s == FailbackLegacy {
				r.warnAt(e.valueAt, `write "on"; between two nodes of hapair "legacy" means the same`, "auto_failback legacy is deprecated")
			}
		}, FailbackOn, FailbackOff, FailbackLegacy),
		r.number("port", 1, 65535, func(e *entry, n int) { r.port = n; r.remembered(e, "udpport", strconv.Itoa(n)) }),
		r.flag("ipfail", func(_ *entry, b bool) { c.IPFail = b }),
		r.path("watchdog", "watchdog", &c.Watchdog),
		{name: "authkeys", set: r.text("authkeys", func(e *entry, _ string) { r.keys = e }).set},
	}
	for _, k := range pragmaKeys() {
		if k.Kind != "check" && !strings.HasPrefix(k.Name, fencePrefix) {
			fields = append(fields, r.pragmaField(strings.ReplaceAll(k.Name, "-", "_"), k))
		}
	}
	return append(fields,
		r.section("log", r.logFields()),
		r.section("host", r.hostFields()),
		r.section("wire", r.wireFields()),
		r.environment(),
		r.linkTables(),
		r.pingTables(),
		r.fencing(),
		r.checkTables(),
		r.clientTables(),
		r.apiTables(),
		r.groupTables(),
	)
}

// time is a field of a time that ha.cf has under the same name.
func (r *tomlReader) time(name string, least time.Duration, where *time.Duration) field {
	return r.duration(name, least, func(e *entry, d time.Duration) {
		*where = d
		r.remembered(e, name, rawTime(d))
	})
}

// path is a field of the full path of a file that ha.cf has as a directive.
func (r *tomlReader) path(name, directive string, where *string) field {
	return r.text(name, func(e *entry, s string) {
		if !strings.HasPrefix(s, "/") {
			r.warnAt(e.valueAt, "write the full path", "%s %s is not a full path: where it ends up depends on how the daemon was started", name, quote(s))
		}
		*where = s
		r.remembered(e, directive, s)
	})
}

// pragmaField is a field of what ha.cf says with a pragma.
func (r *tomlReader) pragmaField(name string, k PragmaKey) field {
	set := func(e *entry, value string) {
		if !k.set(r.cfg, value) {
			r.failAt(e.valueAt.or(e.at), k.hint, "%s = %s", e.key, showValue(e.value))
		}
		r.given[name] = given{e.at.line, e.at.col, value}
		r.cfg.Pragmas = append(r.cfg.Pragmas, Pragma{k.Name, value, e.at.line})
	}
	switch {
	case k.Kind == "on|off":
		return r.flag(name, func(e *entry, b bool) { set(e, onOff(b)) })
	case strings.Contains(k.Kind, "|"):
		return r.choice(name, set, strings.Split(k.Kind, "|")...)
	case k.Kind == "place":
		return r.text(name, set)
	case k.Kind == "number":
		return r.number(name, 0, 1<<20, func(e *entry, n int) { set(e, strconv.Itoa(n)) })
	case k.Kind == "time" && k.set(&Config{}, autoWord):
		return field{name: name, set: func(e *entry) {
			if e.value == autoWord {
				set(e, autoWord)
				return
			}
			r.duration(name, 0, func(e *entry, d time.Duration) { set(e, d.String()) }).set(e)
		}}
	}
	return r.duration(name, 0, func(e *entry, d time.Duration) { set(e, d.String()) })
}

// autoWord is the value of a time that the program finds out.
const autoWord = "auto"

// setNodes sets the two nodes.
func (r *tomlReader) setNodes(e *entry, words []word, places []place) {
	for i, w := range words {
		r.now = statement{line: places[i].line, name: word{"nodes", e.at.col}, words: []word{w}}
		setNode(r.parser, r.now)
		r.begin[places[i].line] = places[i].col
		r.raw("node", w.text)
	}
}

// logFields are the keys of [log].
func (r *tomlReader) logFields() []field {
	log := &r.cfg.Log
	return []field{
		r.choice("facility", func(e *entry, s string) {
			r.remembered(e, "logfacility", s)
			if log.Facility = s; s == "none" {
				log.Facility = ""
			}
		}, append([]string{"none"}, facilities...)...),
		r.path("file", "logfile", &log.File),
		r.path("debugfile", "debugfile", &log.DebugFile),
		r.number("debug", 0, 255, func(e *entry, n int) { log.Debug = n; r.remembered(e, "debug", strconv.Itoa(n)) }),
		r.flag("badpack", func(e *entry, b bool) { log.LogBadpack = b; r.remembered(e, "log_badpack", onOff(b)) }),
		r.flag("syslogmsgfmt", func(e *entry, b bool) { log.SyslogFmt = b; r.remembered(e, "syslogmsgfmt", onOff(b)) }),
	}
}

// hostFields are the keys of [host].
func (r *tomlReader) hostFields() []field {
	c := r.cfg
	return []field{
		r.flag("realtime", func(e *entry, b bool) { c.Realtime = b; r.remembered(e, "realtime", onOff(b)) }),
		r.number("rtprio", 1, 99, func(e *entry, n int) { c.RTPrio = n; r.remembered(e, "rtprio", strconv.Itoa(n)) }),
		r.flag("coredumps", func(e *entry, b bool) { c.CoreDumps = b; r.remembered(e, "coredumps", onOff(b)) }),
		r.path("coreroot", "coreroot", &c.CoreRoot),
	}
}

// wireFields are the keys of [wire].
func (r *tomlReader) wireFields() []field {
	c := r.cfg
	word := func(name string, where *string, words ...string) field {
		return r.choice(name, func(e *entry, s string) { *where = s; r.remembered(e, name, s) }, words...)
	}
	return []field{
		word("msgfmt", &c.MsgFmt, "classic", "netstring"),
		word("hbgenmethod", &c.HBGenMethod, "file", "time"),
		word("uuidfrom", &c.UUIDFrom, "file", "nodename"),
		r.number("hopfudge", 0, 255, func(e *entry, n int) { c.HopFudge = n; r.remembered(e, "hopfudge", strconv.Itoa(n)) }),
		r.duration("max_rexmit_delay", time.Millisecond, func(e *entry, d time.Duration) {
			c.MaxRexmitDelay = d
			r.remembered(e, "max_rexmit_delay", strconv.FormatInt(d.Milliseconds(), 10))
		}),
	}
}

// environment is [env]: what scripts find as HA_NAME.
func (r *tomlReader) environment() field {
	return field{name: "env", many: true, set: func(t *entry) {
		if !r.isTable(t, "[env]") {
			return
		}
		for _, e := range t.entries {
			s, isText := e.value.(string)
			switch {
			case strings.IndexFunc(e.key, func(c rune) bool { return notInName(c) || c == '-' || c == '.' }) >= 0 || e.key == "":
				r.failAt(e.at, "letters, digits and _", "env %s cannot be the name of a variable", quote(e.key))
			case !isText:
				r.wrong(e, "write a text in double quotes", "not a text")
			case strings.IndexFunc(s, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) >= 0:
				r.failAt(e.valueAt, "one line of text", "env %s holds a control character", e.key)
			default:
				r.cfg.Env = append(r.cfg.Env, Directive{e.key, s})
				r.raw("env", e.key+"="+s)
			}
		}
	}}
}

// pingTables are [ping.NAME].
func (r *tomlReader) pingTables() field {
	var g Ping
	var single, several *entry
	fields := []field{
		r.text("address", func(e *entry, s string) { single, g.Hosts = e, []string{s} }),
		r.list("any_of", func(e *entry, words []word, _ []place) {
			several = e
			for _, w := range words {
				g.Hosts = append(g.Hosts, w.text)
			}
		}),
	}
	return r.named("ping", fields, func(t *entry) {
		g, single, several = Ping{}, nil, nil
		r.table(t, fields)
		switch {
		case single != nil && several != nil:
			r.failAt(several.at, "keep one of the two", "[ping.%s] has both address and any_of", t.key)
		case single == nil && several == nil:
			if t.get("address") == nil && t.get("any_of") == nil {
				r.failAt(t.at, `write address = "10.0.0.254", or any_of = ["10.0.0.254", "10.0.0.253"]`, "[ping.%s] says nothing to ping", t.key)
			}
		case single != nil:
			r.single(t, single, g)
		default:
			g.ID, g.Name, g.Kind = "ping_group "+t.key, t.key, "ping_group"
			r.members(t, several, g)
		}
	})
}

// single adds a ping node: an address of either family, or a host name.
func (r *tomlReader) single(t, at *entry, g Ping) {
	host := g.Hosts[0]
	a, err := netip.ParseAddr(host)
	g.Name, g.Kind = host, "ping"
	switch {
	case err == nil && a.Is6() && !a.Is4In6():
		g.Kind = "ping6"
	case !r.goodHost(host):
		r.failAt(at.valueAt, r.hostHint(host), "address %s is not an address", quote(host))
		return
	}
	g.ID = g.Kind + " " + host
	r.addPing(t, g, g.Kind, host)
}

// members adds a ping group.
func (r *tomlReader) members(t, at *entry, g Ping) {
	if strings.IndexFunc(g.Name, notInName) >= 0 || g.Name == "" {
		r.failAt(t.at, "letters, digits, - and _", "%s cannot be the name of a group of ping nodes", quote(g.Name))
		return
	}
	good := g.Hosts[:0:0]
	for _, h := range g.Hosts {
		if a, err := netip.ParseAddr(h); err == nil && a.Is6() {
			r.failAt(at.valueAt, "give it a [ping.NAME] of its own", "any_of with the IPv6 address %s", a)
			continue
		}
		if !r.goodHost(h) {
			r.failAt(at.valueAt, r.hostHint(h), "any_of: %s is not an address", quote(h))
			continue
		}
		good = append(good, h)
	}
	if g.Hosts = good; len(good) > 0 {
		r.addPing(t, g, g.Kind, g.Name+" "+strings.Join(good, " "))
	}
}

// addPing adds a ping node.
func (r *tomlReader) addPing(t *entry, g Ping, directive, raw string) {
	r.now = statement{line: t.at.line}
	r.pseudo(word{col: t.at.col}, g)
	r.raw(directive, raw)
}

// goodHost says whether a text can be an address or the name of a host.
func (r *tomlReader) goodHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return !numericHost(s) && strings.IndexFunc(s, notInName) < 0
}

// numericHost says whether a text was meant to be an IPv4 address.
func numericHost(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c != '.' && (c < '0' || c > '9') }) < 0
}

// hostHint says what would be an address.
func (r *tomlReader) hostHint(s string) string {
	if numericHost(s) {
		return "four numbers from 0 to 255 without leading zeros"
	}
	return "an address like 10.0.0.2, or a host name"
}

// checkTables are [check.NAME].
func (r *tomlReader) checkTables() field {
	var k Check
	fields := []field{
		r.text("program", func(e *entry, s string) {
			if k.Path = s; !strings.HasPrefix(s, "/") || strings.ContainsAny(s, " ,") {
				r.failAt(e.valueAt, "write the full path of a program, without arguments", "program %s is not a full path", quote(s))
			}
		}),
		r.duration("interval", shortestCheck, func(_ *entry, d time.Duration) { k.Interval = d }),
		r.duration("timeout", shortestCheck, func(_ *entry, d time.Duration) { k.Timeout = d }),
		r.number("rise", 1, 1<<20, func(_ *entry, n int) { k.Rise = n }),
		r.number("fall", 1, 1<<20, func(_ *entry, n int) { k.Fall = n }),
		r.choice("action", func(_ *entry, s string) { k.Tell = s == "tell" }, "handover", "tell"),
	}
	return r.named("check", fields, func(t *entry) {
		k = Check{Name: t.key, Interval: checkInterval, Rise: checkRise, Fall: checkFall, Line: 0}
		if strings.ContainsAny(t.key, ":, \t") || t.key == "" {
			r.failAt(t.at, "without blanks, commas and colons", "%s cannot be the name of a check", quote(t.key))
			return
		}
		r.table(t, fields)
		if k.Timeout == 0 {
			k.Timeout = k.Interval
		}
		if r.required(t, "program") {
			r.cfg.Checks = append(r.cfg.Checks, k)
			r.cfg.Pragmas = append(r.cfg.Pragmas, Pragma{"check", k.String(), t.at.line})
		}
	})
}

// required complains where a table lacks keys.
func (r *tomlReader) required(t *entry, keys ...string) bool {
	good := true
	for _, k := range keys {
		if t.get(k) == nil {
			r.failAt(t.at, "add "+k+" = …", "[%s] has no %s", printable(t.path), k)
			good = false
		}
	}
	return good
}

// clientTables are [client.NAME].
func (r *tomlReader) clientTables() field {
	var cl Client
	var reboot bool
	var command *entry
	fields := []field{
		r.text("user", func(_ *entry, s string) { cl.User = s }),
		r.text("command", func(e *entry, s string) { cl.Command, command = s, e }),
		r.choice("on_end", func(_ *entry, s string) { reboot = s == "reboot" }, "restart", "reboot"),
	}
	return r.named("client", fields, func(t *entry) {
		cl, reboot, command = Client{}, false, nil
		r.table(t, fields)
		if !r.required(t, "user", "command") || command == nil || cl.User == "" {
			return
		}
		if !strings.HasPrefix(cl.Command, "/") || strings.ContainsAny(cl.User, " \t") {
			r.failAt(command.valueAt, `write command = "/full/path ARGUMENTS"`, "[client.%s] needs a user and the full path of a program", t.key)
			return
		}
		name, list := "respawn", &r.cfg.Respawn
		if reboot {
			name, list = "failfast", &r.cfg.FailFast
		}
		text := cl.User + " " + cl.Command
		at := command.valueAt
		r.now = statement{line: at.line, name: word{name, at.col}, rest: word{text, at.col}}
		r.client(r.now, list)
		r.raw(name, text)
	})
}

// apiTables are [apiauth.NAME].
func (r *tomlReader) apiTables() field {
	var a APIAuth
	names := func(to *[]string) func(*entry, []word, []place) {
		return func(_ *entry, words []word, _ []place) {
			for _, w := range words {
				*to = append(*to, w.text)
			}
		}
	}
	fields := []field{r.list("uids", names(&a.UIDs)), r.list("gids", names(&a.GIDs))}
	return r.named("apiauth", fields, func(t *entry) {
		a = APIAuth{Client: t.key, Line: t.at.line}
		r.table(t, fields)
		if strings.ContainsAny(t.key, " \t") || t.key == "" {
			r.failAt(t.at, "without blanks", "%s cannot be the name of a client", quote(t.key))
			return
		}
		r.cfg.APIAuth = append(r.cfg.APIAuth, a)
		r.raw("apiauth", rawAPIAuth(a))
	})
}

// rawAPIAuth is an entry as ha.cf writes it, without the directive.
func rawAPIAuth(a APIAuth) string {
	text := a.Client
	if len(a.UIDs) > 0 {
		text += " uid=" + strings.Join(a.UIDs, ",")
	}
	if len(a.GIDs) > 0 {
		text += " gid=" + strings.Join(a.GIDs, ",")
	}
	return text
}

// fencePrefix begins the pragmas that stand in [fencing].
const fencePrefix = "fence-"

// fencing is [fencing] with its devices.
func (r *tomlReader) fencing() field {
	var fields []field
	for _, k := range pragmaKeys() {
		if short, found := strings.CutPrefix(k.Name, fencePrefix); found && k.Name != fenceLevel {
			f := r.pragmaField(short, k)
			set := f.set
			f.set = func(e *entry) {
				r.fenceKeys = append(r.fenceKeys, e)
				set(e)
			}
			fields = append(fields, f)
		}
	}
	return r.section("fencing", append(fields, r.deviceTables()))
}

// deviceTables are [fencing.device.NAME].
func (r *tomlReader) deviceTables() field {
	var d StonithHost
	var file string
	fields := []field{
		r.text("type", func(_ *entry, s string) { d.Type = s }),
		r.text("node", func(_ *entry, s string) { d.Host = strings.ToLower(s) }),
		r.text("parameters", func(_ *entry, s string) { d.Params = s }),
		r.text("file", func(_ *entry, s string) { file = s }),
		r.number("level", 1, 9, func(_ *entry, n int) { d.Level = n }),
	}
	return r.named("fencing.device", fields, func(t *entry) {
		d, file = StonithHost{Host: "*", Level: 1, Line: t.at.line}, ""
		r.table(t, fields)
		switch {
		case !r.required(t, "type") || d.Type == "":
		case strings.ContainsAny(d.Type, " \t") || strings.ContainsAny(d.Host, " \t"):
			r.failAt(t.at, "one word", "[fencing.device.%s]: neither type nor node can hold a blank", t.key)
		case file != "" && (d.Params != "" || d.Host != "*"):
			r.failAt(t.get("file").at, "write the parameters into one of the two places; a device of one node takes parameters", "[fencing.device.%s]: file goes with neither parameters nor node", t.key)
		case file != "":
			s := Stonith{Type: d.Type, File: file, Level: d.Level, Line: d.Line}
			r.cfg.Stoniths = append(r.cfg.Stoniths, s)
			r.cfg.Stonith = &s
			r.raw("stonith", s.Type+" "+s.File)
		default:
			r.cfg.StonithHosts = append(r.cfg.StonithHosts, d)
			r.raw("stonith_host", strings.TrimSpace(fmt.Sprintf("%s %s %s", d.Host, d.Type, d.Params)))
		}
	})
}

// finishFencing looks at what the keys of [fencing] mean together with the devices.
func (r *tomlReader) finishFencing() {
	device := len(r.cfg.Stoniths)+len(r.cfg.StonithHosts) > 0
	for _, e := range r.fenceKeys {
		switch {
		case !device:
			r.warnAt(e.at, "add a [fencing.device.NAME]", "%s in [fencing]: there is no fencing device", e.key)
		case e.key == "delay" && r.cfg.FenceDelay == 0:
			r.warnAt(e.at, "leave it out, unless the other node has no fencing device",
				"delay = %s: without a delay two nodes that lose sight of each other switch each other off", showValue(e.value))
		}
	}
}
