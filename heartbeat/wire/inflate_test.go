package wire_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"runtime"
	"strings"
	"testing"

	"hapair/heartbeat/wire"
)

// Made by bzip2: a classic message with auth field and NUL; and three million times the letter x.
const (
	bz2Message = "QlpoOTFBWSZTWdD6msMAAAvZgEAQQABgBypkXwAgAEhqnqb0jFNoCFMJpoDTERSsaeCrwGDtfcp8JLA23PTxKcv0sHPqGaWQJ+LuSKcKEhofU1hg"
	bz2Bomb    = "QlpoOTFBWSZTWaBapKUAGBoQgIAEAEAACCAAMMwFKacYKAtgKAvF3JFOFCQoFqkpQA=="
)

// packed is a message that was compressed as a whole, signed.
func packed(keys *wire.Keys, algorithm string, payload []byte) []byte {
	var m wire.Message
	m.AddBinary("_compressed_payload", payload)
	m.Add("_compression_algorithm", algorithm)
	return keys.Seal(nil, m, wire.Netstring)
}

func deflate(data string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(data))
	w.Close()
	return b.Bytes()
}

func bz2(text string) []byte {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

func TestOpenInflates(t *testing.T) {
	keys := keysOf(t, labKey)
	for name, tt := range map[string]struct {
		algorithm string
		payload   []byte
		want      string
	}{
		"classic":            {"zlib", deflate(">>>\nt=status\nst=active\nauth=1 00\n<<<\n\x00"), "t=status st=active"},
		"classic, no NUL":    {"zlib", deflate(">>>\nt=status\n<<<\n"), "t=status"},
		"netstring":          {"zlib", deflate("###\n11:(0)t=status,%%%\n"), "t=status"},
		"bz2":                {"bz2", bz2(bz2Message), "t=status st=active src=alpha ts=1"},
		"larger than frames": {"zlib", deflate("###\n" + element("(0)x="+strings.Repeat("y", 1<<20)) + "%%%\n"), "x=" + strings.Repeat("y", 120) + "…"},
	} {
		m, err := keys.Open(packed(keys, tt.algorithm, tt.payload))
		if err != nil || m.String() != tt.want {
			t.Errorf("%s: %v, %v, want %s", name, m, err, tt.want)
		}
	}
}

func TestOpenRefusesBadCompression(t *testing.T) {
	keys := keysOf(t, labKey)
	twice := deflate(string(packed(keys, "zlib", deflate("###\n%%%\n"))))
	for name, tt := range map[string]struct {
		algorithm string
		payload   []byte
		want      error
	}{
		"unknown algorithm": {"lzma", []byte("x"), wire.ErrMalformed},
		"no algorithm":      {"", []byte("x"), wire.ErrMalformed},
		"not zlib":          {"zlib", []byte("xyz"), wire.ErrMalformed},
		"not bz2":           {"bz2", []byte("xyz"), wire.ErrMalformed},
		"cut":               {"zlib", deflate(">>>\nt=status\n<<<\n")[:12], wire.ErrMalformed},
		"empty":             {"zlib", deflate(""), wire.ErrMalformed},
		"garbage inside":    {"zlib", deflate("garbage"), wire.ErrMalformed},
		"twice":             {"zlib", twice, wire.ErrMalformed},
		"zlib bomb":         {"zlib", deflate(strings.Repeat("x", 50<<20)), wire.ErrTooLong},
		"bz2 bomb":          {"bz2", bz2(bz2Bomb), wire.ErrTooLong},
	} {
		m, err := keys.Open(packed(keys, tt.algorithm, tt.payload))
		if !errors.Is(err, tt.want) || m.Len() != 0 {
			t.Errorf("%s: %v, %v, want %v", name, m, err, tt.want)
		}
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Nothing that arrives may cost memory out of proportion: before it is verified none at all, afterwards a bounded amount.
func TestMemoryIsBounded(t *testing.T) {
	keys := keysOf(t, labKey)
	nested := "a=1\n"
	for depth := range 16 {
		nested = "(2)s=" + strings.ReplaceAll(">>>\n"+nested+"<<<\n", "\n", "\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x0f\x10\x11\x12"[15-depth:][:1]) + "\n"
	}
	many := strings.Repeat(nested, wire.MaxFrame/len(nested)-2)
	unsigned := map[string]string{
		"zeros":       strings.Repeat("\x00", 1<<20),
		"hashes":      "###\n" + strings.Repeat("#", 60000),
		"lengths":     "###\n" + strings.Repeat("9", 60000) + "%%%\n4:1 ab,",
		"fields":      "###\n" + strings.Repeat("5:(0)a=,", 30000) + "%%%\n4:1 ab,",
		"lines":       ">>>\n" + strings.Repeat("a=\n", 80000) + "auth=1 ab\n<<<\n",
		"auth lines":  ">>>\n" + strings.Repeat("auth=1 ab\n", 25000) + "<<<\n",
		"nested text": ">>>\n" + many + "auth=1 ab\n<<<\n",
	}
	for name, frame := range unsigned {
		data := []byte(frame)
		used := allocated(func() {
			if _, err := keys.Open(data); err == nil {
				t.Errorf("%s: opened", name)
			}
		})
		if used > 16<<10 {
			t.Errorf("%s: %d bytes allocated for an unsigned frame", name, used)
		}
	}
	signed := map[string][]byte{
		"zlib bomb":   packed(keys, "zlib", deflate(strings.Repeat("x", 50<<20))),
		"bz2 bomb":    packed(keys, "bz2", bz2(bz2Bomb)),
		"fields":      packed(keys, "zlib", deflate("###\n"+strings.Repeat("5:(0)a=,", 250000)+"%%%\n")),
		"nested text": []byte(">>>\n" + many + "auth=" + keys.Sign([]byte(many)) + "\n<<<\n"),
	}
	for name, frame := range signed {
		used := allocated(func() {
			if _, err := keys.Open(frame); errors.Is(err, wire.ErrDigest) || errors.Is(err, wire.ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if used > 24<<20 {
			t.Errorf("%s: %d MiB allocated", name, used>>20)
		}
		t.Logf("%s: %d KiB", name, used>>10)
	}
}
