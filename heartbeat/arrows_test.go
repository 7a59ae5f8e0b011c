package heartbeat_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// arrows is who may import whom inside this module; a package that is not named may import what the package around it may, that package,
// and the other packages in it. Tests may go against the arrows.
var arrows = map[string][]string{
	"cmd/heartbeat":       {"heartbeat/wire", "heartbeat/daemon", "heartbeat/rehearsal", "heartbeat/config", "heartbeat/fault", "heartbeat/host", "heartbeat/stonith", "haresources"},
	"heartbeat/daemon":    {"heartbeat", "heartbeat/wire", "heartbeat/config", "heartbeat/fault", "heartbeat/link", "heartbeat/stonith", "heartbeat/host", "haresources", "haresources/agent"},
	"heartbeat":           {"heartbeat/wire"},
	"heartbeat/wire":      {"heartbeat/fault"},
	"heartbeat/config":    {"heartbeat/wire", "heartbeat/fault", "haresources"},
	"heartbeat/link":      {"heartbeat/wire", "heartbeat/fault", "heartbeat/host"},
	"heartbeat/stonith":   {"heartbeat/fault", "heartbeat/host"},
	"heartbeat/rehearsal": {"heartbeat/wire", "heartbeat/config", "heartbeat/fault", "haresources", "ha.d"},
	"haresources":         {"heartbeat/fault"},
	"haresources/agent":   {"haresources", "heartbeat/fault", "heartbeat/host"},
	"heartbeat/host":      {"heartbeat/fault"},
	"heartbeat/fault":     {},
	"ha.d":                {},
}

// forTests is the package that only tests may import: the program carries no testing.
const forTests = "heartbeat/rehearsal/require"

// pure names the packages without clock, socket, file, goroutine or chance, and computing is all that they may use of the standard
// library. What they take from time are durations; from math/rand/v2 a source that the caller has seeded.
var (
	pure      = []string{"heartbeat", "heartbeat/wire", "heartbeat/fault"}
	computing = []string{"bytes", "cmp", "errors", "fmt", "io", "iter", "maps", "math", "math/bits", "math/rand/v2", "slices", "strconv", "strings", "time", "unicode", "unicode/utf8",
		"compress/bzip2", "compress/zlib", "crypto/hmac", "crypto/md5", "crypto/sha1", "crypto/sha256", "crypto/sha512", "crypto/subtle", "encoding/base64", "encoding/binary", "encoding/hex", "hash", "hash/fnv"}
	// sync.Pool keeps the hashes of wire, and what it hands out makes no difference to any result.
	excepted  = map[string]string{"heartbeat/wire": "sync"}
	seeded    = []string{"New", "NewPCG", "Rand", "PCG"}
	clockless = []string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour", "ParseDuration", "Time", "Unix", "UnixMilli", "RFC3339", "RFC3339Nano", "UTC"}
)

// homes says where each library lives, so that replacing one is a change in one package. The laboratory has a second netlink: it builds the
// networks of other machines, and must work where host is what is being tested.
var homes = map[string][]string{
	"charm.land/":                    {"cmd/heartbeat"},
	"github.com/BurntSushi/toml":     {"heartbeat/config"},
	"github.com/cilium/ebpf":         {"heartbeat/host"},
	"github.com/coreos/go-systemd":   {"haresources/agent"},
	"github.com/mdlayher/":           {"heartbeat/host"},
	"github.com/sirupsen/logrus":     {"heartbeat/daemon"},
	"github.com/spf13/":              {"cmd/heartbeat"},
	"github.com/vishvananda/netlink": {"heartbeat/host", "heartbeat/rehearsal/lab"},
	"github.com/vishvananda/netns":   {"heartbeat/host", "heartbeat/rehearsal/lab"},
	"golang.org/x/net":               {"heartbeat/host"},
	"golang.org/x/sync":              {"heartbeat/rehearsal"},
}

