package daemon

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
)

// How long a status waits for the loop and for the resource manager before it falls back on what they said last.
const (
	statusPatience   = 20 * time.Millisecond
	resourcePatience = 10 * time.Millisecond
	statusFresh      = 5 * time.Millisecond // a second request within this gets the same answer
)

// snapshots remembers the last answers, for when somebody hangs.
type snapshots struct {
	mu        sync.Mutex
	core      heartbeat.Status
	at        heartbeat.Instant
	have      bool
	loop      loopFigures
	resources map[string][]haresources.ResourceStatus
	asking    bool // a question to the manager has not come back yet
}

// loopFigures is how punctual the loop was.
type loopFigures struct {
	delays histogram
	stalls uint64
}

// forget has the next status ask again.
func (k *snapshots) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at.Mono -= statusFresh
}

// status builds the whole picture. It answers within 50 ms whatever hangs; it fails only when the loop has never answered.
func (e *engine) status(ctx context.Context) (*Status, error) {
	core, at, err := e.coreStatus(ctx)
	if err != nil {
		return nil, err
	}
	now := e.clock()
	s := e.view(core, now)
	if stale := now.Mono - at.Mono; stale > statusPatience {
		s.StaleMS = stale.Milliseconds()
	}
	s.judge()
	return s, nil
}

