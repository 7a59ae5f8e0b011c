package heartbeat_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
)

var update = flag.Bool("update", false, "write the traces of the scenario files anew")

// scenario is a file of testdata/cluster: commands, and below each the trace of both nodes. It reads as prose; the trace is
// rewritten with -update, and only committed when one understands what changed.
type scenario struct {
	w     *world
	fails map[string]int // "start GROUP" or "stop GROUP": how often more it fails
}

// fail tells whether an operation fails by the scenario's wish.
func (s *scenario) fail(what string) bool {
	if s == nil || s.fails[what] == 0 {
		return false
	}
	s.fails[what]--
	return true
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("../testdata/cluster/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario files: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("the trace differs from %s; got:\n%s", name, got)
			}
		})
	}
}

// play runs the commands of a file and renders it with the traces that they gave.
func play(t *testing.T, text string) string {
	t.Helper()
	s := &scenario{fails: map[string]int{}}
	var out strings.Builder
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
			fmt.Fprintln(&out, line)
			continue
		case strings.HasPrefix(line, "    "):
			continue // the old trace
		}
		fmt.Fprintln(&out, line)
		if err := s.command(strings.Fields(line)); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for _, l := range s.w.trace {
			fmt.Fprintln(&out, "    "+strings.TrimSpace(l))
		}
		s.w.trace = nil
		if s.w.fault != "" {
			t.Error(s.w.fault)
			break
		}
	}
	return out.String()
}

// command carries out one line.
func (s *scenario) command(words []string) error {
	if words[0] == "pair" {
		return s.pair(words[1:])
	}
	if s.w == nil {
		return errors.New("the first command must be pair")
	}
	switch words[0] {
	case "run":
		d, err := time.ParseDuration(words[1])
		s.w.run(s.w.now + d)
		return err
	case "service":
		s.w.serviceCut = words[1] == "down"
		return nil
	case "router":
		s.w.routerOff = words[1] == "off"
		return nil
	case "links":
		return s.cut(words[1:])
	case "fail":
		times, err := strconv.Atoi(words[3])
		s.fails[words[1]+" "+words[2]] = times
		return err
	case "expect":
		if got := fmt.Sprint(s.w.owners(words[1])); got != fmt.Sprint(words[2:]) {
			return fmt.Errorf("%s runs on %s", words[1], got)
		}
		return nil
	case "answers":
		got := []string{}
		for _, m := range s.w.nodes {
			if m.answers(words[1]) {
				got = append(got, m.name)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(words[2:]) {
			return fmt.Errorf("%s is answered by %s", words[1], got)
		}
		return nil
	}
	return s.onMachine(words)
}

// pair makes the world: key=value words change the defaults.
func (s *scenario) pair(words []string) error {
	o := options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: time.Second, failback: heartbeat.FailbackOff,
		groups: 1, links: 2, scriptTime: 0}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "groups":
			o.groups, err = strconv.Atoi(value)
		case "keepalive":
			o.keepalive, err = time.ParseDuration(value)
		case "deadtime":
			o.deadtime, err = time.ParseDuration(value)
		case "links":
			o.links, err = strconv.Atoi(value)
		case "initdead":
			o.initdead, err = time.ParseDuration(value)
		case "script":
			o.scriptTime, err = time.ParseDuration(value)
		case "mirror":
			o.mirror = value == "on"
		case "pings":
			o.pings = value == "on"
		case "carrier":
			o.carrier = value == "on"
		case "lease":
			o.lease = value == "on"
		case "auto_failback":
			o.failback = map[string]heartbeat.Failback{"on": heartbeat.FailbackOn, "off": heartbeat.FailbackOff}[value]
		default:
			err = fmt.Errorf("unknown option %q", key)
		}
		if err != nil {
			return err
		}
	}
	s.w = newWorld(1, o)
	s.w.script = s
	return nil
}

// cut takes links away and gives them back: "links down", "links up", "links down 0", "links down from alpha", "links down 0 from alpha".
func (s *scenario) cut(words []string) error {
	up := words[0] == "up"
	for i, c := range s.w.links {
		if len(words)%2 == 0 && words[1] != strconv.Itoa(i) {
			continue
		}
		for from, m := range s.w.nodes {
			if len(words) > 2 && words[len(words)-1] != m.name {
				continue
			}
			c.up[from] = up
		}
	}
	return nil
}

// onMachine is a command whose second word is a node.
func (s *scenario) onMachine(words []string) error {
	var m *machine
	for _, candidate := range s.w.nodes {
		if len(words) > 1 && candidate.name == words[1] {
			m = candidate
		}
	}
	if m == nil {
		return errors.New("which node?")
	}
	switch words[0] {
	case "start":
		m.powered = true
		m.start()
	case "power-cut":
		m.powerCut()
	case "kill":
		m.kill()
	case "freeze":
		m.stand(false)
	case "suspend":
		m.stand(true)
	case "pull": // every cable, the clients' too
		m.detached++
		m.tellCarrier()
	case "plug":
		m.detached--
		m.tellCarrier()
	case "thaw":
		m.resume()
	case "stop":
		m.request(heartbeat.RequestStop, "")
	case "standby":
		m.request(heartbeat.RequestStandby, words[2])
	case "takeover":
		m.request(heartbeat.RequestTakeover, words[2])
	case "mirror": // its daemon has made the mirror that its core asked for
		m.step(heartbeat.LinkState{Link: "mirror 10.0.0.254", Up: true})
	case "break":
		m.step(heartbeat.Health{Group: words[2], Failed: true, Reason: "its process died"})
	default:
		return errors.New("unknown command")
	}
	return nil
}
