package wire

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"hapair/heartbeat/fault"
)

// What an authkeys file may measure. The line length is Linux-HA's buffer: it would read the rest as another line.
const (
	maxKeyFile = 64 << 10
	maxKeyLine = 5119
)

// ReadKeys reads an authkeys file (protocol section 2.1); name is for the faults. It finds every fault of the file, and accepts
// with a warning what is clear although Linux-HA would refuse it. Keys is nil exactly when the list holds an Error. The
// file's mode is not looked at: r is all there is. No fault quotes a secret.
func ReadKeys(name string, r io.Reader) (*Keys, fault.List) {
	p := keyReader{file: name}
	data, err := io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	switch {
	case err != nil:
		p.faults.Addf(p.at(fault.Error, 0), "", "read: %v", err)
	case len(data) > maxKeyFile:
		p.faults.Addf(p.at(fault.Error, 0), "an authkeys file has a few lines", "longer than %d bytes", maxKeyFile)
	case bytes.IndexByte(data, 0) >= 0:
		p.line = 1 + bytes.Count(data[:bytes.IndexByte(data, 0)], []byte("\n"))
		p.faults.Addf(p.at(fault.Error, 0), "save it as plain text", "holds a NUL byte, so it is no text file")
	default:
		p.read(string(data))
	}
	p.faults.Sort()
	if p.faults.Worst() == fault.Error {
		return nil, p.faults
	}
	return &Keys{entries: p.entries, signing: p.entries[p.auth.index]}, p.faults
}

// keyReader collects what the lines say.
type keyReader struct {
	file    string
	line    int // being read, from 1; 0 for the file as a whole
	faults  fault.List
	entries [MaxIndex + 1]*entry
	defined [MaxIndex + 1]int // line of each entry, 0 when there is none
	auth    struct{ index, line, col int }
	broken  bool // a line that was meant as an entry was refused, so "no such key" would be a second fault for one mistake
	badAuth bool // likewise an `auth` line
}

// word is one word of a line and its column, from 1.
type word struct {
	text string
	col  int
}

// at is a fault to be filled in, at a column of the line being read.
func (p *keyReader) at(s fault.Severity, col int) fault.Fault {
	return fault.Fault{File: p.file, Line: p.line, Col: col, Severity: s}
}

// read takes the whole text.
func (p *keyReader) read(text string) {
	const byteOrderMark = "\ufeff"
	if rest, ok := strings.CutPrefix(text, byteOrderMark); ok {
		p.line, text = 1, rest
		p.faults.Addf(p.at(fault.Warning, 1), "save it without",
			"begins with a byte-order mark, which Linux-HA takes for a part of the first line")
	}
	p.line = 0
	for line := range strings.SplitSeq(text, "\n") {
		p.line++
		p.readLine(line)
	}
	p.finish()
}

// readLine takes one line.
func (p *keyReader) readLine(line string) {
	words := splitWords(line)
	switch {
	case len(words) == 0 || words[0].text[0] == '#':
	case len(line) > maxKeyLine:
		p.broken = true
		p.faults.Addf(p.at(fault.Error, maxKeyLine+1), "shorten the secret: what exceeds 64 bytes is hashed anyway",
			"line longer than %d bytes: Linux-HA would read the rest as another line", maxKeyLine)
	case isConflictMarker(words[0].text):
		p.broken = true
		p.faults.Addf(p.at(fault.Error, words[0].col), "resolve the merge conflict, and keep one version",
			"this is a merge conflict marker")
	case words[0].text[0] == 'a' || words[0].text[0] == 'A':
		p.readAuth(words)
	default:
		p.readEntry(words)
	}
}

// readAuth takes `auth INDEX`.
func (p *keyReader) readAuth(words []word) {
	w, rest := words[0], words[1:]
	number, ok := strings.CutPrefix(strings.ToLower(w.text), "auth")
	if !ok {
		p.broken, p.badAuth = true, true
		p.faults.Addf(p.at(fault.Error, w.col), "one of: auth INDEX, INDEX METHOD SECRET",
			"%q is neither `auth` nor the index of a key", brief(w.text))
		return
	}
	if w.text[:4] != "auth" {
		p.faults.Addf(p.at(fault.Warning, w.col), "write it in small letters: auth",
			"Linux-HA knows no %q and would not start", w.text[:4])
	}
	at := word{number, w.col + len("auth")}
	if number == "" {
		if len(rest) == 0 {
			p.badAuth = true
			p.faults.Addf(p.at(fault.Error, w.col), "for example: auth 1", "`auth` does not say which key signs")
			return
		}
		at, rest = rest[0], rest[1:]
	}
	index, tail, ok := leadingIndex(at.text)
	switch {
	case !ok:
		p.badAuth = true
		p.faults.Addf(p.at(fault.Error, at.col), fmt.Sprintf("an index from 0 to %d", MaxIndex),
			"`auth` is not followed by the index of a key")
		return
	case p.auth.line > 0:
		p.faults.Addf(p.at(fault.Warning, w.col), "keep one", "`auth` stands in line %d already; this one counts", p.auth.line)
	}
	p.auth.index, p.auth.line, p.auth.col = index, p.line, at.col
	if tail != "" && tail[0] != '#' {
		p.faults.Addf(p.at(fault.Warning, at.col), "leave only the number",
			"what is glued to the index is ignored, as Linux-HA does")
	}
	p.afterAuth(rest)
}

