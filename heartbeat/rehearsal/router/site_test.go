package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"hapair/heartbeat/rehearsal/lab"
)

// site is the pair, with a client inside and a server outside.
type site struct {
	out            *json.Encoder
	nodes          [2]*lab.Machine
	etc            [2]string
	client, server *lab.Host
}

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// newSite boots both machines and their neighbours; heartbeat does not run yet.
func newSite(raw json.RawMessage, out io.Writer) (*site, error) {
	var in input
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, err
	}
	l, err := lab.Open(in.Binary, in.Config)
	if err != nil {
		return nil, err
	}
	s := &site{out: json.NewEncoder(out)}
	switches := map[string]*lab.Switch{}
	for _, name := range []string{"wan0", "lan0", "hb0"} {
		if switches[name], err = l.NewSwitch(name); err != nil {
			return nil, err
		}
	}
	for n, name := range []string{"fw1", "fw2"} {
		etc, err := l.Dir(name, "ha.d")
		if err != nil {
			return nil, err
		}
		lib, err := l.Dir(name, "lib")
		if err != nil {
			return nil, err
		}
		if out, err := exec.Command("cp", "-a", l.Kept(in.Config)+"/.", etc).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("copy the example: %w: %s", err, out)
		}
		spec := lab.MachineSpec{Name: name, Sysctls: lab.QuietSysctls(), Binds: []lab.Bind{
			{Source: etc, Target: "/etc/ha.d"}, {Source: lib, Target: "/var/lib/heartbeat"}, {Source: l.Kept(in.Binary), Target: "/run/bin/heartbeat"},
		}}
		spec.Sysctls["net/ipv4/ip_forward"], spec.Sysctls["net/ipv6/conf/all/forwarding"] = "1", "1"
		spec.Ports = []lab.Port{
			{Switch: switches["wan0"], Device: "wan0", Addresses: prefixes(fmt.Sprintf("203.0.113.%d/24", n+2), fmt.Sprintf("2001:db8:1::%d/64", n+2))},
			{Switch: switches["lan0"], Device: "lan0", Addresses: prefixes(fmt.Sprintf("192.168.10.%d/24", n+2), fmt.Sprintf("fd00:10::%d/64", n+2))},
			{Switch: switches["hb0"], Device: "hb0", Addresses: prefixes(fmt.Sprintf("10.254.0.%d/24", n+1))},
		}
		if s.nodes[n], err = l.Boot(spec); err != nil {
			return nil, err
		}
		s.etc[n] = etc
		// A packet of a connection that the kernel does not know must not begin one.
		s.must(n, "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0")
	}
	s.client, err = l.NewHost("client", []lab.Port{{Switch: switches["lan0"], Device: "eth0", Addresses: prefixes("192.168.10.100/24", "fd00:10::100/64")}}, []lab.Route{
		{To: netip.MustParsePrefix("203.0.113.0/24"), Via: netip.MustParseAddr("192.168.10.1")},
		{To: netip.MustParsePrefix("2001:db8:1::/64"), Via: netip.MustParseAddr("fd00:10::1")},
	})
	if err != nil {
		return nil, err
	}
	s.server, err = l.NewHost("server", []lab.Port{{Switch: switches["wan0"], Device: "eth0", Addresses: prefixes("203.0.113.254/24", "2001:db8:1::fe/64")}}, []lab.Route{
		{To: netip.MustParsePrefix("fd00:10::/64"), Via: netip.MustParseAddr("2001:db8:1::1")},
	})
	return s, err
}

// heartbeat is a command line of the program on a node.
func heartbeat(words string) string { return "/run/bin/heartbeat " + words + " --run /run/heartbeat" }

// start starts heartbeat on a node.
func (s *site) start(n int) {
	_, err := s.nodes[n].Start("/var/log/hapair-log", "/run/bin/heartbeat", "run", "--config", "/etc/ha.d", "--state", "/var/lib/heartbeat",
		"--run", "/run/heartbeat", "--log", "stderr")
	if err != nil {
		s.fail("start heartbeat on %s: %v", s.nodes[n].Name, err)
	}
}

// run runs a command line on a node and returns its output.
func (s *site) run(n int, command string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := s.nodes[n].Run(ctx, "sh", "-c", command)
	if err != nil {
		return err.Error()
	}
	return r.Output
}

// must runs a command line that has to succeed.
func (s *site) must(n int, command string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if r, err := s.nodes[n].Run(ctx, "sh", "-c", command); err != nil || r.Exit != 0 {
		s.fail("%s: %s: exit %d, %v: %s", s.nodes[n].Name, command, r.Exit, err, r.Output)
	}
}

// holds says whether a node serves everything, and nothing is in motion there.
func (s *site) holds(n int) bool {
	return strings.HasPrefix(s.run(n, heartbeat("status --json")), "{") && s.state(n) == "active" && strings.Contains(s.run(n, "ip addr"), "203.0.113.1/")
}

// settled says whether a node is the standby one.
func (s *site) settled(n int) bool { return s.state(n) == "standby" }

func (s *site) state(n int) string {
	var status struct {
		State string `json:"state"`
	}
	_ = json.Unmarshal([]byte(s.run(n, heartbeat("status --json"))), &status) // no state while it does not answer
	return status.State
}

// known is the number of connections that a node has been told of by the other one.
func (s *site) known(n int) (count int) {
	_, external, _ := strings.Cut(s.run(n, "conntrackd -C /run/resource-agents/hapair-conntrackd.conf -s"), "cache external")
	_, number, _ := strings.Cut(external, "connections:")
	_, _ = fmt.Sscan(number, &count) // nothing while it does not run
	return count
}

// until waits for a condition, and fails when it does not come.
func (s *site) until(what string, holds func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	s.fail("not within %v: %s", patience, what)
	for n, m := range s.nodes {
		if m.Alive() {
			s.say("%s:\n%s", m.Name, s.run(n, "tail -n 40 /var/log/hapair-log; "+heartbeat("status")))
		}
	}
	return false
}

func (s *site) say(format string, args ...any) { s.tell(line{Text: fmt.Sprintf(format, args...)}) }

func (s *site) fail(format string, args ...any) { s.tell(line{Failure: fmt.Sprintf(format, args...)}) }

func (s *site) tell(l line) {
	if err := s.out.Encode(l); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
