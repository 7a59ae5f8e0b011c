package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources/agent"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/wire"
)

// wellFacts is a node with nothing wrong, whose peer is well too.
func wellFacts() facts {
	return facts{
		status: &Status{
			Node: "alpha", State: "active", UUID: "a", Managed: true, DeadtimeMS: 1000, Failback: "off",
			Peer: PeerView{Name: "beta", State: "active", Kind: "hapair", UUID: "b", LastHeardMS: 40, ClockAheadMS: -400},
			Links: []LinkView{
				{ID: "bcast eth0", Name: "eth0", Kind: "bcast", State: "up", LastHeardMS: 40},
				{ID: "ucast eth1 10.1.0.2", Name: "eth1", Kind: "ucast", State: "up", LastHeardMS: 40},
				{ID: "serial /dev/ttyS0", Name: "/dev/ttyS0", Kind: "serial", State: "up", LastHeardMS: 90},
				{ID: "mirror 10.0.0.254 10.0.0.2", Kind: "mirror", State: "up", LastHeardMS: 700},
			},
			Pings:  []PingView{{Name: "10.0.0.254", Up: true, LastHeardMS: 30}},
			Groups: []GroupView{{Name: "10.0.0.1", Owner: "alpha", State: "held"}, {Name: "mail", Owner: "beta", State: "idle"}},
			Keys:   &KeysView{Entries: []KeyView{{Index: 1, Signs: true, Peer: "signs"}}},
		},
		refused: map[string]refusal{"bcast eth0": {counts: map[string]uint64{"wrong signature": 9}, from: "10.0.0.9", ago: time.Hour}}, // long ago
		probes: map[string]probed{"bcast eth0": {small: true, large: true, size: 1472}, "ucast eth1 10.1.0.2": {small: true, large: true, size: 1472},
			"serial /dev/ttyS0": {small: true}},
		check:      fault.List{{Severity: fault.Notice, Message: "worth knowing"}},
		gateways:   []gatewayFact{{"10.0.0.254", "eth0", true}},
		privileges: privilegeFact{true, true, true, true},
		disks:      []diskFact{{path: "/var/lib/heartbeat", free: 1 << 40, inodes: true}},
		lease:      leaseFact{wanted: true, usable: true, addresses: 2},
		drbd:       []drbdFact{{state: agent.DRBDState{Name: "r0", Disks: []string{"UpToDate/UpToDate"}, Connection: []string{"Connected"}}}},
		fencing:    &fencingFact{device: "external/ipmi"},
	}
}

func TestDoctorFindsNothingOnAHealthyPair(t *testing.T) {
	if list := wellFacts().judge(); len(list) > 0 {
		t.Errorf("%+v", list)
	}
	alone := wellFacts()
	alone.probes, alone.fencing, alone.drbd, alone.gateways = nil, nil, nil, nil
	alone.lease = leaseFact{wanted: true}                       // no native addresses
	alone.privileges = privilegeFact{}                          // neither asked for
	alone.status.Peer.Kind, alone.status.Keys = "linux-ha", nil // its frames tell less
	if list := alone.judge(); len(list) > 0 {
		t.Errorf("with a peer that cannot be asked: %+v", list)
	}
}

