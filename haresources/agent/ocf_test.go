package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/rehearsal/require"
)

// fakeOCF is an agent whose monitor says what $DIR/code holds.
const fakeOCF = `case $1 in
meta-data) cat <<END
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="Fake" version="1.0"><parameters>
<parameter name="ip" unique="1" required="1"><content type="string"/></parameter>
<parameter name="nic" required="0"><content type="string"/></parameter>
</parameters><actions>
<action name="start" timeout="333s"/><action name="stop" timeout="44s"/><action name="monitor" timeout="5s" interval="10s"/><action name="monitor" timeout="7s" interval="20s"/>
</actions></resource-agent>
END
exit 0;;
monitor) exit $(cat $DIR/code);;
esac
env | grep -e ^OCF -e ^HA_ | sort >$DIR/env
[ -e $DIR/fail ] && { echo "ERROR: no such nic" >&2; exit 6; }
exit 0
`

// newOCF makes a site with an OCF agent "Fake" of provider "test".
func newOCF(t *testing.T) *site {
	n := newSite(t)
	n.env.Paths.OCFRoot = filepath.Join(n.env.Paths.Dir, "ocf")
	n.script(t, "ocf/resource.d/test/Fake", fakeOCF)
	return n
}

func (n *site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(n.env.Paths.Dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOCFStates(t *testing.T) {
	n := newOCF(t)
	for code, want := range map[string]haresources.State{
		"0": haresources.Running, "1": haresources.Failed, "2": haresources.Unknown, "3": haresources.Unknown, "4": haresources.Unknown,
		"5": haresources.Stopped, "6": haresources.Unknown, "7": haresources.Stopped, "8": haresources.Running, "9": haresources.Failed, "127": haresources.Unknown,
	} {
		n.write(t, "code", code)
		got, err := state(t, n, "ocf:test:Fake::ip=10.0.0.1")
		if got != want || (err == nil) != (want == haresources.Running || want == haresources.Stopped) {
			t.Errorf("exit code %s: %v, %v; want %v", code, got, err, want)
		}
	}
}

func TestOCFEnvironment(t *testing.T) {
	n := newOCF(t)
	n.write(t, "code", "7")
	const spec = "ocf:test:Fake::ip=2001:db8::1::nic=a=b"
	m := n.manager(t, "alpha "+spec)
	if err := m.Acquire(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(filepath.Join(n.env.Paths.Dir, "env"))
	for _, want := range []string{
		"OCF_RESKEY_ip=2001:db8::1\n", "OCF_RESKEY_nic=a=b\n", "OCF_ROOT=" + n.env.Paths.OCFRoot + "\n", "OCF_RA_VERSION_MAJOR=1\n",
		"OCF_RESOURCE_INSTANCE=Fake_ip_2001_db8__1_nic_a_b\n", "OCF_RESOURCE_TYPE=Fake\n", "OCF_RESOURCE_PROVIDER=test\n", "HA_CURHOST=alpha\n",
		"OCF_RESKEY_CRM_meta_timeout=33",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("environment without %s:\n%s", want, text)
		}
	}
	n.write(t, "fail", "")
	err := m.Release(t.Context(), spec)
	if err != nil { // monitor says that it does not run
		t.Errorf("release: %v", err)
	}
	err = m.Acquire(t.Context(), spec)
	if want := `: the resource is not configured correctly: exit code 6: ERROR: no such nic`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v, want …%s", err, want)
	}
}

func TestOCFTimeouts(t *testing.T) {
	n := newOCF(t)
	a, err := agent.Open(n.env)(resource(t, "ocf:test:Fake::ip=x"))
	if err != nil {
		t.Fatal(err)
	}
	timer := a.(haresources.Timer)
	for op, want := range map[haresources.Operation]time.Duration{
		haresources.OpStart: 333 * time.Second, haresources.OpStop: 44 * time.Second, haresources.OpStatus: 7 * time.Second,
	} {
		if got := timer.Timeout(op); got != want {
			t.Errorf("%s: %v, want %v", op, got, want)
		}
	}
	n.script(t, "ocf/resource.d/test/Generated", `[ $1 = meta-data ] && printf '<resource-agent><actions><%s name="start" timeout="9s"/></actions></resource-agent>\n' action`)
	a, err = agent.Open(n.env)(resource(t, "ocf:test:Generated"))
	if err != nil {
		t.Fatal(err)
	}
	if got := a.(haresources.Timer).Timeout(haresources.OpStart); got != 9*time.Second {
		t.Errorf("generated meta-data: %v", got)
	}
}

func TestOCFCheck(t *testing.T) {
	n := newOCF(t)
	for spec, want := range map[string]string{
		"ocf:test:Fake::ip=x::nic=y":  "",
		"ocf:test:Fake::nic=y":        "error: ocf:test:Fake::nic=y: the agent needs the parameter ip (add ::ip=VALUE)",
		"ocf:test:Fake::ip=x::nci=y":  "warning: ocf:test:Fake::ip=x::nci=y: the agent has no parameter nci (did you mean nic?)",
		"ocf:test:Fale::ip=x":         "(did you mean ocf:test:Fake?)",
		"ocf:test:Fake::ip=x::a-b=y":  `"a-b=y" is no parameter`,
		"systemd:nosuch":              "systemd does not run on this machine",
		"ocf:nosuch:Whatever::ip=foo": "cannot locate OCF agent nosuch:Whatever",
	} {
		got := agent.Check(resource(t, spec), n.env)
		if want == "" && len(got) > 0 || !strings.Contains(got.Error(), want) {
			t.Errorf("%s: %v, want %s", spec, got, want)
		}
	}
}

// TestOCFDummy: the distribution's own agent, with its state in a file.
func TestOCFDummy(t *testing.T) {
	require.Root(t, "the OCF agents of the distribution")
	require.File(t, "/usr/lib/ocf/resource.d/heartbeat/Dummy", "the OCF agents of the distribution (package resource-agents)")
	n := newSite(t)
	n.env.Environ = append(n.env.Environ, "HA_RSCTMP="+t.TempDir())
	stateFile := filepath.Join(t.TempDir(), "state")
	spec := "ocf:heartbeat:Dummy::state=" + stateFile
	if faults := agent.Check(resource(t, spec), n.env); len(faults) > 0 {
		t.Errorf("check: %v", faults)
	}
	m := n.manager(t, "alpha "+spec)
	if running, err := m.Examine(t.Context(), spec); running || err != nil {
		t.Fatalf("examined: %v, %v", running, err)
	}
	for range 2 {
		if err := m.Acquire(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(stateFile); err != nil {
		t.Error(err)
	}
	if running, err := m.Examine(t.Context(), spec); !running || err != nil {
		t.Errorf("examined: %v, %v", running, err)
	}
	for range 2 {
		if err := m.Release(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	bad := "ocf:heartbeat:Dummy::state=/nosuch/dir/state"
	m = n.manager(t, "alpha "+bad)
	if err := m.Acquire(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "exit code") {
		t.Errorf("error %v", err)
	}
}

// TestOCFRefusalNeedsNoStop: an agent that refuses to start for what it was given, and refuses to stop for the same reason, runs nothing: its
// group is not stuck, and no machine is reset, for a parameter that was forgotten. One that did start is another matter.
func TestOCFRefusalNeedsNoStop(t *testing.T) {
	n := newOCF(t)
	n.script(t, "ocf/resource.d/test/Strict", `[ $1 = meta-data ] && exit 0
[ -e $DIR/good ] || { echo "fsid: required parameter not set" >&2; exit 6; }
case $1 in start) touch $DIR/up;; monitor) [ -e $DIR/up ] || exit 7;; stop) rm -f $DIR/up;; esac`)
	n.script(t, "resource.d/first", `case $1 in start) touch $DIR/first;; stop) rm -f $DIR/first;; status) [ -e $DIR/first ] && echo running || echo stopped;; esac`)
	m := n.manager(t, "alpha first ocf:test:Strict #hapair: stop-retries=1 stop-retry-delay=0.01")
	var stuck *haresources.StuckError
	if err := m.Acquire(t.Context(), "first"); err == nil || errors.As(err, &stuck) || !strings.Contains(err.Error(), "the resource is not configured correctly") {
		t.Errorf("start: %v", err)
	}
	if _, err := os.Stat(filepath.Join(n.env.Paths.Dir, "first")); err == nil {
		t.Error("the group is half up")
	}
	n.write(t, "good", "")
	if err := m.Acquire(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(n.env.Paths.Dir, "good"))
	if err := m.Release(t.Context(), "first"); !errors.As(err, &stuck) {
		t.Errorf("an agent that runs and cannot be stopped: %v", err)
	}
}
