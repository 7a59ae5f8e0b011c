package stonith_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/stonith"
)

func TestExternal(t *testing.T) {
	testFencer(t, func(t *testing.T) (stonith.Fencer, *bench) {
		b := newBench(t)
		b.script(t, "bench", plugin, 0o755)
		return b.open(t, stonith.Spec{Type: "external/bench", Params: b.dir + " beta alpha", Hosts: []string{"beta"}}), b
	}, true)
}

func TestAgent(t *testing.T) {
	testFencer(t, func(t *testing.T) (stonith.Fencer, *bench) {
		b := newBench(t)
		b.script(t, "fence_bench", agentScript, 0o755)
		return b.open(t, stonith.Spec{Type: "fence_bench", Params: "bench=" + b.dir + " pcmk_host_map=alpha:alpha;beta:beta", Hosts: []string{"beta"}}), b
	}, true)
}

func TestNull(t *testing.T) {
	testFencer(t, func(t *testing.T) (stonith.Fencer, *bench) {
		b := newBench(t)
		f := b.open(t, stonith.Spec{Type: "null", Params: "alpha beta"})
		if !strings.Contains(b.log.text(), "crit: null: this is no fencing") {
			t.Errorf("no warning: %s", b.log.text())
		}
		return f, b
	}, false)
}

func TestLevelsConform(t *testing.T) {
	testFencer(t, func(t *testing.T) (stonith.Fencer, *bench) {
		b := newBench(t)
		b.script(t, "bench", plugin, 0o755)
		b.script(t, "fence_bench", agentScript, 0o755)
		one := b.open(t, stonith.Spec{Type: "external/bench", Params: b.dir + " beta"})
		two := b.open(t, stonith.Spec{Type: "fence_bench", Params: "bench=" + b.dir + " pcmk_host_map=beta:beta"})
		return stonith.NewLevels([][]stonith.Fencer{{one, two}}, b.log.add), b
	}, true)
}

func TestAgentProvesThatTheMachineIsOff(t *testing.T) {
	b := newBench(t)
	b.script(t, "fence_bench", agentScript, 0o755)
	f := b.open(t, stonith.Spec{Type: "fence_bench", Params: "bench=" + b.dir})
	ev, err := f.Fence(t.Context(), "beta", stonith.Reset)
	if err != nil || !ev.LeftOff || strings.Join(ev.Seen, "; ") != "off: Success: off; status: off" {
		t.Errorf("%+v, %v", ev, err)
	}
	if p, err := f.(stonith.Examiner).Power(t.Context(), "beta"); p != stonith.PowerOff || err != nil {
		t.Errorf("power %v, %v", p, err)
	}
	if ev, err := f.Fence(t.Context(), "beta", stonith.Off); err != nil || ev.LeftOff {
		t.Errorf("off: %+v, %v", ev, err)
	}
	liar := b.open(t, stonith.Spec{Type: "fence_bench", Params: "lie=1 bench=" + b.dir})
	if _, err := liar.Fence(t.Context(), "alpha", stonith.Reset); stonith.CauseOf(err) != stonith.CauseNotOff {
		t.Errorf("a device that lies: %v", err)
	}
	if _, err := f.Fence(t.Context(), "beta", stonith.On); err != nil || b.power("beta") != "on" || b.calls() != "off off off on" {
		t.Errorf("%v, beta is %s, calls %s", err, b.power("beta"), b.calls())
	}
}

