package haresources

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// State is what an Agent knows of its resource.
type State int

// The states of a resource.
const (
	Unknown State = iota // nothing could be learned: a script that says nothing, a query that failed
	Stopped              // certainly does not run
	Running              // runs as it should
	Failed               // runs in part, or badly: to be stopped before it is started
)

// String is the state in lower case, as in `status`.
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Stopped:
		return "stopped"
	case Running:
		return "running"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("state(%d)", int(s))
}

// MarshalText makes a State a word in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	for _, known := range []State{Unknown, Stopped, Running, Failed} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("no state of a resource: %s", quote(string(text)))
}

// Operation is something done to one resource.
type Operation string

// The operations.
const (
	OpStart  Operation = "start"
	OpStop   Operation = "stop"
	OpStatus Operation = "status"
	OpWatch  Operation = "watch" // nobody asked: something was seen

	OpMonitor Operation = "monitor" // the examination of a held resource now and then
)

// Agent starts, stops and examines one resource. Its methods end soon after their context does, with what they started for
// it ended too. A Manager never calls two of Start, Stop and Status at the same time for one Agent.
type Agent interface {
	// Start returns nil when the resource runs; also when it ran before.
	Start(ctx context.Context) error
	// Stop returns nil when the resource does not run; also when it did not before.
	Stop(ctx context.Context) error
	// Status says what the resource does now. The error says why the state is Unknown or Failed. Unknown without an error
	// means that the resource was asked and told nothing, which Linux-HA takes for stopped. The error wraps ErrUnkillable
	// where an earlier examination has not ended: there are never two.
	Status(ctx context.Context) (State, error)
}

// Opener makes the Agent for a resource. It does not touch the resource. Its error says what is wrong with the line.
type Opener func(Resource) (Agent, error)

// ErrUnkillable is in the error of an operation whose process did not end even after SIGKILL, so that it may still act.
var ErrUnkillable = errors.New("a process of it cannot be ended")

// The following interfaces are optional for an Agent; a Manager asks for them by type.
type (
	// Adopter is told, instead of Start, that its resource is held from now on although it ran already.
	Adopter interface {
		Adopt(ctx context.Context) error
	}

	// Announcer tells the network again where its resource is.
	Announcer interface {
		Announce(ctx context.Context) error
	}

	// Watcher reports on its own what happens to its resource while it is held: a new state, or Running with an error that
	// says what was repaired. The returned function ends that.
	Watcher interface {
		Watch(report func(State, error)) (stop func())
	}

	// Timer knows how long an operation of this resource should take at most. 0 stands for the default.
	Timer interface{ Timeout(Operation) time.Duration }

	// Describer has something to say about its resource in `status`.
	Describer interface{ Describe() string }

	// Counter counts what it does while its resource is held: see the constants Count….
	Counter interface{ Counters() map[string]uint64 }

	// Configurer is told the pragmas of its line before anything else, and again after a reload; pragma gives the value for
	// a key, "" where there is none.
	Configurer interface {
		Configure(pragma func(key string) string) error
	}

	// Batcher is quicker with many at once: neighbours on a line whose keys are equal and not empty are handed to the first
	// of them together. Both calls go through agents in order and return how many were done before the error. StartAll
	// adopts what runs already.
	Batcher interface {
		Agent
		BatchKey() string
		StartAll(ctx context.Context, agents []Agent) (int, error)
		StopAll(ctx context.Context, agents []Agent) (int, error)
		StatusAll(ctx context.Context, agents []Agent) ([]State, error)
	}
)

// What a Counter may count.
const (
	CountAnnounced   = "announced"   // announcements that left
	CountUnannounced = "unannounced" // announcements that could not be sent
	CountRepaired    = "repaired"    // how often what had gone was put back
)

// Phase says where in an operation an Event stands.
type Phase string

// The phases of an operation. Skip and Retry need no Begin; Begin is followed by End.
const (
	Begin  Phase = "begin"
	Output Phase = "output" // one line that a script wrote
	End    Phase = "end"
	Skip   Phase = "skip"   // not started since it runs already, or not stopped since it does not run
	Retry  Phase = "retry"  // a failed stop is tried again; Err says why
	Accept Phase = "accept" // a stop failed, but the resource does not run; Err says why

	Failure Phase = "failure" // of OpMonitor: a held resource failed; it is restarted in place if it may be
	GiveUp  Phase = "give-up" // of OpMonitor: it is not restarted any more; Manager.OnFailed tells the same
)

// Event tells what a Manager does, as it happens.
type Event struct {
	Group     string
	Resource  string // as written on the line
	Operation Operation
	Phase     Phase
	Took      time.Duration // with End; with Output, since Begin
	Err       error         // with End, Retry, Accept, Failure, GiveUp, and Skip of OpMonitor
	Line      string        // with Output
}

// OperationError says which operation on which resource failed and why.
type OperationError struct {
	Resource  string
	Operation Operation
	Err       error
}

// Error renders `start of "apache2": exit code 1: …`.
func (e *OperationError) Error() string {
	return fmt.Sprintf("%s of %s: %v", e.Operation, quote(e.Resource), e.Err)
}

// Unwrap gives the cause.
func (e *OperationError) Unwrap() error { return e.Err }

// StuckError says that something of a group may still run, although everything was tried to stop it. Nobody else may start
// the group until the resource, or this machine, is known to be down.
type StuckError struct {
	Group    string
	Resource string
	Err      error
}

// Error says what may still run and why.
func (e *StuckError) Error() string {
	return fmt.Sprintf("%s of group %s may still run: %v", quote(e.Resource), quote(e.Group), e.Err)
}

// Unwrap gives the cause.
func (e *StuckError) Unwrap() error { return e.Err }

// ErrReleased is the cause of the end of an Acquire that a Release of the same group cut short.
var ErrReleased = errors.New("cut short by the release of the group")

// outputKey is the context key of WithOutput.
type outputKey struct{}

// WithOutput makes line the place for what an Agent writes under ctx. A Manager does that itself; it is for those who call an
// Agent without one.
func WithOutput(ctx context.Context, line func(string)) context.Context {
	return context.WithValue(ctx, outputKey{}, line)
}

// OutputTo is where an Agent sends each line that its script writes: to the Manager that called it. Without one, nil.
func OutputTo(ctx context.Context) func(string) {
	line, _ := ctx.Value(outputKey{}).(func(string))
	return line
}
