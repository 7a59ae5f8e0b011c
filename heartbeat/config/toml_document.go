package config

import (
	"errors"
	"strings"

	"github.com/BurntSushi/toml"

	"hapair/heartbeat/fault"
)

// maxSyntax is how many syntax errors of one file are worth reading.
const maxSyntax = 20

// place is where something stands in a file: line and column from 1, the column in bytes. The zero place is nowhere.
type place struct{ line, col int }

// entry is a key of a TOML document with its value and its places. The library tells the value; where things stand, and in which order, it
// keeps to itself, so that a scanner of the text it has accepted finds out.
type entry struct {
	key     string
	path    string   // of a table with a name of the administrator's choice
	at      place    // of the key, or of its table's header
	valueAt place    // of the value
	value   any      // string, bool, int64, float64, time.Time or []any; map[string]any for a table
	itemsAt []place  // of the elements of an array
	entries []*entry // of a table, in the order of the file
	table   bool
	array   bool // [[double brackets]]
}

// child finds or adds an entry of a table.
func (e *entry) child(key string, at place) *entry {
	for _, c := range e.entries {
		if c.key == key {
			return c
		}
	}
	c := &entry{key: key, at: at}
	e.entries = append(e.entries, c)
	return c
}

// get is the entry of a key, nil where there is none.
func (e *entry) get(key string) *entry {
	for _, c := range e.entries {
		if c.key == key {
			return c
		}
	}
	return nil
}

// readDocument parses a TOML document. A syntax error costs its line, or its table where it is in a header, and the rest is read all the
// same; whole says that there was none.
func readDocument(text string, report func(at place, message string)) (root *entry, whole bool) {
	text = strings.TrimPrefix(text, "\xef\xbb\xbf")
	lines := strings.SplitAfter(text, "\n")
	for range maxSyntax {
		values := map[string]any{}
		_, err := toml.Decode(text, &values)
		if err == nil {
			root = scanDocument(text)
			root.fill(values)
			return root, whole || text == strings.Join(lines, "")
		}
		at, message := syntaxError(err, text)
		report(at, message)
		rest := blanked(text, at.line)
		if rest == text || strings.Contains(message, "unexpected EOF") {
			break
		}
		text = rest
	}
	return &entry{table: true}, false
}

// syntaxError is what the library says of a text that is no TOML, at a place in it: the library gives the offset of where it was reading,
// which is behind the line's end where that is what it did not expect.
func syntaxError(err error, text string) (place, string) {
	var p toml.ParseError
	if !errors.As(err, &p) {
		return place{}, printable(err.Error())
	}
	read := text[:max(0, min(p.Position.Start, len(text)))]
	if strings.HasSuffix(read, "\n") && (strings.Contains(p.Message, "'\\n'") || strings.Contains(p.Message, "newline")) {
		read = read[:len(read)-1]
	}
	if strings.TrimRight(read, "\n") != read && strings.TrimSpace(text[len(read):]) == "" {
		read = strings.TrimRight(read, "\n") // the end of the file
	}
	return place{1 + strings.Count(read, "\n"), len(read) - strings.LastIndexByte(read, '\n')}, printable(p.Message)
}

// printable is a message of a library without what a terminal would obey.
func printable(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(fault.Quote(s), `"`), `"`)
	return strings.TrimSuffix(s, ".")
}

// blanked is a text without a line, and all of a table whose header it is. Lines keep their numbers.
func blanked(text string, number int) string {
	lines := strings.SplitAfter(text, "\n")
	if number < 1 || number > len(lines) {
		return text
	}
	header := isHeader(lines[number-1])
	for i := number - 1; i < len(lines); i++ {
		if i > number-1 && (!header || isHeader(lines[i])) {
			break
		}
		lines[i] = "\n"
	}
	return strings.Join(lines, "")
}

// isHeader says whether a line begins like the header of a table.
func isHeader(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "[") }

// fill puts the values that the library decoded into the entries.
func (e *entry) fill(values map[string]any) {
	for _, c := range e.entries {
		c.value = values[c.key]
		if m, ok := c.value.(map[string]any); ok {
			c.table = true
			c.fill(m)
		}
	}
}
