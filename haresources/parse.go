package haresources

import (
	"bytes"
	"io"
	"strings"

	"hapair/heartbeat/fault"
)

// maxFile bounds what Parse reads: 10,000 addresses fit into a tenth of it.
const maxFile = 8 << 20

// classicLine is the longest line that Linux-HA reads whole (protocol section 0.1).
const classicLine = 5119

// Parse reads a haresources file (protocol section 8.1); name is for messages only. It reports every fault it finds and
// returns the groups that it could make sense of; where the list holds an Error they must not be started.
func Parse(name string, r io.Reader) (Table, fault.List) {
	p := parser{table: Table{File: name}}
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		p.add(fault.Error, position{}, "", "read: %v", err)
		return p.table, p.faults
	}
	if len(data) > maxFile {
		p.add(fault.Error, position{}, "is this the right file?", "longer than %d bytes", maxFile)
		return p.table, p.faults
	}
	p.readLines(data)
	p.checkTable()
	p.faults.Sort()
	return p.table, p.faults
}

// position is a place in the file; the zero position is the file as a whole.
type position struct{ line, col int }

// parser collects one file.
type parser struct {
	table    Table
	faults   fault.List
	current  logical
	saidCRLF bool

	assembled bool // the groups come from a file that Linux-HA never reads: what it would make of them is of no interest
}

// logical is one line after continuation lines were joined.
type logical struct {
	text    []byte
	pieces  []piece
	pragmas []pragma
	joined  bool // the last physical line ended in a backslash
}

// piece says where the text from an offset on came from.
type piece struct {
	offset int
	position
}

// at is the place in the file of an offset in the text.
func (l *logical) at(offset int) position {
	for i := len(l.pieces) - 1; i >= 0; i-- {
		if p := l.pieces[i]; p.offset <= offset {
			return position{p.line, p.col + offset - p.offset}
		}
	}
	return position{}
}

// add appends a fault at a place of the file.
func (p *parser) add(s fault.Severity, at position, hint, format string, args ...any) {
	p.faults.Addf(fault.Fault{File: p.table.File, Line: at.line, Col: at.col, Severity: s}, hint, format, args...)
}

// readLines splits the file into physical lines and feeds them in.
func (p *parser) readLines(data []byte) {
	if rest, found := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); found {
		p.add(fault.Warning, position{1, 1}, "save it as UTF-8 without a byte order mark",
			"the file begins with a byte order mark, which Linux-HA takes for a part of the first node name")
		data = rest
	}
	number := 0
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		number++
		p.readLine(number, line)
	}
	if p.current.joined {
		p.add(fault.Warning, position{number, 0}, "remove the backslash", "the last line of the file is continued by nothing")
	}
	p.endLogical()
}

// readLine takes one physical line: comment and pragma off, continuation noticed, the rest appended to the logical line.
func (p *parser) readLine(number int, raw []byte) {
	if len(raw) > classicLine {
		p.add(fault.Notice, position{number, 0}, "continue it with a backslash if a Linux-HA peer reads the same file",
			"line of %d bytes: Linux-HA reads only the first %d", len(raw), classicLine)
	}
	line := p.clean(number, raw)
	if p.mergeMarker(number, line) {
		return
	}
	text, comment, hasComment := bytes.Cut(line, []byte("#"))
	if hasComment {
		p.comment(number, len(text)+1, comment, len(bytes.TrimSpace(text)) == 0)
	}
	text, continued := p.continuation(number, text)
	p.appendText(number, text)
	p.current.joined = continued
	if !continued {
		p.endLogical()
	}
}

// clean replaces what editors and other systems leave behind, byte for byte so that columns stay true.
func (p *parser) clean(number int, raw []byte) []byte {
	line, cr := bytes.CutSuffix(raw, []byte("\r"))
	if cr && !p.saidCRLF {
		p.saidCRLF = true
		p.add(fault.Warning, position{number, 0}, "convert the file: sed -i 's/\\r$//' "+p.table.File,
			"lines end in CR LF: Linux-HA hands the CR to the last script of each line")
	}
	if i := bytes.Index(line, []byte("\u00a0")); i >= 0 {
		p.add(fault.Warning, position{number, i + 1}, "replace it by a plain blank",
			"a non-breaking blank (U+00A0): Linux-HA takes it for a part of the word")
		line = bytes.ReplaceAll(line, []byte("\u00a0"), []byte("  "))
	}
	if i := bytes.IndexFunc(line, unprintable); i >= 0 {
		p.add(fault.Error, position{number, i + 1}, "remove it", "control character 0x%02x", line[i])
		line = bytes.Map(func(r rune) rune {
			if unprintable(r) {
				return ' '
			}
			return r
		}, bytes.ToValidUTF8(line, []byte("?")))
	}
	return line
}

