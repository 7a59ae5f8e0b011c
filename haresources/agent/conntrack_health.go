package agent

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// SyncCounters are what conntrackd counts, as far as it tells whether connections get to the other node.
type SyncCounters struct {
	Internal int    `json:"internal"` // connections of this node's kernel
	External int    `json:"external"` // connections that the other node has told of
	Sent     uint64 `json:"sent"`     // packets
	Received uint64 `json:"received"`
	Errors   uint64 `json:"errors"` // packets that could not be sent
	Lost     uint64 `json:"lost"`   // messages of the other node that never came
}

// String is what a person wants to see.
func (s SyncCounters) String() string {
	return fmt.Sprintf("%d connections here, %d of the other node; %d packets sent, %d received, %d messages lost", s.Internal, s.External, s.Sent, s.Received, s.Lost)
}

// parseSync reads what conntrackd prints for -s.
func parseSync(lines []string) (s SyncCounters) {
	cache := ""
	for _, line := range lines {
		switch {
		case strings.HasPrefix(line, "cache "):
			cache, _, _ = strings.Cut(strings.TrimPrefix(line, "cache "), ":")
		case strings.HasPrefix(line, "current active connections:") && cache == "internal":
			fmt.Sscan(afterColon(line), &s.Internal)
		case strings.HasPrefix(line, "current active connections:") && cache == "external":
			fmt.Sscan(afterColon(line), &s.External)
		case strings.Contains(line, "Pckts sent"):
			scanPairs(line, map[string]*uint64{"sent": &s.Sent, "recv": &s.Received})
		case strings.Contains(line, "Error send"):
			scanPairs(line, map[string]*uint64{"send": &s.Errors})
		case strings.Contains(line, "Lost msgs"):
			scanPairs(line, map[string]*uint64{"msgs": &s.Lost})
		}
	}
	return s
}

func afterColon(line string) string {
	_, rest, _ := strings.Cut(line, ":")
	return rest
}

// scanPairs reads NUMBER WORD WORD, several times in a line, by the second word. The last one of a word counts.
func scanPairs(line string, into map[string]*uint64) {
	fields := strings.Fields(line)
	for i := 0; i+2 < len(fields); i += 3 {
		if n := into[fields[i+2]]; n != nil {
			fmt.Sscan(fields[i], n)
		}
	}
}

// When synchronisation counts as broken.
const (
	silence    = 10 * time.Second // nothing arrived: conntrackd says every second that it is there
	lagTime    = 30 * time.Second // the counts of the nodes differ
	lagCount   = 100              // by more connections than this,
	lagShare   = 10               // and by more than this part in a hundred
	freshness  = 15 * time.Second // of the peer's counters
	sendErrors = 5                // that could not be sent since the look before
)

// syncHealth judges the counters as they go by.
type syncHealth struct {
	last   SyncCounters
	seen   bool
	heard  time.Time // when something last arrived
	peer   SyncCounters
	peerAt time.Time
	moved  time.Time // when the peer last received something
	apart  time.Time // since when the counts differ; zero while they do not
}

// What can be wrong with the synchronisation.
var (
	errDeaf    = errors.New("nothing arrives from the other node's conntrackd: connections would be lost in a takeover by this node (does its firewall, or ours, let the port pass?)")
	errUnheard = errors.New("the other node's conntrackd receives nothing of ours: connections would be lost in a takeover by that node")
)

// add takes new counters, and says what is wrong by these alone.
func (h *syncHealth) add(c SyncCounters, now time.Time) error {
	before := h.last
	if !h.seen || c.Received != before.Received {
		h.heard = now
	}
	fresh := h.seen
	h.last, h.seen = c, true
	switch {
	case now.Sub(h.heard) >= silence:
		return fmt.Errorf("%w, for %v", errDeaf, now.Sub(h.heard).Round(time.Second))
	case fresh && c.Errors >= before.Errors+sendErrors:
		return fmt.Errorf("%d packets to the other node's conntrackd could not be sent", c.Errors-before.Errors)
	case fresh && c.Lost > before.Lost:
		return fmt.Errorf("%d messages of the other node's conntrackd were lost on the way", c.Lost-before.Lost)
	}
	return nil
}

// compare takes the counters of the other node, and says what is wrong by both together.
func (h *syncHealth) compare(active bool, peer SyncCounters, now time.Time) error {
	if h.peerAt.IsZero() || peer.Received != h.peer.Received || now.Sub(h.peerAt) > freshness {
		h.moved = now
	}
	h.peer, h.peerAt = peer, now
	if now.Sub(h.moved) >= silence {
		return fmt.Errorf("%w, for %v", errUnheard, now.Sub(h.moved).Round(time.Second))
	}
	leads, follows := h.last.Internal, peer.External
	if !active {
		leads, follows = peer.Internal, h.last.External
	}
	difference := leads - follows
	if difference < 0 {
		difference = -difference
	}
	if difference <= lagCount || difference*100 <= leads*lagShare {
		h.apart = time.Time{}
		return nil
	}
	if h.apart.IsZero() {
		h.apart = now
	}
	if now.Sub(h.apart) < lagTime {
		return nil
	}
	return fmt.Errorf("the active node has %d connections, the standby node knows %d of them, for %v: synchronisation lags", leads, follows, now.Sub(h.apart).Round(time.Second))
}
