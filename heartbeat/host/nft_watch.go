package host

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// WatchNFT begins to watch the rules of the calling thread's network namespace.
func WatchNFT() (*NFTWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	if err := errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_NFTABLES),
	); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	return &NFTWatch{file: os.NewFile(uintptr(fd), "nftables"), buf: make([]byte, 64<<10)}, nil
}

// NFTWatch tells when the rules of a namespace have changed.
type NFTWatch struct {
	file *os.File
	buf  []byte
}

// Wait returns when something has changed, perhaps more than once; os.ErrClosed after Close. It is for one goroutine.
func (w *NFTWatch) Wait() error {
	_, err := w.file.Read(w.buf)
	switch {
	case errors.Is(err, unix.ENOBUFS): // more changes than fit: that something changed is all that counts
		return nil
	case errors.Is(err, os.ErrClosed):
		return os.ErrClosed
	case err != nil:
		return fmt.Errorf("watch nftables: %w", err)
	}
	return nil
}

// Close ends the watch.
func (w *NFTWatch) Close() error { return w.file.Close() }
