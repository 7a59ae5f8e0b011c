package main

import (
	"strings"
	"testing"

	"hapair/heartbeat/daemon"
)

func TestPauseCommand(t *testing.T) {
	f := startFake(t)
	for _, tt := range []struct {
		time string
		code int
		out  string
		ms   int64
	}{
		{"10m", 0, "Takeover is paused until ", 600_000},
		{"90", 0, "Takeover is paused until ", 90_000},
		{"0", 0, "Takeover is no longer paused.\n", 0},
		{"25h", 2, "a time such as 90s or 10m, at most 24h0m0s", -1},
		{"soon", 2, `"soon": a time`, -1},
	} {
		f.got = nil
		code, out, err := call(t, f.run, "heartbeat", "pause", tt.time)
		if code != tt.code || !strings.Contains(out+err, tt.out) {
			t.Errorf("pause %s: %d %q %q", tt.time, code, out, err)
		}
		if tt.ms >= 0 && (len(f.got) != 1 || f.got[0].Command != daemon.CommandPause || f.got[0].DurationMS != tt.ms) {
			t.Errorf("pause %s: the daemon got %+v", tt.time, f.got)
		}
	}
}
