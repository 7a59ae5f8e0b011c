package daemon

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hapair/heartbeat/wire"
)

// badEvery is how often at most one link's rejected frames are worth a line in the log.
const badEvery = time.Minute

// badFrames counts what one link brought and could not be believed. Its line in the log comes at once for the first, then
// at most once a minute with the counts, however many there are.
type badFrames struct {
	link string
	warn func(format string, args ...any)
	said *atomic.Bool // ha.cf's log_badpack

	mu     sync.Mutex
	total  map[string]uint64 // since the start, by cause
	recent map[string]uint64 // since the last line
	from   string
	at     time.Time // of the last one
	last   time.Time // of the last line
	timer  *time.Timer
}

// newBadFrames counts for one link; say tells whether lines are wanted.
func newBadFrames(link string, say *atomic.Bool, warn func(string, ...any)) *badFrames {
	return &badFrames{link: link, warn: warn, said: say, total: map[string]uint64{}, recent: map[string]uint64{}}
}

// badCause names in a few words why a frame was rejected.
func badCause(err error) string {
	switch {
	case errors.Is(err, wire.ErrKey):
		return "unknown key index"
	case errors.Is(err, wire.ErrDigest):
		return "wrong signature"
	case errors.Is(err, wire.ErrTooLong):
		return "too long"
	}
	return "malformed"
}

// badHint is what to do about a cause.
func badHint(recent map[string]uint64) string {
	if recent["wrong signature"]+recent["unknown key index"] > 0 {
		return "if they come from the peer, compare authkeys on both nodes; if not, somebody else sends to this port"
	}
	return "something else sends to this port"
}

// add counts one rejected frame.
func (b *badFrames) add(err error, from string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	cause := badCause(err)
	b.total[cause]++
	b.recent[cause]++
	b.from, b.at = from, time.Now()
	if b.timer != nil {
		return
	}
	if wait := badEvery - time.Since(b.last); wait > 0 && !b.last.IsZero() {
		b.timer = time.AfterFunc(wait, b.due)
		return
	}
	b.tell()
}

// due is called a minute after the last line when frames were rejected since.
func (b *badFrames) due() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer = nil
		b.tell()
	}
}

// tell writes the line.
func (b *badFrames) tell() {
	if b.said.Load() {
		sum, parts := counts(b.recent)
		from := ""
		if b.from != "" {
			from = ", last from " + b.from
		}
		b.warn("%s: %d invalid frame(s) dropped%s (%s): %s", b.link, sum, from, parts, badHint(b.recent))
	}
	clear(b.recent)
	b.last = time.Now()
}

// counts renders "3 malformed, 1 too long" and the sum.
func counts(by map[string]uint64) (sum uint64, text string) {
	parts := make([]string, 0, len(by))
	for cause, n := range by {
		sum += n
		parts = append(parts, fmt.Sprintf("%d %s", n, cause))
	}
	sort.Strings(parts)
	return sum, strings.Join(parts, ", ")
}

// totals is a copy of the counts since the start.
func (b *badFrames) totals() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	copied := make(map[string]uint64, len(b.total))
	for cause, n := range b.total {
		copied[cause] = n
	}
	return copied
}

// latest is the counts since the start, with who sent the last one and when.
func (b *badFrames) latest() (counts map[string]uint64, from string, at time.Time) {
	counts = b.totals()
	b.mu.Lock()
	defer b.mu.Unlock()
	return counts, b.from, b.at
}

// stop ends the timer.
func (b *badFrames) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}
