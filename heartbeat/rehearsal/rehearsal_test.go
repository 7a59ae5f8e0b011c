package rehearsal_test

import (
	"fmt"
	"os"
	"testing"

	"hapair/heartbeat/rehearsal"
)

// buildDir is where the program is built for the tests.
var buildDir string

func TestMain(m *testing.M) {
	rehearsal.NodeInit()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rehearsal")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	buildDir = dir
	return m.Run()
}
