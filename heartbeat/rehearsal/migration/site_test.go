package migration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/rehearsal/probe"
)

// service is the address that moves.
var service = netip.MustParseAddr("10.77.0.100")

// haCF is the file of both nodes, whichever program reads it.
const haCF = `logfile /var/log/ha-log
logfacility none
use_logd no
keepalive 200ms
warntime 1
deadtime 2
initdead 5
udpport 694
bcast eth0 eth1
auto_failback off
node alpha beta
`

const (
	haresources = "alpha 10.77.0.100/24/eth0 witness::word\n"
	authkeys    = "auth 1\n1 sha1 a-secret-of-the-migration\n"
)

// witness is a resource that notes the environment that it gets.
const witness = `#!/bin/sh
state=/run/witness
case $2 in
start) env | sort >/var/log/environment; : >$state ;;
stop) rm -f $state ;;
status) [ -e $state ] && echo "witness is running" || echo "witness is stopped" ;;
esac
`

// input is what a program in the laboratory is given.
type input struct {
	Installed string // the DESTDIR that `make install` filled
}

// line is what it reports.
type line struct {
	Step     string
	OutageMS float64
	Seconds  float64 // that it took
	Holder   string
	Text     string   // for the log of the test
	Failures []string // what was not as it must be
}

// site is a pair that runs Linux-HA, with a client.
type site struct {
	out      *json.Encoder
	nodes    [2]*lab.Machine
	etc      [2]string
	echo     *probe.Echo
	clock    probe.Clock
	ctx      context.Context
	failures []string
}

// newSite boots both machines; nothing runs on them yet.
func newSite(in json.RawMessage, out io.Writer) (*site, error) {
	var i input
	if err := json.Unmarshal(in, &i); err != nil {
		return nil, err
	}
	l, err := lab.Open(i.Installed)
	if err != nil {
		return nil, err
	}
	s := &site{out: json.NewEncoder(out), clock: probe.NewClock(), ctx: context.Background()}
	var switches []*lab.Switch
	for _, name := range []string{"eth0", "eth1"} {
		sw, err := l.NewSwitch(name)
		if err != nil {
			return nil, err
		}
		switches = append(switches, sw)
	}
	for n, name := range []string{"alpha", "beta"} {
		if err := s.boot(l, n, name, l.Kept(i.Installed), switches); err != nil {
			return nil, err
		}
	}
	client, err := l.NewHost("client", []lab.Port{{Switch: switches[0], Device: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.0.9/24")}}}, nil)
	if err != nil {
		return nil, err
	}
	s.echo, err = probe.StartEcho(client.Do, s.clock, []netip.Addr{service})
	return s, err
}

// boot makes one machine with Linux-HA's own files and the pair's three.
func (s *site) boot(l *lab.Lab, n int, name, installed string, switches []*lab.Switch) error {
	etc, err := l.Dir(name, "ha.d")
	if err != nil {
		return err
	}
	lib, err := l.Dir(name, "lib")
	if err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", lab.HostPath("/etc/ha.d")+"/.", etc).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the files of linux-ha: %w: %s", err, out)
	}
	for file, text := range map[string]string{"ha.cf": haCF, "haresources": haresources, "authkeys": authkeys, "resource.d/witness": witness} {
		mode := os.FileMode(0o644)
		switch file {
		case "authkeys":
			mode = 0o600
		case "resource.d/witness":
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(etc, file), []byte(text), mode); err != nil {
			return err
		}
	}
	if out, err := exec.Command("sh", "-ec", "cd "+lib+"; mkdir -p cores/root cores/nobody cores/hacluster ccm crm pengine; chown hacluster:haclient cores/hacluster ccm crm pengine").CombinedOutput(); err != nil {
		return fmt.Errorf("make the directories of linux-ha: %w: %s", err, out)
	}
	spec := lab.MachineSpec{Name: name, Sysctls: lab.QuietSysctls(), Binds: []lab.Bind{
		{Source: etc, Target: "/etc/ha.d"}, {Source: lib, Target: "/var/lib/heartbeat"}, {Source: installed, Target: "/run/installed"},
	}}
	spec.Sysctls["net/ipv4/ip_default_ttl"] = fmt.Sprint(probe.NodeTTL(n))
	for i, sw := range switches {
		spec.Ports = append(spec.Ports, lab.Port{Switch: sw, Device: fmt.Sprintf("eth%d", i), MAC: net.HardwareAddr{2, 0x68, 0x61, byte(i), 0, byte(n + 1)},
			Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.77.%d.%d/24", i, n+1))}})
	}
	m, err := l.Boot(spec)
	if err != nil {
		return err
	}
	s.nodes[n], s.etc[n] = m, etc
	return nil
}

// run runs a command line on a node and returns its output and exit code.
func (s *site) run(n int, command string) (string, int) {
	ctx, cancel := context.WithTimeout(s.ctx, 60*time.Second)
	defer cancel()
	r, err := s.nodes[n].Run(ctx, "sh", "-c", command)
	if err != nil {
		s.fail("%s on %s: %v", command, s.nodes[n].Name, err)
		return "", -1
	}
	return r.Output, r.Exit
}

// must runs a command line that has to succeed and to say something.
func (s *site) must(n int, command, says string) {
	s.wants(n, command, 0, says)
}

// wants runs a command line that has to end with this exit code and to say this.
func (s *site) wants(n int, command string, code int, says string) {
	if got, exit := s.run(n, command); exit != code || !strings.Contains(got, says) {
		s.fail("%s: %s: exit %d, %q; want %d, %q", s.nodes[n].Name, command, exit, got, code, says)
	}
}

// until repeats a command line until it succeeds and says something.
func (s *site) until(n int, command, says string) {
	var got string
	var exit int
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, exit = s.run(n, command); strings.Contains(got, says) {
			return
		}
	}
	s.fail("%s: %s never said %q: exit %d, %q", s.nodes[n].Name, command, says, exit, got)
}

// settled waits until nothing is in motion on a node.
func (s *site) settled(n int) {
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, exit := s.run(n, "cl_status rscstatus"); exit == 0 && got != "transition\n" {
			return
		}
	}
	s.fail("%s remains in transition", s.nodes[n].Name)
}

func (s *site) fail(format string, args ...any) {
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// holder waits until one node alone answers for the address, for a while.
func (s *site) holder(n int) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s.answering() == s.nodes[n].Name {
			return
		}
	}
	s.fail("%s does not answer for %s, %s does", s.nodes[n].Name, service, s.answering())
}

