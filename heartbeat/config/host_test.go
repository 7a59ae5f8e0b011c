package config_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hapair/haresources"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/rehearsal/require"
)

// directory writes three good files, some of them replaced, and returns where they are.
func directory(t *testing.T, replace map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"ha.cf":       "keepalive 1\ndeadtime 10\nbcast eth1\nucast eth0 10.20.0.2\nauto_failback on\nnode alpha beta\n",
		"haresources": "alpha 10.20.0.100 apache2\n",
		"authkeys":    "auth 1\n1 sha1 Kv9x-fixture-2f81c7d4\n",
	}
	for name, text := range replace {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// machine is alpha: eth0 on 10.20.0.0/24, eth1 on 192.168.7.0/24, eth2 down, eth3 without IPv4.
func machine() config.Machine {
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, s := range list {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	return config.Machine{
		NodeName: func() (string, error) { return "Alpha", nil },
		Interfaces: func() ([]config.Interface, error) {
			return []config.Interface{
				{Name: "lo", Up: true, Networks: prefixes("127.0.0.1/8", "::1/128")},
				{Name: "eth0", Up: true, Networks: prefixes("10.20.0.1/24", "fe80::1/64")},
				{Name: "eth1", Up: true, Networks: prefixes("192.168.7.1/24")},
				{Name: "eth2", Networks: prefixes("192.168.8.1/24")},
				{Name: "eth3", Up: true, Networks: prefixes("2001:db8::1/64")},
			}, nil
		},
		User: func(name string) error {
			if name == "root" {
				return nil
			}
			return errors.New("unknown")
		},
	}
}

// TestCheckHost reads files on the machine above and looks for one fault, or for none.
func TestCheckHost(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ha := func(lines string) map[string]string {
		return map[string]string{"ha.cf": "auto_failback on\nnode alpha beta\n" + lines + "\n"}
	}
	resources := func(lines string) map[string]string { return map[string]string{"haresources": lines + "\n"} }
	for _, tt := range []struct {
		name     string
		files    map[string]string
		severity fault.Severity
		want     string // in a fault's text; "" for no faults
	}{
		{name: "clean"},
		{"interface missing", ha("bcast eth9"), fault.Error, `ha.cf:3:7: error: bcast eth9: this machine has no interface "eth9" (did you mean eth0?)`},
		{"interface unlike all", ha("bcast wan"), fault.Error, "(there are eth0, eth1, eth2, eth3)"},
		{"interface down", ha("bcast eth2"), fault.Warning, "bcast eth2: the interface eth2 is down (ip link set eth2 up)"},
		{"loopback", ha("bcast lo"), fault.Warning, "lo leads nowhere"},
		{"no IPv4", ha("bcast eth3"), fault.Warning, "eth3 has no IPv4 address"},
		{"IPv6 link", ha("ucast6 eth3 2001:db8::2"), 0, ""},
		{"link-local", ha("ucast6 eth3 fe80::2%eth3"), 0, ""},
		{"peer elsewhere", ha("ucast eth1 10.20.0.2"), fault.Warning, "10.20.0.2 is not on a network of eth1, and a router between the nodes is one more thing that can fail (the networks of eth1 are 192.168.7.0/24)"},
		{"only itself", ha("ucast eth0 10.20.0.1"), fault.Error, "each ucast link names an address of this machine itself"},
		{"both", ha("ucast eth0 10.20.0.1\nucast eth0 10.20.0.2"), 0, ""},
		{"serial missing", ha("bcast eth0\nserial /dev/ttyNone"), fault.Error, "ha.cf:4:8: error: serial /dev/ttyNone: no such file or directory"},
		{"serial no device", ha("bcast eth0\nserial " + plain), fault.Error, "not a character device"},
		{"serial there", ha("bcast eth0\nserial /dev/null"), 0, ""},
		{"watchdog missing", ha("bcast eth0\nwatchdog /dev/watchdogNone"), fault.Warning, "modprobe softdog"},
		{"fencing file", ha("bcast eth0\nstonith null /nonexistent/null.cfg"), fault.Error, "stonith null /nonexistent/null.cfg: no such file"},
		{"client's user", ha("bcast eth0\nrespawn cluster /bin/sh"), fault.Error, `there is no user "cluster" to run /bin/sh`},
		{"client's program", ha("bcast eth0\nrespawn root /nonexistent/guard"), fault.Error, "/nonexistent/guard: no such file or directory"},
		{"client's mode", ha("bcast eth0\nfailfast root " + plain), fault.Error, "(chmod +x " + plain + ")"},
		{"client", ha("bcast eth0\nrespawn root /bin/sh -c true"), 0, ""},
		{"address's interface", resources("alpha 10.20.0.100/24/eth7:0"), fault.Error, `haresources:1:7: error: 10.20.0.100/24/eth7:0: this machine has no interface "eth7" (did you mean eth0?)`},
		{"address with all", resources("alpha IPaddr2::10.20.0.100/24/eth0:vip/10.20.0.255"), 0, ""},
		{"address with mask", resources("alpha 10.20.0.100/255.255.255.0"), 0, ""},
		{"address off link", resources("alpha 10.99.0.100"), fault.Warning, "no interface of this machine is on a network that contains 10.99.0.100 (write 10.99.0.100/PREFIX/INTERFACE)"},
		{"other class", resources("alpha 10.20.0.100 lsb:sshd"), 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, faults := config.Load(directory(t, tt.files))
			if err := onlyForeign(faults); err != nil {
				t.Fatal(err)
			}
			c.Node, c.NodeSource = "alpha", "uname -n"
			got := c.CheckHost(machine())
			if tt.want == "" {
				if len(got) > 0 {
					t.Errorf("got %v, want nothing", got)
				}
				return
			}
			if !slices.ContainsFunc(got, func(f fault.Fault) bool { return f.Severity == tt.severity && strings.Contains(f.Error(), tt.want) }) {
				t.Errorf("got %v, want %s %s", got, tt.severity, tt.want)
			}
		})
	}
}

// onlyForeign is the first Error but that the machine of the test is not a node.
func onlyForeign(faults fault.List) error {
	for _, f := range faults {
		if f.Severity == fault.Error && !strings.Contains(f.Message, "which is not among the nodes") {
			return f
		}
	}
	return nil
}

// TestCheckHostAsOther checks another node's files: nothing of this machine is compared but owners and modes.
func TestCheckHostAsOther(t *testing.T) {
	c, faults := config.Load(directory(t, map[string]string{"haresources": "beta 10.99.0.1/24/eth9\n"}), config.WithNode("BETA"))
	if err := faults.Err(); err != nil || c.Node != "beta" || c.Peer != "alpha" {
		t.Fatalf("node %s, peer %s: %v", c.Node, c.Peer, err)
	}
	got := c.CheckHost(machine())
	if len(got) != 1 || got[0].Severity != fault.Notice || !strings.Contains(got[0].Message, "checked as node beta on alpha") {
		t.Errorf("got %v", got)
	}
}

// TestCheckHostName notes that nodeinfo says something else than uname.
func TestCheckHostName(t *testing.T) {
	c, faults := config.Load(directory(t, map[string]string{"nodeinfo": "beta\n"}))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	got := c.CheckHost(machine())
	if len(got) != 1 || !strings.HasSuffix(got[0].File, "/nodeinfo") || !strings.Contains(got[0].Message, `uname -n prints "alpha"`) {
		t.Errorf("got %v", got)
	}
	m := machine()
	m.NodeName = func() (string, error) { return "", errors.New("no idea") }
	if got := c.CheckHost(m); len(got) != 1 || !strings.Contains(got[0].Message, "no idea") {
		t.Errorf("got %v", got)
	}
}

// TestCheckHostScripts places what the caller finds about a resource at the resource.
func TestCheckHostScripts(t *testing.T) {
	c, _ := config.Load(directory(t, nil), config.WithNode("alpha"))
	m := machine()
	m.Script = func(r haresources.Resource) fault.List {
		if r.Name != "apache2" {
			return nil
		}
		return fault.List{{Severity: fault.Error, Message: "no script apache2"}, {File: "/etc/ha.d/resource.d/apache2", Message: "odd"}}
	}
	got := c.CheckHost(m)
	got.Sort()
	want := []string{"/etc/ha.d/resource.d/apache2: notice: odd", filepath.Join(c.Dir, "haresources") + ":1:19: error: no script apache2"}
	if len(got) != 2 || got[0].Error() != want[0] || got[1].Error() != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestPermissions names the component that others can change, once.
func TestPermissions(t *testing.T) {
	dir := directory(t, nil)
	c, _ := config.Load(dir, config.WithNode("alpha"))
	check := func(name string, want ...string) {
		t.Helper()
		var got []string
		for _, f := range c.CheckHost(machine()) {
			if rest, found := strings.CutPrefix(f.Error(), dir); found {
				got = append(got, rest)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	change := func(name string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	const runs = ", and thereby make this machine run anything as root"
	check("good")
	change("ha.cf", 0o664)
	check("group", "/ha.cf: warning: mode 0664: its group can change it"+runs+" (chmod g-w "+dir+"/ha.cf)")
	change("ha.cf", 0o600)
	change("", 0o777)
	check("directory", ": warning: mode 0777: everybody can change it"+runs+" (chmod o-w "+dir+")")
	change("", 0o777|os.ModeSticky)
	check("sticky")
	change("", 0o755)
	require.Root(t, "the check of a file's owner")
	if err := os.Chown(filepath.Join(dir, "authkeys"), 12345, 0); err != nil {
		t.Fatal(err)
	}
	check("owner", "/authkeys: warning: owned by user 12345, who can thereby make this machine run anything as root (chown root "+dir+"/authkeys)")
}

// TestRealMachine runs the check against whatever machine this is: it must not fail in itself.
func TestRealMachine(t *testing.T) {
	c, _ := config.Load(directory(t, map[string]string{"ha.cf": "auto_failback on\nnode alpha beta\nbcast no-such-nic\n"}))
	got := c.CheckHost(config.Machine{})
	if !slices.ContainsFunc(got, func(f fault.Fault) bool { return strings.Contains(f.Message, "no interface") }) {
		t.Errorf("got %v, want a missing interface", got)
	}
}
