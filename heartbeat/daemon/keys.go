package daemon

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"hapair/heartbeat/wire"
)

// While authkeys holds more than one entry, each node says in its heartbeats which it has, in an extra field that Linux-HA
// ignores:
//
//	hapair-keys=INDEX:FINGERPRINT …
//
// so that a node can know that the other understands a key before it signs with it.
const fieldKeys = "hapair-keys"

// keysFresh is how long what the peer said of its keys counts.
const keysFresh = 15 * time.Second

// keyring knows which key signs, and what the peer knows and does.
//
// A Linux-HA peer verifies a frame with its own signing key, whichever the frame names (protocol section 2.2): it understands
// this node only while both sign with the same entry. Therefore this node signs with whatever entry such a peer signs with, so
// that the key is changed there, by its authkeys, and followed here at once.
type keyring struct {
	say   func(format string, args ...any)
	apply func(*wire.Keys) // makes them the keys that sign and verify

	mu    sync.Mutex
	file  *wire.Keys // as authkeys has them
	keys  *wire.Keys // as in force
	claim string     // the value of the extra field, "" for none
	peer  string
	heard peerKeys
}

// peerKeys is what the peer's last heartbeat told.
type peerKeys struct {
	at      time.Time // zero: never heard
	order   [2]uint64 // generation and sequence number: a replayed frame tells nothing
	index   int       // it was signed with
	ours    bool      // it is a hapair
	entries map[int]string
}

// load takes the keys of a configuration.
func (r *keyring) load(keys *wire.Keys, peer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if peer != r.peer {
		r.heard = peerKeys{}
	}
	r.file, r.keys, r.peer, r.claim = keys, keys, peer, ""
	if methods := keys.Methods(); len(methods) > 1 {
		words := make([]string, len(methods))
		for i, m := range methods {
			words[i] = fmt.Sprintf("%d:%s", m.Index, keys.Fingerprint(m.Index))
		}
		r.claim = strings.Join(words, " ")
	}
	r.follow()
	r.apply(r.keys)
}

// follow chooses the key that signs. r.mu is held.
func (r *keyring) follow() {
	r.keys = r.file
	if r.following() {
		r.keys, _ = r.file.SigningWith(r.heard.index)
	}
}

// following tells whether the peer is a Linux-HA that signs with another entry than this node's authkeys says. r.mu is held.
func (r *keyring) following() bool {
	if r.heard.at.IsZero() || r.heard.ours {
		return false
	}
	index, _ := r.file.Signing()
	return index != r.heard.index && r.file.Fingerprint(r.heard.index) != ""
}

// addClaim adds to a heartbeat which keys this node has, where there is a choice.
func (r *keyring) addClaim(m wire.Message) wire.Message {
	r.mu.Lock()
	claim := r.claim
	r.mu.Unlock()
	if claim == "" || m.Kind() != "status" {
		return m
	}
	m = m.Clone()
	m.Set(fieldKeys, claim)
	return m
}

// listen learns from a verified frame.
func (r *keyring) listen(frame []byte, m wire.Message) {
	if m.Kind() != "status" {
		return
	}
	index, ok := wire.SignedWith(frame)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.peer == "" || m.Get("src") != r.peer {
		return
	}
	now := time.Now()
	generation, _ := strconv.ParseUint(m.Get("hg"), 16, 64)
	sequence, _ := strconv.ParseUint(m.Get("seq"), 16, 64)
	order := [2]uint64{generation, sequence}
	older := order[0] < r.heard.order[0] || order[0] == r.heard.order[0] && order[1] <= r.heard.order[1]
	if older && now.Sub(r.heard.at) < keysFresh {
		return // another link brought it before, or somebody plays it again
	}
	was := r.heard
	_, ours := m.Lookup("hapair")
	r.heard = peerKeys{at: now, order: order, index: index, ours: ours, entries: parseClaim(m.Get(fieldKeys))}
	if was.index == index && was.ours == ours && !was.at.IsZero() {
		return
	}
	before, _ := r.keys.Signing()
	r.follow()
	after, method := r.keys.Signing()
	if before == after {
		return
	}
	r.apply(r.keys)
	if r.following() {
		r.say("%s signs with key %d: this node signs with it too (%s), since Linux-HA understands no other; "+
			"write `auth %d` into authkeys here with: heartbeat key switch", r.peer, after, method, after)
	} else {
		r.say("This node signs with key %d (%s) again, as authkeys says", after, method)
	}
}

// parseClaim reads the extra field.
func parseClaim(text string) map[int]string {
	var entries map[int]string
	for _, word := range strings.Fields(text) {
		number, print, _ := strings.Cut(word, ":")
		if index, err := strconv.Atoi(number); err == nil && index >= 0 && index <= wire.MaxIndex {
			if entries == nil {
				entries = map[int]string{}
			}
			entries[index] = print
		}
	}
	return entries
}

// KeysView is what a node knows about keys, its own and the peer's.
type KeysView struct {
	Entries   []KeyView `json:"entries"`
	Following bool      `json:"following,omitempty"` // signs with another entry than authkeys says, because a Linux-HA peer does
}

// KeyView is one entry of authkeys.
type KeyView struct {
	Index  int    `json:"index"`
	Method string `json:"method"`
	Signs  bool   `json:"signs"` // signs what this node sends
	File   bool   `json:"file"`  // authkeys says that it does
	Peer   string `json:"peer"`  // signs: the peer signs with it; has; lacks: the peer has another key, or none, there; unknown
}

// view describes the keys.
func (r *keyring) view() *KeysView {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := &KeysView{Following: r.following()}
	inFile, _ := r.file.Signing()
	for _, m := range r.keys.Methods() {
		v.Entries = append(v.Entries, KeyView{Index: m.Index, Method: m.Name, Signs: m.Signs, File: m.Index == inFile, Peer: r.known(m.Index)})
	}
	return v
}

// known is what the peer does with an entry. r.mu is held.
func (r *keyring) known(index int) string {
	switch {
	case r.heard.at.IsZero() || time.Since(r.heard.at) > keysFresh:
		return "unknown"
	case r.heard.index == index:
		return "signs"
	case r.heard.entries != nil && r.heard.entries[index] == r.file.Fingerprint(index):
		return "has"
	case r.heard.ours:
		return "lacks"
	}
	return "unknown"
}
