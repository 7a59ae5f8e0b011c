package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/rehearsal/probe"
	"hapair/heartbeat/rehearsal/require"
)

func TestMain(m *testing.M) {
	lab.Divert(map[string]lab.Program{"measure": measure})
	os.Exit(m.Run())
}

// requireNamespaces is the one place where a test of this package says that it cannot run here.
func requireNamespaces(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	require.Skip(t, "measuring two machines", err.Error())
}

var (
	vip4 = netip.MustParseAddr("10.9.8.100")
	vip6 = netip.MustParseAddr("fd00:9:8::100")
)

// measured is what the program inside found.
type measured struct {
	Holders        [3]map[string]int // by one holder, by both, after the first lost power
	Overlap        map[string]time.Duration
	GapMS          map[string]float64
	Moves          map[string][]int
	Announcements  []string
	AnswersASecond float64
}

// measure lets node 0 hold two addresses, then both nodes, then cuts node 0's power.
func measure(_ json.RawMessage, out io.Writer) error {
	l, err := lab.Open()
	if err != nil {
		return err
	}
	sw, err := l.NewSwitch("lan")
	if err != nil {
		return err
	}
	var nodes [2]*lab.Machine
	macs := [2]net.HardwareAddr{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}
	for i := range nodes {
		sysctls := lab.QuietSysctls()
		sysctls["net/ipv4/ip_default_ttl"] = fmt.Sprint(probe.NodeTTL(i))
		sysctls["net/ipv6/conf/default/hop_limit"] = fmt.Sprint(probe.NodeTTL(i))
		sysctls["net/ipv4/conf/default/arp_notify"] = "1"
		nodes[i], err = l.Boot(lab.MachineSpec{Name: fmt.Sprint("node", i), Sysctls: sysctls, Ports: []lab.Port{{Switch: sw, Device: "eth0", MAC: macs[i],
			Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.9.8.%d/24", i+1)), netip.MustParsePrefix(fmt.Sprintf("fd00:9:8::%d/64", i+1))}}}})
		if err != nil {
			return err
		}
	}
	client, err := l.NewHost("client", []lab.Port{{Switch: sw, Device: "eth0",
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.8.9/24"), netip.MustParsePrefix("fd00:9:8::9/64")}}}, nil)
	if err != nil {
		return err
	}
	clock := probe.NewClock()
	targets := []netip.Addr{vip4, vip6}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	hold := func(m *lab.Machine) error {
		r, err := m.Run(ctx, "sh", "-ec", "ip addr add 10.9.8.100/24 dev eth0; ip addr add fd00:9:8::100/64 dev eth0 nodad")
		if err == nil && r.Exit != 0 {
			err = fmt.Errorf("add addresses: %s", r.Output)
		}
		return err
	}
	if err := hold(nodes[0]); err != nil {
		return err
	}
	echo, err := probe.StartEcho(client.Do, clock, targets)
	if err != nil {
		return err
	}
	ask, err := probe.StartAsk(client.Do, clock, probe.Asked{Device: "eth0", Targets: targets, Nodes: macs,
		Sources: []netip.Addr{netip.MustParseAddr("10.9.8.9"), netip.MustParseAddr("fd00:9:8::9")}})
	if err != nil {
		return err
	}
	m := measured{Overlap: map[string]time.Duration{}, GapMS: map[string]float64{}, Moves: map[string][]int{}}
	look := func(phase int) {
		begun := clock.Now()
		time.Sleep(300 * time.Millisecond)
		m.Holders[phase] = map[string]int{}
		for _, t := range targets {
			m.Holders[phase][t.String()] = ask.Holders(t, begun+20*time.Millisecond)
		}
	}
	time.Sleep(200 * time.Millisecond)
	look(0)
	if err := hold(nodes[1]); err != nil {
		return err
	}
	look(1)
	nodes[0].PowerOff()
	cut := clock.Now()
	time.Sleep(100 * time.Millisecond)
	// The kernel announces every address of a device whose hardware address is set.
	if r, err := nodes[1].Run(ctx, "ip", "link", "set", "eth0", "address", macs[1].String()); err != nil || r.Exit != 0 {
		return fmt.Errorf("announce: %v %s", err, r.Output)
	}
	time.Sleep(200 * time.Millisecond)
	look(2)
	echo.Stop()
	ask.Stop()
	end := clock.Now()
	for _, t := range targets {
		m.Overlap[t.String()] = probe.Total(probe.Overlaps(ask.Answers(t), ask.Rounds(), probe.AskPeriod, probe.Span{To: cut}))
		m.GapMS[t.String()] = probe.LongestGap(echo.Answers(t), echo.Sends(), probe.EchoPeriod, probe.Span{From: cut, To: end}).Outage().Seconds() * 1000
		for _, move := range probe.Moves(echo.Answers(t), probe.Span{To: end}) {
			m.Moves[t.String()] = append(m.Moves[t.String()], move.Node)
		}
	}
	for _, a := range ask.Announcements() {
		m.Announcements = append(m.Announcements, fmt.Sprint(a.Target, " ", a.Node, " ", a.Form))
	}
	m.AnswersASecond = float64(len(echo.Answers(vip4))) / end.Seconds()
	return json.NewEncoder(out).Encode(m)
}

func TestMeasure(t *testing.T) {
	var m measured
	for range 3 { // the client may have gone over to the second node while both answered: then there is no outage to measure
		m = measured{}
		requireNamespaces(t, lab.Enter(t.Context(), "measure", nil, func(line []byte) {
			if err := json.Unmarshal(line, &m); err != nil {
				t.Error(err)
			}
		}))
		t.Logf("%+v", m)
		if m.GapMS[vip4.String()] >= 100 {
			break
		}
	}
	for phase, want := range []int{1, 3, 2} {
		for _, vip := range []string{vip4.String(), vip6.String()} {
			if got := m.Holders[phase][vip]; got != want {
				t.Errorf("phase %d: holders of %s: got %b, want %b", phase, vip, got, want)
			}
		}
	}
	for _, vip := range []string{vip4.String(), vip6.String()} {
		if o := m.Overlap[vip]; o < 200*time.Millisecond || o > 600*time.Millisecond {
			t.Errorf("both answered for %s for %v, want about 300ms", vip, o)
		}
	}
	if g := m.GapMS[vip4.String()]; g < 100 || g > 1500 {
		t.Errorf("outage of %s: %.1f ms, want about 110 to 1200", vip4, g)
	}
	if got := fmt.Sprint(m.Moves[vip4.String()]); got != "[0 1]" {
		t.Errorf("moves: got %s", got)
	}
	if !slices.Contains(m.Announcements, "10.9.8.100 1 request") {
		t.Errorf("announcements: got %q", m.Announcements)
	}
	if m.AnswersASecond < 500 {
		t.Errorf("only %.0f answers a second", m.AnswersASecond)
	}
}
