package agent

import "hapair/haresources"

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
