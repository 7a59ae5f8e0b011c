package rehearsal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/rehearsal/lab"
)

// In a scenario about fencing the laboratory's own devices take the place of those that the files name: a real external plugin on each node, which
// asks the laboratory to cut the other machine's power and exits as the laboratory tells it. Whatever else the files say of fencing is left out, so
// that the figures are those of the scenario.

// fencePlan is what devices both nodes have in a scenario, in place of theirs.
type fencePlan struct {
	levels  []powerSwitch // one for each level
	pragmas []string      // of ha.cf
}

// powerSwitch is one device.
type powerSwitch struct {
	name  string
	took  time.Duration // from the order until the power is cut, or until it says that it cannot do that
	fails bool
}

// text is what ha.cf says of the plan.
func (f *fencePlan) text() string {
	var b strings.Builder
	for _, p := range f.pragmas {
		fmt.Fprintf(&b, "#hapair: %s\n", p)
	}
	for i, s := range f.levels {
		if len(f.levels) > 1 {
			fmt.Fprintf(&b, "#hapair: fence-level=%d\n", i+1)
		}
		fmt.Fprintf(&b, "stonith_host * external/%s %s\n", powerPlugin, s.name)
	}
	return b.String()
}

// withoutFencing removes from a line what the files say of fencing; "" where nothing else is on it.
func withoutFencing(line string) string {
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "#hapair:" || !strings.Contains(line, "fence-") {
		return line
	}
	kept := slices.DeleteFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, "fence-") })
	if len(kept) == 0 {
		return ""
	}
	return "#hapair: " + strings.Join(kept, " ") + "\n"
}

// Where the plugin is, and how it reaches the laboratory from a node.
const (
	powerPlugin = "rehearsed-power"
	powerDir    = "/run/rehearsal/power"
)

// powerScript is the plugin.
const powerScript = `#!/bin/sh
# Cuts and restores a machine's power in a rehearsal, which does it and says how that went.
power=` + powerDir + `
case "$1" in
reset|off|on)
	echo "$switch $$ $1 $2" > "$power/orders"
	until [ "$order" = $$ ]; do # else it is for one that was called back
		read -r order verdict text < "$power/$switch"
	done
	[ -z "$text" ] || echo "$text" >&2
	exit "$verdict" ;;
gethosts) cat "$power/hosts" ;;
status) ;;
getconfignames) echo switch ;;
getinfo-*) echo "the power switch of a rehearsal" ;;
*) exit 1 ;;
esac
`

// reset is one machine that a device switched off.
type reset struct {
	at   time.Duration
	node int
}

// order is what a plugin asked for.
type order struct {
	by     *node
	device powerSwitch
	id     string // of the plugin's process
	verb   string
	target int
}

// addPower makes the nodes' devices, where the scenario has some.
func (w *world) addPower(n *node) error {
	plan := w.copies.fencing
	if plan == nil {
		return nil
	}
	var err error
	if n.power, err = w.lab.Dir(n.name, "power"); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(n.power, "hosts"), w.pair.nodes[0]+"\n"+w.pair.nodes[1]+"\n", 0o644); err != nil {
		return err
	}
	lines := []string{"orders"}
	for _, s := range plan.levels {
		lines = append(lines, s.name)
	}
	for _, name := range lines {
		if err := unix.Mkfifo(filepath.Join(n.power, name), 0o600); err != nil {
			return fmt.Errorf("make the line to the power switches: %w", err)
		}
	}
	line, err := os.OpenFile(filepath.Join(n.power, "orders"), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the line to the power switches: %w", err)
	}
	go func() {
		defer line.Close()
		for lines := bufio.NewScanner(line); lines.Scan(); {
			if o, err := w.newOrder(n, lines.Text()); err != nil {
				w.note("rehearsal", KindNotice, err.Error())
			} else {
				go w.obey(o)
			}
		}
	}()
	return nil
}

// newOrder reads one order.
func (w *world) newOrder(by *node, text string) (order, error) {
	words := strings.Fields(text)
	if len(words) != 4 {
		return order{}, fmt.Errorf("a power switch was asked %q", text)
	}
	o := order{by: by, id: words[1], verb: words[2], target: slices.Index(w.pair.nodes[:], words[3])}
	i := slices.IndexFunc(w.copies.fencing.levels, func(s powerSwitch) bool { return s.name == words[0] })
	if i < 0 || o.target < 0 {
		return order{}, fmt.Errorf("a power switch was asked %q", text)
	}
	o.device = w.copies.fencing.levels[i]
	return o, nil
}

// obey does what a plugin asked for, in the device's time, and answers.
func (w *world) obey(o order) {
	target := w.nodes[o.target]
	w.note("device", KindAction, fmt.Sprintf("%s orders %s: %s %s", o.by.name, o.device.name, o.verb, target.name))
	time.Sleep(o.device.took)
	answer := "0"
	switch {
	case o.device.fails:
		answer = "1 Connection refused"
		w.note("device", KindAction, fmt.Sprintf("%s does nothing, and says so", o.device.name))
	case o.verb != "on":
		w.fenceOff(target)
		w.note("device", KindAction, fmt.Sprintf("%s has no power any more", target.name))
	}
	w.mu.Lock()
	if o.device.fails {
		w.refused = append(w.refused, w.clock.Now())
	}
	w.mu.Unlock()
	if err := answerPlugin(filepath.Join(o.by.power, o.device.name), o.id+" "+answer); err != nil && !errors.Is(err, syscall.ENXIO) {
		w.note("rehearsal", KindNotice, err.Error()) // else the plugin was ended meanwhile
	}
}

