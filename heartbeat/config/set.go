package config

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"hapair/heartbeat/fault"
)

// facilities are the names that syslog.conf knows.
var facilities = []string{
	"auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "security", "syslog", "user", "uucp",
	"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// apiClients are programs of Linux-HA and Pacemaker that live off an API which this daemon does not offer.
var apiClients = []string{
	"ccm", "cib", "crmd", "attrd", "lrmd", "pengine", "tengine", "stonithd", "cibmon", "mgmtd", "pingd", "ifcheckd", "hbagent",
}

// setNode adds the nodes of a line.
func setNode(p *parser, s statement) {
	for _, w := range s.words {
		name := strings.ToLower(w.text)
		switch line, again := p.nodes[name]; {
		case strings.IndexFunc(name, notInName) >= 0:
			p.error(w, "every word of the line is a node name; begin a comment with #", "%s cannot be the name of a node", quote(w.text))
		case len(name) > maxName:
			p.error(w, fmt.Sprintf("at most %d characters", maxName), "a node name of %d characters", len(name))
		case again:
			p.warn(w, "remove one of the two", "node %s also stands on line %d", name, line)
		default:
			if _, err := netip.ParseAddr(name); err == nil {
				p.warn(w, "write the name that uname -n prints on that node", "node %s is an address", name)
			}
			p.nodes[name] = s.line
			p.cfg.Nodes = append(p.cfg.Nodes, name)
		}
	}
}

// notInName says whether a character has no business in a host name.
func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
}

// setAutoFailback sets auto_failback.
func setAutoFailback(p *parser, s statement) {
	scalar(func(p *parser, w word) bool {
		value, isBool := parseBool(w.text)
		switch {
		case isBool && value:
			p.cfg.AutoFailback = FailbackOn
		case isBool:
			p.cfg.AutoFailback = FailbackOff
		case strings.EqualFold(w.text, FailbackLegacy):
			p.cfg.AutoFailback = FailbackLegacy
			p.warn(w, "write auto_failback on; between two nodes of hapair legacy means the same", "auto_failback legacy is deprecated")
		default:
			p.fail(w, "on, off or legacy", "auto_failback %s is not known", quote(w.text))
			return false
		}
		p.cfg.AutoFailbackExplicit = true
		return true
	})(p, s)
}

// setNiceFailback maps the ancestor of auto_failback by its meaning. Linux-HA always took it for legacy.
func setNiceFailback(p *parser, s statement) {
	scalar(func(p *parser, w word) bool {
		value, ok := parseBool(w.text)
		if !ok {
			p.fail(w, "write auto_failback on or off instead", "nice_failback %s is neither on nor off", quote(w.text))
			return false
		}
		means := map[bool]string{true: FailbackOff, false: FailbackOn}[value]
		if _, given := p.given["auto_failback"]; given {
			p.warn(s.name, "remove it", "nice_failback is obsolete, and auto_failback is given")
			return true
		}
		p.warn(s.name, "write auto_failback "+means, "nice_failback is obsolete: taken for auto_failback %s, where Linux-HA would take it for legacy", means)
		p.cfg.AutoFailback, p.cfg.AutoFailbackExplicit = means, true
		return true
	})(p, s)
}

// setPacemaker refuses to stand in for Pacemaker.
func setPacemaker(p *parser, s statement) {
	scalar(func(p *parser, w word) bool {
		value, isBool := parseBool(w.text)
		if isBool && !value {
			p.notice(s.name, "", "%s has no effect: haresources is always used", s.name.text)
			return true
		}
		p.fail(w, "remove the line and describe the resources in haresources, or keep using Pacemaker",
			"%s %s: the resources of this cluster are in Pacemaker's hands", s.name.text, quote(w.text))
		return false
	})(p, s)
}

// setAutojoin accepts what fits a pair.
func setAutojoin(p *parser, s statement) {
	scalar(func(p *parser, w word) bool {
		switch strings.ToLower(w.text) {
		case "none":
			return true
		case "other", "any":
			p.fail(w, "write autojoin none, and a node line for each of the two nodes", "autojoin %s conflicts with haresources: a pair has exactly two nodes, both named", w.text)
			return false
		}
		if value, isBool := parseBool(w.text); isBool && !value {
			p.warn(w, "write autojoin none", "Linux-HA refuses autojoin %s", w.text)
			return true
		}
		p.fail(w, "write autojoin none", "autojoin %s is not known", quote(w.text))
		return false
	})(p, s)
}

