package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
)

// CheckPrograms says what is wrong with the administrator's programs in hooks/ and rc.d: directories for events that there
// are not, files that will not be run and why, files that others than root may change. The file of each fault is the
// program. Directories that do not exist are no fault.
func CheckPrograms(env Environment) (faults fault.List) {
	entries, _ := os.ReadDir(env.Paths.HooksDir)
	for _, e := range entries {
		dir := filepath.Join(env.Paths.HooksDir, e.Name())
		event, isDir := strings.CutSuffix(e.Name(), ".d")
		if !isDir || !slices.Contains(HookEvents, event) {
			hint := "the events are " + strings.Join(HookEvents, ", ")
			if near := fault.Nearest(event, HookEvents); near != "" {
				hint = "did you mean " + near + ".d?"
			}
			faults.Addf(fault.Fault{File: dir, Severity: fault.Warning}, hint, "not the directory of an event: nothing in it is run")
			continue
		}
		programs, _ := os.ReadDir(dir)
		for _, p := range programs {
			faults = append(faults, checkHook(filepath.Join(dir, p.Name()))...)
		}
	}
	return append(faults, checkRC(env)...)
}

// checkHook checks one file in the directory of an event.
func checkHook(path string) (faults fault.List) {
	at := fault.Fault{File: path, Severity: fault.Warning}
	run, err := runnable(path)
	switch {
	case err != nil:
		faults.Addf(at, "chmod +x "+path, "%v", err)
	case run:
		faults = writable(path)
	}
	return faults
}

// checkRC checks the scripts for messages.
func checkRC(env Environment) (faults fault.List) {
	entries, _ := os.ReadDir(env.Paths.RCDir)
	for _, e := range entries {
		path := filepath.Join(env.Paths.RCDir, e.Name())
		text, err := os.ReadFile(path)
		if err != nil || !e.Type().IsRegular() {
			continue
		}
		if word := handsGroups(string(text)); word != "" {
			faults.Addf(fault.Fault{File: path, Severity: fault.Notice}, "put additions of your own into hooks/",
				"not run: it calls %s, which the daemon does itself", word)
			continue
		}
		faults = append(faults, writable(path)...)
	}
	return faults
}

// writable complains of a program that others than root may change.
func writable(path string) fault.List {
	var c checker
	c.permissions(path)
	for i := range c.faults {
		c.faults[i].File = path
		c.faults[i].Message = strings.TrimPrefix(c.faults[i].Message, ": ")
	}
	return c.faults
}
