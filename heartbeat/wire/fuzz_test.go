package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hapair/heartbeat/fault"
	"hapair/heartbeat/wire"
)

// seedFrames are the real frames and one of each rare shape.
func seedFrames(f *testing.F) [][]byte {
	f.Helper()
	frames := [][]byte{
		[]byte("###\n20:(3)lst=3:abc,4:defg,,33:(2)s=###\n6:(0)a=1,8:(0)b=x\ny,%%%\n,6:(4)c=x,%%%\n"),
		[]byte(">>>\n(2)s=>>>\x14a=1\x14(2)u=>>>\x15v=\x15<<<\x15\x14<<<\x14\n(3)l=3:a\x13c,\n(1)b=AAEK/w==\n<<<\n\x00"),
		[]byte("###\n21:(5)s=###\n6:(0)a=1,%%%\n,%%%\n4:1 ab,\x00"),
		[]byte("###\n4294967302:(0)t=x,%%%\n"),
	}
	for _, v := range vectors(f) {
		frames = append(frames, v.Raw)
	}
	return frames
}

// checkMessage is the oracle for whatever was accepted: it passes Check, and every framing carries it unchanged.
func checkMessage(t *testing.T, m wire.Message, fromText bool) {
	t.Helper()
	if err := m.Check(); err != nil {
		t.Fatalf("accepted %q, which Check refuses: %v", m.Fields(), err)
	}
	_ = m.String()
	want := m.Clone()
	want = without(want, "auth")
	keys := keysOf(t, "auth 7\n7 crc\n")
	framings := []wire.Framing{wire.Netstring, wire.Classic}
	if fromText { // text cannot carry all that a netstring can: 0x13 and its like stand for newlines there
		framings = append(framings, wire.Text)
	}
	for _, framing := range framings {
		frame := keys.Seal(nil, m, framing)
		if len(frame) > wire.MaxFrame {
			continue
		}
		if _, isCompressed := m.Lookup("_compressed_payload"); isCompressed {
			continue
		}
		got, err := keys.Open(frame)
		if err != nil || !equal(got, want) {
			t.Fatalf("framing %d: sealed %q, opened %q, %v, want %q", framing, frame, got.Fields(), err, want.Fields())
		}
	}
}

// without is m less the fields of that name.
func without(m wire.Message, name string) wire.Message {
	var rest wire.Message
	for _, f := range m.Fields() {
		if f.Name != name {
			rest.AddField(f)
		}
	}
	return rest
}

// checkRefusal is the oracle for whatever was refused: nothing but the error, and one of the four causes.
func checkRefusal(t *testing.T, m wire.Message, err error) {
	t.Helper()
	known := slices.ContainsFunc([]error{wire.ErrMalformed, wire.ErrTooLong, wire.ErrKey, wire.ErrDigest}, func(e error) bool { return errors.Is(err, e) })
	if m.Len() != 0 || !known || len(err.Error()) > 200 {
		t.Fatalf("refused with %v, %v", m, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, frame := range seedFrames(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := wire.Parse(frame)
		if err != nil {
			checkRefusal(t, m, err)
			return
		}
		checkMessage(t, m, frame[0] == '>')
	})
}

// Frames are opened as they are, and once more with a signature that is right for whatever is in them: a fuzzer does not find one.
func FuzzOpen(f *testing.F) {
	for _, frame := range seedFrames(f) {
		f.Add(frame)
	}
	keys := keysOf(f, "auth 5\n1 sha1 HeartbeatLabKey1\n2 md5 Key-for-md5-test!\n3 sha1 Key\n5 crc\n")
	f.Add(packed(keys, "zlib", deflate(">>>\nt=status\nauth=1 00\n<<<\n\x00")))
	f.Add(packed(keys, "bz2", bz2(bz2Message)))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if m, err := keys.Open(frame); err != nil {
			checkRefusal(t, m, err)
		}
		signed := resign(keys, frame)
		m, err := keys.Open(signed)
		if err != nil {
			checkRefusal(t, m, err)
			if errors.Is(err, wire.ErrDigest) || errors.Is(err, wire.ErrKey) {
				t.Fatalf("a right signature was refused: %q: %v", signed, err)
			}
			return
		}
		if _, ok := m.Lookup("auth"); ok {
			t.Fatalf("opened with an auth field: %q", m.Fields())
		}
		parsed, err := wire.Parse(signed)
		if err != nil {
			t.Fatalf("opened what cannot be parsed: %q: %v", signed, err)
		}
		if _, isCompressed := parsed.Lookup("_compressed_payload"); !isCompressed && !equal(without(parsed, "auth"), m) {
			t.Fatalf("opened %q, parsed %q", m.Fields(), parsed.Fields())
		}
		checkMessage(t, m, signed[0] == '>')
	})
}

