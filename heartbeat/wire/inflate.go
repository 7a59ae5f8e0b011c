package wire

import (
	"compress/bzip2"
	"compress/zlib"
	"fmt"
	"io"
	"strings"
)

// The two fields of a message that was compressed as a whole (protocol section 3.7).
const (
	payloadName   = "_compressed_payload"
	algorithmName = "_compression_algorithm"
)

// inflate is m itself, or the message that is compressed in it. Its own auth field is dropped: the outer signature covers it.
func inflate(m Message) (Message, error) {
	payload, isCompressed := m.Lookup(payloadName)
	if !isCompressed {
		return m, nil
	}
	var r io.Reader = strings.NewReader(payload)
	var err error
	switch m.Get(algorithmName) {
	case "zlib":
		r, err = zlib.NewReader(r)
	case "bz2":
		r = bzip2.NewReader(r)
	default:
		return Message{}, malformed("compressed with something other than zlib or bz2")
	}
	if err != nil {
		return Message{}, malformed("begin to inflate: %v", err)
	}
	inner, err := io.ReadAll(io.LimitReader(r, MaxInflated+2))
	if err != nil {
		return Message{}, malformed("inflate: %v", err)
	}
	if inner = trimNUL(inner); len(inner) > MaxInflated {
		return Message{}, fmt.Errorf("%w: inflates to more than %d bytes", ErrTooLong, MaxInflated)
	}
	opened, err := parse(string(inner))
	if _, again := opened.Lookup(payloadName); again {
		return Message{}, malformed("compressed twice")
	}
	return opened.without(authName), err
}
