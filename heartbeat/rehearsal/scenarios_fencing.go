package rehearsal

import (
	"context"
	"time"
)

// What a device of the laboratory takes, and how a takeover through one is bounded.
const deviceTakes = time.Second

// afterFencing bounds a takeover from a node that fell silent and had to be switched off first: deadtime, the delay, the device, and ten
// milliseconds; scripts is how many programs run one after the other for it.
func afterFencing(delay time.Duration, scripts int) limits {
	more := deviceTakes + delay + time.Duration(scripts-1)*20*time.Millisecond
	return limits{ours: &bound{span: span{deadtimes: 1, plus: more + hiccup}, median: &span{deadtimes: 1, plus: more + planned}},
		theirs: deadtimes(1.5, theirMove+deviceTakes), taker: true}
}

// The laboratory's devices.
var (
	goodSwitch = powerSwitch{name: "switch", took: deviceTakes}
	badSwitch  = powerSwitch{name: "unreachable", fails: true}
)

// noDelay is for standbys that need not wait for an active node to shoot first.
var noDelay = []string{"fence-delay=0"}

// fencing are scenarios of pairs with a device that switches the other machine off.
func fencing() []scenario {
	cut := func(delay time.Duration, scripts int) []phase {
		return []phase{{name: "cut", steps: []step{{do: powerCut, on: active}}, hold: span{deadtimes: 1}, outage: afterFencing(delay, scripts), dual: single(),
			resets: map[role]int{active: 1}}}
	}
	// The standby waits twice the time that its device's check took, and a second. Here that is the time of three shell scripts, whatever the machine
	// that plays everything makes of it.
	byDefault := cut(time.Second+300*time.Millisecond, 1)
	byDefault[0].outage.ours.median = nil
	// Booting into a partition takes initdead, and whatever the node then waits for before it would fence.
	boot := phase{name: "boot", steps: []step{{do: bootMachine, on: standby}, {do: startDaemon, on: standby}}, hold: span{initdeads: 1, deadtimes: 4, plus: 6 * time.Second},
		apart: true, outage: undisturbed(), dual: single()}
	apart := boot
	apart.steps = []step{{do: bootMachine, on: standby}, {do: separateAll, on: both}, {do: startDaemon, on: standby}}
	mend := func(do verb) phase {
		return phase{name: "heal", steps: []step{{do: do, on: both}}, hold: span{plus: 3 * time.Second}, outage: undisturbed(), dual: single()}
	}
	again := func(name string) phase {
		return phase{name: name, steps: []step{{do: cutHeartbeats, on: both}, {do: awaitReset, on: standby, span: span{deadtimes: 2, plus: 10 * time.Second}},
			{do: joinHeartbeats, on: both}, {do: bootMachine, on: standby}, {do: startDaemon, on: standby}},
			hold: span{plus: time.Second}, outage: undisturbed(), dual: single(), resets: map[role]int{standby: 1}}
	}
	return []scenario{
		{name: "fence-power-cut", about: "the active node loses power; a fencing device that takes a second makes certain of it, without delay",
			needs: fencingDevice, fence: &fencePlan{levels: []powerSwitch{goodSwitch}, pragmas: noDelay}, phases: cut(0, 1)},
		{name: "fence-delay", about: "the same, with the delay that a standby waits by default before it fences",
			needs: fencingDevice, fence: &fencePlan{levels: []powerSwitch{goodSwitch}}, phases: byDefault},
		{name: "fence-levels", about: "the active node loses power; the first fencing device fails, that of the next level works",
			needs: fencingDevice, fence: &fencePlan{levels: []powerSwitch{badSwitch, goodSwitch}, pragmas: noDelay}, phases: cut(0, 3)},
		{name: "fence-fails", about: "the active node loses power and the fencing device fails: nothing is taken over, until a person confirms",
			needs: fencingDevice | oursBoth, fence: &fencePlan{levels: []powerSwitch{badSwitch}, pragmas: noDelay}, phases: []phase{
				{name: "cut", steps: []step{{do: powerCutHeld, on: active}, {do: awaitAlarm, on: standby}}, hold: oneDeadtime},
				{name: "confirm", steps: []step{{do: confirmDead, on: standby}}, serves: limits{ours: within(300 * time.Millisecond)}}}},
		{name: "fence-partition", about: "all heartbeat links fail between two healthy nodes: the active one fences the other, which boots, joins nothing and fences nobody",
			needs: fencingDevice | packetLoss | oursBoth, set: noMirrors, fence: &fencePlan{levels: []powerSwitch{goodSwitch}}, phases: []phase{
				{name: "cut", steps: []step{{do: cutHeartbeats, on: both}, {do: awaitReset, on: standby, span: span{deadtimes: 2, plus: 10 * time.Second}}},
					hold: span{deadtimes: 2}, outage: undisturbed(), dual: single(), resets: map[role]int{standby: 1}},
				boot, mend(joinHeartbeats)}},
		{name: "fence-apart", about: "the same, and the nodes do not reach each other's addresses either", needs: fencingDevice | oursBoth, set: noMirrors,
			fence: &fencePlan{levels: []powerSwitch{goodSwitch}}, phases: []phase{
				{name: "cut", steps: []step{{do: separateAll, on: both}, {do: awaitReset, on: standby, span: span{deadtimes: 2, plus: 10 * time.Second}}},
					hold: span{deadtimes: 2}, outage: undisturbed(), dual: single(), resets: map[role]int{standby: 1}},
				apart, mend(heal)}},
		{name: "fence-loop", about: "the heartbeat links fail whenever the other node is up: after three resets a person is asked", needs: fencingDevice | packetLoss | oursBoth, set: noMirrors,
			fence: &fencePlan{levels: []powerSwitch{goodSwitch}}, phases: []phase{again("first"), again("second"), again("third"),
				{name: "fourth", steps: []step{{do: cutHeartbeats, on: both}, {do: awaitHold, on: active, span: span{deadtimes: 2, plus: 5 * time.Second}}},
					hold: span{deadtimes: 2, plus: 3 * time.Second}, apart: true, outage: undisturbed(), dual: single()},
				mend(joinHeartbeats)}},
	}
}

var (
	powerCutHeld = verb{words: "cut the power of %[1]s", do: doPowerCut, predict: func(m *model, node int, _ step) { m.loseHeld(node) }}
	awaitAlarm   = verb{words: "wait for the alarm of %[1]s and its second attempt", do: doAwaitAlarm}
	confirmDead  = verb{words: "heartbeat confirm-dead on %[1]s", do: doConfirm, predict: func(m *model, node int, _ step) { m.lose(1 - node) }}
	awaitHold    = verb{words: "wait until %[1]s asks a person", do: doAwaitHold}
	awaitReset   = verb{words: "wait until a device has switched %[1]s off", do: doAwaitReset}

	separateAll    = verb{words: "cut all links between the nodes; clients still reach both", do: func(_ context.Context, r *run, _ int, _ step) error { return r.world.separate(true) }}
	cutHeartbeats  = verb{words: "lose every heartbeat between the nodes; all else still passes", do: doCutHeartbeats(true)}
	joinHeartbeats = verb{words: "let the heartbeats pass again", do: doCutHeartbeats(false)}
)

// loseHeld predicts the end of a node of which the other one cannot be certain.
func (m *model) loseHeld(node int) {
	m.up[node] = false
	for i := range m.owner {
		if m.owner[i] == node {
			m.owner[i] = nobody
		}
	}
}
