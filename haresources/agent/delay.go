package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// delay is the resource Delay[::START[::STOP]]: time passes before what stands behind it is started, and after it is
// stopped.
type delay struct {
	start, stop time.Duration
	mark        marker
}

// defaultDelay is that of the stock script (protocol section 8.6).
const defaultDelay = 10 * time.Second

// openDelay makes the agent.
func openDelay(env Environment, r haresources.Resource) (haresources.Agent, error) {
	d := &delay{start: defaultDelay, mark: newMarker(env, r)}
	if len(r.Args) > 2 {
		return nil, errors.New("Delay takes at most two arguments: Delay::SECONDS before a start[::SECONDS at a stop]")
	}
	var err error
	if len(r.Args) > 0 {
		if d.start, err = haresources.ParseDuration(r.Args[0]); err != nil {
			return nil, err
		}
	}
	d.stop = d.start
	if len(r.Args) > 1 {
		d.stop, err = haresources.ParseDuration(r.Args[1])
	}
	return d, err
}

// Check warns of delays that are longer than any takeover should be.
func (d *delay) Check() (list fault.List) {
	if d.start > 10*time.Minute || d.stop > 10*time.Minute {
		list.Addf(fault.Fault{Severity: fault.Warning}, "a bare number is seconds; 500ms and 2m can be written", "waits %v at a start and %v at a stop", d.start, d.stop)
	}
	return list
}

// Timeout leaves room for the delay.
func (d *delay) Timeout(op haresources.Operation) time.Duration {
	return max(d.start, d.stop) + addressTimeout
}

// Start waits.
func (d *delay) Start(ctx context.Context) error {
	if state, err := d.mark.status(); state == haresources.Running || err != nil {
		return err
	}
	if err := wait(ctx, d.start); err != nil {
		return err
	}
	return d.mark.set()
}

// Stop waits, if it was started.
func (d *delay) Stop(ctx context.Context) error {
	if state, err := d.mark.status(); state != haresources.Running || err != nil {
		return err
	}
	if err := wait(ctx, d.stop); err != nil {
		return err
	}
	return d.mark.clear()
}

// Status says whether Start was called since Stop.
func (d *delay) Status(context.Context) (haresources.State, error) { return d.mark.status() }

// Describe says how long it takes.
func (d *delay) Describe() string { return fmt.Sprintf("%v at a start, %v at a stop", d.start, d.stop) }

// wait lets time pass until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
