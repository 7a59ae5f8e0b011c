package heartbeat_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// recording is a file of testdata/cluster/classic: what two real Linux-HA nodes were told to do, and every message that they sent.
//
//	config KEY=VALUE…
//	group PREFERRED NAME
//	uuid NODE HEX
//	SECONDS NODE WORD…                      something was done: start, stop, power-cut, kill, standby WHICH, …; NODE is - for all
//	SECONDS NODE run HG                     the first message of a daemon of that generation
//	SECONDS NODE SEQ[+N/MS] KIND FIELDS…    a message, repeated N times each MS milliseconds with the next number
//	SECONDS NODE SEQ again                  a retransmission
//	SECONDS NODE - KIND FIELDS…             a message without a number
type recording struct {
	name  string
	cfg   heartbeat.Config
	links int
	ts    time.Time
	uuid  map[string][16]byte
	lines []recorded
}

// recorded is one line: something done, or a message.
type recorded struct {
	at   time.Duration
	node string
	done []string // nil for a message
	seq  uint64
	msg  wire.Message
}

func recordingNames(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../testdata/cluster/classic/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	return files
}

func readRecording(t *testing.T, file string) *recording {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{name: strings.TrimSuffix(filepath.Base(file), ".txt"), uuid: map[string][16]byte{}}
	r.cfg = heartbeat.Config{Nodes: []string{"alpha", "beta"}, HopFudge: 1, MaxRexmitDelay: 250 * time.Millisecond, Managed: true,
		RetryFailed: 10 * time.Minute}
	sent := map[string]wire.Message{}
	hg := map[string]string{}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if err := r.line(strings.Fields(line), sent, hg); err != nil {
			t.Fatalf("%s:%d: %v", file, i+1, err)
		}
	}
	slices.SortStableFunc(r.lines, func(a, b recorded) int { return int(a.at - b.at) })
	for i := range r.cfg.Links {
		r.cfg.Links[i].Name = strings.Fields(r.cfg.Links[i].ID)[1]
	}
	return r
}

func (r *recording) line(words []string, sent map[string]wire.Message, hg map[string]string) error {
	switch words[0] {
	case "config":
		return r.config(words[1:])
	case "group":
		r.cfg.Groups = append(r.cfg.Groups, heartbeat.Group{Preferred: words[1], Name: words[2]})
		return nil
	case "uuid":
		raw, err := hex.DecodeString(words[2])
		r.uuid[words[1]] = [16]byte(raw)
		return err
	}
	at, err := time.ParseDuration(words[0] + "s")
	if err != nil {
		return err
	}
	node := words[1]
	if words[2] == "run" {
		hg[node] = words[3]
	}
	number, _, repeated := strings.Cut(words[2], "+")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil && words[2] != "-" {
		r.lines = append(r.lines, recorded{at: at, node: node, done: words[2:]})
		return nil
	}
	if words[3] == "again" {
		r.lines = append(r.lines, recorded{at: at, node: node, seq: seq, msg: sent[node+hg[node]+words[2]]})
		return nil
	}
	count, every := uint64(0), time.Duration(0)
	if repeated {
		var ms float64
		if _, err := fmt.Sscanf(words[2], "%d+%d/%f", &seq, &count, &ms); err != nil {
			return err
		}
		every = time.Duration(ms * float64(time.Millisecond))
	}
	for i := range count + 1 {
		when := at + time.Duration(i)*every
		m := r.message(words[3:], recorded{node: node, seq: seq, at: when}, hg[node])
		sent[node+hg[node]+strconv.FormatUint(seq, 10)] = m
		r.lines = append(r.lines, recorded{at: when, node: node, seq: seq, msg: m})
		seq++
	}
	return nil
}

// message is the frame as it was on the wire, less what only a receiver of bytes sees.
func (r *recording) message(words []string, line recorded, hg string) wire.Message {
	m := wire.New(words[0])
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case key == "nodelist":
			value = strings.ReplaceAll(value, ",", " ") + " "
		case key == "delnodelist":
			value = " "
		}
		m.Add(key, value)
	}
	if words[0] == "status" {
		m.Add("protocol", "1")
	}
	other := r.uuid[map[string]string{"alpha": "beta", "beta": "alpha"}[line.node]]
	own := r.uuid[line.node]
	switch m.Get("dest") {
	case "":
	case line.node:
		m.AddBinary("destuuid", own[:])
	default:
		m.AddBinary("destuuid", other[:])
	}
	m.Add("src", line.node)
	m.AddBinary("srcuuid", own[:])
	if !strings.HasPrefix(words[0], "NS_") {
		m.Add("seq", strconv.FormatUint(line.seq, 16))
	}
	m.Add("hg", hg)
	m.Add("ts", strconv.FormatInt(r.ts.Add(line.at).Unix(), 16))
	m.Add("ttl", "3")
	return m
}

