package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hapair/heartbeat/daemon"
	"hapair/heartbeat/host"
)

// initAnswers are what `heartbeat init` has to be told.
type initAnswers struct {
	node, peer  string
	peerAddress []string
	address     string // IP/LENGTH
	device      string // that carries it
	service     string
	output      string
	watchdog    bool
	classic     bool
	force, yes  bool
}

func (a *app) initCommand() *cobra.Command {
	var in initAnswers
	c := &cobra.Command{
		Use: "init", Short: "Write the configuration of a new pair", Args: cobra.NoArgs,
		Long: "Look at this machine, ask what it cannot know (or take it from the flags), and write the configuration of both nodes with a fresh\n" +
			"key: the same files for both. Nothing that exists is overwritten without --force. What was written is checked, and the commands\n" +
			"to run next are printed. Exit code 0: written and free of errors; 1: not; 2: something was not said.",
		Example: "  heartbeat init --peer beta --peer-address 10.0.0.2 --address 10.0.0.100/24 --service systemd:nginx --yes",
		RunE: func(*cobra.Command, []string) error {
			if in.output == "" {
				in.output = a.dirs.paths().Config
			}
			s, err := lookAround()
			if err != nil {
				return &exit{exitFailure, err}
			}
			_, err = unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
			return a.init(in, s, os.Stdin, err == nil && !in.yes)
		},
	}
	f := c.Flags()
	f.StringVar(&in.node, "node", "", "this node's `name`, where it is not what uname -n prints")
	f.StringVar(&in.peer, "peer", "", "the other node's `name`, as uname -n prints it there")
	f.StringSliceVar(&in.peerAddress, "peer-address", nil, "an `address` of the other node; again for each network that connects the two")
	f.StringVar(&in.address, "address", "", "the address that clients use, `IP/LENGTH`: it moves from node to node")
	f.StringVar(&in.device, "interface", "", "the `interface` that carries it, where that is not plain from its network")
	f.StringVar(&in.service, "service", "", "the `resource` that runs with it: systemd:UNIT, or a script of resource.d or init.d")
	f.StringVar(&in.output, "output", "", "write to this `directory` instead of the configuration directory")
	f.BoolVar(&in.watchdog, "watchdog", false, "use /dev/watchdog: it resets this machine when its heartbeat hangs")
	f.BoolVar(&in.classic, "classic", false, "write ha.cf and haresources, which Linux-HA reads too, instead of heartbeat.toml")
	f.BoolVar(&in.force, "force", false, "replace files that exist; the old ones are kept as FILE.old")
	f.BoolVar(&in.yes, "yes", false, "ask nothing")
	return c
}

// init is `heartbeat init` on a machine that looks like s. ask says that somebody answers questions on stdin.
func (a *app) init(in initAnswers, s survey, stdin io.Reader, ask bool) error {
	if in.node != "" {
		s.node = strings.ToLower(in.node)
	}
	if err := inTheWay(in); err != nil {
		return &exit{exitFailure, err}
	}
	a.describe(s)
	if ask {
		q := &questions{in: bufio.NewReader(stdin), out: a.out}
		if err := q.complete(&in, s); err != nil {
			return &exit{exitFailure, err}
		}
	}
	plan, err := makePlan(in, s)
	if err != nil {
		return &exit{exitUsage, err}
	}
	written, err := writePair(in, plan)
	if err != nil {
		return &exit{exitFailure, err}
	}
	fmt.Fprintf(a.out, "\nWrote %s.\n\n", strings.Join(written, ", "))
	dirs := a.dirs
	dirs.config = in.output
	report := daemon.Check(dirs.paths(), in.node == "" || in.node == s.node)
	if err := report.WriteText(a.out); err != nil {
		return &exit{exitFailure, err}
	}
	a.nextSteps(in, plan, s, written)
	if report.Summary.Errors > 0 {
		return &exit{exitFailure, errors.New("correct what is marked as an error above before you start it")}
	}
	return nil
}

// inTheWay refuses to touch a configuration that exists.
func inTheWay(in initAnswers) error {
	var there []string
	for _, name := range []string{"heartbeat.toml", "ha.cf", "haresources", "authkeys"} {
		if _, err := os.Lstat(filepath.Join(in.output, name)); err == nil {
			there = append(there, filepath.Join(in.output, name))
		}
	}
	if len(there) > 0 && !in.force {
		return fmt.Errorf("there is a configuration already, which was left as it is: %s; --force replaces it, --output DIR writes elsewhere", strings.Join(there, ", "))
	}
	return nil
}

// describe says what was seen.
func (a *app) describe(s survey) {
	fmt.Fprintf(a.out, "This machine is %s.\n", s.node)
	for _, i := range s.usable() {
		state := ""
		if !i.Carrier {
			state = ", no carrier"
		}
		fmt.Fprintf(a.out, "  %-12s %s%s\n", i.Name, s.own(i), state)
	}
	if g, found := s.gateway(); found {
		fmt.Fprintf(a.out, "  gateway      %s\n", g)
	}
	for _, p := range s.serials {
		state := "nothing answers on it"
		if p.alive {
			state = "a cable is connected"
		}
		fmt.Fprintf(a.out, "  %-12s %s\n", p.device, state)
	}
	if s.watchdog != "" {
		fmt.Fprintf(a.out, "  watchdog     %s\n", s.watchdog)
	}
}

