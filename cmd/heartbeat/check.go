package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/fault"
)

func (a *app) checkCommand() *cobra.Command {
	var asJSON, filesOnly, peer bool
	c := &cobra.Command{
		Use: "check [DIR]", Short: "Report every fault of the configuration at once", Args: cobra.MaximumNArgs(1),
		Long: "Read ha.cf and haresources, or heartbeat.toml, and authkeys exactly as the daemon does, compare them with this machine, and report every\n" +
			"fault as file:line:col: severity: message (hint). With --peer the running daemon also asks the other node's for what its files, scripts and\n" +
			"program are, as they are in force there and here, and what is not the same is reported too.\n" +
			"Exit code 0: clean; 1: warnings only; 2: errors; 3: a file cannot be read.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.dirs.config = args[0]
			}
			report := daemon.Check(a.dirs.paths(), !filesOnly)
			if peer {
				faults, err := a.comparePeer()
				if err != nil {
					return err
				}
				report = report.With(faults)
			}
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
	c.Flags().BoolVar(&peer, "peer", false, "also compare files, scripts and program with the other node's; both daemons must run")
	return c
}

// comparePeer has the running daemon compare this node with the other one.
func (a *app) comparePeer() (fault.List, error) {
	reply, err := a.call(daemon.Request{Command: daemon.CommandCompare})
	if err != nil {
		return nil, err
	}
	v := reply.Comparison
	list := v.Faults
	for i := range list {
		if list[i].File != "" { // where check names its files
			list[i].File = filepath.Join(a.dirs.paths().Config, list[i].File)
		}
	}
	switch v.State {
	case "unsupported":
		list.Addf(fault.Fault{Severity: fault.Notice}, "", "%s", v.Why)
	case "unknown":
		list.Addf(fault.Fault{Severity: fault.Warning}, "heartbeat status says how it is", "not compared with the other node: %s", v.Why)
	}
	return list, nil
}