func TestDoctorNamesEachFault(t *testing.T) {
	link := func(i int, change func(*LinkView)) func(*facts) {
		return func(f *facts) { change(&f.status.Links[i]) }
	}
	unusable := func(reason string) func(*facts) {
		return link(1, func(l *LinkView) { l.State, l.Reason = "unusable", reason })
	}
	tests := []struct {
		name   string
		seed   func(*facts)
		about  string
		what   string // beginning
		remedy string // a part
	}{
		{"peer dead", func(f *facts) { f.status.Peer.State, f.status.Peer.LastHeardMS = "dead", 9000 }, "peer", "beta is not heard on any link", "firewalls and keys"},
		{"peer never heard", func(f *facts) { f.status.Peer.State, f.status.Peer.LastHeardMS = "unknown", -1 }, "peer", "beta is not heard on any link", "heartbeat on it run"},
		{"peer stopped", func(f *facts) { f.status.Peer.State = "left" }, "peer", "heartbeat was stopped on beta", "systemctl start heartbeat"},
		{"peer starting", func(f *facts) { f.status.Peer.State = "up" }, "peer", "beta is not ready yet", "wait"},
		{"one node only", func(f *facts) { f.status.Peer = PeerView{} }, "peer", "this node has no peer", "name both nodes"},
		{"cloned machine", func(f *facts) { f.status.Peer.UUID = "a" }, "peer", "both nodes have the same identity", "hb_uuid"},
		{"paused", func(f *facts) { f.status.PausedMS = 5000 }, "paused", "takeover is paused", "heartbeat pause 0"},
		{"-M", func(f *facts) { f.status.Managed = false }, "unmanaged", "this node takes nothing over", "without"},
		{"own firewall", unusable("send on x: this machine forbids it: operation not permitted: its own firewall drops outgoing heartbeats"), "link", "link ucast eth1 10.1.0.2 cannot be used", "let UDP port 694 (udpport) out on eth1"},
		{"own firewall, but it hears", link(0, func(l *LinkView) { l.Reason = "its own firewall drops outgoing heartbeats" }), "link", "nothing can be sent on link bcast eth0", "own firewall"},
		{"interface renamed", unusable("the device or its address is gone: no such interface"), "link", "link ucast eth1 10.1.0.2 cannot be used", "ip link shows"},
		{"cable out", unusable("the device is down: no carrier"), "link", "link ucast eth1 10.1.0.2 cannot be used", "ip link set eth1 up"},
		{"no route", unusable("no way to the peer from this machine at the moment"), "link", "link ucast eth1 10.1.0.2 cannot be used", "ip route get"},
		{"port in use", unusable("in use by another program"), "link", "link ucast eth1 10.1.0.2 cannot be used", "ss -ulpn"},
		{"serial cable out", link(2, func(l *LinkView) { l.State, l.Reason = "unusable", "the medium did not take the frame in time" }), "link", "link serial /dev/ttyS0 cannot be used", "cable"},
		{"nothing arrives either way", func(f *facts) { f.status.Links[0].State = "dead"; f.probes["bcast eth0"] = probed{} }, "link", "nothing arrives on link bcast eth0", "let UDP port 694"},
		{"one way, deaf here", func(f *facts) { f.status.Links[0].State = "dead" }, "oneway", "link bcast eth0 works in one direction only: nothing arrives here", "this node's own firewall"},
		{"one way, deaf there", func(f *facts) { f.probes["ucast eth1 10.1.0.2"] = probed{size: 1472} }, "oneway", "link ucast eth1 10.1.0.2 works in one direction only: nothing arrives at beta", "beta's firewall"},
		{"serial one way", func(f *facts) { f.probes["serial /dev/ttyS0"] = probed{} }, "oneway", "link serial /dev/ttyS0 works in one direction only", "null modem"},
		{"MTU", func(f *facts) { f.probes["bcast eth0"] = probed{small: true, size: 8972} }, "size", "link bcast eth0 does not carry large frames to beta", "same MTU"},
		{"slow serial line", link(2, func(l *LinkView) { l.Dropped = 7 }), "link", "link serial /dev/ttyS0 is too slow", "higher baud"},
		{"mirror does not reflect", link(3, func(l *LinkView) { l.State = "dead" }), "mirror", "the mirror mirror 10.0.0.254 10.0.0.2 does not work", "mirror=off"},
		{"wrong key", func(f *facts) {
			f.refused["bcast eth0"] = refusal{counts: map[string]uint64{"wrong signature": 3}, from: "10.0.0.2", ago: time.Second}
		}, "key", "frames are refused because they are signed with another key", "copy authkeys"},
		{"unknown key", func(f *facts) {
			f.refused["bcast eth0"] = refusal{counts: map[string]uint64{"unknown key index": 3}, from: "10.0.0.2", ago: time.Second}
		}, "key", "frames are refused because they are signed with another key", "copy authkeys"},
		{"a stranger on the port", func(f *facts) {
			f.refused["bcast eth0"] = refusal{counts: map[string]uint64{"malformed": 3}, from: "10.0.0.9", ago: time.Second}
		}, "key", "frames are refused because they are no heartbeats", "only the peer"},
		{"key missing there", func(f *facts) { f.status.Keys.Entries[0].Peer = "lacks" }, "key", "beta does not have key 1", "heartbeat key"},
		{"clock an hour ahead", func(f *facts) { f.status.Peer.ClockAheadMS = 3600_000 }, "clock", "beta's clock is 1h0m0s ahead of this node's", "chrony"},
		{"clock behind", func(f *facts) { f.status.Peer.ClockAheadMS = -5000 }, "clock", "beta's clock is 5s behind this node's", "chrony"},
		{"script missing", func(f *facts) {
			f.check = fault.List{{File: "/etc/ha.d/haresources", Line: 2, Severity: fault.Error, Message: "web: cannot locate resource script web"}}
		}, "config", "web: cannot locate resource script web", "correct it"},
		{"address without an interface", func(f *facts) {
			f.check = fault.List{{Severity: fault.Error, Message: `this machine has no interface "eth9"`, Hint: "did you mean eth0?"}}
		}, "config", `this machine has no interface "eth9"`, "did you mean eth0?"},
		{"edited and not reloaded", func(f *facts) { f.stale = []string{"Deadtime: 10s there, 20s here"} }, "stale", "the files were changed and are not in force", "heartbeat reload"},
		{"address has no place", func(f *facts) { f.placing = map[string]string{"10.0.0.1": "no interface in that network"} }, "address", "an address of 10.0.0.1 has no place", "ADDRESS/PREFIX/INTERFACE"},
		{"failed here", func(f *facts) { f.status.Groups[1].State, f.status.Groups[1].Reason = "failed", "exit code 1" }, "group", "mail failed here", "heartbeat resource cleanup 'mail'"},
		{"stuck", func(f *facts) { f.status.Groups[0].State = "stuck" }, "group", "10.0.0.1 could not be stopped here", "by hand"},
		{"double", func(f *facts) { f.status.Groups[0].Double = true }, "group", "both nodes hold 10.0.0.1", "links"},
		{"nobody serves", func(f *facts) { f.status.Groups[1].Owner = "" }, "group", "nobody serves mail", "heartbeat why"},
		{"a script hangs", func(f *facts) {
			f.status.Groups[0].Resources = []ResourceView{{Spec: "web", Doing: "start", DoingMS: 60000, LastOutput: "waiting for the database"}}
		}, "hang", "start of web hangs", "waits for"},
		{"an alarm", func(f *facts) { f.status.Alarms = []string{"open watchdog: no such device; modprobe softdog"} }, "alarm", "open watchdog: no such device", "as the alarm says"},
		{"ping node", func(f *facts) { f.status.Pings[0].Up = false }, "ping", "ping node 10.0.0.254 does not answer", "ping 10.0.0.254"},
		{"gateway", func(f *facts) { f.gateways[0].answered = false }, "gateway", "the default gateway 10.0.0.254 does not answer", "gateway"},
		{"duplicate address", func(f *facts) { f.answers = []answerFact{{"10.0.0.1", "eth0", "02:00:00:00:00:09", "alpha"}} }, "duplicate", "another machine answers for 10.0.0.1", "hardware address"},
		{"no realtime", func(f *facts) { f.privileges.realtime = false }, "realtime", "no realtime scheduling", "CAP_SYS_NICE"},
		{"not locked", func(f *facts) { f.privileges.locked = false }, "memory", "not locked in memory", "LimitMEMLOCK"},
		{"stood still", func(f *facts) { f.status.WorstStall = 1_500_000 }, "stall", "this machine stood still for longer than deadtime", "longer deadtime"},
		{"no lease", func(f *facts) { f.lease.usable = false }, "lease", "no lease", "CAP_BPF"},
		{"lease over", func(f *facts) { f.lease.expired = []string{"10.0.0.1"} }, "lease", "the lease has run out for 10.0.0.1", "heartbeat why"},
		{"disk full", func(f *facts) { f.disks[0].err = "no space left on device" }, "disk", "nothing can be written to /var/lib/heartbeat", "free some space"},
		{"disk nearly full", func(f *facts) { f.disks[0].free = 1 << 20 }, "disk", "the disk under /var/lib/heartbeat is nearly full", "free some space"},
		{"no inodes", func(f *facts) { f.disks[0].inodes = false }, "disk", "the disk under /var/lib/heartbeat takes no more files", "remove files"},
		{"DRBD apart", func(f *facts) { f.drbd[0].state.Connection = []string{"StandAlone"} }, "drbd", "the DRBD resource r0 is not connected", "drbdadm connect r0"},
		{"DRBD old", func(f *facts) { f.drbd[0].state.Disks = []string{"Inconsistent/UpToDate"} }, "drbd", "the DRBD resource r0 is not up to date here", "resynchronisation"},
		{"DRBD old there", func(f *facts) { f.drbd[0].state.Disks = []string{"UpToDate/Outdated"} }, "drbd", "the DRBD resource r0 is not up to date on the other node", "resynchronisation"},
		{"DRBD not there", func(f *facts) { f.drbd[0].err = "the program drbdadm is not installed" }, "drbd", "the DRBD resource r0 cannot be asked", "drbdadm up r0"},
		{"fencing device", func(f *facts) { f.fencing.err = "connection refused" }, "fencing", "the fencing device does not work", "heartbeat fence check"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := wellFacts()
			test.seed(&f)
			list := f.judge()
			if len(list) != 1 {
				t.Fatalf("%d findings: %+v", len(list), list)
			}
			if g := list[0]; g.About != test.about || !strings.HasPrefix(g.What, test.what) || !strings.Contains(g.Remedy, test.remedy) || g.Node != "alpha" || g.Severity == fault.Notice {
				t.Errorf("%+v\nwant %s: %s…, remedy …%s…", g, test.about, test.what, test.remedy)
			}
		})
	}
}

