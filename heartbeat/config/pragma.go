package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// PragmaKey is one key that may stand in a `#hapair:` comment of ha.cf.
type PragmaKey struct {
	Name    string
	Kind    string // of its value: "time", "number", or the words that it may be
	Default string
	Explain string // for `heartbeat check`

	set        func(c *Config, value string) bool // false: not such a value
	hint       string                             // what would be one
	repeatedly bool                               // it belongs to the lines below it, and may stand again before others
}

// PragmaKeys are all keys known in ha.cf. Those of haresources lines are haresources.PragmaKeys.
func PragmaKeys() []PragmaKey { return pragmaKeys() }

// pragmaKeys is the table; a key stands in it only where it has an effect.
func pragmaKeys() []PragmaKey {
	return append([]PragmaKey{
		timePragma("failback-delay", "10s", "how long the preferred node must be back and stable before it gets its resources again",
			func(c *Config) *time.Duration { return &c.FailbackDelay }),
		timePragma("retry-failed", "10m", "how long a node on which a group failed is not offered it again",
			func(c *Config) *time.Duration { return &c.RetryFailed }),
		timePragma("hook-timeout", "10s", "how long a hook script may run before it is ended",
			func(c *Config) *time.Duration { return &c.HookTimeout }),
		wordPragma("mirror", "whether heartbeats also go by way of the default gateway and the ping targets",
			func(c *Config) *string { return &c.Mirror }, "on", "off"),
		wordPragma("lease", "whether the kernel ends the right to answer for the addresses when heartbeats stop, and of a router pair the right to forward; addresses: not the latter",
			func(c *Config) *string { return &c.Lease }, "on", "off", "addresses"),
		{Name: "metrics", Kind: "place", Default: "off", hint: "127.0.0.1:9694, [::1]:9694, unix:/run/heartbeat/metrics, or off; other addresses than this machine's own are for a proxy to listen on",
			Explain: "where this node tells Prometheus how it is, and shows a status page: a port of 127.0.0.1 or ::1, or a Unix socket",
			set: func(c *Config, value string) bool {
				place, ok := parsePlace(value)
				c.Metrics = place
				return ok
			}},
	}, append(watchPragmas(), fencePragmas()...)...)
}

// timePragma is a key whose value is a time.
func timePragma(name, standard, explain string, field func(*Config) *time.Duration) PragmaKey {
	return PragmaKey{Name: name, Kind: "time", Default: standard, Explain: explain, hint: "a time: 10, 1.5, 500ms, 2m",
		set: func(c *Config, value string) bool {
			d, err := haresources.ParseDuration(value)
			if err == nil && d <= longest {
				*field(c) = d
				return true
			}
			return false
		}}
}

// wordPragma is a key whose value is one of a few words, the first being the default.
func wordPragma(name, explain string, field func(*Config) *string, words ...string) PragmaKey {
	return PragmaKey{Name: name, Kind: strings.Join(words, "|"), Default: words[0], Explain: explain, hint: strings.Join(words, ", "),
		set: func(c *Config, value string) bool {
			if slices.Contains(words, value) {
				*field(c) = value
				return true
			}
			return false
		}}
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
		if !k.set(p.cfg, value) {
			p.error(at, k.hint, "pragma %s=%s: not %s", key, quote(value), k.article())
			return
		}
		if line, again := p.named["pragma "+key]; again && !k.repeatedly {
			p.warn(at, "keep one of the two", "pragma %s also stands on line %d: the last one counts", key, line)
		}
		p.named["pragma "+key] = p.now.line
		p.cfg.Pragmas = append(p.cfg.Pragmas, Pragma{key, value, p.now.line})
		standard := ""
		if k.Default != "" {
			standard = " (default " + k.Default + ")"
		}
		p.notice(at, "", "pragma %s=%s: %s%s; Linux-HA ignores it", key, value, k.Explain, standard)
		return
	}
	p.warn(at, pragmaHint(key), "pragma %s is not known and has no effect", quote(key))
}

// parsePlace reads where the metrics are told: "" for off.
func parsePlace(value string) (string, bool) {
	if value == "off" {
		return "", true
	}
	if path, unix := strings.CutPrefix(value, "unix:"); unix {
		return value, filepath.IsAbs(path) && len(path) < maxSocketPath
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return "", false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || number == 0 || !addr.IsLoopback() {
		return "", false
	}
	return netip.AddrPortFrom(addr, uint16(number)).String(), true
}

// maxSocketPath is from what length on the kernel refuses the path of a Unix socket.
const maxSocketPath = 108

// article is the kind of value in a sentence.
func (k PragmaKey) article() string {
	if strings.Contains(k.Kind, "|") {
		return "one of its words"
	}
	return "a " + k.Kind
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
