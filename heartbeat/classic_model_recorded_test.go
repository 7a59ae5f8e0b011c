package heartbeat_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
)

// TestModelSaysWhatWasRecorded lets two models live through what two real nodes of Linux-HA were put through, and wants them to say the
// same, message by message. Otherwise what the simulation of mixed pairs proves would be about the model only.
func TestModelSaysWhatWasRecorded(t *testing.T) {
	for _, file := range recordingNames(t) {
		r := readRecording(t, file)
		if r.name == "retransmit" {
			continue // which packets were lost is not known; TestReplay uses it
		}
		t.Run(r.name, func(t *testing.T) {
			var first string
			for seed := range uint64(50) {
				differs := r.modelDiffers(seed)
				if differs == "" {
					return
				}
				if first == "" {
					first = differs
				}
			}
			t.Errorf("no run of the model says what was recorded; one of them: %s", first)
		})
	}
}

// modelDiffers runs two models with one seed, which decides their races, and tells what they said otherwise than recorded.
func (r *recording) modelDiffers(seed uint64) string {
	w := r.world(seed)
	heard := map[string][]said{}
	sent := map[string]bool{}
	w.overhear = func(m *machine, s heartbeat.Send) {
		key := m.name + s.Msg.Get("hg") + "/" + s.Msg.Get("seq")
		if g := gist(s.Msg); g != "" && !sent[key] {
			sent[key] = true
			heard[m.name] = append(heard[m.name], said{w.now - lead, g})
		}
	}
	for _, m := range w.nodes {
		installLinuxHA(m, 30*time.Millisecond).latency = 150 * time.Millisecond
	}
	r.perform(w)
	var differs strings.Builder
	for _, m := range w.nodes {
		want, got := r.phases(r.said(m.name)), r.phases(heard[m.name])
		for i := range want {
			if got[i] != want[i] {
				fmt.Fprintf(&differs, "%s said in phase %d\n    %s\nrecorded is\n    %s\n", m.name, i, got[i], want[i])
			}
		}
	}
	if differs.Len() == 0 {
		return ""
	}
	return differs.String() + strings.Join(w.trace, "\n")
}

// world is a pair as it was when the recording was made. Its clock starts some seconds before the recording.
func (r *recording) world(seed uint64) *world {
	w := newWorld(seed, options{keepalive: r.cfg.Keepalive, deadtime: r.cfg.Deadtime, initdead: r.cfg.Initdead, failback: r.cfg.Failback,
		groups: len(r.cfg.Groups), links: r.links, scriptTime: 100 * time.Millisecond})
	w.cfg.Groups, w.cfg.Pings, w.cfg.IPFail = r.cfg.Groups, r.cfg.Pings, r.cfg.IPFail
	w.cfg.MaxRexmitDelay, w.cfg.RetryFailed, w.cfg.Warntime = r.cfg.MaxRexmitDelay, r.cfg.RetryFailed, r.cfg.Warntime
	w.answerPings()
	w.script = &scenario{w: w, fails: map[string]int{}}
	for _, m := range w.nodes {
		m.boot.UUID = r.uuid[m.name]
	}
	return w
}

// lead is how long before the first packet a recording begins.
const lead = 5 * time.Second

// perform does to the world what was done to the real pair, each thing at its time.
func (r *recording) perform(w *world) {
	for _, l := range r.lines {
		if l.done == nil {
			continue
		}
		w.at(lead+l.at, func() { r.do(w, l) })
	}
	w.run(lead + r.end())
}

func (r *recording) do(w *world, l recorded) {
	var m *machine
	for _, candidate := range w.nodes {
		if candidate.name == l.node {
			m = candidate
		}
	}
	switch l.done[0] {
	case "run":
		m.powered = true
		m.start()
	case "power-cut":
		m.powerCut()
	case "kill":
		m.kill()
	case "stop", "restart":
		m.request(heartbeat.RequestStop, "")
	case "reload":
		m.request(heartbeat.RequestQuit, "")
	case "standby":
		m.request(heartbeat.RequestStandby, l.done[1])
	case "takeover":
		m.request(heartbeat.RequestTakeover, l.done[1])
	case "fail":
		for _, g := range r.cfg.Groups {
			w.script.fails["start "+g.Name] = 1
		}
	case "cut", "restore":
		up := l.done[0] == "restore"
		for _, c := range w.links {
			if len(l.done) == 1 || strings.HasSuffix(c.id, l.done[1]) {
				c.up = [2]bool{up, up}
			}
		}
		if m != nil { // the ping node is behind that link
			w.deaf[m.index] = !up
		}
	}
}
