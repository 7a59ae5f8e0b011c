package rehearsal

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hapair/haresources"
)

// copies writes each node's private /etc/ha.d.
type copies struct {
	pair    *pair
	source  string     // the directory that is rehearsed
	real    bool       // run the scripts of the directory themselves
	failing bool       // the first group ends in a resource that can be told to fail
	fencing *fencePlan // devices of the laboratory; nil for none
	lost    []string   // of heartbeat.toml, which is played as the three files that say the same
}

// harmless are resources that this program has built in and that touch nothing but the network of their own machine, which
// in a rehearsal is nobody else's. Those that linux-ha has too are true.
var harmless = map[string]bool{"Firewall": false, "Route": false, "Rule": false, "VirtualMAC": false, "IPsrcaddr": true, "SendArp": true, "Delay": true}

// played says whether a resource is played by a stand-in on the nodes that have it built in, too.
func (c copies) played(r haresources.Resource) bool {
	if c.real || isAddress(r) {
		return false
	}
	_, ok := harmless[r.Name]
	if ok && r.Name == "Firewall" {
		_, err := findNft()
		ok = err == nil
	}
	return !ok || r.Class != haresources.ClassHeartbeat
}

// failingResource is the script that refuses to start while failMark exists.
const (
	failingResource = "rehearsed-failure"
	failMark        = "rehearsed-failure.mark"
)

// left out of ha.cf in every rehearsal, with the reason that is shown.
var leftOut = map[string]string{
	"stonith":      "no real machine is reset by a rehearsal",
	"stonith_host": "no real machine is reset by a rehearsal",
	"watchdog":     "the machines of a rehearsal have no watchdog",
	"failfast":     "the programs of the real machine are not started by a rehearsal",
	"respawn":      "the programs of the real machine are not started by a rehearsal",
}

// notices says what a rehearsal of these files leaves out or plays.
func (c copies) notices() []string {
	var all []string
	for _, l := range c.lost {
		all = append(all, "left out of heartbeat.toml: "+l)
	}
	text, err := os.ReadFile(filepath.Join(c.source, "ha.cf"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if why := c.omit(line); why != "" && c.fencing != nil && strings.HasPrefix(strings.TrimSpace(line), "stonith") {
			all = append(all, fmt.Sprintf("%s is played by a power switch of the laboratory (%s)", strings.TrimSpace(line), why))
		} else if why != "" {
			all = append(all, fmt.Sprintf("left out of ha.cf: %s (%s)", strings.TrimSpace(line), why))
		}
	}
	for device := range c.pair.alone {
		all = append(all, fmt.Sprintf("ha.cf names one address on %s: taken as that of %s; the copy for %s names the other one", device, c.pair.nodes[1], c.pair.nodes[1]))
	}
	for _, r := range c.pair.scripts {
		if c.played(r) {
			all = append(all, fmt.Sprintf("%s is played by a stand-in that only remembers whether it was started (--scripts real runs the real one)", r.Spec))
		}
	}
	return all
}

// omit is why a line of ha.cf is left out of the copies; "" for one that stays.
func (c copies) omit(line string) string {
	name, rest := directive(line)
	if name == "respawn" && strings.HasSuffix(strings.Fields(rest + " x x")[1], "/ipfail") {
		return ""
	}
	return leftOut[name]
}

// directive splits a line of ha.cf; the name is in lower case, in which the program takes it whatever the file's is.
func directive(line string) (name, rest string) {
	line, _, _ = strings.Cut(line, "#")
	line = strings.TrimSpace(line)
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	return strings.ToLower(line[:i]), strings.TrimSpace(line[i:])
}

// nodeFiles says how one node's files differ from those that are rehearsed.
type nodeFiles struct {
	node     int
	extra    []string // lines to put before everything else in ha.cf
	replaces []string // directives that they replace
	classic  bool     // the node's program has no resource built in: what it lacks is played
	ipfail   string   // where the node has that program; "" for as written
}

// write makes the directory of one node.
func (c copies) write(dir string, n nodeFiles) error {
	if err := copyTree(c.source, dir); err != nil {
		return fmt.Errorf("copy %s: %w", c.source, err)
	}
	if !c.real {
		for _, programs := range []string{"resource.d", "rc.d", "hooks"} {
			if err := os.RemoveAll(filepath.Join(dir, programs)); err != nil {
				return fmt.Errorf("leave out %s: %w", programs, err)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(c.source, "ha.cf"))
	if err != nil {
		return fmt.Errorf("copy ha.cf: %w", err)
	}
	keys, err := os.ReadFile(filepath.Join(c.source, "authkeys"))
	if err != nil {
		return fmt.Errorf("copy authkeys: %w", err)
	}
	files := []struct {
		name, text string
		mode       fs.FileMode
	}{
		{"ha.cf", c.haCF(string(text), n), 0o644},
		{"haresources", c.haresources(), 0o644},
		{"authkeys", string(keys), 0o600},
	}
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), f.text, f.mode); err != nil {
			return err
		}
	}
	if c.fencing != nil {
		plugins := filepath.Join(dir, "stonith.d")
		if err := os.MkdirAll(plugins, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", plugins, err)
		}
		if err := writeFile(filepath.Join(plugins, powerPlugin), powerScript, 0o755); err != nil {
			return err
		}
	}
	return c.writeStandIns(filepath.Join(dir, "resource.d"), n.classic)
}

