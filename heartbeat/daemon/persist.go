package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/host"
)

// savedState is the state file: what the next start begins from.
type savedState struct {
	Schema int               `json:"schema"`
	BootID string            `json:"boot_id"` // of the machine's run; what was held in another one is not held any more
	Epochs map[string]uint64 `json:"epochs"`
	Held   []string          `json:"held"`
	Lines  []string          `json:"lines,omitempty"` // of haresources, of the groups that may run; see leftovers.go

	StartFenced bool `json:"start_fenced,omitempty"` // see heartbeat.Boot
	Fences      int  `json:"fences,omitempty"`
	MaybeShot   bool `json:"maybe_shot,omitempty"`
	Clean       bool `json:"clean,omitempty"`

	DeviceTookMS int64 `json:"device_took_ms,omitempty"`
	PausedUntil  int64 `json:"paused_until_ms,omitempty"` // on the clock of that run of the machine
}

// loadState reads the state file. A missing one is an empty state; a broken one too, with an error to tell of.
func loadState(path, bootID string) (heartbeat.Persist, error) {
	var p heartbeat.Persist
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("read state: %w", err)
	}
	var s savedState
	if err := json.Unmarshal(text, &s); err != nil {
		return p, fmt.Errorf("read state %s: %w", path, err)
	}
	p.Epochs, p.StartFenced, p.Fences, p.MaybeShot, p.Clean = s.Epochs, s.StartFenced, s.Fences, s.MaybeShot, s.Clean
	p.DeviceTook = time.Duration(s.DeviceTookMS) * time.Millisecond
	if s.BootID == bootID && bootID != "" {
		p.Held = s.Held
		p.PausedUntil = time.Duration(s.PausedUntil) * time.Millisecond
	}
	return p, nil
}

// loadLines reads the lines of the groups that ran when the state was written, in this boot of the machine; none where that cannot be learned.
func loadLines(path, bootID string) []string {
	var s savedState
	if text, err := os.ReadFile(path); err != nil || json.Unmarshal(text, &s) != nil || s.BootID != bootID || bootID == "" {
		return nil
	}
	return s.Lines
}

// keeper writes what has to survive a restart, newest state first and only, in a goroutine of its own. A disk that is full
// raises an alarm and is tried again; the node goes on.
type keeper struct {
	path, bootID string
	alarms       *alarms
	generation   func() error              // writes a generation that could not be written at the start; nil when it was
	line         func(group string) string // the line of a group, "" where there is none; nil for none at all

	mu      sync.Mutex
	want    *heartbeat.Persist // not yet written
	written []byte
	waiting []chan struct{} // to be closed when nothing is wanted any more
	kick    chan struct{}
	closing chan struct{}
	done    chan struct{}
}

// retryDisk is how long a full or broken disk is left alone.
const retryDisk = 10 * time.Second

// newKeeper makes a keeper; start runs it.
func newKeeper(path, bootID string, alarms *alarms) *keeper {
	return &keeper{path: path, bootID: bootID, alarms: alarms,
		kick: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
}

// start runs the keeper until close.
func (k *keeper) start() { go k.run() }

// keep asks for this state to be written soon; it never blocks.
func (k *keeper) keep(p heartbeat.Persist) {
	k.mu.Lock()
	k.want = &p
	k.mu.Unlock()
	wake(k.kick)
}

// kept returns what is closed when everything asked for so far is on disk.
func (k *keeper) kept() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := make(chan struct{})
	k.waiting = append(k.waiting, c)
	wake(k.kick)
	return c
}

// close writes what is left, for at most patience, and ends the keeper.
func (k *keeper) close(patience time.Duration) {
	close(k.closing)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-k.done:
	case <-timer.C:
	}
}

func (k *keeper) run() {
	defer close(k.done)
	retry := time.NewTimer(0)
	defer retry.Stop()
	for closing := false; ; {
		if !k.flush() && !closing {
			retry.Reset(retryDisk)
		}
		if closing {
			return
		}
		select {
		case <-k.kick:
		case <-retry.C:
		case <-k.closing:
			closing = true
		}
	}
}

// flush writes what is wanted; it tells whether nothing is left to do.
func (k *keeper) flush() bool {
	ok := true
	if k.generation != nil {
		if err := k.generation(); err != nil {
			k.alarms.raise("generation", generationAlarm(err))
			ok = false
		} else {
			k.generation = nil
			k.alarms.clear("generation")
		}
	}
	k.mu.Lock()
	want, waiting := k.want, k.waiting
	k.want, k.waiting = nil, nil
	k.mu.Unlock()
	if want != nil {
		if err := k.write(*want); err != nil {
			k.alarms.raise("state", fmt.Sprintf("cannot keep the state of the resource groups (%v): free some space; until then a restart of this node does not know what it held", err))
			k.putBack(want, waiting)
			return false
		}
		k.alarms.clear("state")
	}
	for _, c := range waiting {
		close(c)
	}
	return ok
}

// putBack remembers what could not be written, unless something newer is wanted by now.
func (k *keeper) putBack(want *heartbeat.Persist, waiting []chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = append(waiting, k.waiting...)
	if k.want == nil {
		k.want = want
	}
}

// write replaces the state file, unless it already says so.
func (k *keeper) write(p heartbeat.Persist) error {
	s := savedState{Schema: 1, BootID: k.bootID, Epochs: p.Epochs, Held: p.Held, StartFenced: p.StartFenced, Fences: p.Fences, MaybeShot: p.MaybeShot, Clean: p.Clean,
		DeviceTookMS: p.DeviceTook.Milliseconds(), PausedUntil: p.PausedUntil.Milliseconds()}
	for _, name := range p.Runs {
		if k.line == nil {
			break
		}
		if line := k.line(name); line != "" {
			s.Lines = append(s.Lines, line)
		}
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if bytes.Equal(text, k.written) {
		return nil
	}
	if err := host.ReplaceFile(k.path, text, 0o644); err != nil {
		return err
	}
	k.written = text
	return nil
}

// generationAlarm says what it means that the generation is not on disk.
func generationAlarm(err error) string {
	return fmt.Sprintf("cannot write the generation number (%v): this run uses one from the clock; free some space before the next restart, else a peer may take this node's messages for a replay", err)
}