// resign puts a valid signature to whatever the frame holds.
func resign(keys *wire.Keys, frame []byte) []byte {
	if text, ok := bytes.CutPrefix(frame, []byte(">>>\n")); ok {
		if i := bytes.LastIndex(text, []byte("<<<\n")); i >= 0 {
			text = text[:i]
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(bytes.Clone(text), '\n')
		}
		var signedText []byte
		for line := range bytes.Lines(text) {
			bare := line
			if len(bare) > 3 && bare[0] == '(' && bare[2] == ')' {
				bare = bare[3:]
			}
			if !bytes.HasPrefix(bare, []byte("auth=")) {
				signedText = append(signedText, line...)
			}
		}
		return fmt.Appendf(nil, ">>>\n%sauth=%s\n<<<\n", text, keys.Sign(signedText))
	}
	body := frame
	if i := bytes.LastIndex(body, []byte("%%%\n")); i >= 0 {
		body = body[:i]
	}
	body = slices.Concat([]byte("###\n"), bytes.TrimPrefix(body, []byte("###\n")), []byte("%%%\n"))
	return append(body, element(keys.Sign(body))...)
}

// However noise is spread and cut into pieces: no frame is invented, none is longer than allowed, and the frame behind the noise is found.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(""), uint16(1))
	f.Add([]byte(">>>\nt=a\n<<<\n>>>\nt=b\n<<<\n"), uint16(5))
	f.Add([]byte("\x00~>>>\nt=a\n>>>\n<<<\n<<"), uint16(3))
	f.Add([]byte(">>>\n>>>\n>>"), uint16(100))
	f.Fuzz(func(t *testing.T, noise []byte, size uint16) {
		const mine = ">>>\nt=mine\n<<<\n"
		data := string(noise) + "\n" + mine
		pieceSize := max(int(size)+1, len(data)/512) // a frame that grows is looked through again at each piece
		got := split(t, data, pieceSize)
		for _, frame := range got {
			if !strings.HasPrefix(frame, ">>>\n") || !strings.HasSuffix(frame, "\n<<<\n") || len(frame) > wire.MaxText ||
				!strings.Contains(data, frame) || strings.Contains(frame[1:], "\n>>>\n") {
				t.Fatalf("split %q out of %q", frame, data)
			}
		}
		if len(got) == 0 || got[len(got)-1] != mine {
			t.Fatalf("split %q, which ends in the frame, into %q", data, got)
		}
		if whole := split(t, data, len(data)); len(data) < wire.MaxText && !slices.Equal(got, whole) {
			t.Fatalf("split %q in pieces into %q, at once into %q", data, got, whole)
		}
	})
}

func FuzzReadKeys(f *testing.F) {
	for _, tt := range authkeysTable {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, faults := wire.ReadKeys("authkeys", bytes.NewReader(text))
		if (keys == nil) != (faults.Worst() == fault.Error) {
			t.Fatalf("keys %v with %v", keys, faults)
		}
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, at := range faults {
			if at.File != "authkeys" || at.Line > lines || at.Col < 0 || at.Message == "" || strings.ContainsAny(at.Message, "\n\x00") {
				t.Fatalf("fault %+v", at)
			}
		}
		if keys == nil {
			return
		}
		again, _ := wire.ReadKeys("authkeys", bytes.NewReader(text))
		frame := keys.Seal(nil, heartbeat(), wire.Classic)
		if m, err := again.Open(frame); err != nil || !equal(m, heartbeat()) || !keys.Equal(again) {
			t.Fatalf("the same file makes other keys: %v, %v", m, err)
		}
	})
}
