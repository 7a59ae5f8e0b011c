package main

import (
	"bytes"
	"strings"
	"testing"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/fault"
)

func TestWriteExamination(t *testing.T) {
	tests := []struct {
		x    daemon.Examination
		code int
		want string
	}{
		{daemon.Examination{Node: "alpha", Peer: "beta", Both: true}, 0, "alpha and beta: nothing stands in the way of a takeover\n"},
		{daemon.Examination{Node: "alpha", Peer: "beta", Why: "beta cannot be asked: it is dead", Findings: []daemon.Finding{
			{Node: "alpha", Severity: fault.Error, What: "beta is not heard on any link", Evidence: "last heard 9s ago", Remedy: "look at it"},
			{Node: "alpha", Severity: fault.Warning, What: "no realtime scheduling"}}}, 2,
			"alpha alone: 2 findings\nthe other node was not examined: beta cannot be asked: it is dead\n\nERROR on alpha: beta is not heard on any link\n" +
				"  seen:   last heard 9s ago\n  remedy: look at it\n\nWARNING on alpha: no realtime scheduling\n"},
		{daemon.Examination{Node: "alpha", Peer: "beta", Both: true, Findings: []daemon.Finding{{Node: "beta", Severity: fault.Notice, What: "x"}}}, 0,
			"alpha and beta: 1 finding\n\nNOTICE on beta: x\n"},
	}
	for _, test := range tests {
		var b bytes.Buffer
		if err := writeExamination(&b, &test.x); err != nil || b.String() != test.want || test.x.ExitCode() != test.code {
			t.Errorf("exit code %d, %v:\n%s\nwant %d\n%s", test.x.ExitCode(), err, b.String(), test.code, test.want)
		}
	}
}

func TestDoctorWithoutADaemon(t *testing.T) {
	code, out, err := call(t, t.TempDir(), "heartbeat", "doctor")
	if code != 3 || !strings.Contains(out, "error: cannot read it") || !strings.Contains(err, "only its files were examined") {
		t.Errorf("%d\n%s\n%s", code, out, err)
	}
}