// answering is who answered last.
func (s *site) answering() string {
	answers := s.echo.Answers(service)
	if len(answers) == 0 || s.clock.Now()-answers[len(answers)-1].At > 100*time.Millisecond || answers[len(answers)-1].Node == probe.Nobody {
		return "nobody"
	}
	return s.nodes[answers[len(answers)-1].Node].Name
}

// step does something and measures the longest outage meanwhile and for a second afterwards. limit is in milliseconds; 0 is
// not judged.
func (s *site) step(name string, limit float64, do func()) {
	begun := s.clock.Now()
	do()
	time.Sleep(time.Second)
	gap := probe.LongestGap(s.echo.Answers(service), s.echo.Sends(), probe.EchoPeriod, probe.Span{From: begun, To: s.clock.Now()})
	outage := float64(gap.Outage().Microseconds()) / 1000
	if limit > 0 && outage > limit {
		s.fail("nobody answered for %.1f ms, allowed are %.0f ms", outage, limit)
	}
	s.report(line{Step: name, OutageMS: outage, Seconds: (s.clock.Now() - begun).Seconds(), Holder: s.answering()})
}

// report sends a line with what has failed so far.
func (s *site) report(l line) {
	l.Failures, s.failures = s.failures, nil
	s.out.Encode(l)
}

// logs reports the end of both nodes' logs.
func (s *site) logs() {
	for n := range s.nodes {
		text, _ := s.run(n, "tail -n 60 /var/log/ha-log")
		s.report(line{Text: s.nodes[n].Name + ":\n" + text})
	}
}

// The places of the program, which installing covers and removing uncovers: that is what a package does.
var places = []string{"/usr/libexec/heartbeat", "/usr/share/heartbeat", "/usr/bin/cl_status", "/etc/init.d/heartbeat"}

// install puts hapair in the place of Linux-HA on a node.
func (s *site) install(n int) {
	for _, place := range places {
		s.must(n, fmt.Sprintf("mount --bind /run/installed%s %s", place, place), "")
	}
}

// remove puts Linux-HA back.
func (s *site) remove(n int) {
	for _, place := range places {
		s.must(n, "umount "+place, "")
	}
}

// replace edits a file of a node's /etc/ha.d.
func (s *site) replace(n int, file, old, fresh string) {
	path := filepath.Join(s.etc[n], file)
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), old) {
		s.fail("%s has no %q: %v", path, old, err)
	}
	time.Sleep(1100 * time.Millisecond) // Linux-HA compares whole seconds of the file's time
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, fresh, 1)), 0o600); err != nil {
		s.fail("%v", err)
	}
}

// linuxHAMissing says what of Linux-HA is not installed here.
func linuxHAMissing() string {
	for _, path := range []string{"/usr/libexec/heartbeat/heartbeat", "/usr/share/heartbeat/hb_standby", "/etc/ha.d/harc", "/etc/init.d/heartbeat", "/usr/bin/cl_status"} {
		if _, err := os.Stat(path); err != nil {
			return err.Error()
		}
	}
	if _, err := user.Lookup("hacluster"); err != nil {
		return err.Error()
	}
	return ""
}
