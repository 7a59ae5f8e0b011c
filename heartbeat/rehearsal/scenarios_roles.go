package rehearsal

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// roles are scenarios that put both nodes in every role: serving and waiting, preferred and not, the one that is told and the one that is asked.
func roles() []scenario {
	off := map[string]string{"auto_failback": "off"}
	// What follows happens to the node that is not preferred while it serves.
	there := phase{name: "there", steps: []step{{do: goStandby, on: active, what: "all"}}, hold: span{plus: time.Second}, outage: byHand(), dual: single()}
	away := func(name, about string, phases ...phase) scenario {
		return scenario{name: "away-" + name, about: "the node that is not preferred serves: " + about, set: off, phases: append([]phase{there}, phases...)}
	}
	again := phase{name: "start again", steps: []step{{do: startDaemon, on: standby}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}
	back := phase{name: "return", steps: []step{{do: bootMachine, on: standby}, {do: startDaemon, on: standby}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}
	all := []scenario{
		away("power-cut", "it loses power, and comes back", phase{name: "cut", steps: []step{{do: powerCut, on: standby}}, hold: oneDeadtime, outage: afterDeath(), dual: single()}, back),
		away("stop", "its daemon is stopped, and started again", phase{name: "stop", steps: []step{{do: stopDaemon, on: standby}}, outage: byHand(), dual: single()}, again),
		away("idle-cut", "the other one loses power", phase{name: "cut", steps: []step{{do: powerCut, on: active}}, hold: span{deadtimes: 2, plus: time.Second},
			outage: undisturbed(), dual: single()}),
		{name: "restart", about: "the active node's daemon is stopped and started again at once", set: off, phases: []phase{
			{name: "restart", steps: []step{{do: stopDaemon, on: active}, {do: startDaemon, on: active}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}}},
	}
	for _, failback := range []string{"on", "off", "legacy"} {
		all = append(all, scenario{name: "join-" + failback, about: "the node that is not preferred starts alone; later the other one joins, with auto_failback " + failback,
			set: map[string]string{"auto_failback": failback}, start: secondOnly, phases: []phase{
				{name: "join", steps: []step{{do: startDaemon, on: standby}}, hold: span{plus: 2 * time.Second}, outage: byHand(), dual: single()}}})
	}
	for _, who := range []struct {
		name string
		on   role
	}{{"active", active}, {"standby", standby}} {
		all = append(all, scenario{name: "reload-" + who.name, about: "the " + who.name + " node re-reads a changed ha.cf", phases: []phase{
			{name: "reload", steps: []step{{do: changeFile, on: who.on, what: "# changed by the rehearsal"}, {do: reload, on: who.on}},
				hold: span{plus: 3 * time.Second}, outage: undisturbed(), dual: single()}}})
	}
	told := func(name, about string, do verb, on role, set string, outage limits) scenario {
		return scenario{name: name, about: about, set: off, phases: []phase{
			{name: "told", steps: []step{{do: do, on: on, what: set}}, hold: span{plus: 2 * time.Second}, outage: outage, dual: single()}}}
	}
	return append(all,
		told("standby-failback", "the active node is told hb_standby failback", goStandby, active, "failback", byHand()),
		told("standby-idle", "the standby node is told hb_standby all", goStandby, standby, "all", byHand()),
		told("takeover-local", "the standby node is told hb_takeover local", takeOver, standby, "local", byHand()),
		told("takeover-failback", "the standby node is told hb_takeover failback", takeOver, standby, "failback", byHand()),
		told("takeover-idle", "the active node is told hb_takeover all", takeOver, active, "all", byHand()),
		scenario{name: "tour", about: "there and back: a hand-over, a fifth of all frames lost, a power cut, a return, and an order in a message so long that linux-ha may compress it",
			set: off, needs: packetLoss, phases: []phase{
				there,
				{name: "loss", steps: []step{{do: lose, on: both, what: "20", span: span{plus: 3 * time.Second}}}, hold: afterLoss, outage: undisturbed(), dual: single()},
				{name: "cut", steps: []step{{do: powerCut, on: standby}}, hold: oneDeadtime, outage: afterDeath(), dual: single()},
				back,
				// The last thing of all: linux-ha, once it has sent so long a message, now and then loses the end of its next takeover, or answers nobody any more.
				{name: "long order", steps: []step{{do: longOrder, on: active, what: "all"}}, hold: span{plus: time.Second}, outage: byHand(), dual: single()}}},
	)
}

var longOrder = verb{words: "hb_standby %[2]s on %[1]s, in a message of three kilobytes", do: doLongOrder, predict: func(m *model, node int, s step) { m.give(node, s.what) }}

// doLongOrder gives a node the order to go standby as hb_standby does, by its FIFO, with so much beside it that linux-ha compresses what it sends where it is told to.
func doLongOrder(ctx context.Context, r *run, node int, s step) error {
	n := r.world.nodes[node]
	var text strings.Builder
	fmt.Fprintf(&text, ">>>\nt=ask_resources\nrsc_hold=%s\ninfo=me\n", s.what)
	for i := range 8 {
		fmt.Fprintf(&text, "filler%d=%s\n", i, strings.Repeat(string(rune('a'+i)), 400))
	}
	text.WriteString("<<<\n")
	before := r.world.tap.packed(node)
	if _, err := mustSucceed(ctx, n, "sh", "-c", `printf %s "$1" >/var/lib/heartbeat/fifo`, "order", text.String()); err != nil {
		return err
	}
	if n.impl.name() != LinuxHA || !r.world.pair.compresses {
		return nil
	}
	for range 40 {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		if r.world.tap.packed(node) > before {
			return nil
		}
	}
	return fmt.Errorf("%s sent nothing compressed, although its files have traditional_compression", n.name)
}