func TestComparisonBecomesFindings(t *testing.T) {
	list := judgeComparison("alpha", fault.List{{File: "haresources", Line: 3, Severity: fault.Warning, Message: "the group x differs", Hint: "copy it"}}, nil)
	if len(list) != 1 || list[0].Evidence != "haresources:3:1" || list[0].Remedy != "copy it" || list[0].Severity != fault.Warning {
		t.Errorf("%+v", list)
	}
	if list = judgeComparison("alpha", nil, errClassicPeer); len(list) != 1 || list[0].Severity != fault.Notice || !strings.Contains(list[0].Evidence, "Linux-HA") {
		t.Errorf("%+v", list)
	}
}

func TestStaleFilesAreNamed(t *testing.T) {
	a, b := testConfig(t, "alpha", "eth0"), testConfig(t, "alpha", "eth0")
	if list := staleParts(a, b); len(list) > 0 {
		t.Errorf("equal ones differ: %v", list)
	}
	b.Deadtime, b.Keys = 2*time.Second, keysOf(t, "auth 1\n1 sha1 other\n")
	if list := staleParts(a, b); len(list) != 2 || !strings.HasPrefix(list[0], "Deadtime") || list[1] != "authkeys" {
		t.Errorf("%v", list)
	}
}

func TestTryDisk(t *testing.T) {
	dir := t.TempDir()
	if d := tryDisk(dir); d.err != "" || !d.inodes || d.free == 0 {
		t.Errorf("%+v", d)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if d := tryDisk(filepath.Join(dir, "gone")); d.err == "" {
		t.Error("a directory that is not there can be written to")
	}
}

// TestProbesTellTheDirections cuts one direction of one cable: the node whose frames do not arrive learns it, and the other that its own do.
func TestProbesTellTheDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alpha, beta, cables := comparing(t, func(*config.Config) {})
		for p := range cables["eth1"].ends {
			p.mu.Lock()
			p.err = errors.New("its own firewall drops outgoing heartbeats")
			p.mu.Unlock()
			break // one of the two
		}
		arrived := 0
		for _, n := range []*labNode{alpha, beta} {
			found := n.media.prober.all(t.Context())
			if !found["eth0"].small || len(found) != 2 {
				t.Errorf("%s: %+v", n.manager.node, found)
			}
			if found["eth1"].small {
				arrived++
			}
		}
		if arrived != 1 {
			t.Errorf("frames arrive in %d directions of a cable that is cut in one", arrived)
		}
		alpha.end()
		beta.end()
	})
}

func TestLargeProbesAreAsLargeAsTheyCanBe(t *testing.T) {
	c := testConfig(t, "alpha", "eth0")
	m := &media{}
	m.keys.Store(c.Keys)
	p := &prober{media: m, self: func() (string, string) { return "alpha", "beta" }}
	for _, framing := range []wire.Framing{wire.Netstring, wire.Classic} {
		m.framing.Store(int64(framing))
		for _, size := range []int{1252, 1472, 8972} {
			q := p.padded(p.message(probeType, "0123456789abcdef"), size)
			if got := len(c.Keys.Seal(nil, q, framing)); got > size || got < size-probeSlack {
				t.Errorf("framing %v: %d bytes for %d", framing, got, size)
			}
		}
	}
}

func TestOldPeerIsNotProbed(t *testing.T) {
	if err := reachable(heartbeat.Status{Peer: heartbeat.PeerStatus{Name: "beta", State: "active", Kind: "hapair"}, Member: "up"}); err == nil {
		t.Error("a node that is not active yet asks")
	}
}
