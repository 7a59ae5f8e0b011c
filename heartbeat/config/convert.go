package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
)

// Converted is what Convert made of three files.
type Converted struct {
	Text   []byte     // of heartbeat.toml; nil where there is none
	Left   []string   // lines that have no effect and were left out, with the reason
	Faults fault.List // of the three files
}

// ErrFaults says that files hold errors, which are in the list beside it.
var ErrFaults = errors.New("correct the errors first")

// Convert says in the language of heartbeat.toml what the ha.cf and haresources of a directory say, and proves it: what both mean is
// compared field by field, as each of the nodes sees it. authkeys stays as it is. The error is ErrFaults where the files hold errors, a
// *DifferenceError where the two do not mean the same.
func Convert(dir string) (Converted, error) {
	if _, err := os.Lstat(filepath.Join(dir, tomlFile)); err == nil {
		if _, err := os.Lstat(filepath.Join(dir, classicFile)); err != nil {
			return Converted{}, fmt.Errorf("%s is there already, and no %s to convert", filepath.Join(dir, tomlFile), classicFile)
		}
	}
	c, faults := loadClassic(dir, "")
	if err := relevant(faults, c); err != nil {
		return Converted{Faults: faults}, fmt.Errorf("convert %s: %w", dir, ErrFaults)
	}
	o, err := readOriginal(c)
	if err != nil {
		return Converted{}, err
	}
	w := &tomlWriter{c: c, given: o.given, above: o.above, trail: o.trail}
	w.b.WriteString(o.header())
	w.write()
	text := o.footer(w.b.String())
	out := Converted{Text: []byte(text), Left: o.left, Faults: faults}
	for _, n := range c.Nodes {
		want, _ := loadClassic(dir, n)
		got, faults := readTOML(dir, n, out.Text)
		if err := faults.Err(); err != nil {
			return Converted{Faults: faults}, fmt.Errorf("what %s says cannot be said in %s: %w", classicFile, tomlFile, err)
		}
		if d := Differences(want, got); len(d) > 0 {
			return Converted{Faults: faults}, &DifferenceError{Node: n, Differences: d}
		}
	}
	return out, nil
}

// DifferenceError says in what a conversion does not mean the same as its source.
type DifferenceError struct {
	Node        string // as which the files were read
	Differences []string
}

// Error names all of them.
func (e *DifferenceError) Error() string {
	return fmt.Sprintf("the two would not mean the same on %s, so nothing was written: %s", e.Node, strings.Join(e.Differences, "; "))
}

// loadClassic reads the three files as a node of that name, or as this one.
func loadClassic(dir, node string) (*Config, fault.List) {
	l := loader{cfg: &Config{Dir: dir}, node: node}
	l.identify()
	l.loadClassic()
	l.faults.Sort()
	return l.cfg, l.faults
}

// relevant are the errors that make a conversion impossible: not those of authkeys, which stays as it is, nor that this machine is none of
// the nodes.
func relevant(faults fault.List, c *Config) error {
	keys := filepath.Join(c.Dir, authkeysFile)
	return slices.DeleteFunc(slices.Clone(faults), func(f fault.Fault) bool {
		return f.File == keys || strings.HasPrefix(f.Message, "this node is ")
	}).Err()
}

// readTOML reads a text as the heartbeat.toml of a directory, without looking at authkeys.
func readTOML(dir, node string, text []byte) (*Config, fault.List) {
	l := loader{cfg: &Config{Dir: dir}, node: node}
	l.identify()
	l.cfg.File = filepath.Join(dir, tomlFile)
	r := parseTOML(l.cfg, l.cfg.File, text, &l.faults)
	if !r.broken {
		r.crossCheck()
		r.checkTable(&l)
		r.checkWatchdog()
	}
	l.faults.Sort()
	return l.cfg, l.faults
}

// original is the text of ha.cf and haresources: where directives stand, and the comments. Lines of haresources are counted below zero.
type original struct {
	given    map[string]given // the last line of each directive
	comments map[int][]string // above a line
	trails   map[int]string   // behind what stands on a line
	top      []string         // the first comment, where a blank line ends it
	ends     [2][]string
	left     []string
}

// readOriginal reads the texts again, for what a Config does not keep.
func readOriginal(c *Config) (*original, error) {
	o := &original{given: map[string]given{}, comments: map[int][]string{}, trails: map[int]string{}}
	main, err := os.ReadFile(c.File)
	if err != nil {
		return nil, fmt.Errorf("read the comments: %w", err)
	}
	table, err := os.ReadFile(filepath.Join(c.Dir, "haresources"))
	if err != nil {
		return nil, fmt.Errorf("read the comments: %w", err)
	}
	o.directives(main)
	o.scan(main, 1)
	o.scan(table, -1)
	return o, nil
}

