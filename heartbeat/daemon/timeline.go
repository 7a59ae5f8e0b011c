package daemon

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"time"

	"hapair/heartbeat"
)

// timelineKept is how many changes of owner are remembered: far more than a picture shows.
const timelineKept = 500

// timeline is who held which group when, as far as this node knows. The zero value is ready to use; it is safe for concurrent use.
type timeline struct {
	mu      sync.Mutex
	owners  map[string]string
	changes []ownership
}

// ownership is a group's new owner: a node, "" for nobody, or elsewhere.
type ownership struct {
	At    time.Time
	Group string
	Owner string
}

// elsewhere is the owner of a group of which only is known that this node did not hold it.
const elsewhere = "?"

// note compares with what was known.
func (t *timeline) note(groups []heartbeat.GroupStatus, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.owners == nil {
		t.owners = map[string]string{}
	}
	for _, g := range groups {
		if before, known := t.owners[g.Name]; known && before == g.Owner {
			continue
		}
		t.owners[g.Name] = g.Owner
		t.changes = append(t.changes, ownership{now, g.Name, g.Owner})
	}
	t.bound()
}

func (t *timeline) bound() {
	if over := len(t.changes) - timelineKept; over > 0 {
		t.changes = slices.Delete(t.changes, 0, over)
	}
}

// These lines of a journal tell who held a group: see group.go of package heartbeat.
var (
	journalHeld     = regexp.MustCompile(`^Resource group (.+) runs here \(`)
	journalReleased = regexp.MustCompile(`^Resource group (.+) released \(`)
)

// recall puts what a journal knows before what was noted since.
func (t *timeline) recall(journal []JournalEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var before []ownership
	for _, e := range journal {
		if len(t.changes) > 0 && !e.Time.Before(t.changes[0].At) {
			break
		}
		if m := journalHeld.FindStringSubmatch(e.What); m != nil {
			before = append(before, ownership{e.Time, m[1], e.Node})
		} else if m := journalReleased.FindStringSubmatch(e.What); m != nil {
			before = append(before, ownership{e.Time, m[1], elsewhere})
		}
	}
	t.changes = append(before, t.changes...)
	t.bound()
}

// view is a copy.
func (t *timeline) view(time.Time) []ownership {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.changes)
}

// remember keeps the time line until ctx ends: first from the journal, then by looking.
func (e *engine) remember(ctx context.Context) {
	look := func() { e.timeline.note(e.loop.core.Status().Groups, e.clock().Wall) }
	e.in.post(look)
	if e.journal != nil {
		if journal, err := ReadJournal(e.journal.path); err == nil {
			e.timeline.recall(journal)
		}
	}
	tick := time.NewTicker(webTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.in.post(look)
		case <-ctx.Done():
			return
		}
	}
}
