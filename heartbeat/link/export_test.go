package link

import "testing"

// SetLockDirectory makes serial links lock there for the time of one test.
func SetLockDirectory(t *testing.T, dir string) {
	t.Helper()
	old := lockDirectory
	lockDirectory = dir
	t.Cleanup(func() { lockDirectory = old })
}

// OpenHubs is how many shared receive sockets the process has.
func OpenHubs() int {
	hubs.Lock()
	defer hubs.Unlock()
	return len(hubs.open)
}
