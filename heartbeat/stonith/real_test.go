package stonith_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/require"
	"hapair/heartbeat/stonith"
)

// realBench looks for devices where the distribution puts them.
func realBench(t *testing.T) *bench {
	b := newBench(t)
	b.env.Root = ""
	b.env.Timeout = 30 * time.Second
	return b
}

func TestRealFenceDummy(t *testing.T) {
	require.Tool(t, "/usr/sbin/fence_dummy", "a real fence agent")
	b := realBench(t)
	status := filepath.Join(b.dir, "status")
	os.WriteFile(status, []byte("on"), 0o644)
	f := b.open(t, stonith.Spec{Type: "fence_dummy", Params: "status_file=" + status + " power_wait=0 stonith_status_sleep=1", Hosts: []string{"beta"}})
	if err := f.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	ev, err := f.Fence(t.Context(), "beta", stonith.Reset)
	if err != nil || !ev.Certain || !ev.LeftOff || strings.Join(ev.Seen, "; ") != "off: Success: Powered OFF; status: off" {
		t.Errorf("%+v, %v\n%s", ev, err, b.log.text())
	}
	if text, _ := os.ReadFile(status); string(text) != "off" {
		t.Errorf("its machine is %s", text)
	}
	if _, err := f.Fence(t.Context(), "beta", stonith.On); err != nil {
		t.Error(err)
	}
	if p, err := f.(stonith.Examiner).Power(t.Context(), "beta"); p != stonith.PowerOn || err != nil {
		t.Errorf("power %v, %v", p, err)
	}
	wrong := b.open(t, stonith.Spec{Type: "fence_dummy", Params: "status_fiel=x"})
	if err := wrong.Check(t.Context()); stonith.CauseOf(err) != stonith.CauseUnknown || !strings.Contains(err.Error(), "did you mean status_file?") {
		t.Errorf("a misspelt parameter: %v", err)
	}
}

// TestRealFenceVirsh drives the agent for virtual machines as far as it goes without a hypervisor: what it says of itself, what is
// missing, a machine that does not answer, and one that answers but does not let it in.
func TestRealFenceVirsh(t *testing.T) {
	require.Tool(t, "/usr/sbin/fence_virsh", "the fence agent for virtual machines")
	require.Tool(t, "ssh", "the fence agent for virtual machines")
	b := realBench(t)
	closed, port := listener(t, nil), ""
	closed.Close()
	_, port, _ = net.SplitHostPort(closed.Addr().String())
	open := listener(t, func(c net.Conn) {
		c.Write([]byte("no ssh here\r\n"))
		c.Close()
	})
	_, openPort, _ := net.SplitHostPort(open.Addr().String())
	for _, tt := range []struct {
		params string
		cause  stonith.Cause
		words  string
	}{
		{"", stonith.CauseParameter, "parameter ip is missing"},
		{"ip=127.0.0.1", stonith.CauseParameter, "parameter username is missing"},
		{"ipaddr=127.0.0.1 login=root", stonith.CauseParameter, "password, password script or identity file"},
		{"ip=127.0.0.1 username=root password=x login_timeout=2 ipport=" + port, stonith.CauseUnreachable, "connection refused"},
		{"ip=127.0.0.1 username=root password=x login_timeout=2 ipport=" + openPort, stonith.CauseCredentials, "answers"},
	} {
		f := b.open(t, stonith.Spec{Type: "fence_virsh", Params: tt.params, Hosts: []string{"beta"}})
		err := f.Check(t.Context())
		if stonith.CauseOf(err) != tt.cause || err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%q: %v\nwant %s with %q", tt.params, err, tt.cause, tt.words)
		}
		if err != nil && strings.Contains(err.Error(), "password=x") {
			t.Errorf("the password is shown: %v", err)
		}
	}
}

func listener(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if serve != nil {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serve(c)
			}
		}()
	}
	return l
}

