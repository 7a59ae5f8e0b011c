package link_test

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/link"
)

// sniff opens a packet socket on the device of a namespace: what the network sees.
func sniff(t *testing.T, s *space) *os.File {
	t.Helper()
	var f *os.File
	s.do(func() {
		all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all)
		must(t, err)
		f = os.NewFile(uintptr(fd), "packets")
	})
	t.Cleanup(func() { f.Close() })
	return f
}

// TestOnTheWire: every kind's datagrams are as Heartbeat's (protocol sections 4.1 to 4.4).
func TestOnTheWire(t *testing.T) {
	broadcast := string([]byte{255, 255, 255, 255, 255, 255})
	for _, c := range []struct {
		name     string
		spec     link.Spec
		to       string // destination address, as bytes
		ethernet string // beginning of the destination's hardware address
		hops     byte
		port     uint16
	}{
		{"ucast", specs["ucast"][0], "\x0a\x09\x00\x02", "", 64, 694},
		{"bcast", specs["bcast"][0], "\x0a\x09\x00\xff", broadcast, 64, 694},
		{"bcast port", link.Spec{Kind: "bcast", Device: device, Port: 6940}, "\x0a\x09\x00\xff", broadcast, 64, 6940},
		{"mcast", specs["mcast"][0], "\xe1\x00\x00\x01", "\x01\x00\x5e\x00\x00\x01", 1, 694},
		{"mcast ttl", link.Spec{Kind: "mcast", Device: device, Group: "239.1.2.3", Port: 5555, TTL: 4}, "\xef\x01\x02\x03", "\x01\x00\x5e\x01\x02\x03", 4, 5555},
		{"ucast6", specs["ucast6"][0], "\xfd\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02", "", 64, 694},
		{"mcast6", specs["mcast6"][0], "\xff\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x94", "\x33\x33\x00\x00\x06\x94", 1, 694},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newPair(t)
			l, wire := a.open(c.spec), sniff(t, b)
			say(t, l, "the frame")
			p := nextHeartbeat(t, wire)
			if p.payload != "the frame" || p.to != c.to || p.port != c.port || p.hops != c.hops || p.tos != 0x10 {
				t.Errorf("%+v, want to %x port %d hops %d tos 0x10", p, c.to, c.port, c.hops)
			}
			if p.ethernet[:len(c.ethernet)] != c.ethernet {
				t.Errorf("sent to hardware address %x, want %x", p.ethernet, c.ethernet)
			}
		})
	}
}

type packet struct {
	ethernet, to, payload string
	hops, tos             byte
	port                  uint16
}

// nextHeartbeat waits for the next UDP packet with the test's payload.
func nextHeartbeat(t *testing.T, wire *os.File) packet {
	t.Helper()
	must(t, wire.SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 2000)
	for {
		n, err := wire.Read(buffer)
		if errors.Is(err, unix.ENETDOWN) {
			continue
		}
		must(t, err)
		frame := buffer[:n]
		var p packet
		var udp []byte
		switch binary.BigEndian.Uint16(frame[12:]) {
		case unix.ETH_P_IP:
			ip := frame[14:]
			udp = ip[int(ip[0]&0xf)*4:]
			p = packet{to: string(ip[16:20]), hops: ip[8], tos: ip[1]}
			if ip[9] != unix.IPPROTO_UDP {
				continue
			}
		case unix.ETH_P_IPV6:
			ip := frame[14:]
			udp = ip[40:]
			p = packet{to: string(ip[24:40]), hops: ip[7], tos: ip[0]<<4 | ip[1]>>4}
			if ip[6] != unix.IPPROTO_UDP {
				continue
			}
		default:
			continue
		}
		p.ethernet, p.port, p.payload = string(frame[:6]), binary.BigEndian.Uint16(udp[2:]), string(udp[8:])
		return p
	}
}
