package main

import (
	"strings"
	"testing"

	"hapair/heartbeat/daemon"
)

func TestClStatus(t *testing.T) {
	f := startFake(t)
	tests := []struct {
		args string
		code int
		out  string
		err  string
	}{
		{"hbstatus", 0, "Heartbeat is running on this machine.\n", ""},
		{"hbstatus -v", 0, "Heartbeat is running on this machine.\nversion:\t3.0.6\nmanaged by:\t\"haresources\"\n", ""},
		{"hbstatus -m -v", 0, "Heartbeat is running on this machine.\nHeartbeat version 3.0.6\nResources controlled by \"haresources\"\n", ""},
		{"listnodes", 0, "alpha\nbeta\n10.0.0.254\nrouters\n", ""},
		{"listnodes -n", 0, "alpha\nbeta\n", ""},
		{"listnodes -p", 0, "10.0.0.254\nrouters\n", ""},
		{"listnodes -m -n", 0, "The nodes are as follow:\nalpha\nbeta\n", ""},
		{"listnodes -pv", 0, "\n10.0.0.254\tping\t(nodetype: ping)\n\nrouters\tdead\t(nodetype: ping)\n", ""},
		{"nodestatus beta", 0, "active\n", ""},
		{"nodestatus BETA", 0, "active\n", ""},
		{"nodestatus -m beta", 0, "The cluster node beta is active\n", ""},
		{"nodestatus routers", 1, "dead\n", ""},
		{"nodestatus 10.0.0.254", 0, "ping\n", ""},
		{"nodestatus gamma", 11, "", "Error. May be due to incorrect node name\n"},
		{"nodestatus", 11, "", "Not enough parameters.\n"},
		{"nodetype beta", 0, "normal\n", ""},
		{"nodetype -m routers", 0, "The node routers's type: ping\n", ""},
		{"nodeweight beta", 0, "100\n", ""},
		{"nodeweight -m beta", 0, "The weight of the cluster node beta is 100\n", ""},
		{"listhblinks beta", 0, "\teth0\n\teth1\n\t/dev/ttyS0\n", ""},
		{"listhblinks -m -v beta", 0, "\tthis node has the following heartbeat links:\n\teth0\tup\n\teth1\tdead\n\t/dev/ttyS0\tdead\n", ""},
		{"listhblinks 10.0.0.254", 0, "\t10.0.0.254\n", ""},
		{"hblinkstatus beta eth0", 0, "up\n", ""},
		{"hblinkstatus beta eth1", 1, "dead\n", ""},
		{"hblinkstatus alpha eth1", 0, "up\n", ""},
		{"hblinkstatus -m beta eth0", 0, "The node beta's heartbeat link eth0 is up\n", ""},
		{"hblinkstatus beta eth9", 13, "", "Error. May be due to incorrect node name or link name\n"},
		{"hblinkstatus beta", 11, "", "Not enough parameters.\n"},
		{"clientstatus alpha ipfail", 0, "online\n", ""},
		{"clientstatus alpha other 500", 1, "offline\n", ""},
		{"rscstatus", 0, "local\n", ""},
		{"rscstatus -m", 0, "This node is holding local resources.\n", ""},
		{"hbparameter -p deadtime", 0, "30\n", ""},
		{"hbparameter -m -p deadtime", 0, "Heartbeat parameter deadtime's value: 30\n", ""},
		{"hbparameter -p nothing", 1, "", "cl_status: there is no parameter \"nothing\"\n"},
		{"hbparameter", 11, "", "Not enough parameters.\n"},
		{"nonsense", 11, "", "nonsense: invalid sub-command.\n"},
		{"nodestatus -x beta", 11, "", "cl_status: invalid option -- 'x'\n"},
		{"-h", 0, clHelp, ""},
	}
	for _, tt := range tests {
		code, out, err := call(t, f.run, append([]string{"cl_status"}, strings.Fields(tt.args)...)...)
		if code != tt.code || out != tt.out || err != tt.err {
			t.Errorf("cl_status %s: %d, %q, %q; want %d, %q, %q", tt.args, code, out, err, tt.code, tt.out, tt.err)
		}
	}
}

func TestClStatusOfADeadPeer(t *testing.T) {
	f := startFake(t)
	f.change(func(s *daemon.Status) { s.Peer.State = "left" })
	if code, out, _ := call(t, f.run, "cl_status", "nodestatus", "beta"); code != 1 || out != "dead\n" {
		t.Errorf("a peer that left: %d, %q", code, out)
	}
	f.change(func(s *daemon.Status) { s.Peer.State = "unknown" })
	if code, out, _ := call(t, f.run, "cl_status", "nodestatus", "beta"); code != 1 || out != "init\n" {
		t.Errorf("a peer that was never heard: %d, %q", code, out)
	}
}

func TestClStatusWithoutADaemon(t *testing.T) {
	run := t.TempDir()
	if code, out, _ := call(t, run, "cl_status", "hbstatus"); code != 1 || out != "Heartbeat is stopped on this machine.\n" {
		t.Errorf("hbstatus: %d, %q", code, out)
	}
	const want = "cl_status: [PID]: ERROR: Cannot signon with heartbeat\n" +
		"cl_status: [PID]: ERROR: REASON: hb_api_signon: Can't initiate connection to heartbeat\n"
	if code, out, err := call(t, run, "cl_status", "rscstatus"); code != 1 || out != "" || err != want {
		t.Errorf("rscstatus: %d, %q, %q; want 1 and %q", code, out, err, want)
	}
	writePid(t, run)
	if code, out, _ := call(t, run, "cl_status", "hbstatus"); code != 0 || !strings.Contains(out, "refuses my connection") {
		t.Errorf("hbstatus of a daemon that does not answer: %d, %q", code, out)
	}
}