// unprintable says whether a character has no business in a line.
func unprintable(r rune) bool {
	return r < ' ' && !strings.ContainsRune("\t\v\f", r) || r == 0x7f
}

// mergeMarker refuses what a version control system left behind, before it is taken for a node.
func (p *parser) mergeMarker(number int, line []byte) bool {
	for _, mark := range []string{"<<<<<<<", "=======", ">>>>>>>", "|||||||"} {
		if bytes.HasPrefix(line, []byte(mark)) {
			p.add(fault.Error, position{number, 1}, "choose one of the two versions and remove the markers", "merge conflict marker %s", mark)
			return true
		}
	}
	return false
}

// comment looks for a pragma in a comment, and for a backslash that a reader would take for a continuation. col is the
// place of the #; alone says that nothing but blanks stands before it.
func (p *parser) comment(number, col int, text []byte, alone bool) {
	at := position{number, col}
	if alone && p.current.joined {
		p.add(fault.Warning, at, "put the comment before the first or after the last of the lines",
			"a comment ends the continuation of the line before, as in Linux-HA")
	}
	if bytes.HasSuffix(bytes.TrimSpace(text), []byte(`\`)) && !alone {
		p.add(fault.Warning, at, "put the comment on a line of its own before this one",
			"the backslash at the end of the comment belongs to the comment: the next line begins a new group")
	}
	body, found := strings.CutPrefix(string(text), strings.TrimPrefix(PragmaMark, "#"))
	if !found {
		return
	}
	if alone && !p.current.joined {
		p.add(fault.Warning, at, "put it at the end of the line whose group it is for", "a pragma on a line of its own has no effect here")
		return
	}
	p.readPragmas(position{number, col + len(PragmaMark)}, body)
}

// continuation takes the backslash off a line that is continued on the next one.
func (p *parser) continuation(number int, text []byte) ([]byte, bool) {
	bare := bytes.TrimRight(text, " \t\v\f")
	body, found := bytes.CutSuffix(bare, []byte(`\`))
	if !found {
		return text, false
	}
	if len(bare) == len(text) {
		return body, true
	}
	p.add(fault.Warning, position{number, len(bare)}, "remove the blanks at the end of the line",
		"blanks after the backslash: Linux-HA does not continue this line and takes the next one's first word for a node")
	return append(bytes.Clone(body), ' '), true
}

// appendText adds a physical line to the logical one. As in Linux-HA nothing is put between the two.
func (p *parser) appendText(number int, text []byte) {
	l := &p.current
	if l.joined && glues(l.text, text) {
		p.add(fault.Warning, position{number, 1}, "put a blank before the backslash, or indent this line",
			"the last word of the line before and the first of this one become one word, as in Linux-HA")
	}
	l.pieces = append(l.pieces, piece{len(l.text), position{number, 1}})
	l.text = append(l.text, text...)
}

// glues says whether joining two lines makes one word out of two that look like two.
func glues(before, after []byte) bool {
	if len(before) == 0 || len(after) == 0 || isBlank(before[len(before)-1]) || isBlank(after[0]) {
		return false
	}
	inside := func(c byte) bool { return strings.IndexByte(":,/=.-", c) >= 0 }
	return !inside(before[len(before)-1]) && !inside(after[0])
}

// isBlank says whether a byte separates words.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\v' || c == '\f' }

// word is one word of a logical line with its place.
type word struct {
	text string
	position
}

// endLogical makes a group of the collected line and starts a new one.
func (p *parser) endLogical() {
	l := p.current
	p.current = logical{}
	var words []word
	for i := 0; i < len(l.text); {
		if isBlank(l.text[i]) {
			i++
			continue
		}
		start := i
		for i < len(l.text) && !isBlank(l.text[i]) {
			i++
		}
		words = append(words, word{string(l.text[start:i]), l.at(start)})
	}
	if len(words) > 0 {
		p.group(words, l.pragmas)
	}
}

// group makes a Group of the words of a line: a node, then resources.
func (p *parser) group(words []word, pragmas []pragma) {
	node := words[0]
	if !p.checkNode(node) {
		return
	}
	g := Group{Preferred: strings.ToLower(node.text), Line: node.line}
	for _, w := range words[1:] {
		if r, ok := p.resource(w); ok {
			g.Resources = append(g.Resources, r)
		}
	}
	if len(words) == 1 {
		p.add(fault.Warning, node.position, "write NODE RESOURCE …, or remove the line", "node %s has no resource on this line: nothing is started for it", quote(node.text))
	}
	if len(g.Resources) == 0 {
		return
	}
	g.Name = words[1].text
	for _, pr := range pragmas {
		p.setPragma(&g, pr)
	}
	p.table.Groups = append(p.table.Groups, g)
}

// quote puts a word into a message.
func quote(s string) string { return fault.Quote(s) }
