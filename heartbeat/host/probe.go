package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
	"unsafe"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ErrNoNeighbours says that an interface has nobody to be asked: it is a loopback, a tunnel, a point-to-point line.
var ErrNoNeighbours = errors.New("has no neighbours to ask")

// probes is how often Probe asks in the first half of its time: one lost frame must not look like silence.
const probes = 3

// probeSlice is how long Probe may overlook that its context has ended.
const probeSlice = 5 * time.Millisecond

// Probe asks on an interface whether anybody answers for an address, by ARP or by neighbour solicitation, several times within the given
// time, and returns the hardware addresses of all that did, each once. It always takes that time, or ends with the context. base is an
// address of this machine that the answer is sent to; if it is invalid, or of the other family, the question has no sender (RFC 5227;
// RFC 4862 section 5.4.2) and the answer comes without one. What is answered by this interface itself does not count.
//
// An error means that nothing is known: ErrNoInterface, ErrNoNeighbours, or that the question could not be sent (unix.ENETDOWN).
func Probe(ctx context.Context, ifname string, addr, base netip.Addr, within time.Duration) ([]net.HardwareAddr, error) {
	addr, base = bare(addr), bare(base)
	if !base.IsValid() || base.Is4() != addr.Is4() {
		base = netip.IPv6Unspecified()
		if addr.Is4() {
			base = netip.IPv4Unspecified()
		}
	}
	fail := func(err error) ([]net.HardwareAddr, error) {
		return nil, fmt.Errorf("ask for %v on %s: %w", addr, ifname, err)
	}
	p, err := openProbe(ifname, addr)
	if err != nil {
		return fail(err)
	}
	defer closeLater(p.fd)
	question, to, err := p.question(base)
	if err != nil {
		return fail(err)
	}
	var found []net.HardwareAddr
	var sent int
	began := time.Now()
	for ctx.Err() == nil {
		elapsed := time.Since(began)
		if elapsed >= within && sent > 0 {
			break
		}
		if sent < probes && elapsed >= within/2*time.Duration(sent)/probes {
			sent++
			if err := sendTo(p.fd, question, to); err != nil {
				return fail(err)
			}
		}
		next := within
		if sent < probes {
			next = within / 2 * time.Duration(sent) / probes
		}
		if found, err = p.receive(found, min(next-time.Since(began), probeSlice)); err != nil {
			return fail(err)
		}
	}
	return found, ctx.Err()
}

// closeLater closes a packet socket without waiting for it: the kernel lets every processor pass a quiet moment first, which takes ten
// milliseconds and more, and a takeover waits for the answer.
func closeLater(fd int) { go unix.Close(fd) }

// probe is one question.
type probe struct {
	fd     int
	addr   netip.Addr
	device Device
}

// openProbe opens a packet socket that receives nothing but claims to the address.
func openProbe(ifname string, addr netip.Addr) (*probe, error) {
	n, err := OpenNetlink()
	if err != nil {
		return nil, err
	}
	defer n.Close()
	p := &probe{addr: addr}
	if p.device, err = n.Device(ifname); err != nil {
		return nil, err
	}
	if !p.device.Announces() {
		return nil, ErrNoNeighbours
	}
	protocol, filter := uint16(unix.ETH_P_ARP), arpFrom
	if addr.Is6() {
		protocol, filter = unix.ETH_P_IPV6, advertisementsAbout
	}
	if p.fd, err = openPacket(p.device.Index, protocol, filter(addr, len(p.device.Addr))); err != nil {
		return nil, err
	}
	return p, nil
}

// arpFrom passes ARP packets of every kind that come from an address, where hardware addresses are of that length.
func arpFrom(addr netip.Addr, hardware int) []bpf.Instruction {
	f := &packetFilter{}
	f.must(bpf.JumpNotEqual, binary.BigEndian.Uint32(addr.AsSlice()), bpf.LoadAbsolute{Off: uint32(8 + hardware), Size: 4})
	return f.program()
}

// advertisementsAbout passes neighbour advertisements about an address.
func advertisementsAbout(addr netip.Addr, _ int) []bpf.Instruction {
	f := &packetFilter{}
	f.must(bpf.JumpNotEqual, unix.IPPROTO_ICMPV6, bpf.LoadAbsolute{Off: 6, Size: 1})
	f.must(bpf.JumpNotEqual, ndAdvertisement, bpf.LoadAbsolute{Off: ip6Header, Size: 1})
	for word := range uint32(4) {
		f.must(bpf.JumpNotEqual, binary.BigEndian.Uint32(addr.AsSlice()[4*word:]), bpf.LoadAbsolute{Off: ip6Header + 8 + 4*word, Size: 4})
	}
	return f.program()
}