// setFacility sets logfacility.
func setFacility(p *parser, s statement) {
	scalar(func(p *parser, w word) bool {
		value := strings.ToLower(w.text)
		switch {
		case value == "none":
			p.cfg.Log.Facility = ""
		case slices.Contains(facilities, value):
			p.cfg.Log.Facility = value
		default:
			hint := "one of none, " + strings.Join(facilities, ", ")
			if near := fault.Nearest(value, facilities); near != "" {
				hint = "did you mean " + near + "?"
			}
			p.fail(w, hint, "there is no syslog facility %s", quote(w.text))
			return false
		}
		if value != w.text {
			p.warn(w, "write "+value, "Linux-HA refuses %s: facilities are in lower case", quote(w.text))
		}
		return true
	})(p, s)
}

// setUseLogd notes that there is no logging daemon.
func setUseLogd(p *parser, s statement) {
	scalar(func(p *parser, w word) bool {
		value, ok := parseBool(w.text)
		if !ok {
			p.fail(w, "write on or off", "use_logd %s is neither on nor off", quote(w.text))
			return false
		}
		if value {
			p.notice(s.name, "", "there is no ha_logd here: the daemon itself writes to syslog and to logfile and debugfile")
		}
		return true
	})(p, s)
}

// setRexmitDelay sets max_rexmit_delay, a bare number of milliseconds.
func setRexmitDelay(p *parser, s statement) {
	scalar(func(p *parser, w word) bool {
		n, ok := p.integer(w, 1, 1<<20)
		if ok {
			p.cfg.MaxRexmitDelay = time.Duration(n) * time.Millisecond
		}
		return ok
	})(p, s)
}

// setEnv adds NAME=VALUE pairs for the scripts' environment.
func setEnv(p *parser, s statement) {
	for _, w := range s.words {
		name, value, found := strings.Cut(w.text, "=")
		if !found || name == "" || strings.IndexFunc(name, func(r rune) bool { return notInName(r) || r == '-' || r == '.' }) >= 0 {
			p.error(w, "write env NAME=VALUE; a value cannot contain blanks or commas", "env %s is not NAME=VALUE", quote(w.text))
			continue
		}
		p.cfg.Env = append(p.cfg.Env, Directive{name, value})
	}
}

// setStonith sets `stonith TYPE FILE`.
func setStonith(p *parser, s statement) {
	words := fields(s.rest)
	if len(words) != 2 {
		p.error(s.rest, "write stonith TYPE FILE, where FILE holds the parameters", "stonith takes a type and a file, not %d words", len(words))
		return
	}
	if before := p.cfg.Stonith; before != nil && p.named["pragma "+fenceLevel] == 0 {
		p.warn(s.name, "keep one of them", "stonith also stands on line %d: the last one counts", before.Line)
	}
	p.cfg.Stonith = &Stonith{words[0].text, words[1].text, p.cfg.fenceLevel(), s.line}
	p.cfg.Stoniths = append(p.cfg.Stoniths, *p.cfg.Stonith)
}

// setStonithHost adds `stonith_host HOST TYPE PARAMS…`.
func setStonithHost(p *parser, s statement) {
	words := fields(s.rest)
	if len(words) < 2 {
		p.error(s.rest, "write stonith_host HOST TYPE PARAMETERS; HOST is the node that has the device, or *", "stonith_host needs a host and a type")
		return
	}
	params := strings.TrimLeft(s.rest.text[words[1].col-s.rest.col+len(words[1].text):], " \t")
	p.cfg.StonithHosts = append(p.cfg.StonithHosts, StonithHost{strings.ToLower(words[0].text), words[1].text, params, p.cfg.fenceLevel(), s.line})
}

// setRespawn adds a client that is started again when it ends.
func setRespawn(p *parser, s statement) { p.client(s, &p.cfg.Respawn) }

// setMsgFmt is one of two words. With the second one Linux-HA's daemon writes a message without a line's end into its own FIFO, and takes the message
// of a script that comes within the same second for the rest of the line.
func setMsgFmt(p *parser, s statement) {
	setChoice(func(c *Config) *string { return &c.MsgFmt }, "classic", "netstring")(p, s)
	if p.cfg.MsgFmt == "netstring" {
		p.notice(s.words[0], "remove the line on both nodes, in any order: either program reads both forms",
			"with msgfmt netstring a node that still runs Linux-HA loses messages of its own scripts, such as the end of a takeover")
	}
}

