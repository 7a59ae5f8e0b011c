package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hapair/heartbeat/wire"
)

// element is one netstring.
func element(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }

func TestParseAccepts(t *testing.T) {
	for name, tt := range map[string]struct{ frame, want string }{
		"netstring, no trailer":      {"###\n6:(0)t=x,%%%\n", "t=x"},
		"netstring, trailer":         {"###\n6:(0)t=x,%%%\n4:1 ab,", "t=x"},
		"netstring, trailer and NUL": {"###\n6:(0)t=x,%%%\n4:1 ab,\x00", "t=x"},
		"no fields":                  {"###\n%%%\n", ""},
		"empty value":                {"###\n5:(0)a=,%%%\n", "a="},
		"equals in a value":          {"###\n8:(0)a=b=c,%%%\n", "a=b=c"},
		"marker in a value":          {"###\n10:(0)a=%%%\n,,%%%\n", `a="%%%\n,"`}, // the comma is the value's
		"binary with NUL":            {"###\n8:(1)a=b\x00c,%%%\n", "a=YgBj"},
		"compressed field":           {"###\n6:(4)a=x,%%%\n", "a=eA=="},
		"classic":                    {">>>\nt=x\na=\n<<<\n", "t=x a="},
		"classic and NUL":            {">>>\nt=x\n<<<\n\x00", "t=x"},
		"classic without fields":     {">>>\n<<<\n", ""},
		"classic newline":            {">>>\na=x\x13y\n<<<\n", `a="x\ny"`},
		"classic binary":             {">>>\n(1)a=AAEK/w==\n<<<\n", "a=AAEK/w=="},
		"classic with CR":            {">>>\na=x\r\n<<<\n", `a="x\r"`},
	} {
		frame := tt.frame
		if name == "marker in a value" {
			frame = "###\n" + element("(0)a=%%%\n,") + "%%%\n"
		}
		got, err := wire.Parse([]byte(frame))
		if err != nil || got.String() != tt.want {
			t.Errorf("%s: %v, %v, want %s", name, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, frame := range map[string]string{
		"nothing":                   "",
		"NUL":                       "\x00",
		"neither marker":            "t=x\n",
		"start only":                "###\n",
		"start of a start":          "##",
		"no end":                    "###\n6:(0)t=x,",
		"two NULs":                  "###\n6:(0)t=x,%%%\n\x00\x00",
		"garbage behind":            "###\n6:(0)t=x,%%%\n4:1 ab,x",
		"trailer cut":               "###\n6:(0)t=x,%%%\n4:1 a",
		"trailer without digest":    "###\n6:(0)t=x,%%%\n2:1 ,",
		"trailer without index":     "###\n6:(0)t=x,%%%\n3: ab,",
		"length without digits":     "###\n:(0)t=x,%%%\n",
		"length with sign":          "###\n+6:(0)t=x,%%%\n",
		"length with leading zero":  "###\n06:(0)t=x,%%%\n",
		"length too large":          "###\n7:(0)t=x,%%%\n",
		"length beyond":             "###\n600:(0)t=x,%%%\n",
		"length overflows int32":    "###\n4294967302:(0)t=x,%%%\n",
		"length overflows int64":    "###\n18446744073709551622:(0)t=x,%%%\n",
		"length of a million nines": "###\n" + strings.Repeat("9", 100000),
		"length too small":          "###\n5:(0)t=x,%%%\n",
		"no comma":                  "###\n6:(0)t=x;%%%\n",
		"no type":                   "###\n3:t=x,%%%\n",
		"two-digit type":            "###\n7:(10)t=x,%%%\n",
		"type 6":                    "###\n6:(6)t=x,%%%\n",
		"letter as type":            "###\n6:(a)t=x,%%%\n",
		"no equals":                 "###\n4:(0)t,%%%\n",
		"empty field":               "###\n0:,%%%\n",
		"no name":                   "###\n5:(0)=x,%%%\n",
		"newline in a name":         "###\n8:(0)a\nb=x,%%%\n",
		"NUL in text":               "###\n8:(0)a=b\x00c,%%%\n",
		"list that is none":         "###\n6:(3)a=x,%%%\n",
		"struct that is none":       "###\n6:(2)a=x,%%%\n",
		"struct with more":          "###\n" + element("(2)a=###\n%%%\nx") + "%%%\n",
		"struct with trailer":       "###\n" + element("(2)a=###\n%%%\n4:1 ab,") + "%%%\n",
		"classic without end":       ">>>\nt=x\n",
		"classic end unterminated":  ">>>\nt=x\n<<<",
		"classic, end not a line":   ">>>\nt=x<<<\n",
		"classic, garbage behind":   ">>>\nt=x\n<<<\ny",
		"classic, two frames":       ">>>\nt=x\n<<<\n>>>\nt=x\n<<<\n",
		"classic, start twice":      ">>>\n>>>\nt=x\n<<<\n",
		"classic, no equals":        ">>>\nt\n<<<\n",
		"classic, no name":          ">>>\n=x\n<<<\n",
		"classic, empty line":       ">>>\n\n<<<\n",
		"classic, NUL":              ">>>\nt=\x00\n<<<\n",
		"classic, type 0 spelled":   ">>>\n(0)t=x\n<<<\n",
		"classic, type 6":           ">>>\n(6)t=x\n<<<\n",
		"classic, bad base64":       ">>>\n(1)t=AAE\n<<<\n",
		"classic, base64 with CR":   ">>>\n(1)t=AA\rEC\n<<<\n",
		"classic, bad list":         ">>>\n(3)t=3:ab,\n<<<\n",
		"classic, bad struct":       ">>>\n(2)t=>>>\x14a=1\x14\n<<<\n",
		"classic, bad in a struct":  ">>>\n(2)t=>>>\x14a\x14<<<\x14\n<<<\n",
		"trailer length no number":  "###\n6:(0)t=x,%%%\nx:1 ab,",
	} {
		got, err := wire.Parse([]byte(frame))
		if !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v, %v, want ErrMalformed", name, got, err)
		}
		if got.Len() != 0 {
			t.Errorf("%s: refused and yet returned %v", name, got)
		}
	}
	for _, frame := range []string{
		"###\n" + strings.Repeat("5:(0)a=,", wire.MaxFields+1) + "%%%\n",
		">>>\n" + strings.Repeat("a=\n", wire.MaxFields+1) + "<<<\n",
	} {
		if _, err := wire.Parse([]byte(frame)); !errors.Is(err, wire.ErrTooLong) {
			t.Errorf("too many fields: %v", err)
		}
	}
	if _, err := wire.Parse(make([]byte, wire.MaxFrame+1)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("one NUL too many: %v", err) // the last NUL is tolerated, so this is MaxFrame bytes of garbage
	}
	if _, err := wire.Parse(make([]byte, wire.MaxFrame+2)); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
}

func TestFramingsRoundTrip(t *testing.T) {
	m := heartbeat()
	m.Add("note", "two\nlines")
	m.AddBinary("blob", []byte(">>>\n###\n%%%\n<<<\n\x00\x13\xff"))
	for _, line := range []string{"0 crc", "1 md5 HeartbeatLabKey1", "15 sha1 HeartbeatLabKey1", "7 sha256 HeartbeatLabKey1", "8 hmac-sha512 HeartbeatLabKey1"} {
		keys := keysOf(t, "auth "+strings.Fields(line)[0]+"\n"+line)
		for _, framing := range []wire.Framing{wire.Netstring, wire.Classic, wire.Text} {
			frame := keys.Seal([]byte("kept"), m, framing)[len("kept"):]
			got, err := keys.Open(frame)
			if err != nil || !equal(got, m) {
				t.Errorf("%s, framing %d: %v, %v", line, framing, got, err)
			}
			parsed, err := wire.Parse(frame)
			if err != nil {
				t.Errorf("%s, framing %d: parse: %v", line, framing, err)
			}
			if again := keys.Seal(nil, parsed, framing); string(again) != string(frame) {
				t.Errorf("%s, framing %d: sealed with an auth field in it:\n%q, want\n%q", line, framing, again, frame)
			}
		}
	}
}
