package host

import (
	"strconv"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// The tc programs that hold the lease. They are assembled here, instruction by instruction, so that building needs no compiler for BPF.
// They may be used under the MIT licence or the GPL, as the kernel asks of programs that look at its routing table.
const leaseLicense = "Dual MIT/GPL"

// The verdicts of a tc program. A packet that passes goes on to the programs of others on the same interface.
const (
	verdictPass = -1 // TC_ACT_UNSPEC
	verdictDrop = 2  // TC_ACT_SHOT
)

// Offsets in the kernel's struct __sk_buff.
const (
	skbLen            = 0
	skbPacketType     = 4
	skbProtocol       = 16
	skbVLAN           = 24
	skbIngressIfindex = 36
	skbIfindex        = 40
)

// packetOtherHost is the packet type of a frame that is addressed to another machine's hardware address.
const packetOtherHost = 3

// Where a packet's header offsets are counted from (BPF_HDR_START_MAC, BPF_HDR_START_NET).
const (
	fromMAC     = 0
	fromNetwork = 1
)

// The answers of the helper bpf_fib_lookup that mean "the packet is forwarded" (BPF_FIB_LKUP_RET_…).
var forwardedAnswers = []int32{0 /* success */, 6 /* by a tunnel */, 7 /* no neighbour yet */, 8 /* too big */, 9 /* no source address */}

// The programs' stack, as offsets from its end.
const (
	stackKey     = -4   // key of an array
	stackBlamed  = -8   // whose lease had ended: key in the map of drops
	stackMAC     = -16  // hardware address and two zero bytes
	stackHeader  = -64  // 40 bytes of IPv4, IPv6 or ARP header
	stackMessage = -96  // 24 bytes of an ICMPv6 message, or the addresses of an ARP packet
	stackRoute   = -168 // struct bpf_fib_lookup, 64 bytes
	routeSize    = 64
)

// Registers that survive a call of a helper.
const (
	regPacket   = asm.R6
	regAddress  = asm.R7 // 1: the packet is about an address whose lease has ended
	regRouter   = asm.R8 // 1: the packet came by, or leaves by, an interface whose lease has ended
	regDeadline = asm.R9
)

// direction is where a program is attached.
type direction int

const (
	ingress direction = iota
	egress
)

func (d direction) String() string { return [...]string{"ingress", "egress"}[d] }

// assembler collects instructions.
type assembler struct {
	direction
	maps   *leaseMaps
	ins    asm.Instructions
	labels int
	next   string // label of the next instruction
}

// leaseProgram is the program of one direction.
func leaseProgram(d direction, maps *leaseMaps) asm.Instructions {
	a := &assembler{direction: d, maps: maps}
	a.add(asm.Mov.Reg(regPacket, asm.R1), asm.Mov.Imm(regAddress, 0), asm.Mov.Imm(regRouter, 0),
		asm.StoreImm(asm.RFP, stackBlamed, 0, asm.Word))
	// A tagged frame is its VLAN interface's business, where the program sees it again without the tag.
	a.add(asm.LoadMem(asm.R2, regPacket, skbVLAN, asm.Word), asm.And.Imm(asm.R2, 0xfff), asm.JNE.Imm(asm.R2, 0, "pass"))
	a.whenFeature(featureMACs, a.judgeMAC)
	if d == ingress {
		a.add(asm.LoadMem(asm.R2, regPacket, skbPacketType, asm.Word), asm.JEq.Imm(asm.R2, packetOtherHost, "pass"))
	}
	a.add(asm.LoadMem(asm.R2, regPacket, skbProtocol, asm.Word))
	for _, p := range []struct {
		ethertype uint16
		label     string
	}{{unix.ETH_P_IP, "ipv4"}, {unix.ETH_P_IPV6, "ipv6"}, {unix.ETH_P_ARP, "arp"}} {
		a.add(asm.JEq.Imm(asm.R2, int32(networkOrder(p.ethertype)), p.label))
	}
	a.add(asm.Ja.Label("pass"))
	a.label("ipv4")
	a.ipv4()
	a.label("ipv6")
	a.ipv6()
	a.label("arp")
	a.arp()
	a.ends()
	return a.ins
}

func (a *assembler) add(list ...asm.Instruction) {
	for _, i := range list {
		if a.next != "" {
			i, a.next = i.WithSymbol(a.next), ""
		}
		a.ins = append(a.ins, i)
	}
}

// label names the next instruction. An instruction has one name: a second one gets an instruction that does nothing in between.
func (a *assembler) label(name string) {
	if a.next != "" {
		a.add(asm.Mov.Imm(asm.R0, 0))
	}
	a.next = name
}

// unique makes a label that no other has.
func (a *assembler) unique(name string) string {
	a.labels++
	return name + "-" + strconv.Itoa(a.labels)
}

// stack puts the address of a place on the stack into a register.
func (a *assembler) stack(r asm.Register, offset int32) {
	a.add(asm.Mov.Reg(r, asm.RFP), asm.Add.Imm(r, offset))
}

// load copies part of the packet to the stack, or goes to a label if the packet is not as long. What the driver left outside the linear
// part of the buffer is pulled in.
func (a *assembler) load(from int32, offset any, to, length int32, short string) {
	loaded := a.unique("loaded")
	attempt := func() {
		switch o := offset.(type) {
		case int:
			a.add(asm.Mov.Imm(asm.R2, int32(o)))
		case asm.Register:
			a.add(asm.Mov.Reg(asm.R2, o))
		}
		a.add(asm.Mov.Reg(asm.R1, regPacket))
		a.stack(asm.R3, to)
		a.add(asm.Mov.Imm(asm.R4, length), asm.Mov.Imm(asm.R5, from), asm.FnSkbLoadBytesRelative.Call())
	}
	attempt()
	a.add(asm.JEq.Imm(asm.R0, 0, loaded))
	if from == fromNetwork {
		pull := a.unique("pull")
		a.add(asm.LoadMem(asm.R2, regPacket, skbLen, asm.Word), asm.JLE.Imm(asm.R2, 160, pull), asm.Mov.Imm(asm.R2, 160))
		a.label(pull)
		a.add(asm.Mov.Reg(asm.R1, regPacket), asm.FnSkbPullData.Call())
		attempt()
		a.add(asm.JEq.Imm(asm.R0, 0, loaded))
	}
	a.add(asm.Ja.Label(short))
	a.label(loaded)
}

// lookup finds the value of the key at a place on the stack; R0 is its address, or 0.
func (a *assembler) lookup(m *leaseMap, key int32) {
	a.add(asm.LoadMapPtr(asm.R1, m.FD()))
	a.stack(asm.R2, key)
	a.add(asm.FnMapLookupElem.Call())
}

// whenFeature runs code only where the administrator's configuration needs it: what it costs the others is one look into an array.
func (a *assembler) whenFeature(bit int32, code func()) {
	skip := a.unique("skip")
	a.add(asm.StoreImm(asm.RFP, stackKey, 0, asm.Word))
	a.lookup(a.maps.features, stackKey)
	a.add(asm.JEq.Imm(asm.R0, 0, skip), asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.And.Imm(asm.R1, bit), asm.JEq.Imm(asm.R1, 0, skip))
	code()
	a.label(skip)
}

// judge looks a key up, and if it belongs to a group whose lease has ended, goes to the label.
func (a *assembler) judge(m *leaseMap, key int32, ended string) {
	fine, blame := a.unique("fine"), a.unique("blame")
	a.lookup(m, key)
	a.add(asm.JEq.Imm(asm.R0, 0, fine), asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.StoreMem(asm.RFP, stackKey, asm.R1, asm.Word))
	a.lookup(a.maps.deadlines, stackKey)
	a.add(asm.JEq.Imm(asm.R0, 0, blame), asm.LoadMem(regDeadline, asm.R0, 0, asm.DWord), asm.FnKtimeGetBootNs.Call(),
		asm.JLT.Reg(asm.R0, regDeadline, fine))
	a.label(blame)
	a.add(asm.LoadMem(asm.R1, asm.RFP, stackKey, asm.Word), asm.StoreMem(asm.RFP, stackBlamed, asm.R1, asm.Word), asm.Ja.Label(ended))
	a.label(fine)
}

// mark is judge that only notes the finding in a register.
func (a *assembler) mark(m *leaseMap, key int32, in asm.Register) {
	ended, done := a.unique("ended"), a.unique("done")
	a.judge(m, key, ended)
	a.add(asm.Ja.Label(done))
	a.label(ended)
	a.add(asm.Mov.Imm(in, 1))
	a.label(done)
}

// judgeMAC drops what is sent to, or by, a group's virtual hardware address.
func (a *assembler) judgeMAC() {
	offset := 0
	if a.direction == egress {
		offset = 6
	}
	a.add(asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.RFP, stackMAC, asm.R1, asm.DWord))
	none := a.unique("no-mac")
	a.load(fromMAC, offset, stackMAC, 6, none)
	a.judge(a.maps.macs, stackMAC, "drop")
	a.label(none)
}

