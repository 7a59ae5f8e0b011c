package link

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/host"
)

// What can be wrong with a link. Test with errors.Is; the message carries the kernel's words too.
var (
	ErrGone       = errors.New("the device or its address is gone")
	ErrDown       = errors.New("the device is down")
	ErrPermission = errors.New("this machine forbids it")
	ErrNoRoute    = errors.New("no way to the peer from this machine at the moment")
	ErrTimeout    = errors.New("the medium did not take the frame in time")
	ErrTooLong    = errors.New("frame too long for the medium")
	ErrOwnAddress = errors.New("the peer's address is this machine's own")
	ErrInUse      = errors.New("in use by another program")
	ErrClosed     = errors.New("link closed")
)

// classes maps the kernel's errors to ours, first match wins.
var classes = []struct {
	class  error
	causes []error
}{
	{ErrClosed, []error{os.ErrClosed}},
	{ErrGone, []error{host.ErrNoInterface, unix.ENODEV, unix.ENXIO, unix.EIO, unix.ENOENT, io.EOF}},
	{ErrNoRoute, []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.ENETDOWN, unix.EHOSTDOWN}},
	{ErrInUse, []error{unix.EADDRINUSE, unix.EBUSY}},
	{ErrPermission, []error{unix.EPERM, unix.EACCES}},
	{ErrTimeout, []error{os.ErrDeadlineExceeded, unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM}},
	{ErrTooLong, []error{unix.EMSGSIZE}},
}

// classify puts the class in front of an error that has none yet.
func classify(err error) error {
	for _, c := range classes {
		if errors.Is(err, c.class) {
			return err
		}
	}
	if errors.Is(err, ErrOwnAddress) {
		return err
	}
	for _, c := range classes {
		for _, cause := range c.causes {
			if errors.Is(err, cause) {
				return fmt.Errorf("%w: %w", c.class, err)
			}
		}
	}
	return err
}

// sendError says what a Send ran into, and for the machine's own firewall what to do.
func sendError(spec *Spec, err error) error {
	err = classify(err)
	switch {
	case errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("send on %s: %w: its own firewall drops outgoing heartbeats", spec.ID, err)
	}
	return fmt.Errorf("send on %s: %w", spec.ID, err)
}
