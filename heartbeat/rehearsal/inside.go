package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	shipped "hapair/ha.d"
	"hapair/heartbeat/config"
	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/rehearsal/probe"
)

// job is one performance, as it is handed into the laboratory.
type job struct {
	Dir             string // "" for the shipped example
	Binary          string
	Implementations [2]string
	Scenario        string
	Set             map[string]string
	RealScripts     bool
	Lasting         time.Duration
	Frames          bool
	Wiring          string
	Sharing         bool // other performances share the machine
}

// programName names the inside of a rehearsal to the laboratory.
const programName = "pair"

// NodeInit takes over the process when a rehearsal started it, as the laboratory's or a machine's process 1, and then never
// returns. It must be called first in main of any program that calls Run or Main.
func NodeInit() { lab.Divert(map[string]lab.Program{programName: inside}) }

// inside performs one job.
func inside(in json.RawMessage, out io.Writer) error {
	var j job
	if err := json.Unmarshal(in, &j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	keep := []string{j.Binary}
	if j.Dir != "" {
		keep = append(keep, j.Dir)
	}
	l, err := lab.Open(keep...)
	if err != nil {
		return err
	}
	found, err := findScenarios([]string{j.Scenario})
	if err != nil {
		return err
	}
	s := found[0]
	c, err := j.effective(l, s)
	if err != nil {
		return err
	}
	reporter := newReporter(out)
	reporter.send(message{Notices: c.notices()})
	if why := s.impossible(c.pair, j.Implementations); why != "" {
		reporter.send(message{Skip: why})
		return nil
	}
	return j.perform(l, s, c, reporter)
}

// perform builds the world and runs the scenario in it. What fails in there is part of the result.
func (j job) perform(l *lab.Lab, s scenario, c copies, reporter *reporter) error {
	var impls [2]implementation
	for i, name := range j.Implementations {
		var err error
		if impls[i], err = findImplementation(name); err != nil {
			return err
		}
	}
	ctx := context.Background() // the laboratory ends when its caller does
	w := &world{pair: c.pair, lab: l, clock: probe.NewClock(), copies: c, binary: l.Kept(j.Binary), out: reporter, downs: map[*lab.Machine]bool{}}
	w.tap = &wiretap{now: w.clock.Now}
	if err := w.build(ctx, impls); err != nil {
		return err
	}
	if period := j.period(s); period > 0 {
		for _, c := range w.clients {
			c.echo.SetPeriod(period)
		}
	}
	r := &run{world: w, scenario: s, impls: j.Implementations, timing: c.pair.timing, model: newModel(c.pair), sharing: j.Sharing}
	r.timing.lasting, r.model.impls = j.Lasting, j.Implementations
	r.result = Run{Scenario: s.name, Wiring: j.Wiring, Implementations: j.Implementations, Nodes: c.pair.nodes, Realtime: w.realtime()}
	if err := r.perform(ctx); err != nil {
		r.result.Passed, r.result.Failure = false, err.Error()
	}
	r.tellAnnouncements()
	if j.Frames {
		r.result.Frames = w.tap.kept
	}
	reporter.send(message{Run: &r.result, Zero: r.zero.Seconds()})
	return nil
}

// quietPeriod is the time between two questions of a client where the daemons' cost is measured: at one a millisecond a
// good part of what the kernel puts to a daemon's account is answering the client. sharedPeriod is it where several pairs share the machine: asking and
// answering every millisecond takes a tenth of a core for each.
const (
	quietPeriod  = 10 * time.Millisecond
	sharedPeriod = 2 * time.Millisecond
)

// period is the time between two questions of a client; 0 is the usual millisecond.
func (j job) period(s scenario) time.Duration {
	switch {
	case s.measuresCost():
		return quietPeriod
	case j.Sharing:
		return sharedPeriod
	}
	return 0
}

// measuresCost says whether a phase is about what the daemons use.
func (s scenario) measuresCost() bool {
	return slices.ContainsFunc(s.phases, func(p phase) bool { return p.cost != nil })
}

// realtime says whether every prober has real-time priority.
func (w *world) realtime() bool {
	return !slices.ContainsFunc(w.clients, func(c *client) bool { return c.echo.Realtime != nil })
}

// impossible is why the scenario cannot be performed with this pair; "" when it can.
func (s scenario) impossible(p *pair, impls [2]string) string {
	if s.needs&twoMedia != 0 && p.media() < 2 {
		return "these files name one heartbeat link only"
	}
	if s.needs&oursActive != 0 && impls[0] != Hapair {
		return "linux-ha does this wrong by design: see its bugs in docs/heartbeat-protocol.md"
	}
	if s.needs&oursBoth != 0 && impls != [2]string{Hapair, Hapair} {
		return "linux-ha does not know how"
	}
	if s.needs&comparedPings != 0 && !p.compares {
		return "these files name no ping node, or no ipfail"
	}
	if s.needs&idleNode != 0 && !anyIdle(p.nodes[:], p.groups) {
		return "these files have each node prefer a group"
	}
	if s.needs&fencingDevice != 0 && !p.fencing {
		return "these files name no fencing device"
	}
	if s.needs&gateway != 0 && len(p.services) == 0 {
		return "these files name no addresses, so there is no client to be the gateway"
	}
	if s.needs&failingStart != 0 && len(p.groups) == 0 {
		return "these files name no resources"
	}
	if s.needs&memoryLimits != 0 {
		if _, _, err := memoryControl(); err != nil {
			return err.Error()
		}
	}
	if s.needs&packetLoss != 0 {
		if _, err := findNft(); err != nil {
			return err.Error()
		}
	}
	for _, name := range impls {
		if i, err := findImplementation(name); err == nil {
			if err := i.available(); err != nil {
				return err.Error()
			}
		}
	}
	return ""
}

// effective writes the files as this performance uses them, and reads them.
func (j job) effective(l *lab.Lab, s scenario) (copies, error) {
	dir, err := l.Dir("effective")
	if err != nil {
		return copies{}, err
	}
	c := copies{source: dir, real: j.RealScripts, failing: s.needs&failingStart != 0, fencing: s.fence}
	if j.Dir == "" {
		err = writeShipped(dir)
	} else {
		err = copyTree(l.Kept(j.Dir), dir)
	}
	if err != nil {
		return c, fmt.Errorf("copy the configuration: %w", err)
	}
	// The copy is readable by its owner only, whatever the files' own modes: `heartbeat check` is what complains of those.
	if err := os.Chmod(filepath.Join(dir, "authkeys"), 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if c.lost, err = config.WriteClassic(dir); err != nil { // what is varied for a rehearsal is varied in ha.cf
		return c, fmt.Errorf("read %s: %w", dir, err)
	}
	set := maps.Clone(s.set)
	if set == nil {
		set = map[string]string{}
	}
	var over wiring
	if j.Wiring != "" {
		if over, err = parseWiring(j.Wiring); err != nil {
			return c, err
		}
		maps.Copy(set, over.set())
	}
	maps.Copy(set, j.Set)
	path := filepath.Join(dir, "ha.cf")
	text, err := readFile(path)
	if err != nil {
		return c, err
	}
	if err := writeFile(path, replaceDirectives(text, set), 0o644); err != nil {
		return c, err
	}
	if j.Wiring != "" {
		if err := over.write(dir); err != nil {
			return c, err
		}
	}
	if c.pair, err = readPair(dir); err == nil {
		c.pair.compresses = set["traditional_compression"] == "on"
	}
	return c, err
}

// replaceDirectives puts directives into an ha.cf in place of those of the same name.
func replaceDirectives(text string, set map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] != "" {
			fmt.Fprintf(&b, "%s %s\n", name, set[name])
		}
	}
	for line := range strings.Lines(text) {
		if name, _ := directive(line); name != "" {
			if _, replaced := set[name]; replaced {
				continue
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// writeShipped writes the example that comes with the program.
func writeShipped(dir string) error {
	return fs.WalkDir(shipped.Files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, path)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		data, err := shipped.Files.ReadFile(path)
		if err != nil {
			return err
		}
		return writeFile(target, string(data), shipped.Mode(path))
	})
}
