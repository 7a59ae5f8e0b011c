package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// journalOfATakeover is what a standby node wrote: an older file, a run before, a line that a power cut left, and a takeover.
var journalOfATakeover = map[string]string{
	"journal.jsonl.1": `{"time":"2026-11-01T03:00:00Z","node":"beta","generation":7,"level":"INFO","what":"Acquiring resource group: alpha 10.0.0.1","reason":"alpha said goodbye"}
`,
	"journal.jsonl": `{"time":"2026-11-02T03:00:00Z","node":"beta","generation":8,"level":"WARN","what":"Link alpha:eth1 dead.","reason":"nothing heard on it for 200ms"}
{"time":"2026-11-02T03:10:00.100Z","node":"beta","generation":8,"level":"WARN","what":"Link alpha:eth0 dead.","reason":"nothing heard on it for 200ms"}
{"time":"2026-11-02T03:10:00.100Z","node":"beta","generation":8,"level":"WARN","what":"node alpha: is dead","reason":"nothing heard on any link for 200ms, deadtime 200ms"}
{"time":"2026-11-02T03:10:00.103Z","node":"beta","generation":8,"level":"INFO","what":"Acquiring resource group: alpha 10.0.0.1","reason":"alpha is dead"}
{"time":"2026-11-02T03:10:00.103Z","node":"beta","generation":8,"level":"INFO","what":"Acquiring resource group: alpha 10.0.0.10","reason":"alpha is dead"}
{"time":"2026-11-02T03:10:0
{"time":"2026-11-02T03:10:00.9Z","node":"beta","generation":8,"level":"INFO","what":"starting","group":"10.0.0.1","resource":"apache2","operation":"start"}
{"time":"2026-11-02T03:10:01Z","node":"beta","generation":8,"level":"INFO","what":"Resource group 10.0.0.1 runs here (started in 897ms)","reason":"alpha is dead"}
`,
}

// fromJournal runs a command on a node that has that journal, and no daemon.
func fromJournal(t *testing.T, journal map[string]string, words ...string) (code int, out, err string) {
	t.Helper()
	state := t.TempDir()
	for name, text := range journal {
		if err := os.WriteFile(filepath.Join(state, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var o, e bytes.Buffer
	a := &app{out: &o, err: &e, dirs: directories{config: t.TempDir(), state: state, run: t.TempDir()}}
	code = a.dispatch("heartbeat", append(words, "--state", state))
	return code, o.String(), e.String()
}

// TestWhyTellsWhatLedToATakeover: what came shortly before it in the same run, and its own steps, nothing of another group.
func TestWhyTellsWhatLedToATakeover(t *testing.T) {
	t.Setenv("TZ", "UTC")
	code, out, errText := fromJournal(t, journalOfATakeover, "why", "10.0.0.1")
	if code != 0 || errText != "" {
		t.Fatalf("why: %d, %s", code, errText)
	}
	var steps []string
	for _, line := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
		_, what, _ := strings.Cut(strings.TrimSpace(line), "  ")
		steps = append(steps, what)
	}
	want := []string{
		"WARN: Link alpha:eth0 dead. (nothing heard on it for 200ms)",
		"WARN: node alpha: is dead (nothing heard on any link for 200ms, deadtime 200ms)",
		"Acquiring resource group: alpha 10.0.0.1 (alpha is dead)",
		"apache2 start: starting",
		"Resource group 10.0.0.1 runs here (started in 897ms) (alpha is dead)",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("why tells\n%s\nwant\n%s", strings.Join(steps, "\n"), strings.Join(want, "\n"))
	}
	if code, out, errText := fromJournal(t, journalOfATakeover, "why", "10.0.0.2"); code != 1 || !strings.Contains(errText, "no change") {
		t.Errorf("why of an unknown group: %d, %s%s", code, out, errText)
	}
}

func TestHistoryReadsBothFiles(t *testing.T) {
	code, out, errText := fromJournal(t, journalOfATakeover, "history", "--json")
	if lines := strings.Count(out, "\n"); code != 0 || errText != "" || lines != 8 {
		t.Errorf("history: %d, %s, %d lines, want every one that can be read:\n%s", code, errText, lines, out)
	}
	if code, out, _ := fromJournal(t, journalOfATakeover, "history", "-n", "1"); code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "runs here") {
		t.Errorf("the last line of history: %d\n%s", code, out)
	}
	if code, out, _ := fromJournal(t, journalOfATakeover, "history", "--since", "1h"); code != 0 || out != "Nothing is on record.\n" {
		t.Errorf("history of an hour: %d\n%s", code, out)
	}
	if code, _, errText := fromJournal(t, journalOfATakeover, "history", "--since", "yesterday"); code != 2 || !strings.Contains(errText, "such as 90m") {
		t.Errorf("history since yesterday: %d, %s", code, errText)
	}
	if code, out, _ := fromJournal(t, nil, "history"); code != 0 || out != "Nothing is on record.\n" {
		t.Errorf("history without a journal: %d\n%s", code, out)
	}
}

// TestWhyGoesBackToWhatDecided: a takeover that had to wait, for a ping node or a device, is explained by what it waited for, however long ago.
func TestWhyGoesBackToWhatDecided(t *testing.T) {
	t.Setenv("TZ", "UTC")
	t.Setenv("COLUMNS", "")
	line := func(clock, what, reason string) string {
		return `{"time":"2026-11-02T` + clock + `Z","node":"beta","generation":8,"level":"INFO","what":"` + what + `","reason":"` + reason + `"}` + "\n"
	}
	journal := line("01:00:00", "node alpha: is dead", "an older one") + line("01:10:00", "Node alpha is back (hapair).", "heartbeats arrive again") +
		line("03:00:00", "Link alpha:eth0 dead.", "nothing heard") + line("03:00:00", "node alpha: is dead", "nothing heard on any link for 2s") +
		line("03:00:01", "This node is isolated: it takes nothing over", "neither the peer nor any ping target answers") +
		line("03:05:00", "This node is no longer isolated", "a ping target answers again") + line("03:05:00", "Acquiring resource group web", "alpha is dead")
	code, out, _ := fromJournal(t, map[string]string{"journal.jsonl": journal}, "why", "web")
	var steps []string
	for _, l := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
		steps = append(steps, strings.TrimSpace(l))
	}
	want := []string{"03:00:00.000  node alpha: is dead (nothing heard on any link for 2s)",
		"03:00:01.000  This node is isolated: it takes nothing over (neither the peer nor any ping target answers)",
		"03:05:00.000  This node is no longer isolated (a ping target answers again)", "03:05:00.000  Acquiring resource group web (alpha is dead)"}
	if code != 0 || !slices.Equal(steps, want) {
		t.Errorf("%d\n%s\nwant\n%s", code, strings.Join(steps, "\n"), strings.Join(want, "\n"))
	}
}

// TestWhyWithoutAReadableConfiguration: what happened can be asked for also where the files are broken and no daemon runs: then above all.
func TestWhyWithoutAReadableConfiguration(t *testing.T) {
	t.Setenv("COLUMNS", "")
	code, out, errText := fromJournal(t, journalOfATakeover, "why")
	if code != 0 || errText != "" || !strings.Contains(out, "10.0.0.1: Resource group") || !strings.Contains(out, "10.0.0.10: Acquiring") {
		t.Errorf("%d, %q\n%s", code, errText, out)
	}
}
