package stonith_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal/require"
	"hapair/heartbeat/stonith"
)

// TestShippedTemplate: what an administrator starts from speaks the contract, and does not pretend to have done anything.
func TestShippedTemplate(t *testing.T) {
	text, err := os.ReadFile("../../ha.d/stonith.d/template")
	if err != nil {
		t.Fatal(err)
	}
	require.Tool(t, "ping", "the shipped template")
	if err := exec.Command("ping", "-c", "1", "127.0.0.1").Run(); err != nil {
		require.Skip(t, "the shipped template", "ping does not work here: "+err.Error())
	}
	b := newBench(t)
	b.script(t, "own", strings.TrimPrefix(string(text), "#!/bin/sh\n"), 0o755)
	f := b.open(t, stonith.Spec{Type: "external/own", Params: "127.0.0.1 alpha beta", Hosts: []string{"beta"}})
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := f.Fence(t.Context(), "beta", stonith.Reset); err == nil || !strings.Contains(err.Error(), "not written yet") {
		t.Errorf("an unwritten device says yes: %v", err)
	}
	f = b.open(t, stonith.Spec{Type: "external/own", Params: "127.0.0.1 alpha", Hosts: []string{"beta"}})
	if err := f.Check(t.Context()); stonith.CauseOf(err) != stonith.CauseHost {
		t.Errorf("a device that does not know beta: %v", err)
	}
}