// failures are devices that cannot work, with the cause that must be named and words that must stand in the message.
func TestFailuresAreNamed(t *testing.T) {
	b := newBench(t)
	b.script(t, "bench", plugin, 0o755)
	b.script(t, "asleep", "case $1 in getconfignames) echo hostlist ;; *) sleep 60 ;; esac", 0o755)
	b.script(t, "plain", "exit 0", 0o644)
	b.script(t, "open", "exit 0", 0o775)
	b.script(t, "world", "exit 0", 0o757)
	b.script(t, "denied", `case $1 in getconfignames) echo hostlist ;; *) echo "Login failed: Permission denied" >&2; exit 1 ;; esac`, 0o755)
	b.script(t, "late", `case $1 in getconfignames) echo hostlist ;; *) echo "login failed: connection timed out" >&2; exit 1 ;; esac`, 0o755)
	b.script(t, "logs", `case $1 in getconfignames) echo hostlist ;; *) echo "ERROR: ipmitool not installed" >>$HA_LOGFILE; exit 1 ;; esac`, 0o755)
	b.script(t, "killed", `case $1 in getconfignames) echo hostlist ;; *) kill -9 $$ ;; esac`, 0o755)
	b.script(t, "fence_bench", agentScript, 0o755)
	b.script(t, "fence_nothing", "echo hello", 0o755)
	params := filepath.Join(b.dir, "params")
	os.WriteFile(params, []byte("# only a comment\n\n"), 0o600)
	b.env.Timeout = 700 * time.Millisecond
	tests := []struct {
		typ, params, file string
		cause             stonith.Cause
		words             string
	}{
		{"external/nosuch", "x", "", stonith.CauseMissing, "nosuch was found in none of"},
		{"external/../bench", "x", "", stonith.CauseMissing, "no name of a program"},
		{"external/plain", "x", "", stonith.CauseMode, "chmod 755"},
		{"external/open", "x", "", stonith.CauseWritable, "mode 0775"},
		{"external/world", "x", "", stonith.CauseWritable, "mode 0757"},
		{"external/bench", "", "", stonith.CauseParameter, "parameter bench is missing (write them in this order: bench hostlist)"},
		{"external/bench", b.dir, "", stonith.CauseParameter, "parameter hostlist is missing"},
		{"external/bench", "bench=" + b.dir, "", stonith.CauseParameter, "parameter hostlist is missing"},
		{"external/bench", "bench=" + b.dir + " hostlits=beta", "", stonith.CauseUnknown, "did you mean hostlist?"},
		{"external/bench", "/nonexistent beta", "", stonith.CauseUnreachable, "by hand: env bench=/nonexistent hostlist=beta"},
		{"external/bench", b.dir + " gamma", "", stonith.CauseHost, "it can reset gamma, but not beta"},
		{"external/bench", "", params, stonith.CauseFile, "holds no parameters"},
		{"external/bench", "", "/nonexistent/params", stonith.CauseFile, "no such file"},
		{"external/asleep", "beta", "", stonith.CauseTimeout, "status: no answer in 700ms"},
		{"external/denied", "beta", "", stonith.CauseCredentials, "Permission denied"},
		{"external/late", "beta", "", stonith.CauseUnreachable, "check the device's address"},
		{"external/logs", "beta", "", stonith.CauseProgram, "ipmitool not installed"},
		{"external/killed", "beta", "", stonith.CauseOther, "ended by signal 9"},
		{"fence_bench", "", "", stonith.CauseParameter, "parameter bench is missing"},
		{"fence_bench", "bench=/nonexistent", "", stonith.CauseUnreachable, "Unable to connect/login"},
		{"fence_bench", "bench=" + b.dir + " pasword=x", "", stonith.CauseUnknown, "did you mean password?"},
		{"fence_bench", "bench=" + b.dir + " pcmk_host_map=alpha:1", "", stonith.CauseHost, "names no plug for beta"},
		{"fence_nothing", "x=1", "", stonith.CauseOther, "no <resource-agent>"},
		{"fence_nosuch", "x=1", "", stonith.CauseMissing, "fence_nosuch was found in none of"},
		{"apcmaster", "10.0.0.1", "", stonith.CauseMissing, "install cluster-glue"},
	}
	for _, tt := range tests {
		t.Run(tt.typ+" "+tt.params, func(t *testing.T) {
			f := b.open(t, stonith.Spec{Type: tt.typ, Params: tt.params, File: tt.file, Hosts: []string{"beta"}})
			err := f.Check(t.Context())
			if stonith.CauseOf(err) != tt.cause || err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%v\nwant %q with %q", err, tt.cause, tt.words)
			}
			if _, err := f.Fence(t.Context(), "beta", stonith.Reset); err == nil && tt.cause != stonith.CauseUnknown && tt.cause != stonith.CauseHost {
				t.Errorf("it fences all the same")
			}
		})
	}
}

func TestOpenRefusesLinesThatCannotBeMeant(t *testing.T) {
	b := newBench(t)
	b.script(t, "bench", plugin, 0o755)
	b.script(t, "fence_bench", agentScript, 0o755)
	for _, tt := range []struct{ typ, params, words string }{
		{"bench", "x", "did you mean external/bench?"},
		{"ipmilna", "x", "did you mean ipmilan?"},
		{"suicide", "x", `no STONITH type "suicide"`},
		{"meatware", "", "hostlist is missing"},
		{"null", " ", "hostlist is missing"},
		{"fence_bench", "10.0.0.9 admin", `"10.0.0.9" is not key=value`},
		{"fence_bench", `password="a b`, "a quote is not closed"},
	} {
		_, err := stonith.Open(stonith.Spec{Type: tt.typ, Params: tt.params}, b.env)
		if err == nil || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), `"a b`) {
			t.Errorf("%s %s: %v, want %q", tt.typ, tt.params, err, tt.words)
		}
	}
	got := fmt.Sprint(stonith.Types(b.env))
	if got != "[external/bench fence_bench meatware null]" {
		t.Errorf("types %s", got)
	}
}