// TestRealAgentsAllSpeak reads what every installed agent of a sample says of itself.
func TestRealAgentsAllSpeak(t *testing.T) {
	require.Tool(t, "/usr/sbin/fence_ipmilan", "the metadata of real fence agents")
	b := realBench(t)
	for _, typ := range []string{"fence_ipmilan", "fence_apc_snmp", "fence_sbd", "fence_scsi", "fence_pve", "fence_kdump"} {
		if _, err := os.Stat("/usr/sbin/" + typ); err != nil {
			continue
		}
		err := b.open(t, stonith.Spec{Type: typ, Params: "nonsense=1"}).Check(t.Context())
		if stonith.CauseOf(err) != stonith.CauseUnknown {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestRealExternalPlugins(t *testing.T) {
	require.Tool(t, "/usr/lib/stonith/plugins/external/ipmi", "cluster-glue's external plugins")
	b := realBench(t)
	tools := filepath.Join(b.dir, "tools")
	os.Mkdir(tools, 0o755)
	ipmitool := `#!/bin/sh
case "$*" in
*"-H 10.0.0.8"*) echo "Error: Unable to establish IPMI v2 / RMCP+ session"; exit 1 ;;
*"-P wrong"*) echo "Activate Session error: invalid password"; exit 1 ;;
*"power status") echo "Chassis Power is on" ;;
*"power reset") echo reset >` + b.dir + `/done; echo "Chassis Power Control: Reset" ;;
*) exit 1 ;;
esac
`
	os.WriteFile(filepath.Join(tools, "ipmitool"), []byte(ipmitool), 0o755)
	without := b.open(t, stonith.Spec{Type: "external/ipmi", Params: "beta 10.0.0.9 admin secret lan"})
	if _, err := os.Stat("/usr/bin/ipmitool"); err != nil {
		if err := without.Check(t.Context()); stonith.CauseOf(err) != stonith.CauseProgram {
			t.Errorf("without ipmitool: %v\n%s", err, b.log.text())
		}
	}
	b.env.Environ = []string{"PATH=" + tools + ":/usr/sbin:/usr/bin:/sbin:/bin"}
	good := b.open(t, stonith.Spec{Type: "external/ipmi", Params: "beta 10.0.0.9 admin secret lan", Hosts: []string{"beta"}})
	if err := good.Check(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, b.log.text())
	}
	if ev, err := good.Fence(t.Context(), "beta", stonith.Reset); err != nil || !ev.Certain {
		t.Errorf("%+v, %v", ev, err)
	}
	if text, _ := os.ReadFile(filepath.Join(b.dir, "done")); string(text) != "reset\n" {
		t.Errorf("it did %q", text)
	}
	for _, tt := range []struct {
		params string
		cause  stonith.Cause
	}{
		{"beta 10.0.0.8 admin secret lan", stonith.CauseUnreachable},
		{"beta 10.0.0.9 admin wrong lan", stonith.CauseCredentials},
		{"beta 10.0.0.9 admin", stonith.CauseParameter},
		{"gamma 10.0.0.9 admin secret lan", stonith.CauseHost},
	} {
		err := b.open(t, stonith.Spec{Type: "external/ipmi", Params: tt.params, Hosts: []string{"beta"}}).Check(t.Context())
		if stonith.CauseOf(err) != tt.cause || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", tt.params, err)
		}
	}
	all := stonith.Types(b.env)
	for _, typ := range all {
		if name, ok := strings.CutPrefix(typ, "external/"); ok && name != "ssh" {
			err := b.open(t, stonith.Spec{Type: typ}).Check(t.Context())
			if c := stonith.CauseOf(err); c != stonith.CauseParameter && c != stonith.CauseProgram {
				t.Errorf("%s without parameters: %v", typ, err)
			}
		}
	}
}

func TestRealCompiledPlugins(t *testing.T) {
	require.Tool(t, "/usr/sbin/stonith", "cluster-glue's compiled plugins")
	b := realBench(t)
	f := b.open(t, stonith.Spec{Type: "apcmaster", Params: "10.0.0.9"})
	err := f.Check(t.Context())
	if stonith.CauseOf(err) != stonith.CauseParameter || !strings.Contains(err.Error(), "in this order: ipaddr login password") {
		t.Errorf("%v\n%s", err, b.log.text())
	}
}

func TestRealMeatclient(t *testing.T) {
	require.Root(t, "meatclient, which speaks to /run")
	require.Tool(t, "/usr/sbin/meatclient", "meatclient")
	b := realBench(t)
	b.env.Run = "/run"
	node := "hapair-test-node"
	f := b.open(t, stonith.Spec{Type: "meatware", Params: node})
	answer := make(chan error, 1)
	go func() {
		_, err := f.Fence(t.Context(), node, stonith.Reset)
		answer <- err
	}()
	waitFIFO(t, "/run/meatware."+node).Close()
	b.script(t, "client", "echo y | exec /usr/sbin/meatclient -w -c "+node, 0o755)
	runScript(t, filepath.Join(b.dir, "stonith.d", "client"))
	select {
	case err := <-answer:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("meatclient's answer was not read")
	}
}
