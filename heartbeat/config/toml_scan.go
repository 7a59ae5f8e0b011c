package config

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// scanner finds the places of keys and values in a TOML document that the library has accepted. It checks nothing; on other texts it ends
// all the same.
type scanner struct {
	text  string
	pos   int
	line  int
	start int // of the line
}

// scanDocument builds the tree of a document's entries, without values.
func scanDocument(text string) *entry {
	s := &scanner{text: text, line: 1}
	root := &entry{table: true}
	table := root
	for s.skip(true); s.pos < len(s.text); s.skip(true) {
		before := s.pos
		if s.peek() == '[' {
			table = s.header(root)
		} else {
			s.pair(table)
		}
		if s.pos == before {
			s.pos++
		}
	}
	return root
}

// peek is the byte at hand, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// here is the place at hand.
func (s *scanner) here() place { return place{s.line, s.pos - s.start + 1} }

// advance goes n bytes further and counts lines.
func (s *scanner) advance(n int) {
	for ; n > 0 && s.pos < len(s.text); n-- {
		if s.text[s.pos] == '\n' {
			s.line++
			s.start = s.pos + 1
		}
		s.pos++
	}
}

// skip passes blanks, and where lines says so, also line ends and comments.
func (s *scanner) skip(lines bool) {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == ' ' || c == '\t' || c == '\r':
			s.advance(1)
		case lines && c == '\n':
			s.advance(1)
		case lines && c == '#':
			end := strings.IndexByte(s.text[s.pos:], '\n')
			if end < 0 {
				end = len(s.text) - s.pos
			}
			s.advance(end)
		default:
			return
		}
	}
}

// header reads `[a.b]` or `[[a.b]]` and returns its table.
func (s *scanner) header(root *entry) *entry {
	array := strings.HasPrefix(s.text[s.pos:], "[[")
	s.advance(1)
	if array {
		s.advance(1)
	}
	at := s.here()
	at.col -= s.pos - s.start - strings.LastIndexByte(s.text[s.start:s.pos], '[') // the bracket
	if array {
		at.col--
	}
	table := root
	for _, k := range s.keys() {
		table = table.child(k.key, at)
		table.table = true
	}
	table.at = at
	if array {
		table.array, table.table = true, false
		s.endLine()
		return &entry{table: true} // what is in it is nobody's
	}
	s.endLine()
	return table
}

// endLine passes the rest of a line.
func (s *scanner) endLine() {
	end := strings.IndexByte(s.text[s.pos:], '\n')
	if end < 0 {
		end = len(s.text) - s.pos
	}
	s.advance(end)
}

// namedAt is one part of a dotted key.
type namedAt struct {
	key string
	at  place
}

// keys reads a dotted key.
func (s *scanner) keys() (parts []namedAt) {
	for {
		s.skip(false)
		at := s.here()
		var key string
		switch c := s.peek(); c {
		case '"', '\'':
			key = s.quoted()
		default:
			begin := s.pos
			for s.pos < len(s.text) && strings.IndexByte(" \t\r\n.=]#", s.text[s.pos]) < 0 {
				s.advance(1)
			}
			key = s.text[begin:s.pos]
		}
		parts = append(parts, namedAt{key, at})
		s.skip(false)
		if s.peek() != '.' {
			return parts
		}
		s.advance(1)
	}
}

// quoted reads a quoted key.
func (s *scanner) quoted() string {
	begin := s.pos
	s.quote()
	raw := s.text[begin:s.pos]
	if len(raw) < 2 {
		return raw
	}
	var one struct{ X string }
	if _, err := toml.Decode("X="+raw, &one); err == nil {
		return one.X
	}
	return raw[1 : len(raw)-1]
}

// quote passes a string of any of the four kinds.
func (s *scanner) quote() {
	c := s.text[s.pos]
	triple := strings.Repeat(string(c), 3)
	if strings.HasPrefix(s.text[s.pos:], triple) {
		s.advance(3)
		for s.pos < len(s.text) && !strings.HasPrefix(s.text[s.pos:], triple) {
			if c == '"' && s.text[s.pos] == '\\' {
				s.advance(1)
			}
			s.advance(1)
		}
		s.advance(3)
		for s.peek() == c { // quotes that belong to the text
			s.advance(1)
		}
		return
	}
	for s.advance(1); s.pos < len(s.text) && s.text[s.pos] != c && s.text[s.pos] != '\n'; s.advance(1) {
		if c == '"' && s.text[s.pos] == '\\' {
			s.advance(1)
		}
	}
	s.advance(1)
}

// pair reads `key = value` into a table.
func (s *scanner) pair(table *entry) {
	parts := s.keys()
	for _, k := range parts[:len(parts)-1] {
		table = table.child(k.key, k.at)
		table.table = true
	}
	last := parts[len(parts)-1]
	e := table.child(last.key, last.at)
	s.skip(false)
	if s.peek() == '=' {
		s.advance(1)
		s.skip(false)
		s.value(e)
	}
}

// value passes a value and notes where it and its elements stand.
func (s *scanner) value(e *entry) {
	e.valueAt = s.here()
	switch s.peek() {
	case '"', '\'':
		s.quote()
	case '[':
		s.advance(1)
		for s.skip(true); s.pos < len(s.text) && s.peek() != ']'; s.skip(true) {
			before := s.pos
			var element entry
			s.value(&element)
			e.itemsAt = append(e.itemsAt, element.valueAt)
			s.comma(before)
		}
		s.advance(1)
	case '{':
		e.table = true
		s.advance(1)
		for s.skip(true); s.pos < len(s.text) && s.peek() != '}'; s.skip(true) {
			before := s.pos
			s.pair(e)
			s.comma(before)
		}
		s.advance(1)
	default:
		for s.pos < len(s.text) && strings.IndexByte(",]}#\n", s.text[s.pos]) < 0 {
			s.advance(1)
		}
	}
}

// comma passes the comma behind an element, and makes sure that something was passed.
func (s *scanner) comma(before int) {
	s.skip(true)
	if s.peek() == ',' || s.pos == before {
		s.advance(1)
	}
}
