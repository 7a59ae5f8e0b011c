package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// MirrorRate is how many frames a second a mirror link sends at most, whatever it is asked for: the target is somebody else's.
const MirrorRate = 20

const (
	mirrorID    = 0x6861 // ICMP identifier; both nodes know it, so that the one receives what the other asked
	mirrorBurst = 2
	mirrorHops  = 1 // of the request: the target is on the same subnet, or it is not reached
	ip4Header   = 20
	ip6Header   = 40
	ip6Length   = 4 // payload length, in an IPv6 header
)

// mirror is a link by way of a third host: an echo request that goes to it with the peer's address as its sender, so that the reply takes
// the frame to the peer. It carries liveness only: whoever hears it knows that the peer was alive, and both reach the target.
//
// Its specification: Hosts[0] is the target, Peer the peer's address on the same subnet, Device the interface there ("" finds it).
type mirror struct {
	spec   Spec
	target netip.Addr
	peer   netip.Addr
	device host.Interface
	to     unix.Sockaddr
	socket *host.Socket
	sender *host.Sender
	view   *host.View
	reader *host.Reader

	mu       sync.Mutex
	packet   []byte // the request, reused
	sequence uint16
	tokens   float64 // of the rate
	filled   time.Time

	closed  atomic.Bool
	dropped atomic.Uint64
}

// openMirror refuses what cannot be a mirror: a target that is the peer or this machine, or on another subnet than both nodes.
func openMirror(spec Spec) (Link, error) {
	if len(spec.Hosts) != 1 || spec.Peer == "" {
		return nil, fmt.Errorf("a mirror needs one target and the peer's address, not %d targets and peer %q", len(spec.Hosts), spec.Peer)
	}
	l := &mirror{spec: spec, tokens: mirrorBurst, filled: time.Now(), reader: host.NewReader(host.MaxDatagram)}
	var err error
	if l.peer, err = netip.ParseAddr(spec.Peer); err != nil {
		return nil, fmt.Errorf("the peer of a mirror is an address: %w", err)
	}
	l.peer = l.peer.Unmap()
	if l.target, err = resolve(spec.Hosts[0], l.peer.Is6()); err != nil {
		return nil, err
	}
	list, err := host.Interfaces()
	if err != nil {
		return nil, err
	}
	if l.device, err = l.place(list); err != nil {
		return nil, err
	}
	if l.to, err = host.Sockaddr(l.target, 0, l.device.Index); err != nil {
		return nil, err
	}
	if err := l.open(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *mirror) open() (err error) {
	if l.socket, err = host.ListenReflected(l.device.Index, l.target, mirrorID); err != nil {
		return err
	}
	if l.sender, err = host.OpenForeignSender(l.device.Name, l.peer.Is6()); err != nil {
		return err
	}
	l.view, err = host.NewView()
	return err
}

// place finds the interface whose subnet has the target and the peer.
func (l *mirror) place(list []host.Interface) (host.Interface, error) {
	for _, addr := range []netip.Addr{l.target, l.peer} {
		if at := host.Owner(list, addr); at != "" {
			return host.Interface{}, fmt.Errorf("%w (%v on %s)", ErrOwnAddress, addr, at)
		}
	}
	if l.target == l.peer {
		return host.Interface{}, fmt.Errorf("the target of a mirror is a third host, not the peer")
	}
	found := false
	for _, i := range list {
		if l.spec.Device != "" && i.Name != l.spec.Device {
			continue
		}
		found = true
		for _, a := range i.Addrs {
			if a.Prefix.Contains(l.target) && a.Prefix.Contains(l.peer) {
				return i, nil
			}
		}
	}
	if !found {
		return host.Interface{}, fmt.Errorf("%w: %q", host.ErrNoInterface, l.spec.Device)
	}
	return host.Interface{}, fmt.Errorf("%w: no interface%s has a subnet with both %v and %v: a mirror needs all three on one", ErrGone,
		onDevice(l.spec.Device), l.target, l.peer)
}

func onDevice(name string) string {
	if name == "" {
		return ""
	}
	return " " + name
}

func (l *mirror) ID() string   { return l.spec.ID }
func (l *mirror) Kind() string { return l.spec.Kind }

// Name is the target as written.
func (l *mirror) Name() string { return l.spec.Hosts[0] }

// Send sends the frame by way of the target. Beyond MirrorRate it does nothing, and that is no error.
func (l *mirror) Send(frame []byte, _ time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	header := ip4Header
	if l.target.Is6() {
		header = ip6Header
	}
	if header+echoHeader+len(frame) > l.device.MTU {
		return sendError(&l.spec, ErrTooLong) // not in fragments: the target's answer would be in fragments too
	}
	if l.closed.Load() {
		return sendError(&l.spec, ErrClosed)
	}
	if !l.allowed(time.Now()) {
		return nil
	}
	l.sequence++
	l.encode(frame)
	if err := l.sender.Send(l.packet, l.to); err != nil {
		return sendError(&l.spec, err)
	}
	return nil
}

// allowed takes a token, if there is one.
func (l *mirror) allowed(now time.Time) bool {
	l.tokens = min(l.tokens+now.Sub(l.filled).Seconds()*MirrorRate, mirrorBurst)
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// encode makes the request with its IP header. The kernel fills in length, identification and checksum of an IPv4 header, and nothing in
// an IPv6 header.
func (l *mirror) encode(frame []byte) {
	message := binary.BigEndian.AppendUint16([]byte{host.EchoRequest4, 0, 0, 0}, mirrorID)
	message = append(binary.BigEndian.AppendUint16(message, l.sequence), frame...)
	source, target := l.peer.AsSlice(), l.target.AsSlice()
	if l.target.Is4() {
		binary.BigEndian.PutUint16(message[2:], host.Checksum(message))
		l.packet = append(l.packet[:0], 0x45, tosLowDelay, 0, 0, 0, 0, 0, 0, mirrorHops, unix.IPPROTO_ICMP, 0, 0)
	} else {
		message[0] = host.EchoRequest6
		pseudo := append(append([]byte{}, source...), target...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(message)))
		pseudo = append(append(pseudo, 0, 0, 0, unix.IPPROTO_ICMPV6), message...)
		binary.BigEndian.PutUint16(message[2:], host.Checksum(pseudo))
		l.packet = append(l.packet[:0], 0x60, 0, 0, 0, 0, 0, unix.IPPROTO_ICMPV6, mirrorHops)
		binary.BigEndian.PutUint16(l.packet[ip6Length:], uint16(len(message)))
	}
	l.packet = append(append(append(l.packet, source...), target...), message...)
}

// tosLowDelay is the IP type of service of heartbeats (protocol section 4.2).
const tosLowDelay = 0x10

func (l *mirror) Receive() (Frame, error) {
	for {
		err := l.socket.Read(l.reader)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrClosed):
			return Frame{}, ErrClosed
		case errors.Is(err, unix.ENETDOWN): // told once when the device goes down, and when it goes for ever
			if condition := l.condition(); errors.Is(condition, ErrGone) {
				return Frame{}, fmt.Errorf("receive on %s: %w", l.spec.ID, condition)
			}
			continue
		case host.IsTemporary(err):
			continue
		default:
			return Frame{}, fmt.Errorf("receive on %s: %w", l.spec.ID, classify(err))
		}
		if data, ok := l.payload(l.reader.Data); ok {
			return Frame{Data: data, Received: l.reader.Received(), From: l.spec.Hosts[0]}, nil
		}
		l.dropped.Add(1)
	}
}

