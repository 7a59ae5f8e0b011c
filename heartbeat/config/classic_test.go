package config_test

import (
	"strings"
	"testing"

	"hapair/heartbeat/config"
)

// TestWriteClassicAndBack: what was converted to heartbeat.toml and back means the same as at first.
func TestWriteClassicAndBack(t *testing.T) {
	again := 0
	for _, dir := range sources(t) {
		from := copyFiles(t, dir)
		out, err := config.Convert(from)
		if err != nil {
			continue // TestConvertEverything looks at those
		}
		to := write(t, map[string]string{"heartbeat.toml": string(out.Text), "authkeys": extra(from, "authkeys")})
		lost, err := config.WriteClassic(to)
		if err != nil || len(lost) > 0 {
			t.Errorf("%s: %v, lost %q", dir, err, lost)
			continue
		}
		want, _ := config.Load(from, config.WithNode("alpha"))
		got, _ := config.Load(to, config.WithNode("alpha"))
		for _, d := range config.Differences(want, got) {
			t.Errorf("%s: %s\n%s", dir, d, extra(to, "ha.cf"))
		}
		again++
	}
	if again < 35 {
		t.Errorf("only %d configurations went there and back", again)
	}
}

// TestWriteClassicTellsWhatIsLost names what three files cannot say.
func TestWriteClassicTellsWhatIsLost(t *testing.T) {
	dir := write(t, map[string]string{"heartbeat.toml": `nodes = ["alpha", "beta"]
[link.eth0]
kind = "bcast"
[link.eth1]
kind = "bcast"
port = 700
[env]
A = "two words"
[group.web]
node = "alpha"
resources = ["10.20.0.100/24/eth0"]
`})
	lost, err := config.WriteClassic(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(lost, "\n")
	for _, want := range []string{"port 700 of bcast eth1", "env A", "the name of the group web"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not among what was lost: %s", want, all)
		}
	}
}
