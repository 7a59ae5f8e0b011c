package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"hapair/haresources"
	"hapair/heartbeat/config"
	"hapair/heartbeat/daemon"
)

// notOwned is the exit code of `ResourceManager status` for a resource that does not run here.
const notOwned = 3

const resourceManagerUsage = `usage: ResourceManager listkeys NODE-REGEX|allkeys|ourkeys|otherkeys
       ResourceManager takegroup|givegroup|statgroup KEY
       ResourceManager status RESOURCE
       ResourceManager verifyallidle
`

// resourceManager is the classic ResourceManager (protocol section 8.4). It works on the files and the machine directly, also
// while no daemon runs.
func (a *app) resourceManager(args []string) int {
	verb, argument := "", ""
	if len(args) > 0 {
		verb = args[0]
	}
	if len(args) > 1 {
		argument = args[1]
	}
	wantsArgument := verb == "listkeys" || verb == "takegroup" || verb == "givegroup" || verb == "statgroup" || verb == "status"
	if wantsArgument != (len(args) == 2) || !wantsArgument && len(args) != 1 {
		fmt.Fprint(a.err, resourceManagerUsage)
		return exitFailure
	}
	table, err := a.table()
	if err != nil {
		return a.exitCode(err)
	}
	switch verb {
	case "listkeys", "allkeys":
		return a.listKeys(table, verb, argument)
	case "ourkeys", "otherkeys":
		return a.listGroups(table, verb == "ourkeys")
	case "takegroup", "givegroup":
		return a.changeGroup(table, verb, argument)
	case "statgroup":
		return a.statGroup(table, argument)
	case "status":
		return a.resourceStatus(argument)
	case "verifyallidle":
		return a.verifyAllIdle(table)
	}
	fmt.Fprint(a.err, resourceManagerUsage)
	return exitFailure
}

// table reads haresources, or the groups of heartbeat.toml.
func (a *app) table() (haresources.Table, error) {
	dir := a.dirs.paths().Config
	name := filepath.Join(dir, "haresources")
	if _, err := os.Stat(filepath.Join(dir, "heartbeat.toml")); err == nil {
		c, faults := config.Load(dir)
		if len(c.Table.Groups) == 0 {
			return c.Table, faults.Err()
		}
		return c.Table, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return haresources.Table{}, fmt.Errorf("Cannot open resources file [%s]: %w", name, err)
	}
	defer f.Close()
	table, faults := haresources.Parse(name, f)
	return table, faults.Err()
}

func (a *app) listKeys(t haresources.Table, verb, node string) int {
	matches := func(string) bool { return true }
	if verb == "listkeys" {
		re, err := regexp.Compile("(?i)^" + node + " ")
		if err != nil {
			return a.exitCode(fmt.Errorf("listkeys %q: %w", node, err))
		}
		matches = re.MatchString
	}
	for _, g := range t.Groups {
		if matches(g.Preferred + " " + g.Name) {
			fmt.Fprintln(a.out, g.Name)
		}
	}
	return exitOK
}

func (a *app) listGroups(t haresources.Table, ours bool) int {
	_, local := a.names()
	for _, g := range t.Groups {
		if (g.Preferred == local) == ours {
			words := make([]string, len(g.Resources))
			for i, r := range g.Resources {
				words[i] = r.Spec
			}
			fmt.Fprintln(a.out, strings.Join(words, " "))
		}
	}
	return exitOK
}

// manager opens a table's resources; what they do goes to standard error.
func (a *app) manager(t haresources.Table) (m *haresources.Manager, end func(), err error) {
	return daemon.OpenResources(a.dirs.paths(), t, func(line string) { fmt.Fprintln(a.err, line) })
}

func (a *app) changeGroup(t haresources.Table, verb, key string) int {
	m, end, err := a.manager(t)
	if err != nil {
		return a.exitCode(err)
	}
	defer end()
	if verb == "takegroup" {
		return a.exitCode(m.Acquire(context.Background(), key))
	}
	return a.exitCode(m.Release(context.Background(), key))
}

func (a *app) statGroup(t haresources.Table, key string) int {
	m, end, err := a.manager(t)
	if err != nil {
		return a.exitCode(err)
	}
	defer end()
	if _, err := owns(m, key); err != nil {
		return a.exitCode(err)
	}
	running, all := 0, m.Resources(key)
	for _, r := range all {
		if r.State == haresources.Running {
			running++
		}
	}
	switch running {
	case len(all):
		fmt.Fprintln(a.out, "ALL")
	case 0:
		fmt.Fprintln(a.out, "NONE")
	default:
		fmt.Fprintln(a.out, "SOME")
	}
	return exitOK
}

