package main

import (
	"fmt"
	"slices"
	"time"

	"hapair/heartbeat/daemon"
)

// hbStandby is the classic hb_standby (protocol section 7.6).
func (a *app) hbStandby(args []string) int {
	which, code := a.hbWhich("hb_standby", args)
	if code != exitOK {
		return code
	}
	if _, err := a.call(daemon.Request{Command: daemon.CommandStandby, Which: which}); err != nil {
		return a.hbError("hb_standby", err)
	}
	fmt.Fprintf(a.out, "%s Going standby [%s].\n", time.Now().Format(time.Stamp), which)
	return exitOK
}

// hbTakeover is the classic hb_takeover, which says nothing when all is well.
func (a *app) hbTakeover(args []string) int {
	which, code := a.hbWhich("hb_takeover", args)
	if code != exitOK {
		return code
	}
	if _, err := a.call(daemon.Request{Command: daemon.CommandTakeover, Which: which}); err != nil {
		return a.hbError("hb_takeover", err)
	}
	return exitOK
}

// hbWhich reads the one argument of both.
func (a *app) hbWhich(program string, args []string) (which string, code int) {
	usage := fmt.Sprintf("usage: %s [all|foreign|local|failback]\n", program)
	switch {
	case len(args) == 0:
		return "all", exitOK
	case len(args) > 1:
		fmt.Fprintf(a.out, "%s: too many arguments\n%s", program, usage)
		return "", exitFailure
	case args[0] == "--help":
		fmt.Fprint(a.out, usage)
		return "", exitFailure
	case !slices.Contains(sets, args[0]):
		fmt.Fprintf(a.out, "%s: wrong resources(%s).\n%s", program, args[0], usage)
		return "", exitFailure
	}
	return args[0], exitOK
}

// hbError reports why nothing was done.
func (a *app) hbError(program string, err error) int {
	fmt.Fprintf(a.err, "%s: %v\n", program, err)
	return exitFailure
}
