package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// JournalEntry is one line of the journal: a transition with its reason, or an alarm.
type JournalEntry struct {
	Time       time.Time `json:"time"`
	Node       string    `json:"node"`
	Generation uint32    `json:"generation"`
	Level      string    `json:"level"`
	What       string    `json:"what"`
	Reason     string    `json:"reason,omitempty"`

	// Of a line that a resource's script wrote, and of the end of an operation.
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource,omitempty"`
	Operation string `json:"operation,omitempty"`
	TookMS    int64  `json:"took_ms,omitempty"` // since the operation began
}

// The bounds of the journal: two files of half of what it may take.
const (
	journalFile   = 4 << 20
	journalQueue  = 256  // entries on their way to the writer
	journalMemory = 1000 // entries kept while the disk does not take them
)

// journal appends entries to a file in a goroutine of its own. While the disk is full entries wait in memory, oldest
// dropped, and an alarm stands.
type journal struct {
	path   string
	limit  int64
	alarms *alarms

	queue   chan JournalEntry
	closing chan struct{}
	done    chan struct{}

	// The goroutine's own.
	pending []JournalEntry
	file    *os.File
	size    int64
}

// newJournal makes a journal; start runs it.
func newJournal(path string, alarms *alarms) *journal {
	return &journal{path: path, limit: journalFile, alarms: alarms,
		queue: make(chan JournalEntry, journalQueue), closing: make(chan struct{}), done: make(chan struct{})}
}

// start runs the journal until close.
func (j *journal) start() { go j.run() }

// add hands in an entry; it never blocks. One that finds the queue full is lost, which takes a storm while the disk hangs.
func (j *journal) add(e JournalEntry) {
	select {
	case j.queue <- e:
	default:
	}
}

// close writes what is left, for at most patience, and ends the journal.
func (j *journal) close(patience time.Duration) {
	close(j.closing)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-j.done:
	case <-timer.C:
	}
}

func (j *journal) run() {
	defer close(j.done)
	retry := time.NewTimer(retryDisk)
	retry.Stop()
	for {
		select {
		case e := <-j.queue:
			j.remember(e)
		case <-retry.C:
		case <-j.closing:
			j.collect()
			j.flush()
			if j.file != nil {
				j.file.Close()
			}
			return
		}
		j.collect()
		if !j.flush() {
			retry.Reset(retryDisk)
		}
	}
}

// collect takes everything that is queued.
func (j *journal) collect() {
	for {
		select {
		case e := <-j.queue:
			j.remember(e)
		default:
			return
		}
	}
}

// remember appends to what is to be written, within bounds.
func (j *journal) remember(e JournalEntry) {
	if len(j.pending) == journalMemory {
		j.pending = j.pending[1:]
	}
	j.pending = append(j.pending, e)
}

// flush writes what is pending; it tells whether all of it is on disk.
func (j *journal) flush() bool {
	for len(j.pending) > 0 {
		if err := j.write(j.pending[0]); err != nil {
			j.alarms.raise("journal", fmt.Sprintf("cannot write the journal (%v): transitions are kept in memory only; free some space", err))
			return false
		}
		j.pending = j.pending[1:]
	}
	j.alarms.clear("journal")
	return true
}

// write appends one entry, starting a new file when this one is long enough. A line that came out only in part is cut off
// again, so that the journal stays readable.
func (j *journal) write(e JournalEntry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if err := j.open(int64(len(line))); err != nil {
		return err
	}
	if _, err = j.file.Write(line); err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.file.Truncate(j.size)
		j.file.Close()
		j.file = nil
		return err
	}
	j.size += int64(len(line))
	return nil
}

// open makes sure that there is a file with room for n more bytes.
func (j *journal) open(n int64) error {
	if j.file != nil && j.size > 0 && j.size+n > j.limit {
		j.file.Close()
		j.file = nil
		if err := os.Rename(j.path, j.path+".1"); err != nil {
			return err
		}
	}
	if j.file != nil {
		return nil
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	j.file, j.size = f, info.Size()
	return nil
}
