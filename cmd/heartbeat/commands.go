package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/rehearsal"
)

// directories are the places of one node, from the command line.
type directories struct{ config, state, run string }

// paths fills in the classic directories.
func (d directories) paths() daemon.Paths { return daemon.NewPaths(d.config, d.state, d.run) }

// exit is an error that knows its exit code. Without a cause there is nothing more to say.
type exit struct {
	code  int
	cause error
}

// Error is the cause's text.
func (e *exit) Error() string {
	if e.cause == nil {
		return ""
	}
	return e.cause.Error()
}

// Unwrap gives the cause.
func (e *exit) Unwrap() error { return e.cause }

// commands runs a sub-command and returns its exit code.
func (a *app) commands(args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	var e *exit
	if !errors.As(err, &e) {
		fmt.Fprintf(a.err, "heartbeat: %v\n", err)
		fmt.Fprintf(a.err, "Run `heartbeat --help` for what there is.\n")
		return exitUsage
	}
	if e.cause != nil {
		fmt.Fprintf(a.err, "heartbeat: %v\n", e.cause)
	}
	return e.code
}

// root is the command line.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "heartbeat",
		Short: "Heartbeat for Linux pairs: two nodes watch each other, and one takes over when the other dies",
		Long: "Heartbeat for Linux pairs: two nodes watch each other, and one takes over when the other dies.\n\n" +
			"Without arguments it starts the daemon in the background, and it knows the options of Linux-HA's heartbeat\n" +
			"(-s status, -k stop, -r reload, -f foreground, -V version, …).",
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.dirs.config, "config", daemon.DefaultConfigDir, "configuration `directory`")
	flags.StringVar(&a.dirs.state, "state", daemon.DefaultStateDir, "`directory` for what survives a restart")
	flags.StringVar(&a.dirs.run, "run", daemon.DefaultRunDir, "`directory` of the control socket")
	root.AddCommand(a.runCommand(), a.initCommand(), a.checkCommand(), a.doctorCommand(), a.convertCommand(), a.statusCommand(), a.watchCommand(), a.whyCommand(), a.historyCommand(), a.waitCommand())
	root.AddCommand(a.standbyCommand(), a.takeoverCommand(), a.moveCommand(), a.resourceCommand(), a.planCommand(), a.lintCommand(), a.confirmDeadCommand(), a.fenceCommand(), a.pauseCommand())
	root.AddCommand(a.keyCommand(), a.stopCommand(), a.reloadCommand(), a.upgradeCommand(), a.debugCommand(), a.versionCommand())
	root.AddCommand(&cobra.Command{ // for the list of commands: dispatch has it before
		Use: "rehearse [DIR]", Short: "Play both nodes of a configuration in namespaces, and see what a failover costs", DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := rehearsal.Main(args, a.out, a.err); code != exitOK {
				return &exit{code: code}
			}
			return nil
		},
	})
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Fprintf(a.out, "hapair %s (behaves as Linux-HA Heartbeat %s)\n", daemon.Version, daemon.ClassicVersion)
		},
	}
}

func (a *app) runCommand() *cobra.Command {
	var log string
	var verbosity int
	var o daemon.Options
	c := &cobra.Command{
		Use: "run", Short: "Run the daemon in the foreground", Args: cobra.NoArgs,
		Long: "Run the daemon in the foreground until SIGTERM, which releases the resources and says goodbye.\n" +
			"SIGHUP reads the configuration again; SIGUSR1 and SIGUSR2 raise and lower the debug level.\n" +
			"Exit code 6: the configuration holds errors (4: it may not be read); 1: any other failure.",
		RunE: func(*cobra.Command, []string) error {
			if log != "conf" && log != "stderr" {
				return fmt.Errorf("--log %q: conf (as the configuration says) or stderr", log)
			}
			o.Paths, o.Stderr, o.Verbosity = a.dirs.paths(), log == "stderr", verbosity
			return a.run(o)
		},
	}
	c.Flags().StringVar(&log, "log", "conf", "where log lines go: conf (as the configuration says) or stderr")
	c.Flags().IntVar(&verbosity, "debug", 0, "raise the debug level of the configuration by `N`")
	c.Flags().BoolVar(&o.NoRealtime, "no-realtime", false, "neither realtime scheduling nor locked memory")
	c.Flags().BoolVar(&o.Unmanaged, "no-resources", false, "watch the other node, but leave all resources alone")
	return c
}

// run runs the daemon in this process.
func (a *app) run(o daemon.Options) error {
	o.Ready = notifyParent()
	err := daemon.Run(context.Background(), o)
	var start *daemon.StartError
	if errors.As(err, &start) {
		for _, f := range start.Faults {
			fmt.Fprintln(a.err, f.Error())
		}
		return &exit{start.Code, start.Err}
	}
	return err
}

// readyFile names the descriptor on which a background start hears that the daemon works.
const readyFile = "HEARTBEAT_READY_FD"

// notifyParent returns what tells the waiting parent, nil where none waits.
func notifyParent() func() {
	if os.Getenv(readyFile) != "3" {
		return nil
	}
	os.Unsetenv(readyFile)
	pipe := os.NewFile(3, "ready")
	return func() {
		pipe.Write([]byte("ready"))
		pipe.Close()
	}
}

// patience is how long a command waits for the daemon's answer.
const patience = 10 * time.Second

// call sends one request to the daemon. Errors carry the exit code.
func (a *app) call(r daemon.Request) (*daemon.Reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := daemon.Dial(ctx, a.dirs.paths())
	if err != nil {
		return nil, callError(err)
	}
	defer c.Close()
	reply, err := c.Call(ctx, r)
	if err != nil {
		return reply, callError(err)
	}
	return reply, nil
}

// callError gives an error of the control socket its exit code.
func callError(err error) error {
	if errors.Is(err, daemon.ErrNotRunning) {
		return &exit{exitNotRunning, err}
	}
	return &exit{exitFailure, err}
}
