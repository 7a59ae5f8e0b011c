package rehearsal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/rehearsal"
)

// directory writes a configuration directory.
func directory(t *testing.T, haCF, haresources string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"ha.cf": haCF, "haresources": haresources, "authkeys": "auth 1\n1 sha1 a-key-for-this-test\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const times = "keepalive 1\ndeadtime 5\ninitdead 10\nauto_failback off\n"

func TestLayout(t *testing.T) {
	tests := []struct{ name, haCF, haresources, want string }{
		{"one interface, everything by default", "node alpha beta\nbcast eth0\n" + times, "alpha 10.0.0.100\n", `
nodes [alpha beta] port 694 keepalive 1s deadtime 5s initdead 10s failback off
eth0 heartbeat=true
  10.0.0.0/24 nodes [10.0.0.254 10.0.0.253] client 10.0.0.250
service 10.0.0.100 on eth0 of alpha
`},
		{"every form of address", "node alpha beta\nucast eth1 10.9.0.1\nucast eth1 10.9.0.2\nserial /dev/ttyS0\n" + times,
			"alpha IPaddr::10.0.0.100/255.255.254.0/eth0:1 apache2\nbeta IPaddr2::10.9.0.7/24 IPv6addr::2001:db8::1/64/eth0 Filesystem::/dev/sdb1::/data\n", `
nodes [alpha beta] port 694 keepalive 1s deadtime 5s initdead 10s failback off
eth0 heartbeat=false
  10.0.0.0/23 nodes [10.0.1.254 10.0.1.253] client 10.0.1.250
  2001:db8::/64 nodes [2001:db8::ffff:ffff:ffff:fffe 2001:db8::ffff:ffff:ffff:fffd] client 2001:db8::ffff:ffff:ffff:fffa
eth1 heartbeat=true
  10.9.0.0/24 nodes [10.9.0.1 10.9.0.2] client 10.9.0.250
/dev/ttyS0
service 10.0.0.100 on eth0 of alpha
service 10.9.0.7 on eth1 of beta
service 2001:db8::1 on eth0 of beta
script apache2
script Filesystem::/dev/sdb1::/data
`},
		{"one unicast line, ping hosts, a host address as network", "node alpha beta\nucast eth0 10.0.0.2\nping 10.0.0.254 gateway\nping_group far 192.0.2.1\n" + times, "alpha 10.0.0.100/32/eth0\n", `
nodes [alpha beta] port 694 keepalive 1s deadtime 5s initdead 10s failback off
eth0 heartbeat=true
  10.0.0.0/24 nodes [10.0.0.253 10.0.0.2] client 10.0.0.250
service 10.0.0.100 on eth0 of alpha
ping 10.0.0.254 is 10.0.0.254 on eth0
ping gateway is 10.0.0.249 on eth0
ping 192.0.2.1 is 192.0.2.1 on eth0
`},
		{"two networks on one wire", "node alpha beta\nucast eth0 10.0.0.1\nucast eth0 10.7.0.2\n" + times, "", `
nodes [alpha beta] port 694 keepalive 1s deadtime 5s initdead 10s failback off
eth0 heartbeat=true
  10.0.0.0/24 nodes [10.0.0.1 10.0.0.253] client 10.0.0.250
  10.7.0.0/24 nodes [10.7.0.254 10.7.0.2] client 10.7.0.250
`},
		{"names of their own", "node alpha beta\nucast eth0 alpha-hb\nucast eth0 beta-hb\nucast6 eth1 fd00::2\nucast eth1 BETA\n" + times, "", `
nodes [alpha beta] port 694 keepalive 1s deadtime 5s initdead 10s failback off
eth0 heartbeat=true
  10.231.1.0/24 nodes [10.231.1.254 10.231.1.253] client 10.231.1.250
eth1 heartbeat=true
  fd00::/64 nodes [fd00::ffff:ffff:ffff:fffe fd00::2] client fd00::ffff:ffff:ffff:fffa
host 10.231.1.254 alpha-hb
host 10.231.1.253 beta-hb
`},
		{"no addresses, no subnets", "node alpha beta\nmcast eth0 239.1.1.1 700 1 0\nbcast eth1\n" + times, "", `
nodes [alpha beta] port 694 keepalive 1s deadtime 5s initdead 10s failback off
eth0 heartbeat=true
  10.231.1.0/24 nodes [10.231.1.254 10.231.1.253] client 10.231.1.250
eth1 heartbeat=true
  10.231.2.0/24 nodes [10.231.2.254 10.231.2.253] client 10.231.2.250
`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := rehearsal.Layout(directory(t, test.haCF, test.haresources))
			if err != nil {
				t.Fatal(err)
			}
			if got != strings.TrimPrefix(test.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, test.want)
			}
		})
	}
}

