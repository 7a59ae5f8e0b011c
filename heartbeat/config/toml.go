package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// The names of the main file in its two forms. Exactly one of them may exist.
const (
	classicFile = "ha.cf"
	tomlFile    = "heartbeat.toml"
)

// tomlReader turns a heartbeat.toml into a Config, by way of the same checks as ha.cf.
type tomlReader struct {
	*parser
	port   int // of links that name none
	links  []tomlLink
	groups []haresources.Assembled
	keys   *entry // where authkeys is said to be; nil for beside the file

	fenceKeys []*entry // the keys of [fencing] that were given
}

// field is one key that a table may hold.
type field struct {
	name string
	set  func(*entry)
	sub  []field // of the table that it is, for those who list the keys
	many bool    // a table of tables with names of the administrator's choice
}

// parseTOML reads heartbeat.toml into cfg, which holds nothing yet but the directory and the node.
func parseTOML(cfg *Config, file string, data []byte, faults *fault.List) *tomlReader {
	r := &tomlReader{parser: newParser(cfg, file, faults), port: defaultPort}
	r.toml = true
	r.defaults()
	cfg.AutoFailback, cfg.AutoFailbackExplicit = FailbackOff, true
	cfg.Table.File = file
	root, whole := readDocument(string(data), func(at place, message string) {
		r.faults.Addf(r.at(fault.Error, at.line, at.col), "", "%s", message)
	})
	r.broken = !whole
	r.raw("auto_failback", FailbackOff)
	r.table(root, r.topFields())
	r.finishFile()
	return r
}

// finishFile does what needs the whole file.
func (r *tomlReader) finishFile() {
	r.finishFencing()
	r.finishTOMLLinks()
	r.readGroups()
	if !r.broken { // what seems to be missing may stand where the file could not be read
		r.finishTimes()
	}
	r.finishRaw()
	r.finishLog()
	r.finishAPIAuth()
}

// failAt appends an Error at a place.
func (r *tomlReader) failAt(at place, hint, format string, args ...any) {
	r.faults.Addf(r.at(fault.Error, at.line, at.col), hint, format, args...)
}

// warnAt appends a Warning at a place.
func (r *tomlReader) warnAt(at place, hint, format string, args ...any) {
	r.faults.Addf(r.at(fault.Warning, at.line, at.col), hint, format, args...)
}

// table reads the keys of a table.
func (r *tomlReader) table(t *entry, fields []field) {
	for _, e := range t.entries {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == e.key })
		if i < 0 {
			r.unknownKey(t, e, fields)
			continue
		}
		fields[i].set(e)
	}
}

// unknownKey reports a key that does not exist, with the likeliest remedy.
func (r *tomlReader) unknownKey(t, e *entry, fields []field) {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	plain := strings.ReplaceAll(strings.ToLower(e.key), "-", "_")
	hint := "known here are " + strings.Join(names, ", ")
	switch near := fault.Nearest(e.key, names); {
	case slices.Contains(names, plain):
		hint = "did you mean " + plain + "?"
	case classicPlaces[plain] != "" && classicPlaces[plain] != plain:
		hint = "write " + classicPlaces[plain]
	case elsewhere(plain, t.key) != "":
		hint = "it belongs into " + elsewhere(plain, t.key)
	case near != "":
		hint = "did you mean " + near + "?"
	}
	what := "unknown key"
	if e.table {
		what = "unknown table"
	}
	r.failAt(e.at, hint, "%s %s", what, quote(e.key))
}

// elsewhere is the table in which a key is known that has no business in the one of that name.
func elsewhere(key, here string) string {
	for _, f := range topFields() {
		if f.name == key && !f.many && f.sub == nil && here != "" {
			return "the top of the file, before the first [table]"
		}
		if f.name == here || f.many {
			continue
		}
		for _, s := range f.sub {
			if s.name == key {
				return "[" + f.name + "]"
			}
		}
	}
	return ""
}

// section is a field that is a table with fixed keys.
func (r *tomlReader) section(name string, fields []field) field {
	return field{name: name, sub: fields, set: func(e *entry) {
		if r.isTable(e, "["+name+"]") {
			r.table(e, fields)
		}
	}}
}

