// Package router_test runs the firewall pair of ha.d/examples/firewall as it is shipped, with the real program and the system's
// conntrackd, between a client and a server that have two hundred connections.
package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/rehearsal/require"
)

func TestMain(m *testing.M) {
	lab.Divert(map[string]lab.Program{"connections": connections, "mistake": mistake})
	os.Exit(m.Run())
}

// input is what a program in the laboratory is given.
type input struct {
	Binary string
	Config string // the directory of the example
}

// line is what it reports.
type line struct{ Text, Failure string }

// requirePair names what a firewall pair needs.
func requirePair(t *testing.T) {
	t.Helper()
	require.Root(t, "the firewall pair")
	for _, tool := range []string{"nft", "conntrackd"} {
		require.Tool(t, tool, "the firewall pair")
	}
}

// perform runs a program of the laboratory and reports what it tells.
func perform(t *testing.T, program string) {
	t.Helper()
	dir := t.TempDir()
	in := input{Binary: filepath.Join(dir, "heartbeat"), Config: filepath.Join(dir, "ha.d")}
	build := exec.Command("go", "build", "-o", in.Binary, "hapair/cmd/heartbeat")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	example, err := filepath.Abs("../../../ha.d/examples/firewall")
	if err == nil {
		err = os.CopyFS(in.Config, os.DirFS(example))
	}
	if err == nil {
		err = os.Chmod(filepath.Join(in.Config, "authkeys"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err = lab.Enter(ctx, program, in, func(raw []byte) {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if l.Text != "" {
			t.Log(l.Text)
		}
		if l.Failure != "" {
			t.Error(l.Failure)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTwoHundredConnectionsSurvive has the group move by hand, and by a power cut.
func TestTwoHundredConnectionsSurvive(t *testing.T) {
	requirePair(t)
	perform(t, "connections")
}

// TestMistakeInTheLastLine breaks the rules of the node that is to take over.
func TestMistakeInTheLastLine(t *testing.T) {
	requirePair(t)
	perform(t, "mistake")
}

// patience is how long anything may take that is not measured.
const patience = 30 * time.Second

// connections is the program of TestTwoHundredConnectionsSurvive.
func connections(in json.RawMessage, out io.Writer) error {
	s, err := newSite(in, out)
	if err != nil {
		return err
	}
	s.start(0)
	s.start(1)
	if !s.until("fw1 serves", func() bool { return s.holds(0) && s.settled(1) }) {
		return nil
	}
	flows, err := s.carry()
	if err != nil {
		return err
	}
	all := func() bool { return flows.moving() == flows.count() }
	s.until("all connections flow", all)
	s.until("fw2 knows all connections", func() bool { return s.known(1) >= flows.count() })

	s.say("%d connections, %d of them with source NAT", flows.count(), flows.count()/2)
	s.must(0, heartbeat("standby"))
	s.until("fw2 serves after the hand-over", func() bool { return s.holds(1) })
	s.goOn(flows, "after the planned hand-over")

	s.until("fw1 knows all connections", func() bool { return s.known(0) >= flows.count() })
	s.until("the counters of fw1 get to fw2", func() bool { return strings.Contains(s.run(1, heartbeat("status --json")), "the other node says") })
	s.nodes[1].PowerOff()
	s.until("fw1 serves after the power cut", func() bool { return s.holds(0) })
	s.goOn(flows, "after the power cut")
	return nil
}

// goOn waits until every connection has gone on, and says how long the last one took.
func (s *site) goOn(f *flows, when string) {
	begun := time.Now()
	f.mark()
	if s.until("all connections go on "+when, func() bool { return f.moving() == f.count() }) {
		s.say("all %d connections go on %s; the last of them %v after the new node served", f.count(), when, time.Since(begun).Round(time.Millisecond))
		return
	}
	s.fail("%d of %d connections go on %s", f.moving(), f.count(), when)
}

// mistake is the program of TestMistakeInTheLastLine.
func mistake(in json.RawMessage, out io.Writer) error {
	s, err := newSite(in, out)
	if err != nil {
		return err
	}
	s.start(0)
	s.start(1)
	if !s.until("fw1 serves", func() bool { return s.holds(0) && s.settled(1) }) {
		return nil
	}
	if !s.until("fw2 has the rules of a standby", func() bool { return strings.Contains(s.run(1, "nft list ruleset"), "policy drop") }) {
		return nil
	}
	path := filepath.Join(s.etc[1], "rules/active.nft")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	broken := strings.TrimRight(string(text), "\n")
	at := strings.Count(broken, "\n") + 2
	if err := os.WriteFile(path, []byte(broken+"\ntable inet broken { chain c { iifname lan0 acept; }; }\n"), 0o644); err != nil {
		return err
	}
	s.must(0, heartbeat("standby"))
	s.until("fw2 serves with the rules that it has", func() bool { return s.holds(1) })
	where := fmt.Sprintf("active.nft:%d:", at)
	s.until("status names the line and raises an alarm", func() bool {
		status := s.run(1, heartbeat("status"))
		return strings.Contains(status, "DEGRADED\n  ! Firewall::") && strings.Contains(status, where)
	})
	if rules := s.run(1, "nft list ruleset"); !strings.Contains(rules, "policy drop") || strings.Contains(rules, "snat") {
		s.fail("the rules of fw2 are not those that it had before:\n%s", rules)
	}
	if log := s.run(0, "cat /var/log/hapair-log"); strings.Contains(log, "is late") || strings.Contains(log, "is dead") {
		s.fail("heartbeats stopped meanwhile:\n%s", log)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	s.must(1, heartbeat("reload"))
	s.until("the corrected rules are in force after a reload", func() bool { return strings.Contains(s.run(1, "nft list ruleset"), "snat") })
	s.until("the alarm is over", func() bool { return !strings.Contains(s.run(1, heartbeat("status")), where) })
	return nil
}