// questions asks on a terminal.
type questions struct {
	in  *bufio.Reader
	out io.Writer
}

// ask asks one question until the answer is good; an empty answer is the default.
func (q *questions) ask(text, standard string, good func(string) error) (string, error) {
	for {
		if standard != "" {
			fmt.Fprintf(q.out, "%s [%s]: ", text, standard)
		} else {
			fmt.Fprintf(q.out, "%s: ", text)
		}
		line, err := q.in.ReadString('\n')
		answer := strings.TrimSpace(line)
		if answer == "" {
			answer = standard
		}
		wrong := good(answer)
		if wrong == nil {
			return answer, nil
		}
		if err != nil {
			return "", fmt.Errorf("no answer to %q: %w", text, err)
		}
		fmt.Fprintf(q.out, "  %v\n", wrong)
	}
}

// complete asks for what the flags left open.
func (q *questions) complete(in *initAnswers, s survey) (err error) {
	fmt.Fprintln(q.out)
	if in.peer == "" {
		in.peer, err = q.ask("Name of the other node (uname -n there)", "", func(v string) error { return goodPeer(v, s.node) })
	}
	if err == nil && len(in.peerAddress) == 0 {
		var text string
		text, err = q.ask("Its addresses, one for each network that connects the two (empty: find it by broadcast)", "", func(v string) error {
			_, err := peerLinks(strings.Fields(strings.ReplaceAll(v, ",", " ")), s)
			return err
		})
		in.peerAddress = strings.Fields(strings.ReplaceAll(text, ",", " "))
	}
	if err == nil && in.address == "" {
		in.address, err = q.ask("The address that clients use, IP/LENGTH", "", func(v string) error { _, err := netip.ParsePrefix(v); return err })
	}
	if err == nil && in.device == "" {
		in.device, err = q.ask("The interface that carries it", s.carrier(in.address), func(v string) error { return goodInterface(v, s) })
	}
	if err == nil && in.service == "" {
		in.service, err = q.ask("What runs with it: systemd:UNIT, or the name of a script (empty: nothing)", "", goodService)
	}
	return err
}

// carrier is the interface for a floating address: the one on its network, else the one that leads outward.
func (s survey) carrier(address string) string {
	if p, err := netip.ParsePrefix(address); err == nil {
		if i, _, found := s.towards(p.Addr()); found {
			return i.Name
		}
	}
	return s.outward()
}

// goodPeer refuses what cannot be the other node's name.
func goodPeer(name, own string) error {
	switch bad := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	}; {
	case name == "":
		return errors.New("the other node's name is needed: --peer NAME, what uname -n prints there")
	case strings.ContainsFunc(name, bad):
		return fmt.Errorf("%q is not the name of a node: write what uname -n prints there", name)
	case strings.EqualFold(name, own):
		return fmt.Errorf("%s is this machine: write the other node's name", own)
	}
	return nil
}

// goodInterface refuses an interface that this machine does not have.
func goodInterface(name string, s survey) error {
	var all []string
	for _, i := range s.interfaces {
		if i.Name == name && i.Type != "loopback" {
			return nil
		}
		if i.Type != "loopback" {
			all = append(all, i.Name)
		}
	}
	return fmt.Errorf("this machine has no interface %q: there are %s", name, strings.Join(all, ", "))
}

// goodService refuses what cannot be one resource.
func goodService(v string) error {
	if strings.ContainsAny(v, " \t#\\\"") {
		return fmt.Errorf("%q is not one resource: write systemd:UNIT, or SCRIPT::ARGUMENT", v)
	}
	return nil
}

// peerLinks makes a link of each of the peer's addresses.
func peerLinks(addresses []string, s survey) (list []plannedLink, err error) {
	for _, text := range addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address of the other node: write one like 10.0.0.2", text)
		}
		i, own, found := s.towards(a)
		switch {
		case !found:
			return nil, fmt.Errorf("no network of this machine contains %s: write the other node's address on a network that both are on", a)
		case own.Addr() == a:
			return nil, fmt.Errorf("%s is this machine's own address: write the other node's", a)
		case slices.ContainsFunc(list, func(l plannedLink) bool { return l.device == i.Name }):
			return nil, fmt.Errorf("%s: there is a link over %s already; one address for each network", a, i.Name)
		}
		l := plannedLink{kind: "ucast", device: i.Name, addresses: []string{own.Addr().String(), a.String()}, why: "the addresses of both nodes on it: so the same file fits both"}
		if a.Is6() {
			l.kind = "ucast6"
		}
		list = append(list, l)
	}
	return list, nil
}