// named is a field that is a table of tables with names of the administrator's choice: [link.eth1].
func (r *tomlReader) named(path string, fields []field, each func(*entry)) field {
	form := "[" + path + ".NAME]"
	return field{name: path[strings.LastIndexByte(path, '.')+1:], many: true, sub: fields, set: func(e *entry) {
		if !r.isTable(e, form) {
			return
		}
		for _, c := range e.entries {
			if r.isTable(c, form) {
				r.begin[c.at.line] = c.at.col
				c.path = path + "." + c.key
				each(c)
			}
		}
	}}
}

// isTable says whether an entry is a table, and complains where it is not.
func (r *tomlReader) isTable(e *entry, form string) bool {
	switch {
	case e.array:
		r.failAt(e.at, "write "+form+" with single brackets and a name", "[[%s]] is an array of tables", e.key)
	case !e.table:
		r.failAt(e.at, "write "+form, "%s is a table, not a value", quote(e.key))
	default:
		return true
	}
	return false
}

// remembered notes a key for messages about how values fit together, and its raw value for scripts.
func (r *tomlReader) remembered(e *entry, name, raw string) {
	r.given[name] = given{e.at.line, e.at.col, raw}
	for _, d := range r.parser.table {
		if d.name == name {
			r.raw(name, raw)
		}
	}
}

// raw keeps the raw value of a directive for scripts and cl_status.
func (r *tomlReader) raw(name, value string) {
	for i := range r.cfg.Directives {
		if r.cfg.Directives[i].Name == name {
			r.cfg.Directives[i].Value = value
			return
		}
	}
	r.cfg.Directives = append(r.cfg.Directives, Directive{name, value})
}

// wrong reports a value of the wrong kind.
func (r *tomlReader) wrong(e *entry, want, what string) {
	r.spoil[e.key] = true
	r.failAt(e.valueAt.or(e.at), want, "%s = %s is %s", e.key, showValue(e.value), what)
}

// or is the place, or another where that is nowhere.
func (p place) or(other place) place {
	if p.line == 0 {
		return other
	}
	return p
}

// showValue is a value in a message.
func showValue(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case nil, []any, map[string]any:
		return "…"
	}
	return printable(fmt.Sprint(v))
}

// text makes a field of a text without control characters that is not empty.
func (r *tomlReader) text(name string, set func(*entry, string)) field {
	return field{name: name, set: func(e *entry) {
		s, ok := e.value.(string)
		switch {
		case !ok:
			r.wrong(e, "write a text in double quotes", "not a text")
		case strings.TrimSpace(s) == "":
			r.spoil[e.key] = true
			r.failAt(e.valueAt, "give it a value or remove the line", "%s is empty", e.key)
		case strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) >= 0:
			r.spoil[e.key] = true
			r.failAt(e.valueAt, "one line of text", "%s holds a control character", e.key)
		default:
			set(e, s)
		}
	}}
}

// choice makes a field of one of several words.
func (r *tomlReader) choice(name string, set func(*entry, string), words ...string) field {
	return field{name: name, set: func(e *entry) {
		s, ok := e.value.(string)
		if ok && slices.Contains(words, s) {
			set(e, s)
			return
		}
		hint := "one of " + quoteAll(words)
		if near := fault.Nearest(s, words); near != "" {
			hint = "did you mean " + quote(near) + "?"
		}
		if b, isBool := e.value.(bool); isBool && slices.Contains(words, "on") {
			hint = `write "` + onOff(b) + `"`
		}
		r.spoil[e.key] = true
		r.failAt(e.valueAt.or(e.at), hint, "%s = %s is not known", e.key, showValue(e.value))
	}}
}

// quoteAll lists words as they are written.
func quoteAll(words []string) string {
	var all []string
	for _, w := range words {
		all = append(all, strconv.Quote(w))
	}
	return strings.Join(all, ", ")
}

// onOff is a truth value as ha.cf writes it.
func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// flag makes a field of true or false.
func (r *tomlReader) flag(name string, set func(*entry, bool)) field {
	return field{name: name, set: func(e *entry) {
		b, ok := e.value.(bool)
		if !ok {
			hint := "write true or false"
			if s, isText := e.value.(string); isText {
				if meant, known := parseBool(s); known {
					hint = fmt.Sprintf("write %s = %v", e.key, meant)
				}
			}
			r.wrong(e, hint, "neither true nor false")
			return
		}
		set(e, b)
	}}
}