func (r *recording) config(words []string) error {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "keepalive":
			r.cfg.Keepalive, err = time.ParseDuration(value)
		case "deadtime":
			r.cfg.Deadtime, err = time.ParseDuration(value)
			r.cfg.Warntime, r.cfg.Deadping = r.cfg.Deadtime/2, r.cfg.Deadtime
		case "initdead":
			r.cfg.Initdead, err = time.ParseDuration(value)
		case "auto_failback":
			r.cfg.Failback = map[string]heartbeat.Failback{"on": heartbeat.FailbackOn, "off": heartbeat.FailbackOff}[value]
		case "links":
			r.links, err = strconv.Atoi(value)
			for i := range r.links {
				r.cfg.Links = append(r.cfg.Links, heartbeat.LinkConfig{ID: fmt.Sprintf("bcast eth%d", i), Kind: "bcast"})
			}
		case "ts":
			var unix int64
			unix, err = strconv.ParseInt(value, 10, 64)
			r.ts = time.Unix(unix, 0)
		case "ping":
			r.cfg.Pings = append(r.cfg.Pings, heartbeat.PingConfig{ID: "ping " + value, Name: value})
			r.cfg.IPFail = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gist is what counts of a message: its kind and the fields that decide something; "" for what only keeps the pair going.
func gist(m wire.Message) string {
	kind := m.Kind()
	if kind == "status" || strings.HasPrefix(kind, "NS_") || kind == "hbapi-clstat" {
		return ""
	}
	words := []string{kind}
	for _, key := range []string{"dest", "nodelist", "rsc_hold", "rtype", "isstable", "info", "ipaddr", "weown", "ok", "st", "node", "result", "num_ping"} {
		if value, ok := m.Lookup(key); ok {
			words = append(words, key+"="+strings.ReplaceAll(strings.TrimSpace(value), " ", ","))
		}
	}
	return strings.Join(words, " ")
}

// said is one gist at its time.
type said struct {
	at   time.Duration
	gist string
}

// said lists what one node said in a recording.
func (r *recording) said(node string) []said {
	var list []said
	seen := map[string]bool{}
	hg := ""
	for _, l := range r.lines {
		if l.node != node {
			continue
		}
		if l.done != nil {
			if l.done[0] == "run" {
				hg = l.done[1]
			}
			continue
		}
		key := hg + "/" + strconv.FormatUint(l.seq, 10)
		if g := gist(l.msg); g != "" && !seen[key] {
			seen[key] = true
			list = append(list, said{l.at, g})
		}
	}
	return list
}

// phases cuts what was said at each thing that was done. Within a phase the children of a real node race with each other, and so do
// the two nodes for who is stable first: only what was said counts there, not how often and in which order, except for the messages
// that answer each other, which come last in the list of a phase.
func (r *recording) phases(list []said) []string {
	var cuts []time.Duration
	for _, l := range r.lines {
		if l.done != nil && l.done[0] != "run" && l.at > 0 && (cuts == nil || l.at-cuts[len(cuts)-1] > time.Second) {
			cuts = append(cuts, l.at)
		}
	}
	cuts = append(cuts, time.Hour)
	var phases []string
	for _, cut := range cuts {
		var what, chain []string
		for len(list) > 0 && list[0].at < cut {
			g := list[0].gist
			if kind, _, _ := strings.Cut(g, " "); kind == "ask_resources" || kind == "shutdone" || kind == "starting" {
				chain = append(chain, g)
			} else if !slices.Contains(what, g) {
				what = append(what, g)
			}
			list = list[1:]
		}
		slices.Sort(what)
		phases = append(phases, strings.Join(append(what, chain...), "\n    "))
	}
	return phases
}

// end is the time of the last line.
func (r *recording) end() time.Duration { return r.lines[len(r.lines)-1].at }