// markRouter notes whether a packet came by an interface of a router group whose lease has ended or, on its way out, leaves by one.
func (a *assembler) markRouter() {
	key := func(offset int16) {
		a.add(asm.LoadMem(asm.R1, regPacket, offset, asm.Word), asm.StoreMem(asm.RFP, stackKey, asm.R1, asm.Word))
		a.mark(a.maps.interfaces, stackKey, regRouter)
	}
	if a.direction == ingress {
		key(skbIfindex)
		return
	}
	local := a.unique("local")
	a.add(asm.LoadMem(asm.R1, regPacket, skbIngressIfindex, asm.Word), asm.JEq.Imm(asm.R1, 0, local))
	key(skbIngressIfindex)
	key(skbIfindex)
	a.label(local)
}

// family is where an IP header has what the programs look at.
type family struct {
	number              int64 // AF_INET, AF_INET6
	header              int32
	source, destination int32 // on the stack
	length              int32 // of an address
}

var (
	inet4 = family{unix.AF_INET, 20, stackHeader + 12, stackHeader + 16, 4}
	inet6 = family{unix.AF_INET6, 40, stackHeader + 8, stackHeader + 24, 16}
)

func (a *assembler) ipv4() {
	a.load(fromNetwork, 0, stackHeader, inet4.header, "pass")
	a.mark(a.maps.ipv4, a.own(inet4), regAddress)
	a.route(inet4)
}

