package wire_test

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hapair/heartbeat/wire"
)

// pieces hands out its bytes at most size at a time, as a serial line does.
type pieces struct {
	*bytes.Reader
	size int
}

func (p pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.size)]) }

// scanner is what a serial link uses: a bufio.Scanner with its default buffer.
func scanner(data []byte, size int) *bufio.Scanner {
	s := bufio.NewScanner(pieces{bytes.NewReader(data), size})
	s.Split(wire.Split)
	return s
}

// split collects all frames; the scanner itself must never give up.
func split(t testing.TB, data string, size int) []string {
	t.Helper()
	var got []string
	s := scanner([]byte(data), size)
	for s.Scan() {
		got = append(got, s.Text())
	}
	if s.Err() != nil {
		t.Fatalf("split: %v", s.Err())
	}
	return got
}

func TestSplitResynchronises(t *testing.T) {
	const a, b = ">>>\nt=a\n<<<\n", ">>>\nt=b\n<<<\n"
	long := ">>>\n" + strings.Repeat("x=0123456789\n", 6000) + "<<<\n"
	for name, tt := range map[string]struct {
		data string
		want []string
	}{
		"nothing":                   {"", nil},
		"two":                       {a + b, []string{a, b}},
		"empty frame":               {">>>\n<<<\n" + a, []string{">>>\n<<<\n", a}},
		"NUL after each":            {a + "\x00" + b + "\x00", []string{a, b}},
		"joined in mid-frame":       {"t=z\nauth=1 00\n<<<\n" + a, []string{a}},
		"noise before the marker":   {"\x00\xff~" + a, []string{a}},
		"marker cut":                {">\n" + a + ">>" + b, []string{a, b}},
		"end lost":                  {">>>\nt=z\nst=ac" + "\n" + a, []string{a}},
		"end lost, glued":           {">>>\nt=z\nst=ac" + a + b, []string{">>>\nt=z\nst=ac" + a, b}},
		"start twice":               {">>>\n" + a, []string{a}},
		"marker inside a value":     {">>>\ninfo=>>>\nst=<<<\n<<<\n" + a, []string{">>>\ninfo=>>>\nst=<<<\n<<<\n", a}},
		"end alone":                 {"<<<\n<<<\n" + a, []string{a}},
		"incomplete at the end":     {a + ">>>\nt=b\n<<<", []string{a}},
		"too long":                  {long + a, []string{a}},
		"too long without end":      {long[:50000] + "\n" + a, []string{a}},
		"long noise, one long line": {strings.Repeat("~", 200000) + "\n" + a, []string{a}},
		"long noise glued":          {strings.Repeat("~", 200000) + a, []string{a}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 5, 1000, 1 << 20} {
				if got := split(t, tt.data, size); !slices.Equal(got, tt.want) {
					t.Errorf("in pieces of %d: %q, want %q", size, got, tt.want)
				}
			}
		})
	}
}

func TestSplitTakesTheLongestFrame(t *testing.T) {
	frame := func(n int) string { return ">>>\na=" + strings.Repeat("x", n-11) + "\n<<<\n" }
	if got := split(t, frame(wire.MaxText)+frame(40), 4096); len(got) != 2 || len(got[0]) != wire.MaxText {
		t.Errorf("%d frames, want the one of %d bytes and the next", len(got), wire.MaxText)
	}
	if got := split(t, frame(wire.MaxText+1)+frame(40), 4096); len(got) != 1 || len(got[0]) != 40 {
		t.Errorf("%d frames, want only the one of 40 bytes", len(got))
	}
}

// Whatever noise ended with a line end, the frame behind it is found, however the bytes come in.
func TestSplitFindsFramesInNoise(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const alphabet = "<<<>>>\n\n=\x00ab"
	for range 2000 {
		var data strings.Builder
		var want []string
		for i := range 5 {
			for range random.IntN(30) {
				data.WriteByte(alphabet[random.IntN(len(alphabet))])
			}
			frame := ">>>\nn=" + strings.Repeat("v", i+1) + "\n<<<\n"
			data.WriteString("\n" + frame)
			want = append(want, frame)
		}
		got := split(t, data.String(), 1+random.IntN(40))
		for _, frame := range want {
			if !slices.Contains(got, frame) {
				t.Fatalf("in %q: %q, lacks %q", data.String(), got, frame)
			}
		}
	}
}
