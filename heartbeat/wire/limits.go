package wire

import (
	"errors"
	"fmt"
)

// The limits that hold for everything that arrives.
const (
	MaxFrame    = 256 << 10 // bytes of one frame as it travels (protocol section 0.1)
	MaxInflated = 2 << 20   // bytes of a compressed message once inflated (protocol section 3.7)
	MaxText     = 32 << 10  // bytes of one frame on a serial line: 17 s at 19200 baud, a hundred times a heartbeat
	MaxDepth    = 16        // messages within messages
	MaxFields   = 4096      // fields of one message; Linux-HA sets no limit and uses a dozen
)

// The causes for which a frame is refused. Callers tell them apart with errors.Is, to count them and to say once what is wrong.
var (
	ErrMalformed = errors.New("malformed frame")                             // no frame of ours, or damaged
	ErrTooLong   = errors.New("frame too long")                              // beyond MaxFrame, MaxInflated or MaxFields
	ErrKey       = errors.New("signed with a key that authkeys has not got") // the index in the frame is not configured
	ErrDigest    = errors.New("signature missing or wrong")                  // not signed, or not with our secret
)

// These are refused before anything is verified, so a flood of garbage must not cost an allocation each.
var (
	errNoMarker  = fmt.Errorf("%w: begins with neither ### nor >>>", ErrMalformed)
	errNoEnd     = fmt.Errorf("%w: has no end marker", ErrMalformed)
	errTrailer   = fmt.Errorf("%w: what follows the end marker is no signature", ErrMalformed)
	errAuthField = fmt.Errorf("%w: the auth field is no signature", ErrMalformed)
	errFrameSize = fmt.Errorf("%w: more than %d bytes", ErrTooLong, MaxFrame)
	errFields    = fmt.Errorf("%w: more than %d fields", ErrTooLong, MaxFields)
	errUnsigned  = fmt.Errorf("%w: the frame carries none", ErrDigest)
)

// malformed is an ErrMalformed with what is wrong.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}
