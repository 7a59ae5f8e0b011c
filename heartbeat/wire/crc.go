package wire

import (
	"encoding/binary"
	"hash"
	"math/bits"
)

// cksum is the CRC-32 of the method crc as a hash.Hash: polynomial 0x04C11DB7, most significant bit first, initial value 0,
// final complement, no length appended (protocol section 2.3). The standard library has the reflected form only.
type cksum uint32

// cksumTable[k][b] is the remainder of byte b followed by k zero bytes.
var cksumTable = makeCksumTable()

func makeCksumTable() *[8][256]uint32 {
	const polynomial = 0x04C11DB7
	var t [8][256]uint32
	for b := range t[0] {
		r := uint32(b) << 24
		for range 8 {
			r = r<<1 ^ polynomial&-(r>>31)
		}
		t[0][b] = r
	}
	for k := 1; k < len(t); k++ {
		for b := range t[k] {
			r := t[k-1][b]
			t[k][b] = r<<8 ^ t[0][r>>24]
		}
	}
	return &t
}

// Write takes eight bytes at a time.
func (c *cksum) Write(p []byte) (int, error) {
	n, r, t := len(p), uint32(*c), cksumTable
	for ; len(p) >= 8; p = p[8:] {
		x := binary.BigEndian.Uint64(p) ^ uint64(r)<<32
		r = 0
		for k := 7; k >= 0; k-- {
			x = bits.RotateLeft64(x, 8)
			r ^= t[k][byte(x)]
		}
	}
	for _, b := range p {
		r = r<<8 ^ t[0][byte(r>>24)^b]
	}
	*c = cksum(r)
	return n, nil
}

// Sum appends the complement, most significant byte first.
func (c *cksum) Sum(b []byte) []byte { return binary.BigEndian.AppendUint32(b, ^uint32(*c)) }

// Reset begins anew.
func (c *cksum) Reset() { *c = 0 }

// Size is 4 bytes.
func (c *cksum) Size() int { return 4 }

// BlockSize is 1: any write will do.
func (c *cksum) BlockSize() int { return 1 }

var _ hash.Hash = (*cksum)(nil)
