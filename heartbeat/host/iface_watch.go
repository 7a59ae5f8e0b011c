package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// LinkChange says that something about an interface changed: it came, went, was renamed, set up or down, gained or lost its
// carrier, or an address was added or removed. It carries no state: whoever cares looks the interface up afresh, so that a
// change that was lost or reordered does no harm.
type LinkChange struct {
	Index int    // of the interface; 0 means that changes were lost and anything may be different (resynchronise)
	Name  string // "" where the kernel's message does not tell it (address changes)
	Gone  bool   // the interface was removed, or moved to another namespace
}

// watchBuffer is how many changes wait for a reader before they are folded into one LinkChange{} (resynchronise).
const watchBuffer = 64

// netlinkBuffer is the receive buffer asked for: a firewall that loads a thousand addresses makes a thousand messages.
const netlinkBuffer = 1 << 20

// WatchLinks reports every change to interfaces and addresses in the network namespace of the calling thread, from the time
// it returns until ctx ends; then the channel is closed. A reader that is too slow gets a LinkChange with Index 0 instead of
// what it missed, and so it does when the kernel itself ran out of buffer (ENOBUFS): it then looks at everything again.
//
// It blocks in one read and costs nothing while nothing changes.
func WatchLinks(ctx context.Context) (<-chan LinkChange, error) {
	fd, err := watchSocket()
	if err != nil {
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	w := &linkWatch{raw: raw, out: make(chan LinkChange, watchBuffer)}
	stop := context.AfterFunc(ctx, func() { file.Close() })
	go func() {
		defer stop()
		defer file.Close()
		defer close(w.out)
		w.run(ctx)
	}()
	return w.out, nil
}

func watchSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	setReceiveBuffer(fd, netlinkBuffer)
	return fd, nil
}

// linkWatch is one running WatchLinks.
type linkWatch struct {
	raw  syscall.RawConn
	out  chan LinkChange
	lost bool // something was dropped: a LinkChange{} is owed before anything else
	buf  [32 << 10]byte
}

func (w *linkWatch) run(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := w.read()
		switch {
		case err == nil:
			w.parse(w.buf[:n])
		case errors.Is(err, unix.ENOBUFS):
			w.lost = true
		case errors.Is(err, unix.EINTR):
		default:
			return // closed: ctx ended
		}
		w.repay()
	}
}

func (w *linkWatch) read() (n int, err error) {
	rerr := w.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), w.buf[:], 0)
		return !errors.Is(err, unix.EAGAIN)
	})
	if rerr != nil {
		return 0, rerr
	}
	return n, err
}

// repay delivers an owed resynchronisation. The place that the lost change did not get is free again only once the reader has
// taken something, so the queue is emptied for it: what was in it is covered by "anything may be different".
func (w *linkWatch) repay() {
	for w.lost {
		select {
		case w.out <- LinkChange{}:
			w.lost = false
		default:
			select {
			case <-w.out:
			default:
			}
		}
	}
}

// parse walks the messages of one read. A message that makes no sense ends the walk: it is the kernel's, there is no other
// sender, and the next one is looked at afresh.
func (w *linkWatch) parse(data []byte) {
	for len(data) >= unix.NLMSG_HDRLEN {
		length := int(binary.NativeEndian.Uint32(data))
		if length < unix.NLMSG_HDRLEN || length > len(data) {
			return
		}
		w.message(binary.NativeEndian.Uint16(data[4:]), data[unix.NLMSG_HDRLEN:length])
		data = data[min((length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(data)):]
	}
}

func (w *linkWatch) message(kind uint16, body []byte) {
	var change LinkChange
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(body) < unix.SizeofIfInfomsg {
			return
		}
		info := (*unix.IfInfomsg)(unsafe.Pointer(&body[0]))
		change = LinkChange{Index: int(info.Index), Name: linkName(body), Gone: kind == unix.RTM_DELLINK}
		if change.Gone && info.Family == unix.AF_BRIDGE {
			change.Gone = false // it left a bridge, not the machine
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(body) < unix.SizeofIfAddrmsg {
			return
		}
		change.Index = int((*unix.IfAddrmsg)(unsafe.Pointer(&body[0])).Index)
	default:
		return
	}
	select {
	case w.out <- change:
	default:
		w.lost = true
	}
}

func linkName(body []byte) string {
	attrs, err := nl.ParseRouteAttr(body[unix.SizeofIfInfomsg:])
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_IFNAME {
			return unix.ByteSliceToString(a.Value)
		}
	}
	return ""
}
