package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"hapair/heartbeat/rehearsal/lab"
)

// verb is something that can be done to a pair. do does it to one node (to both at once where node is nobody); predict
// tells the model, and is nil where nothing may change.
type verb struct {
	words   string // for the time line; %[1]s is the node, %[2]s the argument, %[3]s how long
	do      func(ctx context.Context, r *run, node int, s step) error
	loads   bool // every core of the machine
	predict func(m *model, node int, s step)
}

var (
	startDaemon = verb{words: "start the daemon on %[1]s", do: doStart, predict: func(m *model, node int, _ step) {
		if node == nobody {
			m.start(0, 1)
		} else {
			m.start(node)
		}
	}}
	stopDaemon  = verb{words: "stop the daemon on %[1]s politely", do: doStop, predict: func(m *model, node int, _ step) { predictLoss(m, node) }}
	powerCut    = verb{words: "cut the power of %[1]s", do: doPowerCut, predict: func(m *model, node int, _ step) { predictLoss(m, node) }}
	bootMachine = verb{words: "give %[1]s power again", do: doBoot}
	killDaemon  = verb{words: "kill -9 every process of the daemon on %[1]s", do: doKill, predict: func(m *model, node int, _ step) { predictLoss(m, node) }}
	killAgain   = verb{words: "kill -9 every process of the daemon on %[1]s; its supervisor starts it again", do: doKillAgain}
	upgradeIt   = verb{words: "heartbeat upgrade on %[1]s", do: doUpgrade}
	debugIt     = verb{words: "hold the daemon on %[1]s as a debugger does, for %[3]s", do: doDebug, predict: predictFreeze}
	starve      = verb{words: "take all memory that %[1]s has, for %[3]s", do: doStarve}
	pullAll     = verb{words: "pull every cable of %[1]s, the clients' too", do: doPullAll, predict: func(m *model, node int, _ step) {
		predictLoss(m, node)
		m.up[node] = true
	}}
	insertAll = verb{words: "plug every cable of %[1]s in again", do: doInsertAll}
	named     = verb{words: "wait until the status of both nodes says %[2]s, for a second or two deadtimes at most", do: doNamed}
	filterAll = verb{words: "drop every heartbeat between the nodes; everything else passes", do: doFilterAll}
	passAll   = verb{words: "let heartbeats pass again", do: func(_ context.Context, r *run, _ int, _ step) error {
		return errors.Join(filterBridges(""), r.world.separate(false))
	}}
	unheard    = verb{words: "lose what %[1]s sends on one link, for %[3]s", do: doUnheard}
	goStandby  = verb{words: "hb_standby %[2]s on %[1]s", do: doCommand("standby"), predict: func(m *model, node int, s step) { m.give(node, s.what) }}
	takeOver   = verb{words: "hb_takeover %[2]s on %[1]s", do: doCommand("takeover"), predict: func(m *model, node int, s step) { m.take(node, s.what) }}
	reload     = verb{words: "re-read the files on %[1]s", do: doReload}
	changeFile = verb{words: "change ha.cf of %[1]s: %[2]s", do: doChange}
	freeze     = verb{words: "freeze every process of %[1]s for %[3]s", do: doFreeze, predict: predictFreeze}
	standStill = verb{words: "freeze every process of both nodes for %[3]s", do: doStandStill}
	pullOne    = verb{words: "pull one heartbeat link: %[2]s", do: doPullOne}
	plugOne    = verb{words: "plug the link in again", do: doPlugAll}
	partition  = verb{words: "cut all links between the nodes for %[3]s; clients still reach both", do: doPartition, predict: predictPartition}
	reflected  = verb{words: "cut all links between the nodes; the gateway still reaches both", do: doPartition}
	heal       = verb{words: "connect all links again", do: doPlugAll}
	lose       = verb{words: "lose %[2]s %% of all frames between the nodes for %[3]s", do: doLose}
	beginLoss  = verb{words: "lose %[2]s %% of all frames between the nodes from now on", do: doBeginLoss}
	loseBusy   = verb{words: "lose %[2]s %% of all frames between the nodes, and keep every core busy, for %[3]s", do: doLoseBusy, loads: true}
	mute       = verb{words: "lose everything that %[1]s sends to the other node, for %[3]s", do: doLose}
	busy       = verb{words: "keep every core busy for %[3]s", do: doBusy, loads: true}
	flood      = verb{words: "flood the heartbeat port with garbage for %[3]s", do: doFlood, loads: true}
	failStarts = verb{words: "make the last resource of the first group fail to start on %[1]s", do: doFailStarts, predict: func(m *model, node int, _ step) {
		if node != nobody && len(m.pair.groups) > 0 {
			m.unfit[m.pair.groups[0].Name] = node
		}
	}}
	watchQuietly = verb{words: "leave the pair alone for %[3]s", do: doWait}
)

