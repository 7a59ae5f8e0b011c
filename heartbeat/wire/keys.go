package wire

import (
	"bytes"
	"crypto/subtle"
	"fmt"
	"strings"
)

// MaxIndex is the highest index that an entry of authkeys may have.
const MaxIndex = 15

// Keys is a checked authkeys file: one entry signs what is sent, every entry verifies what arrives (protocol section 2.2).
// Make one with ReadKeys. It is immutable: all its methods may be called by several goroutines at once.
type Keys struct {
	entries [MaxIndex + 1]*entry
	signing *entry
}

// Method describes one entry of Keys.
type Method struct {
	Index   int
	Name    string // crc, md5, sha1, hmac-sha256, hmac-sha512
	Signs   bool   // signs what this node sends
	Keyed   bool   // proves that the sender knows the secret; false for crc, which anyone can compute
	LinuxHA bool   // Linux-HA 3.0.6 knows the method
}

// Signing is the index and the method's name of the entry that signs.
func (k *Keys) Signing() (index int, method string) {
	return k.signing.index, k.signing.method.name
}

// Methods are all entries, by index.
func (k *Keys) Methods() []Method {
	var all []Method
	for _, e := range k.entries {
		if e != nil {
			all = append(all, Method{e.index, e.method.name, e == k.signing, e.method.hash != nil, e.method.linuxHA})
		}
	}
	return all
}

// Equal tells whether both sign and verify alike, so whether a changed file changes anything.
func (k *Keys) Equal(other *Keys) bool {
	if k == nil || other == nil {
		return k == other
	}
	if k.signing.index != other.signing.index {
		return false
	}
	for i := range k.entries {
		a, b := k.entries[i], other.entries[i]
		if (a == nil) != (b == nil) || a != nil && (a.method != b.method || !bytes.Equal(a.probe(), b.probe())) {
			return false
		}
	}
	return true
}

// String names the entries without their secrets: "1 sha1 (signs), 2 md5".
func (k *Keys) String() string {
	var words []string
	for _, m := range k.Methods() {
		word := fmt.Sprintf("%d %s", m.Index, m.Name)
		if m.Signs {
			word += " (signs)"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// GoString is String: nothing shall print a secret.
func (k *Keys) GoString() string { return "wire.Keys(" + k.String() + ")" }

// probe is the entry's signature of nothing: equal for equal secrets.
func (e *entry) probe() []byte {
	s := e.borrow()
	defer s.release()
	return bytes.Clone(s.sign(nil))
}

// check compares token, "<index> <hex>" as it arrived, with the signature that write produces.
func (k *Keys) check(token []byte, write func(*signer)) error {
	index, ok := tokenIndex(token)
	if !ok {
		return errTrailer
	}
	if index > MaxIndex || k.entries[index] == nil {
		return unknownIndex[min(index, MaxIndex+1)]
	}
	e := k.entries[index]
	s := e.borrow()
	defer s.release()
	s.begin()
	write(s)
	if subtle.ConstantTimeCompare(s.finish(), token) != 1 {
		return e.wrong
	}
	return nil
}

// tokenIndex is the decimal number before the blank of "<index> <hex>": at most two digits, none superfluous.
func tokenIndex[T string | []byte](token T) (int, bool) {
	n, i := 0, 0
	for i < len(token) && i < 3 && '0' <= token[i] && token[i] <= '9' {
		n = n*10 + int(token[i]-'0')
		i++
	}
	superfluous := i > 1 && token[0] == '0'
	return n, 0 < i && i < 3 && !superfluous && i+1 < len(token) && token[i] == ' '
}

// unknownIndex holds the ErrKey of each index, and of all that no authkeys could have.
var unknownIndex = func() (errs [MaxIndex + 2]error) {
	for i := range errs {
		errs[i] = fmt.Errorf("%w: entry %d", ErrKey, i)
	}
	errs[MaxIndex+1] = fmt.Errorf("%w: an index above %d", ErrKey, MaxIndex)
	return errs
}()

// wrongDigest is the ErrDigest of one entry.
func wrongDigest(index int, method string) error {
	return fmt.Errorf("%w: key %d (%s) is not the sender's, or the frame was damaged", ErrDigest, index, method)
}
