package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/haresources"
)

// The parts of what both nodes of a pair must have alike.
const (
	PartMain    = "main"   // ha.cf or heartbeat.toml
	PartGroups  = "groups" // haresources, or the groups of heartbeat.toml
	PartKeys    = "authkeys"
	PartScripts = "scripts" // what the groups run: programs and the files that they are given
	PartProgram = "program" // heartbeat itself
)

// Item is one thing that both nodes must have alike, in its effective form: spelling, comments, order and what is a node's own business (its
// interfaces, its peer's address, its log, its watchdog) are not in it.
type Item struct {
	Part  string
	Key   string // what it is, unique in its part
	Line  int    // in the part's file; 0 where it is a default
	Value string // what it says; a secret may be in it unless Open
	Open  bool   // Value may be shown to whoever listens
}

// notePlaces keeps where the parser found what has one value, and where each statement begins.
func (p *parser) notePlaces() {
	lines := map[string]int{}
	for name, g := range p.given {
		lines[name] = g.line
	}
	for _, g := range p.cfg.Pragmas {
		lines[g.Key] = g.Line
	}
	p.cfg.Lines, p.cfg.begin = lines, p.begin
}

// Items lists what of a configuration both nodes must have alike: the parts PartMain, PartGroups and PartKeys.
func (c *Config) Items() []Item {
	list := c.settings()
	list = append(list, c.mediaItems()...)
	for _, g := range c.Table.Groups {
		list = append(list, Item{Part: PartGroups, Key: g.Name, Line: g.Line, Value: groupMeaning(g)})
	}
	if c.Keys != nil {
		index, _ := c.Keys.Signing()
		list = append(list, Item{Part: PartKeys, Key: "auth", Value: strconv.Itoa(index), Open: true})
		for _, m := range c.Keys.Methods() {
			list = append(list, Item{Part: PartKeys, Key: "key " + strconv.Itoa(m.Index), Value: m.Name + " " + c.Keys.Fingerprint(m.Index)})
		}
	}
	return list
}

// FileOf is the base name of the file that a part stands in, "" for what is in no one file.
func (c *Config) FileOf(part string) string {
	switch part {
	case PartMain:
		return filepath.Base(c.File)
	case PartGroups, PartScripts: // a script is named where it is used
		return filepath.Base(c.Table.File)
	case PartKeys:
		return authkeysFile
	}
	return ""
}

// settings are the values of the main file.
func (c *Config) settings() (list []Item) {
	failback := c.AutoFailback
	if failback == FailbackLegacy {
		failback = FailbackOn // between two of ours, and compared between them only
	}
	open := func(name, value string) {
		list = append(list, Item{Part: PartMain, Key: name, Line: c.Lines[name], Value: value, Open: true})
	}
	open("node", strings.Join(slices.Sorted(slices.Values(c.Nodes)), " "))
	for name, d := range map[string]time.Duration{"keepalive": c.Keepalive, "deadtime": c.Deadtime, "warntime": c.Warntime, "initdead": c.Initdead,
		"deadping": c.Deadping, "failback-delay": c.FailbackDelay, "retry-failed": c.RetryFailed, "damping-window": c.DampWindow, "fence-timeout": c.FenceTimeout} {
		open(name, d.String())
	}
	for name, word := range map[string]string{"auto_failback": failback, "lease": orOn(c.Lease), "mirror": orOn(c.Mirror), "fence-action": c.FenceAction,
		"start-policy": c.StartPolicy, "damping-moves": strconv.Itoa(c.DampMoves), "ipfail": onOff(c.IPFail)} {
		open(name, word)
	}
	for _, d := range c.Env {
		list = append(list, Item{Part: PartMain, Key: "env " + d.Name, Value: d.Value})
	}
	for _, k := range c.Checks {
		list = append(list, Item{Part: PartMain, Key: "check " + k.Name, Line: k.Line, Value: k.String(), Open: true})
	}
	client := func(kind string, r Client) {
		list = append(list, Item{Part: PartMain, Key: kind + " " + r.Path, Line: r.Line, Value: r.User + " " + strings.Join(strings.Fields(r.Command), " ")})
	}
	for _, r := range c.Respawn {
		client("respawn", r)
	}
	for _, r := range c.FailFast {
		client("failfast", r)
	}
	for _, h := range c.StonithHosts {
		if h.Host == "*" { // one for a certain node is that node's
			list = append(list, Item{Part: PartMain, Key: "stonith_host * " + h.Type, Line: h.Line, Value: fmt.Sprint(max(h.Level, 1), strings.Fields(h.Params))})
		}
	}
	for _, s := range c.Stoniths {
		list = append(list, Item{Part: PartMain, Key: "stonith " + s.Type, Line: s.Line, Value: strconv.Itoa(max(s.Level, 1)), Open: true})
	}
	slices.SortStableFunc(list, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
	return numbered(list)
}

// mediaItems are the links and ping nodes as far as both ends must agree: what kind, on which port, for which group.
func (c *Config) mediaItems() (list []Item) {
	toward := map[string]bool{} // devices whose ucast links were counted: a file with both nodes' addresses has two for one
	for _, l := range c.Links {
		value := fmt.Sprint("port ", l.Port)
		switch l.Kind {
		case "serial":
			value = fmt.Sprint("baud ", l.Baud)
		case "mcast", "mcast6":
			value += " group " + l.Group
		case "ucast", "ucast6":
			if toward[l.Kind+l.Device] {
				continue
			}
			toward[l.Kind+l.Device] = true
		}
		list = append(list, Item{Part: PartMain, Key: "link " + l.Kind, Line: l.Line, Value: value, Open: true})
	}
	for _, p := range c.Pings {
		list = append(list, Item{Part: PartMain, Key: p.ID, Line: p.Line, Value: strings.Join(slices.Sorted(slices.Values(p.Hosts)), " "), Open: true})
	}
	return numbered(list)
}

// numbered makes keys unique: a second one of a name is called so.
func numbered(list []Item) []Item {
	seen := map[string]int{}
	for i := range list {
		if seen[list[i].Key]++; seen[list[i].Key] > 1 {
			list[i].Key += fmt.Sprintf(" (%d)", seen[list[i].Key])
		}
	}
	return list
}

// groupMeaning is what a line of haresources says, however it is spelled.
func groupMeaning(g haresources.Group) string {
	words := []string{g.Preferred}
	for _, r := range g.Resources {
		words = append(words, fmt.Sprintf("%s %s %q", r.Class, r.Name, r.Args))
	}
	for _, key := range slices.Sorted(maps.Keys(g.Pragmas)) {
		if meaning := pragmaMeaning(key, g.Pragmas[key]); meaning != "" {
			words = append(words, key+"="+meaning)
		}
	}
	return strings.Join(words, "\n")
}

// orOn is the word of a switch that is on where nothing is said.
func orOn(word string) string {
	if word == "" {
		return "on"
	}
	return word
}
