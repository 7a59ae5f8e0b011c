// Package require says for a test what it needs of the machine that it runs on: root, a program, a file. Where that is missing the
// test is skipped, and says what was therefore not tested; where the environment has HEARTBEAT_NO_SKIP=1 it fails. Only tests import
// it.
package require

import (
	"os"
	"os/exec"
	"testing"
)

// Root ends a test that needs root; untested names what is then not tested.
func Root(t testing.TB, untested string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, untested, "root is needed")
	}
}

// Tool ends a test that needs a program of the system, given by its name or by its path.
func Tool(t testing.TB, tool, untested string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		Skip(t, untested, tool+" is not installed")
	}
}

// File ends a test that needs a file which some package of the system installs.
func File(t testing.TB, path, untested string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		Skip(t, untested, path+" is not installed")
	}
}

// Skip ends a test that this machine cannot perform; why says what it lacks.
func Skip(t testing.TB, untested, why string) {
	t.Helper()
	if os.Getenv("HEARTBEAT_NO_SKIP") == "1" {
		t.Fatalf("not tested: %s: %s", untested, why)
	}
	t.Skipf("not tested: %s: %s", untested, why)
}
