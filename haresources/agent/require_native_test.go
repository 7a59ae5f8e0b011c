package agent_test

import (
	"os"
	"os/exec"
	"testing"
)

// requireRoot skips a test that needs root; untested says what is then not tested. HEARTBEAT_NO_SKIP=1 makes it fail instead.
func requireRoot(t testing.TB, untested string) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "not root: not tested: "+untested)
	}
}

// requireTool skips a test that needs a program of the system.
func requireTool(t testing.TB, tool, untested string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		skip(t, tool+" is not installed: not tested: "+untested)
	}
}

func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("HEARTBEAT_NO_SKIP") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}
