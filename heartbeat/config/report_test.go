package config_test

import (
	"encoding/json"
	"strings"
	"testing"

	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

// TestReport checks exit codes and both forms of the report.
func TestReport(t *testing.T) {
	at := func(s fault.Severity) fault.Fault {
		return fault.Fault{File: "ha.cf", Line: 3, Col: 5, Severity: s, Message: "a < b", Hint: "do it"}
	}
	good := &config.Config{Dir: "/etc/ha.d", Node: "alpha", Peer: "beta", Links: make([]config.Link, 2)}
	unread := &config.Config{Dir: "/etc/ha.d", Node: "alpha", Unread: []string{"/etc/ha.d/authkeys"}}
	for _, tt := range []struct {
		name string
		c    *config.Config
		list fault.List
		exit int
		text string
	}{
		{"clean", good, nil, config.ExitClean, "/etc/ha.d: alpha with beta: 2 links, 0 groups; 0 errors, 0 warnings, 0 notices: ready to start\n"},
		{"notice", good, fault.List{at(fault.Notice)}, config.ExitClean, "ha.cf:3:5: notice: a < b (do it)\n"},
		{"warning", good, fault.List{at(fault.Notice), at(fault.Warning)}, config.ExitWarnings, "1 warning, 1 notice: ready to start"},
		{"error", good, fault.List{at(fault.Error), at(fault.Warning)}, config.ExitErrors, "1 error, 1 warning, 0 notices: correct the errors first"},
		{"unread", unread, fault.List{at(fault.Error)}, config.ExitUnread, "/etc/ha.d: alpha: 0 links, 0 groups; 1 error, 0 warnings, 0 notices: cannot read /etc/ha.d/authkeys"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := config.NewReport(tt.c, tt.list, nil)
			var text, data strings.Builder
			if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), tt.text) || r.ExitCode() != tt.exit {
				t.Errorf("exit %d, error %v, text\n%s", r.ExitCode(), err, &text)
			}
			if err := r.WriteJSON(&data); err != nil {
				t.Fatal(err)
			}
			var back struct {
				Schema int
				Faults []struct {
					File, Severity, Message, Hint string
					Line, Col                     int
				}
				Summary config.Summary
			}
			if err := json.Unmarshal([]byte(data.String()), &back); err != nil {
				t.Fatal(err)
			}
			if back.Schema != 1 || back.Faults == nil || len(back.Faults) != len(tt.list) || back.Summary.Exit != tt.exit {
				t.Errorf("JSON %s", &data)
			}
			if len(tt.list) > 0 && (back.Faults[0].Severity != tt.list[0].Severity.String() || back.Faults[0].Message != "a < b" || back.Faults[0].Line != 3) {
				t.Errorf("JSON %s", &data)
			}
		})
	}
}
