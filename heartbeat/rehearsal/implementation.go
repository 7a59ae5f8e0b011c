package rehearsal

import (
	"context"
	"fmt"
	"slices"
)

// The implementations that a node can run.
const (
	Hapair  = "hapair"   // this program
	LinuxHA = "linux-ha" // Heartbeat 3.0.6 as the distribution packs it
)

// implementation is how a program that speaks Heartbeat is installed, started and commanded on a machine. Everything goes
// through its command line, as an operator would do it.
type implementation interface {
	name() string
	available() error                                              // why it cannot run here, and what to do
	install(n *node, c copies) error                               // writes the node's private files; run once, before the first boot
	prepare(ctx context.Context, n *node) error                    // after each boot
	start(ctx context.Context, n *node) error                      // returns when it is on its way up
	stop(ctx context.Context, n *node) error                       // politely; returns when it has ended
	command(ctx context.Context, n *node, words ...string) error   // standby or takeover with a set, or reload
	settled(ctx context.Context, n *node) (bool, error)            // nothing is in motion, by its own account
	view(ctx context.Context, n *node, other string) (view, error) // by its own account
}

// implementations is the one list of them.
func implementations() []implementation { return []implementation{hapair{}, linuxHA{}} }

// implementationNames is the list for messages.
func implementationNames() []string {
	var names []string
	for _, i := range implementations() {
		names = append(names, i.name())
	}
	return names
}

// findImplementation finds one by its name.
func findImplementation(name string) (implementation, error) {
	all := implementations()
	if i := slices.IndexFunc(all, func(i implementation) bool { return i.name() == name }); i >= 0 {
		return all[i], nil
	}
	return nil, fmt.Errorf("no implementation %q: there are %q", name, implementationNames())
}

// mustSucceed runs a program on the node and makes an exit code other than 0 an error that quotes what was printed.
func mustSucceed(ctx context.Context, n *node, argv ...string) (string, error) {
	r, err := n.machine.Run(ctx, argv...)
	if err != nil {
		return "", err
	}
	if r.Exit != 0 {
		return r.Output, fmt.Errorf("%s on %s: exit %d: %s", argv, n.name, r.Exit, lastLines(r.Output, 3))
	}
	return r.Output, nil
}
