package daemon

import (
	"strings"
	"testing"

	"hapair/haresources"
	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

// table is a haresources file with the lines given.
func table(t *testing.T, lines ...string) haresources.Table {
	t.Helper()
	list, err := haresources.Parse("haresources", strings.NewReader(strings.Join(lines, "\n")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestCheckNamesWhatALeaseDoesNotProtect: addresses end with a lease; a mount, a service, and everything where there are no leases do not.
func TestCheckNamesWhatALeaseDoesNotProtect(t *testing.T) {
	c := &config.Config{Node: "alpha", Peer: "beta", Lease: "on", Table: table(t,
		"alpha 10.0.0.1 Firewall::/etc/rules.nft MailTo::root",
		"alpha 10.0.0.2 Filesystem::/dev/sdb::/srv::ext4 nfs",
		"alpha backup")}
	faults := checkLease(c)
	want := []string{
		"haresources:2:7: notice: 10.0.0.2: the lease ends its addresses on a node that hangs, and does not stop Filesystem::/dev/sdb::/srv::ext4, nfs there",
		"haresources:3:7: notice: backup: it has no address, so a lease protects nothing of it: when its node hangs, backup may run on both",
	}
	if len(faults) != len(want) {
		t.Fatalf("%d faults: %v", len(faults), faults)
	}
	for i, w := range want {
		if got := faults[i].Error(); !strings.HasPrefix(got, w) {
			t.Errorf("%s\nwant %s…", got, w)
		}
	}
	c.Lease = "off"
	if faults = checkLease(c); len(faults) != 3 || !strings.Contains(faults[0].Error(), "leave lease=off out") {
		t.Errorf("without leases: %v", faults)
	}
	c.Peer = ""
	if faults = checkLease(c); len(faults) != 0 {
		t.Errorf("a node that runs alone: %v", faults)
	}
}

// TestCheckNamesRoutersOnOneInterface: of two groups that forward by one interface only the first one's forwarding can be leased.
func TestCheckNamesRoutersOnOneInterface(t *testing.T) {
	c := &config.Config{Node: "alpha", Peer: "beta", Lease: "on", Table: table(t,
		"alpha Firewall::/etc/a.nft 10.1.0.1 10.1.1.1",
		"alpha 10.9.0.1 10.9.1.1",
		"beta Firewall::/etc/b.nft 10.2.0.1 10.2.1.1",
		"beta Firewall::/etc/c.nft 10.3.0.1 10.3.1.1")}
	groups := c.Table.Groups
	where := places{
		groups[0].Name: {at("10.1.0.1", "wan"), at("10.1.1.1", "lan")},
		groups[1].Name: {at("10.9.0.1", "wan"), at("10.9.1.1", "lan")},
		groups[2].Name: {at("10.2.0.1", "wan"), at("10.2.1.1", "dmz")},
		groups[3].Name: {at("10.3.0.1", "wan", 2, 0, 0, 0, 0, 1), at("10.3.1.1", "dmz", 2, 0, 0, 0, 0, 2)},
	}
	faults := checkRouters(c, where)
	if len(faults) != 1 || faults[0].Severity != fault.Warning || faults[0].Line != 3 ||
		!strings.Contains(faults[0].Error(), "both forward by wan") || !strings.Contains(faults[0].Error(), "VirtualMAC") {
		t.Errorf("%v", faults)
	}
	c.Lease = "addresses"
	if faults = checkRouters(c, where); len(faults) != 0 {
		t.Errorf("where only addresses are leased: %v", faults)
	}
}
