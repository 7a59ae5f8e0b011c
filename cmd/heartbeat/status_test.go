package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"hapair/heartbeat/daemon"
)

func TestStatusForAPerson(t *testing.T) {
	t.Setenv("COLUMNS", "")
	f := startFake(t)
	code, out, err := call(t, f.run, "heartbeat", "status")
	const want = `alpha is active, holds 10.0.0.1: HEALTHY

peer beta is active, holds mail, heard 80ms ago (hapair)

links:
  bcast eth0           up        80ms ago
  ucast eth1 10.0.0.2  dead      2m5s ago
  serial /dev/ttyS0    unusable  never     no such device
  ping 10.0.0.254      up        40ms ago
  ping routers         dead      never

resource groups:
  10.0.0.1    on alpha  since 2026-11-02 07:26:54  both nodes came up
    10.0.0.1  running
    apache2   running
  mail        on beta   since 2026-11-02 07:26:54  beta holds it

last transitions:
  2026-11-02 07:26:54  Acquiring resource group: alpha 10.0.0.1 (both nodes came up)
`
	if code != 0 || err != "" || trimLines(out) != trimLines(want) {
		t.Errorf("status: %d, %q\n%s\nwant\n%s", code, err, out, want)
	}
}

// measured is a pair whose heartbeats were measured, with names and reasons as long as they get.
func measured() daemon.Status {
	s := pairStatus()
	timing := &daemon.TimingView{Heartbeats: 86321, Lost: 12, LossPercent: 0.034, RTTMS: 0.213, RTTMaxMS: 14.2, JitterMS: 1.25, JitterMaxMS: 84, SilenceMS: 184, SafeMS: 400}
	s.Health = daemon.Degraded
	s.Problems = []string{"link serial /dev/ttyS0 is unusable here: open /dev/ttyS0: no such device (is the port switched off in the firmware, or another one meant?)"}
	s.DeadtimeMS, s.KeepaliveMS, s.WorstStall, s.Timing = 2000, 100, 5230, timing
	s.Links[0].Timing, s.Links[1].Timing = timing, timing
	s.Groups[0].Reason = "handed over to alpha: standby asked for by root (pid 31415) because the other machine is to be serviced this afternoon"
	s.Transitions[0].Reason = s.Groups[0].Reason
	s.Files = &daemon.FilesView{State: "equal"}
	return s
}

// TestStatusFitsAnyTerminal: nothing is wider than the terminal, and nothing of what matters is lost in a narrow one.
func TestStatusFitsAnyTerminal(t *testing.T) {
	for _, width := range []string{"40", "60", "80", "120", "200"} {
		t.Setenv("COLUMNS", width)
		f := startFake(t)
		f.change(func(s *daemon.Status) { *s = measured() })
		for _, words := range [][]string{{"heartbeat", "status"}, {"heartbeat", "status", "--timing"}} {
			_, out, _ := call(t, f.run, words...)
			most, _ := strconv.Atoi(width)
			for line := range strings.Lines(out) {
				if n := ansi.StringWidth(strings.TrimSuffix(line, "\n")); n > most {
					t.Errorf("%s columns: %d are needed by %q", width, n, line)
				}
			}
			flat := strings.Join(strings.Fields(out), " ")
			for _, want := range []string{"DEGRADED", "or another one meant?)", "bcast eth0", "dead", "on alpha", "this afternoon", "longest silence of beta 184ms in 86321 heartbeats: deadtime 2s is safe (from 400ms on)"} {
				if !strings.Contains(flat, want) {
					t.Errorf("%s columns: %q is not shown\n%s", width, want, out)
				}
			}
			if most >= 120 {
				for _, want := range []string{"round trip", "0.03 %", "210µs", "1.25ms", "from 400ms"} {
					if !strings.Contains(flat, want) {
						t.Errorf("%s columns: %q is not shown\n%s", width, want, out)
					}
				}
			}
			if timing := len(words) == 3; timing != strings.Contains(flat, "this node itself was late by 5.23ms at most") {
				t.Errorf("%v:\n%s", words, out)
			}
		}
	}
}

// TestWrapLosesNothing: words that are longer than the line are cut, and every character is there.
func TestWrapLosesNothing(t *testing.T) {
	text := "open /sys/fs/bpf/heartbeat/a-very-long-path-that-nobody-wants-to-read-in-a-narrow-window: it is not there, and " + strings.Repeat("x", 100)
	for width := 20; width < 200; width++ {
		lines := screen{width: width}.wrap("  ! ", text)
		var got string
		for i, l := range lines {
			if ansi.StringWidth(l) > width {
				t.Errorf("width %d: %q", width, l)
			}
			if prefix := map[bool]string{true: "  ! ", false: "    "}[i == 0]; !strings.HasPrefix(l, prefix) {
				t.Errorf("width %d: %q does not begin with %q", width, l, prefix)
			}
			got += l[4:]
		}
		if strip := func(s string) string { return strings.ReplaceAll(s, " ", "") }; strip(got) != strip(text) {
			t.Errorf("width %d: %q", width, lines)
		}
	}
}

// trimLines removes blanks at the ends of lines.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func TestStatusExitCodesAndProblems(t *testing.T) {
	f := startFake(t)
	for health, want := range statusExit {
		f.change(func(s *daemon.Status) { s.Health, s.Problems = health, []string{"beta is dead: see to that machine"} })
		code, out, _ := call(t, f.run, "heartbeat", "status")
		if code != want || !strings.Contains(out, strings.ToUpper(string(health))+"\n  ! beta is dead: see to that machine\n") {
			t.Errorf("%s: %d\n%s", health, code, out)
		}
	}
}

func TestStatusJSON(t *testing.T) {
	f := startFake(t)
	code, out, _ := call(t, f.run, "heartbeat", "status", "--json")
	var s map[string]any
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil {
		t.Fatalf("%d, %v: %s", code, err, out)
	}
	for _, key := range []string{"schema", "node", "state", "holds", "peer", "links", "groups", "transitions"} {
		if _, ok := s[key]; !ok {
			t.Errorf("no key %q in %s", key, out)
		}
	}
	code, out, _ = call(t, t.TempDir(), "heartbeat", "status", "--json")
	if err := json.Unmarshal([]byte(out), &s); code != 3 || err != nil || s["error"] != "heartbeat is not running" {
		t.Errorf("without a daemon: %d, %s", code, out)
	}
}
