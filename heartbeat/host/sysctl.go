package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoSysctl says that the kernel has no such setting: most often its interface is gone.
var ErrNoSysctl = errors.New("no such sysctl")

// ReadSysctl reads a setting of the network namespace of the calling thread; key is a path below /proc/sys, such as
// net/ipv4/conf/eth0.5/arp_ignore. Its error wraps ErrNoSysctl when there is none.
func ReadSysctl(key string) (string, error) {
	text, err := os.ReadFile(filepath.Join("/proc/sys", key))
	if err != nil {
		return "", sysctlError("read", key, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// WriteSysctl changes a setting and reads it back. Its error wraps ErrNoSysctl when there is none.
func WriteSysctl(key, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0); err != nil {
		return sysctlError("set", key, err)
	}
	now, err := ReadSysctl(key)
	if err != nil {
		return err
	}
	if now != value {
		return fmt.Errorf("set sysctl %s: it is %s, not %s, after it was written", key, now, value)
	}
	return nil
}

func sysctlError(verb, key string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w %s", ErrNoSysctl, key)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "read-only") {
		return fmt.Errorf("%s sysctl %s: %w (in a container: make /proc/sys writable, or set it outside)", verb, key, err)
	}
	return fmt.Errorf("%s sysctl %s: %w", verb, key, err)
}
