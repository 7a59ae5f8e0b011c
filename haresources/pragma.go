package haresources

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/fault"
)

// PragmaMark begins a comment that Linux-HA ignores and this program reads: `#hapair: key=value …` at the end of a line.
const PragmaMark = "#hapair:"

// PragmaKey is one key that may stand in a pragma.
type PragmaKey struct {
	Name    string
	Scoped  bool                     // may be followed by @RESOURCE to mean one resource of the line
	Check   func(value string) error // nil accepts everything
	Explain string                   // for `heartbeat check`
}

// The pragma keys of haresources lines.
const (
	PragmaStart     = "start-timeout"
	PragmaStop      = "stop-timeout"
	PragmaStatus    = "status-timeout"
	PragmaRetries   = "stop-retries"
	PragmaRetryWait = "stop-retry-delay"
	PragmaRefresh   = "announce-refresh"
	PragmaProbe     = "duplicate-probe"
	PragmaPrefer    = "prefer"

	PragmaMonitor         = "monitor-interval"
	PragmaMonitorRestarts = "monitor-restarts"
	PragmaMonitorWindow   = "monitor-window"
	PragmaRestartWith     = "restart-with"
	PragmaStopFailure     = "on-stop-failure"
)

// PragmaKeys are all keys known in haresources.
func PragmaKeys() []PragmaKey {
	return []PragmaKey{
		{PragmaStart, true, checkDuration, "how long a start may take before it counts as failed"},
		{PragmaStop, true, checkDuration, "how long a stop may take before it counts as failed"},
		{PragmaStatus, true, checkDuration, "how long a status query may take before it counts as failed"},
		{PragmaRetries, false, checkCount, "how often a failed stop is tried again (default 10; 0 = for ever); one that exceeded its time-out is tried again once"},
		{PragmaRetryWait, false, checkDuration, "the pause before a failed stop is tried again (default 1s)"},
		{PragmaPrefer, false, checkPrefer, "whether the group would rather be down than run twice (safety) or run twice than be down (availability)"},
		{PragmaMonitor, true, checkMonitor, "how often a held resource is examined (default 10s for what has a status; 0 or off = never)"},
		{PragmaMonitorRestarts, true, checkCount, "how often a resource that failed is restarted in place before its group goes to the other node (default 3; 0 = at once)"},
		{PragmaMonitorWindow, true, checkDuration, "the time within which monitor-restarts are counted (default 10m)"},
		{PragmaRestartWith, true, oneOf("alone", "right"), "whether a resource that failed is restarted alone, or with all that stands right of it (default: right for mounts and the like)"},
		{PragmaStopFailure, false, oneOf(StopFenceSelf, StopBlock, StopIgnore), "what happens when a stop failed for good: fence-self resets this machine so that the other " +
			"node may take over, block leaves the group here for a person, ignore takes it for stopped (default: fence-self where there is a watchdog or fencing device, else block)"},
		{PragmaRefresh, true, checkRefresh, "how often a held address is announced again (default 60s; off)"},
		{PragmaProbe, true, checkProbe, "how long to ask whether another machine has the address before it is added; if one has, the start fails (default off; 20ms is enough on a local network)"},
	}
}

// ParseDuration reads a time as ha.cf writes it: 10 (seconds), 1.5, 500ms, 2m, 100us.
func ParseDuration(s string) (time.Duration, error) {
	text := s
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("not a time: %s", quote(s))
	}
	return d, nil
}

func checkDuration(s string) error {
	d, err := ParseDuration(s)
	if err == nil && d == 0 {
		return errors.New("a time of zero")
	}
	return err
}

func checkRefresh(s string) error {
	if s == "off" {
		return nil
	}
	return checkDuration(s)
}

// mostProbe bounds duplicate-probe: nobody is served meanwhile.
const mostProbe = 2 * time.Second

func checkProbe(s string) error {
	if s == "off" {
		return nil
	}
	if err := checkDuration(s); err != nil {
		return err
	}
	if d, _ := ParseDuration(s); d > mostProbe {
		return fmt.Errorf("longer than %v, in which nobody is served: %s", mostProbe, quote(s))
	}
	return nil
}