func TestPositionalParametersTheLastTakesTheRest(t *testing.T) {
	b := newBench(t)
	b.script(t, "show", `case $1 in
getconfignames) echo "one two"; echo three ;;
status) echo "$one|$two|$three|$HA_LOGTAG|$LANG" >&2; case $PATH in /usr/share/cluster-glue:*) ;; *) [ ! -d /usr/share/cluster-glue ] || echo "PATH $PATH" >&2 ;; esac ;;
gethosts) echo beta ;; esac`, 0o755)
	file := filepath.Join(b.dir, "file")
	os.WriteFile(file, []byte("# comment\n\n  a\tb  c d \nignored\n"), 0o644)
	for _, s := range []stonith.Spec{{Type: "external/show", Params: "a  b\tc d"}, {Type: "external/show", File: file}} {
		b.log.all = nil
		if err := b.open(t, s).Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(b.log.text(), "info: external/show: a|b|c d|external/show|C") {
			t.Errorf("log %s", b.log.text())
		}
	}
	if !strings.Contains(b.log.text(), "everybody may read "+file) {
		t.Errorf("no warning of an open file: %s", b.log.text())
	}
}

func TestOptionalParametersOfAPlugin(t *testing.T) {
	b := newBench(t)
	b.script(t, "bench", plugin+"\necho mood $mood >&2\n", 0o755)
	f := b.open(t, stonith.Spec{Type: "external/bench", Params: "mood='very good' hostlist=beta bench=" + b.dir})
	if err := f.Check(t.Context()); err != nil || !strings.Contains(b.log.text(), "mood very good") {
		t.Errorf("%v, %s", err, b.log.text())
	}
}

func TestHungProgramIsEndedWithItsChildren(t *testing.T) {
	b := newBench(t)
	b.script(t, "hang", `case $1 in getconfignames) echo hostlist ;; *) trap '' TERM; sleep 61 & echo $! >$hostlist.pid; wait; sleep 61 ;; esac`, 0o755)
	b.env.Timeout = 300 * time.Millisecond
	f := b.open(t, stonith.Spec{Type: "external/hang", Params: filepath.Join(b.dir, "beta")})
	before := time.Now()
	_, err := f.Fence(t.Context(), "beta", stonith.Reset)
	if stonith.CauseOf(err) != stonith.CauseTimeout || time.Since(before) > 4*time.Second {
		t.Errorf("%v after %v", err, time.Since(before))
	}
	pid, _ := os.ReadFile(filepath.Join(b.dir, "beta.pid"))
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) { // a killed process takes its time on a busy machine
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("its child %s still runs", pid)
		}
	}
}

func TestLevels(t *testing.T) {
	b := newBench(t)
	b.script(t, "bench", plugin, 0o755)
	b.script(t, "fence_bench", agentScript, 0o755)
	broken := b.open(t, stonith.Spec{Type: "external/nosuch"})
	good := b.open(t, stonith.Spec{Type: "external/bench", Params: b.dir + " beta"})
	agent := b.open(t, stonith.Spec{Type: "fence_bench", Params: "bench=" + b.dir})

	l := stonith.NewLevels([][]stonith.Fencer{{broken}, {good}}, b.log.add)
	ev, err := l.Fence(t.Context(), "beta", stonith.Reset)
	if err != nil || ev.Device != "external/bench" || !strings.Contains(b.log.text(), "warn: STONITH: level 1 failed") {
		t.Errorf("%+v, %v, %s", ev, err, b.log.text())
	}
	if err := l.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("check of a broken first level: %v", err)
	}

	l = stonith.NewLevels([][]stonith.Fencer{{good, broken}, {broken}}, b.log.add)
	if _, err := l.Fence(t.Context(), "beta", stonith.Reset); err == nil || !strings.Contains(err.Error(), "level 2: external/nosuch") ||
		!strings.Contains(err.Error(), "confirm-dead beta") {
		t.Errorf("all levels broken: %v", err)
	}

	os.Remove(filepath.Join(b.dir, "calls"))
	l = stonith.NewLevels([][]stonith.Fencer{{good, agent}}, b.log.add)
	ev, err = l.Fence(t.Context(), "beta", stonith.Reset)
	if err != nil || !ev.LeftOff || b.calls() != "off off" {
		t.Errorf("two supplies: %+v, %v, calls %s", ev, err, b.calls())
	}
	if _, err := l.Fence(t.Context(), "beta", stonith.On); err != nil || b.power("beta") != "on" {
		t.Errorf("on: %v", err)
	}
	if p, err := l.Power(t.Context(), "beta"); p != stonith.PowerOn || err != nil {
		t.Errorf("power %v, %v", p, err)
	}
	if l.Name() != "external/bench and fence_bench" {
		t.Errorf("name %q", l.Name())
	}
}

