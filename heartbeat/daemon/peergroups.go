package daemon

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// getsockoptBytes reads a socket option of varying length, which the library has no function for.
func getsockoptBytes(fd, level, name, most int) ([]byte, error) {
	buf := make([]byte, most)
	length := uint32(most)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return nil, errno
	}
	return buf[:length], nil
}

// nativeUint32 reads a number in the byte order of this machine.
func nativeUint32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
