package rehearsal_test

import (
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal"
)

func TestScenariosAreWellFormed(t *testing.T) {
	for _, fault := range rehearsal.CheckScenarios() {
		t.Error(fault)
	}
}

// TestPredict holds the model, which judges the pairs, against plain words; two groups, one preferred by each node.
func TestPredict(t *testing.T) {
	off := directory(t, "node alpha beta\nbcast eth0\n"+times, "alpha 10.0.0.100\nbeta 10.0.0.200\n")
	one := directory(t, "node alpha beta\nbcast eth0\n"+strings.Replace(times, "off", "on", 1), "beta 10.0.0.200\n")
	tests := []struct{ dir, scenario, want string }{
		{off, "both-start", "start: alpha beta, quiet: alpha beta"},
		{one, "both-start", "start: beta, quiet: beta"},
		{off, "one-starts", "start alone: alpha alpha, join: alpha alpha"},
		{one, "one-starts", "start alone: alpha, join: beta"},
		{off, "power-cut", "start: alpha beta, cut: beta beta"},
		{one, "power-cut", "start: beta, cut: alpha"},
		{off, "return-off", "start: alpha beta, cut: beta beta, return: beta beta"},
		{off, "return-on", "start: alpha beta, cut: beta beta, return: alpha beta"},
		{off, "return-legacy", "start: alpha beta, cut: beta beta, return: alpha beta"},
		{off, "graceful-stop", "start: alpha beta, stop: beta beta, start again: beta beta"},
		{off, "stop-both", "start: alpha beta, stop: nobody nobody"},
		{off, "start-fails", "start: beta beta"},
		{off, "standby-all", "start: alpha beta, standby: beta beta"},
		{off, "standby-local", "start: alpha beta, standby: beta beta"},
		{off, "standby-foreign", "start: alpha beta, standby: alpha beta"},
		{off, "takeover-all", "start: alpha beta, takeover: beta beta"},
		{off, "takeover-foreign", "start: alpha beta, takeover: beta beta"},
		{off, "there-and-back", "start: alpha beta, there: beta beta, back: alpha alpha"},
		{off, "freeze-short", "start: alpha beta, freeze: alpha beta"},
		{off, "freeze-long", "start: alpha beta, freeze: beta beta"},
		{off, "partition-short", "start: alpha beta, partition: alpha beta"},
		{one, "partition-gateway", "start: beta, partition: beta, heal: beta"},
		{one, "partition", "start: beta, partition: alpha, heal: alpha"},
		{one, "cable-lost", "start: beta, pull: alpha, back: alpha"},
		{off, "cable-standby", "start: alpha beta, pull: alpha beta, plug: alpha beta"},
		{off, "uplink-lost", "start: alpha beta, lost: beta beta, back: beta beta"},
		{one, "ping-lost-both", "start: beta, lost: beta, back: beta"},
		{off, "fence-power-cut", "start: alpha beta, cut: beta beta"},
		{off, "fence-fails", "start: alpha beta, cut: nobody beta, confirm: beta beta"},
		{one, "fence-partition", "start: beta, cut: beta, boot: beta, heal: beta"},
	}
	for _, test := range tests {
		t.Run(test.scenario, func(t *testing.T) {
			got, err := rehearsal.Predict(test.dir, test.scenario)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %s, want %s", strings.Join(got, ", "), test.want)
			}
		})
	}
}

func TestShortLog(t *testing.T) {
	tests := []struct {
		line, text string
		show       bool
	}{
		{"Nov 22 20:36:58 beta heartbeat: [12]: WARN: node alpha: is dead", "WARN: node alpha: is dead", true},
		{"Nov 22 20:36:58 beta heartbeat: [12]: info: Resources being acquired from alpha.", "Resources being acquired from alpha.", true},
		{"Nov 22 20:36:58 beta heartbeat: [12]: debug: Resources", "Resources", false},
		{"Nov 22 20:36:58 beta heartbeat: [12]: info: Configuration validated. Starting heartbeat 3.0.6", "Configuration validated. Starting heartbeat 3.0.6", false},
		{"2026/11/22_20:50:11  ResourceManager(default)[119]:    info: Running /etc/ha.d//resource.d/x start", "ResourceManager: info: Running /etc/ha.d//resource.d/x start", true},
		{"something else", "something else", false},
	}
	for _, test := range tests {
		if text, show := rehearsal.ShortLog(test.line); text != test.text || show != test.show {
			t.Errorf("%q: got %q %v, want %q %v", test.line, text, show, test.text, test.show)
		}
	}
}

func TestMedianIsJudged(t *testing.T) {
	if r := rehearsal.NewTestReport(10, 5, 9, 30, 8, 9); !r.Passed || r.Summaries[0].OutageMS != (rehearsal.Spread{Min: 5, Median: 9, Max: 30}) {
		t.Errorf("a median below its limit: %+v", r.Summaries)
	}
	if r := rehearsal.NewTestReport(10, 5, 11, 30, 8, 12); r.Passed || r.Summaries[0].Passed {
		t.Errorf("a median above its limit: %+v", r.Summaries)
	}
	if r := rehearsal.NewTestReport(10, 11, 12); !r.Passed {
		t.Errorf("too few to judge: %+v", r.Summaries)
	}
}
