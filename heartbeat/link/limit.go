package link

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// What one sender may deliver: far more than a peer at a keepalive of 10 ms with all its repairs, far less than costs a
// noticeable part of a processor to verify.
const (
	senderBurst   = 512                             // frames at once
	senderRate    = 1024                            // frames a second after that
	senderBuckets = 256                             // senders are told apart by a hash of so many values
	senderRefill  = int64(time.Second) / senderRate // nanoseconds for one frame
)

// limiter bounds what each sender gets through, so that a flood from one address costs the frames of no other. It has a fixed
// size, whoever sends. The zero value is not ready: use newLimiter.
type limiter struct {
	seed    uint64
	buckets [senderBuckets]bucket
}

// bucket is what one sender has left.
type bucket struct {
	tokens int64
	last   int64 // when tokens were last added, ns
}

func newLimiter() *limiter {
	return &limiter{seed: rand.Uint64()} // a bucket fills at its first use
}

// allow takes a token of the sender's, or says that it has none. now is in nanoseconds and may jump: a jump refills.
func (l *limiter) allow(from netip.Addr, now int64) bool {
	b := &l.buckets[l.hash(from)%senderBuckets]
	switch since := now - b.last; {
	case since < 0 || since > int64(time.Second):
		b.tokens, b.last = senderBurst, now
	case since >= senderRefill:
		gained := since / senderRefill
		b.tokens, b.last = min(b.tokens+gained, senderBurst), b.last+gained*senderRefill
	}
	if b.tokens == 0 {
		return false
	}
	b.tokens--
	return true
}

// hash is FNV-1a over the address, begun with a secret so that nobody can choose an address that shares the peer's bucket.
func (l *limiter) hash(from netip.Addr) uint64 {
	h := l.seed
	for _, b := range from.As16() {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return h ^ h>>32
}
