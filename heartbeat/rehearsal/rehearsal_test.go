package rehearsal_test

import (
	"os"
	"testing"

	"hapair/heartbeat/rehearsal"
)

func TestMain(m *testing.M) {
	rehearsal.NodeInit()
	if os.Getenv("REHEARSE") != "" {
		os.Exit(rehearsal.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
