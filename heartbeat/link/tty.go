package link

import (
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// bauds is the speeds that ha.cf knows (protocol section 1.4), as the kernel's codes.
var bauds = map[int]uint32{
	9600: unix.B9600, 19200: unix.B19200, 38400: unix.B38400, 57600: unix.B57600,
	115200: unix.B115200, 230400: unix.B230400, 460800: unix.B460800,
}

// Bauds lists the speeds a serial link can have, ascending.
func Bauds() []int {
	list := make([]int, 0, len(bauds))
	for b := range bauds {
		list = append(list, b)
	}
	slices.Sort(list)
	return list
}

func baudCode(baud int) (uint32, error) {
	code, ok := bauds[baud]
	if !ok {
		return 0, fmt.Errorf("baud %d is none of %v", baud, Bauds())
	}
	return code, nil
}

// openTTY opens a serial device without waiting for its modem, makes it ours alone and raw. Exclusive is meant three ways,
// because each is ignored by somebody: TIOCEXCL (by root), flock (by old programs), the lock file (by new ones).
func openTTY(device string, speed uint32) (*os.File, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: device, Err: err}
	}
	if err := prepareTTY(fd, speed); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), device), nil
}

func prepareTTY(fd int, speed uint32) error {
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("this is no serial device: %w", err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w: another program has locked the device: %w", ErrInUse, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return os.NewSyscallError("set TIOCEXCL", err)
	}
	makeRaw(settings, speed)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, settings); err != nil {
		return os.NewSyscallError("set line speed and mode", err)
	}
	// A peer with hardware handshake sends only while we hold these up; a pseudo terminal has none.
	_ = unix.IoctlSetPointerInt(fd, unix.TIOCMBIS, unix.TIOCM_DTR|unix.TIOCM_RTS)
	_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIOFLUSH) // what an earlier user left
	return nil
}

// makeRaw sets eight data bits, no parity, one stop bit, no echo, no editing, no signals, carriage returns dropped; modem
// lines ignored and not dropped at close.
//
// Hardware handshake is left off although Heartbeat uses it: on Linux it guards only the kernel's own input buffer, which the
// reader never lets fill, and on a cable with three wires it would hold our frames back for ever. The eighth bit is kept
// where Heartbeat strips it: its own frames have none set, and names of ours may.
func makeRaw(t *unix.Termios, speed uint32) {
	t.Iflag = unix.IGNCR | unix.IGNBRK
	t.Oflag = 0
	t.Lflag = 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | speed
	t.Ispeed, t.Ospeed = speed, speed
	for i := range t.Cc {
		t.Cc[i] = 0
	}
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
}

// closeTTY allows others in again and closes.
func closeTTY(file *os.File, raw syscall.RawConn) error {
	_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetInt(int(fd), unix.TIOCNXCL, 0) })
	return file.Close()
}
