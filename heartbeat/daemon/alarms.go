package daemon

import (
	"maps"
	"slices"
	"sync"
)

// alarms is what is wrong with this node and needs a person, by a key for each cause. Raising and clearing are logged once
// each; `heartbeat status` shows what stands.
type alarms struct {
	log *Log

	mu       sync.Mutex
	standing map[string]string
}

// newAlarms makes an empty set.
func newAlarms(log *Log) *alarms { return &alarms{log: log, standing: map[string]string{}} }

// raise makes an alarm stand; a repeated one with the same text is silent.
func (a *alarms) raise(key, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.standing[key] == text {
		return
	}
	a.standing[key] = text
	a.log.Critf("ALARM: %s", text)
}

// clear ends an alarm, if it stands.
func (a *alarms) clear(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if text, ok := a.standing[key]; ok {
		delete(a.standing, key)
		a.log.Infof("Alarm over: %s", text)
	}
}

// texts is what stands, in a stable order.
func (a *alarms) texts() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	texts := make([]string, 0, len(a.standing))
	for _, key := range slices.Sorted(maps.Keys(a.standing)) {
		texts = append(texts, a.standing[key])
	}
	return texts
}