// number makes a field of an integer within bounds.
func (r *tomlReader) number(name string, least, most int, set func(*entry, int)) field {
	return field{name: name, set: func(e *entry) {
		n, ok := e.value.(int64)
		bounds := fmt.Sprintf("a number from %d to %d", least, most)
		switch {
		case !ok:
			r.wrong(e, "write "+bounds+" without quotes", "not a whole number")
		case n < int64(least) || n > int64(most):
			r.spoil[e.key] = true
			r.failAt(e.valueAt, bounds, "%s = %d is out of range", e.key, n)
		default:
			set(e, int(n))
		}
	}}
}

// duration makes a field of a time with its unit, rounded to whole milliseconds as in ha.cf.
func (r *tomlReader) duration(name string, least time.Duration, set func(*entry, time.Duration)) field {
	return field{name: name, set: func(e *entry) {
		if d, ok := r.readTime(e, least); ok {
			set(e, d)
		}
	}}
}

// readTime reads the value of a key as a time, and complains where it is none.
func (r *tomlReader) readTime(e *entry, least time.Duration) (time.Duration, bool) {
	var hint string
	switch v := e.value.(type) {
	case string:
		d, err := parseSpan(v)
		switch {
		case err == nil && d >= least && d <= longest:
			return d, true
		case err == nil && d < least:
			hint = "at least " + showSpan(least)
		case err == nil:
			hint = "at most " + showSpan(longest)
		default:
			hint = err.Error()
		}
	case int64:
		hint = fmt.Sprintf(`a time needs a unit: write %s = "%ds" for seconds, "%dms" for milliseconds`, e.key, v, v)
	case float64:
		number := strconv.FormatFloat(v, 'f', -1, 64)
		hint = fmt.Sprintf(`a time needs a unit: write %s = "%ss" for seconds`, e.key, number)
	default:
		hint = `write a time with its unit: "10s", "1.5s", "500ms", "2m"`
	}
	r.wrong(e, hint, "not a time that fits")
	return 0, false
}

// parseSpan reads a time with its unit: "10s", "1.5s", "500ms", "2m", "1h30m".
func parseSpan(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if _, bare := strconv.ParseFloat(strings.TrimSpace(text), 64); bare == nil {
		return 0, fmt.Errorf(`a time needs a unit: write "%ss" for seconds, "%sms" for milliseconds`, strings.TrimSpace(text), strings.TrimSpace(text))
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf(`write a time with its unit: "10s", "1.5s", "500ms", "2m"`)
	}
	if d > math.MaxInt64-time.Second {
		return d, nil
	}
	return d.Round(time.Millisecond), nil
}

// showSpan writes a time as heartbeat.toml writes it.
func showSpan(d time.Duration) string {
	switch {
	case d%time.Millisecond != 0:
		return d.String()
	case d >= time.Minute && d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return show(d)
}

// rawTime writes a time as Linux-HA's scripts expect it.
func rawTime(d time.Duration) string {
	if d%time.Second == 0 && d > 0 {
		return strconv.FormatInt(int64(d/time.Second), 10)
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// list makes a field of texts: a list of them, or one.
func (r *tomlReader) list(name string, set func(*entry, []word, []place)) field {
	return field{name: name, set: func(e *entry) {
		var words []word
		var places []place
		values, ok := e.value.([]any)
		if s, one := e.value.(string); one {
			values, ok = []any{s}, true
		}
		if !ok {
			r.wrong(e, `write a list of texts: ["one", "two"]`, "not a list of texts")
			return
		}
		for i, v := range values {
			at := e.valueAt
			if i < len(e.itemsAt) {
				at = e.itemsAt[i]
			}
			s, isText := v.(string)
			if !isText || strings.TrimSpace(s) == "" {
				r.spoil[e.key] = true
				r.failAt(at, "write it in double quotes", "%s: %s is not a text", e.key, showValue(v))
				continue
			}
			words = append(words, word{s, at.col + 1}) // behind the quote
			places = append(places, place{at.line, at.col + 1})
		}
		set(e, words, places)
	}}
}
