package agent_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat/rehearsal/require"
)

func TestPortblockHoldsClientsThroughAMove(t *testing.T) {
	require.Tool(t, "nft", "blocked ports")
	for _, addr := range []string{"192.0.2.50", "2001:db8::50"} {
		l := newLAN(t)
		dir, markers := t.TempDir(), t.TempDir()
		block, unblock := "portblock::tcp::2049::block::"+addr, "portblock::tcp::2049::unblock::"+addr+"::"+dir
		address := "IPaddr::192.0.2.50/24/eth0"
		if strings.Contains(addr, ":") {
			address = "IPv6addr::2001:db8::50/64/eth0"
		}
		for i, n := range []*node{l.one, l.two} {
			env := []string{"HA_RSCTMP=" + filepath.Join(markers, string(rune('a'+i)))}
			for _, spec := range []string{block, unblock} {
				if r := n.do(order{Op: "status", Spec: spec, Env: env}); r.State != "stopped" {
					t.Fatalf("%s is %s at first", spec, r.State)
				}
			}
		}
		l.one.start(block)
		l.one.start(address)
		at := "192.0.2.50:2049"
		if strings.Contains(addr, ":") {
			at = "[2001:db8::50]:2049"
		}
		traffic := func(word string) int { return strings.Count(l.client.must(order{Op: "traffic"}).Output, word) }
		l.one.must(order{Op: "listen", Spec: at})
		l.client.must(order{Op: "dial", Spec: at})
		l.one.expect(block, "running")
		if traffic("connected") > 0 {
			t.Fatal("connected through a blocked port")
		}
		l.one.start(unblock)
		eventually(t, 10*time.Second, "the client connects", func() bool { return traffic("connected") == 1 })
		eventually(t, 5*time.Second, "the client is in the list", func() bool {
			l.one.expect(unblock, "running")
			return strings.Contains(l.one.sh("cat "+dir+"/"+addr), "2049")
		})

		l.one.stop(unblock)
		l.one.stop(address)
		l.one.expect(unblock, "stopped")
		has(t, l.one.sh("nft list ruleset"), "dport 2049 drop")
		l.two.start(block)
		l.two.start(address)
		l.two.must(order{Op: "listen", Spec: at})
		l.one.stop(block)
		if traffic("lost") > 0 {
			t.Error("the client has noticed the move")
		}
		begin := time.Now()
		l.two.start(unblock)
		eventually(t, 3*time.Second, "the client is connected again", func() bool { return traffic("connected") == 2 })
		t.Logf("%s: connected again %v after the ports were open", addr, time.Since(begin))
		l.two.expect(block, "running")
		hasNot(t, l.one.sh("nft list ruleset"), "drop")
		l.two.stop(unblock)
		l.two.stop(block)
		hasNot(t, l.two.sh("nft list ruleset"), "drop")
	}
}

func TestPortblockSeesItsPortsBlocked(t *testing.T) {
	require.Tool(t, "nft", "blocked ports")
	n := newNode(t)
	env := []string{"HA_RSCTMP=" + t.TempDir()}
	block, unblock := "portblock::udp::53,1000:1010::block", "portblock::udp::53,1000:1010::unblock"
	n.must(order{Op: "start", Spec: block, Env: env})
	n.must(order{Op: "start", Spec: unblock, Env: env})
	n.expect(unblock, "running")
	n.start(block)
	has(t, n.sh("nft list ruleset"), "53, 1000-1010")
	n.expect(unblock, "failed")
	n.stop(unblock)
	n.stop(block)
	n.expect(block, "stopped")
	if text := strings.TrimSpace(n.sh("nft list ruleset")); text != "" {
		t.Errorf("left: %s", text)
	}
}
