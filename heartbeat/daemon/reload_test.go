package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
)

// filesFor writes a configuration directory of node alpha and reads it.
func filesFor(t *testing.T, dir, haCF, key string) *config.Config {
	t.Helper()
	for name, content := range map[string]string{
		"ha.cf": haCF, "haresources": "alpha web\nbeta mail\n", "authkeys": "auth 1\n1 sha1 " + key + "\n", "nodeinfo": "alpha\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, faults := config.Load(dir)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

const reloadHaCF = "keepalive 100ms\ndeadtime 1\ninitdead 10\nauto_failback off\nnode alpha beta\n"

func TestReloadAppliesADifference(t *testing.T) {
	dir := t.TempDir()
	before := filesFor(t, dir, reloadHaCF+"bcast eth0 eth1\n", "secret-of-the-laboratory")
	synctest.Test(t, func(t *testing.T) {
		cables := map[string]*cable{"bcast eth0": newCable("bcast eth0"), "bcast eth1": newCable("bcast eth1"), "bcast eth2": newCable("bcast eth2")}
		n := boot(t, before, cables, 1)
		n.engine.paths.Config = dir
		time.Sleep(time.Second)
		kept := n.media.find("bcast eth1")

		filesFor(t, dir, reloadHaCF+"bcast eth1 eth2\nlog_badpack off\n", "another-secret-of-the-laboratory")
		if _, err := n.reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s, err := n.status(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Links) != 2 || s.Links[0].ID != "bcast eth1" || s.Links[1].ID != "bcast eth2" || s.Links[1].Sent == 0 {
			t.Errorf("links after the reload: %+v", s.Links)
		}
		if n.media.find("bcast eth1") != kept || n.media.find("bcast eth0") != nil {
			t.Error("a link in both files was replaced, or one in none was kept")
		}
		if len(cables["bcast eth0"].ends) != 0 || n.media.keys.Load().Equal(before.Keys) || n.media.sayBad.Load() {
			t.Errorf("the old link is open (%d ends), or the old keys or settings are in force", len(cables["bcast eth0"].ends))
		}
		n.end()
	})
}

func TestReloadOfABadFileChangesNothing(t *testing.T) {
	dir := t.TempDir()
	before := filesFor(t, dir, reloadHaCF+"bcast eth0\n", "secret-of-the-laboratory")
	for name, change := range map[string]string{
		"misspelt":     reloadHaCF + "bcast eth9\nbaste eth0\n",
		"other node":   strings.Replace(reloadHaCF, "node alpha beta", "node alpha gamma", 1) + "bcast eth0\n",
		"no link left": reloadHaCF,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := boot(t, before, map[string]*cable{"bcast eth0": newCable("bcast eth0")}, 1)
				n.engine.paths.Config = dir
				time.Sleep(time.Second)
				if err := os.WriteFile(filepath.Join(dir, "ha.cf"), []byte(change), 0o600); err != nil {
					t.Fatal(err)
				}
				faults, err := n.reload(context.Background())
				if err == nil {
					t.Errorf("accepted: %s", faults)
				}
				if n.conf() != before || n.media.find("bcast eth0") == nil || len(n.media.all()) != 1 {
					t.Error("something was changed")
				}
				time.Sleep(time.Second)
				if !strings.Contains(n.sink.text(), "nothing was changed") {
					t.Errorf("the log does not say so:\n%s", n.sink.text())
				}
				n.end()
			})
		})
	}
}

// TestReloadRefusesWhatBothWouldRun: a resource of a group that the peer holds by the old files is not started by a line that this node holds.
func TestReloadRefusesWhatBothWouldRun(t *testing.T) {
	parse := func(text string) haresources.Table {
		table, faults := haresources.Parse("haresources", strings.NewReader(text))
		if faults.Err() != nil {
			t.Fatal(faults)
		}
		return table
	}
	tests := []struct {
		before, after string
		owners        map[string]string
		refused       string
	}{
		{"alpha a b\nbeta c d\n", "alpha a b d\nbeta c\n", map[string]string{"a": "alpha", "c": "beta"}, "d runs on beta, in the group c, and is on the line of a now"},
		{"alpha a b\nbeta c d\n", "alpha x b d\nbeta c\n", map[string]string{"a": "alpha", "c": "beta"}, "d runs on beta, in the group c, and is on the line of x now"},
		{"alpha a b\nbeta c d\n", "alpha a b d\nbeta c\n", map[string]string{"a": "alpha", "c": "alpha"}, ""},
		{"alpha a b\nbeta c d\n", "alpha a b d\nbeta c\n", map[string]string{"a": "beta", "c": "beta"}, ""},
		{"alpha a b\nbeta c d\n", "alpha a b e\nbeta c d\n", map[string]string{"a": "alpha", "c": "beta"}, ""},
	}
	for _, tt := range tests {
		now := heartbeat.Instant{Mono: time.Hour}
		e := &engine{clock: func() heartbeat.Instant { return now }}
		e.config.Store(&config.Config{Table: parse(tt.before)})
		e.snapshot.core = heartbeat.Status{Node: "alpha", Peer: heartbeat.PeerStatus{Name: "beta"}}
		for name, owner := range tt.owners {
			e.snapshot.core.Groups = append(e.snapshot.core.Groups, heartbeat.GroupStatus{Name: name, Owner: owner})
		}
		e.snapshot.at, e.snapshot.have = now, true
		err := e.refuseMoves(&config.Config{Table: parse(tt.after)})
		if (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%q to %q with %v: %v", tt.before, tt.after, tt.owners, err)
		}
	}
}
