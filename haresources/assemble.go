package haresources

import (
	"slices"

	"hapair/heartbeat/fault"
)

// Word is a piece of a group with its place in a file, line and column from 1, the column in bytes.
type Word struct {
	Text      string
	Line, Col int
}

// Assembled is a group in pieces, as a file of another form than haresources gives it.
type Assembled struct {
	Name      string // unique
	Node      Word
	Resources []Word            // each one word of a line of haresources
	Pragmas   map[string]string // checked by the caller
	Line      int               // where the group begins
}

// Assemble makes a Table of groups, with the same checks and faults as Parse.
func Assemble(name string, groups []Assembled) (Table, fault.List) {
	p := parser{table: Table{File: name}, assembled: true}
	for _, a := range groups {
		words := []word{{a.Node.Text, position{a.Node.Line, a.Node.Col}}}
		for _, w := range a.Resources {
			words = append(words, word{w.Text, position{w.Line, w.Col}})
		}
		before := len(p.table.Groups)
		p.group(words, nil)
		if len(p.table.Groups) > before {
			g := &p.table.Groups[before]
			g.Name, g.Pragmas, g.Line = a.Name, a.Pragmas, a.Line
		}
	}
	p.checkTable()
	p.faults.Sort()
	return p.table, p.faults
}

// Scopes says whether the text behind the @ of a pragma means one of the group's resources: its name, or the word as written.
func Scopes(scope string, a Assembled) bool {
	return slices.ContainsFunc(a.Resources, func(w Word) bool {
		r, _ := new(parser).resource(word{text: w.Text})
		return scopes(scope, r)
	})
}