func TestLayoutRefuses(t *testing.T) {
	tests := []struct{ name, haCF, haresources, want string }{
		{"one node", "node alpha\nbcast eth0\n" + times, "", "names 1 nodes, a rehearsal needs two"},
		{"a fault", "node alpha beta\nbcast eth0\nundport 700\n" + times, "", "ha.cf:3:1: error: "},
		{"three unicast addresses", "node alpha beta\nucast eth0 10.0.0.1\nucast eth0 10.0.0.2\nucast eth0 10.0.0.3\n" + times, "", "has 3 addresses"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := rehearsal.Layout(directory(t, test.haCF, test.haresources))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
	if _, err := rehearsal.Layout("/no/such/directory"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestCopies(t *testing.T) {
	dir := directory(t, "node alpha beta\nucast eth0 10.0.0.2 # to beta\nlogfile /var/log/y\nstonith_host * ssh beta\nwatchdog /dev/watchdog\n"+
		"respawn hacluster /usr/lib/heartbeat/ipfail\nrespawn root /opt/tool\n"+times,
		"alpha 10.0.0.100 ocf:heartbeat:Dummy::state=/x apache2 VirtualMAC::eth0\n")
	to := [2]string{t.TempDir(), t.TempDir()}
	notices, err := rehearsal.Copies(dir, to, false, true)
	if err != nil {
		t.Fatal(err)
	}
	wantNotices := []string{
		"apache2 is played by a stand-in that only remembers whether it was started (--scripts real runs the real one)",
		"ha.cf names one address on eth0: taken as that of beta; the copy for beta names the other one",
		"left out of ha.cf: respawn root /opt/tool (the programs of the real machine are not started by a rehearsal)",
		"left out of ha.cf: stonith_host * ssh beta (no real machine is reset by a rehearsal)",
		"left out of ha.cf: watchdog /dev/watchdog (the machines of a rehearsal have no watchdog)",
		"ocf:heartbeat:Dummy::state=/x is played by a stand-in that only remembers whether it was started (--scripts real runs the real one)",
	}
	if strings.Join(notices, "\n") != strings.Join(wantNotices, "\n") {
		t.Errorf("notices:\n%s", strings.Join(notices, "\n"))
	}
	want := [2]string{
		"logfile /var/log/x\nnode alpha beta\nucast eth0 10.0.0.2 # to beta\nrespawn hacluster /usr/lib/heartbeat/ipfail\n" + times,
		"logfile /var/log/x\nnode alpha beta\nucast eth0 10.0.0.254\nrespawn hacluster /usr/lib/heartbeat/ipfail\n" + times,
	}
	for i, d := range to {
		text, err := os.ReadFile(filepath.Join(d, "ha.cf"))
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != want[i] {
			t.Errorf("ha.cf of node %d:\n%s\nwant\n%s", i, text, want[i])
		}
		text, _ = os.ReadFile(filepath.Join(d, "haresources"))
		if got, want := string(text), "alpha 10.0.0.100 standin-ocf-heartbeat-Dummy::state=/x apache2 VirtualMAC::eth0 rehearsed-failure\n"; got != want {
			t.Errorf("haresources of node %d: got %q, want %q", i, got, want)
		}
		for _, name := range []string{"standin-ocf-heartbeat-Dummy", "apache2", "rehearsed-failure"} {
			if info, err := os.Stat(filepath.Join(d, "resource.d", name)); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("stand-in %s of node %d: %v %v", name, i, info, err)
			}
		}
		if _, err := os.Stat(filepath.Join(d, "resource.d", "VirtualMAC")); (err == nil) != (i == 1) {
			t.Errorf("the stand-in for what only this program has, on node %d: %v", i, err)
		}
		if info, err := os.Stat(filepath.Join(d, "authkeys")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("authkeys of node %d: %v %v", i, info, err)
		}
	}
}

// TestCopiesName: the second node's copy names the first one, however the line is written.
func TestCopiesName(t *testing.T) {
	dir := directory(t, "node alpha beta\nUcast eth0, peer\nucast eth1,10.1.0.2\n"+times, "alpha 10.0.0.100\n")
	to := [2]string{t.TempDir(), t.TempDir()}
	if _, err := rehearsal.Copies(dir, to, false, false); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(to[1], "ha.cf"))
	if err != nil || !strings.Contains(string(text), "ucast eth0 10.0.0.254\nucast eth1 10.1.0.254\n") {
		t.Errorf("%v, ha.cf of beta:\n%s", err, text)
	}
}

func TestReplaceDirectives(t *testing.T) {
	got := rehearsal.ReplaceDirectives("# deadtime\nkeepalive 1\n deadtime 10 # long\nnode a b", map[string]string{"deadtime": "200ms", "keepalive": ""})
	if want := "deadtime 200ms\n# deadtime\nnode a b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