// coreStatus asks the loop, or takes its last answer.
func (e *engine) coreStatus(ctx context.Context) (heartbeat.Status, heartbeat.Instant, error) {
	k := &e.snapshot
	k.mu.Lock()
	if k.have && e.clock().Mono-k.at.Mono < statusFresh {
		defer k.mu.Unlock()
		return k.core, k.at, nil
	}
	k.mu.Unlock()
	answer := make(chan heartbeat.Status, 1)
	figures := make(chan loopFigures, 1)
	err := e.inLoop(ctx, statusPatience, func() {
		answer <- e.loop.core.Status()
		figures <- loopFigures{delays: e.loop.delays, stalls: e.loop.stalls}
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.core, k.loop, k.at, k.have = <-answer, <-figures, e.clock(), true
	}
	if !k.have {
		return heartbeat.Status{}, heartbeat.Instant{}, fmt.Errorf("no status yet: %w", err)
	}
	return k.core, k.at, nil
}

// resources asks the manager for the state of each resource, or takes its last answer.
func (e *engine) resources(groups []heartbeat.GroupStatus) map[string][]haresources.ResourceStatus {
	k := &e.snapshot
	k.mu.Lock()
	asking := k.asking
	k.asking = true
	k.mu.Unlock()
	if !asking {
		done := make(chan struct{})
		go func() {
			defer close(done)
			fresh := make(map[string][]haresources.ResourceStatus, len(groups))
			for _, g := range groups {
				fresh[g.Name] = e.manager.Resources(g.Name)
			}
			k.mu.Lock()
			k.resources, k.asking = fresh, false
			k.mu.Unlock()
		}()
		select {
		case <-done:
		case <-time.After(resourcePatience):
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.resources
}

// view renders what the core and the workers know.
func (e *engine) view(c heartbeat.Status, now heartbeat.Instant) *Status {
	conf := e.conf()
	s := &Status{
		Schema: StatusSchema, Version: Version, Time: stamp(now.Wall), Problems: []string{},
		Node: c.Node, State: c.State, Holds: list(c.Holds), PID: os.Getpid(), Since: stamp(e.started), Generation: c.Generation,
		UUID: uuidText(e.boot.UUID), Managed: e.managed, Failback: c.Failback.String(), Member: c.Member, Classic: c.ClassicHold,
		Links: []LinkView{}, Pings: []PingView{}, Groups: []GroupView{}, Transitions: []TransitionView{}, Alarms: e.alarms.texts(),
		DeadtimeMS: conf.Deadtime.Milliseconds(), KeepaliveMS: conf.Keepalive.Milliseconds(),
		WorstStall: time.Duration(e.loop.worst.Load()).Microseconds(), LostLog: e.log.Dropped(),
	}
	s.Timing = e.media.timing.view(conf.Keepalive)
	s.Keys = e.media.ring.view()
	p := c.Peer
	s.Peer = PeerView{
		Name: p.Name, State: p.State, Holds: list(p.Holds), Kind: p.Kind, Generation: p.Generation, LastHeardMS: age(now.Mono, p.LastHeard),
		DeadtimeMS: p.Deadtime.Milliseconds(), Lost: p.LostPackets, ClockAheadMS: p.ClockAhead.Milliseconds(),
	}
	if p.UUID != [16]byte{} {
		s.Peer.UUID = uuidText(p.UUID)
	}
	for _, l := range c.Links {
		s.Links = append(s.Links, e.linkView(l, now.Mono))
	}
	if c.Reach.HereKnown {
		s.Reach = &ReachView{Here: c.Reach.Here, Peer: -1}
		if c.Reach.PeerKnown {
			s.Reach.Peer = c.Reach.Peer
		}
	}
	for _, q := range c.Pings {
		s.Pings = append(s.Pings, PingView{Name: q.Name, Up: q.Up, LastHeardMS: age(now.Mono, q.LastHeard)})
	}
	s.Files = e.compare.view(c.Peer)
	s.Isolated, s.ByMirror, s.PeerAnswers = c.Isolated, c.ByMirror, c.PeerAnswers
	if p.Name != "" {
		s.Advice = adviceOf(c.Timing, conf.Deadtime)
	}
	s.PausedMS = c.Paused.Milliseconds()
	if c.Fencing.Configured {
		s.Fencing = &FencingView{
			Device: deviceNames(conf), State: c.Fencing.State, Reason: c.Fencing.Reason, Tries: c.Fencing.Tries,
			DelayMS: c.Fencing.Delay.Milliseconds(), DueMS: -1, LastError: c.Fencing.LastError,
		}
		if c.Fencing.Due >= 0 {
			s.Fencing.DueMS = max(0, (c.Fencing.Due - now.Mono).Milliseconds())
		}
		e.fencing.lastCheck(s.Fencing)
	}
	resources := e.resources(c.Groups)
	for _, g := range c.Groups {
		s.Groups = append(s.Groups, e.groupView(g, resources[g.Name]))
	}
	for _, t := range c.Transitions {
		s.Transitions = append(s.Transitions, TransitionView{Time: stamp(t.Time), What: t.What, Reason: t.Reason})
	}
	return s
}

func (e *engine) linkView(l heartbeat.LinkStatus, mono time.Duration) LinkView {
	v := LinkView{ID: l.ID, Name: l.Name, Kind: l.Kind, State: l.State, Reason: l.Reason, Received: l.Received, LastHeardMS: age(mono, l.LastHeard)}
	if m := e.media.find(l.ID); m != nil {
		st := m.stats()
		v.Sent, v.SendErrors, v.Dropped, v.Invalid = st.Sent, st.SendErrors, st.Overflow, st.Bad
		v.Timing = m.timing.view(e.conf().Keepalive)
		if v.Reason == "" {
			v.Reason = st.Reason
		}
	}
	return v
}

func (e *engine) groupView(g heartbeat.GroupStatus, resources []haresources.ResourceStatus) GroupView {
	v := GroupView{
		Name: g.Name, Node: g.Preferred, Owner: g.Owner, State: g.State, Epoch: g.Epoch, Since: stamp(g.Since), Reason: g.Reason, Removed: g.Removed,
		Resources: []ResourceView{},
	}
	_, v.Double = e.double.Load(g.Name)
	for _, r := range resources {
		state := r.State.String()
		switch r.Doing {
		case haresources.OpStart:
			state = "starting"
		case haresources.OpStop:
			state = "stopping"
		}
		shown := ResourceView{Spec: r.Spec, State: state, Since: stamp(r.Since), Error: r.LastError, Detail: r.Detail, counters: r.Counters}
		if r.Doing != "" {
			shown.Doing, shown.DoingSince, shown.LastOutput = string(r.Doing), stamp(r.DoingSince), r.LastLine
			shown.DoingMS = time.Since(r.DoingSince).Milliseconds()
		}
		v.Resources = append(v.Resources, shown)
	}
	return v
}

// list is never null in JSON.
func list(words []string) []string {
	if words == nil {
		return []string{}
	}
	return words
}

// uuidText is the usual spelling of an identifier.
func uuidText(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// peerEchoes tells, in the loop, whether the peer answers the questions of the prober: one of ours that lives and knows this node.
func (e *engine) peerEchoes() bool {
	p := e.loop.core.Status().Peer
	return p.Kind == "hapair" && p.Reachable
}
