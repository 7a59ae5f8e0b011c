package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sources is the text of all Go files that are no tests, with string literals that were broken over lines put together.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, root := range []string{"../../heartbeat", "../../haresources"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(all.String(), "")
}

// TestMessagesInTheOperationsGuide: each message that docs/operations.md explains is one that the program can say.
func TestMessagesInTheOperationsGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, ok := strings.Cut(string(guide), "\n## Alarms\n")
	if !ok {
		t.Fatal("the guide explains no alarms")
	}
	code := sources(t)
	messages := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(tables, -1)
	if len(messages) < 40 {
		t.Errorf("only %d messages are explained", len(messages))
	}
	for _, m := range messages {
		for part := range strings.SplitSeq(m[1], "…") {
			part = strings.Trim(part, " []():.")
			if len(part) > 3 && !strings.Contains(code, part) {
				t.Errorf("operations.md explains %q, and nothing says %q", m[1], part)
			}
		}
	}
}

// TestCommandsInTheGuides: each command that a guide calls exists.
func TestCommandsInTheGuides(t *testing.T) {
	root := (&app{}).root()
	guides, _ := filepath.Glob("../../docs/*.md")
	guides = slices.DeleteFunc(append(guides, "../../README.md"), func(name string) bool { return strings.HasSuffix(name, "heartbeat-protocol.md") }) // Linux-HA's
	call := regexp.MustCompile("(?:`|\\n    |\\n```\\n|# )heartbeat ([a-z][a-z-]+)")
	for _, name := range guides {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			if found, _, err := root.Find([]string{m[1]}); err != nil || found == root {
				t.Errorf("%s: there is no command `heartbeat %s`", filepath.Base(name), m[1])
			}
		}
	}
}