func predictLoss(m *model, node int) {
	if node == nobody {
		m.lose(0)
		node = 1
	}
	m.lose(node)
}

// predictFreeze: a node that is frozen for less than its deadtime keeps what it has.
func predictFreeze(m *model, node int, s step) {
	if s.span.of(m.pair.timing) > m.pair.timing.deadtime {
		m.lose(node)
		m.up[node] = true
	}
}

// predictPartition: what the standby took from the active, the standby keeps: its claim is the newer one.
func predictPartition(m *model, _ int, s step) {
	if s.span.of(m.pair.timing) > m.pair.timing.deadtime {
		for i, o := range m.owner {
			if o != nobody {
				m.owner[i] = 1 - o
			}
		}
	}
}

// each runs f for a node, or for both side by side.
func each(node int, f func(int) error) error {
	if node != nobody {
		return f(node)
	}
	second := make(chan error, 1)
	go func() { second <- f(1) }()
	err := f(0)
	if err2 := <-second; err == nil {
		err = err2
	}
	return err
}

func doStart(ctx context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error {
		n := r.world.nodes[i]
		if n.machine == nil {
			return fmt.Errorf("start the daemon on %s: it has no power", n.name)
		}
		n.running, n.begun = true, r.world.clock.Now()
		return n.impl.start(ctx, n)
	})
}

func doStop(ctx context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error {
		n := r.world.nodes[i]
		n.running = false
		return n.impl.stop(ctx, n)
	})
}

func doPowerCut(_ context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error {
		r.world.powerOff(r.world.nodes[i])
		return nil
	})
}

func doBoot(ctx context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error { return r.world.boot(ctx, r.world.nodes[i]) })
}

func doKill(_ context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error {
		n := r.world.nodes[i]
		n.running = false
		n.machine.KillAll()
		return nil
	})
}

// doKillAgain kills the daemon and starts it again when it is gone, as a supervisor does that does not wait.
func doKillAgain(ctx context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error {
		n := r.world.nodes[i]
		n.machine.KillAll()
		for len(n.machine.Processes()) > 1 {
			if err := pause(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		return n.impl.start(ctx, n)
	})
}

// doUpgrade has the daemon replace itself by the program on disk.
func doUpgrade(ctx context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error {
		n := r.world.nodes[i]
		return n.impl.command(ctx, n, "upgrade")
	})
}

func doCommand(command string) func(context.Context, *run, int, step) error {
	return func(ctx context.Context, r *run, node int, s step) error {
		n := r.world.nodes[node]
		return n.impl.command(ctx, n, command, s.what)
	}
}

func doReload(ctx context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error {
		n := r.world.nodes[i]
		return n.impl.command(ctx, n, "reload")
	})
}

// doChange appends a line to ha.cf.
func doChange(_ context.Context, r *run, node int, s step) error {
	return each(node, func(i int) error {
		path := filepath.Join(r.world.nodes[i].etc, "ha.cf")
		text, err := readFile(path)
		if err != nil {
			return err
		}
		return writeFile(path, text+s.what+"\n", 0o644)
	})
}

func doFreeze(ctx context.Context, r *run, node int, s step) error {
	m := r.world.nodes[node].machine
	m.Freeze()
	err := pause(ctx, s.span.of(r.timing))
	r.world.note("rehearsal", KindAction, "let "+r.world.nodes[node].name+" go on")
	m.Thaw()
	return err
}

// doStandStill is what both nodes see when the machine that they are guests of is held up.
func doStandStill(ctx context.Context, r *run, _ int, s step) error {
	for _, n := range r.world.nodes {
		n.machine.Freeze()
		defer n.machine.Thaw()
	}
	return pause(ctx, s.span.of(r.timing))
}

// doPullOne cuts the medium that carries no client traffic, where there is one: the loss of a link alone is the point.
func doPullOne(_ context.Context, r *run, _ int, _ step) error {
	w := r.world
	if len(w.cables) > 0 {
		w.cables[0].Cut(true)
		return nil
	}
	n := w.spareLink()
	return w.isolate(n, true)
}

// spareLink is the heartbeat network to do without: one with no clients, else the last.
func (w *world) spareLink() *network {
	var chosen *network
	for _, n := range w.pair.networks {
		if n.heartbeat && (chosen == nil || len(chosen.services(w.pair)) > 0) {
			chosen = n
		}
	}
	return chosen
}

// services are the floating addresses on a network.
func (n *network) services(p *pair) []*service {
	var all []*service
	for _, s := range p.services {
		if s.network == n {
			all = append(all, s)
		}
	}
	return all
}

