package heartbeat_test

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows is who may import whom inside this module; a package that is not named may import none of it.
var arrows = map[string][]string{
	"cmd/heartbeat":         {"heartbeat/wire", "heartbeat/daemon", "heartbeat/rehearsal", "heartbeat/config", "heartbeat/fault", "heartbeat/host", "heartbeat/stonith", "heartbeat/doctor", "haresources", "haresources/agent", "ha.d"},
	"heartbeat/daemon":      {"heartbeat", "heartbeat/wire", "heartbeat/config", "heartbeat/fault", "heartbeat/link", "heartbeat/stonith", "heartbeat/host", "haresources", "haresources/agent"},
	"heartbeat":             {"heartbeat/wire"},
	"heartbeat/wire":        {"heartbeat/fault"},
	"heartbeat/config":      {"heartbeat/wire", "heartbeat/fault", "heartbeat/host", "haresources"},
	"heartbeat/link":        {"heartbeat/wire", "heartbeat/fault", "heartbeat/host"},
	"heartbeat/stonith":     {"heartbeat/fault", "heartbeat/host"},
	"heartbeat/rehearsal":   {"heartbeat/config", "heartbeat/fault", "heartbeat/wire", "haresources", "ha.d"},
	"haresources":           {"heartbeat/fault"},
	"haresources/agent":     {"haresources", "heartbeat/fault", "heartbeat/host"},
	"heartbeat/host":        {"heartbeat/fault"},
	"heartbeat/fault":       {},
	"ha.d":                  {},
	"heartbeat/daemon/page": {},
}

// pure names the packages without clock, socket, file, goroutine or chance, and what of the standard library they must not touch.
var pure = []string{"heartbeat", "heartbeat/wire", "heartbeat/fault"}

var impure = []string{"os", "net", "syscall", "log", "os/exec", "sync", "time/tzdata", "runtime", "context", "crypto/rand"}

// prescribed libraries have one home each, so that replacing one is a change in one package.
var homes = map[string]string{
	"github.com/BurntSushi/toml": "heartbeat/config",
	"github.com/sirupsen/logrus": "heartbeat/daemon",
	"github.com/mdlayher/arp":    "heartbeat/host",
	"github.com/mdlayher/ndp":    "heartbeat/host",
	"github.com/cilium/ebpf":     "heartbeat/host",
}

func TestArrows(t *testing.T) {
	for dir, imports := range packages(t) {
		allowed, known := arrows[dir]
		if !known {
			allowed = arrows[filepath.Dir(dir)] // a room inside a room may do what the outer one may
			allowed = append(slices.Clone(allowed), filepath.Dir(dir))
		}
		for _, path := range imports {
			if inner, ours := strings.CutPrefix(path, "hapair/"); ours {
				sisters := !known && filepath.Dir(inner) == filepath.Dir(dir)
				if !slices.Contains(allowed, inner) && !strings.HasPrefix(inner, dir+"/") && !sisters {
					t.Errorf("%s imports %s", dir, inner)
				}
			}
			if slices.Contains(pure, dir) && slices.Contains(impure, path) && !(dir == "heartbeat/wire" && path == "sync") {
				t.Errorf("%s is pure and imports %s", dir, path)
			}
			for library, home := range homes {
				if strings.HasPrefix(path, library) && dir != home && !strings.HasPrefix(dir, home+"/") {
					t.Errorf("%s imports %s, whose home is %s", dir, path, home)
				}
			}
		}
	}
}

// packages lists the folders of the module that hold Go code, with what their non-test files import.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	list := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); name != ".." && strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "dist" {
			return filepath.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		if err != nil {
			return nil // no Go files here
		}
		dir, err := filepath.Rel("..", path)
		list[filepath.ToSlash(dir)] = p.Imports
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
