package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Clock gives every record the same zero.
type Clock struct{ start time.Time }

// NewClock starts a clock.
func NewClock() Clock { return Clock{start: time.Now()} }

// Now is the time since the clock's start; no step of the wall clock disturbs it.
func (c Clock) Now() time.Duration { return time.Since(c.start) }

// At is the Clock's time of an instant with a monotonic reading.
func (c Clock) At(t time.Time) time.Duration { return t.Sub(c.start) }

// Wall is the wall-clock time of an instant of this clock.
func (c Clock) Wall(d time.Duration) time.Time { return c.start.Add(d) }

// socket is a raw socket whose packets carry the kernel's receive time.
type socket struct {
	fd    int
	clock Clock
	upTo  atomic.Int64 // everything that arrived before this time of the clock has been received
}

// received is a packet with what the kernel says of it.
type received struct {
	data []byte
	at   time.Duration
	from netip.Addr // of an ICMPv6 socket
	hops int        // of an ICMPv6 socket
}

// openSocket opens a raw socket in the present network namespace; device binds it, "" does not.
func openSocket(clock Clock, domain, protocol int, device string) (*socket, error) {
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	s := &socket{fd: fd, clock: clock}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) // without the privilege the default must do
	wait := unix.NsecToTimeval(int64(100 * time.Millisecond))
	options := []func() error{
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) },
		func() error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait) },
		func() error { return s.bind(domain, protocol, device) },
	}
	for _, set := range options {
		if err := set(); err != nil {
			s.close()
			return nil, fmt.Errorf("prepare a raw socket: %w", err)
		}
	}
	return s, nil
}

// bind ties a packet socket to its device and protocol, and an ICMPv6 one to telling the hop limit.
func (s *socket) bind(domain, protocol int, device string) error {
	if domain == unix.AF_INET6 {
		return unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
	}
	if domain != unix.AF_PACKET {
		return nil
	}
	index, err := interfaceIndex(s.fd, device)
	if err != nil {
		return err
	}
	return unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: uint16(protocol), Ifindex: index})
}

func (s *socket) close() { unix.Close(s.fd) }

// handled notes that all that receive has returned so far has been recorded.
func (s *socket) handled(at time.Duration) { s.upTo.Store(max(s.upTo.Load(), int64(at))) }

// drained waits until everything that arrived before an instant has been recorded: a busy machine lets readers wait, but
// the kernel has stamped what they will read. It gives up after two seconds.
func (s *socket) drained(before time.Duration) {
	for deadline := time.Now().Add(2 * time.Second); s.upTo.Load() < int64(before) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// receive waits at most 100 ms for a packet; ok is false when none came, and at is when that was so.
func (s *socket) receive(buffer, control []byte) (p received, ok bool) {
	n, oobn, _, from, err := unix.Recvmsg(s.fd, buffer, control, 0)
	if err != nil || n <= 0 {
		return received{at: s.clock.Now()}, false
	}
	p.data, p.at = buffer[:n], s.clock.Now()
	if a, is := from.(*unix.SockaddrInet6); is {
		p.from = netip.AddrFrom16(a.Addr)
	}
	messages, err := unix.ParseSocketControlMessage(control[:oobn])
	if err != nil {
		return p, true
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16:
			stamp := time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			// The stamp is wall-clock time: how long ago was that?
			p.at = s.clock.Now() - max(0, time.Duration(time.Now().UnixNano()-stamp.UnixNano()))
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			p.hops = int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return p, true
}

// realtime gives the present thread real-time priority, where that is allowed.
func realtime() error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}, 0)
}

// sleepUntil sleeps until an instant of the monotonic clock, in nanoseconds.
func sleepUntil(instant int64) {
	ts := unix.NsecToTimespec(instant)
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR {
	}
}

// monotonic reads the clock that sleepUntil sleeps by.
func monotonic() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// interfaceIndex finds a device in the network namespace of a socket.
func interfaceIndex(fd int, device string) (int, error) {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", device, err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, fmt.Errorf("find %s: %w", device, err)
	}
	return int(request.Uint32()), nil
}
