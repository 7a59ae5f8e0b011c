package rehearsal

import (
	"fmt"
	"slices"
	"time"

	"hapair/heartbeat/fault"
)

// What the pairs are held to. Ours: what this program promises. Theirs, for every pair in which linux-ha takes part: what
// Heartbeat 3.0.6 was measured to do at its worst, so that a mixed pair is never worse than that.
const (
	hiccup       = 100 * time.Millisecond // of the machine that plays everything, in a single run
	planned      = 10 * time.Millisecond  // ours: a hand-over that somebody asked for
	theirMove    = 15 * time.Second       // theirs: the shell scripts of a takeover, on a busy machine
	theirFailure = 45 * time.Second       // theirs: thirty seconds of nothing after a failed start, and scripts
	theirSplit   = 60 * time.Second       // theirs: both nodes drop everything, restart, wait and begin anew
	theirRestart = 25 * time.Second       // theirs: a node that heard one that was dead restarts, and both settle who has what
)

// afterDeath bounds a takeover from a node that fell silent.
func afterDeath() limits {
	return limits{ours: &bound{span: span{deadtimes: 1, plus: hiccup}, median: &span{deadtimes: 1, plus: 5 * time.Millisecond}},
		theirs: deadtimes(1.5, theirMove), taker: true}
}

// byHand bounds a takeover that the giving node takes part in.
func byHand() limits {
	return limits{ours: &bound{span: span{plus: hiccup}, median: &span{plus: planned}}, theirs: within(theirMove), planned: true}
}

// undisturbed bounds what may be seen while nothing may move.
func undisturbed() limits { return limits{ours: within(hiccup), theirs: within(hiccup)} }

// unseen bounds what nobody may notice: not one probe of one a millisecond is lost, beside what the machine that plays everything loses.
func unseen() limits {
	return limits{ours: within(5 * time.Millisecond), theirs: within(5 * time.Millisecond)}
}

// single bounds the time in which both answer where neither has a reason to.
func single() limits { return limits{ours: within(20 * time.Millisecond)} }

// comesBack is a node's return after a power cut.
func comesBack() phase {
	return phase{name: "return", steps: []step{{do: bootMachine, on: active}, {do: startDaemon, on: active}},
		hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}
}

// scenarios is the one list of everything that a rehearsal can do.
func scenarios() []scenario {
	return slices.Concat(starting(), dying(), moving(), roles(), reloading(), failing(), enduring(), pinging(), fencing())
}

