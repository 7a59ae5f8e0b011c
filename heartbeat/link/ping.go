package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

const (
	echoHeader   = 8   // type, code, checksum, identifier, sequence
	echoWindow   = 128 // how many echoes back an answer still counts (protocol section 4.6)
	minIPHeader  = 20
	maxEchoFrame = 65507 - echoHeader
)

// ping is a link to a ping node, or to a group of them: what it sends comes back if one of them is there.
type ping struct {
	spec    Spec
	v6      bool
	targets []netip.Addr
	to      []unix.Sockaddr
	id      uint16
	socket  *host.Socket
	sender  *host.Sender
	reader  *host.Reader
	dropped atomic.Uint64

	mu       sync.Mutex
	message  []byte // the echo request, reused
	sequence uint16 // of the last echo request
	sent     int    // echo requests so far, up to echoWindow
	answered [echoWindow]bool

	from     netip.Addr // sender of the last frame, and its text
	fromText string
}

func openPing(spec Spec) (Link, error) {
	l := &ping{spec: spec, v6: spec.Kind == "ping6", sequence: uint16(rand.Uint32())}
	hosts := spec.Hosts
	if spec.Peer != "" && spec.Kind != "ping_group" {
		hosts = []string{spec.Peer}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("no host given")
	}
	for _, name := range hosts {
		if err := l.addTarget(name); err != nil {
			return nil, err
		}
	}
	l.id = identifiers.take()
	var err error
	if l.socket, err = host.ListenEcho(l.id, l.v6); err == nil {
		l.sender, err = host.OpenEchoSender(l.v6)
	}
	if err != nil {
		if l.socket != nil {
			l.socket.Close()
		}
		identifiers.release(l.id)
		return nil, err
	}
	l.reader = host.NewReader(host.MaxDatagram)
	return l, nil
}

func (l *ping) addTarget(name string) error {
	addr, err := resolve(name, l.v6)
	if err != nil {
		return err
	}
	index := 0
	if zone := addr.Zone(); zone != "" {
		device, err := host.InterfaceByName(zone)
		if err != nil {
			return err
		}
		index = device.Index
	} else if addr.IsLinkLocalUnicast() && l.v6 {
		return fmt.Errorf("%s needs its interface: %s%%eth0", name, name)
	}
	addr = addr.WithZone("")
	to, err := host.Sockaddr(addr, 0, index)
	if err != nil {
		return err
	}
	l.targets, l.to = append(l.targets, addr), append(l.to, to)
	return nil
}

func (l *ping) ID() string   { return l.spec.ID }
func (l *ping) Kind() string { return l.spec.Kind }

// Name is the pseudo-node's: the host as written, or the group's name.
func (l *ping) Name() string {
	switch {
	case l.spec.Kind == "ping_group" && l.spec.Group != "":
		return l.spec.Group
	case l.spec.Peer != "":
		return l.spec.Peer
	}
	return l.spec.Hosts[0]
}

// Prompt says that Send never waits.
func (l *ping) Prompt() bool { return true }

// Send sends the frame to every member in an echo request. It is an error only when none could be sent.
func (l *ping) Send(frame []byte, _ time.Time) error {
	if len(frame) > maxEchoFrame {
		return sendError(&l.spec, ErrTooLong)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	l.sent = min(l.sent+1, echoWindow)
	l.answered[l.sequence%echoWindow] = false
	l.encode(frame)
	var failed error
	succeeded := 0
	for _, to := range l.to {
		if err := l.sender.Send(l.message, to); err != nil {
			failed = err
		} else {
			succeeded++
		}
	}
	if succeeded == 0 {
		return sendError(&l.spec, failed)
	}
	return nil
}

// encode makes the echo request. The kernel fills the checksum of ICMPv6 in, not that of ICMP.
func (l *ping) encode(frame []byte) {
	l.message = append(append(l.message[:0], make([]byte, echoHeader)...), frame...)
	l.message[0] = host.EchoRequest4
	if l.v6 {
		l.message[0] = host.EchoRequest6
	}
	binary.BigEndian.PutUint16(l.message[4:], l.id)
	binary.BigEndian.PutUint16(l.message[6:], l.sequence)
	if !l.v6 {
		binary.BigEndian.PutUint16(l.message[2:], host.Checksum(l.message))
	}
}

func (l *ping) Receive() (Frame, error) {
	for {
		err := l.socket.Read(l.reader)
		switch {
		case err == nil:
		case errors.Is(err, os.ErrClosed):
			return Frame{}, ErrClosed
		case host.IsTemporary(err):
			continue
		default:
			return Frame{}, fmt.Errorf("receive on %s: %w", l.spec.ID, classify(err))
		}
		data, ok := l.accept()
		if !ok {
			l.dropped.Add(1)
			continue
		}
		if l.reader.From != l.from {
			l.from, l.fromText = l.reader.From, l.reader.From.String()
		}
		return Frame{Data: data, Received: l.reader.Received(), From: l.fromText}, nil
	}
}

// accept returns the payload of the reply just read, when it is the first one to an echo of the last echoWindow and comes
// from a member. A checksum is not looked at: the kernel did, and the payload is signed.
func (l *ping) accept() ([]byte, bool) {
	data := l.reader.Data
	if !l.v6 {
		if len(data) < minIPHeader || int(data[0]&0xf)*4 > len(data) {
			return nil, false
		}
		data = data[int(data[0]&0xf)*4:]
	}
	if len(data) < echoHeader || binary.BigEndian.Uint16(data[4:]) != l.id || !slices.Contains(l.targets, l.reader.From) {
		return nil, false
	}
	sequence := binary.BigEndian.Uint16(data[6:])
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(l.sequence-sequence) >= l.sent || l.answered[sequence%echoWindow] {
		return nil, false
	}
	l.answered[sequence%echoWindow] = true
	return data[echoHeader:], true
}

func (l *ping) Close() error {
	if err := l.socket.Close(); err != nil {
		return nil // closed before
	}
	identifiers.release(l.id)
	return l.sender.Close()
}

func (l *ping) counters() Counters {
	return Counters{Dropped: l.dropped.Load(), Overflow: 0}
}

// identifiers keeps the ICMP identifiers of the process's ping links apart. They begin at random, not at the process id, which
// is 1 in every container.
var identifiers = idPool{used: map[uint16]bool{}}

type idPool struct {
	mu   sync.Mutex
	used map[uint16]bool
}

func (p *idPool) take() uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := uint16(rand.Uint32())
	for p.used[id] {
		id++
	}
	p.used[id] = true
	return id
}

func (p *idPool) release(id uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, id)
}
