// Package migration_test moves a pair that runs Linux-HA to hapair and back, one node at a time, as docs/migrate.md says, under
// a client that asks every millisecond.
package migration_test

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
	lab.Divert(map[string]lab.Program{"migration": migration, "rotation": rotation})
	os.Exit(m.Run())
}

// installed is a DESTDIR as `make install` fills it.
func installed(t *testing.T) string {
	t.Helper()
	if given := os.Getenv("HEARTBEAT_DESTDIR"); given != "" {
		return given
	}
	dir := t.TempDir()
	cmd := exec.Command("make", "-s", "install", "DESTDIR="+dir)
	cmd.Dir = filepath.Join("..", "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	return dir
}

// perform runs a program of the laboratory and reports what it tells.
func perform(t *testing.T, program string) {
	t.Helper()
	require.Root(t, "the migration from Linux-HA")
	if missing := linuxHAMissing(); missing != "" {
		require.Skip(t, "the migration from Linux-HA", missing+" (apt-get install heartbeat resource-agents)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var texts []string
	err := lab.Enter(ctx, program, input{Installed: installed(t)}, func(raw []byte) {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if l.Step != "" {
			t.Logf("%-62s outage %8.1f ms in %5.1f s; then %s answers", l.Step, l.OutageMS, l.Seconds, l.Holder)
		}
		if l.Text != "" {
			texts = append(texts, l.Text)
		}
		for _, f := range l.Failures {
			t.Errorf("%s: %s", l.Step, f)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Log(strings.Join(texts, "\n"))
	}
}

// Limits of the outages in milliseconds. Where Linux-HA gives or takes, its scripts decide.
const (
	none   = 25 // nothing moves: only what a busy machine makes of asking every millisecond
	ours   = 10
	giving = 1000  // between the moment in which Linux-HA's script removes an address and its word that it did
	theirs = 20000 // the scripts of Linux-HA on a busy machine
)

const alpha, beta = 0, 1

func TestMigrationForwardAndBack(t *testing.T) { perform(t, "migration") }

func migration(in json.RawMessage, out io.Writer) error {
	s, err := newSite(in, out)
	if err != nil {
		return err
	}
	defer s.logs()
	s.step("both nodes run Linux-HA", 0, func() {
		s.must(alpha, "/etc/init.d/heartbeat start", "Starting High-Availability services: ")
		s.must(beta, "/etc/init.d/heartbeat start", "Done.")
		s.holder(alpha)
		s.settled(alpha)
		s.settled(beta)
	})
	before := [2]answers{s.ask(alpha), s.ask(beta)}
	theirs := s.forward()
	after := [2]answers{s.ask(alpha), s.ask(beta)}
	s.compare(before, after)
	s.compare([2]answers{beta: theirs}, [2]answers{beta: s.backward()})
	return nil
}

// join starts the daemon that is installed on a node and waits until both nodes agree.
func (s *site) join(n int, program string) {
	s.must(n, "/etc/init.d/heartbeat start", "Done.")
	s.until(n, "cl_status nodestatus "+s.nodes[1-n].Name, "active")
	s.until(1-n, "cl_status nodestatus "+s.nodes[n].Name, "active")
	s.settled(n)
	s.settled(1 - n)
	if program == "hapair" {
		s.must(n, "/usr/libexec/heartbeat/heartbeat wait --for standby --timeout 10s", "")
	}
}

// check has to find nothing that keeps the node from starting.
func (s *site) check(n int) {
	if text, exit := s.run(n, "/usr/libexec/heartbeat/heartbeat check"); exit > 1 {
		s.fail("check on %s: exit %d:\n%s", s.nodes[n].Name, exit, text)
	}
}

// forward is the guide's way to hapair; it returns what a stopped node of Linux-HA answers.
func (s *site) forward() (stopped answers) {
	s.step("forward 1: stop Linux-HA on the standby, beta", none, func() { s.must(beta, "/etc/init.d/heartbeat stop", "Done.") })
	stopped = s.askAll(beta, stoppedQuestions)
	s.step("forward 2: install hapair there and check the unchanged files", none, func() { s.install(beta); s.check(beta) })
	s.step("forward 3: start it and watch it join", none, func() { s.join(beta, "hapair") })
	s.step("forward 4: hand over to beta (Linux-HA gives, hapair takes)", giving, func() {
		s.must(beta, "/usr/share/heartbeat/hb_takeover all", "")
		s.holder(beta)
		s.settled(alpha)
		s.settled(beta)
	})
	s.step("forward 5: stop Linux-HA on alpha", none, func() { s.must(alpha, "/etc/init.d/heartbeat stop", "Done.") })
	s.step("forward 6: install hapair there and check", none, func() { s.install(alpha); s.check(alpha) })
	s.step("forward 7: start it and watch it join", none, func() {
		s.join(alpha, "hapair")
		s.until(alpha, "/usr/libexec/heartbeat/heartbeat status --json", `"kind": "hapair"`)
	})
	s.step("forward 8: hand back to alpha (hapair gives and takes)", ours, func() {
		s.must(beta, "/etc/init.d/heartbeat standby", "Going standby [all].")
		s.holder(alpha)
		s.settled(beta)
		s.settled(alpha)
	})
	return stopped
}

// backward is the guide's way back; it returns what a stopped node of ours answers.
func (s *site) backward() (stopped answers) {
	s.step("back 1: stop hapair on the standby, beta", none, func() { s.must(beta, "/etc/init.d/heartbeat stop", "Done.") })
	stopped = s.askAll(beta, stoppedQuestions)
	s.step("back 2: put Linux-HA back there and start it", none, func() { s.remove(beta); s.join(beta, "linux-ha") })
	s.step("back 3: hand over to beta (hapair gives, Linux-HA takes)", theirs, func() {
		s.must(alpha, "/usr/share/heartbeat/hb_standby all", "Going standby [all].")
		s.holder(beta)
		s.settled(beta)
	})
	s.step("back 4: stop hapair on alpha", none, func() { s.must(alpha, "/etc/init.d/heartbeat stop", "Done.") })
	s.step("back 5: put Linux-HA back there and start it", none, func() { s.remove(alpha); s.join(alpha, "linux-ha") })
	s.step("back 6: hand back to alpha (Linux-HA gives and takes)", theirs, func() {
		s.must(alpha, "/usr/share/heartbeat/hb_takeover all", "")
		s.holder(alpha)
	})
	return stopped
}

func TestKeyRotationWithLinuxHA(t *testing.T) { perform(t, "rotation") }

// rotation changes the key of a pair whose active node runs Linux-HA, and then of a pair of ours.
func rotation(in json.RawMessage, out io.Writer) error {
	s, err := newSite(in, out)
	if err != nil {
		return err
	}
	defer s.logs()
	const key = "/usr/libexec/heartbeat/heartbeat key "
	s.step("start: alpha runs Linux-HA, beta hapair", 0, func() {
		s.install(beta)
		s.must(alpha, "/etc/init.d/heartbeat start", "Done.")
		s.must(beta, "/etc/init.d/heartbeat start", "Done.")
		s.holder(alpha)
		s.settled(alpha)
		s.settled(beta)
	})
	s.step("hapair adds a key", none, func() { s.must(beta, key+"rotate", "change `auth 1` to `auth 2`") })
	s.step("the key is copied to Linux-HA, which re-reads it", none, func() {
		fresh, err := os.ReadFile(filepath.Join(s.etc[beta], "authkeys"))
		if err != nil {
			s.fail("%v", err)
		}
		s.replace(alpha, "authkeys", authkeys, string(fresh))
		s.must(alpha, "/etc/init.d/heartbeat reload", "")
		s.until(alpha, "cat /var/log/ha-log", "Rereading authentication file")
	})
	s.step("switching hapair first is refused", none, func() { s.wants(beta, key+"switch", 1, "runs Linux-HA") })
	s.step("Linux-HA switches, hapair follows", none, func() {
		s.replace(alpha, "authkeys", "auth 1", "auth 2")
		s.must(alpha, "/etc/init.d/heartbeat reload", "")
		s.until(beta, key, "This node signs with the key that alpha signs with")
	})
	s.step("hapair writes it down and removes the old key", none, func() {
		s.must(beta, key+"switch", "So does alpha")
		s.must(beta, key+"remove", "Key 1 is gone")
		time.Sleep(3 * time.Second) // more than deadtime
	})
	s.noneDied()
	s.step("alpha is replaced by hapair", 0, func() {
		s.must(beta, "/usr/share/heartbeat/hb_takeover all", "")
		s.holder(beta)
		s.settled(alpha)
		s.must(alpha, "/etc/init.d/heartbeat stop", "Done.")
		s.install(alpha)
		s.join(alpha, "hapair")
	})
	s.between(key)
	s.noneDied()
	return nil
}

// between is a rotation between two of ours; alpha begins.
func (s *site) between(key string) {
	s.step("ours: the old key is removed on alpha too", none, func() { s.until(alpha, key+"remove", "Key 1 is gone") })
	s.step("ours: alpha adds a key", none, func() { s.must(alpha, key+"rotate", "Then, on beta: heartbeat reload") })
	s.step("ours: switching before beta has it is refused", none, func() { s.wants(alpha, key+"switch", 1, "beta does not have this key 3") })
	s.step("ours: beta gets it", none, func() {
		s.must(beta, fmt.Sprintf("cat >/etc/ha.d/authkeys <<'E'\n%sE\n/etc/init.d/heartbeat reload", s.read(alpha, "authkeys")), "")
		s.until(alpha, key, "beta has it")
	})
	s.step("ours: alpha switches", none, func() { s.must(alpha, key+"switch", "Next, on beta: heartbeat key switch") })
	s.step("ours: removing the old key is refused while beta signs with it", none, func() { s.wants(alpha, key+"remove", 1, "beta is not known to sign with key 3") })
	s.step("ours: beta switches", none, func() { s.must(beta, key+"switch", "key 2 can go") })
	s.step("ours: both remove the old key", none, func() {
		s.must(alpha, key+"remove", "Key 2 is gone")
		s.must(beta, key+"remove", "Key 2 is gone")
		time.Sleep(3 * time.Second) // more than deadtime
	})
}

// read is a file of a node's /etc/ha.d.
func (s *site) read(n int, file string) string {
	text, err := os.ReadFile(filepath.Join(s.etc[n], file))
	if err != nil {
		s.fail("%v", err)
	}
	return string(text)
}

// noneDied has to find no death in either log: every heartbeat was understood, or nearly every one.
func (s *site) noneDied() {
	for n := range s.nodes {
		s.wants(n, "grep -E 'is dead|late heartbeat' /var/log/ha-log", 1, "")
	}
}
