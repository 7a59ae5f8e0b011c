package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hapair/heartbeat/daemon"
)

func (a *app) upgradeCommand() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use: "upgrade", Short: "Replace the running daemon by the program on disk; resources and addresses go on", Args: cobra.NoArgs,
		Long: "Replace the running daemon by the program that is on disk now, in the same process. Nothing is released: addresses\n" +
			"go on answering, as long as deadtime is half a second or more, and a respawn client is not restarted. The new program\n" +
			"first reads the configuration; if it finds errors, nothing is changed. Upgrade the node that is standby first.",
		RunE: func(*cobra.Command, []string) error {
			if check {
				return a.upgradable()
			}
			return a.upgrade()
		},
	}
	c.Flags().BoolVar(&check, "check", false, "only say whether this program could take over from a running daemon")
	return c
}

// upgradable answers the daemon that asks whether this program could replace it.
func (a *app) upgradable() error {
	c, faults := daemon.LoadConfig(a.dirs.paths())
	if err := faults.Err(); err != nil {
		for _, f := range faults {
			fmt.Fprintln(a.out, f.Error())
		}
		return &exit{daemon.ConfigExit(c), errors.New("the configuration holds errors")}
	}
	fmt.Fprintf(a.out, "%s %s\n", daemon.UpgradeWord, daemon.Version)
	return nil
}

// upgrade has the daemon replaced and waits until the new one answers.
func (a *app) upgrade() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	before, err := daemon.FetchStatus(ctx, a.dirs.paths())
	if err != nil {
		return callError(err)
	}
	begun := time.Now()
	reply, err := a.call(daemon.Request{Command: daemon.CommandUpgrade})
	if err != nil {
		return err
	}
	for {
		after, err := daemon.FetchStatus(ctx, a.dirs.paths())
		if err == nil && after.Generation != before.Generation {
			fmt.Fprintf(a.out, "heartbeat %s has taken over from %s (pid %d); nothing was released. That took %v.\n", after.Version, before.Version, after.PID,
				time.Since(begun).Round(time.Millisecond))
			return nil
		}
		if ctx.Err() != nil {
			return &exit{exitFailure, fmt.Errorf("heartbeat %s does not answer: look at its log (%v)", reply.Value, err)}
		}
		time.Sleep(10 * time.Millisecond)
	}
}
