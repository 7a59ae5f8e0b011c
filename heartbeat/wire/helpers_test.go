package wire_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"hapair/heartbeat/fault"
	"hapair/heartbeat/wire"
)

// keysOf reads an authkeys text that must be acceptable.
func keysOf(t testing.TB, text string) *wire.Keys {
	t.Helper()
	keys, faults := wire.ReadKeys("authkeys", strings.NewReader(text))
	if keys == nil || faults.Worst() == fault.Error {
		t.Fatalf("read %q: %v", text, faults)
	}
	return keys
}

// gunzip reads a golden file whole.
func gunzip(t testing.TB, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile("../../testdata/wire/" + name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// framingOf tells how a real frame is framed, so how to seal its message again.
func framingOf(t testing.TB, frame []byte) wire.Framing {
	t.Helper()
	if bytes.HasPrefix(frame, []byte(">>>")) {
		return wire.Text
	}
	m, err := wire.Parse(frame)
	if err != nil {
		t.Fatalf("parse %q: %v", frame, err)
	}
	if _, ok := m.Lookup("auth"); ok {
		return wire.Classic
	}
	return wire.Netstring
}

// equal compares two messages field by field.
func equal(a, b wire.Message) bool { return slices.Equal(a.Fields(), b.Fields()) }

// heartbeat is a message as a node sends it once a keepalive.
func heartbeat() wire.Message {
	m := wire.New("status")
	m.Add("st", "active")
	m.Add("dt", "fa0")
	m.Add("protocol", "1")
	m.Add("src", "alpha")
	m.AddBinary("srcuuid", []byte("\x4c\x8e\x04\x9f\xc7\x88\x4c\xcb\x93\xb3\x21\x2a\x79\xa7\xd9\x79"))
	m.Add("seq", "c")
	m.Add("hg", "6b032775")
	m.Add("ts", "6b032775")
	m.Add("ld", "1.11 1.07 0.72 4/197 63")
	m.Add("ttl", "3")
	return m
}