// setFailFast adds a client whose abnormal end reboots the machine.
func setFailFast(p *parser, s statement) { p.client(s, &p.cfg.FailFast) }

// client adds `USER /path [args…]` to a list.
func (p *parser) client(s statement, list *[]Client) {
	words := fields(s.rest)
	if len(words) < 2 || !strings.HasPrefix(words[1].text, "/") {
		at := words[min(1, len(words)-1)]
		p.error(at, fmt.Sprintf("write %s USER /full/path [ARGUMENTS]", s.name.text), "%s needs a user and the full path of a program", s.name.text)
		return
	}
	c := Client{User: words[0].text, Path: words[1].text, Command: s.rest.text[words[1].col-s.rest.col:], Line: s.line}
	switch name := path.Base(c.Path); {
	case name == "ipfail":
		p.cfg.IPFail = true
		p.notice(words[1], "", "ipfail is built in: the program is not started")
		return
	case name == "dopd":
		p.warn(words[1], "remove the line, and let DRBD fence itself: `fencing resource-only` and a fence-peer handler in drbd.conf",
			"dopd is not supported and not started: DRBD's data is not outdated by this daemon")
		return
	case slices.Contains(apiClients, name) && strings.Contains(c.Path, "heartbeat"):
		p.warn(words[1], "remove the line", "%s lives off Linux-HA's client API, which this daemon does not offer: it is not started", name)
		return
	}
	if line, again := p.named[s.name.text+" "+c.Command]; again {
		p.warn(words[1], "remove one of the two", "the same program also stands on line %d: it is started twice", line)
	}
	p.named[s.name.text+" "+c.Command] = s.line
	*list = append(*list, c)
}

// setAPIAuth adds `CLIENT [uid=…] [gid=…]`.
func setAPIAuth(p *parser, s statement) {
	words := fields(s.rest)
	a := APIAuth{Client: words[0].text, Line: s.line}
	for _, w := range words[1:] {
		key, list, _ := strings.Cut(w.text, "=")
		names := strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
		switch {
		case key != "uid" && key != "gid" || len(names) == 0:
			p.error(w, "write apiauth CLIENT uid=USER,… gid=GROUP,…", "apiauth %s: %s is neither uid= nor gid=", a.Client, quote(w.text))
			return
		case key == "uid":
			a.UIDs = append(a.UIDs, names...)
		default:
			a.GIDs = append(a.GIDs, names...)
		}
	}
	for _, before := range p.cfg.APIAuth {
		if before.Client != a.Client {
			continue
		}
		if slices.Equal(before.UIDs, a.UIDs) && slices.Equal(before.GIDs, a.GIDs) {
			p.warn(words[0], "remove one of the two", "apiauth %s also stands on line %d: Linux-HA refuses a second one", a.Client, before.Line)
		} else {
			p.error(words[0], "keep one of the two", "apiauth %s stands on line %d with other users", a.Client, before.Line)
		}
		return
	}
	p.cfg.APIAuth = append(p.cfg.APIAuth, a)
}

// finishAPIAuth appends the built-in entries of protocol section 1.7 for the clients that ha.cf does not name.
func (p *parser) finishAPIAuth() {
	for _, a := range []APIAuth{
		{Client: "ipfail", UIDs: []string{"hacluster"}},
		{Client: "ccm", UIDs: []string{"hacluster"}},
		{Client: "ping", GIDs: []string{"haclient"}},
		{Client: "lha-snmpagent", UIDs: []string{"root"}},
		{Client: "anon", UIDs: []string{"root"}, GIDs: []string{"haclient"}},
	} {
		if !slices.ContainsFunc(p.cfg.APIAuth, func(b APIAuth) bool { return a.Client == b.Client }) {
			p.cfg.APIAuth = append(p.cfg.APIAuth, a)
		}
	}
}

// finishLog sends messages to syslog where ha.cf names no place for them.
func (p *parser) finishLog() {
	_, given := p.given["logfacility"]
	switch log := &p.cfg.Log; {
	case log.File != "" || log.DebugFile != "" || log.Facility != "":
	case given:
		p.faults.Addf(p.placed(fault.Warning, "logfacility"), p.either("write logfacility daemon, or add a logfile", `write facility = "daemon" in [log], or add a file`), "no syslog, no logfile, no debugfile: messages go nowhere")
	default:
		log.Facility = "daemon"
	}
}
