package haresources

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// rollback stops the whole group after the start of one resource failed. It is not cut short by what cut the start short.
func (g *group) rollback(ctx context.Context, failed int, cause error) error {
	ctx = context.WithoutCancel(ctx)
	items := g.snapshot()
	right, _ := g.askAll(ctx, items[failed+1:])
	states := append(make([]State, failed+1), right...)
	var rest []*item
	for _, step := range PlanRollback(g.definition(), failed, states) {
		if it := items[step.Index]; step.Skip {
			g.event(it, OpStop, Event{Phase: Skip})
		} else {
			rest = append(rest, it)
		}
	}
	if err := g.stopAll(ctx, rest); err != nil {
		return errors.Join(cause, err)
	}
	if errors.Is(cause, ErrUnkillable) {
		return errors.Join(cause, &StuckError{g.definition().Name, items[failed].spec(), ErrUnkillable})
	}
	return cause
}

// release stops everything, right to left, but what may be stopped later.
func (g *group) release(ctx context.Context) (later []*item, err error) {
	g.mu.Lock()
	g.held = false
	g.mu.Unlock()
	items := g.snapshot()
	g.unwatch(items)
	slices.Reverse(items)
	items, later = lingering(items, g.mutes())
	return later, g.stopAll(ctx, items)
}

// stopAll stops items in the order given; it leaves the rest alone when one of them is stuck, since they are what that one
// stands on. Where the configuration has a stuck resource taken for stopped, the rest is stopped too: else its address would stay here
// while the other node serves.
func (g *group) stopAll(ctx context.Context, items []*item) error {
	ignored := g.definition().Pragmas[PragmaStopFailure] == StopIgnore
	var errs []error
	for len(items) > 0 {
		n := unit(items)
		done := 0
		if n > 1 {
			done, _ = g.batch(ctx, items[:n], OpStop)
		}
		for _, it := range items[done:n] { // one by one, with retries, what the batch did not stop
			if err := g.stop(ctx, it); err != nil {
				errs = append(errs, err)
				if !ignored || ctx.Err() != nil {
					return errors.Join(errs...)
				}
			}
		}
		items = items[n:]
	}
	return errors.Join(errs...)
}

// slowStops is how many stops may exceed their time-out before the resource counts as stuck: one that hangs would hang again, and whoever
// waits for the group, or for the policy about failed stops, is not to wait for stop-retries times stop-timeout.
const slowStops = 2

// stop stops one item, if need be by trying again and again.
func (g *group) stop(ctx context.Context, it *item) error {
	def := g.definition()
	retries := def.count(PragmaRetries, g.manager.Retries)
	pause := def.duration(PragmaRetryWait, it.resource(), g.manager.RetryPause)
	for tries, slow := 0, 0; ; tries++ {
		err := g.run(ctx, it, OpStop, it.agent.Stop)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return &StuckError{def.Name, it.spec(), withCause(ctx, err)}
		}
		if errors.As(err, new(timeoutError)) {
			slow++
		}
		last := retries > 0 && (tries >= retries || slow >= slowStops)
		state, askErr := g.ask(ctx, it)
		if state == Stopped || last && state == Unknown && askErr == nil {
			g.event(it, OpStop, Event{Phase: Accept, Err: err})
			it.end(Stopped, err)
			return nil
		}
		it.end(state, err)
		if last {
			return &StuckError{def.Name, it.spec(), err}
		}
		g.event(it, OpStop, Event{Phase: Retry, Err: err})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return &StuckError{def.Name, it.spec(), withCause(ctx, err)}
		}
	}
}

// withCause adds why ctx ended to an error that does not say so.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}
