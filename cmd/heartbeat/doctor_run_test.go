package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/require"
)

// twoNodes is a real pair: two daemons on machines of their own (namespaces for network and mounts), a cable between them, and a switch that
// is also their gateway.
type twoNodes struct {
	t     *testing.T
	space [3]*exec.Cmd // holds the namespaces: of the nodes, and of the gateway
	node  [2]*lone
}

const pairHaCF = "keepalive 100ms\ndeadtime 2\ninitdead 10\nauto_failback off\nbcast eth0\nucast eth1 10.78.0.1\nucast eth1 10.78.0.2\nnode alpha beta\nping 10.77.0.254\n"

// startPair starts a healthy pair and waits until alpha serves.
func startPair(t *testing.T) *twoNodes {
	t.Helper()
	requireNamespace(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &twoNodes{t: t}
	for i := range p.space {
		p.space[i] = exec.Command("sh", "-c", "mount -t bpf bpf /sys/fs/bpf; exec sleep 600") // leases are pinned there
		p.space[i].SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if err := p.space[i].Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			p.space[i].Process.Kill()
			p.space[i].Wait()
		})
	}
	p.do(2, "ip link set lo up", "ip link add br0 type bridge", "ip addr add 10.77.0.254/24 dev br0", "ip link set br0 up")
	for i := range 2 {
		p.do(2, fmt.Sprintf("ip link add port%d type veth peer name eth0 netns %d", i, p.space[i].Process.Pid), fmt.Sprintf("ip link set port%d master br0 up", i))
	}
	p.do(0, fmt.Sprintf("ip link add eth1 type veth peer name eth1 netns %d", p.space[1].Process.Pid))
	for i, name := range []string{"alpha", "beta"} {
		p.do(i, "ip link set lo up")
		for k := range 2 {
			p.do(i, fmt.Sprintf("ip addr add 10.7%d.0.%d/24 brd + dev eth%d", 7+k, i+1, k), fmt.Sprintf("ip link set eth%d up", k))
		}
		p.do(i, "ip route add default via 10.77.0.254")
		base := t.TempDir()
		l := &lone{t: t, dir: directories{config: filepath.Join(base, "ha.d"), state: filepath.Join(base, "lib"), run: filepath.Join(base, "run")}, out: &transcript{}, program: self}
		if err := os.MkdirAll(filepath.Join(l.dir.config, "resource.d"), 0o755); err != nil {
			t.Fatal(err)
		}
		l.write("ha.cf", pairHaCF)
		l.write("haresources", "# the pair's\nalpha 10.77.0.100/24/eth0 web\n")
		l.write("authkeys", "auth 1\n1 sha1 0123456789abcdef0123456789abcdef\n")
		l.write("nodeinfo", name+"\n")
		l.standIn("web", "")
		p.node[i] = l
		l.cmd = exec.Command("nsenter", "-t", fmt.Sprint(p.space[i].Process.Pid), "-n", "-m", "--", self, "run", "--config", l.dir.config, "--state", l.dir.state,
			"--run", l.dir.run, "--log", "stderr", "--no-realtime")
		l.cmd.Env = append(os.Environ(), asProgram+"=1")
		l.cmd.Stderr = l.out
		l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := l.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			l.cmd.Process.Kill()
			l.cmd.Wait()
			if t.Failed() {
				t.Logf("the daemon of %s said:\n%s", name, l.out)
			}
		})
	}
	for _, l := range p.node {
		awaitOutput(t, "a healthy pair", func() bool {
			code, out := l.call("heartbeat", "status")
			return code == 0 && strings.Contains(out, "HEALTHY")
		})
	}
	return p
}

// standIn writes a resource script that does what it is told, with a comment in it.
func (l *lone) standIn(name, comment string) {
	l.t.Helper()
	text := "#!/bin/sh\n# " + comment + "\nS=${HA_FIFO%/*}/" + name + "\ncase $1 in start) touch $S;; stop) rm -f $S;; status) [ -e $S ] && echo running || echo stopped;; esac\n"
	if err := os.WriteFile(filepath.Join(l.dir.config, "resource.d", name), []byte(text), 0o755); err != nil {
		l.t.Fatal(err)
	}
}

