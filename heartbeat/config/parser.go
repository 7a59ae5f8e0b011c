package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/fault"
)

// limits of protocol section 0.1.
const (
	maxNodes = 100 // with ping nodes and ping groups
	maxLinks = 64
	maxName  = 99
)

// parser turns the statements of one ha.cf into a Config.
type parser struct {
	lexer
	cfg   *Config
	table []directive
	now   statement        // the one at hand
	given map[string]given // scalar directives that were given
	spoil map[string]bool  // directives that were given with a bad value only
	nodes map[string]int   // node name → line
	ports []latch          // udpport lines
	bauds []latch          // baud lines
	named map[string]int   // IDs of links, pings, clients → line
	begin map[int]int      // line of a statement → column of its first word

	toml   bool // the file is heartbeat.toml: hints speak its language
	broken bool // parts of heartbeat.toml could not be read: what seems to be missing may stand there
}

// given is where and as what something was given.
type given struct {
	line, col int
	text      string
}

// latch is one udpport or baud line.
type latch struct{ line, col, value int }

// newParser makes a parser that has read nothing yet.
func newParser(cfg *Config, file string, faults *fault.List) *parser {
	return &parser{
		lexer: lexer{file: file, faults: faults}, cfg: cfg, table: directives(),
		given: map[string]given{}, spoil: map[string]bool{}, nodes: map[string]int{}, named: map[string]int{}, begin: map[int]int{},
	}
}

// parse reads ha.cf into cfg, which holds nothing yet but the directory.
func parse(cfg *Config, file string, data []byte, faults *fault.List) *parser {
	p := newParser(cfg, file, faults)
	p.defaults()
	p.each(data, p.statement, p.pragma)
	p.finishLinks()
	p.finishTimes()
	p.finishRaw()
	p.finishLog()
	p.finishAPIAuth()
	return p
}

// defaults sets what holds where ha.cf says nothing.
func (p *parser) defaults() {
	c := p.cfg
	c.Keepalive, c.Deadtime = time.Second, 30*time.Second
	c.AutoFailback, c.Cluster = FailbackLegacy, "linux-ha"
	c.MsgFmt, c.HBGenMethod, c.UUIDFrom = "classic", "file", "file"
	c.HopFudge, c.MaxRexmitDelay = 1, 250*time.Millisecond
	c.Realtime, c.RTPrio = true, 1
	c.CoreDumps, c.CoreRoot = true, "/var/lib/heartbeat/cores"
	c.Log.SyslogFmt, c.Log.LogBadpack = true, true
	for _, k := range pragmaKeys() {
		k.set(c, k.Default)
	}
}

// setting is a key with a value as the file at hand writes it.
func (p *parser) setting(key, value string) string {
	if !p.toml {
		return key + " " + value
	}
	if _, isBool := map[string]bool{"true": true, "false": true}[value]; !isBool {
		value = strconv.Quote(value)
	}
	return key + " = " + value
}

// settingTime is a key with a time as the file at hand writes it: without the unit s in ha.cf, where Linux-HA refuses it.
func (p *parser) settingTime(key string, d time.Duration) string {
	if p.toml {
		return p.setting(key, show(d))
	}
	return p.setting(key, written(d))
}

// either is a hint in the language of the file at hand.
func (p *parser) either(classic, toml string) string {
	if p.toml {
		return toml
	}
	return classic
}

// fail appends an Error at a word of the statement at hand and remembers that the directive's value cannot be trusted.
func (p *parser) fail(at word, hint, format string, args ...any) {
	if _, good := p.given[p.now.name.text]; !good {
		p.spoil[p.now.name.text] = true
	}
	p.error(at, hint, format, args...)
}

// on is a fault at the beginning of the statement of a line, without a message.
func (p *parser) on(severity fault.Severity, line int) fault.Fault {
	return p.at(severity, line, p.begin[line])
}

// error appends an Error at a word of the statement at hand.
func (p *parser) error(at word, hint, format string, args ...any) {
	p.faults.Addf(p.at(fault.Error, p.now.line, at.col), hint, format, args...)
}

// warn appends a Warning at a word of the statement at hand.
func (p *parser) warn(at word, hint, format string, args ...any) {
	p.faults.Addf(p.at(fault.Warning, p.now.line, at.col), hint, format, args...)
}

// notice appends a Notice at a word of the statement at hand.
func (p *parser) notice(at word, hint, format string, args ...any) {
	p.faults.Addf(p.at(fault.Notice, p.now.line, at.col), hint, format, args...)
}

