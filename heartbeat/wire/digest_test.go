package wire_test

import (
	"strings"
	"testing"

	"hapair/heartbeat/wire"
)

func TestDigestNeedsTheKey(t *testing.T) {
	read := func(text string) *wire.Keys {
		keys, faults := wire.ReadKeys("authkeys", strings.NewReader(text))
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	one, other := read("auth 1\n1 sha1 one\n2 crc\n3 hmac-sha256 long-enough-for-anybody\n"), read("auth 1\n1 sha1 other\n")
	for _, index := range []int{1, 2, 3} {
		a, b := one.Digest(index, []byte("deadtime=10s")), one.Digest(index, []byte("deadtime=11s"))
		if len(a) != 16 || a == b || a != one.Digest(index, []byte("deadtime=10s")) {
			t.Errorf("key %d: %q and %q", index, a, b)
		}
	}
	if one.Digest(1, []byte("x")) == other.Digest(1, []byte("x")) {
		t.Error("two secrets give the same digest")
	}
	if one.Digest(7, []byte("x")) != "" || one.Digest(-1, []byte("x")) != "" || one.Digest(99, []byte("x")) != "" {
		t.Error("there is no such key")
	}
}
