package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// groupTables are [group.NAME].
func (r *tomlReader) groupTables() field {
	var g haresources.Assembled
	var node *entry
	var scoped []*entry
	fields := []field{
		r.text("node", func(e *entry, s string) {
			node, g.Node = e, haresources.Word{Text: s, Line: e.valueAt.line, Col: e.valueAt.col + 1}
		}),
		r.list("resources", func(_ *entry, words []word, places []place) {
			for i, w := range words {
				if r.goodResource(places[i], w.text) {
					g.Resources = append(g.Resources, haresources.Word{Text: w.text, Line: places[i].line, Col: places[i].col})
				}
			}
		}),
	}
	setting := func(scope *string) func(name, value string) {
		return func(name, value string) {
			if *scope != "" {
				name += "@" + *scope
			}
			g.Pragmas[name] = value
		}
	}
	var none, scope string
	var inner []field
	for _, k := range haresources.PragmaKeys() {
		fields = append(fields, r.groupPragma(k, setting(&none)))
		if k.Scoped {
			inner = append(inner, r.groupPragma(k, setting(&scope)))
		}
	}
	fields = append(fields, r.named("group.NAME.resource", inner, func(t *entry) { scoped = append(scoped, t) }))
	return r.named("group", fields, func(t *entry) {
		g, node, scoped = haresources.Assembled{Name: t.key, Line: t.at.line, Pragmas: map[string]string{}}, nil, nil
		r.table(t, fields)
		for _, s := range scoped {
			scope = s.key
			r.table(s, inner)
		}
		if !r.required(t, "node", "resources") || node == nil || !r.goodGroup(t, g) {
			return
		}
		if len(g.Pragmas) == 0 {
			g.Pragmas = nil
		}
		r.scopes(g, scoped)
		r.groups = append(r.groups, g)
	})
}

// goodGroup complains of a group that cannot be.
func (r *tomlReader) goodGroup(t *entry, g haresources.Assembled) bool {
	switch {
	case t.key == "" || strings.ContainsAny(t.key, " \t#\\") || strings.IndexFunc(t.key, func(c rune) bool { return c < ' ' || c == 0x7f }) >= 0:
		r.failAt(t.at, "one word", "%s cannot be the name of a group", quote(t.key))
		return false
	case len(g.Resources) == 0:
		if e := t.get("resources"); e != nil && len(e.itemsAt) == 0 {
			r.failAt(e.valueAt, `write resources = ["10.0.0.100/24/eth0", "nginx"]`, "the group %s has no resources", quote(t.key))
		}
		return false
	}
	return true
}

// goodResource refuses what cannot be one word of haresources, which scripts and the other node rely on.
func (r *tomlReader) goodResource(at place, text string) bool {
	if i := strings.IndexFunc(text, func(c rune) bool { return c <= ' ' || c == '#' || c == '\\' || c == 0x7f || c == '\u00a0' }); i >= 0 {
		r.failAt(place{at.line, at.col + i}, `one resource each: ["10.0.0.100/24/eth0", "nginx"]; arguments follow double colons`,
			"%s: a resource holds neither blanks nor # nor backslashes", quote(text))
		return false
	}
	return true
}

// scopes complains of settings for resources that the group does not have.
func (r *tomlReader) scopes(g haresources.Assembled, scoped []*entry) {
	for _, s := range scoped {
		var names []string
		for _, w := range g.Resources {
			name, _, _ := strings.Cut(w.Text, "::")
			names = append(names, w.Text, name[strings.IndexByte(name, ':')+1:])
		}
		if !haresources.Scopes(s.key, g) {
			hint := "write the resource as in resources, or its script's name"
			if near := fault.Nearest(s.key, names); near != "" {
				hint = "did you mean " + quote(near) + "?"
			}
			r.failAt(s.at, hint, "the group %s has no resource %s", quote(g.Name), quote(s.key))
		}
	}
}

// groupPragma is a field of what haresources says with a pragma. What kind of value it takes is found out by trying some.
func (r *tomlReader) groupPragma(k haresources.PragmaKey, set func(name, value string)) field {
	name := strings.ReplaceAll(k.Name, "-", "_")
	takes := func(value string) bool { return k.Check(value) == nil }
	switch {
	case takes("7") && !takes("7s"):
		return r.number(name, 0, 1<<20, func(_ *entry, n int) { set(k.Name, strconv.Itoa(n)) })
	case !takes("7s"):
		return field{name: name, set: func(e *entry) {
			s, ok := e.value.(string)
			if err := k.Check(s); !ok || err != nil {
				if !ok {
					err = fmt.Errorf("not a text: %s", showValue(e.value))
				}
				r.failAt(e.valueAt.or(e.at), k.Explain, "%s: %v", name, err)
				return
			}
			set(k.Name, s)
		}}
	}
	return field{name: name, set: func(e *entry) {
		if s, isText := e.value.(string); isText && s == "off" && takes(s) {
			set(k.Name, s)
			return
		}
		least := time.Millisecond
		if takes("0") {
			least = 0
		}
		if d, ok := r.readTime(e, least); ok {
			set(k.Name, d.String())
		}
	}}
}

// readGroups makes the table of the groups.
func (r *tomlReader) readGroups() {
	table, faults := haresources.Assemble(r.file, r.groups)
	r.cfg.Table = table
	*r.faults = append(*r.faults, faults...)
}

// checkTable checks the groups against the rest of the file.
func (r *tomlReader) checkTable(l *loader) {
	c := r.cfg
	if len(c.Table.Groups) == 0 && !r.broken && r.faults.Err() == nil {
		r.faults.Addf(r.at(fault.Notice, 0, 0), "write [group.NAME] with node and resources", "no groups: the nodes watch each other and do nothing else")
	}
	for i, g := range c.Table.Groups {
		if len(c.Nodes) > 0 && !slices.Contains(c.Nodes, g.Preferred) {
			at := r.groups[slices.IndexFunc(r.groups, func(a haresources.Assembled) bool { return a.Name == g.Name })].Node
			hint := "one of " + quoteAll(c.Nodes)
			if near := fault.Nearest(g.Preferred, c.Nodes); near != "" {
				hint = "did you mean " + quote(near) + "?"
			}
			r.failAt(place{at.Line, at.Col}, hint, "%s is not among the nodes", quote(g.Preferred))
		}
		l.checkStopFailure(c.Table.Groups[i])
	}
}