// owns examines a group as the classic program does: what does not say that it runs is not owned.
func owns(m *haresources.Manager, group string) (bool, error) {
	running, err := m.Examine(context.Background(), group)
	if errors.Is(err, haresources.ErrUnsure) {
		return false, nil
	}
	return running, err
}

// owned tells whether a single resource, written as in haresources, runs here.
func (a *app) owned(word string) (bool, error) {
	t, faults := haresources.Parse("argument", strings.NewReader("node "+word+"\n"))
	if err := faults.Err(); err != nil {
		return false, err
	}
	if len(t.Groups) != 1 || len(t.Groups[0].Resources) != 1 {
		return false, errors.New("one resource, as written in haresources, is wanted")
	}
	m, end, err := a.manager(t)
	if err != nil {
		return false, err
	}
	defer end()
	return owns(m, t.Groups[0].Name)
}

func (a *app) resourceStatus(word string) int {
	running, err := a.owned(word)
	switch {
	case err != nil:
		return a.exitCode(err)
	case running:
		return exitOK
	}
	return notOwned
}

// verifyAllIdle complains of every group that runs although heartbeat does not (protocol section 8.4).
func (a *app) verifyAllIdle(t haresources.Table) int {
	m, end, err := a.manager(t)
	if err != nil {
		return a.exitCode(err)
	}
	defer end()
	active := 0
	for _, g := range t.Groups {
		running, err := owns(m, g.Name)
		if err != nil {
			fmt.Fprintf(a.err, "WARN: %s: %v\n", g.Name, err)
		}
		if !running {
			continue
		}
		active++
		fmt.Fprintf(a.err, "CRITICAL: Resource %s is active, and should not be!\n", g.Name)
		fmt.Fprintln(a.err, "CRITICAL: Non-idle resources can affect data integrity!")
		fmt.Fprintln(a.err, "info: Whatever starts it besides heartbeat (at boot, by hand) must not: a resource belongs to heartbeat alone.")
	}
	if active > 0 {
		fmt.Fprintln(a.err, "CRITICAL: Non-idle resources will affect resource takeback!")
	}
	return min(active, 125)
}

// reqResource is the classic req_resource (protocol section 8.5): heartbeat itself asks for what it lacks.
func (a *app) reqResource(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(a.err, "usage: req_resource KEY")
		return exitFailure
	}
	if running, err := a.owned(args[0]); err != nil || !running {
		fmt.Fprintf(a.err, "req_resource: %s does not run here; heartbeat itself asks for it where this node should have it. To take it now: heartbeat move %s\n", args[0], args[0])
	}
	return exitOK
}

// machDown is the classic mach_down, which scripts in rc.d call: heartbeat takes over by itself, so that there is nothing
// left to do.
func (a *app) machDown(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(a.err, "usage: mach_down NODE")
		return exitFailure
	}
	fmt.Fprintf(a.err, "mach_down: nothing to do: heartbeat itself takes over the resources of %s\n", strings.ToLower(args[0]))
	return exitOK
}

// harc is the classic dispatcher of rc.d scripts (protocol section 8.2): it runs rc.d/TYPE with the message in its
// environment.
func (a *app) harc(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(a.err, "usage: harc TYPE")
		return exitFailure
	}
	dir := a.dirs.paths().RCDir()
	if _, err := os.Stat(dir); err != nil {
		fmt.Fprintf(a.err, "ERROR: harc: %s does not exist\n", dir)
		return exitFailure
	}
	name := strings.ToLower(args[0])
	script := filepath.Join(dir, filepath.Base(name))
	info, err := os.Stat(script)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		fmt.Fprintf(a.err, "ERROR: harc: %s not executable\n", script)
		return exitFailure
	}
	fmt.Fprintf(a.err, "info: Running %s %s\n", script, name)
	cmd := exec.Command(script, name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, a.out, a.err
	var ended *exec.ExitError
	if err := cmd.Run(); errors.As(err, &ended) {
		return max(ended.ExitCode(), exitFailure)
	} else if err != nil {
		return a.exitCode(err)
	}
	return exitOK
}
