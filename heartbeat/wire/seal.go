package wire

import (
	"bytes"
	"strings"
)

// Framing is how a message is written (protocol section 3.1). Every receiver accepts all of them on every link.
type Framing int

// The framings.
const (
	Netstring Framing = iota // V3: netstrings, signed by the trailer only (msgfmt netstring)
	Classic                  // V2: netstrings with the inner auth field as well: what Linux-HA sends by default on networks
	Text                     // V1: lines between >>> and <<<, signed by the auth field: what serial lines carry
)

// Seal appends m to dst as one signed frame and returns the longer slice. Fields named auth are left out: the signature takes
// their place. For a message that Check refuses nothing is appended. It allocates nothing when dst has room. The length of the
// frame is the caller's to look at: no receiver takes more than MaxFrame, no UDP datagram more than 65507 bytes.
func (k *Keys) Seal(dst []byte, m Message, f Framing) []byte {
	if m.Check() != nil {
		return dst
	}
	s := k.signing.borrow()
	defer s.release()
	if f == Text {
		return s.sealText(dst, m)
	}
	start := len(dst)
	dst = append(dst, netStart...)
	for i := range m.fields {
		if fd := &m.fields[i]; fd.Name != authName {
			dst = appendField(dst, fd.Type, fd.Name, fd.Value)
		}
	}
	if f == Classic {
		s.text = appendText(s.text[:0], m.fields, 0)
		dst = appendField(dst, String, authName, s.sign(s.text))
	}
	dst = append(dst, netEnd...)
	return appendElement(dst, s.sign(dst[start:]))
}

// sealText is Seal for Text.
func (s *signer) sealText(dst []byte, m Message) []byte {
	dst = append(dst, textStart...)
	start := len(dst)
	dst = appendText(dst, m.fields, 0)
	token := s.sign(dst[start:])
	dst = append(dst, authName+"="...)
	dst = append(dst, token...)
	dst = append(dst, '\n')
	return append(dst, textEnd...)
}

// Open verifies frame, in whichever framing, with the entry that its signature names, and returns the message without its
// auth field. A compressed message is inflated. One NUL byte after the frame is tolerated. The frame's bytes are copied, so the
// caller may reuse them. The errors are ErrMalformed, ErrTooLong, ErrKey and ErrDigest, wrapped.
//
// In a netstring frame the trailer counts and an inner auth field is not looked at, as in Linux-HA.
func (k *Keys) Open(frame []byte) (Message, error) {
	frame = trimNUL(frame)
	if len(frame) > MaxFrame {
		return Message{}, errFrameSize
	}
	var err error
	switch {
	case bytes.HasPrefix(frame, []byte(netStart)):
		err = k.verifyNetstring(frame)
	case bytes.HasPrefix(frame, []byte(textStart)):
		err = k.verifyText(frame)
	default:
		err = errNoMarker
	}
	if err != nil {
		return Message{}, err
	}
	m, err := parse(string(frame))
	if err != nil {
		return Message{}, err
	}
	return inflate(m.without(authName))
}

// verifyNetstring checks the trailer, which is what follows the last end marker: no trailer can hold a marker itself.
func (k *Keys) verifyNetstring(frame []byte) error {
	end := bytes.LastIndex(frame, []byte(netEnd))
	if end < 0 {
		return errNoEnd
	}
	end += len(netEnd)
	if end == len(frame) {
		return errUnsigned
	}
	token, ok := cutTrailer(frame[end:])
	if !ok {
		return errTrailer
	}
	return k.check(token, func(s *signer) { s.mac.Write(frame[:end]) })
}

// cutTrailer is the token in `<len>:<token>,`, which must be all there is.
func cutTrailer(b []byte) ([]byte, bool) {
	const longest = len("15 ") + 128 + 1
	digits, token, ok := bytes.Cut(b, []byte(":"))
	if !ok || len(digits) == 0 || len(digits) > 3 || digits[0] == '0' || len(token) > longest {
		return nil, false
	}
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return nil, false
		}
		n = n*10 + int(d-'0')
	}
	if len(token) != n+1 || token[n] != ',' {
		return nil, false
	}
	return token[:n], true
}

// verifyText checks the last auth field against all lines but the auth fields. The lines are taken as they came: the original
// signs its own rendering of them, which is the same for every line that a sender of any version writes.
func (k *Keys) verifyText(frame []byte) error {
	lines, ok := bytes.CutSuffix(frame[len(textStart):], []byte(textEnd))
	if !ok || len(lines) > 0 && lines[len(lines)-1] != '\n' {
		return errNoEnd
	}
	var token []byte
	for rest := lines; len(rest) > 0; {
		line := rest[:bytes.IndexByte(rest, '\n')+1]
		if isAuth(line) {
			token = line[bytes.IndexByte(line, '=')+1 : len(line)-1]
		}
		rest = rest[len(line):]
	}
	if token == nil {
		return errUnsigned
	}
	if _, ok := tokenIndex(token); !ok {
		return errAuthField
	}
	return k.check(token, func(s *signer) {
		for rest := lines; len(rest) > 0; {
			line := rest[:bytes.IndexByte(rest, '\n')+1]
			if !isAuth(line) {
				s.mac.Write(line)
			}
			rest = rest[len(line):]
		}
	})
}

// isAuth tells whether a line is a field named auth, of whatever type.
func isAuth(line []byte) bool {
	if len(line) > 3 && line[0] == '(' && line[2] == ')' {
		line = line[3:]
	}
	return bytes.HasPrefix(line, []byte(authName+"="))
}

// Parse reads a frame in any framing without verifying it, and drops nothing: an auth field is in the Message. A trailer,
// and one NUL byte after the frame, may be there or not. It is for the local FIFO and for tools; what comes from a
// network goes through Keys.Open. The errors are ErrMalformed and ErrTooLong, wrapped.
func Parse(frame []byte) (Message, error) {
	frame = trimNUL(frame)
	if len(frame) > MaxFrame {
		return Message{}, errFrameSize
	}
	return parse(string(frame))
}

// parse reads a frame of any length.
func parse(s string) (Message, error) {
	if lines, ok := strings.CutPrefix(s, textStart); ok {
		if lines, ok = strings.CutSuffix(lines, textEnd); !ok {
			return Message{}, errNoEnd
		}
		fields, err := parseText(lines, 0)
		return Message{fields: fields}, err
	}
	body, ok := strings.CutPrefix(s, netStart)
	if !ok {
		return Message{}, errNoMarker
	}
	fields, trailer, err := parseFields(body, 0)
	if err != nil {
		return Message{}, err
	}
	if trailer != "" {
		token, rest, err := element(trailer)
		if _, ok := tokenIndex(token); !ok || err != nil || rest != "" {
			return Message{}, errTrailer
		}
	}
	return Message{fields: fields}, nil
}

// trimNUL takes away the one NUL byte that old senders put behind a frame.
func trimNUL(frame []byte) []byte {
	frame, _ = bytes.CutSuffix(frame, []byte{0})
	return frame
}
