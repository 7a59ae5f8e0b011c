package daemon

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hapair/heartbeat/rehearsal/require"
)

// logcheckFile is what Debian's package heartbeat tells the program logcheck to keep quiet about.
const logcheckFile = "/etc/logcheck/ignore.d.server/heartbeat"

// requireLogcheck reads the patterns, or skips loudly.
func requireLogcheck(t *testing.T) []*regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile(logcheckFile)
	if err != nil {
		require.Skip(t, "the log of an uneventful day", err.Error()+" (apt-get install heartbeat)")
	}
	var patterns []*regexp.Regexp
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		p, err := regexp.Compile(line)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	return patterns
}

func TestAnUneventfulDayPassesTheLogFilter(t *testing.T) {
	patterns := requireLogcheck(t)
	form := newLineFormat("alpha", true)
	render := func(line string) string {
		empty := string(form.line(record{at: time.Now(), sev: sevInfo, text: "@"}))
		return strings.TrimSuffix(strings.Replace(empty, "info: @", line, 1), "\n")
	}
	ignored := func(line string) bool {
		for _, p := range patterns {
			if p.MatchString(line) {
				return true
			}
		}
		return false
	}
	if line := render("info: These are nothing to worry about."); !ignored(line) {
		t.Fatalf("the filter does not know the form of our log: %s", line)
	}
	synctest.Test(t, func(t *testing.T) {
		cables := map[string]*cable{"eth0": newCable("eth0"), "eth1": newCable("eth1")}
		var nodes []*labNode
		for i, name := range []string{"alpha", "beta"} {
			c := testConfig(t, name, "eth0", "eth1")
			c.Keepalive, c.Warntime, c.Deadtime, c.Initdead = 5*time.Second, 20*time.Second, 40*time.Second, 80*time.Second
			nodes = append(nodes, boot(t, c, cables, uint32(i+1)))
		}
		time.Sleep(10 * time.Minute)
		var before [2]int
		for i, n := range nodes {
			before[i] = len(n.sink.text())
		}
		time.Sleep(24 * time.Hour)
		nodes[0].wants(t, "web")
		nodes[1].wants(t, "mail")
		for i, n := range nodes {
			for line := range strings.Lines(n.sink.text()[before[i]:]) {
				if line = strings.TrimSpace(line); line != "" && !ignored(render(line)) && !strings.HasPrefix(line, "debug: ") {
					t.Errorf("%s logs on an uneventful day: %s", n.manager.node, line)
				}
			}
			n.end()
		}
	})
}
