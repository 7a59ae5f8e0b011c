package rehearsal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hapair/heartbeat/rehearsal/lab"
	"hapair/heartbeat/rehearsal/probe"
)

// node is one of the two machines and what runs on it.
type node struct {
	index   int
	name    string
	impl    implementation
	etc     string        // its /etc/ha.d, as the laboratory sees it
	lib     string        // its /var/lib/heartbeat
	plugins string        // its fencing plugins in linux-ha's place; "" for those of the machine that plays everything
	power   string        // its line to the power switches; "" where there are none
	machine *lab.Machine  // nil while it has no power
	daemon  *lab.Process  // of hapair, while it runs or after it ended
	begun   time.Duration // when the daemon was last started
	running bool          // the daemon was started and neither stopped nor killed
}

// newNode makes the node's private files.
func (w *world) newNode(index int, impl implementation) (*node, error) {
	n := &node{index: index, name: w.pair.nodes[index], impl: impl}
	var err error
	if n.etc, err = w.lab.Dir(n.name, "ha.d"); err != nil {
		return nil, err
	}
	if n.lib, err = w.lab.Dir(n.name, "lib"); err != nil {
		return nil, err
	}
	if err := impl.install(n, w.copies); err != nil {
		return nil, fmt.Errorf("install %s on %s: %w", impl.name(), n.name, err)
	}
	return n, nil
}

// boot gives the node power and waits until it could start its daemon.
func (w *world) boot(ctx context.Context, n *node) error {
	spec := lab.MachineSpec{
		Name: n.name, Sysctls: lab.QuietSysctls(), Cables: map[string]*lab.End{},
		Binds: []lab.Bind{
			{Source: n.etc, Target: "/etc/ha.d"}, {Source: n.lib, Target: "/var/lib/heartbeat"}, {Source: w.hosts, Target: "/etc/hosts"},
			{Source: w.binary, Target: hapairBinary},
		},
	}
	if n.plugins != "" {
		spec.Binds = append(spec.Binds, lab.Bind{Source: n.plugins, Target: linuxHAStonith})
	}
	if n.power != "" {
		spec.Binds = append(spec.Binds, lab.Bind{Source: n.power, Target: powerDir})
	}
	ttl := fmt.Sprint(probe.NodeTTL(n.index))
	spec.Sysctls["net/ipv4/ip_default_ttl"] = ttl
	spec.Sysctls["net/ipv6/conf/all/hop_limit"] = ttl
	spec.Sysctls["net/ipv6/conf/default/hop_limit"] = ttl
	if w.pair.routes() {
		spec.Sysctls["net/ipv4/ip_forward"] = "1"
		spec.Sysctls["net/ipv6/conf/all/forwarding"] = "1"
	}
	for _, net := range w.pair.networks {
		spec.Ports = append(spec.Ports, lab.Port{Switch: w.switches[net.index], Device: net.device, MAC: net.nodeMAC(n.index), Addresses: net.nodeAddresses(n.index)})
	}
	for i, path := range w.pair.serials {
		spec.Cables[path] = w.cables[i].Ends[n.index]
	}
	if route, ok := w.pair.defaultRoute(); ok {
		spec.Routes = append(spec.Routes, route)
	}
	m, err := w.lab.Boot(spec)
	if err != nil {
		return err
	}
	w.setMachine(n, m)
	w.follow(n)
	if err := w.tap.listen(n.index, m.Ports); err != nil {
		return err
	}
	go w.watchPower(n, m)
	return n.impl.prepare(ctx, n)
}

// watchPower notes when a machine goes down by itself: a program on it rebooted it.
func (w *world) watchPower(n *node, m *lab.Machine) {
	<-m.Done
	if !w.expected(m) {
		w.note(n.name, KindAction, "the machine went down by itself (a program on it asked for a reboot)")
	}
}

// powerOff cuts the node's power.
func (w *world) powerOff(n *node) {
	if n.machine == nil {
		return
	}
	w.expect(n.machine)
	n.machine.PowerOff()
	w.setMachine(n, nil)
	n.daemon, n.running = nil, false
}

// lastLines is the end of a text, on one line.
func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], " | ")
}

// setMark makes or removes a file in a node's /etc/ha.d.
func (n *node) setMark(name string, on bool) error {
	path := filepath.Join(n.etc, name)
	if on {
		return writeFile(path, "", 0o644)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove the mark on %s: %w", n.name, err)
	}
	return nil
}
