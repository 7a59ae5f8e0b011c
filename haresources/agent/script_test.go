package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/rehearsal/require"
)

// service is a script that does what it should: $DIR/NAME.up is its state, and every call is noted in $DIR/log.
const service = `name=$(basename $0); echo "$name:$*" >>$DIR/log; eval op=\$$#
case $op in
start)  echo starting; touch $DIR/$name.up;;
stop)   rm -f $DIR/$name.up;;
status) if [ -e $DIR/$name.up ]; then echo "$name is running"; else echo "$name is stopped"; exit 3; fi;;
esac
`

// state asks an agent.
func state(t *testing.T, n *site, spec string) (haresources.State, error) {
	t.Helper()
	a, err := agent.Open(n.env)(resource(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	return a.Status(t.Context())
}

func TestScriptsInOrder(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/one", service)
	n.script(t, "init.d/two", service)
	n.script(t, "init.d/one", "echo the wrong one >>$DIR/log")
	n.script(t, "resource.d/three", service)
	m := n.manager(t, "alpha one::a::b two lsb:two three::x")
	os.WriteFile(filepath.Join(n.env.Paths.Dir, "three.up"), nil, 0o644)
	if err := m.Acquire(t.Context(), "one::a::b"); err != nil {
		t.Fatal(err)
	}
	if got, want := n.log(t), "one:a b status one:a b start two:status two:start two:status three:x status"; got != want {
		t.Errorf("did  %s\nwant %s", got, want)
	}
	if err := m.Release(t.Context(), "one::a::b"); err != nil {
		t.Fatal(err)
	}
	if got, want := n.log(t), "three:x stop two:stop two:stop one:a b stop"; got != want {
		t.Errorf("did  %s\nwant %s", got, want)
	}
	var lines []string
	for _, e := range n.events {
		if e.Phase == haresources.Output {
			lines = append(lines, e.Resource+" "+string(e.Operation)+": "+e.Line)
		}
	}
	if got := strings.Join(lines, "; "); got != "one::a::b start: starting; two start: starting" {
		t.Errorf("output %s", got)
	}
}

// TestOwnershipByText is Heartbeat's rule: words on standard output, whatever the exit code (protocol section 8.4).
func TestOwnershipByText(t *testing.T) {
	n := newSite(t)
	for body, want := range map[string]haresources.State{
		`echo "s is running"`:                        haresources.Running,
		`echo "s: Running"; exit 1`:                  haresources.Running,
		`echo OK; exit 7`:                            haresources.Running,
		`echo "INFO:  Running OK"`:                   haresources.Running,
		`echo "s is not running"`:                    haresources.Stopped,
		`echo "s is NOT running"`:                    haresources.Stopped,
		`echo "Not currently Running"`:               haresources.Stopped,
		`echo "s is not"; echo "running"`:            haresources.Running, // "not" and a line's end
		`echo "nothing running"`:                     haresources.Running, // no blank after "not"
		`echo "INFO:  Resource is stopped"; exit 7`:  haresources.Stopped,
		`echo "s is stopped"`:                        haresources.Stopped,
		`echo "Active: inactive (dead)"; exit 3`:     haresources.Stopped,
		`exit 3`:                                     haresources.Stopped,
		`exit 0`:                                     haresources.Unknown,
		`echo "running" >&2`:                         haresources.Unknown,
		`echo "usage: s start|stop" ; exit 1`:        haresources.Unknown,
		`echo "Segmentation fault"; kill -SEGV $$`:   haresources.Unknown,
		`test "$LC_ALL" = C && echo running || true`: haresources.Running,
	} {
		n.script(t, "resource.d/s", body)
		if got, err := state(t, n, "s"); got != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", body, got, err, want)
		}
	}
}

// TestOwnershipByCode: what was declared to conform to the LSB is believed its exit code.
func TestOwnershipByCode(t *testing.T) {
	n := newSite(t)
	for code, want := range []haresources.State{
		haresources.Running, haresources.Failed, haresources.Failed, haresources.Stopped, haresources.Unknown,
	} {
		n.script(t, "init.d/s", "echo not running, running, OK; exit "+strconv.Itoa(code))
		got, err := state(t, n, "lsb:s")
		if got != want || (err != nil) != (want == haresources.Failed || want == haresources.Unknown) {
			t.Errorf("exit code %d: %v, %v; want %v", code, got, err, want)
		}
	}
	n.script(t, "resource.d/only", service)
	if _, err := state(t, n, "lsb:only"); err == nil {
		t.Error("lsb: found a script of resource.d")
	}
}

func TestScriptNotFound(t *testing.T) {
	n := newSite(t)
	os.WriteFile(filepath.Join(n.env.Paths.ResourceDir, "plain"), []byte("#!/bin/sh\n"), 0o644)
	os.Mkdir(filepath.Join(n.env.Paths.InitDir, "dir"), 0o755)
	for spec, want := range map[string]string{
		"missing": `start of "missing": cannot locate resource script missing in ` + n.env.Paths.ResourceDir + " or " + n.env.Paths.InitDir,
		"plain":   n.env.Paths.ResourceDir + "/plain is not executable",
		"dir":     "is no regular file",
	} {
		m := n.manager(t, "alpha "+spec)
		err := m.Acquire(t.Context(), spec)
		var stuck *haresources.StuckError
		if err == nil || !strings.Contains(err.Error(), want) || errors.As(err, &stuck) {
			t.Errorf("%s: %v, want %s", spec, err, want)
		}
	}
}

// TestScriptVanishes: where the script of what runs is gone, nobody can say that it is stopped.
func TestScriptVanishes(t *testing.T) {
	for _, spec := range []string{"s", "ocf:test:Fake::ip=x"} {
		n := newOCF(t)
		n.write(t, "code", "0")
		n.script(t, "resource.d/s", "[ $1 = status ] && echo running; exit 0")
		m := n.manager(t, "alpha "+spec+" #hapair: stop-retries=1")
		if err := m.Acquire(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.RemoveAll(n.env.Paths.ResourceDir), os.RemoveAll(n.env.Paths.OCFRoot)); err != nil {
			t.Fatal(err)
		}
		var stuck *haresources.StuckError
		if err := m.Release(t.Context(), spec); !errors.As(err, &stuck) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// TestSecondFails: the error names resource, step, exit code and last line; the group is stopped whole.
func TestSecondFails(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/one", service)
	n.script(t, "resource.d/two", service+"[ $op = start ] && { echo cannot open disk >&2; exit 5; }; exit 0")
	m := n.manager(t, "alpha one two")
	err := m.Acquire(t.Context(), "one")
	if want := `start of "two": exit code 5: cannot open disk`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if got, want := n.log(t), "one:status one:start two:status two:start two:stop one:stop"; got != want {
		t.Errorf("did  %s\nwant %s", got, want)
	}
	if status := m.Resources("one"); status[0].State != haresources.Stopped || status[1].State != haresources.Stopped {
		t.Errorf("status %+v", status)
	}
}

// TestStopFailsSomeTimes: it is tried until it succeeds.
func TestStopFailsSomeTimes(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/one", service)
	n.script(t, "resource.d/two", `[ $1 = stop ] && { echo x >>$DIR/tries; [ $(wc -l <$DIR/tries) -lt 4 ] && { echo busy; exit 1; }; }
`+service)
	m := n.manager(t, "alpha one two")
	if err := m.Acquire(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	n.log(t)
	if err := m.Release(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if got := n.log(t); !strings.HasSuffix(got, "two:stop one:stop") || strings.Count(got, "two:status") != 3 {
		t.Errorf("did %s", got)
	}
}

func TestStopFailsForEver(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/one", service)
	n.script(t, "resource.d/two", "[ $1 = stop ] && { echo target is busy; exit 1; }\n"+service)
	m := n.manager(t, "alpha one two #hapair: stop-retries=2 stop-retry-delay=10ms")
	if err := m.Acquire(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	n.log(t)
	err := m.Release(t.Context(), "one")
	var stuck *haresources.StuckError
	if !errors.As(err, &stuck) || stuck.Resource != "two" || !strings.Contains(err.Error(), "exit code 1: target is busy") {
		t.Errorf("error %v", err)
	}
	if got := n.log(t); strings.Contains(got, "one:stop") {
		t.Errorf("what the stuck one stands on was stopped: %s", got)
	}
}

// pid reads a process id that a script wrote.
func pid(t *testing.T, n *site, name string) int {
	t.Helper()
	var id int
	eventually(t, 5*time.Second, name, func() bool {
		text, _ := os.ReadFile(filepath.Join(n.env.Paths.Dir, name))
		var err error
		id, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return id
}

// gone waits until a process has ended.
func gone(t *testing.T, id int) {
	t.Helper()
	eventually(t, 5*time.Second, "the process is gone", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(id) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

// TestHungScript: one that hangs, and ignores TERM besides, is ended with its children, and delays nothing but its group.
func TestHungScript(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/hangs", `case $1 in
start) trap '' TERM; echo $$ >$DIR/pid; sh -c 'trap "" TERM; echo $$ >$DIR/child; while :; do sleep 60; done' & echo waiting for disk; wait; while :; do sleep 60; done;;
stop) echo hangs:stop >>$DIR/log;;
esac`)
	n.script(t, "resource.d/other", service)
	m := n.manager(t, "alpha hangs #hapair: start-timeout=300ms", "alpha other")
	result := make(chan error, 1)
	go func() { result <- m.Acquire(context.Background(), "hangs") }()
	leader, child := pid(t, n, "pid"), pid(t, n, "child")
	begin := time.Now()
	if err := m.Acquire(t.Context(), "other"); err != nil || time.Since(begin) > 2*time.Second {
		t.Errorf("other group: %v after %v", err, time.Since(begin))
	}
	if s := m.Resources("hangs")[0]; s.Doing != haresources.OpStart || s.LastLine != "waiting for disk" {
		t.Errorf("status %+v", s)
	}
	err := <-result
	if want := `start of "hangs": did not end within 300ms; its last output: waiting for disk`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	gone(t, leader)
	gone(t, child)
	if got := n.log(t); !strings.Contains(got, "hangs:stop") {
		t.Errorf("did %s", got)
	}
}

// TestReleaseEndsHungStart: a release does not wait for a start that hangs.
func TestReleaseEndsHungStart(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/hangs", `case $1 in
start) echo $$ >$DIR/pid; sleep 60;;
stop) echo hangs:stop >>$DIR/log;;
esac`)
	m := n.manager(t, "alpha hangs")
	result := make(chan error, 1)
	go func() { result <- m.Acquire(context.Background(), "hangs") }()
	id := pid(t, n, "pid")
	begin := time.Now()
	if err := m.Release(t.Context(), "hangs"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("release took %v", took)
	}
	if err := <-result; !errors.Is(err, haresources.ErrReleased) {
		t.Errorf("acquire: %v", err)
	}
	gone(t, id)
	if got := n.log(t); got != "hangs:stop" {
		t.Errorf("did %s", got)
	}
}

// TestDaemonKeepsOutput: a service in the background that keeps its script's output does not hold up the group, and lives.
func TestDaemonKeepsOutput(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/daemon", `case $1 in
start) (sh -c 'echo $$ >$DIR/pid; while :; do echo noise; sleep 0.01; done' &) ; while [ ! -s $DIR/pid ]; do sleep 0.01; done; echo started;;
status) kill -0 $(cat $DIR/pid) 2>/dev/null && echo running || echo stopped;;
stop) kill $(cat $DIR/pid); sleep 0.05;;
esac`)
	m := n.manager(t, "alpha daemon")
	begin := time.Now()
	if err := m.Acquire(t.Context(), "daemon"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	id := pid(t, n, "pid")
	t.Cleanup(func() { _ = syscall.Kill(id, syscall.SIGKILL) })
	if running, err := m.Examine(t.Context(), "daemon"); !running || err != nil {
		t.Errorf("examined: %v, %v", running, err)
	}
	if err := m.Release(t.Context(), "daemon"); err != nil {
		t.Fatal(err)
	}
	gone(t, id)
}

// TestSiteScriptInsteadOfNative: a script that somebody wrote is run, a stock one is not.
func TestSiteScriptInsteadOfNative(t *testing.T) {
	n := newSite(t)
	n.script(t, "resource.d/IPaddr2", service)
	n.script(t, "resource.d/IPaddr", "# wrapper of OCF RA IPaddr\n. /etc/ha.d/resource.d//hto-mapfuncs\nOCF_TYPE=IPaddr\nra_execocf $2\n")
	m := n.manager(t, "alpha IPaddr2::10.0.0.1/24/nosuch")
	if err := m.Acquire(t.Context(), "IPaddr2::10.0.0.1/24/nosuch"); err != nil {
		t.Fatal(err)
	}
	if got := n.log(t); got != "IPaddr2:10.0.0.1/24/nosuch status IPaddr2:10.0.0.1/24/nosuch start" {
		t.Errorf("did %s", got)
	}
	if faults := agent.Check(resource(t, "10.0.0.1/99"), n.env); faults.Err() == nil {
		t.Error("a stock IPaddr script was taken for one of the site: the address was not checked")
	}
}

// TestStockScripts: Debian's wrappers in resource.d are found, run, and their words read as Heartbeat does.
func TestStockScripts(t *testing.T) {
	require.Root(t, "Heartbeat's stock resource scripts")
	require.File(t, "/etc/ha.d/resource.d/Delay", "Heartbeat's stock resource scripts (package heartbeat)")
	require.File(t, "/usr/lib/ocf/resource.d/heartbeat/Delay", "Heartbeat's stock resource scripts (package resource-agents)")
	n := newSite(t)
	stock, err := os.ReadFile("/etc/ha.d/resource.d/Delay")
	if err != nil {
		t.Fatal(err)
	}
	n.script(t, "resource.d/StockDelay", string(stock)) // by a name that is not done without a script
	n.env.Environ = append(n.env.Environ, "HA_FUNCS=/etc/ha.d/shellfuncs", "OCF_ROOT=/usr/lib/ocf", "HA_RSCTMP=/run/resource-agents",
		"OCF_RESKEY_mondelay=0") // the stock agent takes half a minute to say whether it runs
	const spec = "StockDelay::0::0"
	m := n.manager(t, "alpha "+spec)
	if running, err := m.Examine(t.Context(), spec); running || err != nil {
		t.Fatalf("examined: %v, %v", running, err)
	}
	if err := m.Acquire(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if running, err := m.Examine(t.Context(), spec); !running || err != nil {
		t.Errorf("examined: %v, %v", running, err)
	}
	if err := m.Release(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	n.env.Paths.ResourceDir = "/etc/ha.d/resource.d"
	entries, err := os.ReadDir(n.env.Paths.ResourceDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "hto-mapfuncs" {
			continue // the wrappers' library
		}
		if faults := agent.Check(resource(t, e.Name()), n.env); strings.Contains(faults.Error(), "cannot locate") {
			t.Errorf("%s: %v", e.Name(), faults)
		}
	}
}
