package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/fault"
)

// hostCheck is one call of CheckHost.
type hostCheck struct {
	Machine
	c      *Config
	faults fault.List
	nics   []Interface
}

// CheckHost compares the files with the machine they are to run on: node name, interfaces, devices, scripts, users, owners
// and modes. The zero Machine is this one. Its faults do not keep the daemon from starting: an interface may come later.
func (c *Config) CheckHost(m Machine) fault.List {
	h := hostCheck{Machine: m.complete(), c: c}
	h.checkPermissions()
	if h.isThisNode() {
		if h.listInterfaces() {
			h.checkLinks()
			h.checkAddresses()
		}
		h.checkDevices()
		h.checkClients()
		h.checkScripts()
	}
	h.faults.Sort()
	return h.faults
}

// at is a fault in a statement of ha.cf or heartbeat.toml, or in the file as a whole where line is 0.
func (h *hostCheck) at(severity fault.Severity, line int) fault.Fault {
	return fault.Fault{File: h.c.File, Line: line, Col: h.c.begin[line], Severity: severity}
}

// link is a fault at the word that makes a link what it is.
func (h *hostCheck) link(severity fault.Severity, l Link) fault.Fault {
	return fault.Fault{File: h.c.File, Line: l.Line, Col: l.Col, Severity: severity}
}

// isThisNode says whether the files were read as the node that this machine is.
func (h *hostCheck) isThisNode() bool {
	name, err := h.NodeName()
	name = strings.ToLower(name)
	switch {
	case err != nil:
		h.faults.Addf(h.at(fault.Warning, 0), "", "cannot find out what uname -n prints: %v", err)
	case h.c.NodeSource == sourceOption && name != h.c.Node:
		h.faults.Addf(h.at(fault.Notice, 0), "run check on "+h.c.Node+" for these",
			"checked as node %s on %s: interfaces, devices and scripts were not looked at", h.c.Node, name)
		return false
	case h.c.NodeSource != sourceOption && name != h.c.Node && slices.Contains(h.c.Nodes, h.c.Node):
		h.faults.Addf(fault.Fault{File: nodeinfoPath(h.c.Dir), Severity: fault.Notice}, "",
			"this node is %s, although uname -n prints %s: resource scripts that ask uname see the latter", h.c.Node, quote(name))
	}
	return true
}

// listInterfaces looks at the network.
func (h *hostCheck) listInterfaces() bool {
	nics, err := h.Interfaces()
	if err != nil {
		h.faults.Addf(h.at(fault.Warning, 0), "", "cannot list the network interfaces: %v", err)
		return false
	}
	h.nics = nics
	return true
}

// nic finds an interface by name.
func (h *hostCheck) nic(name string) (Interface, bool) {
	i := slices.IndexFunc(h.nics, func(n Interface) bool { return n.Name == name })
	if i < 0 {
		return Interface{}, false
	}
	return h.nics[i], true
}

// nicHint names the interface that was probably meant.
func (h *hostCheck) nicHint(name string) string {
	var names []string
	for _, n := range h.nics {
		if n.Name != "lo" {
			names = append(names, n.Name)
		}
	}
	if near := fault.Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "there are " + strings.Join(names, ", ")
}

// checkLinks looks for the interface of each link.
func (h *hostCheck) checkLinks() {
	for _, l := range h.c.Links {
		if l.Kind == "serial" {
			continue
		}
		nic, found := h.nic(l.Device)
		ipv4 := slices.ContainsFunc(nic.Networks, func(p netip.Prefix) bool { return p.Addr().Is4() })
		switch {
		case !found:
			h.faults.Addf(h.link(fault.Error, l), h.nicHint(l.Device), "%s: this machine has no interface %s", l.ID, quote(l.Device))
		case !nic.Up:
			h.faults.Addf(h.link(fault.Warning, l), "ip link set "+l.Device+" up", "%s: the interface %s is down", l.ID, l.Device)
		case l.Device == "lo":
			h.faults.Addf(h.link(fault.Warning, l), "name an interface that leads to the other node", "%s: lo leads nowhere but to this machine", l.ID)
		case !ipv4 && !strings.HasSuffix(l.Kind, "6"):
			h.faults.Addf(h.link(fault.Warning, l), "give it one, or use ucast6 or mcast6", "%s: the interface %s has no IPv4 address", l.ID, l.Device)
		case l.Peer != "":
			h.checkPeer(l, nic)
		}
	}
	h.checkOwnAddress()
}

