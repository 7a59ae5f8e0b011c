package config

import (
	"net"
	"net/netip"
	"os/user"

	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// Machine is what CheckHost sees of a host. A nil field means the machine that this program runs on, but for Script: nil
// checks no scripts.
type Machine struct {
	NodeName   func() (string, error)                // what uname -n prints
	Interfaces func() ([]Interface, error)           // all network interfaces
	User       func(name string) error               // nil where there is a user of that name
	Script     func(haresources.Resource) fault.List // faults of a resource's script and arguments, placed by the caller
}

// Interface is one network interface.
type Interface struct {
	Name     string
	Up       bool           // administratively
	Networks []netip.Prefix // its addresses with their prefix lengths
}

// complete fills the nil fields with this machine.
func (m Machine) complete() Machine {
	if m.NodeName == nil {
		m.NodeName = nodeName
	}
	if m.Interfaces == nil {
		m.Interfaces = interfaces
	}
	if m.User == nil {
		m.User = func(name string) error { _, err := user.Lookup(name); return err }
	}
	return m
}

// nodeName is what uname -n prints.
func nodeName() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Nodename[:]), nil
}

// interfaces lists the network interfaces of this machine.
func interfaces() ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var list []Interface
	for _, i := range all {
		one := Interface{Name: i.Name, Up: i.Flags&net.FlagUp != 0}
		addresses, err := i.Addrs()
		if err != nil {
			continue // gone since
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				one.Networks = append(one.Networks, p)
			}
		}
		list = append(list, one)
	}
	return list, nil
}
