package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// twoNetworks is a machine with a service network, a cable, a container bridge, a serial line and a gateway.
func twoNetworks() survey {
	at := func(name, kind, prefix string) host.Interface {
		return host.Interface{Name: name, Type: kind, Up: true, Carrier: true, Broadcasts: kind == "ether",
			Addrs: []host.InterfaceAddr{{Prefix: netip.MustParsePrefix(prefix)}}}
	}
	return survey{
		node: "alpha", watchdog: "/dev/watchdog", systemd: true, gateways: []netip.Addr{netip.MustParseAddr("10.0.0.254")},
		interfaces: []host.Interface{at("lo", "loopback", "127.0.0.1/8"), at("docker0", "ether", "172.17.0.1/16"), at("eth0", "ether", "10.0.0.1/24"), at("eth1", "ether", "10.9.0.1/30")},
		serials:    []serialPort{{"/dev/ttyS0", true}, {"/dev/ttyS1", false}},
	}
}

// runInit is `heartbeat init` on a machine.
func runInit(t *testing.T, in initAnswers, s survey, typed string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	a := &app{out: &b, err: &b, dirs: directories{config: "/etc/ha.d"}}
	err = a.init(in, s, strings.NewReader(typed), typed != "")
	return b.String(), err
}

// written reads what init wrote, as a node, and wants no more than notices.
func written(t *testing.T, dir, node string) *config.Config {
	t.Helper()
	c, faults := config.Load(dir, config.WithNode(node))
	for _, f := range faults {
		if f.Severity > fault.Notice {
			t.Error(f)
		}
	}
	return c
}

// TestInitBothForms: what is written fits both nodes, the two forms mean the same, and the key is fresh and nobody else's.
func TestInitBothForms(t *testing.T) {
	keys := map[string]bool{}
	var first *config.Config
	for _, classic := range []bool{false, true} {
		in := initAnswers{peer: "beta", peerAddress: []string{"10.0.0.2"}, address: "10.0.0.100/24", service: "systemd:nginx", output: t.TempDir(), classic: classic, yes: true}
		out, err := runInit(t, in, twoNetworks(), "")
		var e *exit
		if err != nil && !(errors.As(err, &e) && strings.Contains(err.Error(), "marked as an error")) { // the check is of the machine that this test runs on
			t.Fatalf("%v\n%s", err, out)
		}
		for _, node := range []string{"alpha", "beta"} {
			c := written(t, in.output, node)
			if first == nil {
				first = c
			}
			if c.Node == first.Node {
				for i := range c.Table.Groups { // haresources calls a group by its first resource
					c.Table.Groups[i].Name = first.Table.Groups[i].Name
				}
				for _, d := range config.Differences(first, c) {
					if !strings.HasPrefix(d, "the raw value") {
						t.Errorf("classic %v: %s", classic, d)
					}
				}
			}
		}
		info, err := os.Stat(filepath.Join(in.output, "authkeys"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("authkeys: %v, %v", info, err)
		}
		text, _ := os.ReadFile(filepath.Join(in.output, "authkeys"))
		secret := strings.Fields(string(text))[4]
		if keys[secret] || len(secret) != 64 {
			t.Errorf("the key %q is not fresh", secret)
		}
		keys[secret] = true
		for _, want := range []string{"scp -p " + in.output, "10.0.0.2:/etc/ha.d/", "systemctl enable --now heartbeat", "heartbeat status"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not among the next steps:\n%s", want, out)
			}
		}
	}
	var links []string
	for _, l := range first.Links {
		links = append(links, l.ID)
	}
	if got := strings.Join(links, ", "); got != "ucast eth0 10.0.0.1, ucast eth0 10.0.0.2, bcast eth1, serial /dev/ttyS0" {
		t.Errorf("links %s", got)
	}
	if len(first.Pings) != 1 || first.Pings[0].Name != "10.0.0.254" || first.Watchdog != "" {
		t.Errorf("pings %v, watchdog %q", first.Pings, first.Watchdog)
	}
}