// checkPeer looks whether the address of a ucast link can be on its interface's network.
func (h *hostCheck) checkPeer(l Link, nic Interface) {
	peer, err := netip.ParseAddr(l.Peer)
	if err != nil || peer.IsLinkLocalUnicast() {
		return
	}
	var networks []string
	for _, p := range nic.Networks {
		if p.Contains(peer) {
			return
		}
		if p.Addr().Is4() == peer.Is4() {
			networks = append(networks, p.Masked().String())
		}
	}
	h.faults.Addf(h.link(fault.Warning, l), fmt.Sprintf("the networks of %s are %s", l.Device, strings.Join(networks, ", ")),
		"%s: %s is not on a network of %s, and a router between the nodes is one more thing that can fail", l.ID, l.Peer, l.Device)
}

// checkOwnAddress finds a pair of nodes whose ucast lines name this node only.
func (h *hostCheck) checkOwnAddress() {
	if len(h.c.Nodes) < 2 || len(h.c.Links) == 0 {
		return
	}
	for _, l := range h.c.Links {
		peer, err := netip.ParseAddr(l.Peer)
		if err != nil || !h.own(peer) {
			return
		}
	}
	h.faults.Addf(h.link(fault.Error, h.c.Links[0]), "name the other node's address too; a file with both is the same on both nodes",
		"each ucast link names an address of this machine itself: nothing is ever sent to the other node")
}

// own says whether an address is one of this machine's.
func (h *hostCheck) own(a netip.Addr) bool {
	for _, n := range h.nics {
		for _, p := range n.Networks {
			if p.Addr().WithZone("") == a.WithZone("") {
				return true
			}
		}
	}
	return false
}

// checkAddresses looks for the interface of each address of haresources.
func (h *hostCheck) checkAddresses() {
	for _, g := range h.c.Table.Groups {
		for _, r := range g.Resources {
			a, ok := addressOf(r)
			if !ok {
				continue
			}
			at := fault.Fault{File: h.c.Table.File, Line: r.Line, Col: r.Col}
			name := interfaceOf(r.Args[0])
			_, found := h.nic(name)
			switch {
			case name != "" && !found:
				at.Severity = fault.Error
				h.faults.Addf(at, h.nicHint(name), "%s: this machine has no interface %s", r.Spec, quote(name))
			case name == "" && !h.onLink(a):
				at.Severity = fault.Warning
				h.faults.Addf(at, fmt.Sprintf("write %s/PREFIX/INTERFACE", a), "%s: no interface of this machine is on a network that contains %s", r.Spec, a)
			}
		}
	}
}

// onLink says whether an interface is on a network that contains an address.
func (h *hostCheck) onLink(a netip.Addr) bool {
	return slices.ContainsFunc(h.nics, func(n Interface) bool {
		return slices.ContainsFunc(n.Networks, func(p netip.Prefix) bool { return p.Contains(a) && !p.IsSingleIP() })
	})
}

// interfaceOf is the interface in ADDRESS[/MASK][/INTERFACE[:LABEL]][/BROADCAST], "" where none is named.
func interfaceOf(spec string) string {
	for _, part := range strings.Split(spec, "/")[1:] {
		_, err1 := strconv.Atoi(part)
		_, err2 := netip.ParseAddr(part)
		if part == "" || err1 == nil || err2 == nil {
			continue
		}
		name, _, _ := strings.Cut(part, ":")
		return name
	}
	return ""
}

// checkDevices looks for serial lines and the watchdog.
func (h *hostCheck) checkDevices() {
	for _, l := range h.c.Links {
		if l.Kind == "serial" {
			h.checkDevice(h.link(fault.Error, l), l.ID, l.Device)
		}
	}
	if s := h.c.Stonith; s != nil {
		if _, err := os.Stat(s.File); err != nil {
			h.faults.Addf(h.at(fault.Error, s.Line), "the file holds the parameters of the device", "stonith %s %s: %v", s.Type, s.File, reason(err))
		}
	}
	if h.c.Watchdog != "" {
		h.checkDevice(h.at(fault.Warning, h.c.Lines["watchdog"]), "watchdog "+h.c.Watchdog, h.c.Watchdog)
	}
}

