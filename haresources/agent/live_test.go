package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hapair/haresources/agent"
)

// TestOpenAgentsFollowAReload: a script that was opened before a reload runs with the environment of the configuration in force.
func TestOpenAgentsFollowAReload(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/tells", `echo $1:$HA_deadtime >>$DIR/log`)
	env := n.env
	env.Environ = append(slices.Clone(n.env.Environ), "HA_deadtime=10")
	a, err := agent.OpenLive(func() agent.Environment { return env })(resource(t, "tells"))
	if err != nil {
		t.Fatal(err)
	}
	for _, deadtime := range []string{"10", "30"} {
		env.Environ = append(slices.Clone(n.env.Environ), "HA_deadtime="+deadtime)
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := n.log(t); got != "start:"+deadtime {
			t.Errorf("%s, want start:%s", got, deadtime)
		}
	}
}

// TestHookTimeout: a hook that hangs is ended after the time of the configuration, and the next one runs.
func TestHookTimeout(t *testing.T) {
	n := newSite(t)
	n.script(t, "hooks/peer-lost.d/10-hangs", "sleep 60")
	n.script(t, "hooks/peer-lost.d/20-next", "echo next >>$DIR/log")
	n.env.HookTimeout = 200 * time.Millisecond
	begin := time.Now()
	err := agent.RunHook(t.Context(), n.env, agent.HookEvent{Event: "peer-lost"}, nil)
	if err == nil || !strings.Contains(err.Error(), "10-hangs: did not end within 200ms") || time.Since(begin) > 5*time.Second {
		t.Errorf("error %v after %v", err, time.Since(begin))
	}
	if got := n.log(t); got != "next" {
		t.Errorf("did %q", got)
	}
}

// TestTwoHundredScripts starts a group with a script for each of two hundred services, of which one takes a second longer than the others:
// that is how long all of them take, beside what the processors need, and not the sum.
func TestTwoHundredScripts(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/slow", `case $2 in
start) sleep $1; : >$DIR/$1;;
status) echo stopped;;
esac`)
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("alpha slow::1.%03d", i))
	}
	lines = append(lines, "alpha slow::2")
	m := n.manager(t, lines...)
	begin := time.Now()
	var all sync.WaitGroup
	for _, line := range lines {
		all.Go(func() {
			if err := m.Acquire(t.Context(), strings.TrimPrefix(line, "alpha ")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	t.Logf("%d groups in %v", len(lines), took)
	if took > 20*time.Second { // one after the other they take 222 s
		t.Errorf("%d groups took %v", len(lines), took)
	}
}
