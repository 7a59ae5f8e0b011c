package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hapair/haresources"
)

// The states that metrics name, whether or not they ever come.
var (
	nodeStates  = []string{"init", "up", "active", "standby", "transition", "stopping"}
	peerStates  = []string{"unknown", "init", "up", "active", "dead", "left", "unreachable"}
	linkStates  = []string{"up", "late", "dead", "oneway", "unusable"}
	groupStates = []string{"idle", "acquiring", "held", "releasing", "failed", "stuck", "adopting"}
	filesStates = []string{"equal", "different", "unknown", "unsupported"}
	fenceStates = []string{"idle", "waiting", "delayed", "running", "failed", "confirmed"}
)

// wedgedAfter is for how long the loop may be silent before the figures of it would be a lie.
const wedgedAfter = 2 * time.Second

// metrics renders everything for Prometheus. It fails where the loop does not answer: a scrape that works says that the node does.
func (e *engine) metrics(ctx context.Context) ([]byte, error) {
	s, err := e.status(ctx)
	if err != nil {
		return nil, err
	}
	if stale := time.Duration(s.StaleMS) * time.Millisecond; stale > wedgedAfter {
		return nil, fmt.Errorf("the main loop has not answered for %v", stale.Round(time.Millisecond))
	}
	x := &exposition{text: make([]byte, 0, 32<<10)}
	e.nodeMetrics(x, s)
	peerMetrics(x, s)
	e.groupMetrics(x, s)
	e.resourceMetrics(x, s)
	e.linkMetrics(x, s)
	e.loopMetrics(x)
	e.fencingMetrics(x, s)
	e.fileMetrics(x, s)
	processMetrics(x)
	return x.text, nil
}

func (e *engine) nodeMetrics(x *exposition, s *Status) {
	x.family("heartbeat_build_info", "gauge", "Which program this is; always 1.")
	x.sample(1, "version", s.Version, "node", s.Node, "peer", s.Peer.Name)
	x.family("heartbeat_health", "gauge", "0: healthy; 1: degraded, a further fault would hurt; 2: something is served by nobody, or by both nodes. As the exit code of heartbeat status.")
	x.sample(map[Health]float64{Healthy: 0, Degraded: 1, Failed: 2}[s.Health])
	x.family("heartbeat_problems", "gauge", "How many problems heartbeat status names.")
	x.sample(float64(len(s.Problems)))
	x.family("heartbeat_alarms", "gauge", "How many alarms stand.")
	x.sample(float64(len(s.Alarms)))
	x.family("heartbeat_state", "gauge", "What this node is: 1 for the state that holds.")
	x.oneOf(s.State, nodeStates)
	x.family("heartbeat_generation", "gauge", "The number of this start.")
	x.sample(float64(s.Generation))
	x.family("heartbeat_keepalive_seconds", "gauge", "keepalive as configured.")
	x.sample(seconds(s.KeepaliveMS))
	x.family("heartbeat_deadtime_seconds", "gauge", "deadtime as configured.")
	x.sample(seconds(s.DeadtimeMS))
	x.family("heartbeat_takeover_paused_seconds", "gauge", "For how much longer takeover is paused.")
	x.sample(seconds(s.PausedMS))
	x.family("heartbeat_log_lines_lost_total", "counter", "Log lines that were dropped because the log could not keep up.")
	x.sample(float64(s.LostLog))
}