// checkDevice looks for a character device.
func (h *hostCheck) checkDevice(at fault.Fault, what, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		hint := ""
		if others, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "tty[SU]*")); len(others) > 0 {
			if near := fault.Nearest(path, others); near != "" && strings.HasPrefix(what, "serial") {
				hint = "did you mean " + near + "?"
			}
		}
		if strings.HasPrefix(what, "watchdog") {
			hint = "without a hardware watchdog: modprobe softdog"
		}
		h.faults.Addf(at, hint, "%s: %v", what, reason(err))
	case info.Mode()&os.ModeCharDevice == 0:
		h.faults.Addf(at, "", "%s: not a character device", what)
	}
}

// checkClients looks for the programs and users of respawn and failfast.
func (h *hostCheck) checkClients() {
	for _, c := range slices.Concat(h.c.Respawn, h.c.FailFast) {
		at := h.at(fault.Error, c.Line)
		if err := h.User(c.User); err != nil {
			h.faults.Addf(at, "root and hacluster are usual", "there is no user %s to run %s", quote(c.User), c.Path)
		}
		switch info, err := os.Stat(c.Path); {
		case err != nil:
			h.faults.Addf(at, "", "%s: %v", c.Path, reason(err))
		case info.IsDir() || info.Mode()&0o111 == 0:
			h.faults.Addf(at, "chmod +x "+c.Path, "%s is not a program", c.Path)
		}
	}
}

// checkScripts asks the caller about each resource.
func (h *hostCheck) checkScripts() {
	if h.Script == nil {
		return
	}
	for _, g := range h.c.Table.Groups {
		for _, r := range g.Resources {
			for _, f := range h.Script(r) {
				if f.File == "" {
					f.File, f.Line, f.Col = h.c.Table.File, r.Line, r.Col
				}
				h.faults = append(h.faults, f)
			}
		}
	}
}

// resolve makes a path absolute and follows its symbolic links.
func resolve(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// checkPermissions names everything on the way to the files that a user other than root could change: what the files name
// runs as root.
func (h *hostCheck) checkPermissions() {
	seen := map[string]bool{}
	for _, name := range []string{filepath.Base(h.c.File), "haresources", "authkeys", "resource.d", "rc.d", "hooks", "harc"} {
		path, err := resolve(filepath.Join(h.c.Dir, name))
		if err != nil {
			continue // what must be there and is not was reported by Load
		}
		for _, part := range components(path) {
			if !seen[part] {
				seen[part] = true
				h.checkPermission(part)
			}
		}
	}
}

// components are a path's directories from the root down, and the path itself.
func components(path string) []string {
	var parts []string
	for ; path != "/" && path != "."; path = filepath.Dir(path) {
		parts = append(parts, path)
	}
	slices.Reverse(parts)
	return parts
}

// checkPermission looks at one component. A directory with the sticky bit is safe: nobody can replace another's file in it.
func (h *hostCheck) checkPermission(path string) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return // gone since
	}
	mode := st.Mode & 0o7777
	at := fault.Fault{File: path, Severity: fault.Warning}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		h.faults.Addf(at, "chown root "+path, "owned by user %d, who can thereby make this machine run anything as root", st.Uid)
	}
	switch directory := st.Mode&unix.S_IFMT == unix.S_IFDIR; {
	case directory && mode&unix.S_ISVTX != 0:
	case mode&0o002 != 0:
		h.faults.Addf(at, "chmod o-w "+path, "mode %04o: everybody can change it, and thereby make this machine run anything as root", mode)
	case mode&0o020 != 0:
		h.faults.Addf(at, "chmod g-w "+path, "mode %04o: its group can change it, and thereby make this machine run anything as root", mode)
	}
}

// sourceOption is Config.NodeSource after WithNode.
const sourceOption = "the option"
