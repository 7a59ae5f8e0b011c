package daemon

import (
	"encoding/json"
	"errors"
	"os"

	"hapair/heartbeat/host"
)

// A daemon that is killed leaves its clients running. So that its successor goes on with them instead of starting each a second time, what
// runs is kept in a file of the run directory.

// keepRecord writes down which clients run.
func (c *clients) keepRecord() {
	if c.record == "" {
		return
	}
	text, err := json.Marshal(c.legacy())
	if err == nil {
		err = host.ReplaceFile(c.record, text, 0o600)
	}
	if err != nil {
		c.log.Warnf("Clients: %v: should this daemon be killed, its successor starts them a second time", err)
	}
}

// readOrphans are the clients of a killed predecessor that still run.
func readOrphans(path string) []legacyClient {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var all, alive []legacyClient
	if json.Unmarshal(text, &all) != nil {
		return nil
	}
	for _, l := range all {
		if l.Begun != "" && host.ProcessBegun(l.PID) == l.Begun {
			l.orphan = true
			alive = append(alive, l)
		}
	}
	return alive
}

// errOrphanEnded says that a client ended of which nobody knows how: the parent that could have asked was killed.
var errOrphanEnded = errors.New("it ended, nobody knows how")
