package rehearsal

import (
	"os"
	"slices"
	"strings"

	"hapair/haresources"
	"hapair/heartbeat/config"
)

// Some scenarios are about what many pairs do not have. They are performed when they are named, or where the files have it.

// ofSomePairs is what not every pair has, with the words for it.
var ofSomePairs = []struct {
	need  need
	words string
}{
	{fencingDevice, "a fencing device"},
	{comparedPings, "a ping node and ipfail"},
	{idleNode, "a node that no group prefers"},
}

// ScenariosFor lists what concerns the pair of these options: all but what is about things that its files do not have. Files that cannot be read
// concern everything.
func ScenariosFor(o Options) []Scenario {
	var all []Scenario
	for _, s := range o.concerned(scenarios()) {
		all = append(all, Scenario{s.name, s.about})
	}
	return all
}

// condition is what the files must have for the scenario, in words; "" for nothing.
func (s scenario) condition() string {
	var words []string
	for _, some := range ofSomePairs {
		if s.needs&some.need != 0 {
			words = append(words, some.words)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "where the files have " + strings.Join(words, ", and ")
}

// concerned leaves out the scenarios about what the files do not have.
func (o Options) concerned(all []scenario) []scenario {
	c, err := o.load()
	if err != nil {
		return all
	}
	has := map[need]bool{
		fencingDevice: len(c.FencingLevels()) > 0 || o.Set["stonith_host"] != "" || o.Set["stonith"] != "",
		comparedPings: (len(c.Pings) > 0 || o.Set["ping"] != "" || o.Set["ping_group"] != "") && (c.IPFail || strings.Contains(o.Set["respawn"], "ipfail")),
		idleNode:      anyIdle(c.Nodes, c.Table.Groups),
	}
	return slices.DeleteFunc(slices.Clone(all), func(s scenario) bool {
		for _, some := range ofSomePairs {
			if s.needs&some.need != 0 && !has[some.need] {
				return true
			}
		}
		return false
	})
}

// anyIdle tells that there is a node that no group prefers.
func anyIdle(nodes []string, groups []haresources.Group) bool {
	return slices.ContainsFunc(nodes, func(node string) bool {
		return !slices.ContainsFunc(groups, func(g haresources.Group) bool { return g.Preferred == node })
	})
}

// load reads the files as its first node does.
func (o Options) load() (*config.Config, error) {
	dir := o.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "rehearsal"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := writeShipped(dir); err != nil {
			return nil, err
		}
	}
	first, faults := config.Load(dir)
	if len(first.Nodes) == 0 {
		return nil, faults.Err()
	}
	c, _ := config.Load(dir, config.WithNode(first.Nodes[0]))
	return c, nil
}