func checkPrefer(s string) error {
	if s != "safety" && s != "availability" {
		return fmt.Errorf("neither safety nor availability: %s", quote(s))
	}
	return nil
}

// What on-stop-failure can say.
const (
	StopFenceSelf = "fence-self"
	StopBlock     = "block"
	StopIgnore    = "ignore"
)

func checkMonitor(s string) error {
	if s == "off" {
		return nil
	}
	_, err := ParseDuration(s)
	return err
}

// oneOf accepts a few words.
func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("none of %s: %s", strings.Join(words, ", "), quote(s))
		}
		return nil
	}
}

func checkCount(s string) error {
	if n, err := strconv.Atoi(s); err != nil || n < 0 {
		return fmt.Errorf("not a number: %s", quote(s))
	}
	return nil
}

// pragma is one key=value with its place.
type pragma struct {
	key, value string
	position
}

// readPragmas reads what follows PragmaMark.
func (p *parser) readPragmas(at position, body string) {
	for len(body) > 0 {
		if isBlank(body[0]) {
			body, at.col = body[1:], at.col+1
			continue
		}
		end := strings.IndexAny(body, " \t\v\f")
		if end < 0 {
			end = len(body)
		}
		key, value, found := strings.Cut(body[:end], "=")
		if !found || key == "" {
			p.add(fault.Error, at, "key=value", "not a pragma: %s", quote(body[:end]))
		} else {
			p.current.pragmas = append(p.current.pragmas, pragma{key, value, at})
		}
		body, at.col = body[end:], at.col+end
	}
}

// setPragma checks a pragma and gives it to its group.
func (p *parser) setPragma(g *Group, pr pragma) {
	name, scope, scoped := strings.Cut(pr.key, "@")
	var names []string
	for _, k := range PragmaKeys() {
		names = append(names, k.Name)
		if k.Name != name {
			continue
		}
		switch err := k.Check(pr.value); {
		case scoped && !k.Scoped:
			p.add(fault.Error, pr.position, name, "pragma %s is for the whole line", quote(name))
		case scoped && !slices.ContainsFunc(g.Resources, func(r Resource) bool { return scopes(scope, r) }):
			p.add(fault.Error, pr.position, "", "pragma for a resource that is not on this line: %s", quote(scope))
		case err != nil:
			p.add(fault.Error, pr.position, "", "pragma %s: %v", quote(pr.key), err)
		}
	}
	if !slices.Contains(names, name) {
		hint := ""
		if near := fault.Nearest(name, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		p.add(fault.Warning, pr.position, hint, "unknown pragma %s", quote(name))
	}
	if g.Pragmas == nil {
		g.Pragmas = map[string]string{}
	}
	if _, twice := g.Pragmas[pr.key]; twice {
		p.add(fault.Warning, pr.position, "", "pragma %s twice: the last one counts", quote(pr.key))
	}
	g.Pragmas[pr.key] = pr.value
}

// scopes says whether the text behind the @ of a pragma means this resource: its name, or the word as written.
func scopes(scope string, r Resource) bool { return scope == r.Name || scope == r.Spec }

// Pragma is the value of a pragma for one resource of the group: the one scoped to it, else the one for the line, else "".
func (g Group) Pragma(key string, r Resource) string {
	for _, scope := range []string{r.Spec, r.Name} {
		if v, found := g.Pragmas[key+"@"+scope]; found {
			return v
		}
	}
	return g.Pragmas[key]
}

// duration is the pragma's value as a time, or otherwise where it is absent.
func (g Group) duration(key string, r Resource, otherwise time.Duration) time.Duration {
	if d, err := ParseDuration(g.Pragma(key, r)); err == nil {
		return d
	}
	return otherwise
}

// count is the pragma's value as a number, or otherwise where it is absent.
func (g Group) count(key string, otherwise int) int {
	if n, err := strconv.Atoi(g.Pragmas[key]); err == nil {
		return n
	}
	return otherwise
}

// countOf is count for a pragma that may be scoped to one resource.
func (g Group) countOf(key string, r Resource, otherwise int) int {
	if n, err := strconv.Atoi(g.Pragma(key, r)); err == nil {
		return n
	}
	return otherwise
}
