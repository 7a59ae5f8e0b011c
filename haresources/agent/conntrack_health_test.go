package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/haresources"
)

// statistics is what conntrackd 1.4.7 prints for -s.
const statistics = `cache internal:
current active connections:	          63
connections created:		         120	failed:	           0
cache external:
current active connections:	          41
connections created:		           0	failed:	           0
traffic processed:
                   0 Bytes                         0 Pckts
UDP traffic (active device=hb0):
                3232 Bytes sent                  100 Bytes recv
                 303 Pckts sent                   17 Pckts recv
                   4 Error send                    0 Error recv
message tracking:
                   0 Malformed msgs                    5 Lost msgs`

func TestSyncCountersAreRead(t *testing.T) {
	var lines []string
	for line := range strings.Lines(statistics) {
		lines = append(lines, strings.TrimSpace(line))
	}
	want := SyncCounters{Internal: 63, External: 41, Sent: 303, Received: 17, Errors: 4, Lost: 5}
	if got := parseSync(lines); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	if got := parseSync([]string{"nonsense", "Pckts sent", ":"}); got != (SyncCounters{}) {
		t.Errorf("nonsense: %+v", got)
	}
}

func TestSyncIsJudgedByItsCounters(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(1000+seconds), 0) }
	var h syncHealth
	for second := range 12 {
		if err := h.add(SyncCounters{Received: uint64(second)}, at(second)); err != nil {
			t.Fatalf("all is well, and yet: %v", err)
		}
	}
	var err error
	for second := 12; second < 22; second++ {
		err = h.add(SyncCounters{Received: 11}, at(second))
	}
	if !errors.Is(err, errDeaf) {
		t.Errorf("nothing arrives: %v", err)
	}
	if err = h.add(SyncCounters{Received: 12, Lost: 3}, at(23)); err == nil || !strings.Contains(err.Error(), "3 messages") {
		t.Errorf("lost messages: %v", err)
	}
	if err = h.add(SyncCounters{Received: 13, Lost: 3, Errors: 9}, at(25)); err == nil || !strings.Contains(err.Error(), "9 packets") {
		t.Errorf("errors: %v", err)
	}
	if err = h.add(SyncCounters{Received: 14, Lost: 3, Errors: 9}, at(27)); err != nil {
		t.Errorf("all is well again, and yet: %v", err)
	}
}

func TestSyncIsComparedWithThePeer(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(1000+seconds), 0) }
	var h syncHealth
	h.add(SyncCounters{Internal: 10000, Received: 1}, at(0))
	for second := range 60 {
		if err := h.compare(true, SyncCounters{External: 9950, Received: uint64(second)}, at(second)); err != nil {
			t.Fatalf("all is well, and yet: %v", err)
		}
	}
	var err error
	for second := 60; second < 75; second++ {
		err = h.compare(true, SyncCounters{External: 9950, Received: 59}, at(second))
	}
	if !errors.Is(err, errUnheard) {
		t.Errorf("one way only: %v", err)
	}
	for second := 75; second < 110; second++ {
		err = h.compare(true, SyncCounters{External: 4000, Received: uint64(second)}, at(second))
		if second < 100 && err != nil {
			t.Fatalf("complained at once: %v", err)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "lags") {
		t.Errorf("stalled: %v", err)
	}
	h = syncHealth{}
	h.add(SyncCounters{External: 100, Received: 1}, at(0))
	for second := range 40 {
		err = h.compare(false, SyncCounters{Internal: 5000, Received: uint64(second)}, at(second))
	}
	if err == nil || !strings.Contains(err.Error(), "5000 connections") {
		t.Errorf("stalled, seen from the standby node: %v", err)
	}
}

func TestConntrackPortsPass(t *testing.T) {
	table, faults := haresources.Parse("test", strings.NewReader("alpha Conntrack 10.0.0.1\nbeta Conntrack::dev=eth9::port=4000 10.0.0.2\n"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	got := WithConntrack([]Pass{{Device: "eth1", Port: 694}, {Device: "eth1", Port: 695}}, table)
	if len(got) != 4 || got[2].Device != "eth1" || got[2].Port != 3780 || got[3].Device != "eth9" || got[3].Port != 4000 {
		t.Errorf("%+v", got)
	}
}

// TestConntrackPortsOfAnOwnConfigurationPass: what an administrator has written himself is let through too.
func TestConntrackPortsOfAnOwnConfigurationPass(t *testing.T) {
	file, text := filepath.Join(t.TempDir(), "conntrackd.conf"), `Sync {
	Mode FTFW { ResendQueueSize 131072 }
	Multicast Default {
		IPv4_address 225.0.0.50
		Group 3781 # Port 9
		IPv4_interface 10.0.0.1
		Interface eth7
	}
	UDP {
		IPv6_address fd00::1
		IPv6_Destination_Address fd00::2
		Port 3790
		Interface eth8
	}
}
General { UNIX { Path /run/conntrackd.ctl } }
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	table, faults := haresources.Parse("test", strings.NewReader("alpha Conntrack::"+file+" 10.0.0.1\n"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	want := []Pass{{Device: "eth7", Port: 3781}, {Device: "eth8", Port: 3790, IPv6: true, Peer: netip.MustParseAddr("fd00::2")}}
	if got := WithConntrack(nil, table); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
