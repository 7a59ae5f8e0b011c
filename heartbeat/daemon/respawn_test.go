package daemon

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/config"
)

// testClients supervises programs that write their lives into a file.
func testClients(t *testing.T) (c *clients, lives func() string, sink *memorySink, me string) {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "lives")
	sink = &memorySink{}
	log := newLog(0, sink)
	c = &clients{log: log, env: []string{"PATH=/bin:/usr/bin", "LIVES=" + path}, reboot: func(reason string) { log.Critf("reboot: %s", reason) }}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c.stopAll(ctx)
		log.Close()
	})
	return c, func() string { content, _ := os.ReadFile(path); return string(content) }, sink, u.Username
}

func shell(user, script string) config.Client {
	return config.Client{User: user, Path: "/bin/sh", Command: "/bin/sh -c '" + script + "'"}
}

func TestClientIsStartedAgainUntilItAsksNotTo(t *testing.T) {
	c, lives, sink, me := testClients(t)
	c.start(shell(me, `echo x >> $LIVES; test $(wc -l < $LIVES) -lt 3 || exit 100`), false)
	await(t, func() bool { return strings.Contains(sink.text(), "will not be started again") })
	if got := lives(); got != "x\nx\nx\n" {
		t.Errorf("it lived %q", got)
	}
}

func TestClientThatKeepsDyingIsGivenUp(t *testing.T) {
	c, lives, sink, me := testClients(t)
	c.start(shell(me, `echo x >> $LIVES; exit 1`), false)
	await(t, func() bool { return strings.Contains(sink.text(), "respawning too fast") })
	if got := strings.Count(lives(), "x"); got != shortLives+1 {
		t.Errorf("it lived %d times, want %d", got, shortLives+1)
	}
}

func TestClientsStopInReverseOrder(t *testing.T) {
	c, lives, _, me := testClients(t)
	for i := range 3 {
		c.start(shell(me, fmt.Sprintf(`trap "echo %d >> $LIVES; exit 0" TERM; echo up >> $LIVES; while :; do sleep 0.01; done`, i)), false)
	}
	await(t, func() bool { return strings.Count(lives(), "up") == 3 })
	if !c.online("sh") || c.online("other") {
		t.Error("online does not tell who runs")
	}
	c.stopAll(t.Context())
	if got := strings.ReplaceAll(lives(), "up\n", ""); got != "2\n1\n0\n" {
		t.Errorf("they ended in the order %q", got)
	}
	if c.online("sh") {
		t.Error("something still runs")
	}
}

func TestFailFastReboots(t *testing.T) {
	c, _, sink, me := testClients(t)
	c.start(shell(me, `exit 3`), true)
	await(t, func() bool { return strings.Contains(sink.text(), "CRIT: reboot: failfast client") })
	c.start(shell("no-such-user", `exit 0`), true)
	await(t, func() bool { return strings.Contains(sink.text(), "respawning too fast") })
	if got := strings.Count(sink.text(), "CRIT: reboot"); got != 1 {
		t.Errorf("a client that could not even be started rebooted the machine (%d times)", got)
	}
}

func TestClientsApplyADifference(t *testing.T) {
	c, lives, _, me := testClients(t)
	loop := func(name string) config.Client {
		return shell(me, `trap "echo -`+name+` >> $LIVES; exit 0" TERM; echo +`+name+` >> $LIVES; while :; do sleep 0.01; done`)
	}
	c.apply([]config.Client{loop("a"), loop("b")}, nil)
	await(t, func() bool { return strings.Count(lives(), "+") == 2 })
	c.apply([]config.Client{loop("b"), loop("c")}, nil)
	await(t, func() bool { return strings.Contains(lives(), "-a") && strings.Contains(lives(), "+c") })
	if got := lives(); strings.Contains(got, "-b") || strings.Count(got, "+b") != 1 {
		t.Errorf("the client in both was touched: %q", got)
	}
}
