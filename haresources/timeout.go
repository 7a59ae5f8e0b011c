package haresources

import (
	"context"
	"fmt"
	"time"
)

// Timeouts of operations when neither a pragma nor the agent says otherwise: long enough for a file system check or a
// database's recovery, short enough that a person does not give up first.
const (
	DefaultStart  = 2 * time.Minute
	DefaultStop   = 2 * time.Minute
	DefaultStatus = time.Minute // Heartbeat's own Delay takes half of that
)

// Timeout is how long an operation on a resource of the group may take: as its pragma says, else as the agent says, else
// the default.
func (g Group) Timeout(r Resource, a Agent, op Operation) time.Duration {
	key, limit := PragmaStart, DefaultStart
	switch op {
	case OpStop:
		key, limit = PragmaStop, DefaultStop
	case OpStatus:
		key, limit = PragmaStatus, DefaultStatus
	}
	if t, ok := a.(Timer); ok {
		if d := t.Timeout(op); d > 0 {
			limit = d
		}
	}
	return g.duration(key, r, limit)
}

// limited is ctx with an end, and a cause that says in words what happened.
func limited(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, timeoutError(d))
}

// timeoutError says that an operation took too long.
type timeoutError time.Duration

// Error names the limit.
func (e timeoutError) Error() string { return fmt.Sprintf("did not end within %v", time.Duration(e)) }

// Timeout makes it recognisable to those who look for that method.
func (e timeoutError) Timeout() bool { return true }