// Of neighbour discovery (RFC 4861), and of the IPv6 header before it.
const (
	ip6Header       = 40
	ndSolicitation  = 135
	ndAdvertisement = 136
	ndHopLimit      = 255
)

// question is the packet that asks, and where it goes.
func (p *probe) question(base netip.Addr) (packet, to []byte, err error) {
	if p.addr.Is4() {
		q, err := arp.NewPacket(arp.OperationRequest, p.device.Addr, base, make(net.HardwareAddr, len(p.device.Addr)), p.addr)
		if err != nil {
			return nil, nil, err
		}
		q.HardwareType = p.device.Type
		packet, err = q.MarshalBinary()
		return packet, linkSockaddr(&p.device, unix.ETH_P_ARP), err
	}
	last, group := p.addr.As16(), netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], last[13:])
	place := p.device
	if place.Type == HardwareEthernet {
		place.Broadcast = append(net.HardwareAddr{0x33, 0x33}, group[12:]...)
	}
	return solicitation(p.addr, base, group, p.device.Addr), linkSockaddr(&place, unix.ETH_P_IPV6), nil
}

// solicitation encodes a neighbour solicitation with its IPv6 header. One without a sender carries no hardware address either.
func solicitation(target, from netip.Addr, group [16]byte, hardware net.HardwareAddr) []byte {
	message := append([]byte{ndSolicitation, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	if !from.IsUnspecified() {
		option := targetOption(hardware)
		option[0] = ndOptionSourceAddress
		message = append(message, option...)
	}
	packet := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(message)))
	packet = append(append(append(packet, unix.IPPROTO_ICMPV6, ndHopLimit), from.AsSlice()...), group[:]...)
	pseudo := binary.BigEndian.AppendUint32(bytes.Clone(packet[8:]), uint32(len(message)))
	pseudo = append(append(pseudo, 0, 0, 0, unix.IPPROTO_ICMPV6), message...)
	binary.BigEndian.PutUint16(message[2:], Checksum(pseudo))
	return append(packet, message...)
}

// ndOptionSourceAddress is the option that tells the sender's hardware address.
const ndOptionSourceAddress = 1

// sendTo sends to a place that unix.Sendto has no type for.
func sendTo(fd int, packet, to []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&to[0])), uintptr(len(to)))
	if errno != 0 {
		return os.NewSyscallError("send", errno)
	}
	return nil
}

// receive waits for answers, and adds those who sent them.
func (p *probe) receive(found []net.HardwareAddr, wait time.Duration) ([]net.HardwareAddr, error) {
	timeout := unix.NsecToTimespec(max(int64(wait), 0))
	if _, err := unix.Ppoll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, &timeout, nil); err != nil && err != unix.EINTR {
		return found, fmt.Errorf("wait for answers: %w", err)
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := unix.Recvfrom(p.fd, buf, 0)
		switch {
		case err == unix.EAGAIN, err == unix.EINTR:
			return found, nil
		case err != nil:
			return found, fmt.Errorf("receive answers: %w", err)
		}
		mac := p.claimant(buf[:n], from)
		known := slices.ContainsFunc(found, func(other net.HardwareAddr) bool { return bytes.Equal(other, mac) })
		if mac != nil && !known && !bytes.Equal(mac, p.device.Addr) {
			found = append(found, mac)
		}
	}
}

// claimant is who says that the address is his: as the packet has it, or else its sender.
func (p *probe) claimant(packet []byte, from unix.Sockaddr) net.HardwareAddr {
	size := len(p.device.Addr)
	if p.addr.Is4() {
		if len(packet) < 8+size+4 || int(packet[4]) != size {
			return nil
		}
		return net.HardwareAddr(bytes.Clone(packet[8 : 8+size]))
	}
	if len(packet) > ip6Header {
		if m, err := ndp.ParseMessage(packet[ip6Header:]); err == nil {
			if mac := targetHardware(m); len(mac) == size {
				return mac
			}
		}
	}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok && int(ll.Halen) == size && size <= len(ll.Addr) {
		return net.HardwareAddr(bytes.Clone(ll.Addr[:size]))
	}
	return nil
}

// targetHardware is the hardware address that an advertisement tells, nil where it tells none.
func targetHardware(m ndp.Message) net.HardwareAddr {
	advertisement, ok := m.(*ndp.NeighborAdvertisement)
	if !ok {
		return nil
	}
	for _, o := range advertisement.Options {
		if option, ok := o.(*ndp.LinkLayerAddress); ok && option.Direction == ndp.Target {
			return option.Addr
		}
	}
	return nil
}
