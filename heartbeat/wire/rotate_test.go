package wire_test

import (
	"strings"
	"testing"

	"hapair/heartbeat/wire"
)

func rotationKeys(t *testing.T, text string) *wire.Keys {
	t.Helper()
	keys, faults := wire.ReadKeys("authkeys", strings.NewReader(text))
	if keys == nil {
		t.Fatal(faults.Error())
	}
	return keys
}

func TestSigningWithAnotherEntry(t *testing.T) {
	keys := rotationKeys(t, "auth 1\n1 sha1 the-first-secret-of-all\n3 hmac-sha256 the-third-secret-of-all\n2 crc\n")
	m := wire.New("status")
	m.Add("src", "alpha")
	for _, index := range []int{1, 2, 3} {
		other, ok := keys.SigningWith(index)
		if signs, _ := other.Signing(); !ok || signs != index {
			t.Fatalf("signing with %d: %v, signs %d", index, ok, signs)
		}
		for _, framing := range []wire.Framing{wire.Netstring, wire.Classic, wire.Text} {
			frame := other.Seal(nil, m, framing)
			if got, ok := wire.SignedWith(frame); !ok || got != index {
				t.Errorf("framing %d: signed with %d (%v), want %d", framing, got, ok, index)
			}
			if _, err := keys.Open(frame); err != nil {
				t.Errorf("framing %d, key %d: %v", framing, index, err)
			}
		}
	}
	if other, ok := keys.SigningWith(4); ok || other != keys {
		t.Error("signs with a key that is not there")
	}
	for _, frame := range []string{"", "###\n", "###\n%%%\n", "###\n%%%\n1:x,", ">>>\nt=status\n<<<\n", "auth=1 2"} {
		if _, ok := wire.SignedWith([]byte(frame)); ok {
			t.Errorf("%q is signed", frame)
		}
	}
}

func TestFingerprints(t *testing.T) {
	a := rotationKeys(t, "auth 1\n1 sha1 the-first-secret-of-all\n2 sha1 the-second-secret-of-all\n")
	b := rotationKeys(t, "auth 5\n5 sha1 the-second-secret-of-all\n6 md5 the-second-secret-of-all\n")
	if f := a.Fingerprint(2); len(f) != 16 || f != b.Fingerprint(5) || f == a.Fingerprint(1) || f == b.Fingerprint(6) {
		t.Errorf("fingerprints: %s %s %s %s", a.Fingerprint(1), f, b.Fingerprint(5), b.Fingerprint(6))
	}
	if a.Fingerprint(3) != "" || a.Fingerprint(-1) != "" || a.Fingerprint(99) != "" {
		t.Error("a key that is not there has a fingerprint")
	}
}
