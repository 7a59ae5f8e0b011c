package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchdogFile is a watchdog device of the kernel (Documentation/watchdog/watchdog-api.rst).
type watchdogFile struct{ file *os.File }

// openWatchdogFile opens a device, which arms it.
func openWatchdogFile(path string) (*watchdogFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&os.ModeCharDevice == 0 {
		return nil, fmt.Errorf("%s is not a character device", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &watchdogFile{f}, nil
}

// watchdogInfo is the kernel's struct watchdog_info.
type watchdogInfo struct {
	Options  uint32
	Version  uint32
	Identity [32]byte
}

// Support asks WDIOC_GETSUPPORT.
func (w *watchdogFile) Support() (string, uint32, error) {
	var info watchdogInfo
	err := w.ioctl(unix.WDIOC_GETSUPPORT, unsafe.Pointer(&info))
	name, _, _ := bytes.Cut(info.Identity[:], []byte{0})
	return string(name), info.Options, err
}

// SetTimeout asks WDIOC_SETTIMEOUT, which answers with the time-out that the device can keep.
func (w *watchdogFile) SetTimeout(seconds int) (int, error) {
	value := int32(seconds)
	err := w.ioctl(unix.WDIOC_SETTIMEOUT, unsafe.Pointer(&value))
	return int(value), err
}

// Timeout asks WDIOC_GETTIMEOUT.
func (w *watchdogFile) Timeout() (int, error) {
	var value int32
	err := w.ioctl(unix.WDIOC_GETTIMEOUT, unsafe.Pointer(&value))
	return int(value), err
}

// Keepalive asks WDIOC_KEEPALIVE, and writes where a driver does not know that.
func (w *watchdogFile) Keepalive() error {
	var none int32
	err := w.ioctl(unix.WDIOC_KEEPALIVE, unsafe.Pointer(&none))
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		_, err = w.file.Write([]byte{0})
	}
	return err
}

// Disarm writes the magic letter and closes the device.
func (w *watchdogFile) Disarm() error {
	_, err := w.file.Write([]byte("V"))
	return errors.Join(err, w.file.Close())
}

// ioctl leaves the file to the runtime's care, so that it cannot be closed meanwhile.
func (w *watchdogFile) ioctl(request uint, value unsafe.Pointer) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(value))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

// watchdogStays tells whether the kernel was told never to let a watchdog be disarmed.
func watchdogStays(path string) bool {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	name := filepath.Base(path)
	if name == "watchdog" {
		name = "watchdog0" // the old name of the first one
	}
	text, err := os.ReadFile(filepath.Join("/sys/class/watchdog", name, "nowayout"))
	return err == nil && bytes.HasPrefix(text, []byte("1"))
}
