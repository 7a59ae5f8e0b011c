package main

import "testing"

func TestLintProblem(t *testing.T) {
	for _, c := range []struct {
		operation    string
		running      bool
		code, output string
		good         bool
	}{
		{"start", true, "0", "", true},
		{"start", true, "1", "already running", false},
		{"stop", false, "124", "", false},
		{"status", true, "0", "apache is running", true},
		{"status", true, "0", "fine", false},
		{"status", false, "3", "apache is not running", true},
		{"status", false, "0", "stopped", false},
		{"status", false, "3", "is running", false},
		{"status", false, "", "", false},
	} {
		if got := lintProblem(c.operation, c.running, c.code, c.output); (got == "") != c.good {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