func peerMetrics(x *exposition, s *Status) {
	p := s.Peer
	if p.Name == "" {
		return
	}
	x.family("heartbeat_peer_state", "gauge", "What the other node is, as seen from here: 1 for the state that holds.")
	x.oneOf(p.State, peerStates)
	x.family("heartbeat_peer_last_heard_seconds", "gauge", "How long ago the other node was heard; absent if never.")
	if p.LastHeardMS >= 0 {
		x.sample(seconds(p.LastHeardMS))
	}
	x.family("heartbeat_peer_lost_messages_total", "counter", "Messages of the other node that came on no link at first.")
	x.sample(float64(p.Lost))
	x.family("heartbeat_peer_clock_ahead_seconds", "gauge", "By how much its wall clock is before this node's, to half a second.")
	x.sample(seconds(p.ClockAheadMS))
	if t := s.Timing; t != nil {
		x.family("heartbeat_longest_silence_seconds", "gauge", "The longest time between two heartbeats of the other node, on whichever link, that was no outage.")
		x.sample(t.SilenceMS / 1000)
		x.family("heartbeat_safe_deadtime_seconds", "gauge", "The deadtime that those silences leave room for; absent before enough heartbeats came.")
		if t.SafeMS > 0 {
			x.sample(seconds(t.SafeMS))
		}
	}
	x.family("heartbeat_ping_up", "gauge", "Whether a ping node answers this node.")
	for _, q := range s.Pings {
		x.flag(q.Up, "ping", q.Name)
	}
}

func (e *engine) groupMetrics(x *exposition, s *Status) {
	each := func(name, kind, help string, write func(g GroupView)) {
		x.family(name, kind, help)
		for _, g := range s.Groups {
			write(g)
		}
	}
	each("heartbeat_group_held", "gauge", "Whether this node serves a group.", func(g GroupView) { x.flag(g.Owner == s.Node, "group", g.Name) })
	each("heartbeat_group_served", "gauge", "Whether any node serves a group, as far as this one knows.", func(g GroupView) { x.flag(g.Owner != "", "group", g.Name) })
	each("heartbeat_group_state", "gauge", "What a group is on this node: 1 for the state that holds.", func(g GroupView) { x.oneOf(g.State, groupStates, "group", g.Name) })
	each("heartbeat_group_epoch", "gauge", "How often a group was taken over, by either node.", func(g GroupView) { x.sample(float64(g.Epoch), "group", g.Name) })
	each("heartbeat_group_double", "gauge", "Whether both nodes were found to hold a group.", func(g GroupView) { x.flag(g.Double, "group", g.Name) })
	now := e.clock().Wall
	each("heartbeat_group_double_seconds_total", "counter", "For how long both nodes were known to hold a group.",
		func(g GroupView) { x.sample(e.figures.doubleFor(g.Name, now).Seconds(), "group", g.Name) })
	x.family("heartbeat_group_changes_total", "counter", "How often this node began to acquire or to release a group, by cause.")
	e.figures.mu.Lock()
	defer e.figures.mu.Unlock()
	for _, c := range sortedKeys(e.figures.changes, func(c change) string { return c.group + "\x00" + c.what + "\x00" + c.cause }) {
		x.sample(float64(e.figures.changes[c]), "group", c.group, "change", c.what, "cause", c.cause)
	}
}

func (e *engine) resourceMetrics(x *exposition, s *Status) {
	each := func(name, kind, help string, write func(labels []string, r ResourceView)) {
		x.family(name, kind, help)
		for _, g := range s.Groups {
			for _, r := range g.Resources {
				write([]string{"group", g.Name, "resource", r.Spec}, r)
			}
		}
	}
	each("heartbeat_resource_running", "gauge", "Whether a resource runs on this node.", func(l []string, r ResourceView) { x.flag(r.State == "running", l...) })
	each("heartbeat_resource_failed", "gauge", "Whether a resource is failed on this node.", func(l []string, r ResourceView) { x.flag(r.State == "failed", l...) })
	each("heartbeat_resource_operation_running_seconds", "gauge", "For how long an operation on a resource has been running; absent while none does.", func(l []string, r ResourceView) {
		if r.Doing != "" {
			x.sample(seconds(r.DoingMS), append(slices.Clip(l), "operation", r.Doing)...)
		}
	})
	counter := func(name, key, help string) {
		each(name, "counter", help, func(l []string, r ResourceView) {
			if n, counted := r.counters[key]; counted {
				x.sample(float64(n), l...)
			}
		})
	}
	counter("heartbeat_announcements_total", haresources.CountAnnounced, "Frames that announced an address of a held resource.")
	counter("heartbeat_announcements_failed_total", haresources.CountUnannounced, "Announcements of an address that could not be sent.")
	counter("heartbeat_resource_repairs_total", haresources.CountRepaired, "How often an address that had gone was put back.")

	e.figures.mu.Lock()
	defer e.figures.mu.Unlock()
	known := map[[2]string]bool{}
	for _, g := range s.Groups {
		for _, r := range g.Resources {
			known[[2]string{g.Name, r.Spec}] = true
		}
	}
	keys := sortedKeys(e.figures.operations, func(o operation) string { return o.group + "\x00" + o.resource + "\x00" + string(o.op) })
	keys = slices.DeleteFunc(keys, func(o operation) bool { return !known[[2]string{o.group, o.resource}] })
	x.family("heartbeat_resource_operation_seconds", "histogram", "How long the operations on resources took: start, stop, status, monitor.")
	for _, o := range keys {
		x.histogram(&e.figures.operations[o].took, "group", o.group, "resource", o.resource, "operation", string(o.op))
	}
	x.family("heartbeat_resource_operation_failures_total", "counter", "Operations on resources that failed.")
	for _, o := range keys {
		x.sample(float64(e.figures.operations[o].failed), "group", o.group, "resource", o.resource, "operation", string(o.op))
	}
}

