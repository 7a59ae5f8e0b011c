package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hapair/heartbeat/config"
	"hapair/heartbeat/fault"
)

// sources are all directories of three files that this repository holds.
func sources(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(cases, "*"))
	if err != nil || len(dirs) < 50 {
		t.Fatalf("found %d cases, error %v", len(dirs), err)
	}
	dirs = append(dirs, "../../ha.d")
	examples, err := filepath.Glob("../../ha.d/examples/*/ha.cf")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		dirs = append(dirs, filepath.Dir(e))
	}
	return slices.DeleteFunc(dirs, func(dir string) bool { return extra(dir, "ha.cf") == "" || extra(dir, "heartbeat.toml") != "" })
}

// copyFiles copies the files of a case to where their modes are what they should be.
func copyFiles(t testing.TB, dir string) string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"ha.cf", "haresources", "authkeys", "heartbeat.toml"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			files[name] = string(data)
		}
	}
	return write(t, files)
}

// write makes a directory of files that only their owner may read.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestConvertEverything converts every configuration of the repository that can be started from, and reads the result from a directory of
// its own as each node does.
func TestConvertEverything(t *testing.T) {
	converted := 0
	for _, dir := range sources(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			from := copyFiles(t, dir)
			out, err := config.Convert(from)
			if errors.Is(err, config.ErrFaults) {
				if out.Faults.Err() == nil {
					t.Error("refused without an error in the files")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			converted++
			first, _ := config.Load(from)
			for _, node := range first.Nodes {
				want, _ := config.Load(from, config.WithNode(node))
				to := write(t, map[string]string{"heartbeat.toml": string(out.Text), "authkeys": extra(from, "authkeys")})
				got, faults := config.Load(to, config.WithNode(node))
				for _, f := range faults {
					if f.Severity == fault.Error && !strings.HasSuffix(f.File, "authkeys") {
						t.Errorf("%v\n%s", f, out.Text)
					}
				}
				if d := config.Differences(want, got); len(d) > 0 {
					t.Errorf("%s\n%s", strings.Join(d, "\n"), out.Text)
				}
			}
		})
	}
	if converted < 35 {
		t.Errorf("only %d configurations were converted", converted)
	}
}
