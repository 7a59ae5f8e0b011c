package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"hapair/haresources"
)

// Differences says in what two configurations do not mean the same: every field is compared but those that say where something stood.
// Empty where they mean the same.
func Differences(a, b *Config) []string {
	d := differ{}
	d.fields("", reflect.ValueOf(*a), reflect.ValueOf(*b))
	d.levels(a, b)
	d.directives(a, b)
	d.groups(a.Table, b.Table)
	return d.list
}

// differ collects differences.
type differ struct{ list []string }

// notCompared are the fields that say how something was written, not what it means, and those that are compared by their meaning elsewhere.
var notCompared = map[string]bool{
	"Dir": true, "File": true, "Unread": true, "Line": true, "Col": true, "begin": true, "Level": true, "NodeSource": true, "AutoFailbackExplicit": true, "Keys": true,
	"Lines": true, "Pragmas": true, "Directives": true, "Table": true, "Stonith": true, "Stoniths": true, "StonithHosts": true,
}

// add notes one difference.
func (d *differ) add(what string, a, b any) {
	d.list = append(d.list, fmt.Sprintf("%s: %v there, %v here", what, a, b))
}

// fields compares the fields of two structs.
func (d *differ) fields(path string, a, b reflect.Value) {
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		if !notCompared[name] {
			d.values(strings.TrimPrefix(path+"."+name, "."), a.Field(i), b.Field(i))
		}
	}
}

// values compares two values of one type.
func (d *differ) values(path string, a, b reflect.Value) {
	switch {
	case a.Kind() == reflect.Struct:
		d.fields(path, a, b)
	case a.Kind() == reflect.Slice && a.Len() != b.Len():
		d.add(path, a.Interface(), b.Interface())
	case a.Kind() == reflect.Slice:
		for i := range a.Len() {
			d.values(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))
		}
	case !reflect.DeepEqual(a.Interface(), b.Interface()):
		d.add(path, a.Interface(), b.Interface())
	}
}

// levels compares the fencing devices as this node uses them.
func (d *differ) levels(a, b *Config) {
	plain := func(c *Config) (levels [][]Device) {
		for _, l := range c.FencingLevels() {
			l = slices.Clone(l)
			for i := range l {
				l[i].Line, l[i].Level = 0, 0
				l[i].Params = strings.Join(strings.Fields(l[i].Params), " ")
			}
			levels = append(levels, l)
		}
		return levels
	}
	if x, y := plain(a), plain(b); !reflect.DeepEqual(x, y) {
		d.add("fencing", x, y)
	}
}

// groups compares two tables.
func (d *differ) groups(a, b haresources.Table) {
	if len(a.Groups) != len(b.Groups) {
		d.add("groups", len(a.Groups), len(b.Groups))
		return
	}
	for i, g := range a.Groups {
		h := b.Groups[i]
		name := "group " + g.Name
		if g.Name != h.Name || g.Preferred != h.Preferred {
			d.add(name, g.Name+" of "+g.Preferred, h.Name+" of "+h.Preferred)
		}
		same := func(r, s haresources.Resource) bool { return r.Spec == s.Spec && r.Same(s) }
		if !slices.EqualFunc(g.Resources, h.Resources, same) {
			d.add(name, g.String(), h.String())
		}
		for _, key := range sameKeys(g.Pragmas, h.Pragmas) {
			if x, y := g.Pragmas[key], h.Pragmas[key]; pragmaMeaning(key, x) != pragmaMeaning(key, y) {
				d.add(name+" "+key, quote(x), quote(y))
			}
		}
	}
}

// pragmaMeaning is what the value of a group's pragma means; an unknown one means nothing.
func pragmaMeaning(key, value string) string {
	name, _, _ := strings.Cut(key, "@")
	if !slices.ContainsFunc(haresources.PragmaKeys(), func(k haresources.PragmaKey) bool { return k.Name == name }) {
		return ""
	}
	if t, err := haresources.ParseDuration(value); err == nil {
		return t.String()
	}
	return value
}

// directives compares the raw values that scripts see, by what they mean. Those without effect are left out, and those that another one
// replaces.
func (d *differ) directives(a, b *Config) {
	skip := map[string]bool{"nice_failback": true}
	for _, name := range []string{"node", "env", "apiauth", "stonith", "stonith_host", "respawn", "failfast", "serial", "bcast", "ucast", "ucast6", "mcast",
		"mcast6", "ping", "ping6", "ping_group"} {
		skip[name] = true // several lines, of which this is the last one's text: what they mean was compared
	}
	if _, old := a.Directive("nice_failback"); old {
		skip["auto_failback"] = true
	}
	if !slices.ContainsFunc(a.Links, func(l Link) bool { return l.Kind == "serial" }) {
		skip["baud"] = true // the speed of nothing
	}
	for _, row := range directives() {
		if skip[row.name] || row.without != "" || without[row.name] != "" {
			continue
		}
		x, _ := a.Directive(row.name)
		y, _ := b.Directive(row.name)
		if rawMeaning(x) != rawMeaning(y) {
			d.add("the raw value of "+row.name, quote(x), quote(y))
		}
	}
}

// rawMeaning is what the raw value of a directive means.
func rawMeaning(text string) string {
	if t, _, err := parseTime(text); err == nil {
		return t.String()
	}
	if b, ok := parseBool(text); ok {
		return onOff(b)
	}
	return strings.ToLower(strings.Join(strings.Fields(text), " "))
}

// sameKeys lists the keys of two maps, each once.
func sameKeys(a, b map[string]string) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