// makePlan puts answers and survey together.
func makePlan(in initAnswers, s survey) (p pairPlan, err error) {
	p = pairPlan{node: s.node, peer: strings.ToLower(in.peer), service: in.service, watchdog: s.watchdog, useDog: in.watchdog}
	if err := goodPeer(in.peer, s.node); err != nil {
		return p, err
	}
	if err := goodService(in.service); err != nil {
		return p, err
	}
	address, err := netip.ParsePrefix(in.address)
	switch {
	case in.address == "":
		return p, errors.New("the address that clients use is needed: --address IP/LENGTH")
	case err != nil:
		return p, fmt.Errorf("--address %q: write IP/LENGTH, like 10.0.0.100/24", in.address)
	case in.device == "":
		in.device = s.carrier(in.address)
	}
	if err := goodInterface(in.device, s); err != nil {
		return p, err
	}
	if host.Owner(s.interfaces, address.Addr()) != "" {
		return p, fmt.Errorf("%s is this machine's own address: the address that clients use moves between the nodes, and both need one of their own besides", address.Addr())
	}
	p.address = address.String() + "/" + in.device
	if p.links, err = peerLinks(in.peerAddress, s); err != nil {
		return p, err
	}
	p.addSpareLinks(s)
	if !slices.ContainsFunc(p.links, func(l plannedLink) bool { return !l.off }) {
		return p, errors.New("this machine has no interface with an IPv4 address for heartbeats: give it one first")
	}
	if in.watchdog && s.watchdog == "" {
		return p, errors.New("--watchdog: this machine has no /dev/watchdog; without a hardware watchdog: modprobe softdog")
	}
	p.gateway, _ = s.gateway()
	for _, l := range p.links {
		if slices.Contains(l.addresses, p.gateway.String()) {
			p.gateway = netip.Addr{} // the other node itself says nothing about the network
		}
	}
	return p, nil
}

// addSpareLinks adds the other ways to the peer: each further network by broadcast, and each serial line with a cable.
func (p *pairPlan) addSpareLinks(s survey) {
	for _, i := range s.usable() {
		if !i.Carrier || slices.ContainsFunc(p.links, func(l plannedLink) bool { return l.device == i.Name }) {
			continue
		}
		p.links = append(p.links, plannedLink{kind: "bcast", device: i.Name, why: "whoever is on this network; with the other node's address it could be ucast"})
	}
	for _, port := range s.serials {
		l := plannedLink{kind: "serial", device: port.device, why: "a null-modem cable", off: !port.alive}
		if l.off {
			l.why = "a null-modem cable, once there is one: it has nothing in common with the networks"
		}
		p.links = append(p.links, l)
	}
}

// writePair writes the files and returns their names. Old ones are kept.
func writePair(in initAnswers, p pairPlan) (written []string, err error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	type file struct {
		name, text string
		mode       fs.FileMode
	}
	method := "hmac-sha256"
	files := []file{{"heartbeat.toml", p.toml(), 0o644}}
	if in.classic {
		method = "sha1" // what Linux-HA knows
		haCF, haresources := p.classic()
		files = []file{{"ha.cf", haCF, 0o644}, {"haresources", haresources, 0o644}}
	}
	files = append(files, file{"authkeys", "auth 1\n1 " + method + " " + hex.EncodeToString(secret) + "\n", 0o600})
	if err := os.MkdirAll(in.output, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory: %w", err)
	}
	for _, name := range []string{"heartbeat.toml", "ha.cf", "haresources", "authkeys"} {
		path := filepath.Join(in.output, name)
		if _, err := os.Lstat(path); err == nil {
			if err := os.Rename(path, path+".old"); err != nil {
				return nil, fmt.Errorf("keep the old file: %w", err)
			}
		}
	}
	for _, f := range files {
		path := filepath.Join(in.output, f.name)
		if err := writeNew(path, []byte(f.text), f.mode, false); err != nil {
			return nil, err
		}
		written = append(written, path)
	}
	return written, nil
}

// nextSteps prints the commands that are left.
func (a *app) nextSteps(in initAnswers, p pairPlan, s survey, written []string) {
	to := p.peer
	if len(in.peerAddress) > 0 {
		to = in.peerAddress[0]
		if strings.Contains(to, ":") {
			to = "[" + to + "]"
		}
	}
	etc := a.dirs.paths().Config
	start := "heartbeat"
	if s.systemd {
		start = "systemctl enable --now heartbeat"
	}
	fmt.Fprintf(a.out, "\nThe same files are for both nodes; the interfaces have to have the same names on both. Next:\n\n")
	if in.output != etc {
		fmt.Fprintf(a.out, "  cp -p %s %s/\n", strings.Join(written, " "), etc)
	}
	fmt.Fprintf(a.out, "  scp -p %s %s:%s/\n", strings.Join(written, " "), to, etc)
	fmt.Fprintf(a.out, "  %-40s # on both nodes; heartbeat check first tells what is missing there\n", start)
	fmt.Fprintf(a.out, "  %-40s # who is active, since when, and why\n\n", "heartbeat status")
	fmt.Fprintf(a.out, "To see it fail over before that: heartbeat rehearse %s\n", in.output)
}