func TestMeatwareWaitsForAPerson(t *testing.T) {
	b := newBench(t)
	f := b.open(t, stonith.Spec{Type: "meatware", Params: "alpha beta"})
	if err := f.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := f.Fence(t.Context(), "gamma", stonith.Reset); stonith.CauseOf(err) != stonith.CauseHost {
		t.Errorf("gamma: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.Fence(ctx, "beta", stonith.Reset); err == nil {
		t.Errorf("nobody answered, and it says yes")
	}
	for _, want := range []string{"crit: OPERATOR INTERVENTION REQUIRED to reset beta.", `Run "heartbeat confirm-dead beta"`} {
		if !strings.Contains(b.log.text(), want) {
			t.Errorf("log %s, want %s", b.log.text(), want)
		}
	}
	answer := make(chan error, 1)
	go func() {
		_, err := f.Fence(t.Context(), "beta", stonith.Reset)
		answer <- err
	}()
	fifo := waitFIFO(t, filepath.Join(b.dir, "meatware.beta"))
	fifo.WriteString("meatware reply alpha\nmeatware reply beta")
	fifo.Close()
	select {
	case err := <-answer:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the answer was not read")
	}
	if _, err := os.Stat(filepath.Join(b.dir, "meatware.beta")); err == nil {
		t.Errorf("its FIFO was left behind")
	}
}

// waitFIFO opens a FIFO for writing as soon as there is one with a reader.
func waitFIFO(t *testing.T, path string) *os.File {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("no FIFO")
	return nil
}

func TestSharedLineWithAFixedPlug(t *testing.T) {
	b := newBench(t)
	b.open(t, stonith.Spec{Type: "fence_bench", Params: "plug=beta bench=x", Shared: true})
	if !strings.Contains(b.log.text(), "one of the nodes would switch itself off") {
		t.Errorf("no warning: %s", b.log.text())
	}
	b.log.all = nil
	b.open(t, stonith.Spec{Type: "fence_bench", Params: "plug=beta bench=x"})
	if b.log.text() != "" {
		t.Errorf("warning: %s", b.log.text())
	}
}

// TestNoLineShowsASecret: some agents write the commands that they run, with the password or community in them.
func TestNoLineShowsASecret(t *testing.T) {
	b := newBench(t)
	b.script(t, "fence_chatty", `input=$(cat)
case "$1$input" in *metadata*) cat <<'END'
<resource-agent name="fence_chatty"><parameters><parameter name="community"><content type="string"/></parameter>
<parameter name="password"><content type="string"/></parameter>
<parameter name="plug"><content type="string"/></parameter></parameters><actions><action name="off"/><action name="monitor"/></actions></resource-agent>
END
exit 0 ;; esac
echo "ERROR: Cannot run command /nonexistent/snmpwalk -m '' -c 'hush-hush' '10.0.0.9:161'" >&2; exit 1`, 0o755)
	b.script(t, "chatty", `case $1 in getconfignames) echo hostlist password ;; *) echo "ipmitool -P $password: who are you" >&2; exit 1 ;; esac`, 0o755)
	for _, tt := range []struct {
		typ, params string
		cause       stonith.Cause
		words       string
	}{
		{"fence_chatty", "community=hush-hush", stonith.CauseProgram, "/nonexistent/snmpwalk is not installed"},
		{"fence_chatty", "password=password community=hush-hush", stonith.CauseProgram, "/nonexistent/snmpwalk is not installed"},
		{"external/chatty", "beta hush-hush", stonith.CauseOther, "ipmitool -P …: who are you"},
	} {
		err := b.open(t, stonith.Spec{Type: tt.typ, Params: tt.params, Hosts: []string{"beta"}}).Check(t.Context())
		if stonith.CauseOf(err) != tt.cause || err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v, want %s with %q", tt.typ, err, tt.cause, tt.words)
		}
		if text := fmt.Sprint(err) + b.log.text(); strings.Contains(text, "hush-hush") {
			t.Errorf("%s shows its secret: %s", tt.typ, text)
		}
	}
}
