package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/rehearsal/require"
)

func TestMain(m *testing.M) {
	lab.Divert(map[string]lab.Program{"machines": machines, "fails": fails, "waits": waits})
	os.Exit(m.Run())
}

// requireNamespaces is the one place where a test of this package says that it cannot run here.
func requireNamespaces(t *testing.T) {
	t.Helper()
	err := lab.Enter(t.Context(), "fails", "nothing", func([]byte) {})
	if err != nil && err.Error() == "asked to fail with nothing" {
		return
	}
	require.Skip(t, "machines in namespaces", fmt.Sprint(err))
}

func fails(in json.RawMessage, _ io.Writer) error {
	var why string
	if err := json.Unmarshal(in, &why); err != nil {
		return err
	}
	if _, err := lab.Open(); err != nil {
		return err
	}
	return fmt.Errorf("asked to fail with %s", why)
}

func waits(_ json.RawMessage, out io.Writer) error {
	fmt.Fprintln(out, os.Getpid())
	select {}
}

// machines builds two machines and a host, and reports what they see of each other.
func machines(_ json.RawMessage, out io.Writer) error {
	l, err := lab.Open("/etc/passwd")
	if err != nil {
		return err
	}
	report := json.NewEncoder(out)
	sw, err := l.NewSwitch("lan")
	if err != nil {
		return err
	}
	cable := l.NewCable("serial")
	boot := func(i int) (*lab.Machine, error) {
		dir, err := l.Dir(fmt.Sprint("etc", i))
		if err != nil {
			return nil, err
		}
		return l.Boot(lab.MachineSpec{
			Name: fmt.Sprint("node", i), Cables: map[string]*lab.End{"/dev/ttyS0": cable.Ends[i-1]},
			Ports: []lab.Port{{Switch: sw, Device: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)},
				Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.9.8.%d/24", i))}}},
			Binds:   []lab.Bind{{Source: dir, Target: "/etc/ha.d"}},
			Sysctls: map[string]string{"net/ipv4/ip_default_ttl": fmt.Sprint(60 + i)},
		})
	}
	one, err := boot(1)
	if err != nil {
		return err
	}
	two, err := boot(2)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	say := func(m *lab.Machine, argv ...string) {
		r, err := m.Run(ctx, argv...)
		report.Encode(fmt.Sprint(strings.TrimSpace(r.Output), "|", r.Exit, "|", err))
	}
	say(one, "hostname")
	say(one, "cat", "/proc/sys/net/ipv4/ip_default_ttl")
	say(one, "sh", "-c", "ls -A /etc/ha.d /run; test -r /etc/passwd && echo passwd")
	say(one, "sh", "-c", "exit 3")
	say(one, "/no/such/program")
	say(two, "sh", "-c", "ls /sys/class/net | tr '\\n' ' '")
	say(one, "sh", "-c", "(timeout 5 head -n 1 /dev/ttyS0 > /run/heard) & echo $! > /run/reader; sleep 0.2")
	say(two, "sh", "-c", "echo across the wire > /dev/ttyS0")
	say(one, "sh", "-c", "while kill -0 $(cat /run/reader) 2>/dev/null; do sleep 0.05; done; cat /run/heard")
	host, err := l.NewHost("client", []lab.Port{{Switch: sw, Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.8.9/24")}}}, nil)
	if err != nil {
		return err
	}
	refused := func() string {
		var text string
		host.Do(func() error {
			_, err := net.DialTimeout("tcp", "10.9.8.1:9", time.Second)
			text = fmt.Sprint(err)
			return nil
		})
		return text
	}
	report.Encode(refused())
	one.Freeze()
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err = one.Run(short, "true")
	stop()
	report.Encode(fmt.Sprint("frozen: ", err))
	one.Thaw()
	say(one, "echo", "thawed")
	p, err := one.Start("/var/log/long", "sleep", "100")
	if err != nil {
		return err
	}
	one.KillAll()
	r, err := p.Wait(ctx)
	report.Encode(fmt.Sprint("killed: ", r.Exit, err))
	p, err = one.Start("/var/log/long", "sleep", "100")
	if err != nil {
		return err
	}
	one.PowerOff()
	r, err = p.Wait(ctx)
	report.Encode(fmt.Sprint("cut: ", r.Exit, err, one.Alive()))
	report.Encode(refused())
	if _, err = boot(1); err != nil {
		return err
	}
	report.Encode(refused())
	return nil
}

func TestMachines(t *testing.T) {
	requireNamespaces(t)
	want := []string{
		"node1|0|<nil>", "61|0|<nil>", "/etc/ha.d:\n\n/run:\nlock\npasswd|0|<nil>", "|3|<nil>",
		`|127|run /no/such/program on node1: exec: "/no/such/program": stat /no/such/program: no such file or directory`,
		"eth0 lo|0|<nil>", "|0|<nil>", "|0|<nil>", "across the wire|0|<nil>",
		"dial tcp 10.9.8.1:9: connect: connection refused",
		"frozen: run true on node1: context deadline exceeded", "thawed|0|<nil>", "killed: 137 <nil>",
		"cut: 137 node1 lost power false", "dial tcp 10.9.8.1:9: i/o timeout", "dial tcp 10.9.8.1:9: connect: connection refused",
	}
	var got []string
	err := lab.Enter(t.Context(), "machines", nil, func(line []byte) {
		var s string
		json.Unmarshal(line, &s)
		got = append(got, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("line %d: got %q, want %q", i, g, w)
		}
	}
}

func TestEnterReportsFailure(t *testing.T) {
	requireNamespaces(t)
	err := lab.Enter(t.Context(), "fails", "a reason", func([]byte) {})
	if err == nil || err.Error() != "asked to fail with a reason" {
		t.Errorf("got %v", err)
	}
	if err := lab.Enter(t.Context(), "unknown", nil, func([]byte) {}); err == nil || !strings.Contains(err.Error(), "holds no rehearsal program") {
		t.Errorf("unknown program: got %v", err)
	}
}

// TestEnterEndsEverything cancels while the laboratory runs.
func TestEnterEndsEverything(t *testing.T) {
	requireNamespaces(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := lab.Enter(ctx, "waits", nil, func(line []byte) {
		if string(line) != "1" {
			t.Errorf("the laboratory is not process 1 but %s", line)
		}
		cancel()
	})
	if err != context.Canceled {
		t.Errorf("got %v", err)
	}
}
