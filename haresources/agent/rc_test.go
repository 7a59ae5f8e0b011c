package agent_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/haresources/agent"
	"hapair/heartbeat/rehearsal/require"
)

func TestRunRC(t *testing.T) {
	n := newSite(t)
	n.script(t, "rc.d/mytype", `echo "$1 $#"; env | grep ^HA_ | sort; exit 4`)
	var lines []string
	fields := map[string]string{"t": "MyType", "src": "beta", "x_y": "a b", "CURHOST": "evil", "bad-name": "x", "nul": "a\x00b"}
	result, err := agent.RunRC(t.Context(), n.env, fields, func(s string) { lines = append(lines, s) })
	if !result.Ran || result.Path != filepath.Join(n.env.Paths.RCDir, "mytype") || err == nil || !strings.Contains(err.Error(), "exit code 4") {
		t.Errorf("result %+v, %v", result, err)
	}
	want := "mytype 1|HA_CURHOST=alpha|HA_DIR=" + n.env.Paths.Dir + "|HA_src=beta|HA_t=MyType|HA_x_y=a b"
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("output %s\nwant   %s", got, want)
	}
}

func TestRunRCNothing(t *testing.T) {
	n := newSite(t)
	n.script(t, "outside", "echo evil >$DIR/log")
	os.Mkdir(filepath.Join(n.env.Paths.RCDir, "dir"), 0o755)
	for _, kind := range []string{"status", "", "../outside", ".", "..", "dir", strings.Repeat("x", 32)} {
		if result, err := agent.RunRC(t.Context(), n.env, map[string]string{"t": kind}, nil); result != (agent.RCResult{}) || err != nil {
			t.Errorf("%q: %+v, %v", kind, result, err)
		}
	}
	if got := n.log(t); got != "" {
		t.Errorf("ran %s", got)
	}
}

// TestRunRCStock: what would start and stop groups behind the daemon's back is not run, and the reason is told.
func TestRunRCStock(t *testing.T) {
	n := newSite(t)
	for name, body := range map[string]string{
		"status":          ". $HA_FUNCS\ncase $HA_st in\ndead) $HA_NOARCHBIN/mach_down $HA_src;;\nesac\n",
		"ip-request":      "RSCMGR=$HA_NOARCHBIN/ResourceManager\n$RSCMGR givegroup $1\n",
		"ip-request-resp": "TAKE=$HA_NOARCHBIN/ResourceManager\n",
		"hb_takeover":     "/usr/share/heartbeat/hb_standby foreign\n",
	} {
		n.script(t, "rc.d/"+name, body+"echo ran >>$DIR/log\n")
		result, err := agent.RunRC(t.Context(), n.env, map[string]string{"t": name}, nil)
		if result.Ran || err != nil || !strings.Contains(result.Reason, "the daemon does itself") {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
	}
	n.script(t, "rc.d/own", "# unlike the stock one, this does not call mach_down\necho ran >>$DIR/log\n")
	if result, err := agent.RunRC(t.Context(), n.env, map[string]string{"t": "own"}, nil); !result.Ran || err != nil {
		t.Errorf("own: %+v, %v", result, err)
	}
	os.Chmod(filepath.Join(n.env.Paths.RCDir, "own"), 0o644)
	if result, err := agent.RunRC(t.Context(), n.env, map[string]string{"t": "own"}, nil); result.Ran || err != nil || result.Reason != "not executable" {
		t.Errorf("not executable: %+v, %v", result, err)
	}
	if got := n.log(t); got != "ran" {
		t.Errorf("ran %s", got)
	}
}

// TestRunRCDebian: the scripts that Debian's package ships are recognised.
func TestRunRCDebian(t *testing.T) {
	require.File(t, "/etc/ha.d/rc.d/status", "the stock rc.d scripts of Heartbeat (package heartbeat)")
	n := newSite(t)
	n.env.Paths.RCDir = "/etc/ha.d/rc.d"
	for _, name := range []string{"status", "ip-request", "ip-request-resp", "hb_takeover", "ask_resources"} {
		if result, err := agent.RunRC(t.Context(), n.env, map[string]string{"t": name}, nil); result.Ran || result.Reason == "" || err != nil {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
	}
}

func TestRunHook(t *testing.T) {
	n := newSite(t)
	n.script(t, "hooks/peer-lost.d/20-second", `echo "second $1 $HA_EVENT $HA_EVENT_GROUP $HA_EVENT_PEER $HA_EVENT_NODE $HA_CURHOST" >>$DIR/log`)
	n.script(t, "hooks/peer-lost.d/10-first", `cat >$DIR/json; echo first >>$DIR/log; echo said; exit 1`)
	n.script(t, "hooks/peer-lost.d/30-third", `echo third >>$DIR/log`)
	for _, not := range []string{".hidden", "old~", "x.bak", "y.dpkg-old", "README"} {
		n.script(t, "hooks/peer-lost.d/"+not, `echo wrong >>$DIR/log`)
	}
	os.WriteFile(filepath.Join(n.env.Paths.HooksDir, "peer-lost.d", "25-plain"), nil, 0o644)
	event := agent.HookEvent{
		Event: "peer-lost", Group: "10.0.0.1", Reason: "silent on every link", Time: time.Date(2026, 3, 1, 3, 0, 0, 1e6, time.UTC),
		Facts: map[string]string{"peer": "beta"},
	}
	var lines []string
	err := agent.RunHook(t.Context(), n.env, event, func(hook, line string) { lines = append(lines, filepath.Base(hook)+": "+line) })
	if err == nil || !strings.Contains(err.Error(), "10-first: exit code 1: said") || !strings.Contains(err.Error(), "25-plain is not executable") {
		t.Errorf("error %v", err)
	}
	if got, want := n.log(t), "first second peer-lost peer-lost 10.0.0.1 beta alpha alpha third"; got != want {
		t.Errorf("did  %s\nwant %s", got, want)
	}
	if got := strings.Join(lines, "|"); got != "10-first: said" {
		t.Errorf("output %s", got)
	}
	text, _ := os.ReadFile(filepath.Join(n.env.Paths.Dir, "json"))
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"schema": 1.0, "event": "peer-lost", "group": "10.0.0.1", "reason": "silent on every link", "peer": "beta", "node": "alpha",
		"time": "2026-03-01T03:00:00.001Z",
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %v, want %v", key, got[key], value)
		}
	}
	if err := agent.RunHook(t.Context(), n.env, agent.HookEvent{Event: "no-such-event"}, nil); err != nil {
		t.Errorf("no hooks: %v", err)
	}
}

// TestRunHookHangs: one that hangs is ended with the context, and those after it are not run then.
func TestRunHookHangs(t *testing.T) {
	n := newSite(t)
	n.script(t, "hooks/pre-acquire.d/10-hangs", `sleep 60`)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := agent.RunHook(ctx, n.env, agent.HookEvent{Event: "pre-acquire"}, nil)
	if err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}