// directives finds where each directive stands, and those that have no effect.
func (o *original) directives(text []byte) {
	l := lexer{file: classicFile, faults: new(fault.List)}
	rows := directives()
	l.each(text, func(s statement) {
		name := strings.ToLower(s.name.text)
		if alias := aliases[name]; alias != "" {
			name = alias
		}
		if len(s.words) == 0 {
			return
		}
		o.given[name] = given{line: s.line, text: s.rest.text}
		if name == "respawn" && len(s.words) > 1 && strings.HasSuffix(s.words[1].text, "/ipfail") {
			o.given["ipfail"] = given{line: s.line}
		}
		i := slices.IndexFunc(rows, func(d directive) bool { return d.name == name })
		if why := without[name]; i >= 0 && (rows[i].without != "" || why != "") {
			if why == "" {
				why = rows[i].without
			}
			o.left = append(o.left, fmt.Sprintf("%s %s (%s)", s.name.text, s.rest.text, why))
		}
	}, func(int, word) {})
}

// without says why what these directives say is not in heartbeat.toml, besides those that have no effect anyway.
var without = map[string]string{
	"use_logd": "there is no ha_logd here", "autojoin": "a pair has exactly two nodes, both named", "pacemaker": "the groups are always used", "crm": "the groups are always used",
	"hbaping": "there is no such link here", "rds": "there is no such link here", "tipc": "there is no such link here", "openais": "there is no such link here",
}

// scan finds the comments of a text; sign is that of its line numbers.
func (o *original) scan(text []byte, sign int) {
	var above []string
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	number, first, joined := 0, sign > 0, false
	for line := range strings.Lines(string(text)) {
		number++
		body, comment, has := strings.Cut(strings.TrimRight(line, "\r\n"), "#")
		comment = strings.TrimRight(cleanComment("#"+comment), " \t")
		pragma := has && strings.HasPrefix(comment, pragmaMark)
		switch blank := strings.TrimSpace(body) == ""; {
		case blank && !has:
			if first && len(above) > 0 {
				o.top, above = above, nil
			}
			first = first && len(above) == 0 && o.top == nil
		case blank && !pragma:
			above = append(above, comment)
		default:
			at := number * sign
			if !joined {
				o.comments[at], above = above, nil
			}
			if has && !pragma {
				o.trails[at] = comment
			}
			first = false
			joined = strings.HasSuffix(strings.TrimRight(body, " \t"), `\`)
		}
	}
	o.ends[map[bool]int{true: 0, false: 1}[sign > 0]] = above
}

// cleanComment is a comment without what TOML refuses in one.
func cleanComment(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\t' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}

// above are the comments above a line, handed out once.
func (o *original) above(line int) []string {
	defer delete(o.comments, line)
	return o.comments[line]
}

// trail is the comment behind a line, handed out once.
func (o *original) trail(line int) string {
	defer delete(o.trails, line)
	return o.trails[line]
}

// header is the comment at the top of ha.cf.
func (o *original) header() string {
	if len(o.top) == 0 {
		return ""
	}
	return strings.Join(o.top, "\n") + "\n\n"
}

// footer appends the comments that belonged to nothing that is in the text.
func (o *original) footer(text string) string {
	var rest []string
	collect := func(sign int) {
		var lines []int
		for line := range o.comments {
			lines = append(lines, line)
		}
		for line := range o.trails {
			if _, both := o.comments[line]; !both {
				lines = append(lines, line)
			}
		}
		slices.SortFunc(lines, func(a, b int) int { return sign * (a - b) })
		for _, line := range lines {
			if line*sign > 0 {
				rest = append(rest, o.comments[line]...)
				if t := o.trails[line]; t != "" {
					rest = append(rest, t)
				}
			}
		}
	}
	collect(1)
	rest = append(rest, o.ends[0]...)
	collect(-1)
	rest = append(rest, o.ends[1]...)
	for i := range rest {
		rest[i] += "\n"
	}
	if len(rest) > 0 {
		text += "\n# Comments of the three files that belonged to nothing above:\n" + strings.Join(rest, "")
	}
	if len(o.left) > 0 {
		text += "\n# Left out, since it has no effect:\n"
		for _, l := range o.left {
			text += "# " + cleanComment(l) + "\n"
		}
	}
	return text
}