// statement looks up one directive and sets it.
func (p *parser) statement(s statement) {
	p.now, p.begin[s.line] = s, s.name.col
	if alias, found := aliases[s.name.text]; found {
		p.warn(s.name, "write "+alias, "%s is an old name of %s", s.name.text, alias)
		p.now.name.text = alias
	}
	d, found := p.lookup(p.now.name)
	if !found {
		p.unknown(s)
		return
	}
	p.now.name.text = d.name
	if len(s.words) == 0 {
		p.warn(s.name, "give it a value or remove the line", "%s without a value has no effect", d.name)
		return
	}
	if d.without != "" {
		p.notice(s.name, "", "%s has no effect: %s", d.name, d.without)
	}
	if d.once && !p.first(d) {
		return
	}
	if d.raw && s.cut {
		p.warn(word{col: s.rest.col + len(s.rest.text)}, "a # always begins a comment; there is no way to quote it",
			"the # ends the value of %s: what follows is lost", d.name)
	}
	d.set(p, p.now)
	p.remember(d)
}

// lookup finds a directive; the wrong case is accepted with a warning.
func (p *parser) lookup(name word) (directive, bool) {
	for _, exact := range []bool{true, false} {
		for _, d := range p.table {
			if d.name == name.text {
				return d, true
			}
			if !exact && strings.EqualFold(d.name, name.text) {
				p.warn(name, "write "+d.name, "Linux-HA refuses %s: the names of directives are in lower case", quote(name.text))
				return d, true
			}
		}
	}
	return directive{}, false
}

// unknown reports a directive that does not exist, with the likeliest remedy.
func (p *parser) unknown(s statement) {
	p.now = s
	names := make([]string, len(p.table))
	for i, d := range p.table {
		names[i] = d.name
	}
	head := strings.TrimRight(s.name.text, "=:,;")
	if i := strings.IndexAny(head, "=:,;"); i > 0 {
		head = head[:i]
	}
	hint := "the directives are listed in the manual page of ha.cf"
	switch near := fault.Nearest(s.name.text, names); {
	case strings.ContainsAny(s.name.text, "@%${}<>"):
		hint = "is this a template that was not filled in?"
	case head != s.name.text && slices.Contains(names, head):
		hint = fmt.Sprintf("write %s and its value with a blank between them", head)
	case len(s.words) == 1 && strings.EqualFold(s.words[0].text, s.name.text) || p.nodes[strings.ToLower(s.name.text)] > 0:
		hint = "did you mean node " + s.name.text + "?"
	case near != "":
		hint = "did you mean " + near + "?"
	}
	p.error(s.name, hint, "unknown directive %s", quote(s.name.text))
}

// first says whether a directive that may stand once only is given for the first time. The same value again is harmless.
func (p *parser) first(d directive) bool {
	before, again := p.given[d.name]
	if !again {
		return true
	}
	last := p.now.words[len(p.now.words)-1]
	if before.text == last.text {
		p.warn(p.now.name, "remove one of the two", "%s also stands on line %d: Linux-HA refuses a second one", d.name, before.line)
	} else {
		p.error(p.now.name, "keep one of the two", "%s %s, but line %d says %s", d.name, quote(last.text), before.line, quote(before.text))
	}
	return false
}

// remember keeps the raw value of a directive for scripts and cl_status.
func (p *parser) remember(d directive) {
	value := p.now.rest.text
	if !d.raw {
		value = p.now.words[len(p.now.words)-1].text
	}
	for i := range p.cfg.Directives {
		if p.cfg.Directives[i].Name == d.name {
			p.cfg.Directives[i].Value = value
			return
		}
	}
	p.cfg.Directives = append(p.cfg.Directives, Directive{d.name, value})
}

// finishRaw appends the raw defaults, as Linux-HA fills them in after parsing.
func (p *parser) finishRaw() {
	for _, d := range p.table {
		_, crm := p.cfg.Directive("crm")
		if _, found := p.cfg.Directive(d.name); found || d.value == "" || d.name == "pacemaker" && crm {
			continue
		}
		p.cfg.Directives = append(p.cfg.Directives, Directive{d.name, d.value})
	}
}

// scalar hands each value of a directive that holds one value to set, as Linux-HA does: the last good one counts. set
// returns false where it refused the value.
func scalar(set func(*parser, word) bool) func(*parser, statement) {
	return func(p *parser, s statement) {
		name := p.now.name.text
		if before, again := p.given[name]; again && before.line != s.line {
			p.warn(s.name, "keep one of the two", "%s also stands on line %d: the last one counts", name, before.line)
		}
		good := 0
		for _, w := range s.words {
			if set(p, w) {
				p.given[name] = given{s.line, w.col, w.text}
				good++
			}
		}
		if good > 1 {
			p.warn(s.words[1], "give one value", "%s takes one value, not %d: the last one counts", name, len(s.words))
		}
	}
}

