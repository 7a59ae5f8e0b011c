package haresources

import (
	"maps"
	"slices"
	"strings"
)

// The classes of a resource, as written before its first colon. ClassHeartbeat is the one without a prefix: a script in
// resource.d, or else in init.d, or an address.
const (
	ClassHeartbeat = ""
	ClassLSB       = "lsb"
	ClassOCF       = "ocf"
	ClassSystemd   = "systemd"
)

// Table is a whole haresources file. The zero Table is an empty one.
type Table struct {
	Groups []Group // in the order of the file
	File   string  // for messages
}

// Group is one logical line of the file: resources that live and move together.
type Group struct {
	Name      string            // the first resource as written; unique in a Table
	Preferred string            // the node that runs the group when all is well, in lower case
	Resources []Resource        // at least one; started in this order, stopped in the opposite one
	Pragmas   map[string]string // from `#hapair: key=value …` at the end of the line; nil when there are none
	Line      int               // of the node name, from 1
}

// Resource is one word of a line: what to run, with its arguments.
type Resource struct {
	Spec  string   // as written
	Class string   // one of the Class constants
	Name  string   // the script, agent (provider:type) or unit; IPaddr or IPv6addr for a bare address
	Args  []string // what stood between double colons, without the empty ones
	Line  int      // where the word begins, from 1
	Col   int      // where the word begins, from 1, in bytes
}

// Group returns the group of that name.
func (t Table) Group(name string) (Group, bool) {
	for _, g := range t.Groups {
		if g.Name == name {
			return g, true
		}
	}
	return Group{}, false
}

// String renders the table as a haresources file that parses to the same groups: one line for each, single blanks.
func (t Table) String() string {
	var b strings.Builder
	for _, g := range t.Groups {
		b.WriteString(g.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// String renders the group as one line of a haresources file.
func (g Group) String() string {
	words := []string{g.Preferred}
	for _, r := range g.Resources {
		words = append(words, r.Spec)
	}
	if len(g.Pragmas) > 0 {
		words = append(words, PragmaMark)
		for _, key := range slices.Sorted(maps.Keys(g.Pragmas)) {
			words = append(words, key+"="+g.Pragmas[key])
		}
	}
	return strings.Join(words, " ")
}

// Same says whether two resources are the same thing to run, wherever they stand and however they are spelled.
func (r Resource) Same(other Resource) bool {
	return r.Class == other.Class && r.Name == other.Name && slices.Equal(r.Args, other.Args)
}
