package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"hapair/heartbeat/wire"
)

const labKey = "auth 1\n1 sha1 HeartbeatLabKey1\n"

func TestDigestVectors(t *testing.T) {
	m := wire.New("status")
	m.Add("st", "active")
	for line, want := range map[string]string{
		"1 crc":         "b7e1ed97",
		"1 md5 secret":  "0b8613f5699fe06384fb2e94291b385a",
		"1 sha1 secret": "07f984b16bbabff2152a828d70f0cd018933e7d8",
	} {
		want = ">>>\nt=status\nst=active\nauth=1 " + want + "\n<<<\n"
		if got := keysOf(t, "auth 1\n"+line).Seal(nil, m, wire.Text); string(got) != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// The digest of crc is a number: no leading zeros.
func TestCRCIsNotPadded(t *testing.T) {
	keys := keysOf(t, "auth 1\n1 crc\n")
	for i := range 2000 {
		m := wire.New("x")
		m.Add("n", strings.Repeat("z", i))
		frame := keys.Seal(nil, m, wire.Text)
		if _, err := keys.Open(frame); err != nil {
			t.Fatalf("open %q: %v", frame, err)
		}
		if bytes.Contains(frame, []byte("auth=1 0")) {
			t.Fatalf("sealed %q", frame)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	keys := keysOf(t, labKey)
	good := string(keys.Seal(nil, heartbeat(), wire.Netstring))
	body := good[:strings.Index(good, "%%%\n")+4]
	text := string(keys.Seal(nil, heartbeat(), wire.Text))
	with := func(authkeys string, f wire.Framing) string {
		return string(keysOf(t, authkeys).Seal(nil, heartbeat(), f))
	}
	classic := string(keys.Seal(nil, heartbeat(), wire.Classic))
	unsigned := classic[:strings.Index(classic, "%%%\n")+4]
	for name, tt := range map[string]struct {
		frame string
		want  error
	}{
		"nothing":                      {"", wire.ErrMalformed},
		"other protocol":               {"GET / HTTP/1.0\r\n\r\n", wire.ErrMalformed},
		"no trailer":                   {body, wire.ErrDigest},
		"no trailer, valid inner auth": {unsigned, wire.ErrDigest},
		"no trailer and NUL":           {body + "\x00", wire.ErrDigest},
		"empty trailer":                {body + "0:,", wire.ErrMalformed},
		"trailer length no number":     {body + "1x:1 ab,", wire.ErrMalformed},
		"trailer too long":             {body + element("1 "+strings.Repeat("a", 200)), wire.ErrMalformed},
		"no end":                       {good[:40], wire.ErrMalformed},
		"unknown index":                {body + "12:2 0123456789,", wire.ErrKey},
		"index 15":                     {body + "13:15 0123456789,", wire.ErrKey},
		"index 16":                     {body + "13:16 0123456789,", wire.ErrKey},
		"index 99":                     {body + "13:99 0123456789,", wire.ErrKey},
		"index 100":                    {body + "14:100 0123456789,", wire.ErrMalformed},
		"index 01":                     {body + "13:01 0123456789,", wire.ErrMalformed},
		"short digest":                 {body + "4:1 ab,", wire.ErrDigest},
		"digest in capitals":           {body + strings.ToUpper(good[len(body):]), wire.ErrDigest},
		"trailer length wrong":         {body + "41" + good[len(body)+2:], wire.ErrMalformed},
		"trailer twice":                {good + good[len(body):], wire.ErrMalformed},
		"damaged":                      {strings.Replace(good, "active", "activf", 1), wire.ErrDigest},
		"other secret":                 {with("auth 1\n1 sha1 SomeOtherKey99", wire.Classic), wire.ErrDigest},
		"other method":                 {with("auth 1\n1 md5 HeartbeatLabKey1", wire.Classic), wire.ErrDigest},
		"crc when there is none":       {with("auth 1\n1 crc", wire.Classic), wire.ErrDigest},
		"text, unsigned":               {">>>\nt=x\n<<<\n", wire.ErrDigest},
		"text, empty auth":             {">>>\nt=x\nauth=\n<<<\n", wire.ErrMalformed},
		"text, unknown index":          {">>>\nt=x\nauth=3 ab\n<<<\n", wire.ErrKey},
		"text, damaged":                {strings.Replace(text, "active", "activf", 1), wire.ErrDigest},
		"text, field added":            {strings.Replace(text, "auth=", "x=y\nauth=", 1), wire.ErrDigest},
		"text, field behind auth":      {strings.Replace(text, "<<<", "x=y\n<<<", 1), wire.ErrDigest},
		"text, other secret":           {with("auth 1\n1 sha1 SomeOtherKey99", wire.Text), wire.ErrDigest},
		"text, no end":                 {text[:len(text)-1], wire.ErrMalformed},
		"text, last auth wrong":        {strings.Replace(text, "<<<", "auth=1 00\n<<<", 1), wire.ErrDigest},
	} {
		m, err := keys.Open([]byte(tt.frame))
		if !errors.Is(err, tt.want) || m.Len() != 0 {
			t.Errorf("%s: %v, %v, want %v", name, m, err, tt.want)
		}
	}
}

func TestOpenTolerates(t *testing.T) {
	keys := keysOf(t, labKey)
	good := string(keys.Seal(nil, heartbeat(), wire.Netstring))
	text := string(keys.Seal(nil, heartbeat(), wire.Text))
	wrongInner := heartbeat()
	wrongInner.Add("auth", "1 0000")
	for name, frame := range map[string]string{
		"V3":                        good,
		"V3 and NUL":                good + "\x00",
		"V2":                        string(keys.Seal(nil, heartbeat(), wire.Classic)),
		"V2 with a wrong auth":      wire.SealRaw(keys, wrongInner),
		"V1":                        text,
		"V1 and NUL":                text + "\x00",
		"V1, first of two is wrong": strings.Replace(text, "auth=", "auth=9 00\nauth=", 1),
		"V1, auth in front":         ">>>\n" + text[strings.Index(text, "auth="):len(text)-4] + text[4:strings.Index(text, "auth=")] + "<<<\n",
	} {
		m, err := keys.Open([]byte(frame))
		if err != nil || !equal(m, heartbeat()) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

// The index in the frame picks the key, not the entry that this node signs with.
func TestKeysCanBeRotated(t *testing.T) {
	before := keysOf(t, "auth 1\n1 sha1 HeartbeatLabKey1\n2 md5 TheNextLabKey2\n")
	after := keysOf(t, "auth 2\n1 sha1 HeartbeatLabKey1\n2 md5 TheNextLabKey2\n")
	for _, framing := range []wire.Framing{wire.Netstring, wire.Classic, wire.Text} {
		if _, err := before.Open(after.Seal(nil, heartbeat(), framing)); err != nil {
			t.Errorf("framing %d: the node that still signs with 1 refuses 2: %v", framing, err)
		}
		if _, err := after.Open(before.Seal(nil, heartbeat(), framing)); err != nil {
			t.Errorf("framing %d: the node that signs with 2 refuses 1: %v", framing, err)
		}
	}
}

// An error is for a log at 3 a.m.: it names the key, quotes nothing that arrived, and has a bounded length.
func TestErrorsAreBounded(t *testing.T) {
	keys := keysOf(t, labKey)
	huge := keysOf(t, "auth 1\n1 sha1 SomeOtherKey99").Seal(nil, wire.New(strings.Repeat("\x1b[2J", 10000)), wire.Classic)
	_, err := keys.Open(huge)
	if err == nil || len(err.Error()) > 200 || !strings.Contains(err.Error(), "key 1 (sha1)") {
		t.Errorf("open: %v", err)
	}
}

func TestOpenedMessageOutlivesItsFrame(t *testing.T) {
	keys := keysOf(t, labKey)
	frame := keys.Seal(nil, heartbeat(), wire.Classic)
	m, err := keys.Open(frame)
	if err != nil {
		t.Fatal(err)
	}
	clear(frame)
	if !equal(m, heartbeat()) {
		t.Errorf("the message changed with the frame: %v", m)
	}
}

func TestKeysAreConcurrent(t *testing.T) {
	keys := keysOf(t, labKey)
	want := keys.Seal(nil, heartbeat(), wire.Classic)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var frame []byte
			for range 300 {
				frame = keys.Seal(frame[:0], heartbeat(), wire.Classic)
				if m, err := keys.Open(frame); err != nil || !equal(m, heartbeat()) || !bytes.Equal(frame, want) {
					t.Errorf("%q, %v", frame, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestSealDoesNotAllocate(t *testing.T) {
	keys := keysOf(t, labKey)
	m, dst := heartbeat(), make([]byte, 0, 1024)
	for _, framing := range []wire.Framing{wire.Netstring, wire.Classic, wire.Text} {
		best := 1000.0 // the race detector empties pools at random
		for range 20 {
			best = min(best, testing.AllocsPerRun(1, func() { dst = keys.Seal(dst[:0], m, framing) }))
		}
		if best > 0 {
			t.Errorf("framing %d: %v allocations a frame", framing, best)
		}
	}
}
