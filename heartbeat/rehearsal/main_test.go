package rehearsal_test

import (
	"bytes"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal"
)

func TestMainUsage(t *testing.T) {
	tests := []struct {
		args     string
		code     int
		out, err string
	}{
		{"--list", 0, "power-cut ", ""},
		{"--help", 0, "", "Usage: heartbeat rehearse [options] [DIRECTORY]"},
		{"--scenario power-cit", 2, "", `no scenario "power-cit" (did you mean power-cut?`},
		{"--scenario zzz", 2, "", `no scenario "zzz" (heartbeat rehearse --list`},
		{"--impl hapair", 2, "", "want two names"},
		{"--impl hapair,corosync", 2, "", `no implementation "corosync"`},
		{"--set deadtime", 2, "", "want NAME=VALUE"},
		{"--scripts no", 2, "", "want stand-in or real"},
		{"one two", 2, "", "one directory at a time"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var out, err bytes.Buffer
			if code := rehearsal.Main(strings.Fields(test.args), &out, &err); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(out.String(), test.out) || !strings.Contains(err.String(), test.err) {
				t.Errorf("printed %q and %q, want %q and %q", out.String(), err.String(), test.out, test.err)
			}
		})
	}
}
