package agent

import (
	"errors"
	"fmt"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// What can have happened to a held address.
var (
	errRemoved   = errors.New("the address was removed by something other than heartbeat")
	errDuplicate = errors.New("another machine has the address, and the kernel does not use it here")
	errTentative = errors.New("something other than heartbeat has put the address there in a way that the kernel does not use at once")
	errGone      = errors.New("the interface is gone")
)

// gone says whether the address went with its interface.
func (h *holding) gone() bool { return errors.Is(h.broken, errGone) }

// follow reads what changes on this machine until the watch is closed.
func (k *keeper) follow(watch *host.AddressWatch) {
	var changes []host.AddressChange
	for {
		var err error
		changes, err = watch.Read(changes[:0])
		if err != nil {
			return // closed; nothing else ends a netlink socket
		}
		for _, c := range changes {
			k.change(c)
		}
	}
}

// change looks after what one change concerns.
func (k *keeper) change(c host.AddressChange) {
	var reports reports
	k.mu.Lock()
	if k.watch != nil {
		switch c.Kind {
		case host.AddressRemoved:
			k.lose(c.Address, errRemoved, &reports)
		case host.AddressAdded:
			k.examineFlags(c.Address, &reports)
		case host.DeviceChanged:
			k.deviceChanged(c.Device, &reports)
		case host.DeviceGone:
			k.deviceGone(c.Device, &reports)
		case host.ChangesLost:
			k.lookAgain(&reports)
		}
	}
	k.mu.Unlock()
	reports.send()
}

// examineFlags puts right what the kernel says about an address that is held; call it locked.
func (k *keeper) examineFlags(have host.Address, reports *reports) {
	switch a := k.places[placeOf(have)]; {
	case a == nil:
	case have.DADFailed():
		k.lose(have, errDuplicate, reports)
	case have.Tentative():
		k.lose(have, errTentative, reports)
	case have.Limited():
		err := k.netlink.MendAddress(k.held[a].address)
		k.held[a].repaired++
		if err != nil {
			reports.add(a, haresources.Failed, fmt.Errorf("something other than heartbeat gave the address a lifetime: %w", err))
			return
		}
		reports.add(a, haresources.Running, errors.New("something other than heartbeat gave the address a lifetime: taken away again"))
	}
}

// lose puts back what was removed; call it locked.
func (k *keeper) lose(lost host.Address, why error, reports *reports) {
	a := k.places[placeOf(lost)]
	if a == nil {
		return
	}
	h := k.held[a]
	if h.gone() {
		return
	}
	if errors.Is(why, errDuplicate) || errors.Is(why, errTentative) {
		k.netlink.RemoveAddresses([]host.Address{h.address})
	}
	h.broken = why
	k.repair(a, h, time.Now(), reports)
	k.rouse()
}

// deviceChanged notes an interface's new state. One that has come back gets its addresses; one that has got its carrier back
// announces them. Call it locked.
func (k *keeper) deviceChanged(d host.Device, reports *reports) {
	now := time.Now()
	for a, h := range k.held {
		switch {
		case h.gone() && h.device.Name == d.Name:
			k.repair(a, h, now, reports)
			k.rouse()
		case h.device.Index != d.Index:
		case d.Ready() && h.broken == nil && (!h.device.Ready() || d.Addr.String() != h.device.Addr.String()):
			h.restart(now)
			k.rouse()
			fallthrough
		default:
			h.device = &d
		}
	}
}

// deviceGone notes that an interface is gone; call it locked.
func (k *keeper) deviceGone(d host.Device, reports *reports) {
	for a, h := range k.held {
		if h.device.Index != d.Index || h.gone() {
			continue
		}
		h.broken = fmt.Errorf("%w: %s", errGone, h.device.Name)
		k.repair(a, h, time.Now(), reports)
		k.rouse()
	}
}

// lookAgain compares what is held with what is there, after changes were lost; call it locked.
func (k *keeper) lookAgain(reports *reports) {
	list, err := k.netlink.ListAddresses(0)
	if err != nil {
		return // the next change tries again
	}
	there := make(map[place]bool, len(list))
	for _, a := range list {
		there[placeOf(a)] = !a.DADFailed()
	}
	for a, h := range k.held {
		if usable, found := there[placeOf(h.address)]; h.broken != nil || usable {
			continue
		} else if found {
			k.lose(h.address, errDuplicate, reports)
			continue
		}
		h.broken = errRemoved
		k.repair(a, h, time.Now(), reports)
		k.rouse()
	}
}