// TestInitAsks: a person at a terminal is asked, and asked again after a bad answer.
func TestInitAsks(t *testing.T) {
	in := initAnswers{output: filepath.Join(t.TempDir(), "new")}
	out, _ := runInit(t, in, twoNetworks(), "alpha\nbeta\n10.7.0.2\n10.0.0.2, 10.9.0.2\nx\n10.0.0.100/24\neth7\n\nsystemd:nginx\n")
	for _, want := range []string{"alpha is this machine", "no network of this machine contains 10.7.0.2", `no interface "eth7": there are docker0, eth0, eth1`, "[eth0]:"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q was not said:\n%s", want, out)
		}
	}
	c := written(t, in.output, "alpha")
	if len(c.Links) != 5 || len(c.Table.Groups) != 1 || c.Table.Groups[0].Name != "nginx" || c.Table.Groups[0].Resources[0].Spec != "10.0.0.100/24/eth0" {
		t.Errorf("%+v", c)
	}
	if _, err := runInit(t, initAnswers{output: t.TempDir()}, twoNetworks(), "beta\n"); err == nil {
		t.Error("a terminal that went away was no error")
	}
}

// TestInitNeverOverwrites: what is there stays, and with --force it is kept under another name.
func TestInitNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ha.cf"), []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := initAnswers{peer: "beta", peerAddress: []string{"10.0.0.2"}, address: "10.0.0.100/24", output: dir, yes: true}
	if _, err := runInit(t, in, twoNetworks(), ""); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "ha.cf")) {
		t.Errorf("not refused: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("written all the same: %v", entries)
	}
	in.force = true
	runInit(t, in, twoNetworks(), "")
	written(t, dir, "beta")
	if text, err := os.ReadFile(filepath.Join(dir, "ha.cf.old")); err != nil || string(text) != "mine\n" {
		t.Errorf("the old file: %q, %v", text, err)
	}
}

// TestInitRefuses: each answer that cannot be is refused before anything is written, with what would be right.
func TestInitRefuses(t *testing.T) {
	good := initAnswers{peer: "beta", peerAddress: []string{"10.0.0.2"}, address: "10.0.0.100/24", yes: true}
	for want, change := range map[string]func(*initAnswers, *survey){
		"--peer NAME":                      func(in *initAnswers, _ *survey) { in.peer = "" },
		"alpha is this machine":            func(in *initAnswers, _ *survey) { in.peer = "Alpha" },
		"is not the name of a node":        func(in *initAnswers, _ *survey) { in.peer = "a b" },
		"--address IP/LENGTH":              func(in *initAnswers, _ *survey) { in.address = "" },
		"write IP/LENGTH":                  func(in *initAnswers, _ *survey) { in.address = "10.0.0.100" },
		"is this machine's own address: t": func(in *initAnswers, _ *survey) { in.address = "10.0.0.1/24" },
		"own address: write the other":     func(in *initAnswers, _ *survey) { in.peerAddress = []string{"10.0.0.1"} },
		"one address for each network":     func(in *initAnswers, _ *survey) { in.peerAddress = []string{"10.0.0.2", "10.0.0.3"} },
		"is not an address of the other":   func(in *initAnswers, _ *survey) { in.peerAddress = []string{"beta"} },
		"no interface \"eth9\"":            func(in *initAnswers, _ *survey) { in.device = "eth9" },
		"is not one resource":              func(in *initAnswers, _ *survey) { in.service = "a b" },
		"modprobe softdog":                 func(in *initAnswers, s *survey) { in.watchdog, s.watchdog = true, "" },
		"no interface with an IPv4": func(in *initAnswers, s *survey) {
			in.peerAddress, in.device, s.serials = nil, "docker0", nil
			s.interfaces = s.interfaces[:2]
		},
	} {
		in, s := good, twoNetworks()
		in.output = filepath.Join(t.TempDir(), "new")
		change(&in, &s)
		_, err := runInit(t, in, s, "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if _, err := os.Stat(in.output); err == nil {
			t.Errorf("%s: something was written", want)
		}
	}
}

// TestSerialPorts: lines without hardware and consoles are no serial lines for heartbeats; signals mean a cable.
func TestSerialPorts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"driver": "serinfo:1.0 driver revision:\n0: uart:16550A port:000003F8 irq:4 tx:12 rx:0 RTS|DTR\n1: uart:16550A port:000002F8 irq:3 tx:0 rx:0 CTS|DSR|CD\n" +
			"2: uart:unknown port:000003E8 irq:4\n3: uart:16550A port:000002E8 irq:3 tx:0 rx:0\n",
		"active": "tty0 ttyS0\n", "ttyUSB0": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := serialPorts(filepath.Join(dir, "driver"), filepath.Join(dir, "active"), dir)
	want := []serialPort{{"/dev/ttyS1", true}, {"/dev/ttyS3", false}, {"/dev/ttyUSB0", false}}
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
}

