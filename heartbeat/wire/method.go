package wire

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"sync"
)

// method is one way to sign (protocol section 2.3).
type method struct {
	name    string
	aliases []string
	hash    func() hash.Hash // nil: crc, which uses no secret
	linuxHA bool             // Linux-HA 3.0.6 knows it
}

// methods are all that authkeys may name.
var methods = []method{
	{name: "crc", linuxHA: true},
	{name: "md5", hash: md5.New, linuxHA: true},
	{name: "sha1", hash: sha1.New, linuxHA: true},
	{name: "hmac-sha256", aliases: []string{"sha256"}, hash: sha256.New},
	{name: "hmac-sha512", aliases: []string{"sha512"}, hash: sha512.New},
}

// findMethod is the method that word names in any case, and whether it is written as Linux-HA wants it.
func findMethod(word string) (m *method, exact bool) {
	for i := range methods {
		for _, name := range append([]string{methods[i].name}, methods[i].aliases...) {
			if strings.EqualFold(word, name) {
				return &methods[i], word == name
			}
		}
	}
	return nil, false
}

// methodNames are all names and aliases.
func methodNames() []string {
	var names []string
	for _, m := range methods {
		names = append(append(names, m.name), m.aliases...)
	}
	return names
}

// entry is one line of authkeys, ready to sign. It does not keep the secret where a log could print it.
type entry struct {
	index   int
	method  *method
	signers sync.Pool // of *signer: a keyed hash costs more to make than to use
	wrong   error     // the ErrDigest of this entry, made once because forgeries may come in floods
}

// signer is what one goroutine needs to sign or verify with one entry.
type signer struct {
	entry *entry
	mac   hash.Hash
	sum   []byte
	token []byte // "<index> <hex>"
	text  []byte // scratch for the classic form
}

// newEntry makes an entry; the secret is ignored by crc.
func newEntry(index int, m *method, secret string) *entry {
	e := &entry{index: index, method: m}
	e.wrong = wrongDigest(index, m.name)
	key := []byte(secret)
	e.signers.New = func() any {
		s := &signer{entry: e, mac: new(cksum)}
		if m.hash != nil {
			s.mac = hmac.New(m.hash, key)
		}
		return s
	}
	return e
}

// borrow gets a signer; give it back with release.
func (e *entry) borrow() *signer { return e.signers.Get().(*signer) }

// release gives the signer back, less scratch that one huge message has left behind.
func (s *signer) release() {
	if cap(s.text) > MaxText {
		s.text = nil
	}
	s.entry.signers.Put(s)
}

// begin starts a new digest; write the signed bytes to s.mac, then call finish.
func (s *signer) begin() { s.mac.Reset() }

// finish is "<index> <hex digest>", valid until the signer's next use. crc is printed without leading zeros, as a number.
func (s *signer) finish() []byte {
	s.sum = s.mac.Sum(s.sum[:0])
	s.token = strconv.AppendInt(s.token[:0], int64(s.entry.index), 10)
	s.token = append(s.token, ' ')
	if s.entry.method.hash == nil {
		n := uint64(s.sum[0])<<24 | uint64(s.sum[1])<<16 | uint64(s.sum[2])<<8 | uint64(s.sum[3])
		s.token = strconv.AppendUint(s.token, n, 16)
	} else {
		s.token = hex.AppendEncode(s.token, s.sum)
	}
	return s.token
}

// sign is begin, write and finish of one piece.
func (s *signer) sign(data []byte) []byte {
	s.begin()
	s.mac.Write(data) // a hash never returns an error
	return s.finish()
}
