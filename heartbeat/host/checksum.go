package host

import "encoding/binary"

// Checksum is the checksum of IP, TCP, UDP, ICMP and ICMPv6 (RFC 1071) over data, which holds zero where the checksum is to stand, and
// begins with the pseudo header of the protocols that have one.
func Checksum(data []byte) uint16 {
	var sum uint32
	for ; len(data) >= 2; data = data[2:] {
		sum += uint32(binary.BigEndian.Uint16(data))
	}
	if len(data) == 1 {
		sum += uint32(data[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
