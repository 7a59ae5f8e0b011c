package host

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Address is one IP address and where it is, or shall be, on this machine.
type Address struct {
	Prefix    netip.Prefix // the address itself, with its prefix length
	Index     int          // of the interface
	Label     string       // IPv4: "eth0:0"; "" is the interface's name
	Broadcast netip.Addr   // IPv4; invalid for none
	Flags     uint32       // unix.IFA_F_…; only when listed
	Passive   bool         // IPv6, when added: this machine does not choose it for what it sends itself (deprecated)
}

// Secondary says that another address of the same subnet came first on the interface, and takes this one along when it goes.
func (a Address) Secondary() bool { return a.Prefix.Addr().Is4() && a.Flags&unix.IFA_F_SECONDARY != 0 }

// DADFailed says that the kernel found another machine with this IPv6 address and does not use it.
func (a Address) DADFailed() bool { return a.Prefix.Addr().Is6() && a.Flags&unix.IFA_F_DADFAILED != 0 }

// Limited says that the address will go by itself, or is not to be used for new connections: it has a lifetime, or is deprecated.
func (a Address) Limited() bool {
	return a.Flags&unix.IFA_F_PERMANENT == 0 || a.Prefix.Addr().Is6() && a.Flags&unix.IFA_F_DEPRECATED != 0
}

// Tentative says that the kernel still asks whether another machine has this IPv6 address, and does not use it yet.
func (a Address) Tentative() bool { return a.Prefix.Addr().Is6() && a.Flags&unix.IFA_F_TENTATIVE != 0 }

// MendAddress takes the limits away from an address that is there.
func (n *Netlink) MendAddress(a Address) error {
	request := addressRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, a)
	return errors.Join(n.transact([]*nl.NetlinkRequest{request}, func(_ int, err error) error {
		return fmt.Errorf("mend address %v: %w", a.Prefix, addressHint(a, err))
	})...)
}

// AddAddresses adds addresses, IPv6 ones without duplicate address detection: they are in use at once. One that is there
// already is not an error. The result holds one error, or nil, for each address; it is nil when all is well.
func (n *Netlink) AddAddresses(list []Address) []error {
	requests := make([]*nl.NetlinkRequest, len(list))
	for i, a := range list {
		requests[i] = addressRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, a)
	}
	return n.transact(requests, func(i int, err error) error {
		if errors.Is(err, unix.EEXIST) {
			return nil
		}
		return fmt.Errorf("add address %v: %w", list[i].Prefix, addressHint(list[i], err))
	})
}

// AddAddress is AddAddresses for one, and tells whether it was there already.
func (n *Netlink) AddAddress(a Address) (existed bool, err error) {
	request := addressRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, a)
	errs := n.transact([]*nl.NetlinkRequest{request}, func(_ int, err error) error {
		if existed = errors.Is(err, unix.EEXIST); existed {
			return nil
		}
		return fmt.Errorf("add address %v: %w", a.Prefix, addressHint(a, err))
	})
	return existed, errors.Join(errs...)
}

// PromoteSecondaries has the kernel keep the other addresses of a subnet when the first one is removed from the interface,
// which by default takes them along. The returned function puts the setting back. Where it cannot be changed nothing is.
func PromoteSecondaries(device string) (restore func()) {
	path := "/proc/sys/net/ipv4/conf/" + device + "/promote_secondaries"
	before, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(before)) != "0" || os.WriteFile(path, []byte("1"), 0) != nil {
		return func() {}
	}
	return func() { _ = os.WriteFile(path, before, 0) }
}

// RemoveAddresses removes exactly these: address, prefix length and interface. One that is not there is not an error, nor
// is an interface that is gone. The result is as that of AddAddresses.
func (n *Netlink) RemoveAddresses(list []Address) []error {
	requests := make([]*nl.NetlinkRequest, len(list))
	for i, a := range list {
		a.Label, a.Broadcast = "", netip.Addr{}
		requests[i] = addressRequest(unix.RTM_DELADDR, 0, a)
	}
	return n.transact(requests, func(i int, err error) error {
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
			return nil
		}
		return fmt.Errorf("remove address %v: %w", list[i].Prefix, err)
	})
}

// ListAddresses lists the addresses of one interface, or with index 0 those of all.
func (n *Netlink) ListAddresses(index int) ([]Address, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	m := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	m.Index = uint32(index)
	request.AddData(m)
	var list []Address
	err := n.dump(request, func(body []byte) {
		if a, ok := parseAddress(body); ok && (index == 0 || a.Index == index) {
			list = append(list, a)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return list, nil
}

// addressRequest encodes a message about one address.
func addressRequest(kind, flags int, a Address) *nl.NetlinkRequest {
	ip := a.Prefix.Addr()
	family := unix.AF_INET
	if ip.Is6() {
		family = unix.AF_INET6
	}
	request := nl.NewNetlinkRequest(kind, flags)
	m := nl.NewIfAddrmsg(family)
	m.Prefixlen = uint8(a.Prefix.Bits())
	m.Index = uint32(a.Index)
	if ip.IsLinkLocalUnicast() && ip.Is6() {
		m.Scope = unix.RT_SCOPE_LINK
	}
	request.AddData(m)
	request.AddData(nl.NewRtAttr(unix.IFA_LOCAL, ip.AsSlice()))
	request.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, ip.AsSlice()))
	if a.Broadcast.IsValid() {
		request.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, a.Broadcast.AsSlice()))
	}
	if a.Label != "" {
		request.AddData(nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(a.Label)))
	}
	if ip.Is6() && kind == unix.RTM_NEWADDR {
		request.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NODAD)))
		if a.Passive {
			info := unix.IfaCacheinfo{Prefered: 0, Valid: ^uint32(0)}
			request.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, (*(*[unix.SizeofIfaCacheinfo]byte)(unsafe.Pointer(&info)))[:]))
		}
	}
	return request
}

// addressHint explains the kernel's terser answers.
func addressHint(a Address, err error) error {
	switch {
	case errors.Is(err, unix.EACCES) && a.Prefix.Addr().Is6():
		return fmt.Errorf("%w: IPv6 is switched off on the interface (sysctl net.ipv6.conf.*.disable_ipv6)", err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: the interface is gone", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: this needs the capability CAP_NET_ADMIN", err)
	}
	return err
}

// parseAddress decodes a message about one address.
func parseAddress(body []byte) (Address, bool) {
	if len(body) < unix.SizeofIfAddrmsg {
		return Address{}, false
	}
	m := nl.DeserializeIfAddrmsg(body)
	a := Address{Index: int(m.Index), Flags: uint32(m.Flags)}
	var local, remote netip.Addr
	attributes(body[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			remote, _ = netip.AddrFromSlice(value)
		case unix.IFA_BROADCAST:
			a.Broadcast, _ = netip.AddrFromSlice(value)
		case unix.IFA_LABEL:
			a.Label = nl.BytesToString(value)
		case unix.IFA_FLAGS:
			if len(value) == 4 {
				a.Flags = nl.NativeEndian().Uint32(value)
			}
		}
	})
	if !local.IsValid() {
		local = remote // IPv6 has IFA_LOCAL on point-to-point links only
	}
	a.Prefix = netip.PrefixFrom(local, int(m.Prefixlen))
	return a, a.Prefix.IsValid()
}
