package host

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Where the programs stand: before all others of the interface.
const (
	leasePreference = 1
	leaseHandle     = 0x6861
)

// parents are the two hooks of the clsact queueing discipline.
var parents = [2]uint32{ingress: netlink.HANDLE_MIN_INGRESS, egress: netlink.HANDLE_MIN_EGRESS}

// clsact is the queueing discipline that carries the programs. It queues nothing.
func clsact(index int) *netlink.GenericQdisc {
	return &netlink.GenericQdisc{QdiscType: "clsact", QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

func (b *bpfLease) filter(index int, d direction) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: index, Parent: parents[d], Handle: leaseHandle, Priority: leasePreference, Protocol: unix.ETH_P_ALL,
		},
		Name: "hapair " + d.String(), DirectAction: true,
	}
}

// find looks an interface up in the lease's namespace.
func (b *bpfLease) find(ifname string) (netlink.Link, error) {
	link, err := b.netlink.LinkByName(ifname)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, fmt.Errorf("%w %q on this machine", ErrNoInterface, ifname)
	}
	return link, err
}

func (b *bpfLease) ensure(ifname string) (changed bool, err error) {
	link, err := b.find(ifname)
	if err != nil {
		return false, err
	}
	for _, d := range []direction{ingress, egress} {
		stands, err := b.stands(link, d)
		if err == nil && !stands {
			changed = true
			err = b.stand(link, d)
		}
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// stands says whether this process's program is on the interface, and first.
func (b *bpfLease) stands(link netlink.Link, d direction) (bool, error) {
	info, err := b.programs[d].Info()
	if err != nil {
		return false, err
	}
	id, _ := info.ID()
	filters, err := dumped(b.netlink.FilterList(link, parents[d]))
	if err != nil {
		return false, nil // there is no clsact
	}
	for i, f := range filters {
		mine, bpf := f.(*netlink.BpfFilter)
		if !bpf || f.Attrs().Handle != leaseHandle || f.Attrs().Priority != leasePreference {
			continue
		}
		if i > 0 {
			return false, taken(filters[0], d)
		}
		return mine.Id == int(id), nil
	}
	if len(filters) > 0 && filters[0].Attrs().Priority <= leasePreference && filters[0].Type() != "bpf" {
		return false, taken(filters[0], d)
	}
	return false, nil
}

// taken says whose filter is in the way.
func taken(f netlink.Filter, d direction) error {
	return fmt.Errorf("%w: a filter of kind %s at preference %d would see packets first on %v; give it another preference (tc filter … pref %d)",
		ErrLeaseTaken, f.Type(), f.Attrs().Priority, d, leasePreference+1)
}

// stand attaches a program; one that an earlier process left is replaced by it in one step.
func (b *bpfLease) stand(link netlink.Link, d direction) error {
	index := link.Attrs().Index
	if err := b.netlink.QdiscAdd(clsact(index)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add clsact: %w", err)
	}
	filter := b.filter(index, d)
	filter.Fd = b.programs[d].FD()
	if err := b.netlink.FilterReplace(filter); err != nil {
		return fmt.Errorf("add the filter for %v: %w", d, err)
	}
	return nil
}

// detach takes the programs off, and with them clsact if nobody else uses it.
func (b *bpfLease) detach(ifname string) error {
	link, err := b.find(ifname)
	if errors.Is(err, ErrNoInterface) {
		return nil
	}
	if err != nil {
		return err
	}
	found, others := false, false
	for _, d := range []direction{ingress, egress} {
		filters, err := dumped(b.netlink.FilterList(link, parents[d]))
		if err != nil {
			return nil // there is no clsact
		}
		for _, f := range filters {
			if f.Type() != "bpf" || f.Attrs().Handle != leaseHandle || f.Attrs().Priority != leasePreference {
				others = true
				continue
			}
			found = true
			if err := b.netlink.FilterDel(b.filter(link.Attrs().Index, d)); err != nil {
				return err
			}
		}
	}
	if !found || others {
		return nil
	}
	return b.netlink.QdiscDel(clsact(link.Attrs().Index))
}
