package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// openPacket opens a packet socket on one interface that receives what a filter passes of one Ethernet type, from the network header on.
func openPacket(index int, protocol uint16, filter []bpf.Instruction) (int, error) {
	// Without a protocol it receives nothing, until it is bound and has its filter.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("open packet socket", err)
	}
	if err = attach(fd, filter); err == nil {
		err = os.NewSyscallError("bind packet socket", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: index}))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ListenReflected opens a socket that receives, on the interface of that index, the echo replies with an identifier that a host sends to
// this machine, whether this machine asked for them or not: before the machine's own firewall, which may call them invalid. What it reads
// begins with the IP header.
func ListenReflected(index int, from netip.Addr, identifier uint16) (*Socket, error) {
	protocol, filter := uint16(unix.ETH_P_IP), reflected4
	if from.Is6() {
		protocol, filter = unix.ETH_P_IPV6, reflected6
	}
	fd, err := openPacket(index, protocol, filter(from, identifier))
	if err != nil {
		return nil, err
	}
	if err := setOptions(fd, []option{{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1}}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return newSocket(fd, "echo replies of "+from.String())
}

// packetFilter is a filter that is a list of checks: each of them refuses the packet, or lets the next one look at it.
type packetFilter struct{ checks [][]bpf.Instruction }

// must adds a check: a load, and the condition under which the packet is refused.
func (f *packetFilter) must(refuse bpf.JumpTest, value uint32, load ...bpf.Instruction) {
	f.checks = append(f.checks, append(load, bpf.JumpIf{Cond: refuse, Val: value}))
}

// program joins the checks.
func (f *packetFilter) program() (program []bpf.Instruction) {
	for _, c := range f.checks {
		program = append(program, c...)
	}
	program = append(program, acceptPacket, refusePacket)
	for i, in := range program {
		if jump, ok := in.(bpf.JumpIf); ok {
			jump.SkipTrue = uint8(len(program) - 2 - i)
			program[i] = jump
		}
	}
	return program
}

// toThisMachine is the packet type of what is addressed to it: neither overheard nor its own.
const toThisMachine = unix.PACKET_HOST

func reflected4(from netip.Addr, identifier uint16) []bpf.Instruction {
	f := &packetFilter{}
	f.must(bpf.JumpNotEqual, toThisMachine, bpf.LoadExtension{Num: bpf.ExtType})
	f.must(bpf.JumpNotEqual, unix.IPPROTO_ICMP, bpf.LoadAbsolute{Off: 9, Size: 1})
	f.must(bpf.JumpBitsSet, 0x3fff, bpf.LoadAbsolute{Off: 6, Size: 2}) // a fragment
	f.must(bpf.JumpNotEqual, binary.BigEndian.Uint32(from.AsSlice()), bpf.LoadAbsolute{Off: 12, Size: 4})
	f.must(bpf.JumpNotEqual, EchoReply4, bpf.LoadMemShift{Off: 0}, bpf.LoadIndirect{Off: 0, Size: 1})
	f.must(bpf.JumpNotEqual, uint32(identifier), bpf.LoadIndirect{Off: 4, Size: 2})
	return f.program()
}

func reflected6(from netip.Addr, identifier uint16) []bpf.Instruction {
	f := &packetFilter{}
	f.must(bpf.JumpNotEqual, toThisMachine, bpf.LoadExtension{Num: bpf.ExtType})
	f.must(bpf.JumpNotEqual, unix.IPPROTO_ICMPV6, bpf.LoadAbsolute{Off: 6, Size: 1})
	for word := range uint32(4) {
		f.must(bpf.JumpNotEqual, binary.BigEndian.Uint32(from.AsSlice()[4*word:]), bpf.LoadAbsolute{Off: 8 + 4*word, Size: 4})
	}
	f.must(bpf.JumpNotEqual, EchoReply6, bpf.LoadAbsolute{Off: ip6Header, Size: 1})
	f.must(bpf.JumpNotEqual, uint32(identifier), bpf.LoadAbsolute{Off: ip6Header + 4, Size: 2})
	return f.program()
}

// OpenForeignSender opens a raw socket on an interface that sends IP packets which come with their header, so that the sender's address may
// be another machine's. The kernel computes the checksum of an IPv4 header. Needs CAP_NET_RAW.
func OpenForeignSender(device string, v6 bool) (*Sender, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return nil, os.NewSyscallError("open raw socket", err)
	}
	if err = unix.BindToDevice(fd, device); err == nil {
		err = refuseAll(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("prepare raw socket: %w", err)
	}
	return &Sender{fd: fd}, nil
}
