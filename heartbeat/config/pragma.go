package config

import (
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// PragmaKey is one key that may stand in a `#hapair:` comment of ha.cf.
type PragmaKey struct {
	Name    string
	Kind    string // of its value: "time"
	Default string
	Explain string // for `heartbeat check`

	set func(*Config, time.Duration)
}

// PragmaKeys are all keys known in ha.cf. Those of haresources lines are haresources.PragmaKeys.
func PragmaKeys() []PragmaKey { return pragmaKeys() }

// pragmaKeys is the table; a key stands in it only where it has an effect.
func pragmaKeys() []PragmaKey {
	return []PragmaKey{
		{"failback-delay", "time", "10s", "how long the preferred node must be back and stable before it gets its resources again",
			func(c *Config, d time.Duration) { c.FailbackDelay = d }},
		{"retry-failed", "time", "10m", "how long a node on which a group failed is not offered it again",
			func(c *Config, d time.Duration) { c.RetryFailed = d }},
		{"hook-timeout", "time", "10s", "how long a hook script may run before it is ended",
			func(c *Config, d time.Duration) { c.HookTimeout = d }},
	}
}

// pragma reads `key=value …` of one comment.
func (p *parser) pragma(line int, text word) {
	p.now = statement{line: line}
	words := fields(text)
	if len(words) == 0 {
		p.warn(text, "write "+pragmaMark+" key=value", "an empty pragma")
	}
	for _, w := range words {
		key, value, found := strings.Cut(w.text, "=")
		if !found || key == "" {
			p.error(w, "write key=value without blanks around the =", "%s is not a pragma", quote(w.text))
			continue
		}
		p.setPragma(w, key, value)
	}
}

// setPragma sets one key and explains it.
func (p *parser) setPragma(at word, key, value string) {
	for _, k := range pragmaKeys() {
		if k.Name != key {
			continue
		}
		d, err := haresources.ParseDuration(value)
		if err != nil || d > longest {
			p.error(at, "a time: 10, 1.5, 500ms, 2m", "pragma %s=%s: not a time", key, quote(value))
			return
		}
		if line, again := p.named["pragma "+key]; again {
			p.warn(at, "keep one of the two", "pragma %s also stands on line %d: the last one counts", key, line)
		}
		p.named["pragma "+key] = p.now.line
		k.set(p.cfg, d)
		p.cfg.Pragmas = append(p.cfg.Pragmas, Pragma{key, value, p.now.line})
		p.notice(at, "", "pragma %s=%s: %s (default %s); Linux-HA ignores it", key, value, k.Explain, k.Default)
		return
	}
	p.warn(at, pragmaHint(key), "pragma %s is not known and has no effect", quote(key))
}

// pragmaHint finds what an unknown pragma was meant to be.
func pragmaHint(key string) string {
	var here []string
	for _, k := range pragmaKeys() {
		here = append(here, k.Name)
	}
	for _, k := range haresources.PragmaKeys() {
		if k.Name == key {
			return "it belongs to the end of a line of haresources"
		}
	}
	if near := fault.Nearest(key, here); near != "" {
		return "did you mean " + near + "?"
	}
	return "known are " + strings.Join(here, ", ")
}