// payload is the frame in a reply. Its checksums are not looked at: it is signed.
func (l *mirror) payload(packet []byte) ([]byte, bool) {
	header, end := ip6Header, 0
	if l.target.Is4() {
		if len(packet) < ip4Header {
			return nil, false
		}
		header, end = int(packet[0]&0xf)*4, int(binary.BigEndian.Uint16(packet[2:]))
	} else {
		if len(packet) < ip6Header {
			return nil, false
		}
		end = ip6Header + int(binary.BigEndian.Uint16(packet[ip6Length:]))
	}
	// What follows the packet's own length is the padding of a short Ethernet frame.
	if end > len(packet) || header+echoHeader > end {
		return nil, false
	}
	return packet[header+echoHeader : end], true
}

// condition implements Condition.
func (l *mirror) condition() error {
	list, err := l.view.Interfaces()
	if err != nil {
		return classify(err)
	}
	i, err := l.place(list)
	switch {
	case err != nil:
		return classify(err)
	case i.Index != l.device.Index:
		return fmt.Errorf("%w: another device is called %s now", ErrGone, i.Name)
	case !i.Up:
		return fmt.Errorf("%w: %s is switched off (ip link set %s up)", ErrDown, i.Name, i.Name)
	case !i.Carrier:
		return fmt.Errorf("%w: %s has no carrier (cable, switch port)", ErrDown, i.Name)
	}
	return nil
}

func (l *mirror) Close() error {
	l.closed.Store(true)
	if l.socket != nil {
		if err := l.socket.Close(); err != nil {
			return nil // closed before
		}
	}
	if l.view != nil {
		l.view.Close()
	}
	if l.sender != nil {
		return l.sender.Close()
	}
	return nil
}

func (l *mirror) counters() Counters {
	return Counters{Dropped: l.dropped.Load(), Overflow: l.socket.Drops()}
}
