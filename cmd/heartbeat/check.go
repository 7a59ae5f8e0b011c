package main

import (
	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
)

func (a *app) checkCommand() *cobra.Command {
	var asJSON, filesOnly bool
	c := &cobra.Command{
		Use: "check [DIR]", Short: "Report every fault of the configuration at once", Args: cobra.MaximumNArgs(1),
		Long: "Read ha.cf and haresources, or heartbeat.toml, and authkeys exactly as the daemon does, compare them with this machine, and report every\n" +
			"fault as file:line:col: severity: message (hint).\n" +
			"Exit code 0: clean; 1: warnings only; 2: errors; 3: a file cannot be read.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.dirs.config = args[0]
			}
			report := daemon.Check(a.dirs.paths(), !filesOnly)
			write := report.WriteText
			if asJSON {
				write = report.WriteJSON
			}
			err := write(a.out)
			if code := report.ExitCode(); err == nil && code != exitOK {
				return &exit{code: code}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "for programs (schema 1)")
	c.Flags().BoolVar(&filesOnly, "files-only", false, "do not look at this machine: it is not one of the nodes")
	return c
}
