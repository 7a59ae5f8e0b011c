package stonith_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal/require"
	"hapair/heartbeat/stonith"
)

// Debian's agents run here unchanged and all the way; what stands behind them is played: the ssh to the hypervisor and its virsh, the ipmitool.

// hypervisorSSH is an ssh that asks for a password and then runs the command here, where virsh is the one beside it.
const hypervisorSSH = `#!/bin/bash
for command; do :; done
printf "root@hypervisor's password: "
stty -echo
read -r password
stty echo
if [ "$password" != secret ]; then
	echo "Permission denied, please try again."
	exit 255
fi
PATH=${0%/*}:/usr/sbin:/usr/bin:/sbin:/bin exec bash -c "$command"
`

// hypervisorVirsh knows one machine.
const hypervisorVirsh = `#!/bin/bash
state=${0%/*}/state
case "$*" in
"list --all") printf ' Id   Name   State\n--------------------\n 1    beta   %s\n' "$(cat "$state")" ;;
"domstate beta") cat "$state" ;;
"start beta") echo running > "$state" ;;
"destroy beta") echo shut off > "$state" ;;
*) echo "error: failed to get domain" ;;
esac
`

func TestRealFenceVirshSwitches(t *testing.T) {
	require.Tool(t, "/usr/sbin/fence_virsh", "the fence agent for virtual machines")
	t.Parallel()
	b := realBench(t)
	tools := filepath.Join(b.dir, "hypervisor")
	for name, text := range map[string]string{"ssh": hypervisorSSH, "virsh": hypervisorVirsh, "state": "running\n"} {
		os.MkdirAll(tools, 0o755)
		if err := os.WriteFile(filepath.Join(tools, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	open := listener(t, func(c net.Conn) { c.Close() })
	_, port, _ := net.SplitHostPort(open.Addr().String())
	params := "ip=127.0.0.1 ipport=" + port + " username=root power_wait=0 stonith_status_sleep=1 ssh_path=" + tools + "/ssh password="
	f := b.open(t, stonith.Spec{Type: "fence_virsh", Params: params + "secret", Hosts: []string{"beta"}})
	if err := f.Check(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, b.log.text())
	}
	ev, err := f.Fence(t.Context(), "beta", stonith.Reset)
	if err != nil || !ev.Certain || !ev.LeftOff {
		t.Errorf("%+v, %v\n%s", ev, err, b.log.text())
	}
	if state, _ := os.ReadFile(filepath.Join(tools, "state")); string(state) != "shut off\n" {
		t.Errorf("the machine is %s", state)
	}
	if _, err := f.Fence(t.Context(), "beta", stonith.On); err != nil {
		t.Error(err)
	}
	if p, err := f.(stonith.Examiner).Power(t.Context(), "beta"); p != stonith.PowerOn || err != nil {
		t.Errorf("power %v, %v", p, err)
	}
	for _, tt := range []struct {
		password, host string
		cause          stonith.Cause
	}{
		{"wrong", "beta", stonith.CauseCredentials},
		{"secret", "gamma", stonith.CauseHost},
	} {
		err := b.open(t, stonith.Spec{Type: "fence_virsh", Params: params + tt.password + " login_timeout=3 shell_timeout=3", Hosts: []string{tt.host}}).Check(t.Context())
		if stonith.CauseOf(err) != tt.cause {
			t.Errorf("password %s, machine %s: %v, want %s", tt.password, tt.host, err, tt.cause)
		}
	}
}

// boardTool is an ipmitool that reaches one board, and lets one password in.
const boardTool = `#!/bin/sh
state=${0%/*}/state
case "$*" in
*"-H 10.0.0.9"*) ;;
*) echo "Error: Unable to establish IPMI v2 / RMCP+ session" >&2; exit 1 ;;
esac
case "$*$IPMI_PASSWORD" in
*secret*) ;;
*) echo "RAKP 2 HMAC is invalid" >&2; echo "Error: Unable to establish IPMI v2 / RMCP+ session" >&2; exit 1 ;;
esac
case "$*" in
*"chassis power status") echo "Chassis Power is $(cat "$state")" ;;
*"chassis power off") echo off > "$state"; echo "Chassis Power Control: Down/Off" ;;
*"chassis power on") echo on > "$state"; echo "Chassis Power Control: Up/On" ;;
*) exit 1 ;;
esac
`

func TestRealFenceIPMILanSwitches(t *testing.T) {
	require.Tool(t, "/usr/sbin/fence_ipmilan", "the fence agent for IPMI")
	t.Parallel()
	b := realBench(t)
	if _, err := os.Stat("/usr/bin/ipmitool"); err != nil {
		err := b.open(t, stonith.Spec{Type: "fence_ipmilan", Params: "ip=10.0.0.9 username=ha password=secret lanplus=1"}).Check(t.Context())
		if stonith.CauseOf(err) != stonith.CauseProgram {
			t.Errorf("without ipmitool: %v", err)
		}
	}
	tools := filepath.Join(b.dir, "board")
	for name, text := range map[string]string{"ipmitool": boardTool, "state": "on\n"} {
		os.MkdirAll(tools, 0o755)
		if err := os.WriteFile(filepath.Join(tools, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	params := " username=ha lanplus=1 power_wait=0 stonith_status_sleep=1 ipmitool_path=" + tools + "/ipmitool"
	f := b.open(t, stonith.Spec{Type: "fence_ipmilan", Params: "ip=10.0.0.9 password=secret" + params, Hosts: []string{"beta"}})
	if err := f.Check(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, b.log.text())
	}
	if ev, err := f.Fence(t.Context(), "beta", stonith.Reset); err != nil || !ev.Certain || !ev.LeftOff {
		t.Errorf("%+v, %v\n%s", ev, err, b.log.text())
	}
	if state, _ := os.ReadFile(filepath.Join(tools, "state")); string(state) != "off\n" {
		t.Errorf("the machine is %s", state)
	}
	for _, tt := range []struct {
		params string
		cause  stonith.Cause
		words  string
	}{
		{"password=secret", stonith.CauseParameter, "ip"},
		{"ip=10.0.0.8 password=secret", stonith.CauseUnreachable, "Unable to establish"},
		{"ip=10.0.0.9 password=wrong", stonith.CauseCredentials, "RAKP 2"},
	} {
		err := b.open(t, stonith.Spec{Type: "fence_ipmilan", Params: tt.params + params, Hosts: []string{"beta"}}).Check(t.Context())
		if stonith.CauseOf(err) != tt.cause || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), "=secret") {
			t.Errorf("%s: %v, want %s", tt.params, err, tt.cause)
		}
	}
}
