package heartbeat_test

import (
	"strings"
	"testing"
	"time"

	"hapair/heartbeat"
)

// flapper is a pair with one group that alpha prefers and that is to come back to it.
func flapper(moves int) *world {
	w := newWorld(1, options{keepalive: 50 * time.Millisecond, deadtime: 200 * time.Millisecond, initdead: time.Second,
		failback: heartbeat.FailbackOn, groups: 1, links: 1})
	w.cfg.DampMoves, w.cfg.DampWindow = moves, 5*time.Minute
	return w
}

func (w *world) boot(t *testing.T) {
	t.Helper()
	for _, m := range w.nodes {
		m.start()
	}
	w.run(w.now + 3*time.Second)
	if got := w.owners("10.0.0.1"); len(got) != 1 || got[0] != "alpha" {
		t.Fatalf("runs on %v\n%s", got, strings.Join(w.trace, "\n"))
	}
}

// flapped is that pair after alpha, which died four times, has been told to leave the group on beta.
func flapped(t *testing.T) *world {
	t.Helper()
	w := flapper(4)
	w.boot(t)
	alpha := w.nodes[0]
	for i := range 4 {
		alpha.kill()
		alpha.runs = map[string]bool{}
		w.run(w.now + 2*time.Second)
		if got := w.owners("10.0.0.1"); len(got) != 1 || got[0] != "beta" {
			t.Fatalf("death %d: runs on %v", i, got)
		}
		alpha.start()
		w.run(w.now + 10*time.Second)
	}
	return w
}

// TestDampedGroupObeysAPerson: what holds a group where it is does not hold up a takeover that somebody asks for.
func TestDampedGroupObeysAPerson(t *testing.T) {
	w := flapped(t)
	for _, taker := range []*machine{w.nodes[0], w.nodes[1]} {
		taker.request(heartbeat.RequestTakeover, "all")
		w.run(w.now + 3*time.Second)
		if got := w.owners("10.0.0.1"); len(got) != 1 || got[0] != taker.name {
			t.Errorf("after a takeover by hand on %s it runs on %v", taker.name, got)
		}
	}
}

// TestDamping: a preferred node that dies and returns again and again gets its group back only so often; the takeover itself is never held
// up, and after the window everything is as before.
func TestDamping(t *testing.T) {
	w := flapped(t)
	if got := w.owners("10.0.0.1"); len(got) != 1 || got[0] != "beta" {
		t.Errorf("after four deaths it runs on %v, want it to stay on beta", got)
	}
	if w.fault != "" {
		t.Error(w.fault)
	}
	w.run(w.now + 6*time.Minute)
	if got := w.owners("10.0.0.1"); len(got) != 1 || got[0] != "alpha" {
		t.Errorf("after the window it runs on %v, want alpha", got)
	}
}

// TestDampingCountsNoRestarts: a daemon that is killed and started again takes up what it held, which moves nothing, however often.
func TestDampingCountsNoRestarts(t *testing.T) {
	w := flapper(3)
	w.boot(t)
	alpha := w.nodes[0]
	for range 8 {
		alpha.kill()
		alpha.start()
		w.run(w.now + 2*time.Second)
	}
	if got := w.owners("10.0.0.1"); len(got) != 1 || got[0] != "alpha" {
		t.Errorf("runs on %v", got)
	}
	if said := strings.Join(w.trace, "\n"); strings.Contains(said, "moved 3 times") || strings.Count(said, "Acquiring resource group") < 9 {
		t.Errorf("not taken up again and again, or taken for moves:\n%s", said)
	}
}

// TestDampingLeavesPeopleAlone: what is asked for by hand moves however often.
func TestDampingLeavesPeopleAlone(t *testing.T) {
	w := flapper(3)
	w.cfg.Failback = heartbeat.FailbackOff
	w.boot(t)
	for i := range 8 {
		from := w.nodes[i%2]
		from.request(heartbeat.RequestStandby, "all")
		w.run(w.now + 2*time.Second)
		if got := w.owners("10.0.0.1"); len(got) != 1 || got[0] == from.name {
			t.Fatalf("standby %d: runs on %v", i, got)
		}
	}
}

// TestUnfit: an unfit node hands over to a fit peer, serves on where there is none, and gets its group back when it is fit.
func TestUnfit(t *testing.T) {
	w := flapper(0)
	w.boot(t)
	owner := func(want string) {
		t.Helper()
		w.run(w.now + 8*time.Second)
		if got := w.owners("10.0.0.1"); strings.Join(got, " ") != want || w.fault != "" {
			t.Fatalf("runs on %v, want %s; %s\n%s", got, want, w.fault, strings.Join(w.trace, "\n"))
		}
	}
	alpha, beta := w.nodes[0], w.nodes[1]
	alpha.step(heartbeat.Unfit{Reason: "check web"})
	owner("beta")
	beta.step(heartbeat.Unfit{Reason: "check web"})
	owner("beta") // both unfit: nothing moves
	alpha.step(heartbeat.Unfit{})
	owner("alpha")
	alpha.step(heartbeat.Unfit{Reason: "check web"})
	owner("alpha")
	beta.powerCut()
	owner("alpha") // nobody else is there
	beta.powered = true
	beta.start()
	owner("beta")
	alpha.step(heartbeat.Unfit{})
	owner("alpha")
}

