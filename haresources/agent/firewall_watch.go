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

// How the watcher repairs.
const (
	watchSettle  = 5 * time.Millisecond // after a change, for those that belong to it
	watchTimeout = 30 * time.Second     // for one repair
	watchMost    = 10                   // repairs in watchWindow; after that somebody else means it
	watchWindow  = time.Minute
)

// Watch puts the active rules back when somebody changes them, and loads changed files after a reload.
func (f *firewall) Watch(report func(haresources.State, error)) func() {
	f.mu.Lock()
	kept := f.kept
	f.mu.Unlock()
	w, err := host.WatchNFT()
	if err != nil {
		report(haresources.Running, fmt.Errorf("the rules are not watched: %w", err))
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended, changed := make(chan struct{}), make(chan struct{}, 1)
	go listenNFT(w, changed)
	go func() {
		defer close(ended)
		if kept != nil {
			report(haresources.Running, kept)
		}
		f.watch(ctx, changed, report)
	}()
	return func() {
		cancel()
		w.Close()
		<-ended
	}
}

// listenNFT passes changes on until the watch is closed.
func listenNFT(w *host.NFTWatch, changed chan<- struct{}) {
	for {
		if err := w.Wait(); errors.Is(err, os.ErrClosed) {
			return
		} else if err != nil {
			time.Sleep(time.Second) // it will not get better by haste
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// watch is the watcher's goroutine.
func (f *firewall) watch(ctx context.Context, changed <-chan struct{}, report func(haresources.State, error)) {
	var repairs []time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.redo:
			f.reload(ctx, report)
			continue
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchSettle):
		}
		state, err := f.Status(ctx)
		if state == haresources.Running || state == haresources.Unknown {
			continue
		}
		for len(repairs) > 0 && time.Since(repairs[0]) > watchWindow {
			repairs = repairs[1:]
		}
		if len(repairs) >= watchMost {
			report(haresources.Failed, fmt.Errorf("repaired %d times within %v, and changed again: find out which other program manages these rules", watchMost, watchWindow))
			return
		}
		repairs = append(repairs, time.Now())
		f.repair(ctx, err, report)
	}
}

// repair loads the rules again.
func (f *firewall) repair(ctx context.Context, why error, report func(haresources.State, error)) {
	if why == nil {
		why = errors.New("somebody has removed the rules")
	}
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	if err := f.Start(ctx); err != nil {
		report(haresources.Failed, fmt.Errorf("%w; %w", why, err))
		return
	}
	report(haresources.Running, fmt.Errorf("%w; loaded them again", why))
}

// reload loads files that have changed; where they are wrong, the rules stay as they are.
func (f *firewall) reload(ctx context.Context, report func(haresources.State, error)) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	if err := f.Start(ctx); err != nil {
		report(haresources.Running, err)
		return
	}
	f.mu.Lock()
	kept := f.kept
	f.mu.Unlock()
	report(haresources.Running, kept)
}