func (a *assembler) ipv6() {
	a.load(fromNetwork, 0, stackHeader, inet6.header, "pass")
	a.mark(a.maps.ipv6, a.own(inet6), regAddress)
	a.neighbour()
	a.route(inet6)
}

// own is the address in the header that would be this machine's: the destination of what comes, the source of what leaves.
func (a *assembler) own(f family) int32 {
	if a.direction == ingress {
		return f.destination
	}
	return f.source
}

// neighbour drops questions for, and answers and announcements about, an address: neighbour solicitations that come, advertisements
// that leave. Both have the address at the same place.
func (a *assembler) neighbour() {
	const nextHeader, target = stackHeader + 6, stackMessage + 8
	kind, other := int32(135), a.unique("other") // neighbour solicitation
	if a.direction == egress {
		kind = 136 // neighbour advertisement
	}
	a.add(asm.LoadMem(asm.R1, asm.RFP, nextHeader, asm.Byte), asm.JNE.Imm(asm.R1, unix.IPPROTO_ICMPV6, other))
	a.load(fromNetwork, int(inet6.header), stackMessage, 24, other)
	a.add(asm.LoadMem(asm.R1, asm.RFP, stackMessage, asm.Byte), asm.JNE.Imm(asm.R1, kind, other))
	a.judge(a.maps.ipv6, target, "drop")
	a.label(other)
}

// route ends the way of an IP packet. What is about an address whose lease has ended is dropped unless it is only passing through to
// the machine that has the address; what only passes through is dropped if it does so on behalf of a router group whose lease has ended.
func (a *assembler) route(f family) {
	a.whenFeature(featureInterfaces, a.markRouter)
	a.add(asm.Mov.Reg(asm.R1, regAddress), asm.Or.Reg(asm.R1, regRouter), asm.JEq.Imm(asm.R1, 0, "pass"))
	forwarded := a.unique("forwarded")
	if a.direction == ingress {
		a.lookupRoute(f, f.destination, f.source)
		for _, answer := range forwardedAnswers {
			a.add(asm.JEq.Imm(asm.R0, answer, forwarded))
		}
		a.add(asm.JEq.Imm(regAddress, 0, "pass"), asm.Ja.Label("drop")) // for this machine itself
		a.label(forwarded)
		a.add(asm.JEq.Imm(regRouter, 0, "pass"), asm.Ja.Label("drop"))
		return
	}
	a.add(asm.JNE.Imm(regRouter, 0, "drop"))
	a.add(asm.LoadMem(asm.R1, regPacket, skbIngressIfindex, asm.Word), asm.JEq.Imm(asm.R1, 0, "drop"))
	// It is forwarded, and from the group's address. It may be the other machine's if it came from where the address is found.
	a.lookupRoute(f, f.source, f.destination)
	for _, answer := range forwardedAnswers {
		a.add(asm.JEq.Imm(asm.R0, answer, forwarded))
	}
	a.add(asm.Ja.Label("drop"))
	a.label(forwarded)
	a.add(asm.LoadMem(asm.R1, asm.RFP, stackRoute+8, asm.Word), asm.LoadMem(asm.R2, regPacket, skbIngressIfindex, asm.Word),
		asm.JEq.Reg(asm.R1, asm.R2, "pass"), asm.Ja.Label("drop"))
}