// TestStopFailurePolicies: what becomes of a group that cannot be stopped.
func TestStopFailurePolicies(t *testing.T) {
	for policy, want := range map[heartbeat.StopFailure]string{
		heartbeat.StopBlock: "stuck", heartbeat.StopFenceSelf: "stuck reset", heartbeat.StopIgnore: "failed alarm",
	} {
		t.Run(policy.String(), func(t *testing.T) {
			w := flapper(0)
			w.cfg.Groups[0].OnStopFailure = policy
			w.boot(t)
			alpha := w.nodes[0]
			var got []string
			var release heartbeat.OpID
			for _, a := range alpha.node.Step(w.instant(), heartbeat.Health{Group: "10.0.0.1", Failed: true, Reason: "died"}) {
				if r, ok := a.(heartbeat.Release); ok {
					release = r.Op
				}
			}
			done := heartbeat.Done{Op: release, Err: errStuck, Stuck: true}
			actions := alpha.node.Step(w.instant(), done)
			got = append(got, alpha.node.Status().Groups[0].State)
			for _, a := range actions {
				switch a := a.(type) {
				case heartbeat.ResetSelf:
					got = append(got, "reset")
				case heartbeat.Alarm:
					if a.Text != "" {
						got = append(got, "alarm")
					}
				}
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("%s, want %s", s, want)
			}
		})
	}
}

var errStuck = stuckError("busy")

type stuckError string

func (e stuckError) Error() string { return string(e) }

// TestCutOffInterface: a node whose interface for a group has lost its carrier hands that group over, and only that; where both have, nothing
// moves; a person may have it there all the same.
func TestCutOffInterface(t *testing.T) {
	w := flapper(0)
	w.boot(t)
	const group = "10.0.0.1"
	owner := func(want string) {
		t.Helper()
		w.run(w.now + 8*time.Second)
		if got := w.owners(group); strings.Join(got, " ") != want || w.fault != "" {
			t.Fatalf("runs on %v, want %s; %s\n%s", got, want, w.fault, strings.Join(w.trace, "\n"))
		}
	}
	alpha, beta := w.nodes[0], w.nodes[1]
	cut := func(m *machine, reason string, absent bool) {
		m.step(heartbeat.Unfit{Group: group, Reason: reason, Absent: absent})
	}
	settling := func(m *machine) {
		m.step(heartbeat.Unfit{Group: group, Reason: "eth0 has no carrier", Settling: true})
	}
	settling(alpha)
	owner("alpha") // it may be for a moment
	settling(beta)
	cut(alpha, "eth0 has no carrier", false) // a switch has lost its power, and alpha's patience ends first
	owner("alpha")
	settling(beta) // it is back, beta's port is the first
	owner("alpha")
	cut(alpha, "", false)
	cut(beta, "", false)
	owner("alpha")
	cut(alpha, "eth0 has no carrier", false)
	owner("beta")
	if last := alpha.alarms[len(alpha.alarms)-1]; last.Text != "eth0 has no carrier: 10.0.0.1 reaches nobody from this node" {
		t.Errorf("alarm %+v", last)
	}
	cut(beta, "eth0 has no carrier", false)
	owner("beta") // both: nothing moves
	cut(alpha, "", false)
	owner("alpha")
	cut(beta, "", false)
	cut(beta, "eth0 is down", true)
	cut(alpha, "eth0 is down", true)
	owner("beta") // an idle node's interface may be down for good reason
	cut(alpha, "", false)
	cut(beta, "", false)
	owner("alpha")
	cut(alpha, "eth0 has no carrier", false)
	owner("beta")
	if err := alpha.ask(heartbeat.RequestTakeover); err != nil {
		t.Fatal(err)
	}
	w.run(w.now + 500*time.Millisecond)
	if got := w.owners(group); strings.Join(got, " ") != "alpha" {
		t.Errorf("a person wants it here all the same, it runs on %v", got)
	}
	cut(alpha, "", false)
	owner("alpha")
	if err := beta.pause(time.Minute); err != nil {
		t.Fatal(err)
	}
	w.run(w.now + time.Second)
	cut(alpha, "eth0 has no carrier", false)
	owner("alpha") // a switch restarts
	w.run(w.now + time.Minute)
	owner("beta") // and does not come back
	alpha.powerCut()
	w.run(w.now + 20*time.Second)
	cut(beta, "eth0 has no carrier", false)
	owner("beta")
}

// TestAlarmOfARemovedGroupEnds: a group that is not in the files any more is nobody's worry.
func TestAlarmOfARemovedGroupEnds(t *testing.T) {
	r := reloading(t, 1, 10*time.Millisecond, "10.0.0.1", "10.0.0.2")
	beta := r.nodes[1]
	for _, group := range []string{"10.0.0.1", "10.0.0.2"} {
		beta.step(heartbeat.Unfit{Group: group, Reason: "eth0 has no carrier"})
	}
	r.reload(1, heartbeat.Reconfigure{}, "10.0.0.1")
	if got := lastOf(beta.alarms, "cut 10.0.0.2"); got != "" {
		t.Errorf("it stands: %s", got)
	}
	if got := lastOf(beta.alarms, "cut 10.0.0.1"); got == "" {
		t.Error("that of the other group is gone")
	}
}
