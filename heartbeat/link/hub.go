package link

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// hubKey tells receive sockets apart. The index is part of it because a device that was deleted and made again is another one.
type hubKey struct {
	netDev, netIno uint64 // the network namespace
	device         string
	index          int
	port           int
	v6             bool
}

// hubs is every receive socket of the process. The kernel allows one per port and device, so it cannot be each link's own.
var hubs = struct {
	sync.Mutex
	open map[hubKey]*hub
}{open: map[hubKey]*hub{}}

// hub is the receive socket that all UDP links of one device, port and address family share.
type hub struct {
	key    hubKey
	socket *host.Socket
	view   *host.View
	reader *host.Reader           // used by the selector's goroutine only
	limit  *limiter               // the same
	lines  atomic.Pointer[[]*udp] // replaced, never changed, under hubs' lock
	stop   context.CancelFunc     // ends the watch
	forget func()                 // ends the reading

	unclaimed atomic.Uint64 // frames for no link of ours

	shunning sync.Mutex
	shunned  []netip.AddrPort // whom the kernel drops for us at the moment
}

// joinHub adds l to the receive socket that it belongs to, which it opens when l is the first. The socket is opened in the
// namespace of the calling thread.
func joinHub(l *udp, device host.Interface) error {
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return os.NewSyscallError("look at network namespace", err)
	}
	key := hubKey{ns.Dev, ns.Ino, device.Name, device.Index, l.spec.Port, l.dest.Is6()}
	hubs.Lock()
	defer hubs.Unlock()
	h := hubs.open[key]
	if h == nil {
		var err error
		if h, err = newHub(key); err != nil {
			return err
		}
		hubs.open[key] = h
	}
	err := h.add(l)
	if err == nil && h.forget == nil {
		h.forget, err = h.socket.OnReadable(h.ready)
	}
	if err != nil {
		h.remove(l)
	}
	return err
}

func newHub(key hubKey) (*hub, error) {
	socket, err := host.ListenUDP(key.device, key.port, key.v6)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another program has UDP port %d (see: ss -lunp sport = :%d): %w", ErrInUse, key.port, key.port, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on UDP port %d: %w", key.port, err)
	}
	view, err := host.NewView()
	if err != nil {
		socket.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	changes, err := host.WatchLinks(ctx)
	if err != nil {
		cancel()
		view.Close()
		socket.Close()
		return nil, err
	}
	h := &hub{key: key, socket: socket, view: view, reader: host.NewReader(host.MaxDatagram), limit: newLimiter(), stop: cancel}
	h.lines.Store(new([]*udp))
	go h.watch(changes)
	return h, nil
}

// add is called under hubs' lock. From the store on, l may be given frames, or failed.
func (h *hub) add(l *udp) error {
	lines := *h.lines.Load()
	joined := false
	for _, other := range lines {
		if other.spec.Kind == l.spec.Kind && other.dest == l.dest {
			return fmt.Errorf("%w: it is configured twice, also as %q", ErrInUse, other.spec.ID)
		}
		joined = joined || other.dest == l.dest
	}
	if l.dest.IsMulticast() && !joined {
		if err := h.socket.JoinGroup(l.dest, h.key.index); err != nil {
			return err
		}
	}
	l.hub = h
	lines = append(slices.Clone(lines), l)
	h.lines.Store(&lines)
	return nil
}

// leave removes l; the last one closes the socket.
func (h *hub) leave(l *udp) {
	hubs.Lock()
	defer hubs.Unlock()
	h.remove(l)
}

// remove is leave under hubs' lock.
func (h *hub) remove(l *udp) {
	old := *h.lines.Load()
	lines := slices.DeleteFunc(slices.Clone(old), func(other *udp) bool { return other == l })
	if len(lines) < len(old) {
		h.lines.Store(&lines)
		if l.dest.IsMulticast() {
			_ = h.socket.LeaveGroup(l.dest, h.key.index) // fails when the device is gone, and with it the membership
		}
	}
	if len(lines) > 0 || hubs.open[h.key] != h {
		return
	}
	delete(hubs.open, h.key)
	h.stop()
	if h.forget != nil {
		h.forget()
	}
	h.socket.Close()
	h.view.Close()
}

// settle is how long the watch waits after a change before it looks, so that a thousand addresses are one look.
const settle = 20 * time.Millisecond

// watch checks what the links stand on whenever the kernel says that something about the device changed. Addresses of any
// device matter too: a peer's may become our own.
func (h *hub) watch(changes <-chan host.LinkChange) {
	var due <-chan time.Time
	for {
		select {
		case _, ok := <-changes:
			if !ok {
				return
			}
			if due == nil {
				due = time.After(settle)
			}
		case <-due:
			due = nil
			h.check()
		}
	}
}

// check fails every link that has lost its ground.
func (h *hub) check() {
	ground, err := h.ground()
	for _, l := range *h.lines.Load() {
		cause := err
		if cause == nil {
			cause = l.check(ground)
		}
		if cause != nil && (errors.Is(cause, ErrGone) || errors.Is(cause, ErrOwnAddress)) {
			l.fail(fmt.Errorf("receive on %s: %w", l.spec.ID, cause))
		}
	}
}

// ground looks at the device, and at all interfaces where a link must know whether its peer's address became our own.
func (h *hub) ground() (ground, error) {
	list, err := h.view.Interfaces()
	if err != nil {
		return ground{}, err
	}
	at := slices.IndexFunc(list, func(i host.Interface) bool { return i.Name == h.key.device })
	switch {
	case at < 0:
		return ground{}, fmt.Errorf("%w: %s vanished", ErrGone, h.key.device)
	case list[at].Index != h.key.index:
		return ground{}, fmt.Errorf("%w: another device is called %s now", ErrGone, h.key.device)
	}
	return ground{device: list[at], all: list}, nil
}

// ready takes one datagram from the socket to its link. It is called by the selector's goroutine.
func (h *hub) ready() {
	there, err := h.socket.TryRead(h.reader)
	switch {
	case err == nil && there:
		h.deliver()
	case err == nil || host.IsTemporary(err) || errors.Is(err, os.ErrClosed):
	default:
		for _, l := range *h.lines.Load() {
			l.fail(fmt.Errorf("receive on %s: %w", l.spec.ID, classify(err)))
		}
	}
}

// deliver takes the datagram that the reader holds to the link that it is for.
func (h *hub) deliver() {
	r := h.reader
	if r.Own {
		return
	}
	to := h.route(r)
	if to == nil {
		h.unclaimed.Add(1)
		return
	}
	sender := netip.AddrPortFrom(r.From, r.Port)
	if ok, enough := h.limit.allow(sender, len(r.Data), r.Stamp()); !ok {
		to.dropped.Add(1)
		if enough {
			h.shun(sender)
		}
		return
	}
	to.take(r)
}

// route finds the link that a datagram is for: by the group it was sent to, else by its sender. Broadcast reaches a node that
// has a ucast line only, and the reverse, as it always did: the ends of a link need not be configured alike.
func (h *hub) route(r *host.Reader) *udp {
	var unicast, broadcast, known *udp
	for _, l := range *h.lines.Load() {
		switch l.class {
		case toGroup:
			if l.dest == r.To {
				return l
			}
		case toAll:
			broadcast = l
		case toPeer:
			if l.dest == r.From && known == nil {
				known = l
			}
			if unicast == nil {
				unicast = l
			}
		}
	}
	if r.To.IsMulticast() {
		return nil
	}
	if known != nil {
		unicast = known
	}
	if (r.Unicast && unicast != nil) || broadcast == nil {
		return unicast
	}
	return broadcast
}
