package rehearsal_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal"
)

// The computation of sections 2.3 to 2.5 of docs/heartbeat-protocol.md, written down once more without a line of package wire, for frames as they were on the wire.

// documentedCRC is CRC-32 with polynomial 04c11db7, most significant bit first, without reflection, from 0, inverted, and printed without leading zeros.
func documentedCRC(data []byte) string {
	var crc uint32
	for _, b := range data {
		crc ^= uint32(b) << 24
		for range 8 {
			if crc&0x80000000 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return strconv.FormatUint(uint64(^crc), 16)
}

// documentedDigest is the digest of data by a method.
func documentedDigest(method, key string, data []byte) string {
	var of func() hash.Hash
	switch method {
	case "crc":
		return documentedCRC(data)
	case "md5":
		of = md5.New
	case "sha1":
		of = sha1.New
	}
	h := hmac.New(of, []byte(key))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// documentedElement reads one netstring.
func documentedElement(b []byte) (value, rest []byte, err error) {
	length, rest, found := bytes.Cut(b, []byte(":"))
	n, err := strconv.Atoi(string(length))
	if !found || err != nil || n < 0 || len(rest) < n+1 || rest[n] != ',' {
		return nil, nil, fmt.Errorf("no netstring: %q", b[:min(len(b), 40)])
	}
	return rest[:n], rest[n+1:], nil
}

// verifyFrame verifies one frame as it was on the wire, signed with one key.
func verifyFrame(frame []byte, index int, method, key string) error {
	switch {
	case bytes.HasPrefix(frame, []byte("###\n")):
		return verifyNetstrings(frame, index, method, key)
	case bytes.HasPrefix(frame, []byte(">>>\n")) && bytes.HasSuffix(frame, []byte("<<<\n")):
		lines := strings.SplitAfter(string(frame[4:len(frame)-4]), "\n")
		var signed strings.Builder
		var token string
		for _, l := range lines {
			if after, is := strings.CutPrefix(l, "auth="); is {
				token = strings.TrimSuffix(after, "\n")
			} else {
				signed.WriteString(l)
			}
		}
		return sameToken(token, index, documentedDigest(method, key, []byte(signed.String())))
	}
	return fmt.Errorf("begins with %q", frame[:min(len(frame), 8)])
}

func verifyNetstrings(frame []byte, index int, method, key string) error {
	rest := frame[4:]
	var inner strings.Builder
	var auth string
	for !bytes.HasPrefix(rest, []byte("%%%\n")) {
		field, after, err := documentedElement(rest)
		if err != nil {
			return err
		}
		rest = after
		name, value, found := strings.Cut(string(field[3:]), "=")
		switch kind := string(field[:3]); {
		case !found:
			return fmt.Errorf("the field %q has no value", field)
		case name == "auth":
			auth = value
		case kind == "(0)":
			inner.WriteString(name + "=" + strings.ReplaceAll(value, "\n", "\x13") + "\n")
		case kind == "(1)":
			inner.WriteString("(1)" + name + "=" + base64.StdEncoding.EncodeToString([]byte(value)) + "\n")
		default:
			return fmt.Errorf("a field of kind %s, which ours never sends", kind)
		}
	}
	signed := frame[:len(frame)-len(rest)+4]
	trailer, after, err := documentedElement(rest[4:])
	if err != nil || len(after) > 0 {
		return fmt.Errorf("the trailer: %v, then %q", err, after)
	}
	if err := sameToken(string(trailer), index, documentedDigest(method, key, signed)); err != nil {
		return fmt.Errorf("the trailer: %w", err)
	}
	if auth == "" {
		return nil
	}
	return sameToken(auth, index, documentedDigest(method, key, []byte(inner.String())))
}

func sameToken(got string, index int, digest string) error {
	if want := fmt.Sprint(index, " ", digest); got != want {
		return fmt.Errorf("signed %q, the document says %q", got, want)
	}
	return nil
}

// TestDocumentedComputation tries the computation above on the vectors of the document, so that it can be believed.
func TestDocumentedComputation(t *testing.T) {
	for text, want := range map[string]string{"": "ffffffff", "123456789": "765e7680", "t=status\n": "ebc57560", "t=status\nst=active\n": "b7e1ed97"} {
		if got := documentedCRC([]byte(text)); got != want {
			t.Errorf("crc of %q: %s, want %s", text, got, want)
		}
	}
	for method, want := range map[string]string{"md5": "0b8613f5699fe06384fb2e94291b385a", "sha1": "07f984b16bbabff2152a828d70f0cd018933e7d8"} {
		if got := documentedDigest(method, "secret", []byte("t=status\nst=active\n")); got != want {
			t.Errorf("%s: %s, want %s", method, got, want)
		}
	}
}

// TestFramesOnTheWire verifies what nodes really send, by every method, in both framings and down a serial line; and has Linux-HA, in either role, read ours with
// its debug log on, in which it must not complain of anything: of a loss of frames, of its peer's death and return, of an order in a message so long that it compresses it.
func TestFramesOnTheWire(t *testing.T) {
	ours := [][2]string{{rehearsal.Hapair, rehearsal.Hapair}}
	for _, c := range []struct {
		wiring, scenario string
		index            int
		method, key      string
		pairs            [][2]string
	}{
		{"bcast+serial/crc/netstring", "standby-all", 2, "crc", "", ours},
		{"mcast+serial/sha1/classic", "standby-all", 1, "sha1", "RehearsalTestKey8", ours},
		{"ucast+serial/md5/classic/zlib", "tour", 3, "md5", "RehearsalTestKey7", [][2]string{{rehearsal.Hapair, rehearsal.LinuxHA}, {rehearsal.LinuxHA, rehearsal.Hapair}}},
	} {
		report := rehearse(t, rehearsal.Options{Dir: cluster("two-links"), Scenarios: []string{c.scenario}, Wirings: []string{c.wiring}, Frames: true,
			Set: map[string]string{"debug": "1"}, Pairs: c.pairs})
		for _, run := range report.Runs {
			text, bad := 0, 0
			for node, frames := range run.Frames {
				if len(frames) < 50 {
					t.Errorf("%s: heard %d frames of %s", c.wiring, len(frames), run.Nodes[node])
				}
				for _, frame := range frames {
					if frame[0] == '>' {
						text++
					}
					if err := verifyFrame(frame, c.index, c.method, c.key); err != nil && bad < 3 {
						bad++
						t.Errorf("%s: a frame of %s, which runs %s: %v\n%q", c.wiring, run.Nodes[node], run.Implementations[node], err, frame)
					}
				}
			}
			if text == 0 {
				t.Errorf("%s: no frame came by the serial line", c.wiring)
			}
		}
	}
}
