package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"hapair/haresources"
)

// placement is an address as a line of haresources says it (protocol section 8.6).
type placement struct {
	addr      netip.Addr
	bits      int        // prefix length, -1 where none was given
	device    string     // interface, "" where none was given
	label     string     // "eth0:0", "" where none was given
	broadcast netip.Addr // invalid where none was given
}

// deviceName is the longest interface name or label of the kernel.
const deviceName = 15

// errForm says how an address is written.
var errForm = errors.New("write ADDRESS[/PREFIX[/INTERFACE[:LABEL]][/BROADCAST]]")

// parsePlacement reads the arguments of IPaddr, IPaddr2, IPv6addr or a bare address. As in the stock scripts several slashes
// count as one, and a third part that begins with a digit is the broadcast address.
func parsePlacement(r haresources.Resource) (p placement, err error) {
	p.bits = -1
	switch {
	case len(r.Args) == 0:
		return p, fmt.Errorf("no address: %w", errForm)
	case len(r.Args) > 1:
		return p, fmt.Errorf("%q after the address: %w (parameters such as lvs_support need the OCF agent: ocf:heartbeat:IPaddr2::ip=%s::NAME=VALUE)",
			r.Args[1], errForm, firstPart(r.Args[0]))
	}
	parts := strings.FieldsFunc(r.Args[0], func(c rune) bool { return c == '/' })
	if len(parts) == 0 {
		return p, fmt.Errorf("no address: %w", errForm)
	}
	if p.addr, err = netip.ParseAddr(parts[0]); err != nil {
		return p, fmt.Errorf("%q is not an IP address: %w", parts[0], errForm)
	}
	if r.Name == "IPv6addr" && !p.addr.Is6() {
		return p, fmt.Errorf("%v is not an IPv6 address: use IPaddr", p.addr)
	}
	if p.addr.Is4In6() || p.addr.IsUnspecified() || p.addr.IsMulticast() || p.addr.IsLoopback() {
		return p, fmt.Errorf("%v cannot be the address of a service", p.addr)
	}
	if p.device = p.addr.Zone(); p.device != "" {
		p.addr = p.addr.WithZone("")
	}
	return p, p.rest(parts[1:])
}

// firstPart is what stands before the first slash.
func firstPart(s string) string {
	head, _, _ := strings.Cut(s, "/")
	return head
}

// rest reads what follows the address.
func (p *placement) rest(parts []string) error {
	if len(parts) == 0 {
		return nil
	}
	bits, err := prefixLength(parts[0], p.addr)
	if err != nil {
		return err
	}
	p.bits = bits
	parts = parts[1:]
	if len(parts) > 0 && (parts[0][0] < '0' || parts[0][0] > '9') {
		if err := p.setDevice(parts[0]); err != nil {
			return err
		}
		parts = parts[1:]
	}
	if len(parts) > 0 {
		if p.broadcast, err = netip.ParseAddr(parts[0]); err != nil || !p.broadcast.Is4() || !p.addr.Is4() {
			return fmt.Errorf("%q is neither an interface nor a broadcast address: %w", parts[0], errForm)
		}
		parts = parts[1:]
	}
	if len(parts) > 0 {
		return fmt.Errorf("%q at the end: %w", parts[0], errForm)
	}
	return nil
}

// setDevice reads INTERFACE[:LABEL].
func (p *placement) setDevice(s string) error {
	name, label, labelled := strings.Cut(s, ":")
	switch {
	case name == "" || len(name) > deviceName:
		return fmt.Errorf("%q is not an interface: its name has 1 to %d characters", name, deviceName)
	case p.device != "" && p.device != name:
		return fmt.Errorf("two interfaces: %s and %s", p.device, name)
	case labelled && label != "" && len(s) > deviceName:
		return fmt.Errorf("label %q is longer than %d characters", s, deviceName)
	}
	p.device = name
	if label != "" && p.addr.Is4() { // IPv6 addresses have no labels
		p.label = s
	}
	return nil
}

// prefixLength reads a prefix length or, for IPv4, a dotted netmask.
func prefixLength(s string, addr netip.Addr) (int, error) {
	if mask, err := netip.ParseAddr(s); err == nil && mask.Is4() && addr.Is4() {
		four := mask.As4()
		if ones, bits := net.IPMask(four[:]).Size(); bits > 0 && ones > 0 {
			return ones, nil
		}
		return 0, fmt.Errorf("%q is not a netmask", s)
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > addr.BitLen() {
		return 0, fmt.Errorf("%q is not a prefix length from 1 to %d: %w", s, addr.BitLen(), errForm)
	}
	return n, nil
}

// defaultBroadcast is the highest address of the subnet, as ip(8) computes it for `broadcast +`: none for the last two
// prefix lengths.
func defaultBroadcast(prefix netip.Prefix) netip.Addr {
	if !prefix.Addr().Is4() || prefix.Bits() > 30 {
		return netip.Addr{}
	}
	b := prefix.Masked().Addr().As4()
	for bit := prefix.Bits(); bit < 32; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(b)
}
