package host

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Changes tells that something of one kind has changed in a network namespace, but not what.
type Changes struct {
	file *os.File
	buf  []byte
}

// WatchNFT begins to watch the nftables rules of the calling thread's network namespace.
func WatchNFT() (*Changes, error) {
	return watchGroups("nftables", unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
}

// WatchRouting begins to watch routes, rules, addresses and interfaces of the calling thread's network namespace.
func WatchRouting() (*Changes, error) {
	return watchGroups("routes", unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
}

// watchGroups joins multicast groups of a netlink protocol.
func watchGroups(what string, protocol int, groups ...int) (*Changes, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", what, err)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, g := range groups {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch %s: %w", what, err)
	}
	return &Changes{file: os.NewFile(uintptr(fd), what), buf: make([]byte, 64<<10)}, nil
}

// Wait returns when something has changed, perhaps more than once; os.ErrClosed after Close. It is for one goroutine.
func (w *Changes) Wait() error {
	_, err := w.file.Read(w.buf)
	switch {
	case errors.Is(err, unix.ENOBUFS): // more changes than fit: that something changed is all that counts
		return nil
	case errors.Is(err, os.ErrClosed):
		return os.ErrClosed
	case err != nil:
		return fmt.Errorf("watch %s: %w", w.file.Name(), err)
	}
	return nil
}

// Close ends the watch.
func (w *Changes) Close() error { return w.file.Close() }