// setTime makes a setter of a time of at least least; where to keep it may be nil.
func setTime(least time.Duration, where func(*Config) *time.Duration) func(*parser, statement) {
	return scalar(func(p *parser, w word) bool {
		name := p.now.name.text
		d, odd, err := parseTime(w.text)
		switch {
		case err != nil && len(p.now.words) == 2 && w == p.now.words[1] && unitOnly(w.text):
			p.fail(w, "write "+p.now.words[0].text+w.text, "a blank between number and unit")
			return false
		case err != nil:
			p.fail(w, "write a number of seconds, or of milliseconds with the unit ms: 2, 1.5, 500ms", "%s %s: %v", name, quote(w.text), err)
			return false
		case d < least:
			p.fail(w, "at least 1ms", "%s of %s", name, show(d))
			return false
		case odd != "":
			p.warn(w, "write "+written(d), "%s; %s is taken here", odd, show(d))
		}
		if where != nil {
			*where(p.cfg) = d
		}
		return true
	})
}

// unitOnly says whether a word is a unit that was torn off its number.
func unitOnly(text string) bool {
	_, _, err := timeUnit(strings.ToLower(text))
	return err == nil
}

// setBool makes a setter of a boolean; where to keep it may be nil.
func setBool(where func(*Config) *bool) func(*parser, statement) {
	return scalar(func(p *parser, w word) bool {
		value, ok := parseBool(w.text)
		if !ok {
			p.fail(w, "write on or off", "%s %s is neither on nor off", p.now.name.text, quote(w.text))
			return false
		}
		if where != nil {
			*where(p.cfg) = value
		}
		return true
	})
}

// integer reads a number within bounds and reports what is wrong with it.
func (p *parser) integer(w word, least, most int) (int, bool) {
	n, garbled, ok := parseInt(w.text)
	switch name := p.now.name.text; {
	case !ok:
		p.fail(w, fmt.Sprintf("write a number from %d to %d", least, most), "%s %s is not a number", name, quote(w.text))
		return 0, false
	case n < least || n > most:
		p.fail(w, fmt.Sprintf("from %d to %d", least, most), "%s %d is out of range", name, n)
		return 0, false
	case garbled:
		p.warn(w, fmt.Sprintf("write %d", n), "%s %s is read as %d, as in Linux-HA", name, quote(w.text), n)
	}
	return n, true
}

// setInt makes a setter of a number; where to keep it may be nil.
func setInt(least, most int, where func(*Config) *int) func(*parser, statement) {
	return scalar(func(p *parser, w word) bool {
		n, ok := p.integer(w, least, most)
		if ok && where != nil {
			*where(p.cfg) = n
		}
		return ok
	})
}

// setWord makes a setter of any word; where to keep it may be nil.
func setWord(where func(*Config) *string) func(*parser, statement) {
	return scalar(func(p *parser, w word) bool {
		if where != nil {
			*where(p.cfg) = w.text
		}
		return true
	})
}

// setPath makes a setter of the path of a file.
func setPath(where func(*Config) *string) func(*parser, statement) {
	return scalar(func(p *parser, w word) bool {
		if !strings.HasPrefix(w.text, "/") {
			p.warn(w, "write the full path", "%s %s is not a full path: where it ends up depends on how the daemon was started", p.now.name.text, quote(w.text))
		}
		*where(p.cfg) = w.text
		return true
	})
}

// setChoice makes a setter of one of several words; where to keep it may be nil.
func setChoice(where func(*Config) *string, words ...string) func(*parser, statement) {
	return scalar(func(p *parser, w word) bool {
		value := strings.ToLower(w.text)
		if !slices.Contains(words, value) {
			hint := "one of " + strings.Join(words, ", ")
			if near := fault.Nearest(value, words); near != "" {
				hint = "did you mean " + near + "?"
			}
			p.fail(w, hint, "%s %s is not known", p.now.name.text, quote(w.text))
			return false
		}
		if value != w.text {
			p.warn(w, "write "+value, "Linux-HA knows %s only in lower case", quote(w.text))
		}
		if where != nil {
			*where(p.cfg) = value
		}
		return true
	})
}

// lineOf is where a scalar directive was given, 0 where it was not.
func (p *parser) lineOf(name string) int { return p.given[name].line }
