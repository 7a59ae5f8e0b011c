// Package stonith makes certain that the other machine is off, and reports honestly whether it is certain.
//
// A device is opened from what ha.cf says of it (Open): external plugins of cluster-glue, fence agents, the compiled
// plugins of cluster-glue through its program `stonith`, a person (meatware), and null for tests. Every program has a time-out
// and a process group of its own, and none inherits the daemon's realtime scheduling. What fails comes back as a *Failure that
// names cause and remedy.
package stonith

import (
	"context"
	"errors"
	"time"
)

// Verb is what is to be done to a machine.
type Verb int

// The verbs.
const (
	Reset Verb = iota + 1 // make certain that it does not run on; afterwards it may start again
	Off                   // switch it off and leave it off
	On                    // switch it on again, after a Reset whose Evidence says LeftOff
)

// String is the verb as cluster-glue's plugins know it.
func (v Verb) String() string {
	switch v {
	case Off:
		return "off"
	case On:
		return "on"
	}
	return "reset"
}

// Evidence says what was seen of a machine that was fenced.
type Evidence struct {
	Device  string        // which device, as Fencer names itself
	Certain bool          // the device confirmed it; false: a device that confirms nothing was configured (null, ssh)
	LeftOff bool          // a Reset switched it off and did not wait until it was on again: ask for On when there is time
	Seen    []string      // each step with its answer, for the log
	Took    time.Duration // from the request to the confirmation
}

// Fencer is one device, or several as levels. Its methods may be called at the same time from several goroutines; what one
// device may do at once is its own business.
type Fencer interface {
	// Fence does how to node and returns when that is confirmed. The error is nil only then. The end of ctx ends it.
	Fence(ctx context.Context, node string, how Verb) (Evidence, error)
	// Check tells whether the device would work, without touching any machine.
	Check(ctx context.Context) error
}

// Power is whether a machine is switched on.
type Power int

// The states of a machine.
const (
	PowerUnknown Power = iota
	PowerOn
	PowerOff
)

// String is "unknown", "on" or "off".
func (p Power) String() string { return [...]string{"unknown", "on", "off"}[p] }

// Examiner is a Fencer that can also tell whether a machine is on.
type Examiner interface {
	Power(ctx context.Context, node string) (Power, error)
}

// Named is a Fencer with a name for the log: its type and, where it tells, what it is.
type Named interface {
	Name() string
}

// ErrCannotTell says that no device knows whether a machine is on: external plugins tell only of themselves.
var ErrCannotTell = errors.New("no device here can tell whether a machine is on")

// Located is a Fencer that is driven by a program.
type Located interface {
	// Locate looks for the program and runs nothing. The error is a *Failure.
	Locate() error
}

// NameOf is a device's name, its Go type where it has none.
func NameOf(f Fencer) string {
	if n, ok := f.(Named); ok {
		return n.Name()
	}
	return "STONITH device"
}

// Level ranks a line for the log.
type Level int

// The levels.
const (
	Info Level = iota
	Warn
	Crit
)

// DefaultTimeout is how long one call of a program may take, unless the configuration says otherwise.
const DefaultTimeout = 60 * time.Second

// Spec is what the configuration says of one device.
type Spec struct {
	Type   string   // "external/ipmi", "fence_virsh", "meatware", …
	Params string   // the rest of the stonith_host line
	File   string   // of `stonith TYPE FILE`, instead of Params
	Hosts  []string // the nodes that it has to be able to reset
	Shared bool     // the line is for all nodes (`*`), so that the other one uses the same parameters
}

// Environment is what devices need of the machine they are driven from. Only Log is required.
type Environment struct {
	Dir     string              // configuration directory; stonith.d in it is searched first; "" is /etc/ha.d
	Root    string              // put before every other directory, for tests; "" for none
	Run     string              // where meatware waits for meatclient; "" is /run
	Environ []string            // environment of the programs, beside what they are given by contract
	Timeout time.Duration       // of one call; 0 is DefaultTimeout
	Log     func(Level, string) // one line
}

func (e Environment) timeout() time.Duration {
	if e.Timeout > 0 {
		return e.Timeout
	}
	return DefaultTimeout
}
