package haresources

import "context"

// WithOutput makes line the place for what an Agent writes under ctx. A Manager does that itself; it is for those who call an
// Agent without one.
func WithOutput(ctx context.Context, line func(string)) context.Context {
	return withOutput(ctx, line)
}
