package daemon

import (
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
)

// figures is what is counted since the start for the metrics, beyond what a status tells. The zero value is ready to use; it is safe for
// concurrent use.
type figures struct {
	mu         sync.Mutex
	changes    map[change]uint64
	operations map[operation]*operationFigures
	fences     map[string]uint64         // attempts by result
	double     map[string]*doubleFigures // by group
}

// change is a group taken or given.
type change struct{ group, what, cause string }

// operation is what is done to a resource.
type operation struct {
	group, resource string
	op              haresources.Operation
}

// operationFigures is how long that took, and how often it failed.
type operationFigures struct {
	took   histogram
	failed uint64
}

// doubleFigures is for how long both nodes held a group.
type doubleFigures struct {
	total time.Duration
	since time.Time // zero while they do not
}

// moved counts what the core does with a group.
func (f *figures) moved(a heartbeat.Action) {
	var c change
	switch a := a.(type) {
	case heartbeat.Acquire:
		c = change{a.Group, "acquire", causeOf(a.Reason)}
	case heartbeat.Release:
		c = change{a.Group, "release", causeOf(a.Reason)}
	default:
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == nil {
		f.changes = map[change]uint64{}
	}
	f.changes[c]++
}

// operated counts the end of an operation.
func (f *figures) operated(e haresources.Event) {
	if e.Phase != haresources.End || e.Operation == haresources.OpWatch {
		return
	}
	key := operation{e.Group, e.Resource, e.Operation}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.operations == nil {
		f.operations = map[operation]*operationFigures{}
	}
	o := f.operations[key]
	if o == nil {
		o = &operationFigures{}
		f.operations[key] = o
	}
	o.took.add(e.Took)
	if e.Err != nil {
		o.failed++
	}
}

// fenced counts an attempt.
func (f *figures) fenced(err error) {
	result := "confirmed"
	if err != nil {
		result = "failed"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fences == nil {
		f.fences = map[string]uint64{}
	}
	f.fences[result]++
}

// held notes that both nodes were found to hold a group, or no longer.
func (f *figures) held(group string, double bool, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.double == nil {
		f.double = map[string]*doubleFigures{}
	}
	d := f.double[group]
	if d == nil {
		d = &doubleFigures{}
		f.double[group] = d
	}
	switch {
	case double && d.since.IsZero():
		d.since = now
	case !double && !d.since.IsZero():
		d.total += now.Sub(d.since)
		d.since = time.Time{}
	}
}

// doubleFor is for how long both nodes have held a group, in all.
func (f *figures) doubleFor(group string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.double[group]
	switch {
	case d == nil:
		return 0
	case d.since.IsZero():
		return d.total
	}
	return d.total + now.Sub(d.since)
}