// answerPlugin writes what the plugin waits for.
func answerPlugin(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	for i := 0; err == unix.ENXIO && i < 100; i++ { // it has not come to reading yet
		time.Sleep(time.Millisecond)
		fd, err = unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text+"\n"))
	return err
}

// fenceOff cuts a machine's power for a device, and counts it when that is done: only then may the machine get power again. The node's files and fields stay those of a running one: a step gives it power again.
func (w *world) fenceOff(n *node) {
	w.mu.Lock()
	m := n.machine
	if m != nil {
		w.downs[m] = true
	}
	w.mu.Unlock()
	if m != nil {
		m.PowerOff()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resets = append(w.resets, reset{w.clock.Now(), n.index})
}

// setMachine notes the machine that a node now is, nil while it has no power.
func (w *world) setMachine(n *node, m *lab.Machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.machine = m
}

// works says that the node has power, as far as the rehearsal knows.
func (w *world) works(n *node) bool { return n.machine != nil && !w.expected(n.machine) }

// fenced counts how often devices switched a node off since a time.
func (w *world) fenced(node int, since time.Duration) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := 0
	for _, r := range w.resets {
		if r.node == node && r.at >= since {
			count++
		}
	}
	return count
}

// judgeResets compares what the devices did in a phase with what they had to.
func (r *run) judgeResets(p phase, result *Phase, since time.Duration) {
	if r.world.copies.fencing == nil {
		return
	}
	for _, who := range []role{active, standby} {
		node := r.world.nodes[r.node(who)]
		got := r.world.fenced(node.index, since)
		for range got {
			result.Resets = append(result.Resets, node.name)
		}
		if got != p.resets[who] {
			result.fail("%s was switched off %d times by a device, %d were due", node.name, got, p.resets[who])
		}
	}
}

// alarmPatience is how soon after a device failed its alarm must be up.
const alarmPatience = time.Second

// doAwaitAlarm waits until a node says that its device failed, and again that it was asked once more.
func doAwaitAlarm(ctx context.Context, r *run, node int, _ step) error {
	n := r.world.nodes[node]
	first, err := r.awaitRefusal(ctx, 1)
	if err != nil {
		return err
	}
	for {
		text, err := statusOf(ctx, n)
		if err == nil && strings.Contains(text, "STONITH of "+r.world.nodes[1-node].name+" failed") {
			break
		}
		if r.world.clock.Now() > first+10*time.Second {
			return fmt.Errorf("%s raised no alarm within 10 s of its device's failure", n.name)
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	took := r.world.clock.Now() - first
	r.world.note(n.name, KindAction, fmt.Sprintf("its status shows the alarm %.0f ms after the device failed", milliseconds(took)))
	if took > alarmPatience {
		return fmt.Errorf("%s raised the alarm %v after its device failed, allowed is %v", n.name, took.Round(time.Millisecond), alarmPatience)
	}
	_, err = r.awaitRefusal(ctx, 2)
	return err
}

// awaitRefusal waits until a device has refused so often, and says when it last did.
func (r *run) awaitRefusal(ctx context.Context, times int) (time.Duration, error) {
	for end := r.world.clock.Now() + r.timing.deadtime + 20*time.Second; ; {
		r.world.mu.Lock()
		refused := slices.Clone(r.world.refused)
		r.world.mu.Unlock()
		if len(refused) >= times {
			return refused[times-1], nil
		}
		if r.world.clock.Now() > end {
			return 0, fmt.Errorf("the device was asked %d times, not %d", len(refused), times)
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// statusOf is what a node says of itself, for programs.
func statusOf(ctx context.Context, n *node) (string, error) {
	result, err := n.machine.Run(ctx, hapairBinary, "status", "--json", "--run", "/run/heartbeat")
	return result.Output, err
}

// doAwaitReset waits until a device has switched a node off.
func doAwaitReset(ctx context.Context, r *run, node int, s step) error {
	for end := r.world.clock.Now() + s.span.of(r.timing); r.world.fenced(node, r.begun) == 0; {
		if r.world.clock.Now() > end {
			return nil // judged by what was due
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// doAwaitHold waits until a node says that it asks a person before it has the other one reset again.
func doAwaitHold(ctx context.Context, r *run, node int, s step) error {
	n := r.world.nodes[node]
	for end := r.world.clock.Now() + s.span.of(r.timing); ; {
		text, err := statusOf(ctx, n)
		if err == nil && strings.Contains(text, "it is not reset again and nothing is taken over") {
			return nil
		}
		if r.world.clock.Now() > end {
			return fmt.Errorf("the status of %s does not say that it asks a person: %v", n.name, err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// doConfirm is a person who looked at the other machine.
func doConfirm(ctx context.Context, r *run, node int, _ step) error {
	n := r.world.nodes[node]
	return n.impl.command(ctx, n, "confirm-dead", r.world.nodes[1-node].name)
}

// doCutHeartbeats loses every heartbeat between the nodes, and nothing else: what passes over the same networks besides still passes.
func doCutHeartbeats(cut bool) func(context.Context, *run, int, step) error {
	return func(_ context.Context, r *run, _ int, _ step) error {
		w := r.world
		for _, c := range w.cables {
			c.Cut(cut)
		}
		if !cut {
			return filterBridges("")
		}
		return filterBridges(fmt.Sprintf("  udp dport %d drop\n", w.pair.port))
	}
}
