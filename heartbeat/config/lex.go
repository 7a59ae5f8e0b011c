package config

import (
	"bytes"
	"strings"

	"hapair/heartbeat/fault"
)

// maxLine is the longest line that Linux-HA reads whole; it takes the rest of a longer one for a line of its own (protocol
// section 1.1 rule 1).
const maxLine = 5119

// maxFile bounds what is read of one file: 10,000 addresses in haresources are a tenth of it.
const maxFile = 8 << 20

// maxFaults is how many faults of one file are worth reading.
const maxFaults = 500

// pragmaMark begins a comment that Linux-HA ignores and this program reads.
const pragmaMark = "#hapair:"

// word is a piece of a line and the column of its first byte, from 1.
type word struct {
	text string
	col  int
}

// statement is a line of ha.cf that says something.
type statement struct {
	line  int
	name  word   // the directive
	rest  word   // all after it, without blanks at either end
	words []word // rest, split at blanks and commas
	comma bool   // a comma was among the delimiters
	cut   bool   // a # without a blank before it ended the rest
}

// lexer turns the bytes of ha.cf into statements and pragmas.
type lexer struct {
	file     string
	faults   *fault.List
	saidCRLF bool
}

// at is a fault of the file without a message; line 0 means the file as a whole, column 0 the whole line.
func (l *lexer) at(severity fault.Severity, line, col int) fault.Fault {
	return fault.Fault{File: l.file, Line: line, Col: col, Severity: severity}
}

// each hands every statement and the text of every pragma to the caller, in the order of the file.
func (l *lexer) each(data []byte, do func(statement), pragma func(line int, text word)) {
	if rest, found := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); found {
		l.faults.Addf(l.at(fault.Warning, 1, 1), "save it as UTF-8 without a byte order mark",
			"the file begins with a byte order mark, which Linux-HA takes for a part of the first directive")
		data = append([]byte("   "), rest...) // columns stay true
	}
	for number, most := 1, len(*l.faults)+maxFaults; len(data) > 0; number++ {
		if len(*l.faults) > most {
			l.faults.Addf(l.at(fault.Error, number, 0), "is this the right file?", "more than %d faults: the rest is not read", maxFaults)
			return
		}
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		text, good := l.clean(number, line)
		if !good {
			continue
		}
		l.line(number, text, do, pragma)
	}
}

// clean takes off what editors and other systems leave behind; good is false for a line that means nothing.
func (l *lexer) clean(number int, raw []byte) (line []byte, good bool) {
	line, cr := bytes.CutSuffix(raw, []byte("\r"))
	if cr && !l.saidCRLF {
		l.saidCRLF = true
		l.faults.Addf(l.at(fault.Notice, number, 0), `to convert the file: sed -i 's/\r$//' `+l.file, "lines end in CR LF; accepted")
	}
	if len(line) > maxLine {
		l.faults.Addf(l.at(fault.Error, number, 0), "break the line", "line of %d bytes: at most %d are read", len(line), maxLine)
		return nil, false
	}
	if mark := mergeMarker(line); mark != "" {
		l.faults.Addf(l.at(fault.Error, number, 1), "choose one of the two versions and remove the markers", "merge conflict marker %s", mark)
		return nil, false
	}
	if i := bytes.IndexFunc(line, unprintable); i >= 0 {
		l.faults.Addf(l.at(fault.Error, number, i+1), "is this a text file?", "control character 0x%02x", line[i])
		return nil, false
	}
	return line, true
}

// mergeMarker is the marker that a version control system left at the start of a line, or "".
func mergeMarker(line []byte) string {
	for _, mark := range []string{"<<<<<<<", "=======", ">>>>>>>", "|||||||"} {
		if bytes.HasPrefix(line, []byte(mark)) {
			return mark
		}
	}
	return ""
}

// unprintable says whether a character has no business in a line.
func unprintable(r rune) bool {
	return r < ' ' && !strings.ContainsRune("\t\v\f\r", r) || r == 0x7f
}

