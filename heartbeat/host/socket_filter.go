package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The ICMP message types of an echo and its answer.
const (
	EchoRequest4, EchoReply4 = 8, 0
	EchoRequest6, EchoReply6 = 128, 129
)

// The verdicts of a socket filter: how many bytes of a packet the socket gets.
var (
	acceptPacket = bpf.RetConstant{Val: 1 << 18}
	refusePacket = bpf.RetConstant{Val: 0}
)

// networkHeader is SKF_NET_OFF: offsets from it are counted from the IP header.
const networkHeader = 0xfff00000

// attach makes the kernel run a filter on everything the socket would receive.
func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble socket filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	return os.NewSyscallError("attach socket filter", err)
}

// refuseAll makes a socket that only sends receive nothing: what comes to its port or, raw, to the machine, is not queued.
func refuseAll(fd int) error { return attach(fd, []bpf.Instruction{refusePacket}) }

// echoReplies4 passes echo replies with the identifier. It sees the IPv4 header first.
func echoReplies4(identifier uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: EchoReply4, SkipTrue: 3},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(identifier), SkipTrue: 1},
		acceptPacket,
		refusePacket,
	}
}

// echoReplies6 is the same for IPv6, where raw sockets see the ICMPv6 header first.
func echoReplies6(identifier uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: EchoReply6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(identifier), SkipTrue: 1},
		acceptPacket,
		refusePacket,
	}
}

// MaxShunned is how many senders Shun takes.
const MaxShunned = 16

// Shun makes the kernel drop, before it costs the process anything, what these senders send to a UDP socket; nil ends it. All
// are of the socket's family; those beyond MaxShunned are ignored.
func (s *Socket) Shun(senders []netip.AddrPort) error {
	program := refuseOwn()
	for _, sender := range senders[:min(len(senders), MaxShunned)] {
		program = append(program, refuseSender(sender)...)
	}
	return s.Control(func(fd int) error { return attach(fd, append(program, acceptPacket)) })
}

// refuseOwn drops what this machine itself broadcast, which the kernel hands back to every socket on the port: waking up for
// it would double what a heartbeat costs. Multicast that comes back was asked for (SendOptions.Loop).
func refuseOwn() []bpf.Instruction {
	const (
		loopedBack = 5 // PACKET_LOOPBACK
		ipVersion4 = 4
	)
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loopedBack, SkipTrue: 7},
		bpf.LoadAbsolute{Off: networkHeader, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ipVersion4, SkipTrue: 4},
		bpf.LoadAbsolute{Off: networkHeader + 16, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0xe0, SkipTrue: 1},
		refusePacket,
	}
}

// refuseSender compares source port and address; the filter of a UDP socket sees the UDP header first.
func refuseSender(sender netip.AddrPort) []bpf.Instruction {
	address, offset := sender.Addr().AsSlice(), uint32(networkHeader+12)
	if sender.Addr().Is6() {
		offset = networkHeader + 8
	}
	skip := uint8(len(address)/4*2 + 1)
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(sender.Port()), SkipTrue: skip},
	}
	for ; len(address) > 0; address, offset = address[4:], offset+4 {
		skip -= 2
		program = append(program, bpf.LoadAbsolute{Off: offset, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(address), SkipTrue: skip})
	}
	return append(program, refusePacket)
}
