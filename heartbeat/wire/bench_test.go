package wire_test

import (
	"strings"
	"testing"

	"hapair/heartbeat/wire"
)

var benchKeys = []struct{ name, line string }{
	{"crc", "1 crc"},
	{"md5", "1 md5 HeartbeatLabKey1"},
	{"sha1", "1 sha1 HeartbeatLabKey1"},
	{"sha256", "1 hmac-sha256 HeartbeatLabKey1"},
	{"sha512", "1 hmac-sha512 HeartbeatLabKey1"},
}

func BenchmarkSeal(b *testing.B) {
	m, dst := heartbeat(), make([]byte, 0, 1024)
	for _, k := range benchKeys {
		keys := keysOf(b, "auth 1\n"+k.line)
		b.Run(k.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst = keys.Seal(dst[:0], m, wire.Classic)
			}
		})
	}
}

func BenchmarkSealText(b *testing.B) {
	m, dst := heartbeat(), make([]byte, 0, 1024)
	keys := keysOf(b, "auth 1\n1 sha1 HeartbeatLabKey1")
	b.ReportAllocs()
	for b.Loop() {
		dst = keys.Seal(dst[:0], m, wire.Text)
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, k := range benchKeys {
		keys := keysOf(b, "auth 1\n"+k.line)
		frame := keys.Seal(nil, heartbeat(), wire.Classic)
		b.Run(k.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := keys.Open(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenText(b *testing.B) {
	keys := keysOf(b, "auth 1\n1 sha1 HeartbeatLabKey1")
	frame := keys.Seal(nil, heartbeat(), wire.Text)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Open(frame); err != nil {
			b.Fatal(err)
		}
	}
}

// What a flood costs: a forgery of the usual size, and garbage.
func BenchmarkRefuse(b *testing.B) {
	keys := keysOf(b, "auth 1\n1 sha1 HeartbeatLabKey1")
	forged := keysOf(b, "auth 1\n1 sha1 SomeOtherKey99").Seal(nil, heartbeat(), wire.Classic)
	for name, frame := range map[string][]byte{"forged": forged, "garbage": []byte(strings.Repeat("#", 1400))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := keys.Open(frame); err == nil {
					b.Fatal("opened")
				}
			}
		})
	}
}

func BenchmarkSplit(b *testing.B) {
	frame := keysOf(b, "auth 1\n1 sha1 HeartbeatLabKey1").Seal(nil, heartbeat(), wire.Text)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if n, _, _ := wire.Split(frame, false); n != len(frame) {
			b.Fatal(n)
		}
	}
}
