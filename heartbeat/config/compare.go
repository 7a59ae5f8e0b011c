package config

import (
	"cmp"
	"fmt"
	"slices"

	"hapair/heartbeat/fault"
	"hapair/heartbeat/wire"
)

// Missing is the Value of a script that is not there.
const Missing = "missing"

// Told is an Item as it is told to the other node: what must not be shown is a digest, made with a key of both.
type Told struct {
	Part   string `json:"p"`
	Key    string `json:"k"`
	Line   int    `json:"l,omitempty"`
	Value  string `json:"v,omitempty"` // of an open item
	Digest string `json:"d,omitempty"` // of all others
}

// Tell makes what can be told of items; index names the key, which both nodes must have.
func Tell(items []Item, keys *wire.Keys, index int) []Told {
	list := make([]Told, len(items))
	for i, it := range items {
		list[i] = Told{Part: it.Part, Key: it.Key, Line: it.Line}
		if it.Open {
			list[i].Value = it.Value
		} else {
			list[i].Digest = keys.Digest(index, []byte(it.Part+"\x00"+it.Key+"\x00"+it.Value))[:8]
		}
	}
	return list
}

// Side is what one node tells, with what its files are called.
type Side struct {
	Node  string            `json:"node"`
	Files map[string]string `json:"files"` // by part
	Items []Told            `json:"items"`
}

// NewSide is what this node tells. index names the key that digests are made with.
func NewSide(c *Config, items []Item, index int) Side {
	s := Side{Node: c.Node, Files: map[string]string{}, Items: Tell(items, c.Keys, index)}
	for _, part := range []string{PartMain, PartGroups, PartKeys, PartScripts} {
		s.Files[part] = c.FileOf(part)
	}
	return s
}

// place is where an item stands on a side: FILE:LINE, or as much of it as there is.
func (s Side) place(part string, line int) string {
	if line == 0 {
		return s.Files[part]
	}
	return fmt.Sprintf("%s:%d", s.Files[part], line)
}

// Compare says what is not the same on both sides, placed in the files of mine. Empty where all is the same.
func Compare(mine, theirs Side) (list fault.List) {
	type name struct{ part, key string }
	other := map[name]Told{}
	for _, t := range theirs.Items {
		other[name{t.Part, t.Key}] = t
	}
	for _, m := range mine.Items {
		t, both := other[name{m.Part, m.Key}]
		delete(other, name{m.Part, m.Key})
		switch {
		case !both:
			list = append(list, onlyHere(mine, theirs, m))
		case m.Part == PartMain && m.Line == 0 && t.Line == 0 && m.Value != "":
			// nobody wrote it: it follows from what was
		case m.Value != t.Value || m.Digest != t.Digest:
			list = append(list, unlike(mine, theirs, m, t))
		}
	}
	var rest []Told
	for _, t := range theirs.Items {
		if _, only := other[name{t.Part, t.Key}]; only {
			rest = append(rest, t)
		}
	}
	for _, t := range rest {
		list = append(list, onlyThere(mine, theirs, t))
	}
	slices.SortStableFunc(list, func(a, b fault.Fault) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.File, b.File), cmp.Compare(uint(a.Line-1), uint(b.Line-1))) // without a line last
	})
	return list
}

// noun says what an item is.
func noun(t Told) string {
	switch t.Part {
	case PartGroups:
		return "the group " + t.Key
	case PartScripts:
		return "the script " + t.Key
	}
	return t.Key
}

// at is a fault at an item's place in this node's files.
func (s Side) at(t Told, severity fault.Severity) fault.Fault {
	return fault.Fault{File: s.Files[t.Part], Line: t.Line, Severity: severity}
}

// remedy says how to make both sides the same.
func remedy(part, node, file string) string {
	switch part {
	case PartScripts:
		return "install the same version on both nodes"
	case PartKeys:
		return "heartbeat key shows how to bring a new key to both nodes; or copy authkeys to the other one, then heartbeat reload there"
	case PartProgram:
		return "install the same version on both nodes, then heartbeat upgrade"
	}
	return fmt.Sprintf("decide which is right, copy %s to the other node, and run heartbeat reload on both", file)
}

// onlyHere is an item that the other side has not got.
func onlyHere(mine, theirs Side, m Told) fault.Fault {
	severity := fault.Warning
	switch m.Part {
	case PartKeys:
		severity = fault.Notice // as while a key is changed
	case PartGroups:
		severity = fault.Error // nobody takes it over
	}
	f := mine.at(m, severity)
	f.Message = fmt.Sprintf("%s is not in %s's %s", noun(m), theirs.Node, theirs.Files[m.Part])
	if m.Part == PartScripts {
		f.Message = fmt.Sprintf("%s is used here only, not on %s", noun(m), theirs.Node)
	}
	f.Hint = remedy(m.Part, theirs.Node, mine.Files[m.Part])
	return f
}

// onlyThere is an item that this side has not got.
func onlyThere(mine, theirs Side, t Told) fault.Fault {
	severity := fault.Warning
	switch t.Part {
	case PartKeys:
		severity = fault.Notice
	case PartGroups:
		severity = fault.Error
	}
	f := mine.at(Told{Part: t.Part}, severity)
	f.Message = fmt.Sprintf("%s, which %s has (%s), is missing here", noun(t), theirs.Node, theirs.place(t.Part, t.Line))
	f.Hint = remedy(t.Part, theirs.Node, theirs.Files[t.Part])
	return f
}

// unlike is an item that both sides have, each in its own way.
func unlike(mine, theirs Side, m, t Told) fault.Fault {
	f := mine.at(m, fault.Warning)
	there := theirs.place(t.Part, t.Line)
	f.Hint = remedy(m.Part, theirs.Node, mine.Files[m.Part])
	switch {
	case m.Part == PartScripts && m.Value == Missing:
		f.Severity = fault.Error
		f.Message = fmt.Sprintf("%s is missing here, and is there on %s", noun(m), theirs.Node)
		f.Hint = "install it here too: a takeover would fail for want of it"
	case m.Part == PartScripts && t.Value == Missing:
		f.Severity = fault.Error
		f.Message = fmt.Sprintf("%s is missing on %s, and is there here", noun(m), theirs.Node)
		f.Hint = "install it there too: a takeover would fail for want of it"
	case m.Part == PartKeys && m.Key == "auth":
		f.Severity = fault.Notice
		f.Message = fmt.Sprintf("this node signs with key %s, %s with key %s", m.Value, theirs.Node, t.Value)
	case m.Part == PartProgram:
		f.Severity = fault.Notice
		f.Message = fmt.Sprintf("%s is %s here and %s on %s", m.Key, m.Value, t.Value, theirs.Node)
	case m.Value != "" && t.Value != "":
		f.Message = fmt.Sprintf("%s is %s here and %s on %s (%s)", m.Key, m.Value, t.Value, theirs.Node, there)
	case there != "":
		f.Message = fmt.Sprintf("%s differs from %s's (%s)", noun(m), theirs.Node, there)
	default:
		f.Message = fmt.Sprintf("%s differs from %s's", noun(m), theirs.Node)
	}
	return f
}
