// Package shipped holds the example configuration that comes with the program, a firewall pair, so that it can be rehearsed
// without being installed.
package shipped

import (
	"embed"
	"io/fs"
	"strings"
)

// Files are the files of the example, with the paths they have in /etc/ha.d.
//
//go:embed ha.cf haresources authkeys resource.d firewall
var Files embed.FS

// Mode is the mode that a file of the example has to have; embedding forgets it.
func Mode(path string) fs.FileMode {
	switch {
	case path == "authkeys":
		return 0o600
	case strings.HasPrefix(path, "resource.d/"):
		return 0o755
	}
	return 0o644
}