// starting are scenarios of nodes that come and go by intention.
func starting() []scenario {
	stop := phase{name: "stop", steps: []step{{do: stopDaemon, on: active}}, outage: byHand(), dual: single()}
	again := phase{name: "start again", steps: []step{{do: startDaemon, on: active}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}
	return []scenario{
		{name: "both-start", about: "both nodes start at the same time", phases: []phase{
			{name: "quiet", steps: []step{{do: watchQuietly, on: both, span: span{plus: 3 * time.Second}}}, outage: undisturbed(), dual: single()}}},
		{name: "one-starts", about: "one node starts alone, later the other one joins", start: firstOnly, phases: []phase{
			{name: "join", steps: []step{{do: startDaemon, on: standby}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}}},
		{name: "graceful-stop", about: "the active node's daemon is stopped, and started again", phases: []phase{stop, again}},
		{name: "restart-standby", about: "the standby node's daemon is stopped, and started again", phases: []phase{
			{name: "stop", steps: []step{{do: stopDaemon, on: standby}}, hold: span{deadtimes: 2}, outage: undisturbed(), dual: single()},
			{name: "start again", steps: []step{{do: startDaemon, on: standby}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}}},
		{name: "stop-both", about: "both daemons are stopped at the same time", phases: []phase{
			{name: "stop", steps: []step{{do: stopDaemon, on: both}}}}},
		{name: "reload", about: "both nodes re-read a changed ha.cf", phases: []phase{
			{name: "reload", steps: []step{{do: changeFile, on: both, what: "# changed by the rehearsal"}, {do: reload, on: both}},
				hold: span{plus: 3 * time.Second}, outage: undisturbed(), dual: single()}}},
		{name: "reload-broken", about: "the active node re-reads an ha.cf that is wrong", phases: []phase{
			{name: "reload", steps: []step{{do: changeFile, on: active, what: "no-such-directive 1"}, {do: reload, on: active}},
				hold: span{deadtimes: 2, plus: time.Second}, outage: limits{ours: within(hiccup)}, dual: single()}}, needs: oursActive},
	}
}

// dying are scenarios of nodes that fall silent.
func dying() []scenario {
	cut := phase{name: "cut", steps: []step{{do: powerCut, on: active}}, hold: span{deadtimes: 1}, outage: afterDeath(), dual: single()}
	returns := func(failback string) scenario {
		return scenario{name: "return-" + failback, about: "a node that lost power comes back with auto_failback " + failback,
			set: map[string]string{"auto_failback": failback}, phases: []phase{cut, comesBack()}}
	}
	return []scenario{
		{name: "power-cut", about: "the active node loses power", phases: []phase{cut}},
		{name: "power-cut-standby", about: "the standby node loses power", phases: []phase{
			{name: "cut", steps: []step{{do: powerCut, on: standby}}, hold: span{deadtimes: 2, plus: time.Second}, outage: undisturbed(), dual: single()}}},
		returns("on"), returns("off"), returns("legacy"),
		{name: "freeze-short", about: "every process of the active node stands still for half a deadtime", phases: []phase{
			{name: "freeze", steps: []step{{do: freeze, on: active, span: span{deadtimes: 0.5}}}, hold: span{deadtimes: 2, plus: time.Second}, outage: undisturbed(), dual: single()}}},
		{name: "freeze-long", about: "every process of the active node stands still for two seconds more than its deadtime", phases: []phase{
			{name: "freeze", steps: []step{{do: freeze, on: active, span: span{deadtimes: 1, plus: 2 * time.Second}}}, hold: span{deadtimes: 1, plus: 2 * time.Second}, holdTheirs: span{plus: theirRestart},
				outage: limits{ours: deadtimes(1, hiccup), theirs: within(theirSplit)}, dual: single(), anyNode: withTheir}}},
		{name: "debugged", about: "the active node's daemon is held by a debugger for two seconds more than its deadtime", needs: oursActive, phases: []phase{
			{name: "hold", steps: []step{{do: debugIt, on: active, span: span{deadtimes: 1, plus: 2 * time.Second}}}, hold: span{deadtimes: 1, plus: 2 * time.Second}, holdTheirs: span{plus: theirRestart},
				outage: limits{ours: afterDeath().ours, theirs: within(theirSplit)}, dual: single(), anyNode: withTheir}}},
		{name: "starved", about: "the active node has no memory left for ten seconds, and kills one program after the other", needs: oursBoth | memoryLimits, phases: []phase{
			{name: "starve", steps: []step{{do: starve, on: active, span: span{lasting: 10 * time.Second}}}, hold: span{deadtimes: 1, plus: 2 * time.Second},
				dual: single(), anyNode: always}}}, // how long the kernel holds the daemon up is its own affair
		{name: "stand-still", about: "every process of both nodes stands still for half as long again as deadtime", needs: oursBoth, phases: []phase{
			{name: "freeze", steps: []step{{do: standStill, on: both, span: span{deadtimes: 1.5}}}, hold: span{deadtimes: 2, plus: time.Second},
				outage: limits{ours: deadtimes(1.5, hiccup)}, dual: single(), anyNode: always, moves: 1}}},
		{name: "daemon-killed", about: "the active node's daemon is killed, its addresses stay; then it is started again", phases: []phase{
			{name: "kill", steps: []step{{do: killDaemon, on: active}}, hold: span{deadtimes: 2}, mayStay: withTheir,
				outage: limits{ours: deadtimes(1, hiccup)}, dual: single()},
			{name: "start again", steps: []step{{do: startDaemon, on: active}}, hold: span{plus: 2 * time.Second}, anyNode: withTheir,
				mayStay: theirActive, // linux-ha does not remove what its killed predecessor left
				outage:  limits{ours: within(hiccup), theirs: within(theirSplit)}, dual: single()}}},
		{name: "kill-supervised", about: "the active node's daemon is killed, and started again at once by its supervisor", needs: oursBoth, set: aSecond,
			phases: []phase{{name: "kill", steps: []step{{do: killAgain, on: active}}, hold: span{deadtimes: 2}, outage: unseen(), dual: single()}}},
		{name: "kill-supervised-alone", about: "as kill-supervised, while the other node is off", needs: oursBoth, set: aSecond,
			phases: []phase{
				{name: "cut", steps: []step{{do: powerCut, on: standby}}, hold: span{deadtimes: 2}, outage: unseen(), dual: single()},
				{name: "kill", steps: []step{{do: killAgain, on: active}}, hold: span{initdeads: 1, deadtimes: 2}, outage: unseen(), dual: single()}}},
		{name: "upgrade", about: "the active node's daemon is replaced by the program on disk while it runs", needs: oursActive, set: aSecond,
			phases: []phase{{name: "upgrade", steps: []step{{do: upgradeIt, on: active}}, hold: span{deadtimes: 2}, outage: unseen(), dual: single()}}},
		{name: "upgrade-standby", about: "the standby node's daemon is replaced by the program on disk while it runs", needs: oursBoth, set: aSecond,
			phases: []phase{{name: "upgrade", steps: []step{{do: upgradeIt, on: standby}}, hold: span{deadtimes: 2}, outage: unseen(), dual: single()}}},
	}
}

// aSecond is the shortest deadtime with which a daemon is back, on a busy machine too, before its lease ends. A serial line has to be fast for it.
var aSecond = map[string]string{"keepalive": "100ms", "warntime": "500ms", "deadtime": "1", "initdead": "3", "baud": "115200"}

// moving are scenarios of commands.
func moving() []scenario {
	var all []scenario
	for _, set := range []string{"all", "local", "foreign"} {
		all = append(all, scenario{name: "standby-" + set, about: "the active node is told hb_standby " + set, set: map[string]string{"auto_failback": "off"},
			phases: []phase{{name: "standby", steps: []step{{do: goStandby, on: active, what: set}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}}})
	}
	for _, set := range []string{"all", "foreign"} {
		all = append(all, scenario{name: "takeover-" + set, about: "the standby node is told hb_takeover " + set, set: map[string]string{"auto_failback": "off"},
			phases: []phase{{name: "takeover", steps: []step{{do: takeOver, on: standby, what: set}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}}})
	}
	return append(all, scenario{name: "there-and-back", about: "hb_standby all, then the other node gives everything back", set: map[string]string{"auto_failback": "off"},
		phases: []phase{
			{name: "there", steps: []step{{do: goStandby, on: active, what: "all"}}, hold: span{plus: time.Second}, outage: byHand(), dual: single()},
			{name: "back", steps: []step{{do: goStandby, on: standby, what: "all"}}, hold: span{plus: time.Second}, outage: byHand(), dual: single()}}})
}

// failing are scenarios of links and resources that fail.
func failing() []scenario {
	return []scenario{
		{name: "one-link", about: "one of several heartbeat links fails, and comes back", needs: twoMedia, phases: []phase{
			{name: "pull", steps: []step{{do: pullOne, on: both}}, hold: span{deadtimes: 2, plus: time.Second}, outage: undisturbed(), dual: single()},
			{name: "plug", steps: []step{{do: plugOne, on: both}}, hold: span{deadtimes: 1, plus: time.Second}, outage: undisturbed(), dual: single()}}},
		{name: "partition-short", about: "all links between the nodes fail for half a deadtime", phases: []phase{
			{name: "partition", steps: []step{{do: partition, on: both, span: span{deadtimes: 0.5}}, {do: heal, on: both}},
				hold: span{deadtimes: 2, plus: time.Second}, outage: undisturbed(), dual: single()}}},
		{name: "partition-gateway", about: "all links between the nodes fail, but the gateway and the clients reach both", needs: oursBoth | gateway, phases: []phase{
			{name: "partition", steps: []step{{do: reflected, on: both}, {do: named, on: both, what: "by mirror"}, {do: watchQuietly, on: both, span: span{deadtimes: 2, plus: 3 * time.Second}}},
				apart: true, outage: undisturbed(), dual: single()},
			{name: "heal", steps: []step{{do: heal, on: both}}, hold: span{plus: 3 * time.Second},
				outage: limits{ours: &bound{span: span{plus: hiccup}, median: &span{plus: 3 * time.Millisecond}}}, dual: single()}}},
		{name: "heartbeats-filtered", about: "a firewall drops every heartbeat between the nodes, while everything else passes", needs: oursBoth | packetLoss, set: noMirrors, phases: []phase{
			{name: "filter", steps: []step{{do: filterAll, on: both}, {do: named, on: both, what: "peer answers"}, {do: watchQuietly, on: both, span: span{deadtimes: 2, plus: 3 * time.Second}}},
				apart: true, outage: undisturbed(), dual: single()},
			{name: "pass", steps: []step{{do: passAll, on: both}}, hold: span{plus: 3 * time.Second}, outage: undisturbed(), dual: single()}}},
		{name: "cables-pulled", about: "every cable of the active node is pulled, and plugged in again", needs: oursBoth, phases: []phase{
			{name: "pull", steps: []step{{do: pullAll, on: active}}, hold: span{deadtimes: 2, plus: time.Second}, apart: true, outage: afterDeath(), dual: single()},
			{name: "plug", steps: []step{{do: insertAll, on: active}}, hold: span{deadtimes: 1, plus: 2 * time.Second}, outage: undisturbed(), dual: single()}}},
		{name: "one-link-one-way", about: "what the active node sends on one of several links does not arrive", needs: twoMedia | packetLoss | oursBoth, phases: []phase{
			{name: "mute", steps: []step{{do: unheard, on: active, span: span{deadtimes: 3, plus: time.Second}}}, hold: span{deadtimes: 2}, outage: undisturbed(), dual: single()}}},
		{name: "one-way-standby", about: "nothing that the standby node sends reaches the other one, for three seconds more than deadtime", needs: packetLoss | oursBoth, phases: []phase{
			{name: "mute", steps: []step{{do: mute, on: standby, what: "100", span: span{deadtimes: 1, plus: 3 * time.Second}}}, hold: span{deadtimes: 1, plus: 2 * time.Second},
				outage: limits{ours: deadtimes(1, hiccup)}, dual: single(), anyNode: always, moves: 1}}},
		{name: "partition", about: "all links between the nodes fail for longer than deadtime, then heal; nobody connects them, but clients reach both", set: noMirrors, phases: []phase{
			{name: "partition", steps: []step{{do: partition, on: both, span: span{deadtimes: 2, plus: time.Second}}}, mayStay: always, apart: true,
				outage: limits{ours: within(hiccup)}, moves: 1},
			{name: "heal", steps: []step{{do: heal, on: both}}, hold: span{plus: 3 * time.Second}, holdTheirs: span{plus: theirRestart}, anyNode: always,
				outage: limits{ours: &bound{span: span{plus: hiccup}, median: &span{plus: planned}}, theirs: within(theirSplit)}, moves: 1}}},
		{name: "one-way", about: "nothing that the active node sends reaches the other one, for three seconds more than deadtime", needs: packetLoss, phases: []phase{
			{name: "mute", steps: []step{{do: mute, on: active, what: "100", span: span{deadtimes: 1, plus: 3 * time.Second}}}, hold: span{deadtimes: 1, plus: 2 * time.Second},
				holdTheirs: span{plus: theirRestart},
				outage:     limits{ours: deadtimes(1, hiccup), theirs: within(theirSplit)}, dual: single(), anyNode: always, moves: 1}}},
		{name: "takeover-fails", about: "a resource cannot be started by the node that is told to take over: the group runs whole on the other one again",
			needs: failingStart, set: map[string]string{"auto_failback": "off"}, phases: []phase{
				{name: "takeover", steps: []step{{do: failStarts, on: standby}, {do: takeOver, on: standby, what: "all"}}, hold: span{plus: 3 * time.Second}, holdTheirs: span{plus: theirFailure},
					outage: limits{ours: within(2 * time.Second), theirs: within(theirMove + theirFailure)}, dual: single(), moves: 2}}},
		{name: "start-fails", about: "a resource of the active node cannot be started: the other node runs the group", needs: failingStart, start: byPhases, phases: []phase{
			{name: "start", steps: []step{{do: failStarts, on: active}, {do: startDaemon, on: both}}, hold: span{plus: 2 * time.Second}, holdTheirs: span{plus: theirFailure}, claimsMore: theirActive,
				serves: limits{ours: within(5 * time.Second)}, moves: 1}}},
	}
}

// afterLoss leaves the nodes the time to ask for what was lost last, and calmedAfter beyond that.
var afterLoss = span{deadtimes: 1, plus: time.Second}

// enduring are scenarios in which nothing may happen.
func enduring() []scenario {
	nothing := func(do verb, what string, span span) []phase {
		return []phase{{name: "endure", steps: []step{{do: do, on: both, what: what, span: span}}, hold: afterLoss, outage: undisturbed(), dual: single()}}
	}
	loss := nothing(lose, "20", span{lasting: 10 * time.Second})
	third := nothing(lose, "30", span{lasting: 10 * time.Second})
	lossBusy := nothing(loseBusy, "30", span{lasting: 10 * time.Second})
	lossBusy[0].outage = limits{}
	// With a deadtime of four keepalives linux-ha, which counts nothing but what arrives, takes a live node for dead when three heartbeats in a row are lost,
	// until it has noticed the loss and asks again. Two of ours ask one another first.
	for _, p := range [][]phase{third, lossBusy} {
		p[0].anyNode, p[0].mayStay = withTheir, theirsOnly
	}
	third[0].outage.theirs = nil
	half := nothing(lose, "50", span{lasting: 20 * time.Second})
	half[0].outage, half[0].anyNode, half[0].moves = limits{ours: deadtimes(1, hiccup)}, always, 1
	half[0].mayStay = theirsOnly // two of linux-ha may both keep what either took
	hog := nothing(busy, "", span{lasting: 10 * time.Second})
	hog[0].outage = limits{}
	garbage := nothing(flood, "", span{plus: 5 * time.Second})
	idle := nothing(watchQuietly, "", span{lasting: 20 * time.Second})
	idle[0].cost = &cost{percent: 0.5, megabytes: 25}
	return []scenario{
		{name: "idle", about: "nothing happens for twenty seconds, at keepalive 100 ms", phases: idle,
			set: map[string]string{"keepalive": "100ms", "warntime": "500ms", "deadtime": "1", "baud": "115200",
				"deadping": "3"}}, // linux-ha hears nobody for a second while it starts
		{name: "loss", about: "a fifth of all frames between the nodes is lost for ten seconds", needs: packetLoss, phases: loss},
		{name: "loss-half", about: "half of all frames between the nodes is lost for twenty seconds", needs: packetLoss, phases: half},
		{name: "loss-third", about: "thirty of a hundred frames between the nodes are lost for ten seconds", needs: packetLoss, phases: third},
		{name: "loss-busy", about: "thirty of a hundred frames between the nodes are lost for ten seconds while every core is kept busy", needs: packetLoss, phases: lossBusy},
		{name: "cut-in-loss", about: "the active node loses power while thirty of a hundred frames are lost", needs: packetLoss, phases: []phase{
			{name: "loss", steps: []step{{do: beginLoss, on: both, what: "30"}, {do: watchQuietly, on: both, span: span{plus: 2 * time.Second}}}, outage: undisturbed(), dual: single()},
			{name: "cut", steps: []step{{do: powerCut, on: active}}, hold: span{deadtimes: 1}, outage: afterDeath(), dual: single()}}},
		{name: "busy", about: "every core is kept busy for ten seconds", phases: hog},
		{name: "flood", about: "the heartbeat port is flooded with garbage for five seconds", phases: garbage, needs: oursBoth}, // linux-ha logs every frame, and dies of it
	}
}

// noMirrors keeps the nodes from finding each other by way of hosts that answer pings.
var noMirrors = map[string]string{"#hapair:": "mirror=off"}

// oneDeadtime is how long the consequences of a disturbance may take to show.
var oneDeadtime = span{deadtimes: 1}

// unknownScenario words a name that is none, with the nearest one.
func unknownScenario(name string, all []scenario) error {
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	if near := fault.Nearest(name, names); near != "" {
		return fmt.Errorf("no scenario %q (did you mean %s? heartbeat rehearse --list shows all)", name, near)
	}
	return fmt.Errorf("no scenario %q (heartbeat rehearse --list shows all)", name)
}
