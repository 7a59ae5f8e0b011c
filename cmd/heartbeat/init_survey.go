package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hapair/heartbeat/host"
)

// survey is what `heartbeat init` sees of this machine.
type survey struct {
	node       string // uname -n
	interfaces []host.Interface
	gateways   []netip.Addr
	serials    []serialPort
	watchdog   string // the device, "" for none
	systemd    bool   // it runs here
}

// serialPort is a serial line of this machine.
type serialPort struct {
	device string
	alive  bool // signals come in: a cable with something switched on at its other end
}

// lookAround takes a survey of this machine. What cannot be seen is not there.
func lookAround() (survey, error) {
	var s survey
	name, err := os.Hostname()
	if err != nil {
		return s, fmt.Errorf("find out this machine's name: %w", err)
	}
	s.node = strings.ToLower(name)
	if s.interfaces, err = host.Interfaces(); err != nil {
		return s, fmt.Errorf("list the interfaces: %w", err)
	}
	s.gateways, _ = host.DefaultGateways()
	s.serials = serialPorts("/proc/tty/driver/serial", "/sys/class/tty/console/active", "/dev")
	if info, err := os.Stat("/dev/watchdog"); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		s.watchdog = "/dev/watchdog"
	}
	_, err = os.Stat("/run/systemd/system")
	s.systemd = err == nil
	return s, nil
}

// serialPorts lists the serial lines that have hardware and are no console, without opening any of them.
func serialPorts(driver, consoles, dev string) (list []serialPort) {
	active, _ := os.ReadFile(consoles)
	text, _ := os.ReadFile(driver)
	for line := range strings.Lines(string(text)) {
		number, rest, found := strings.Cut(strings.TrimSpace(line), ":")
		name := "ttyS" + number
		if !found || !strings.Contains(rest, "uart:") || strings.Contains(rest, "uart:unknown") || slices.Contains(strings.Fields(string(active)), name) {
			continue
		}
		alive := strings.Contains(rest, "CTS") || strings.Contains(rest, "DSR") || strings.Contains(rest, "|CD")
		list = append(list, serialPort{"/dev/" + name, alive})
	}
	adapters, _ := filepath.Glob(filepath.Join(dev, "ttyUSB*"))
	for _, a := range adapters {
		if name := filepath.Base(a); !slices.Contains(strings.Fields(string(active)), name) {
			list = append(list, serialPort{device: "/dev/" + name})
		}
	}
	return list
}

// usable are the interfaces that heartbeats can run over: Ethernet or the like, with an IPv4 address of their own.
func (s survey) usable() (list []host.Interface) {
	for _, i := range s.interfaces {
		if i.Up && i.Type != "loopback" && i.Broadcasts && s.own(i).IsValid() && !virtual(i) {
			list = append(list, i)
		}
	}
	return list
}

// virtual says whether an interface leads to containers or virtual machines on this host, not to another one.
func virtual(i host.Interface) bool {
	for _, prefix := range []string{"docker", "virbr", "veth", "cni", "lxc", "lxdbr", "podman", "cali", "flannel", "tun", "tap", "wg"} {
		if strings.HasPrefix(i.Name, prefix) {
			return true
		}
	}
	return false
}

// own is this machine's IPv4 network address on an interface.
func (survey) own(i host.Interface) netip.Prefix {
	for _, a := range i.Addrs {
		if a.Prefix.Addr().Is4() && !a.Secondary {
			return a.Prefix
		}
	}
	return netip.Prefix{}
}

// towards finds the interface on whose network an address lies.
func (s survey) towards(a netip.Addr) (host.Interface, netip.Prefix, bool) {
	for _, i := range s.interfaces {
		for _, own := range i.Addrs {
			if own.Prefix.Contains(a) && i.Type != "loopback" && !own.Prefix.IsSingleIP() {
				return i, own.Prefix, true
			}
		}
	}
	return host.Interface{}, netip.Prefix{}, false
}

// gateway is the first default gateway of IPv4 that lies on a network of this machine.
func (s survey) gateway() (netip.Addr, bool) {
	for _, g := range s.gateways {
		if _, _, found := s.towards(g); found && g.Is4() {
			return g, true
		}
	}
	return netip.Addr{}, false
}

// outward is the interface of the default route, else the first usable one.
func (s survey) outward() string {
	if g, found := s.gateway(); found {
		i, _, _ := s.towards(g)
		return i.Name
	}
	if all := s.usable(); len(all) > 0 {
		return all[0].Name
	}
	return ""
}
