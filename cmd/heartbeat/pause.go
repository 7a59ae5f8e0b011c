package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hapair/haresources"
	"hapair/heartbeat/daemon"
)

func (a *app) pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pause TIME", Short: "Suspend takeovers on both nodes for a time, such as 10m; 0 ends a pause", Args: cobra.ExactArgs(1),
		Long: "Suspend takeovers on both nodes for a time (90s, 10m, at most 24h; a plain number is seconds), for what is done on\n" +
			"purpose: a live migration, a switch that restarts. Silence means nothing meanwhile: no node takes over, fences or gives\n" +
			"up. Hand-overs by hand and polite stops work as ever. The pause is shown in `heartbeat status` and ends by itself.",
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := haresources.ParseDuration(args[0])
			if err != nil || d > daemon.PauseLongest {
				return fmt.Errorf("%q: a time such as 90s or 10m, at most %v", args[0], daemon.PauseLongest)
			}
			if _, err := a.call(daemon.Request{Command: daemon.CommandPause, DurationMS: d.Milliseconds()}); err != nil {
				return err
			}
			if d == 0 {
				fmt.Fprintln(a.out, "Takeover is no longer paused.")
				return nil
			}
			fmt.Fprintf(a.out, "Takeover is paused until %s.\n", time.Now().Add(d).Format(time.DateTime))
			return nil
		},
	}
}
