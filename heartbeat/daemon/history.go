package daemon

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// journalLine is the longest line of a journal that is read: far more than any that is written.
const journalLine = 1 << 20

// ReadJournal reads what the journal holds, oldest first: also while the daemon writes it, after it ended, and after a reboot. Lines that
// cannot be read, as a full disk or a power cut may leave one, are left out. A journal that was never begun is empty; other errors are
// those of reading files.
func ReadJournal(path string) ([]JournalEntry, error) {
	var all []JournalEntry
	for _, name := range []string{path + ".1", path} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, fmt.Errorf("read the journal: %w", err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, journalLine)
		for lines.Scan() {
			var e JournalEntry
			if json.Unmarshal(lines.Bytes(), &e) == nil && e.What != "" {
				all = append(all, e)
			}
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return all, fmt.Errorf("read the journal %s: %w", name, err)
		}
	}
	return all, nil
}

// Chain is why one group is where it is, as far as this node knows: what happened before its last change, and the steps of that change.
type Chain struct {
	Group string         `json:"group"`
	Steps []JournalEntry `json:"steps"` // oldest first
}

// How far back the causes of a change are looked for, and how long after it its own steps may come.
const (
	causesBefore = 30 * time.Second
	stepsAfter   = 10 * time.Minute
)

// Explain finds the last change of a group in a journal: when this node last began to acquire or to release it. Before it stand the
// transitions that led there: a peer that fell silent or came back, a request, a failure, a fencing. ok is false when the journal tells of
// no change of that group.
func Explain(journal []JournalEntry, group string) (c Chain, ok bool) {
	c.Group = group
	mentions := func(e JournalEntry) bool { return e.Group == group || containsWord(e.What, group) }
	at := -1
	for i, e := range slices.Backward(journal) {
		if mentions(e) && (strings.HasPrefix(e.What, "Acquiring resource group") || strings.HasPrefix(e.What, "Releasing resource group")) {
			at = i
			break
		}
	}
	if at < 0 {
		return c, false
	}
	change := journal[at]
	decisive := lastDecisive(journal[:at], change.Generation)
	for i, e := range journal[:at] {
		// Causes of this run, not what became of other groups.
		if e.Generation == change.Generation && (change.Time.Sub(e.Time) <= causesBefore || slices.Contains(decisive, i)) &&
			(mentions(e) || !strings.Contains(e.What, "esource group") && e.Group == "") {
			c.Steps = append(c.Steps, e)
		}
	}
	c.Steps = append(c.Steps, change)
	for _, e := range journal[at+1:] {
		if e.Generation == change.Generation && e.Time.Sub(change.Time) <= stepsAfter && mentions(e) {
			c.Steps = append(c.Steps, e)
		}
	}
	return c, true
}

// decisiveLine is what decides about all groups, for as long as nothing else of the kind is said: how the other node is, and whether this one
// may take anything.
var decisiveLine = regexp.MustCompile(`^[Nn]ode \S+ (?:is dead|is back|appears|is off)|^[Nn]ode \S+: is dead|^Received shutdown notice|^This node is isolated|^STONITH of |nothing is taken over`)

// lastDecisive finds the last such entry of a run, and, where that says that this node may take nothing, the one before that says why it wants to.
func lastDecisive(journal []JournalEntry, generation uint32) (found []int) {
	for i, e := range slices.Backward(journal) {
		if e.Generation != generation || !decisiveLine.MatchString(e.What) {
			continue
		}
		found = append(found, i)
		if !strings.HasPrefix(e.What, "This node is isolated") && !strings.Contains(e.What, "nothing is taken over") {
			return found
		}
	}
	return found
}

// containsWord tells whether text holds word, with nothing of a longer name around it.
func containsWord(text, word string) bool {
	for rest := text; ; {
		i := strings.Index(rest, word)
		if i < 0 {
			return false
		}
		after := rest[i+len(word):]
		if (i == 0 || strings.ContainsRune(" \"'", rune(rest[i-1]))) && (after == "" || strings.ContainsRune(" ,:.\"'", rune(after[0]))) {
			return true
		}
		rest = after
	}
}

// changeLine is how a change of a group begins; journals of earlier versions lack the colon and the preferred node.
var changeLine = regexp.MustCompile(`^(?:Acquiring|Releasing) resource group(?:: \S+)? (.+)$`)

// GroupsOf lists the groups whose changes a journal tells of, in the order in which they were told of first.
func GroupsOf(journal []JournalEntry) (names []string) {
	for _, e := range journal {
		if m := changeLine.FindStringSubmatch(e.What); m != nil && !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}
