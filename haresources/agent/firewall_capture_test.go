package agent_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"hapair/haresources/agent"
	"hapair/heartbeat/rehearsal/require"
)

// richRules use whatever a ruleset can be made of.
const richRules = `
define wan = { "eth0", "eth9" }
table inet filter {
	comment "a table"
	counter seen { comment "an object"; }
	quota most { over 100 mbytes }
	ct helper ftp-standard { type "ftp" protocol tcp; l3proto inet; }
	limit lim { rate 10/second burst 5 packets }
	set admins { type ipv4_addr; flags interval; comment "who may"; elements = { 10.0.0.0/8, 192.0.2.1, 192.0.2.7-192.0.2.9 } }
	set pairs { type ipv4_addr . inet_service; elements = { 10.0.0.1 . 22, 10.0.0.2 . 80 } }
	set recent { type ipv4_addr; flags dynamic,timeout; timeout 1h; size 1000; }
	map ports { type inet_service : verdict; elements = { 22 : accept, 80 : jump web, 443 : goto web } }
	map to { type inet_service : ipv4_addr; elements = { 8080 : 10.1.1.1 } }
	chain web { ip saddr @admins counter accept comment "from the office"; add @recent { ip saddr limit rate 5/minute } ; drop; }
	chain input { type filter hook input priority filter; policy drop; comment "a chain";
		iif lo accept
		iifname $wan tcp flags syn / fin,syn,rst,ack ct state new limit name "lim" counter name seen log prefix "new: " level info
		iifname vmap { "eth0" : jump web, "eth1" : accept }
		tcp dport vmap @ports
		ip saddr . tcp dport @pairs accept
		udp dport { 53, 123, 5000-5010 } ct state { new, established } accept
		ip6 nexthdr icmpv6 icmpv6 type { echo-request, nd-neighbor-solicit } accept
		meta mark set ct mark and 0xff
		fib saddr . iif oif missing drop
		ct helper set "ftp-standard"
		reject with icmpx type admin-prohibited
	}
	chain early { type filter hook prerouting priority raw; policy accept; notrack counter; }
	chain out { type route hook output priority mangle; policy accept; tcp option maxseg size set rt mtu; }
}
table ip nat {
	chain pre { type nat hook prerouting priority dstnat; iifname "eth0" dnat to tcp dport map { 80 : 10.0.0.5, 443 : 10.0.0.6 }; tcp dport 8080 redirect to :80; }
	chain post { type nat hook postrouting priority srcnat; oifname "eth0" snat to 203.0.113.1-203.0.113.5 persistent; masquerade random; }
}
table ip6 six {
	chain c { type filter hook forward priority filter; ip6 saddr fd00::/8 ip6 daddr != { fd00:1::/32 } accept; }
}
table arp a {
	chain in { type filter hook input priority filter; arp operation request accept; }
}
table bridge b {
	chain f { type filter hook forward priority filter; ether type ip accept; }
}
table netdev n {
	chain i { type filter hook ingress device lo priority 0; ip saddr 192.0.2.66 drop; }
}
`

// TestEveryRuleCanBeReplayed loads rules of all kinds by their own transaction.
func TestEveryRuleCanBeReplayed(t *testing.T) {
	require.Root(t, "the replay of rulesets")
	require.Tool(t, "nft", "the replay of rulesets")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	env := agent.Environment{Environ: os.Environ(), Pass: heartbeats}
	many := "table ip many {\n\tchain c {\n" + strings.Repeat("\t\tip saddr 192.0.2.1 tcp dport 80 counter accept\n", 3000) + "\t}\n}\n"
	for name, text := range map[string]string{"rich": richRules, "flush": "flush ruleset\n" + richRules, "many": many} {
		changes, rules, err := agent.Replayable(ctx, env, write(t, name+".nft", text))
		if err != nil || changes == 0 {
			t.Errorf("%s: only the program nft can load it: %v", name, err)
		}
		t.Logf("%s: %d changes, %d rules", name, changes, rules)
	}
	// A rule at the head of a chain is not told from one at the end: such a file is the program's to load.
	text := "table inet x {\n\tchain c { type filter hook forward priority 0; accept; }\n}\ninsert rule inet x c drop\n"
	if changes, _, err := agent.Replayable(ctx, env, write(t, "insert.nft", text)); err != nil || changes > 0 {
		t.Errorf("a file with insert: %d changes, %v", changes, err)
	}
}
