package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/host"
)

func TestNextGeneration(t *testing.T) {
	now := time.Unix(1795368392, 0)
	tests := []struct {
		name, before string
		want         uint32
		note, after  string
	}{
		{"missing file starts from the clock", "", 1795368393, "No Previous generation - starting at 1795368393", "     1795368393\n"},
		{"Linux-HA's file counts on", "     1795368393\n", 1795368394, "", "     1795368394\n"},
		{"a small number counts on", "              7\n", 8, "", "              8\n"},
		{"unaligned text counts on", "41", 42, "", "             42\n"},
		{"a broken file starts from the clock, not from 1", "garbage\n", 1795368393, "BROKEN previous generation - starting at 1795368393", "     1795368393\n"},
		{"zero is broken", "              0\n", 1795368393, "BROKEN", "     1795368393\n"},
		{"the largest number cannot be followed", "     4294967295\n", 1795368393, "BROKEN", "     1795368393\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "hb_generation")
			if tt.before != "" {
				write(t, path, tt.before)
			}
			g := host.NextGeneration(dir, now)
			if g.Err != nil || g.Number != tt.want {
				t.Fatalf("NextGeneration = %d, %v; want %d", g.Number, g.Err, tt.want)
			}
			if notes := strings.Join(g.Notes, "\n"); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("notes = %q, want %q", notes, tt.note)
			}
			if after := read(t, path); after != tt.after {
				t.Errorf("file = %q, want %q", after, tt.after)
			}
		})
	}
}

func TestGenerationThatCannotBeWrittenIsFromTheClock(t *testing.T) {
	g := host.NextGeneration(filepath.Join(t.TempDir(), "missing"), time.Unix(1795368392, 0))
	if g.Err == nil || g.Number != 1795368393 {
		t.Fatalf("NextGeneration = %d, %v; want 1795368393 and an error", g.Number, g.Err)
	}
}

func TestUUIDIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, made, err := host.UUID(dir)
	if !made || err != nil {
		t.Fatalf("first: made %v, err %v", made, err)
	}
	if got := read(t, filepath.Join(dir, "hb_uuid")); got != string(first[:]) || len(got) != 16 {
		t.Fatalf("file holds % x, want the 16 bytes % x", got, first)
	}
	second, made, err := host.UUID(dir)
	if made || err != nil || second != first {
		t.Fatalf("second: % x, made %v, err %v", second, made, err)
	}
	write(t, filepath.Join(dir, "hb_uuid"), strings.Repeat("\x00", 16))
	if third, made, _ := host.UUID(dir); !made || third == [16]byte{} {
		t.Fatalf("an all-zero uuid was kept: % x", third)
	}
}

func TestNodeName(t *testing.T) {
	dir := t.TempDir()
	uname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := host.NodeName(dir); err != nil || got != strings.ToLower(uname) {
		t.Errorf("NodeName = %q, %v; want %q", got, err, strings.ToLower(uname))
	}
	write(t, filepath.Join(dir, "nodeinfo"), "Alpha.Example\nrest\n")
	if got, err := host.NodeName(dir); err != nil || got != "alpha.example" {
		t.Errorf("with nodeinfo: NodeName = %q, %v", got, err)
	}
}

func TestReplaceFileLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, content := range []string{"one", "two"} {
		if err := host.ReplaceFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != content {
			t.Fatalf("file = %q, want %q", got, content)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("directory holds %v, want only the file", entries)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
