package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// digestText is what a digest signs the sum of; no frame begins like this.
const digestText = "hapair digest "

// Digest is 16 hexadecimal digits by which two nodes that have an entry know that they mean the same text, without showing it to whoever
// listens: a part of a signature of its sum. For crc, which has no secret, it is a part of the sum itself. "" when there is no such entry.
func (k *Keys) Digest(index int, text []byte) string {
	if index < 0 || index > MaxIndex || k.entries[index] == nil {
		return ""
	}
	sum := sha256.Sum256(text)
	e := k.entries[index]
	if e.method.hash == nil {
		return hex.EncodeToString(sum[:8])
	}
	s := e.borrow()
	defer s.release()
	_, digits, _ := bytes.Cut(s.sign(append([]byte(digestText), sum[:]...)), []byte(" "))
	return string(digits[:min(16, len(digits))])
}
