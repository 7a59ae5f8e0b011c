package wire

import (
	"fmt"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
)

// shortSecret is the length in bytes below which a secret can be guessed from one recorded frame.
const shortSecret = 12

// stockSecrets are those of the shipped examples, the guides and the field, in lower case and without quotes.
var stockSecrets = []string{
	"changeme", "ha", "heartbeat", "hello", "hello!", "hi!", "key", "linux-ha", "linuxha", "mykey", "mypassword", "mysecret",
	"password", "redhat", "root", "secret", "secretkey", "somerandomstring", "supersecret", "test", "testing", "yourpassword",
	"thisisasamplekeyanythingalphanumericisgoodhere", "47e9336850f1db6fa58bc470bc9b7810eb397f04",
}

// readEntry takes `INDEX METHOD [SECRET]`.
func (p *keyReader) readEntry(words []word) {
	first, rest := words[0], words[1:]
	index, glued, ok := leadingIndex(first.text)
	if !ok {
		p.broken = true
		p.refuseIndex(first)
		return
	}
	if glued != "" {
		rest = append([]word{{glued, first.col + len(first.text) - len(glued)}}, rest...)
	}
	if len(rest) == 0 {
		p.broken = true
		p.faults.Addf(p.at(fault.Error, first.col), fmt.Sprintf("for example: %d sha1 SECRET", index),
			"key %d has no method and no secret", index)
		return
	}
	m := p.readMethod(rest[0])
	if m == nil {
		p.broken = true
		return
	}
	secret := ""
	if m.hash == nil {
		p.checkNoSecret(rest[1:])
	} else if len(rest) == 1 {
		p.broken = true
		p.faults.Addf(p.at(fault.Error, rest[0].col), fmt.Sprintf("%d %s SECRET", index, m.name),
			"method %s needs a secret", m.name)
		return
	} else {
		secret = rest[1].text
		p.checkSecret(rest[1], rest[2:])
	}
	if p.defined[index] > 0 {
		p.faults.Addf(p.at(fault.Warning, first.col), "delete one of them",
			"key %d stands in line %d already; this one counts", index, p.defined[index])
	}
	p.entries[index], p.defined[index] = newEntry(index, m, secret), p.line
}

// refuseIndex says what is wrong with the first word of a line that is no entry.
func (p *keyReader) refuseIndex(w word) {
	if w.text[0] >= '0' && w.text[0] <= '9' || w.text[0] == '-' || w.text[0] == '+' {
		p.faults.Addf(p.at(fault.Error, w.col), fmt.Sprintf("an index from 0 to %d", MaxIndex), "no key can have this index")
		return
	}
	p.faults.Addf(p.at(fault.Error, w.col), "one of: auth INDEX, INDEX METHOD SECRET",
		"the line begins with neither `auth` nor the index of a key")
}

// readMethod finds the method that w names, or reports why there is none.
func (p *keyReader) readMethod(w word) *method {
	m, exact := findMethod(w.text)
	switch {
	case m != nil && !exact:
		p.faults.Addf(p.at(fault.Warning, w.col), "write "+m.name,
			"Linux-HA knows methods in small letters only and would not start")
	case m != nil && !m.linuxHA:
		p.faults.Addf(p.at(fault.Notice, w.col), "sha1 where the other node runs Linux-HA",
			"Linux-HA does not know %s: both nodes must run hapair", m.name)
	case m == nil:
		p.refuseMethod(w)
	}
	return m
}

// refuseMethod says what was probably meant, without quoting what may be a secret.
func (p *keyReader) refuseMethod(w word) {
	names := methodNames()
	if near := fault.Nearest(w.text, names); near != "" {
		p.faults.Addf(p.at(fault.Error, w.col), "did you mean "+near+"?", "unknown method %q", w.text)
		return
	}
	// The longest name first, so that sha512 is not taken for a shorter one.
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		if len(w.text) > len(name) && strings.EqualFold(w.text[:len(name)], name) {
			p.faults.Addf(p.at(fault.Error, w.col+len(name)), "put a blank after "+name,
				"unknown method: is the secret glued to %s?", name)
			return
		}
	}
	p.faults.Addf(p.at(fault.Error, w.col), "one of: "+strings.Join(methodNames(), ", "), "unknown method")
}

// checkNoSecret warns of words after crc.
func (p *keyReader) checkNoSecret(rest []word) {
	if len(rest) > 0 {
		p.faults.Addf(p.at(fault.Warning, rest[0].col), "delete what follows crc; a comment needs a line of its own",
			"crc uses no secret: the rest is ignored, but Linux-HA takes it for one and would not start")
	}
}

// checkSecret warns of a secret that is not what it looks like, or that others know. The rest of the line is not part of it.
func (p *keyReader) checkSecret(secret word, rest []word) {
	s := secret.text
	bare := strings.ToLower(strings.Trim(s, `"'`))
	const fresh = "take a fresh one, such as the output of: openssl rand -hex 20"
	switch {
	case strings.HasSuffix(s, "(stdin)="):
		p.faults.Addf(p.at(fault.Warning, secret.col), "delete that word and keep the digits, on both nodes at once",
			"the secret is the word `%s`, as on every cluster whose key was made with `openssl` by that recipe: what follows is ignored", s)
		return
	case s[0] == '#':
		p.faults.Addf(p.at(fault.Warning, secret.col), fresh,
			"a # begins no comment here: this word is the secret, as in Linux-HA")
		return
	case slices.Contains(stockSecrets, bare):
		p.faults.Addf(p.at(fault.Warning, secret.col), fresh, "this secret is in examples and guides: everybody knows it")
	case len(s) < shortSecret:
		p.faults.Addf(p.at(fault.Warning, secret.col), fresh,
			"a secret of %d bytes can be guessed from one recorded heartbeat", len(s))
	}
	if s[0] == '"' || s[0] == '\'' {
		p.faults.Addf(p.at(fault.Warning, secret.col), "leave them out, on both nodes at once",
			"the quotes are part of the secret, as in Linux-HA")
	}
	switch {
	case len(rest) == 0:
	case rest[0].text[0] == '#':
		p.faults.Addf(p.at(fault.Notice, rest[0].col), "", "ignored, as in Linux-HA: the secret ends at the blank")
	default:
		p.faults.Addf(p.at(fault.Warning, rest[0].col), "write the secret without blanks, on both nodes at once",
			"the secret ends at the blank, as in Linux-HA: only its first %d bytes count", len(s))
	}
}