// initNetwork makes a machine called alpha with two networks and a gateway.
const initNetwork = "hostname alpha && ip link set lo up && for n in 0 1; do ip link add eth$n type veth peer name x$n && ip link set eth$n up && ip link set x$n up || exit; done && " +
	"ip addr add 10.77.0.1/24 brd + dev eth0 && ip addr add 10.78.0.1/24 brd + dev eth1 && ip route add default via 10.77.0.254 && "

// TestInitOnARealMachine runs the program in namespaces of its own: what it writes there passes the check, with the machine and for the
// other node, and a rehearsal plays a failover with it.
func TestInitOnARealMachine(t *testing.T) {
	requireNamespace(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(script string) (string, error) {
		cmd := exec.Command("unshare", "-n", "-u", "sh", "-c", script)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	dir := filepath.Join(t.TempDir(), "ha.d")
	out, err := run(initNetwork + self + " init --peer beta --peer-address 10.77.0.2 --address 10.77.0.100/24 --yes --output " + dir + " && " + self + " check " + dir)
	if err != nil || strings.Count(out, "0 errors, 0 warnings") != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	written(t, dir, "beta")
	program := filepath.Join(t.TempDir(), "heartbeat") // the nodes of a rehearsal get no environment
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+asProgram+"=1 exec "+self+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err = run("timeout 60 " + self + " rehearse " + dir + " --binary " + program + " --brief --scenario power-cut --set deadtime=400ms --set keepalive=100ms --set warntime=200ms"); err != nil || !strings.Contains(out, "PASSED: 1 of 1") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestConvertCommand: to standard output, to a file, never over one, and not where the files hold errors.
func TestConvertCommand(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("ha.cf", "# our pair\n\nnode alpha beta\nauto_failback on # home\nbcast eth1\nuse_logd no\n")
	put("haresources", "alpha 10.0.0.100/24/eth0 #hapair: stop-timeout=90\n")
	put("authkeys", "auth 1\n1 sha1 a-key-for-tests\n")
	run := func(args ...string) (int, string, string) {
		var out, err bytes.Buffer
		a := &app{out: &out, err: &err}
		return a.dispatch("heartbeat", append([]string{"convert"}, args...)), out.String(), err.String()
	}
	code, text, complaints := run(dir)
	if code != exitOK || complaints != "" || !strings.HasPrefix(text, "# our pair\n") || !strings.Contains(text, `auto_failback = "on"  # home`) || !strings.Contains(text, `stop_timeout = "90s"`) {
		t.Errorf("%d\n%s\n%s", code, text, complaints)
	}
	file := filepath.Join(dir, "heartbeat.toml")
	code, out, complaints := run(dir, "-o", file)
	if code != exitOK || !strings.Contains(out, "use_logd no (") || !strings.Contains(out, "mkdir -p "+dir+"/classic") {
		t.Errorf("%d\n%s\n%s", code, out, complaints)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != text {
		t.Errorf("%v\n%s", err, got)
	}
	if code, _, complaints = run(dir, "-o", file); code != exitFailure || !strings.Contains(complaints, "exists and was left as it is") {
		t.Errorf("%d %s", code, complaints)
	}
	put("ha.cf", "node alpha beta\nbcsat eth1\n")
	if code, out, complaints = run(dir); code != exitFailure || out != "" || !strings.Contains(complaints, "ha.cf:2:1: error: ") || !strings.Contains(complaints, "correct the errors first") {
		t.Errorf("%d\n%s\n%s", code, out, complaints)
	}
}

// TestResourceManagerReadsTOML: the classic tool lists the groups of heartbeat.toml too.
func TestResourceManagerReadsTOML(t *testing.T) {
	dir := t.TempDir()
	text := "nodes = [\"alpha\", \"beta\"]\n[link.eth1]\nkind = \"bcast\"\n[group.web]\nnode = \"alpha\"\nresources = [\"10.0.0.100/24\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "heartbeat.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{dirs: directories{config: dir}}
	table, err := a.table()
	if err != nil || len(table.Groups) != 1 || table.Groups[0].Name != "web" {
		t.Errorf("%+v, %v", table, err)
	}
}
