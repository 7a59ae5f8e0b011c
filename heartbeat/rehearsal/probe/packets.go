package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// mac is an Ethernet address.
type mac [6]byte

const (
	echo4, reply4        = 8, 0     // ICMP types
	echo6, reply6        = 128, 129 // ICMPv6 types
	solicit, advertise   = 135, 136 // ICMPv6 types
	ethernetHeader       = 14
	arpRequest, arpReply = 1, 2
	protocolICMP         = 1
	protocolICMPv6       = 58
	fromNode0            = 61 // the TTL of node 0; node 1 has one more
)

// NodeTTL is the TTL (and hop limit) with which node 0 or 1 has to send, so that an answer tells who gave it.
func NodeTTL(node int) int { return fromNode0 + node }

// nodeOfTTL is the node that an answer with this TTL came from.
func nodeOfTTL(ttl int) int {
	if ttl == fromNode0 || ttl == fromNode0+1 {
		return ttl - fromNode0
	}
	return Nobody
}

// checksum is the Internet checksum over the parts, of which all but the last have an even length.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, p := range parts {
		for ; len(p) >= 2; p = p[2:] {
			sum += uint32(p[0])<<8 | uint32(p[1])
		}
		if len(p) == 1 {
			sum += uint32(p[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// echoRequest is an ICMP or ICMPv6 echo request with a sum that is right for ICMP; the kernel corrects that of ICMPv6.
func echoRequest(v6 bool, ident, seq uint16) []byte {
	b := make([]byte, 16)
	b[0] = echo4
	if v6 {
		b[0] = echo6
	}
	binary.BigEndian.PutUint16(b[4:], ident)
	binary.BigEndian.PutUint16(b[6:], seq)
	copy(b[8:], "rehearse")
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// ethernet begins a frame.
func ethernet(to, from mac, protocol uint16) []byte {
	b := make([]byte, ethernetHeader, 128)
	copy(b, to[:])
	copy(b[6:], from[:])
	binary.BigEndian.PutUint16(b[12:], protocol)
	return b
}

// question is who asks whom about what: to one node's MAC address, whoever holds the target.
type question struct {
	to, from       mac
	source, target netip.Addr
}

// echoFrame is an echo request to a floating address, sent to one node's MAC address whoever holds it.
func echoFrame(q question, ident, seq uint16) []byte {
	message := echoRequest(q.target.Is6(), ident, seq)
	if q.target.Is6() {
		return ipv6Frame(q, message)
	}
	b := ethernet(q.to, q.from, unix.ETH_P_IP)
	header := make([]byte, 20)
	header[0], header[8], header[9] = 0x45, 64, protocolICMP
	binary.BigEndian.PutUint16(header[2:], uint16(20+len(message)))
	copy(header[12:], q.source.AsSlice())
	copy(header[16:], q.target.AsSlice())
	binary.BigEndian.PutUint16(header[10:], checksum(header))
	return append(append(b, header...), message...)
}

// ipv6Frame wraps an ICMPv6 message, whose checksum it fills in.
func ipv6Frame(q question, message []byte) []byte {
	b := ethernet(q.to, q.from, unix.ETH_P_IPV6)
	header := make([]byte, 40)
	header[0], header[6], header[7] = 0x60, protocolICMPv6, 255
	binary.BigEndian.PutUint16(header[4:], uint16(len(message)))
	copy(header[8:], q.source.AsSlice())
	copy(header[24:], q.target.AsSlice())
	pseudo := make([]byte, 8)
	binary.BigEndian.PutUint32(pseudo, uint32(len(message)))
	pseudo[7] = protocolICMPv6
	message[2], message[3] = 0, 0
	binary.BigEndian.PutUint16(message[2:], checksum(header[8:], pseudo, message))
	return append(append(b, header...), message...)
}

// whoHas asks one node, by its MAC address, whether it holds the target: an ARP request or a neighbour solicitation.
func whoHas(q question) []byte {
	if q.target.Is6() {
		message := make([]byte, 32)
		message[0] = solicit
		copy(message[8:], q.target.AsSlice())
		message[24], message[25] = 1, 1 // option: my link-layer address, 8 bytes
		copy(message[26:], q.from[:])
		return ipv6Frame(q, message)
	}
	b := ethernet(q.to, q.from, unix.ETH_P_ARP)
	arp := make([]byte, 28)
	copy(arp, []byte{0, 1, 8, 0, 6, 4, 0, arpRequest})
	copy(arp[8:], q.from[:])
	copy(arp[14:], q.source.AsSlice())
	copy(arp[24:], q.target.AsSlice())
	return append(b, arp...)
}

// heard is what a received frame says.
type heard struct {
	kind   heardKind
	from   mac
	target netip.Addr // the address that answers or is announced
	ident  uint16     // of an echo reply
	form   string     // of an announcement: request, reply or advertisement
}

type heardKind int

const (
	nothing  heardKind = iota
	answer             // to our own question
	announce           // to everybody, unasked
)

// parseFrame reads an ARP, IPv4 or IPv6 frame; own is our MAC address.
func parseFrame(b []byte, own mac) heard {
	if len(b) < ethernetHeader {
		return heard{}
	}
	to, from := mac(b[:6]), mac(b[6:12])
	body := b[ethernetHeader:]
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		return parseARP(body, to, from, own)
	case unix.ETH_P_IP:
		if len(body) >= 28 && body[0] == 0x45 && body[9] == protocolICMP && body[20] == reply4 {
			return heard{kind: answer, from: from, target: netip.AddrFrom4([4]byte(body[12:16])), ident: binary.BigEndian.Uint16(body[24:])}
		}
	case unix.ETH_P_IPV6:
		return parseIPv6(body, from)
	}
	return heard{}
}

func parseARP(b []byte, to, from, own mac) heard {
	if len(b) < 28 {
		return heard{}
	}
	h := heard{from: from, target: netip.AddrFrom4([4]byte(b[14:18]))}
	sender, asked, op := b[14:18], b[24:28], b[7]
	switch {
	case op == arpReply && to == own:
		h.kind = answer
	case op == arpReply:
		h.kind, h.form = announce, "reply"
	case op == arpRequest && string(sender) == string(asked):
		h.kind, h.form = announce, "request"
	}
	return h
}

func parseIPv6(b []byte, from mac) heard {
	if len(b) < 48 || b[6] != protocolICMPv6 {
		return heard{}
	}
	message := b[40:]
	switch {
	case message[0] == reply6:
		return heard{kind: answer, from: from, target: netip.AddrFrom16([16]byte(b[8:24])), ident: binary.BigEndian.Uint16(message[4:])}
	case message[0] == advertise && len(message) >= 24:
		h := heard{kind: answer, from: from, target: netip.AddrFrom16([16]byte(message[8:24]))}
		if message[4]&0x40 == 0 { // not solicited
			h.kind, h.form = announce, "advertisement"
		}
		return h
	}
	return heard{}
}
