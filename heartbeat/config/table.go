package config

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// doubleHeld are resources that two nodes destroy when both have them.
var doubleHeld = []string{"Filesystem", "drbddisk", "drbdupper", "LVM", "LVM-activate", "Raid1"}

// PrefersSafety says whether a group would rather stay down than run twice: where its pragma prefer says so, else where it
// holds a mount or the like.
func PrefersSafety(g haresources.Group) bool {
	switch g.Pragmas["prefer"] {
	case "safety":
		return true
	case "availability":
		return false
	}
	return slices.ContainsFunc(g.Resources, func(r haresources.Resource) bool {
		name := r.Name[strings.LastIndex(r.Name, ":")+1:]
		return r.Class != haresources.ClassSystemd && slices.Contains(doubleHeld, name)
	})
}

// checkTable checks haresources against ha.cf.
func (l *loader) checkTable() {
	c := l.cfg
	if slices.Contains(c.Unread, c.Table.File) {
		return
	}
	if len(c.Table.Groups) == 0 && !slices.ContainsFunc(l.faults, func(f fault.Fault) bool { return f.File == c.Table.File && f.Severity == fault.Error }) {
		l.faults.Addf(fault.Fault{File: c.Table.File, Severity: fault.Notice}, "write NODE RESOURCE [RESOURCE …]", "no resources: the nodes watch each other and do nothing else")
	}
	for _, g := range c.Table.Groups {
		if len(c.Nodes) > 0 && !slices.Contains(c.Nodes, g.Preferred) {
			l.faults.Addf(fault.Fault{File: c.Table.File, Line: g.Line, Col: l.column(g.Line), Severity: fault.Error}, l.ownerHint(g.Preferred),
				"%s is not among the nodes of ha.cf: %s", quote(g.Preferred), strings.Join(c.Nodes, ", "))
		}
		for _, r := range g.Resources {
			if r.Class != haresources.ClassHeartbeat {
				at := fault.Fault{File: c.Table.File, Line: r.Line, Col: r.Col, Severity: fault.Notice}
				l.faults.Addf(at, "", "Linux-HA cannot run resources of the class %s: both nodes need hapair", r.Class)
			}
		}
		l.explain(g)
		l.checkStopFailure(g)
	}
}

// column is where the first word of a line of haresources begins, 0 where that is not known.
func (l *loader) column(line int) int {
	for text := range bytes.Lines(l.table) {
		if line--; line == 0 {
			return 1 + skipBlanks(text, 0)
		}
	}
	return 0
}

// ownerHint finds what the first word of a line was meant to be.
func (l *loader) ownerHint(owner string) string {
	for _, n := range l.cfg.Nodes {
		if rest, found := strings.CutPrefix(owner, n); found && rest != "" && !strings.HasPrefix(rest, ".") && !strings.HasPrefix(rest, "-") {
			return fmt.Sprintf("a blank missing? write %s %s", n, rest)
		}
		if strings.HasPrefix(n, owner+".") || strings.HasPrefix(owner, n+".") {
			return "did you mean " + n + "?"
		}
	}
	if near := fault.Nearest(owner, l.cfg.Nodes); near != "" {
		return "did you mean " + near + "?"
	}
	return "the first word of a line is a node; a line that ends in a backslash is continued, a comment begins with #"
}

// addressOf is the address that a resource puts on an interface.
func addressOf(r haresources.Resource) (netip.Addr, bool) {
	if r.Class != haresources.ClassHeartbeat || !slices.Contains([]string{"IPaddr", "IPaddr2", "IPv6addr"}, r.Name) || len(r.Args) == 0 {
		return netip.Addr{}, false
	}
	head, _, _ := strings.Cut(r.Args[0], "/")
	a, err := netip.ParseAddr(head)
	return a, err == nil
}

// explain says what the pragmas of a group do.
func (l *loader) explain(g haresources.Group) {
	at := fault.Fault{File: l.cfg.Table.File, Line: g.Line, Severity: fault.Notice}
	for _, k := range haresources.PragmaKeys() {
		for key, value := range sortedPragmas(g.Pragmas) {
			name, scope, scoped := strings.Cut(key, "@")
			if name != k.Name {
				continue
			}
			of := "of this group"
			if scoped {
				of = "of " + scope
			}
			l.faults.Addf(at, "", "pragma %s=%s %s: %s; Linux-HA ignores it", key, value, of, k.Explain)
		}
	}
}

// sortedPragmas goes through pragmas in the order of their keys.
func sortedPragmas(pragmas map[string]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, key := range slices.Sorted(maps.Keys(pragmas)) {
			if !yield(key, pragmas[key]) {
				return
			}
		}
	}
}