func (e *engine) linkMetrics(x *exposition, s *Status) {
	each := func(name, kind, help string, write func(labels []string, l LinkView)) {
		x.family(name, kind, help)
		for _, l := range s.Links {
			write([]string{"link", l.ID, "kind", l.Kind}, l)
		}
	}
	each("heartbeat_link_up", "gauge", "Whether the other node is heard on a link.", func(labels []string, l LinkView) { x.flag(l.State == "up", labels...) })
	each("heartbeat_link_state", "gauge", "What a link is: 1 for the state that holds.", func(labels []string, l LinkView) { x.oneOf(l.State, linkStates, labels...) })
	each("heartbeat_link_last_heard_seconds", "gauge", "How long ago the other node was heard on a link; absent if never.", func(labels []string, l LinkView) {
		if l.LastHeardMS >= 0 {
			x.sample(seconds(l.LastHeardMS), labels...)
		}
	})
	each("heartbeat_link_frames_received_total", "counter", "Frames of the other node that came on a link.", func(labels []string, l LinkView) { x.sample(float64(l.Received), labels...) })
	each("heartbeat_link_frames_sent_total", "counter", "Frames sent on a link.", func(labels []string, l LinkView) { x.sample(float64(l.Sent), labels...) })
	each("heartbeat_link_send_errors_total", "counter", "Frames that could not be sent on a link.", func(labels []string, l LinkView) { x.sample(float64(l.SendErrors), labels...) })
	each("heartbeat_link_frames_dropped_total", "counter", "Frames that waited too long for a slow link.", func(labels []string, l LinkView) { x.sample(float64(l.Dropped), labels...) })
	each("heartbeat_link_frames_invalid_total", "counter", "Frames on a link that were not believed, by cause.", func(labels []string, l LinkView) {
		for _, cause := range sortedKeys(l.Invalid, func(c string) string { return c }) {
			x.sample(float64(l.Invalid[cause]), append(slices.Clip(labels), "cause", cause)...)
		}
	})
	timed := func(name, kind, help string, write func(labels []string, t *timing)) {
		each(name, kind, help, func(labels []string, l LinkView) {
			if m := e.media.find(l.ID); m != nil && l.Timing != nil {
				m.timing.mu.Lock()
				defer m.timing.mu.Unlock()
				write(labels, &m.timing)
			}
		})
	}
	timed("heartbeat_link_heartbeats_total", "counter", "Messages that the other node sent on all links: those that came on this one, and those that did not.",
		func(labels []string, t *timing) { x.sample(float64(t.expected), labels...) })
	timed("heartbeat_link_heartbeats_lost_total", "counter", "Those of them that did not come on this link.", func(labels []string, t *timing) { x.sample(float64(t.lost), labels...) })
	timed("heartbeat_link_jitter_seconds", "histogram", "How much later than a keepalive after the one before heartbeats came on a link.",
		func(labels []string, t *timing) { x.histogram(&t.jitter, labels...) })
	timed("heartbeat_link_longest_silence_seconds", "gauge", "The longest time between two heartbeats on a link that was no outage.",
		func(labels []string, t *timing) { x.sample(t.silence.most.Seconds(), labels...) })
	timed("heartbeat_link_rtt_seconds", "histogram", "How long it took to the other node and back on a link.", func(labels []string, t *timing) {
		if t.trip.n > 0 {
			x.histogram(&t.trip, labels...)
		}
	})
}

