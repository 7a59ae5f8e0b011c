package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hapair/haresources"
)

// Exit codes of Main.
const (
	exitPassed = 0
	exitFailed = 1 // a scenario did not go as it must, or could not be performed
	exitUsage  = 2
)

// defaultScenarios are what is done when nobody says what to do: everything that must go well before a pair may be relied on.
const defaultScenarios = "power-cut,graceful-stop,standby-all,freeze-long,one-link,partition"

const usage = `Usage: heartbeat rehearse [options] [DIRECTORY]

Plays both nodes of the pair that the files in DIRECTORY describe, and its clients, on this one machine, in namespaces that
vanish afterwards; does to the pair what one would rather not try in production; and measures what its clients see. Without
DIRECTORY it plays the example that comes with the program, a firewall pair. Nothing outside is touched.

`

// Main is the command `heartbeat rehearse`: it reads the arguments after that word, rehearses, prints and returns the exit
// code.
func Main(args []string, stdout, stderr io.Writer) int {
	c := command{stdout: stdout, stderr: stderr}
	if code, done := c.parse(args); done {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return c.run(ctx)
}

// command is one call of Main.
type command struct {
	stdout, stderr io.Writer
	options        Options
	json           bool
	printer        printer
}

// assignments collects --set NAME=VALUE.
type assignments map[string]string

func (a assignments) String() string { return "" }

func (a assignments) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return errors.New("want NAME=VALUE, as in deadtime=200ms")
	}
	a[name] = value
	return nil
}

// parse reads the arguments; done says that there is nothing more to do.
func (c *command) parse(args []string) (code int, done bool) {
	flags := flag.NewFlagSet("rehearse", flag.ContinueOnError)
	flags.SetOutput(c.stderr)
	flags.Usage = func() {
		fmt.Fprint(c.stderr, usage)
		flags.PrintDefaults()
	}
	set := assignments{}
	var scenarioNames, impls, scripts, wirings string
	var list bool
	flags.StringVar(&scenarioNames, "scenario", defaultScenarios, "what to do: names separated by commas, or all")
	flags.StringVar(&impls, "impl", Hapair+","+Hapair, "what the first and the second node run: "+strings.Join(implementationNames(), " or ")+"; or all, for all four pairs")
	flags.IntVar(&c.options.Repeat, "repeat", 1, "how often; from 5 on the median is judged too")
	flags.IntVar(&c.options.Jobs, "jobs", 1, "how many performances at once; what loads the whole machine comes last then, alone. For finding out what works, not for figures: clients ask every other millisecond then")
	flags.BoolVar(&c.options.Busy, "busy", false, "keep every core of this machine busy with something else meanwhile: for one performance at a time")
	flags.Func("lasting", "how long trials last in which nothing may happen: idle, loss, busy, as in 60 (seconds) or 2m (default: as --list says)", func(text string) (err error) {
		c.options.Lasting, err = haresources.ParseDuration(text)
		return err
	})
	flags.Var(set, "set", "replace a directive of ha.cf for this rehearsal, as in deadtime=200ms; may be repeated")
	flags.StringVar(&wirings, "wiring", "", "send the heartbeats another way than DIRECTORY says: MEDIUM[+MEDIUM]/METHOD/FRAMING[/COMPRESSION] as in ucast+serial/sha1/classic/zlib, several separated by commas, or all")
	flags.StringVar(&scripts, "scripts", "stand-in", "resource scripts of DIRECTORY: stand-in (remembers start and stop), or real (runs them here, with your files and devices)")
	flags.StringVar(&c.options.Binary, "binary", "", "the heartbeat program to run on hapair nodes (default: this one)")
	flags.BoolVar(&c.json, "json", false, "print the report as JSON")
	flags.BoolVar(&c.printer.verbose, "verbose", false, "print every line that the nodes log")
	flags.BoolVar(&c.printer.brief, "brief", false, "print a line for each performance, and the time line only of those that failed")
	flags.BoolVar(&list, "list", false, "list the scenarios, with DIRECTORY those that concern its files")
	directory, err := parseAround(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		return exitPassed, true
	}
	if err != nil {
		return exitUsage, true
	}
	if list {
		all := Scenarios()
		if directory != "" {
			all = ScenariosFor(Options{Dir: directory, Set: set})
		}
		for _, s := range all {
			fmt.Fprintf(c.stdout, "%-18s %s\n", s.Name, s.About)
		}
		return exitPassed, true
	}
	c.options.Dir, c.options.Set, c.options.RealScripts = directory, set, scripts == "real"
	if err := c.choose(scenarioNames, impls, scripts, wirings); err != nil {
		fmt.Fprintln(c.stderr, err)
		return exitUsage, true
	}
	return 0, false
}

// parseAround accepts the directory before, between and after the options.
func parseAround(flags *flag.FlagSet, args []string) (directory string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return "", err
		}
		if flags.NArg() == 0 {
			return directory, nil
		}
		if directory != "" {
			err := fmt.Errorf("one directory at a time: %q and %q", directory, flags.Arg(0))
			fmt.Fprintln(flags.Output(), err)
			return "", err
		}
		directory, args = flags.Arg(0), flags.Args()[1:]
	}
}

// choose checks the words that name things.
func (c *command) choose(scenarioNames, impls, scripts, wirings string) error {
	switch wirings {
	case "":
	case "all":
		c.options.Wirings = Wirings()
	default:
		c.options.Wirings = strings.Split(wirings, ",")
	}
	for _, w := range c.options.Wirings {
		if _, err := parseWiring(w); err != nil {
			return err
		}
	}
	if scenarioNames != "all" {
		c.options.Scenarios = strings.Split(scenarioNames, ",")
		if _, err := findScenarios(c.options.Scenarios); err != nil {
			return err
		}
	}
	if scripts != "real" && scripts != "stand-in" {
		return fmt.Errorf("--scripts %s: want stand-in or real", scripts)
	}
	if impls == "all" {
		c.options.Pairs = [][2]string{{Hapair, Hapair}, {Hapair, LinuxHA}, {LinuxHA, Hapair}, {LinuxHA, LinuxHA}}
		return nil
	}
	names := strings.Split(impls, ",")
	if len(names) != 2 {
		return fmt.Errorf("--impl %s: want two names, as in %s,%s, or all", impls, Hapair, LinuxHA)
	}
	for _, name := range names {
		if _, err := findImplementation(name); err != nil {
			return err
		}
	}
	c.options.Pairs = [][2]string{{names[0], names[1]}}
	return nil
}

// run rehearses and prints.
func (c *command) run(ctx context.Context) int {
	c.printer.out = c.stdout
	if f, ok := c.stdout.(*os.File); ok && os.Getenv("NO_COLOR") == "" {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		c.printer.colour = err == nil
	}
	if !c.json {
		c.options.Started = c.printer.started
		c.options.Ended = c.printer.ended
	}
	report, err := Rehearse(ctx, c.options)
	if err != nil {
		fmt.Fprintln(c.stderr, "heartbeat rehearse:", err)
		return exitFailed
	}
	if c.json {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(report); err != nil {
			fmt.Fprintln(c.stderr, "heartbeat rehearse:", err)
			return exitFailed
		}
	} else {
		c.printer.report(report)
	}
	if !report.Passed || len(report.Runs) == 0 {
		return exitFailed
	}
	return exitPassed
}