// do runs commands in a node's network namespace.
func (p *twoNodes) do(node int, commands ...string) {
	p.t.Helper()
	for _, c := range commands {
		words := append([]string{"-t", fmt.Sprint(p.space[node].Process.Pid), "-n", "--"}, strings.Fields(c)...)
		if out, err := exec.Command("nsenter", words...).CombinedOutput(); err != nil {
			p.t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
}

// named fails the test unless the doctor, asked on a node, soon finds this, with this remedy.
func (p *twoNodes) named(node int, finding, remedy string) {
	p.t.Helper()
	last := ""
	for range 20 {
		_, last = p.node[node].call("heartbeat", "doctor")
		for part := range strings.SplitSeq(last, "\n\n") {
			if strings.Contains(part, finding) && strings.Contains(part, remedy) {
				return
			}
		}
	}
	p.t.Errorf("the doctor does not find %q with the remedy %q, but:\n%s", finding, remedy, last)
}

// healthy fails the test unless the doctor finds nothing on either node, soon.
func (p *twoNodes) healthy(after string) {
	p.t.Helper()
	names := [2]string{"alpha", "beta"}
	for i := range p.node {
		last := ""
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if _, last = p.node[i].call("heartbeat", "doctor"); last == names[i]+" and "+names[1-i]+": nothing stands in the way of a takeover\n" {
				break
			}
		}
		if strings.Contains(last, "finding") {
			p.t.Fatalf("after %s a healthy pair is not found healthy:\n%s", after, last)
		}
	}
}

// TestDoctorOfARealPair seeds faults into a real pair, one after the other, and has each named and taken back.
func TestDoctorOfARealPair(t *testing.T) {
	p := startPair(t)
	alpha, beta := p.node[0], p.node[1]
	for _, l := range p.node {
		awaitOutput(t, "the mirror of both", func() bool {
			_, out := l.call("heartbeat", "status")
			return strings.Contains(out, "mirror 10.77.0.254")
		})
	}
	p.healthy("the start")
	alpha.wants(0, "0 errors, 0 warnings", "heartbeat", "check", "--files-only", "--peer")

	t.Run("haresources", func(t *testing.T) {
		beta.write("haresources", "# the pair's\n\nalpha 10.77.0.100/24/eth0 web Delay::1\n")
		p.named(1, "the files were changed and are not in force", "heartbeat reload")
		beta.wants(0, "in force", "heartbeat", "reload")
		alpha.wants(1, "haresources:2:1: warning: the group 10.77.0.100/24/eth0 differs from beta's (haresources:3)", "heartbeat", "check", "--files-only", "--peer")
		beta.wants(1, "haresources:3:1: warning: the group 10.77.0.100/24/eth0 differs from alpha's (haresources:2)", "heartbeat", "check", "--files-only", "--peer")
		for _, l := range p.node {
			awaitOutput(t, "the difference in the status of both", func() bool {
				code, out := l.call("heartbeat", "status")
				return code == 1 && strings.Contains(out, "the group 10.77.0.100/24/eth0 differs from")
			})
		}
		beta.write("haresources", "# the pair's\nalpha 10.77.0.100/24/eth0 web\n")
		beta.wants(0, "in force", "heartbeat", "reload")
		p.healthy("haresources")
		if out := beta.out.String(); strings.Contains(out, "Link mirror") && strings.Contains(out, "closed") {
			t.Error("a reload closes the mirrors")
		}
	})
	t.Run("script", func(t *testing.T) {
		path := filepath.Join(beta.dir.config, "resource.d", "web")
		beta.standIn("web", "another version")
		p.named(0, "the script web differs from beta's", "install the same version")
		os.Remove(path)
		p.named(0, "cannot locate resource script web", "")
		p.named(0, "the script web is missing on beta", "install it there too")
		beta.standIn("web", "")
		p.healthy("the script")
	})
	t.Run("size", func(t *testing.T) {
		p.do(1, "ip link set eth1 mtu 1300")
		p.named(0, "link ucast eth1 10.78.0.2 does not carry large frames to beta", "MTU")
		p.do(1, "ip link set eth1 mtu 1500")
		p.healthy("the MTU")
	})
	t.Run("down", func(t *testing.T) {
		p.do(1, "ip link set eth1 down")
		p.named(0, "on beta: link ucast eth1 10.78.0.1 cannot be used here", "eth1")
		p.do(1, "ip link set eth1 up")
		p.healthy("the link")
	})
	t.Run("firewall", func(t *testing.T) {
		require.Tool(t, "nft", "own firewalls")
		p.do(1, "nft add table inet t", "nft add chain inet t i { type filter hook input priority 0 ; }", "nft add rule inet t i iifname eth0 udp dport 694 drop")
		p.named(0, "link bcast eth0 works in one direction only: nothing arrives at beta", "let UDP port 694")
		p.do(1, "nft flush chain inet t i", "nft add chain inet t o { type filter hook output priority 0 ; }", "nft add rule inet t o oifname eth0 udp dport 694 drop")
		p.named(0, "on beta: nothing can be sent on link bcast eth0 from here", "own firewall drops outgoing heartbeats")
		p.do(1, "nft delete table inet t")
		p.healthy("the firewall")
	})
	t.Run("gateway", func(t *testing.T) {
		p.do(2, "ip addr del 10.77.0.254/24 dev br0")
		p.named(0, "the default gateway 10.77.0.254 does not answer", "check the cable of eth0")
		p.named(1, "ping node 10.77.0.254 does not answer this node", "ping 10.77.0.254")
		p.do(2, "ip addr add 10.77.0.254/24 dev br0")
		p.healthy("the gateway")
	})
	t.Run("duplicate", func(t *testing.T) {
		p.do(2, "ip addr add 10.77.0.100/32 dev br0")
		p.named(0, "another machine answers for 10.77.0.100", "hardware address")
		p.do(2, "ip addr del 10.77.0.100/32 dev br0")
		p.healthy("the address")
	})
	t.Run("key", func(t *testing.T) {
		beta.write("authkeys", "auth 1\n1 sha1 fedcba9876543210fedcba9876543210\n")
		p.named(1, "authkeys", "heartbeat reload")
		beta.wants(0, "in force", "heartbeat", "reload")
		p.named(0, "frames are refused because they are signed with another key", "copy authkeys from one node to the other")
		p.named(1, "frames are refused because they are signed with another key", "copy authkeys from one node to the other")
		p.named(0, "beta is not heard on any link", "links, firewalls and keys")
		alpha.wants(1, "not compared with the other node: beta cannot be asked: it is dead", "heartbeat", "check", "--files-only", "--peer")
	})
}
