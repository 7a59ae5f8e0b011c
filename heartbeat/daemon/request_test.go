package daemon

import (
	"context"
	"testing"
)

// TestWhatIsDoneIsNotDenied: an upgrade ends the loop and everything else, perhaps before the one who asked for it looks.
func TestWhatIsDoneIsNotDenied(t *testing.T) {
	e := &engine{ended: make(chan struct{})}
	close(e.ended)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	if e.outcome(ctx, done) == nil {
		t.Error("it was not done")
	}
	close(done)
	for range 100 {
		if err := e.outcome(ctx, done); err != nil {
			t.Fatalf("it was done: %v", err)
		}
	}
}