func TestArrows(t *testing.T) {
	list := packages(t)
	for dir, p := range list {
		for _, path := range p.Imports {
			if inner, ours := strings.CutPrefix(path, "hapair/"); ours {
				if !mayImport(dir, inner) || inner == forTests {
					t.Errorf("%s imports %s", dir, inner)
				}
				continue
			}
			if path == "testing" && dir != forTests {
				t.Errorf("%s imports testing outside of its tests", dir)
			}
			if slices.Contains(pure, dir) && !slices.Contains(computing, path) && excepted[dir] != path {
				t.Errorf("%s is pure and imports %s", dir, path)
			}
			if home := homeOf(path); strings.Contains(path, ".") && !strings.HasPrefix(path, "golang.org/x/sys/") && !slices.Contains(home, dir) {
				t.Errorf("%s imports %s, whose home is %v", dir, path, home)
			}
		}
	}
	for dir, allowed := range arrows {
		p, there := list[dir]
		if !there {
			t.Errorf("there is no package %s, which has arrows", dir)
			continue
		}
		for _, inner := range allowed {
			if !slices.ContainsFunc(p.Imports, func(path string) bool { return path == "hapair/"+inner }) {
				t.Errorf("%s does not import %s: the arrow can go", dir, inner)
			}
		}
	}
}

// mayImport says whether there is an arrow from one package to another.
func mayImport(dir, inner string) bool {
	around := filepath.Dir(dir)
	allowed, known := arrows[dir]
	if !known {
		allowed = append(slices.Clone(arrows[around]), around)
		if filepath.Dir(inner) == around {
			return true
		}
	}
	_, elsewhere := arrows[inner]
	return slices.Contains(allowed, inner) || strings.HasPrefix(inner, dir+"/") && !elsewhere
}

// homeOf is where a library lives; a library that is in no home is in none by right.
func homeOf(path string) []string {
	for library, home := range homes {
		if strings.HasPrefix(path, library) {
			return home
		}
	}
	return nil
}

// TestPureCode: an import says little about time and chance, and nothing about goroutines.
func TestPureCode(t *testing.T) {
	list := packages(t)
	for _, dir := range pure {
		for _, name := range list[dir].GoFiles {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, filepath.Join("..", dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
					t.Errorf("%s is pure and has a goroutine or a channel", set.Position(n.Pos()))
				case *ast.SelectorExpr:
					of, ok := n.X.(*ast.Ident)
					if ok && of.Name == "time" && !slices.Contains(clockless, n.Sel.Name) || ok && of.Name == "rand" && !slices.Contains(seeded, n.Sel.Name) {
						t.Errorf("%s is pure and uses %s.%s", set.Position(n.Pos()), of.Name, n.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// longest is how many lines a function of the program may have: what one can see at a time.
const longest = 80

// TestFunctionsAreShort keeps functions from growing into what nobody reads any more.
func TestFunctionsAreShort(t *testing.T) {
	for dir, p := range packages(t) {
		for _, name := range p.GoFiles {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, filepath.Join("..", dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				if lines := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1; lines > longest {
					t.Errorf("%s: %s has %d lines, more than %d", set.Position(f.Pos()), f.Name.Name, lines, longest)
				}
			}
		}
	}
}

// TestMapsNameFiles: where a package's comment says where to look, the files are there.
func TestMapsNameFiles(t *testing.T) {
	named := regexp.MustCompile(`\b[a-z_]+[*]?\.go\b`)
	for dir := range packages(t) {
		text, err := os.ReadFile(filepath.Join("..", dir, "doc.go"))
		if err != nil {
			continue
		}
		for _, name := range named.FindAllString(string(text), -1) {
			if found, _ := filepath.Glob(filepath.Join("..", dir, name)); len(found) == 0 {
				t.Errorf("%s/doc.go names %s, which is not there", dir, name)
			}
		}
	}
}

// packages lists the folders of the module that hold Go code.
func packages(t *testing.T) map[string]*build.Package {
	t.Helper()
	list := map[string]*build.Package{}
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
		list[filepath.ToSlash(dir)] = p
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