// haCF is one node's ha.cf.
func (c copies) haCF(text string, n nodeFiles) string {
	var b strings.Builder
	for _, line := range n.extra {
		b.WriteString(line + "\n")
	}
	for line := range strings.Lines(text) {
		name, _ := directive(line)
		if slices.Contains(n.replaces, name) || c.omit(line) != "" {
			continue
		}
		if line = withoutFencing(line); line == "" {
			continue
		}
		if name == "respawn" && n.ipfail != "" {
			words := strings.Fields(line)
			line = strings.Join(append([]string{words[0], words[1], n.ipfail}, words[3:]...), " ")
		}
		if name == "ucast" || name == "ucast6" {
			line = c.unicast(line, n.node)
		}
		b.WriteString(strings.TrimRight(line, "\r\n") + "\n")
	}
	if c.fencing != nil {
		b.WriteString(c.fencing.text())
	}
	return b.String()
}

// unicast corrects a ucast line for the node whose own address it names.
func (c copies) unicast(line string, node int) string {
	name, rest := directive(line)
	words := strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(" \t\r,", r) })
	if len(words) < 2 || node == 0 || !c.pair.alone[words[0]] {
		return line
	}
	for _, h := range c.pair.names {
		if h.name == words[1] && h.net.device == words[0] {
			return fmt.Sprintf("%s %s %s", name, words[0], h.net.family(h.v6).nodes[0])
		}
	}
	for _, s := range c.pair.network(words[0]).subnets {
		if peer, scope, scoped := strings.Cut(words[1], "%"); s.nodes[1].String() == peer {
			other := s.nodes[0].String()
			if scoped {
				other += "%" + scope
			}
			return fmt.Sprintf("%s %s %s", name, words[0], other)
		}
	}
	return line
}

// haresources is the nodes' haresources: scripts of other classes are played by stand-ins of a plain name.
func (c copies) haresources() string {
	var b strings.Builder
	for i, g := range c.pair.groups {
		g.Resources = slices.Clone(g.Resources)
		for j, r := range g.Resources {
			if c.played(r) && r.Class != haresources.ClassHeartbeat {
				g.Resources[j].Spec = strings.Join(append([]string{standInName(r)}, r.Args...), "::")
			}
		}
		if c.failing && i == 0 {
			g.Resources = append(g.Resources, haresources.Resource{Spec: failingResource, Name: failingResource})
		}
		b.WriteString(g.String() + "\n")
	}
	return b.String()
}

// standInName is what the stand-in of a resource is called: its own name, without what a file name cannot have.
func standInName(r haresources.Resource) string {
	if r.Class == haresources.ClassHeartbeat {
		return r.Name
	}
	return "standin-" + r.Class + "-" + strings.NewReplacer(":", "-", "/", "-", "@", "-").Replace(r.Name)
}

// writeStandIns writes the scripts that play what a rehearsal must not run or a node does not have, and the one that fails.
func (c copies) writeStandIns(dir string, classic bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if c.failing {
		if err := writeFile(filepath.Join(dir, failingResource), standIn, 0o755); err != nil {
			return err
		}
	}
	for _, r := range c.pair.scripts {
		both, builtIn := harmless[r.Name]
		if lacks := classic && builtIn && !both; !lacks && !c.played(r) {
			continue
		}
		if err := writeFile(filepath.Join(dir, standInName(r)), standIn, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// standIn is a resource script that only remembers whether it was started.
const standIn = `#!/bin/sh
# Plays a resource in a rehearsal: remembers whether it was started, and does nothing else.
name=${0##*/}
while [ $# -gt 1 ]; do name="$name::$1"; shift; done
state=/run/rehearsal/resources/$(printf %s "$name" | tr / _)
mkdir -p /run/rehearsal/resources
case "$1" in
start)
	if [ "$name" = ` + failingResource + ` ] && [ -e /etc/ha.d/` + failMark + ` ]; then
		echo "$name: told to fail" >&2
		exit 1
	fi
	: > "$state" ;;
stop)
	rm -f "$state" ;;
status|monitor)
	if [ -e "$state" ]; then echo "$name is running"; else echo "$name is stopped"; exit 3; fi ;;
*)
	echo "usage: $0 [ARGUMENT ...] start|stop|status" >&2
	exit 2 ;;
esac
`
