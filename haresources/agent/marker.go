package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hapair/haresources"
)

// marker remembers that a resource which leaves no trace on the machine was started: in a file that is gone after a boot, so
// that a new daemon knows what the one before it has done.
type marker struct{ path string }

// markerDir is where the files are when the environment does not say otherwise.
const markerDir = "/run/heartbeat/rsctmp"

// newMarker is the marker of a resource. HA_RSCTMP in the environment is the directory, as for scripts.
func newMarker(env Environment, r haresources.Resource) marker {
	dir := markerDir
	for _, entry := range env.now().Environ {
		if value, found := strings.CutPrefix(entry, "HA_RSCTMP="); found && filepath.IsAbs(value) {
			dir = value
		}
	}
	return marker{filepath.Join(dir, r.Name+"-"+mix(r.Name, strings.Join(r.Args, "\x00"))[:12])}
}

// set makes the file.
func (m marker) set() error {
	if err := os.MkdirAll(filepath.Dir(m.path), 0o755); err != nil {
		return fmt.Errorf("remember the start: %w", err)
	}
	if err := os.WriteFile(m.path, nil, 0o600); err != nil {
		return fmt.Errorf("remember the start: %w", err)
	}
	return nil
}

// clear removes the file.
func (m marker) clear() error {
	if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remember the stop: %w", err)
	}
	return nil
}

// status looks for the file.
func (m marker) status() (haresources.State, error) {
	_, err := os.Lstat(m.path)
	switch {
	case err == nil:
		return haresources.Running, nil
	case errors.Is(err, fs.ErrNotExist):
		return haresources.Stopped, nil
	}
	return haresources.Unknown, err
}
