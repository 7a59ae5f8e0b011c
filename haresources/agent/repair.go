package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// How a repairer works.
const (
	repairSettle  = 5 * time.Millisecond // after a change, for those that belong to it
	repairTimeout = 30 * time.Second     // for one repair
	repairMost    = 10                   // repairs in repairWindow; after that somebody else means it
	repairWindow  = time.Minute
	repairRetry   = time.Second // after a repair that failed
)

// repairer watches something in the kernel and puts it back when somebody removes or changes it.
type repairer struct {
	watch  func() (*host.Changes, error)
	status func(context.Context) (haresources.State, error)
	start  func(context.Context) error
	redo   <-chan struct{}                 // asks for a look at files; nil for never
	reload func(ctx context.Context) error // what a redo does
	report func(haresources.State, error)  // to the Manager
	past   []time.Time                     // the repairs within the window
}

// begin begins to watch; the returned function ends it.
func (r *repairer) begin() (stop func()) {
	w, err := r.watch()
	if err != nil {
		r.report(haresources.Running, fmt.Errorf("changes are not watched: %w", err))
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended, changed := make(chan struct{}), make(chan struct{}, 1)
	go listen(w, changed)
	go func() {
		defer close(ended)
		r.serve(ctx, changed)
	}()
	return func() {
		cancel()
		_ = w.Close()
		<-ended
	}
}

// listen passes changes on until the watch is closed.
func listen(w *host.Changes, changed chan<- struct{}) {
	for {
		err := w.Wait()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		select {
		case changed <- struct{}{}:
		default:
		}
		if err != nil {
			time.Sleep(repairRetry) // it will not get better by haste
		}
	}
}

// serve looks after every change until ctx ends.
func (r *repairer) serve(ctx context.Context, changed <-chan struct{}) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.redo:
			limited, cancel := context.WithTimeout(ctx, repairTimeout)
			err := r.reload(limited)
			cancel()
			r.report(haresources.Running, err)
			continue
		case <-again:
		case <-changed:
		}
		again = nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(repairSettle):
		}
		state, err := r.status(ctx)
		if state != haresources.Stopped && state != haresources.Failed {
			continue
		}
		if !r.mayRepair(time.Now()) {
			r.report(haresources.Failed, fmt.Errorf("put back %d times within %v, and changed again: find out which other program changes it", repairMost, repairWindow))
			return
		}
		if !r.repair(ctx, err) {
			again = time.After(repairRetry)
		}
	}
}

// mayRepair counts a repair, and says whether it is still within bounds.
func (r *repairer) mayRepair(now time.Time) bool {
	for len(r.past) > 0 && now.Sub(r.past[0]) > repairWindow {
		r.past = r.past[1:]
	}
	r.past = append(r.past, now)
	return len(r.past) <= repairMost
}

// repair puts things back, and says whether that worked.
func (r *repairer) repair(ctx context.Context, why error) bool {
	if why == nil {
		why = errors.New("somebody has removed it")
	}
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	if err := r.start(ctx); err != nil {
		r.report(haresources.Failed, fmt.Errorf("%w; it cannot be put back: %w", why, err))
		return false
	}
	r.report(haresources.Running, fmt.Errorf("%w; put back", why))
	return true
}
