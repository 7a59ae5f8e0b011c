package config_test

import (
	"testing"
	"time"

	"hapair/heartbeat/config"
)

// Reference: protocol section 1.2.
func TestParseTime(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		odd  bool // Linux-HA would refuse it or read something else
		bad  bool
	}{
		{text: "2", want: 2 * time.Second},
		{text: "0", want: 0},
		{text: "1.5", want: 1500 * time.Millisecond},
		{text: ".2", want: 200 * time.Millisecond},
		{text: "10.", want: 10 * time.Second},
		{text: "200ms", want: 200 * time.Millisecond},
		{text: "200MSEC", want: 200 * time.Millisecond},
		{text: "499us", want: 0},
		{text: "500us", want: time.Millisecond},
		{text: "501us", want: time.Millisecond},
		{text: "1500usec", want: 2 * time.Millisecond},
		{text: "0.4ms", want: 0},
		{text: "0.5ms", want: time.Millisecond},
		{text: "1.0004", want: time.Second},
		{text: "1.0005", want: 1001 * time.Millisecond},
		{text: "7msfoo", want: 7 * time.Millisecond, odd: true},
		{text: "7000usury", want: 7 * time.Millisecond, odd: true},
		{text: "1.2.3", want: 1200 * time.Millisecond, odd: true},
		{text: "30s", want: 30 * time.Second, odd: true},
		{text: "30Sec", want: 30 * time.Second, odd: true},
		{text: "2min", want: 2 * time.Minute, odd: true},
		{text: "2m", want: 2 * time.Minute, odd: true},
		{text: "1h", bad: true},
		{text: "", bad: true},
		{text: ".", bad: true},
		{text: "..", bad: true},
		{text: "ms", bad: true},
		{text: "-1", bad: true},
		{text: "+1", bad: true},
		{text: "1e3", bad: true},
		{text: "0x10", bad: true},
		{text: "ten", bad: true},
		{text: "99999999999999999999", bad: true},
	} {
		t.Run(tt.text, func(t *testing.T) {
			got, odd, err := config.ParseTime(tt.text)
			if got != tt.want || (odd != "") != tt.odd || (err != nil) != tt.bad {
				t.Errorf("got %v, %q, %v; want %+v", got, odd, err, tt)
			}
		})
	}
}

// Reference: protocol section 1.2.
func TestParseBool(t *testing.T) {
	for text, want := range map[string][2]bool{
		"true": {true, true}, "on": {true, true}, "yes": {true, true}, "y": {true, true}, "1": {true, true}, "YES": {true, true}, "On": {true, true},
		"false": {false, true}, "off": {false, true}, "no": {false, true}, "n": {false, true}, "0": {false, true}, "OFF": {false, true},
		"": {}, "2": {}, "t": {}, "respawn": {}, "onn": {}, "legacy": {},
	} {
		if value, ok := config.ParseBool(text); value != want[0] || ok != want[1] {
			t.Errorf("%q: got %v, %v; want %v", text, value, ok, want)
		}
	}
}

// Reference: protocol section 1.2, "atoi-style".
func TestParseInt(t *testing.T) {
	for _, tt := range []struct {
		text        string
		want        int
		garbled, ok bool
	}{
		{"694", 694, false, true}, {"0", 0, false, true}, {"-3", -3, false, true}, {"+3", 3, false, true}, {"007", 7, false, true},
		{"694abc", 694, true, true}, {"1.5", 1, true, true}, {"0x10", 0, true, true},
		{"", 0, false, false}, {"abc", 0, true, false}, {"-", 0, false, false}, {"99999999999999999999", 0, false, false},
	} {
		n, garbled, ok := config.ParseInt(tt.text)
		if ok != tt.ok || ok && (n != tt.want || garbled != tt.garbled) {
			t.Errorf("%q: got %d, %v, %v; want %+v", tt.text, n, garbled, ok, tt)
		}
	}
}

func TestShow(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0ms": 0, "50ms": 50 * time.Millisecond, "1s": time.Second, "1.5s": 1500 * time.Millisecond, "120s": 2 * time.Minute,
	} {
		if got := config.Show(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got, _, err := config.ParseTime(want); err != nil || got != d {
			t.Errorf("%s does not read back: %v, %v", want, got, err)
		}
	}
}