func (e *engine) loopMetrics(x *exposition) {
	e.snapshot.mu.Lock()
	loop := e.snapshot.loop
	e.snapshot.mu.Unlock()
	x.family("heartbeat_loop_delay_seconds", "histogram", "How late this daemon was with what it had to do.")
	x.histogram(&loop.delays)
	x.family("heartbeat_loop_longest_delay_seconds", "gauge", "The longest such delay.")
	x.sample(time.Duration(e.loop.worst.Load()).Seconds())
	x.family("heartbeat_stalls_total", "counter", "How often that was more than "+stall.String()+": this machine, or this process, stood still.")
	x.sample(float64(loop.stalls))
}

func (e *engine) fencingMetrics(x *exposition, s *Status) {
	x.family("heartbeat_fencing_configured", "gauge", "Whether there is a STONITH device.")
	x.flag(s.Fencing != nil)
	if s.Fencing == nil {
		return
	}
	x.family("heartbeat_fencing_state", "gauge", "What is being done to make certain that the other node is off: 1 for the state that holds.")
	x.oneOf(s.Fencing.State, fenceStates)
	e.figures.mu.Lock()
	defer e.figures.mu.Unlock()
	x.family("heartbeat_fencing_attempts_total", "counter", "Attempts to reset the other node, by result.")
	for _, result := range []string{"confirmed", "failed"} {
		x.sample(float64(e.figures.fences[result]), "result", result)
	}
	if at, err := time.Parse(time.RFC3339, s.Fencing.Checked); err == nil {
		x.family("heartbeat_fencing_device_ok", "gauge", "Whether the device answered when it was last tried.")
		x.flag(s.Fencing.CheckError == "")
		x.family("heartbeat_fencing_device_checked_timestamp_seconds", "gauge", "When the device was last tried.")
		x.sample(float64(at.UnixMilli()) / 1000)
		x.family("heartbeat_fencing_device_check_seconds", "gauge", "How long that took.")
		x.sample(seconds(s.Fencing.CheckMS))
	}
}

func (e *engine) fileMetrics(x *exposition, s *Status) {
	if s.Files == nil {
		return
	}
	x.family("heartbeat_files_state", "gauge", "Whether files, scripts and program are the same on both nodes: 1 for the state that holds.")
	x.oneOf(s.Files.State, filesStates)
	e.compare.mu.Lock()
	_, parts, err := parseDigest(e.compare.own)
	e.compare.mu.Unlock()
	if err != nil {
		return
	}
	x.family("heartbeat_config_digest_info", "gauge", "What each part of the configuration is, as a digest made with the key of the pair: the same text on both nodes where it is the same; always 1.")
	for _, part := range digestParts {
		x.sample(1, "part", part, "digest", parts[part])
	}
}

// started is when this program began to run, as Prometheus wants to know it.
var started = time.Now()

// processMetrics are those that every exporter has, of this process alone.
func processMetrics(x *exposition) {
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) == nil {
		x.family("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.")
		x.sample((time.Duration(use.Utime.Nano()) + time.Duration(use.Stime.Nano())).Seconds())
	}
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		if words := bytes.Fields(data); len(words) > 1 {
			pages, _ := strconv.ParseUint(string(words[1]), 10, 64)
			x.family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.")
			x.sample(float64(pages) * float64(os.Getpagesize()))
		}
	}
	x.family("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.")
	x.sample(float64(started.UnixMilli()) / 1000)
}

// seconds are those of milliseconds.
func seconds(ms int64) float64 { return float64(ms) / 1000 }

// sortedKeys are a map's keys in the order of a text made of each.
func sortedKeys[K comparable, V any](m map[K]V, text func(K) string) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int {
		switch x, y := text(a), text(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return keys
}
