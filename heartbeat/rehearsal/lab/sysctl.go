package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writeSysctl sets a kernel parameter of the present network namespace; one that this kernel does not have is skipped.
// It goes through the thread's own view of /proc, as the namespace is the thread's.
func writeSysctl(name, value string) error {
	err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("set sysctl %s: %w", name, err)
	}
	return nil
}
