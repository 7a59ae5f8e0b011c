package stonith

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
)

// kinds is every kind of device, by the first part of its type.
var kinds = map[string]func(Spec, Environment) (Fencer, error){
	"external": openExternal,
	"fence":    openAgent,
	"glue":     openGlue,
	"meatware": openMeatware,
	"null":     openNull,
	"ssh":      openSSH,
}

// kindOf finds the kind of a type as written in ha.cf.
func kindOf(s Spec, e Environment) (string, error) {
	switch {
	case strings.HasPrefix(s.Type, "external/"):
		return "external", nil
	case strings.HasPrefix(s.Type, "fence_"):
		return "fence", nil
	case s.Type == "meatware", s.Type == "null", s.Type == "ssh":
		return s.Type, nil
	}
	if slices.Contains(glueTypes, s.Type) {
		return "glue", nil
	}
	f := fail(s.Type, CauseMissing, "there is no STONITH type %q", s.Type)
	known := append(slices.Clone(glueTypes), "meatware", "null", "ssh")
	known = append(known, e.found()...)
	f.Remedy = "known are external/NAME, fence_NAME, meatware, and cluster-glue's own; see docs/fencing.md"
	if near := fault.Nearest(s.Type, known); near != "" {
		f.Remedy = "did you mean " + near + "?"
	} else if slices.Contains(known, "external/"+s.Type) {
		f.Remedy = "did you mean external/" + s.Type + "?"
	} else if slices.Contains(known, "fence_"+s.Type) {
		f.Remedy = "did you mean fence_" + s.Type + "?"
	}
	return "", f
}

// Open makes a device from its line. Nothing is run and nothing need be installed yet: what is wrong with the device itself
// is Check's to find. An error is a fault of the line and a *Failure.
func Open(s Spec, e Environment) (Fencer, error) {
	kind, err := kindOf(s, e)
	if err != nil {
		return nil, err
	}
	if text := s.exposed(); text != "" {
		e.Log(Warn, text)
	}
	return kinds[kind](s, e)
}

// Types lists what is installed on this machine: every type that Open would find a program for.
func Types(e Environment) []string {
	list := append(e.found(), "meatware", "null")
	if _, err := find("stonith", "stonith", e.agentDirs()); err == nil {
		list = append(list, glueTypes...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// found lists external plugins and fence agents.
func (e Environment) found() []string {
	names := map[string]bool{}
	for _, dir := range e.pluginDirs() {
		for _, name := range executables(dir) {
			if !strings.HasPrefix(name, "fence_") {
				names["external/"+name] = true
			}
		}
	}
	for _, dir := range e.agentDirs() {
		for _, name := range executables(dir) {
			if strings.HasPrefix(name, "fence_") {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// executables lists the programs in a directory.
func executables(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []string
	for _, entry := range entries {
		if info, err := os.Stat(filepath.Join(dir, entry.Name())); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			list = append(list, entry.Name())
		}
	}
	return list
}
