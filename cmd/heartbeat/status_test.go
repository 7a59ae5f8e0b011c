package main

import (
	"encoding/json"
	"strings"
	"testing"

	"hapair/heartbeat/daemon"
)

func TestStatusForAPerson(t *testing.T) {
	f := startFake(t)
	code, out, err := call(t, f.run, "heartbeat", "status")
	const want = `alpha is active and holds local: HEALTHY

peer beta is active, heard 80ms ago (hapair)

links:
  bcast eth0           up        last frame 80ms ago
  ucast eth1 10.0.0.2  dead      last frame 2m5s ago
  serial /dev/ttyS0    unusable  last frame never  no such device
  ping 10.0.0.254      up        last reply 40ms ago
  ping routers         dead      last reply never

resource groups:
  10.0.0.1    on alpha    since 2026-11-02 07:26:54  both nodes came up
    10.0.0.1  running                                         
    apache2   running                                         
  mail        on beta     since 2026-11-02 07:26:54  beta holds it

last transitions:
  2026-11-02 07:26:54  Acquiring resource group 10.0.0.1 (both nodes came up)
`
	if code != 0 || err != "" || trimLines(out) != trimLines(want) {
		t.Errorf("status: %d, %q\n%s\nwant\n%s", code, err, out, want)
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
