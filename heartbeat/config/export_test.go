package config

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// What the tables of tests need of the inside.
var (
	ParseTime = parseTime
	ParseBool = parseBool
	ParseInt  = parseInt
	Show      = show
)

// DirectiveNames are all names of the directive table.
func DirectiveNames() (names []string) {
	for _, d := range directives() {
		names = append(names, d.name)
	}
	return names
}

// Misplaced lists the keys of a TOML document of which the scanner and the library think differently: without a value, or beyond the text.
func Misplaced(text string) (lost []string) {
	root, whole := readDocument(text, func(place, string) {})
	if !whole {
		return nil
	}
	lines := strings.Split(text, "\n")
	inside := func(p place) bool {
		return p.line >= 1 && p.line <= len(lines) && p.col >= 1 && p.col <= len(lines[p.line-1])+1
	}
	var walk func(path string, e *entry)
	walk = func(path string, e *entry) {
		for _, c := range e.entries {
			name := path + "." + c.key
			list, isList := c.value.([]any)
			switch {
			case c.value == nil && !c.table || !inside(c.at) || !c.table && !c.array && !inside(c.valueAt):
				lost = append(lost, name)
			case isList && !c.array && len(list) != len(c.itemsAt):
				lost = append(lost, name+"[]")
			}
			walk(name, c)
		}
	}
	walk("", root)
	values := map[string]any{}
	if _, err := toml.Decode(text, &values); err == nil && countKeys(values) != countEntries(root) {
		lost = append(lost, fmt.Sprintf("%d keys, but %d entries", countKeys(values), countEntries(root)))
	}
	return lost
}

// countKeys counts the keys of a table and of the tables in it.
func countKeys(values map[string]any) (n int) {
	for _, v := range values {
		n++
		if m, ok := v.(map[string]any); ok {
			n += countKeys(m)
		}
	}
	return n
}

// countEntries counts the entries of a table and of the tables in it.
func countEntries(e *entry) (n int) {
	for _, c := range e.entries {
		n++
		n += countEntries(c)
	}
	return n
}
