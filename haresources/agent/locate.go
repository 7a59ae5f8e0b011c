package agent

import (
	"hapair/haresources"
	"hapair/heartbeat/host"
)

// Locate says on which interface the address would be added now.
func (a *address) Locate() (haresources.Location, error) {
	k := a.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.open(); err != nil {
		return haresources.Location{}, err
	}
	var known devices
	_, device, err := a.want.resolve(k.netlink, &known)
	if err != nil {
		return haresources.Location{}, err
	}
	return haresources.Location{Addr: a.want.addr, Interface: device.Name}, nil
}

// Locate says on which interface the resource stands, and with which hardware address.
func (v *virtualMAC) Locate() (l haresources.Location, err error) {
	err = v.with(func(n *host.Netlink) error {
		below, _, err := v.below(n)
		l = haresources.Location{Addr: v.want.addr, Interface: below.Name, MAC: v.mac}
		return err
	})
	return l, err
}
