package rehearsal_test

import (
	"slices"
	"strings"
	"testing"
	"time"

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
		{off, "takeover-local", "start: alpha beta, told: alpha beta"},
		{off, "takeover-failback", "start: alpha beta, told: alpha beta"},
		{one, "takeover-failback", "start: beta, told: beta"},
		{off, "takeover-idle", "start: alpha beta, told: alpha alpha"},
		{off, "standby-failback", "start: alpha beta, told: alpha beta"},
		{off, "standby-idle", "start: alpha beta, told: alpha alpha"},
		{off, "restart", "start: alpha beta, restart: beta beta"},
		{off, "join-on", "start alone: beta beta, join: alpha beta"},
		{off, "join-off", "start alone: beta beta, join: beta beta"},
		{off, "join-legacy", "start alone: beta beta, join: alpha beta"},
		{off, "away-power-cut", "start: alpha beta, there: beta beta, cut: alpha alpha, return: alpha alpha"},
		{off, "away-stop", "start: alpha beta, there: beta beta, stop: alpha alpha, start again: alpha alpha"},
		{off, "away-idle-cut", "start: alpha beta, there: beta beta, cut: beta beta"},
		{off, "tour", "start: alpha beta, there: beta beta, loss: beta beta, cut: alpha alpha, return: alpha alpha, long order: beta beta"},
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

// TestPredictLinuxHA is what a control of Linux-HA alone does otherwise: its own word failback it takes for all, and a group that it cannot start is nowhere.
func TestPredictLinuxHA(t *testing.T) {
	off := directory(t, "node alpha beta\nbcast eth0\n"+times, "alpha 10.0.0.100\nbeta 10.0.0.200\n")
	both, mixed := [2]string{rehearsal.LinuxHA, rehearsal.LinuxHA}, [2]string{rehearsal.Hapair, rehearsal.LinuxHA}
	for _, test := range []struct {
		impls          [2]string
		scenario, want string
	}{
		{both, "takeover-failback", "start: alpha beta, told: beta beta"},
		{mixed, "takeover-failback", "start: alpha beta, told: alpha beta"},
		{both, "start-fails", "start: nobody beta"},
		{mixed, "start-fails", "start: beta beta"},
	} {
		got, err := rehearsal.PredictFor(off, test.scenario, test.impls)
		if err != nil || strings.Join(got, ", ") != test.want {
			t.Errorf("%s with %v: got %v %v, want %s", test.scenario, test.impls, got, err, test.want)
		}
	}
}

func TestWiringRefuses(t *testing.T) {
	for wiring, want := range map[string]string{
		"bcast/sha1": "want MEDIUM", "carrier-pigeon/sha1/classic": `no medium "carrier-pigeon"`, "bcast/rot13/classic": `no method "rot13"`,
		"bcast/sha1/xml": "the framing is classic or netstring", "bcast/sha1/classic/lzma": "zlib or bz2",
	} {
		if _, err := rehearsal.Rehearse(t.Context(), rehearsal.Options{Wirings: []string{wiring}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", wiring, err, want)
		}
	}
}

// TestWirings wants every medium with every method, every two media at once, and each of the framings and compressions somewhere.
func TestWirings(t *testing.T) {
	all := rehearsal.Wirings()
	has := func(parts ...string) bool {
		return slices.ContainsFunc(all, func(w string) bool {
			words := strings.FieldsFunc(w, func(r rune) bool { return r == '/' || r == '+' })
			return !slices.ContainsFunc(parts, func(p string) bool { return !slices.Contains(words, p) })
		})
	}
	media := []string{"ucast", "bcast", "mcast", "serial"}
	for i, m := range media {
		for _, method := range []string{"crc", "md5", "sha1"} {
			if !has(m, method) {
				t.Errorf("%s with %s is missing", m, method)
			}
		}
		for _, framing := range []string{"classic", "netstring"} {
			if !has(m, framing) {
				t.Errorf("%s with %s is missing", m, framing)
			}
		}
		for _, other := range media[i+1:] {
			if !has(m, other) {
				t.Errorf("%s and %s at once are missing", m, other)
			}
		}
	}
	for _, framing := range []string{"classic", "netstring"} {
		for _, compression := range []string{"zlib", "bz2"} {
			if !has(framing, compression) {
				t.Errorf("%s with %s is missing", framing, compression)
			}
		}
	}
}

func TestDensest(t *testing.T) {
	second := time.Second
	for want, at := range map[int][]time.Duration{0: nil, 1: {0, 2 * second, 4 * second}, 3: {0, second, 3 * second / 2, 2 * second, 4 * second}} {
		if got := rehearsal.Densest(at, second); got != want {
			t.Errorf("%v: %d within a second, want %d", at, got, want)
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