// lookupRoute asks the kernel's routing table about an address; R0 is its answer.
func (a *assembler) lookupRoute(f family, to, from int32) {
	a.add(asm.Mov.Imm(asm.R1, 0))
	for offset := int16(0); offset < routeSize; offset += 8 {
		a.add(asm.StoreMem(asm.RFP, stackRoute+offset, asm.R1, asm.DWord))
	}
	a.add(asm.StoreImm(asm.RFP, stackRoute, f.number, asm.Byte))
	a.add(asm.LoadMem(asm.R1, regPacket, skbIfindex, asm.Word), asm.StoreMem(asm.RFP, stackRoute+8, asm.R1, asm.Word))
	for offset := int32(0); offset < f.length; offset += 4 {
		a.add(asm.LoadMem(asm.R1, asm.RFP, int16(from+offset), asm.Word), asm.StoreMem(asm.RFP, int16(stackRoute+16+offset), asm.R1, asm.Word))
		a.add(asm.LoadMem(asm.R1, asm.RFP, int16(to+offset), asm.Word), asm.StoreMem(asm.RFP, int16(stackRoute+32+offset), asm.R1, asm.Word))
	}
	a.add(asm.Mov.Reg(asm.R1, regPacket))
	a.stack(asm.R2, stackRoute)
	a.add(asm.Mov.Imm(asm.R3, routeSize), asm.Mov.Imm(asm.R4, 0), asm.FnFibLookup.Call())
}

// arp drops, of what comes, requests that ask for the address, and of what leaves everything that says "the address is here": requests
// from it, answers, and announcements in both forms. An announcement of the other machine is let in: nobody answers it, and what it
// teaches is true. Hardware addresses may be of any length (IPoIB has 20 bytes).
func (a *assembler) arp() {
	const protocolType, hardwareLength, addressLength, operation = stackHeader + 2, stackHeader + 4, stackHeader + 5, stackHeader + 6
	const sender, target = stackMessage, stackMessage + 8
	a.load(fromNetwork, 0, stackHeader, 8, "pass")
	a.add(asm.LoadMem(asm.R1, asm.RFP, protocolType, asm.Half), asm.JNE.Imm(asm.R1, int32(networkOrder(unix.ETH_P_IP)), "pass"))
	a.add(asm.LoadMem(asm.R1, asm.RFP, addressLength, asm.Byte), asm.JNE.Imm(asm.R1, 4, "pass"))
	a.add(asm.LoadMem(regAddress, asm.RFP, hardwareLength, asm.Byte), asm.Add.Imm(regAddress, 8)) // the sender's IP address is there
	a.load(fromNetwork, regAddress, sender, 4, "pass")
	if a.direction == egress {
		a.judge(a.maps.ipv4, sender, "drop")
		a.add(asm.Ja.Label("pass"))
		return
	}
	a.add(asm.LoadMem(asm.R1, asm.RFP, operation, asm.Half), asm.JNE.Imm(asm.R1, int32(networkOrder(1)), "pass")) // only requests
	a.add(asm.LoadMem(asm.R1, asm.RFP, hardwareLength, asm.Byte), asm.Add.Reg(regAddress, asm.R1), asm.Add.Imm(regAddress, 4))
	a.load(fromNetwork, regAddress, target, 4, "pass")
	a.add(asm.LoadMem(asm.R1, asm.RFP, sender, asm.Word), asm.LoadMem(asm.R2, asm.RFP, target, asm.Word), asm.JEq.Reg(asm.R1, asm.R2, "pass"))
	a.judge(a.maps.ipv4, target, "drop")
	a.add(asm.Ja.Label("pass"))
}

// ends are the two ways out. A drop is counted for the group that is to blame.
func (a *assembler) ends() {
	a.label("drop")
	a.add(asm.LoadMem(asm.R1, asm.RFP, stackBlamed, asm.Word), asm.StoreMem(asm.RFP, stackKey, asm.R1, asm.Word))
	a.lookup(a.maps.drops, stackKey)
	a.add(asm.JEq.Imm(asm.R0, 0, "uncounted"), asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord))
	a.label("uncounted")
	a.add(asm.Mov.Imm(asm.R0, verdictDrop), asm.Return())
	a.label("pass")
	a.add(asm.Mov.Imm(asm.R0, verdictPass), asm.Return())
}

// networkOrder is a 16-bit number as it stands in a header, read as this machine reads numbers.
func networkOrder(n uint16) uint16 {
	if nativeLittle {
		return n<<8 | n>>8
	}
	return n
}
