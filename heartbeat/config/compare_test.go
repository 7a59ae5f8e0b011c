package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hapair/heartbeat/config"
)

// base is a pair's files; each row of the test changes the other node's.
var base = map[string]string{
	"ha.cf": "node alpha beta\nkeepalive 100ms\ndeadtime 1\nauto_failback off\nbcast eth0\nucast eth1 10.1.0.2\nping 10.0.0.254\n" +
		"#hapair: retry-failed=5m\nstonith_host * external/ssh beta\nlogfile /var/log/ha-log\n",
	"haresources": "# both nodes\nalpha 10.0.0.1/24/eth0 apache2\nbeta 10.0.0.2/24/eth0 mail # hers\n",
	"authkeys":    "auth 1\n1 sha1 secret\n",
}

// side reads files as a node does, and tells what it would tell.
func side(t *testing.T, node string, files map[string]string) config.Side {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, faults := config.Load(dir, config.WithNode(node))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	items := append(c.Items(),
		config.Item{Part: config.PartScripts, Key: "apache2", Line: 2, Value: files["script"], Open: files["script"] == config.Missing},
		config.Item{Part: config.PartProgram, Key: "version", Value: files["version"], Open: true})
	return config.NewSide(c, items, 1)
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name, file, old, new string
		want                 string // beginning of the first difference; "" for none
	}{
		{"the same", "ha.cf", "", "", ""},
		{"comments, blanks and order", "ha.cf", "keepalive 100ms\ndeadtime 1\n", "# x\ndeadtime   1000ms\nkeepalive .1\n", ""},
		{"its own address and devices", "ha.cf", "bcast eth0\nucast eth1 10.1.0.2", "bcast enp1s0\nucast enp2s0 10.1.0.1", ""},
		{"both addresses in one file", "ha.cf", "ucast eth1 10.1.0.2", "ucast eth1 10.1.0.2\nucast eth1 10.1.0.1", ""},
		{"its own log", "ha.cf", "/var/log/ha-log", "/var/log/other", ""},
		{"legacy is on between two of ours", "ha.cf", "auto_failback off", "auto_failback on", "ha.cf:4:1: warning: auto_failback is off here and on on beta (ha.cf:4)"},
		{"deadtime", "ha.cf", "deadtime 1", "deadtime 2", "ha.cf:3:1: warning: deadtime is 1s here and 2s on beta (ha.cf:3)"},
		{"a link less", "ha.cf", "ucast eth1 10.1.0.2\n", "", "ha.cf:6:1: warning: link ucast is not in beta's ha.cf"},
		{"another port", "ha.cf", "bcast eth0", "udpport 695\nbcast eth0", "ha.cf:5:1: warning: link bcast is port 694 here and port 695 on beta (ha.cf:6)"},
		{"another ping node", "ha.cf", "10.0.0.254", "10.0.0.253", "ha.cf:7:1: warning: ping 10.0.0.254 is not in beta's ha.cf"},
		{"a pragma", "ha.cf", "retry-failed=5m", "retry-failed=6m", "ha.cf:8:1: warning: retry-failed is 5m0s here and 6m0s on beta (ha.cf:8)"},
		{"a default on one side", "ha.cf", "#hapair: retry-failed=5m\n", "", "ha.cf:8:1: warning: retry-failed is 5m0s here and 10m0s on beta (ha.cf)"},
		{"a device's secret parameter", "ha.cf", "external/ssh beta", "external/ssh delta", "ha.cf:9:1: warning: stonith_host * external/ssh differs from beta's (ha.cf:9)"},
		{"respawn on one side", "ha.cf", "ping 10.0.0.254\n", "ping 10.0.0.254\nrespawn root /bin/true\n", "ha.cf: warning: respawn /bin/true, which beta has (ha.cf:8), is missing here"},
		{"a resource more", "haresources", "apache2", "apache2 squid", "haresources:2:1: warning: the group 10.0.0.1/24/eth0 differs from beta's (haresources:2)"},
		{"another owner", "haresources", "beta 10.0.0.2", "alpha 10.0.0.2", "haresources:3:1: warning: the group 10.0.0.2/24/eth0 differs from beta's (haresources:3)"},
		{"a spelling", "haresources", "alpha 10.0.0.1/24/eth0", "alpha   IPaddr::10.0.0.1/24/eth0", "haresources:2:1: error: the group 10.0.0.1/24/eth0 is not in beta's haresources"},
		{"a group more there", "haresources", "# both nodes\n", "alpha 10.0.0.9/24/eth0\n", "haresources: error: the group 10.0.0.9/24/eth0, which beta has (haresources:1), is missing here"},
		{"a group less there", "haresources", "beta 10.0.0.2/24/eth0 mail # hers\n", "", "haresources:3:1: error: the group 10.0.0.2/24/eth0 is not in beta's haresources"},
		{"a second key there", "authkeys", "1 sha1 secret\n", "1 sha1 secret\n2 sha1 next\n", "authkeys: notice: key 2, which beta has (authkeys), is missing here"},
		{"another key signs", "authkeys", "auth 1\n", "auth 2\n2 sha1 next\n", "authkeys: notice: this node signs with key 1, beta with key 2"},
		{"another script", "script", "text", "other", "haresources:2:1: warning: the script apache2 differs from beta's (haresources:2)"},
		{"script missing there", "script", "text", config.Missing, "haresources:2:1: error: the script apache2 is missing on beta"},
		{"program", "version", "1.0.0", "1.1.0", "notice: version is 1.0.0 here and 1.1.0 on beta"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{"script": "text", "version": "1.0.0"}
			for name, text := range base {
				files[name] = text
			}
			mine := side(t, "alpha", files)
			if !strings.Contains(files[test.file], test.old) {
				t.Fatalf("%s holds no %q", test.file, test.old)
			}
			files[test.file] = strings.Replace(files[test.file], test.old, test.new, 1)
			got := config.Compare(mine, side(t, "beta", files))
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("equal files differ: %v", got)
			case test.want != "" && (len(got) == 0 || !strings.HasPrefix(got[0].Error(), test.want) || got[0].Hint == ""):
				t.Errorf("got %v\nwant %s…", got, test.want)
			}
			if text := got.Error(); strings.Contains(text, "delta") || strings.Contains(text, "secret") {
				t.Errorf("shows a secret: %s", text)
			}
		})
	}
}

// TestCompareBothForms has one node on ha.cf and the other on what convert makes of it.
func TestCompareBothForms(t *testing.T) {
	dir := t.TempDir()
	for name, text := range base {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := config.Convert(dir)
	if err != nil {
		t.Fatal(err)
	}
	mine := side(t, "alpha", base)
	theirs := side(t, "beta", map[string]string{"heartbeat.toml": string(out.Text), "authkeys": base["authkeys"]})
	if got := config.Compare(mine, theirs); len(got) > 0 {
		t.Errorf("the same in both forms differs: %v", got)
	}
	text := strings.Replace(string(out.Text), `deadtime = "1s"`, `deadtime = "2s"`, 1)
	theirs = side(t, "beta", map[string]string{"heartbeat.toml": text, "authkeys": base["authkeys"]})
	if got := config.Compare(mine, theirs); len(got) != 1 || !strings.HasPrefix(got[0].Error(), "ha.cf:3:1: warning: deadtime is 1s here and 2s on beta (heartbeat.toml:") {
		t.Errorf("%v\n%s", got, text)
	}
}
