// Command heartbeat runs one node of a highly available pair, and is every tool around it: the sub-commands are listed by
// `heartbeat --help`, and under the classic names (cl_status, hb_standby, hb_takeover, …) it behaves as those do.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"hapair/heartbeat/rehearsal"
)

func main() {
	rehearsal.NodeInit() // does not return where this process is a part of a rehearsal
	a := &app{out: os.Stdout, err: os.Stderr}
	os.Exit(a.dispatch(filepath.Base(os.Args[0]), os.Args[1:]))
}

// app is one invocation.
type app struct {
	out, err io.Writer
	dirs     directories
}

// Exit codes that several commands share.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitNotRunning = 3
)

// tools are the classic names that are links to this program.
func tools() map[string]func(*app, []string) int {
	return map[string]func(*app, []string) int{
		"cl_status":       (*app).clStatus,
		"hb_standby":      (*app).hbStandby,
		"hb_takeover":     (*app).hbTakeover,
		"hb_addnode":      refuse("hb_addnode", "the nodes of a pair are those of ha.cf: edit it on both nodes, then run `heartbeat reload`"),
		"hb_delnode":      refuse("hb_delnode", "the nodes of a pair are those of ha.cf: edit it on both nodes, then run `heartbeat reload`"),
		"hb_setweight":    refuse("hb_setweight", "node weights are for clusters that vote; a pair has no votes"),
		"hb_setsite":      refuse("hb_setsite", "sites are for clusters that span several; a pair has none"),
		"ha_propagate":    refuse("ha_propagate", "copy ha.cf, haresources and authkeys to the other node yourself: scp -p /etc/ha.d/{ha.cf,haresources,authkeys} PEER:/etc/ha.d/"),
		"ResourceManager": (*app).resourceManager,
		"req_resource":    (*app).reqResource,
		"mach_down":       (*app).machDown,
		"harc":            (*app).harc,
	}
}

// dispatch finds what was asked for: by the name of the program, by classic options, or by sub-command.
func (a *app) dispatch(name string, args []string) int {
	if tool, ok := tools()[name]; ok {
		return tool(a, args)
	}
	if len(args) > 0 {
		if tool, ok := tools()[args[0]]; ok {
			return tool(a, args[1:])
		}
	}
	if len(args) > 0 && args[0] == "rehearse" {
		return rehearsal.Main(args[1:], a.out, a.err)
	}
	if isClassic(args) {
		return a.classic(args)
	}
	return a.commands(args)
}

// isClassic tells the options of the classic program (protocol section 11.2) from sub-commands. None at all start the
// daemon, as ever.
func isClassic(args []string) bool {
	if len(args) == 0 {
		return true
	}
	return strings.HasPrefix(args[0], "-") && !strings.HasPrefix(args[0], "--") && args[0] != "-h"
}

// refuse is a classic tool that a pair has no use for.
func refuse(name, why string) func(*app, []string) int {
	return func(a *app, _ []string) int {
		fmt.Fprintf(a.err, "%s: not supported: %s.\n", name, why)
		return exitFailure
	}
}
