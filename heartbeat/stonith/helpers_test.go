package stonith_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hapair/heartbeat/stonith"
)

// record collects log lines.
type record struct {
	mu  sync.Mutex
	all []string
}

func (r *record) add(l stonith.Level, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, [...]string{"info", "warn", "crit"}[l]+": "+text)
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.all, "\n")
}

// bench is a directory with devices of our own and the state of the machines that they switch.
type bench struct {
	dir string
	log record
	env stonith.Environment
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(b.dir, "stonith.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.env = stonith.Environment{Dir: b.dir, Root: filepath.Join(b.dir, "nowhere"), Run: b.dir, Timeout: 5 * time.Second,
		Environ: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"}, Log: b.log.add}
	return b
}

// script writes a device of our own.
func (b *bench) script(t testing.TB, name, text string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(b.dir, "stonith.d", name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// machine is the file in which the devices keep a machine's state.
func (b *bench) machine(node string) string { return filepath.Join(b.dir, "machine."+node) }

// power is the state of a machine: on until a device switched it off.
func (b *bench) power(node string) string {
	text, err := os.ReadFile(b.machine(node))
	if err != nil {
		return "on"
	}
	return strings.TrimSpace(string(text))
}

func (b *bench) open(t testing.TB, s stonith.Spec) stonith.Fencer {
	t.Helper()
	f, err := stonith.Open(s, b.env)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// plugin is an external plugin that switches machines of a bench. BENCH is its only positional parameter beside the hosts.
const plugin = `
case $1 in
getconfignames) echo bench; echo hostlist ;;
gethosts) for h in $hostlist; do echo $h; done ;;
status) [ -d "$bench" ] || { echo "no such bench: connection refused" >&2; exit 1; } ;;
reset|off)
	for h in $hostlist; do
		[ "$h" = "$2" ] && [ -d "$bench" ] && { echo "$1" >>"$bench/calls"; echo off >"$bench/new.$$"; mv "$bench/new.$$" "$bench/machine.$2"; exit 0; }
	done
	exit 1 ;;
on) echo on >"$bench/machine.$2" ;;
getinfo-devid) echo bench ;;
getinfo-xml) echo '<parameters><parameter name="bench"/><parameter name="hostlist"/><parameter name="mood"/></parameters>' ;;
*) exit 1 ;;
esac
`

// agentScript is a fence agent that switches machines of a bench.
const agentScript = `
mode=stdin bench=/nonexistent
[ "$1" = -o ] && action=$2 && mode=args
[ $mode = stdin ] && while read -r line; do
	case $line in *=*) eval "${line%%=*}='${line#*=}'" ;; esac
done
case $action in
metadata) cat <<X
<?xml version="1.0" ?>
<resource-agent name="fence_bench" shortdesc="A bench" >
<parameters>
	<parameter name="action" unique="0" required="1"><content type="string" default="reboot" /></parameter>
	<parameter name="bench" unique="0" required="1"><content type="string" /></parameter>
	<parameter name="ipaddr" unique="0" required="0" deprecated="1"><content type="string" /></parameter>
	<parameter name="ip" unique="0" required="0" obsoletes="ipaddr"><content type="string" /></parameter>
	<parameter name="port" unique="0" required="1" deprecated="1"><content type="string" /></parameter>
	<parameter name="plug" unique="0" required="1" obsoletes="port"><content type="string" /></parameter>
	<parameter name="lie" unique="0" required="0"><content type="string" /></parameter>
	<parameter name="password" unique="0" required="0"><content type="string" /></parameter>
</parameters>
<actions>
	<action name="on" automatic="0"/> <action name="off" /> <action name="reboot" /> <action name="status" />
	<action name="monitor" /> <action name="metadata" />
</actions>
</resource-agent>
X
	;;
monitor) [ -d "$bench" ] || { echo "Unable to connect/login to fencing device" >&2; exit 1; } ;;
status) if [ "$(cat "$bench/machine.$plug" 2>/dev/null)" = off ]; then echo "Status: OFF"; exit 2; fi; echo "Status: ON" ;;
off|on|reboot) cd "$bench" || exit 1; echo "$action" >>"$bench/calls"; [ -n "$lie" ] || { echo "$action" >"$bench/new.$$"; mv "$bench/new.$$" "$bench/machine.$plug"; }; echo "Success: $action" ;;
*) echo "Failed: Unrecognised action" >&2; exit 1 ;;
esac
`

// calls is what the devices of a bench were asked to do.
func (b *bench) calls() string {
	text, _ := os.ReadFile(filepath.Join(b.dir, "calls"))
	return strings.Join(strings.Fields(string(text)), " ")
}

// testFencer is what every kind of device has to do. The device handles the node beta and no other.
func testFencer(t *testing.T, open func(t *testing.T) (stonith.Fencer, *bench), certain bool) {
	t.Run("fences", func(t *testing.T) {
		f, b := open(t)
		ev, err := f.Fence(t.Context(), "beta", stonith.Reset)
		if err != nil {
			t.Fatal(err)
		}
		if ev.Certain != certain || ev.Device == "" || len(ev.Seen) == 0 || ev.Took < 0 {
			t.Errorf("evidence %+v", ev)
		}
		if certain && b.power("beta") != "off" {
			t.Errorf("it says that it is certain, and beta is %s", b.power("beta"))
		}
		if ev.LeftOff {
			if _, err := f.Fence(t.Context(), "beta", stonith.On); err != nil || b.power("beta") != "on" {
				t.Errorf("on again: %s, %v", b.power("beta"), err)
			}
		}
	})
	t.Run("has a name", func(t *testing.T) {
		f, _ := open(t)
		if stonith.NameOf(f) == "STONITH device" {
			t.Errorf("no name")
		}
	})
	t.Run("check touches nothing", func(t *testing.T) {
		f, b := open(t)
		if err := f.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if b.power("beta") != "on" || b.calls() != "" {
			t.Errorf("beta is %s after a check, calls %q", b.power("beta"), b.calls())
		}
	})
	t.Run("says no for a stranger", func(t *testing.T) {
		f, b := open(t)
		if err := f.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := f.Fence(t.Context(), "gamma", stonith.Reset)
		if stonith.CauseOf(err) != stonith.CauseHost || b.power("gamma") != "on" {
			t.Errorf("gamma is %s, %v", b.power("gamma"), err)
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		f, _ := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		before := time.Now()
		if _, err := f.Fence(ctx, "beta", stonith.Reset); err == nil || time.Since(before) > time.Second {
			t.Errorf("%v after %v", err, time.Since(before))
		}
	})
	t.Run("twice at once", func(t *testing.T) {
		f, _ := open(t)
		var tasks sync.WaitGroup
		for range 2 {
			tasks.Go(func() {
				if _, err := f.Fence(t.Context(), "beta", stonith.Reset); err != nil {
					t.Error(err)
				}
			})
		}
		tasks.Wait()
	})
}

// runScript runs a helper script to its end.
func runScript(t testing.TB, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, path).CombinedOutput(); err != nil {
		t.Logf("%s: %v: %s", path, err, out)
	}
}
