package host

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ChangeKind is what an AddressChange tells of.
type ChangeKind int

// The kinds of change.
const (
	AddressAdded   ChangeKind = iota + 1 // or its flags changed
	AddressRemoved                       //
	DeviceChanged                        // it appeared, went up or down, gained or lost its carrier, has another name or hardware address
	DeviceGone                           //
	ChangesLost                          // the kernel had more to tell than fits: look at everything again
)

// AddressChange is one change to the addresses or interfaces of a network namespace.
type AddressChange struct {
	Kind    ChangeKind
	Address Address // of AddressAdded and AddressRemoved
	Device  Device  // of DeviceChanged and DeviceGone
}

// AddressWatch is a stream of changes.
type AddressWatch struct {
	file *os.File
	buf  []byte

	mu     sync.Mutex
	closed bool
}

// WatchAddresses begins to watch the network namespace of the calling thread: whatever changes after it has returned will be
// read.
func WatchAddresses() (*AddressWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	// A thousand addresses that are added at once make a thousand messages.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	return &AddressWatch{file: os.NewFile(uintptr(fd), "netlink"), buf: make([]byte, 32<<10)}, nil
}

// Close ends the stream: Read returns os.ErrClosed.
func (w *AddressWatch) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	return w.file.Close()
}

// Read waits for changes and appends them to list, in their order. It is for one goroutine.
func (w *AddressWatch) Read(list []AddressChange) ([]AddressChange, error) {
	n, err := w.file.Read(w.buf)
	switch {
	case errors.Is(err, unix.ENOBUFS):
		return append(list, AddressChange{Kind: ChangesLost}), nil
	case errors.Is(err, os.ErrClosed):
		return list, os.ErrClosed
	case err != nil:
		return list, fmt.Errorf("watch addresses: %w", err)
	}
	err = walk(w.buf[:n], func(h unix.NlMsghdr, body []byte) error {
		if c, ok := parseChange(h.Type, body); ok {
			list = append(list, c)
		}
		return nil
	})
	return list, err
}

// parseChange decodes one message.
func parseChange(kind uint16, body []byte) (c AddressChange, ok bool) {
	switch kind {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		c.Kind = AddressAdded
		if kind == unix.RTM_DELADDR {
			c.Kind = AddressRemoved
		}
		c.Address, ok = parseAddress(body)
		return c, ok
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(body) < unix.SizeofIfInfomsg || body[0] != unix.AF_UNSPEC {
			return c, false // a bridge tells of its ports in messages of another family
		}
		c.Kind = DeviceChanged
		if kind == unix.RTM_DELLINK {
			c.Kind = DeviceGone
		}
		c.Device = parseDevice(body)
		return c, c.Device.Index > 0
	}
	return c, false
}