// line splits one cleaned line.
func (l *lexer) line(number int, line []byte, do func(statement), pragma func(line int, text word)) {
	text, comment, hasComment := bytes.Cut(line, []byte("#"))
	start := skipBlanks(text, 0)
	if hasComment {
		l.comment(number, word{"#" + string(comment), len(text) + 1}, start == len(text), pragma)
	}
	if start == len(text) {
		return
	}
	if i := oddBlank(text); i >= 0 {
		l.faults.Addf(l.at(fault.Error, number, i+1), "replace it by a plain blank", "a character that only looks like a blank")
		return
	}
	end := start
	for end < len(text) && !isBlank(text[end]) {
		end++
	}
	s := statement{line: number, name: word{string(text[start:end]), start + 1}}
	begin := skipBlanks(text, end)
	bare := bytes.TrimRight(text, " \t\v\f\r")
	if begin < len(bare) {
		s.rest = word{string(bare[begin:]), begin + 1}
		s.cut = hasComment && len(bare) == len(text)
		s.words, s.comma = split(s.rest)
	}
	do(s)
}

// comment finds the pragma in a comment, and what was probably meant to be one.
func (l *lexer) comment(number int, text word, alone bool, pragma func(line int, text word)) {
	body, found := strings.CutPrefix(text.text, pragmaMark)
	switch {
	case found && alone:
		pragma(number, word{body, text.col + len(pragmaMark)})
	case found:
		l.faults.Addf(l.at(fault.Warning, number, text.col), "put it on a line of its own", "a pragma behind a directive has no effect")
	case alone && nearlyPragma(text.text):
		l.faults.Addf(l.at(fault.Warning, number, text.col), "write "+pragmaMark+" key=value", "looks like a pragma, but is a comment without effect")
	}
}

// nearlyPragma says whether a comment was probably meant as a pragma: `# hapair: key=value`, `#HAPAIR key=value`.
func nearlyPragma(comment string) bool {
	text := strings.ToLower(strings.TrimLeft(comment, "# \t"))
	rest, found := strings.CutPrefix(text, "hapair")
	first, _, _ := strings.Cut(strings.TrimLeft(rest, ": \t"), " ")
	return found && strings.Contains(first, "=")
}

// split cuts a text at blanks and commas, the delimiters of protocol section 1.1 rule 6.
func split(text word) (words []word, comma bool) {
	delimiter := func(c byte) bool { return isBlank(c) || c == ',' }
	for i := 0; i < len(text.text); {
		if delimiter(text.text[i]) {
			comma = comma || text.text[i] == ','
			i++
			continue
		}
		start := i
		for i < len(text.text) && !delimiter(text.text[i]) {
			i++
		}
		words = append(words, word{text.text[start:i], text.col + start})
	}
	return words, comma
}

// fields cuts a text at blanks only.
func fields(text word) (words []word) {
	for i := 0; i < len(text.text); {
		if isBlank(text.text[i]) {
			i++
			continue
		}
		start := i
		for i < len(text.text) && !isBlank(text.text[i]) {
			i++
		}
		words = append(words, word{text.text[start:i], text.col + start})
	}
	return words
}

// isBlank says whether a byte separates words.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r' }

// skipBlanks is the place of the first byte from i on that is not blank.
func skipBlanks(text []byte, i int) int {
	for i < len(text) && isBlank(text[i]) {
		i++
	}
	return i
}

// oddBlank is the place of a character that people cannot tell from a blank or from nothing, or -1.
func oddBlank(text []byte) int {
	return bytes.IndexFunc(text, func(r rune) bool {
		return r == '\u00a0' || r >= '\u2000' && r <= '\u200f' || r == '\u202f' || r == '\u3000' || r == '\ufeff'
	})
}

// quote puts a word into a message.
func quote(s string) string { return fault.Quote(s) }
