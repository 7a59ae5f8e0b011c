package wire_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"hapair/heartbeat/wire"
)

// vector is one real frame of testdata/wire/vectors.jsonl with what an independent decoder made of it.
type vector struct {
	Index  int
	Method string
	Secret string
	Raw    []byte
	Fields []struct {
		Name  string
		Type  wire.Type
		Value []byte
	}
}

func vectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open("../../testdata/wire/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []vector
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if len(all) < 30 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

func TestVectorsVerifyParseAndReseal(t *testing.T) {
	for i, v := range vectors(t) {
		keys := keysOf(t, fmt.Sprintf("auth %d\n%d %s %s\n", v.Index, v.Index, v.Method, v.Secret))
		parsed, err := wire.Parse(v.Raw)
		if err != nil {
			t.Errorf("vector %d: parse: %v", i, err)
			continue
		}
		if parsed.Len() != len(v.Fields) {
			t.Errorf("vector %d: %d fields, want %d", i, parsed.Len(), len(v.Fields))
			continue
		}
		for j, want := range v.Fields {
			if got := parsed.Fields()[j]; got != (wire.Field{Name: want.Name, Type: want.Type, Value: string(want.Value)}) {
				t.Errorf("vector %d: field %d is %+v, want %s=%q", i, j, got, want.Name, want.Value)
			}
		}
		if sealed := keys.Seal(nil, parsed, framingOf(t, v.Raw)); !bytes.Equal(sealed, v.Raw) {
			t.Errorf("vector %d: sealed\n%q, want\n%q", i, sealed, v.Raw)
		}
		if _, err := keys.Open(v.Raw); err != nil {
			t.Errorf("vector %d: open: %v", i, err)
		}
		damaged := bytes.Clone(v.Raw)
		damaged[len(damaged)/2] ^= 1
		if _, err := keys.Open(damaged); err == nil {
			t.Errorf("vector %d: opened although damaged", i)
		}
	}
}

// Every distinct frame that two real nodes exchanged in 28 scenarios: takeovers, partitions, reloads, echo payloads.
func TestCapturedFramesVerifyAndReseal(t *testing.T) {
	var keys *wire.Keys
	scenario, frames, compressed := "", 0, 0
	for line := range strings.Lines(string(gunzip(t, "frames.gz"))) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "= "); ok {
			name, quoted, _ := strings.Cut(rest, " ")
			text, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatal(err)
			}
			scenario, keys = name, keysOf(t, text)
			continue
		}
		raw, err := strconv.Unquote(line)
		if err != nil {
			t.Fatal(err)
		}
		frames++
		if strings.Contains(raw, "_compressed_payload") {
			compressed++
		}
		checkCaptured(t, scenario, keys, []byte(raw))
	}
	if frames < 10000 || compressed == 0 {
		t.Errorf("%d frames, %d of them compressed: the captures are not complete", frames, compressed)
	}
}

func checkCaptured(t *testing.T, scenario string, keys *wire.Keys, raw []byte) {
	t.Helper()
	parsed, err := wire.Parse(raw)
	if err != nil {
		t.Errorf("%s: parse %q: %v", scenario, raw, err)
		return
	}
	opened, err := keys.Open(raw)
	if scenario == "wrong_key" && parsed.Get("src") == "beta" {
		if !errors.Is(err, wire.ErrDigest) {
			t.Errorf("%s: open %q: %v, want ErrDigest", scenario, raw, err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: open %q: %v", scenario, raw, err)
		return
	}
	if _, ok := opened.Lookup("auth"); ok || opened.Kind() == "" {
		t.Errorf("%s: opened %q as %v", scenario, raw, opened)
	}
	signer := keys
	if scenario == "reload" && strings.HasPrefix(parsed.Get("auth"), "2 ") {
		signer = keysOf(t, "auth 2\n2 md5 SecondKey\n") // the key that one node switched to while the other did not
	}
	if _, isCompressed := parsed.Lookup("_compressed_payload"); isCompressed {
		opened = parsed // what travels is the outer message
	}
	if sealed := signer.Seal(nil, opened, framingOf(t, raw)); !bytes.Equal(sealed, raw) {
		t.Errorf("%s: sealed\n%q, want\n%q", scenario, sealed, raw)
	}
}

func TestSerialCaptureSplits(t *testing.T) {
	keys := keysOf(t, "auth 3\n3 sha1 Key for sha1 with spaces\n")
	for name, want := range map[string]int{"serial-alpha.gz": 116, "serial-beta.gz": 131} {
		raw := gunzip(t, name)
		got, rebuilt := 0, []byte(nil)
		for frames := scanner(raw, 37); frames.Scan(); got++ {
			m, err := keys.Open(frames.Bytes())
			if err != nil {
				t.Fatalf("%s: frame %d: %v", name, got, err)
			}
			rebuilt = keys.Seal(rebuilt, m, wire.Text)
		}
		if got != want || !bytes.Equal(rebuilt, raw) {
			t.Errorf("%s: %d frames in %d bytes, want %d in %d", name, got, len(rebuilt), want, len(raw))
		}
	}
}
