package link

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"hapair/heartbeat/fault"
)

// Frame is what one Receive returns.
type Frame struct {
	Data     []byte           // the frame, unverified; valid until the next Receive on the same link
	Received time.Time        // when the kernel (serial: this process) had it, with a monotonic reading
	From     string           // sender's address for display; the device of a serial line
	MAC      net.HardwareAddr // sender's hardware address where the medium tells it: nil on UDP, ICMP and serial
}

// Link is one open medium. Send and Receive may be called at the same time, each by one goroutine; Close by any, and it ends
// a Receive that waits.
type Link interface {
	// ID is Spec.ID.
	ID() string
	// Name is the classic name in logs and status, which several links may share: the device, or the ping node.
	Name() string
	// Kind is Spec.Kind.
	Kind() string
	// Send makes one attempt to put a frame on the medium. It never waits longer than the deadline, and on everything but a
	// serial line it does not wait at all. After an error nothing of the frame will be seen as a frame by the peer. Errors:
	// ErrGone (close and open again), ErrPermission, ErrNoRoute, ErrTimeout, ErrTooLong, ErrClosed.
	Send(frame []byte, deadline time.Time) error
	// Receive waits for the next frame. An error is final: close the link and open it again. Errors: ErrGone, ErrOwnAddress,
	// ErrClosed.
	Receive() (Frame, error)
	// Close releases the medium. A second Close does nothing.
	Close() error
}

// Spec describes a link as the configuration does.
type Spec struct {
	Kind   string   // ucast bcast mcast ucast6 mcast6 serial ping ping6 ping_group mirror
	Device string   // interface, or the path of a serial device; unused by ping kinds; mirror: may be empty
	Peer   string   // ucast, ucast6: the other end; ping, ping6: the host. An address or a host name
	Group  string   // mcast, mcast6: the group's address; ping_group: its name
	Port   int      // UDP destination and receive port; 0 means DefaultPort
	TTL    int      // mcast, mcast6: hops, as written (0 does not leave the machine)
	Loop   bool     // mcast, mcast6: our own frames come back to us
	Baud   int      // serial; 0 means DefaultBaud
	ID     string   // unique name, for messages; "" means what String makes of the rest
	Hosts  []string // ping_group: its members; ping, ping6: used when Peer is empty; mirror: its target
}

// The defaults of Spec (protocol section 1.4).
const (
	DefaultPort = 694
	DefaultBaud = 19200
)

// kinds is every medium there is.
var kinds = map[string]func(Spec) (Link, error){
	"ucast": openUDP, "bcast": openUDP, "mcast": openUDP, "ucast6": openUDP, "mcast6": openUDP,
	"serial": openSerial,
	"ping":   openPing, "ping6": openPing, "ping_group": openPing,
	"mirror": openMirror,
}

// Kinds lists the kinds that Open knows, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// Open opens a link in the network namespace of the calling thread; the link keeps that namespace. It may wait for name
// resolution where the specification has a host name. Errors: ErrOwnAddress when the peer is this very machine (such a line
// is harmless and to be skipped, so that one file may serve both nodes), ErrGone when the device is not there or has not got
// the address it needs (it may come), ErrPermission, ErrInUse; anything else is a mistake in the specification.
func Open(spec Spec) (Link, error) {
	if spec.Port == 0 {
		spec.Port = DefaultPort
	}
	if spec.Baud == 0 {
		spec.Baud = DefaultBaud
	}
	if spec.ID == "" {
		spec.ID = spec.String()
	}
	open, ok := kinds[spec.Kind]
	if !ok {
		hint := ""
		if near := fault.Nearest(spec.Kind, Kinds()); near != "" {
			hint = fmt.Sprintf(" (did you mean %q?)", near)
		}
		return nil, fmt.Errorf("open %s: no kind of link is called %q%s", spec.ID, spec.Kind, hint)
	}
	l, err := open(spec)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", spec.ID, classify(err))
	}
	return l, nil
}

// String is the configuration line in its shortest form, as links are named in messages.
func (s Spec) String() string {
	words := []string{s.Kind}
	for _, w := range append([]string{s.Device, s.Group, s.Peer}, s.Hosts...) {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

// Condition looks at what the link stands on and says what is wrong with it: ErrDown when its device is set down or its cable
// is out, ErrGone when the device or the address went. It is nil when all is well, and for links that stand on no device.
// It asks the kernel; call it after a host.LinkChange, not on every frame.
func Condition(l Link) error {
	if c, ok := l.(interface{ condition() error }); ok {
		return c.condition()
	}
	return nil
}

// Counters are what a link has refused since it was opened.
type Counters struct {
	Dropped  uint64 // frames for nobody, above the rate that one sender is allowed, or too fast for the reader
	Overflow uint64 // frames that the kernel dropped: a flood's, or for want of room; shared by the links of a device and port
}

// Count returns a link's counters, zero where it keeps none.
func Count(l Link) Counters {
	if c, ok := l.(interface{ counters() Counters }); ok {
		return c.counters()
	}
	return Counters{}
}
