package link

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"hapair/heartbeat/host"
)

// What one sender (an address with its port: one program) may deliver: far more than a peer at a keepalive of 10 ms with all
// its repairs, far less than costs a noticeable part of a processor to verify.
const (
	senderBurst   = 512                             // frames at once
	senderRate    = 1024                            // frames a second after that
	senderUnit    = 4096                            // a longer frame counts once more for each of these bytes
	senderBuckets = 256                             // senders are told apart by a hash of so many values
	senderRefill  = int64(time.Second) / senderRate // nanoseconds for one frame
	shunAfter     = 256                             // frames above that in a row, and the kernel is asked to drop the rest
	shunFor       = time.Second                     // for so long
)

// limiter bounds what each sender gets through, so that a flood from one costs the frames of no other. It has a fixed size,
// whoever sends. Use newLimiter.
type limiter struct {
	seed    uint64
	buckets [senderBuckets]bucket
}

// bucket is what one sender has left.
type bucket struct {
	tokens  int64
	last    int64          // when tokens were last added, ns
	refused netip.AddrPort // who was refused last: two senders may share a bucket, and only one of them floods
	over    int            // tokens that it asked for in vain since the last pause
}

func newLimiter() *limiter {
	return &limiter{seed: rand.Uint64()} // a bucket fills at its first use
}

// allow takes the tokens for a frame of size bytes from the sender, or says that it has too few; and then whether it is past
// all patience. now is in nanoseconds and may jump: a jump refills.
func (l *limiter) allow(from netip.AddrPort, size int, now int64) (ok, enough bool) {
	b := &l.buckets[l.hash(from)%senderBuckets]
	switch since := now - b.last; {
	case since < 0 || since > int64(time.Second):
		b.tokens, b.last, b.over = senderBurst, now, 0
	case since >= senderRefill:
		gained := since / senderRefill
		b.tokens, b.last = min(b.tokens+gained, senderBurst), b.last+gained*senderRefill
	}
	cost := 1 + int64(size/senderUnit)
	if b.tokens < cost {
		if b.refused != from {
			b.refused, b.over = from, 0
		}
		b.over += int(cost)
		return false, b.over >= shunAfter
	}
	b.tokens -= cost
	return true, false
}

// hash is FNV-1a over address and port, begun with a secret so that nobody can choose an address that shares the peer's bucket.
func (l *limiter) hash(from netip.AddrPort) uint64 {
	h := l.seed
	for _, b := range from.Addr().As16() {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h = (h ^ uint64(from.Port())) * 0x100000001b3
	return h ^ h>>32
}

// shun asks the kernel to drop what the sender sends, for a while: then a flood costs this process nothing at all, and no
// place in the socket's buffer.
func (h *hub) shun(sender netip.AddrPort) {
	h.shunning.Lock()
	defer h.shunning.Unlock()
	if slices.Contains(h.shunned, sender) || len(h.shunned) >= host.MaxShunned {
		return
	}
	h.shunned = append(h.shunned, sender)
	if h.socket.Shun(h.shunned) == nil && len(h.shunned) == 1 {
		time.AfterFunc(shunFor, h.forgive)
	}
}

// forgive ends shun for all.
func (h *hub) forgive() {
	h.shunning.Lock()
	defer h.shunning.Unlock()
	h.shunned = nil
	_ = h.socket.Shun(nil) // fails when the hub was closed meanwhile
}
