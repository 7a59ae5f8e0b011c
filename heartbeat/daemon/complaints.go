package daemon

import (
	"context"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// complainer is a manager whose resources say what is wrong with them, and compare notes with those of the peer.
type complainer interface {
	Complaints() map[string]error
	Letters() map[string]string
	Read(spec, letter string)
}

// letterType is the message that carries what a resource wants known by the same one on the peer.
const letterType = "hapair-letter"

// How often resources are asked for complaints, and every how many times for letters.
const (
	complaintsEvery = time.Second
	lettersEvery    = 3
)

// hearResources makes what resources complain of alarms, and carries their letters, until ctx ends.
func (e *engine) hearResources(ctx context.Context) {
	m, ok := e.manager.(complainer)
	if !ok {
		return
	}
	ticker := time.NewTicker(complaintsEvery)
	defer ticker.Stop()
	raised := map[string]bool{}
	for turn := 0; ; turn++ {
		raised = e.raiseComplaints(m.Complaints(), raised)
		if turn%lettersEvery == 0 {
			e.sendLetters(m.Letters())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// raiseComplaints raises an alarm for each complaint, and clears those that are over. It returns which stand.
func (e *engine) raiseComplaints(complaints map[string]error, before map[string]bool) map[string]bool {
	now := map[string]bool{}
	for spec, err := range complaints {
		now[spec] = true
		e.alarms.raise("resource "+spec, spec+": "+err.Error())
	}
	for spec := range before {
		if !now[spec] {
			e.alarms.clear("resource " + spec)
		}
	}
	return now
}

// sendLetters sends each letter to a peer that is there.
func (e *engine) sendLetters(letters map[string]string) {
	for spec, text := range letters {
		var m wire.Message
		m.Set("t", letterType)
		m.Set("spec", spec)
		m.Set("text", text)
		e.in.post(func() {
			if e.loop.core.Status().Member == "active" {
				e.in.post(heartbeat.Submit{Msg: m})
			}
		})
	}
}

// letter hands a message of the peer's resource to ours. It tells whether the message was one.
func (e *engine) letter(m wire.Message) bool {
	if m.Kind() != letterType {
		return false
	}
	if r, ok := e.manager.(complainer); ok && m.Get("src") != e.conf().Node && m.Get("src") != "" {
		go r.Read(m.Get("spec"), m.Get("text"))
	}
	return true
}
