package wire

import "bytes"

// SigningWith is the same entries with another one of them signing. ok is false, and k itself returned, when there is no such
// entry.
func (k *Keys) SigningWith(index int) (keys *Keys, ok bool) {
	if index < 0 || index > MaxIndex || k.entries[index] == nil {
		return k, false
	}
	return &Keys{entries: k.entries, signing: k.entries[index]}, true
}

// fingerprintText is what a fingerprint signs; no frame begins like this.
const fingerprintText = "hapair key fingerprint "

// Fingerprint is 16 hexadecimal digits by which two nodes that have an entry know that it is the same one, without showing it
// to others: a part of a signature. For crc, which has no secret, fewer. "" when there is no such entry.
func (k *Keys) Fingerprint(index int) string {
	if index < 0 || index > MaxIndex || k.entries[index] == nil {
		return ""
	}
	e := k.entries[index]
	s := e.borrow()
	defer s.release()
	_, digits, _ := bytes.Cut(s.sign([]byte(fingerprintText+e.method.name)), []byte(" "))
	return string(digits[:min(16, len(digits))])
}

// SignedWith is the index of the entry that a frame's signature names, which for a frame that Open accepted is the one that it
// was verified with. ok is false for what is no signed frame.
func SignedWith(frame []byte) (index int, ok bool) {
	frame = trimNUL(frame)
	if bytes.HasPrefix(frame, []byte(netStart)) {
		end := bytes.LastIndex(frame, []byte(netEnd))
		if end < 0 {
			return 0, false
		}
		token, found := cutTrailer(frame[end+len(netEnd):])
		if !found {
			return 0, false
		}
		return tokenIndex(token)
	}
	const line = "\n" + authName + "="
	at := bytes.LastIndex(frame, []byte(line))
	if at < 0 || !bytes.HasPrefix(frame, []byte(textStart)) {
		return 0, false
	}
	return tokenIndex(frame[at+len(line):])
}