// afterAuth takes what else is on an auth line: nothing, a comment, or an entry that should have its own line.
func (p *keyReader) afterAuth(rest []word) {
	switch {
	case len(rest) == 0 || rest[0].text[0] == '#':
	case rest[0].text[0] >= '0' && rest[0].text[0] <= '9':
		p.faults.Addf(p.at(fault.Warning, rest[0].col), "put the key on a line of its own",
			"a key on the same line as `auth`: Linux-HA does not see it and would not start")
		p.readEntry(rest)
	default:
		p.faults.Addf(p.at(fault.Warning, rest[0].col), "leave only `auth` and the number",
			"what follows the index is ignored, as Linux-HA does")
	}
}

// finish checks what concerns the file as a whole.
func (p *keyReader) finish() {
	p.line = 0
	var have []string
	for index, e := range p.entries {
		if e != nil {
			have = append(have, fmt.Sprint(index))
			p.checkCRC(e)
		}
	}
	hint := "the keys are: " + strings.Join(have, ", ")
	p.line = p.auth.line
	switch {
	case len(have) == 0 && p.broken:
	case len(have) == 0:
		p.faults.Addf(p.at(fault.Error, 0), "for example two lines: auth 1, and: 1 sha1 SECRET",
			"no key, so nothing could be signed or verified")
	case p.badAuth:
	case p.auth.line == 0:
		p.faults.Addf(p.at(fault.Error, 0), "add `auth "+have[0]+"` as the first line", "no `auth` line says which key signs")
	case p.entries[p.auth.index] == nil:
		if !p.broken {
			p.faults.Addf(p.at(fault.Error, p.auth.col), hint, "`auth %d` names a key that is not there", p.auth.index)
		}
	case p.defined[p.auth.index] < p.auth.line:
		p.faults.Addf(p.at(fault.Warning, p.auth.col), "put the `auth` line first",
			"`auth %d` stands below its key: Linux-HA would say that the key is not found, and not start", p.auth.index)
	}
}

// checkCRC warns of entries that anyone can sign with, whether this node uses them or not.
func (p *keyReader) checkCRC(e *entry) {
	if e.method.hash != nil {
		return
	}
	p.line = p.defined[e.index]
	const hint = "use sha1 with a secret: N sha1 SECRET"
	if p.auth.line > 0 && e.index == p.auth.index {
		p.faults.Addf(p.at(fault.Warning, 0), hint,
			"crc is a checksum, not a signature: anyone who reaches this network can give this pair orders")
	} else {
		p.faults.Addf(p.at(fault.Warning, 0), "delete this line, or "+hint,
			"a crc key accepts what anyone sends, although this node signs with another key")
	}
}

// splitWords splits at blanks.
func splitWords(line string) []word {
	var words []word
	for i := 0; i < len(line); {
		if isBlank(line[i]) {
			i++
			continue
		}
		start := i
		for i < len(line) && !isBlank(line[i]) {
			i++
		}
		words = append(words, word{line[start:i], start + 1})
	}
	return words
}

// isBlank is C's isspace: a carriage return is a blank, so a file with DOS line ends reads alike.
func isBlank(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// isConflictMarker recognises what version control leaves behind.
func isConflictMarker(w string) bool {
	return strings.HasPrefix(w, "<<<<<<<") || strings.HasPrefix(w, ">>>>>>>") || w == "======="
}

// leadingIndex reads the digits at the front of w; ok is false when there are none or they exceed MaxIndex.
func leadingIndex(w string) (index int, tail string, ok bool) {
	tail = strings.TrimLeft(w, "0123456789")
	digits := strings.TrimLeft(w[:len(w)-len(tail)], "0")
	for _, d := range digits {
		index = min(index*10+int(d-'0'), MaxIndex+1)
	}
	return index, tail, len(tail) < len(w) && index <= MaxIndex
}

// brief is a word short enough to quote, which is also too short to give a secret away.
func brief(w string) string {
	if len(w) > 8 {
		return strings.ToValidUTF8(w[:8], "") + "…"
	}
	return w
}