// isolate keeps the nodes' ports on one network from each other.
func (w *world) isolate(n *network, on bool) error {
	for _, node := range w.nodes {
		if node.machine == nil {
			continue
		}
		if err := node.machine.Ports[n.index].Isolate(on); err != nil {
			return fmt.Errorf("isolate %s on %s: %w", node.name, n.device, err)
		}
	}
	return nil
}

func doPlugAll(_ context.Context, r *run, _ int, _ step) error {
	err := r.world.separate(false)
	if r.mendBy > 0 {
		r.overlong, r.mendBy = r.world.clock.Now()-r.mendBy, 0
	}
	return err
}

// separate cuts or mends everything between the nodes.
func (w *world) separate(on bool) error {
	for _, c := range w.cables {
		c.Cut(on)
	}
	for _, n := range w.pair.networks {
		if err := w.isolate(n, on); err != nil {
			return err
		}
	}
	return nil
}

func doPartition(ctx context.Context, r *run, _ int, s step) error {
	span := s.span.of(r.timing)
	if span < r.timing.deadtime {
		r.mendBy = r.world.clock.Now() + span
	}
	if err := r.world.separate(true); err != nil {
		return err
	}
	return pause(ctx, span)
}

func doFailStarts(_ context.Context, r *run, node int, _ step) error {
	return each(node, func(i int) error { return r.world.nodes[i].setMark(failMark, true) })
}

func doWait(ctx context.Context, r *run, _ int, s step) error { return pause(ctx, s.span.of(r.timing)) }

// pause waits, unless the rehearsal is called off.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sentence words a step for the time line.
func (r *run) sentence(s step, node int) string {
	name := "both nodes"
	if node != nobody {
		name = r.world.nodes[node].name
	}
	what := s.what
	if s.do.words == pullOne.words {
		if len(r.world.cables) > 0 {
			what = r.world.cables[0].Name
		} else {
			what = r.world.spareLink().device
		}
	}
	text := s.do.words
	for i, v := range []string{name, what, s.span.of(r.timing).String()} {
		text = strings.ReplaceAll(text, fmt.Sprintf("%%[%d]s", i+1), v)
	}
	return strings.ReplaceAll(text, "%%", "%")
}

// doPullAll takes every cable out of a node: it has no carrier, and nobody reaches it.
func doPullAll(_ context.Context, r *run, node int, _ step) error {
	return eachCable(r, node, (*lab.Plug).Pull, true)
}

func doInsertAll(_ context.Context, r *run, node int, _ step) error {
	return eachCable(r, node, (*lab.Plug).Insert, false)
}

func eachCable(r *run, node int, do func(*lab.Plug) error, cut bool) error {
	for _, c := range r.world.cables {
		c.Cut(cut)
	}
	for _, p := range r.world.nodes[node].machine.Ports {
		if err := do(p); err != nil {
			return fmt.Errorf("cable of %s: %w", r.world.nodes[node].name, err)
		}
	}
	return nil
}

// doNamed wants both nodes to say within a second, or two deadtimes where those are longer, in their status, what is wrong. Each question is waited
// for: asking is a program too, and a busy machine takes its time to start one.
func doNamed(ctx context.Context, r *run, _ int, s step) error {
	limit := r.world.clock.Now() + max(time.Second, 2*r.timing.deadtime)
	for _, n := range r.world.nodes {
		for {
			asked := r.world.clock.Now()
			status, err := hapair{}.status(ctx, n)
			if err == nil && status.says(s.what) {
				break
			}
			if asked > limit {
				return fmt.Errorf("%s does not say %q in time: %+v (%v)", n.name, s.what, status, err)
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// doUnheard loses what a node sends on the link that carries no client traffic.
func doUnheard(ctx context.Context, r *run, node int, s step) error {
	w, n := r.world, r.world.spareLink()
	from, to := w.nodes[node].machine.Ports[n.index], w.nodes[1-node].machine.Ports[n.index]
	if err := filterBridges(fmt.Sprintf("  iifname %q oifname %q drop\n", from.Name, to.Name)); err != nil {
		return err
	}
	err := pause(ctx, s.span.of(r.timing))
	if err == nil {
		err = doNamed(ctx, r, nobody, step{what: "oneway"})
	}
	return errors.Join(err, filterBridges(""))
}

// doFilterAll is what a wrong firewall does between the nodes.
func doFilterAll(_ context.Context, r *run, _ int, _ step) error {
	for _, c := range r.world.cables {
		c.Cut(true)
	}
	return filterBridges(fmt.Sprintf("  ip protocol udp udp dport %[1]d drop\n  ip6 nexthdr udp udp dport %[1]d drop\n", r.world.pair.port))
}
