package haresources_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files; commit the change only if you know its cause")

const testdata = "../testdata/haresources"

// describe prints a table and its faults as a reviewer reads them.
func describe(table haresources.Table, faults fault.List) string {
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintln(&b, f.Error())
	}
	for _, g := range table.Groups {
		fmt.Fprintf(&b, "group %s of %s, line %d\n", g.Name, g.Preferred, g.Line)
		for _, r := range g.Resources {
			fmt.Fprintf(&b, "  %d:%d %s = %s|%s %q\n", r.Line, r.Col, r.Spec, r.Class, r.Name, r.Args)
		}
		for _, key := range slices.Sorted(maps.Keys(g.Pragmas)) {
			fmt.Fprintf(&b, "  pragma %s = %s\n", key, g.Pragmas[key])
		}
	}
	return b.String()
}

func TestParseGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata, "*.haresources"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			input, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer input.Close()
			got := describe(haresources.Parse(filepath.Base(file), input))
			golden := strings.TrimSuffix(file, ".haresources") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; got:\n%s", golden, got)
			}
		})
	}
}

func TestParseReadError(t *testing.T) {
	_, faults := haresources.Parse("haresources", iotest.ErrReader(os.ErrPermission))
	if got := faults.Error(); got != "haresources: error: read: permission denied" {
		t.Error(got)
	}
}

func TestParseTooLong(t *testing.T) {
	_, faults := haresources.Parse("haresources", strings.NewReader(strings.Repeat("alpha 10.0.0.1\n", 1<<20)))
	if faults.Err() == nil {
		t.Error("a file without end was read to its end")
	}
}

func TestParseThousandAddresses(t *testing.T) {
	var b strings.Builder
	b.WriteString("alpha")
	for i := range 1000 {
		fmt.Fprintf(&b, " 10.%d.%d.1/16/eth0", i/250, i%250)
	}
	table, faults := haresources.Parse("haresources", strings.NewReader(b.String()))
	if faults.Err() != nil || len(table.Groups[0].Resources) != 1000 {
		t.Fatalf("%d resources, %v", len(table.Groups[0].Resources), faults)
	}
	if len(faults) != 1 || faults[0].Severity != fault.Notice {
		t.Errorf("faults %v, want one notice on the length of the line", faults)
	}
}

func TestTableGroup(t *testing.T) {
	table, _ := haresources.Parse("haresources", strings.NewReader("alpha 10.0.0.1\nbeta 10.0.0.2 apache2\n"))
	if g, found := table.Group("10.0.0.2"); !found || g.Preferred != "beta" {
		t.Errorf("group %+v found %v", g, found)
	}
	if _, found := table.Group("10x0.0.1"); found {
		t.Error("a group was found by a pattern; keys are compared exactly")
	}
}

func TestGroupPragmaScope(t *testing.T) {
	table, faults := haresources.Parse("haresources",
		strings.NewReader("alpha 10.0.0.1 a a::x b #hapair: start-timeout=9s start-timeout@a=5s start-timeout@a::x=7s\n"))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	g := table.Groups[0]
	for i, want := range []string{"9s", "5s", "7s", "9s"} {
		if got := g.Pragma(haresources.PragmaStart, g.Resources[i]); got != want {
			t.Errorf("start-timeout of %s is %s, want %s", g.Resources[i].Spec, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10": 10 * time.Second, "1.5": 1500 * time.Millisecond, "500ms": 500 * time.Millisecond, "2m": 2 * time.Minute,
		"100us": 100 * time.Microsecond, "": -1, "soon": -1, "-1": -1, "inf": -1, "NaN": -1, "0x10": -1,
	} {
		got, err := haresources.ParseDuration(text)
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestPragmaKeysAreExplained(t *testing.T) {
	for _, k := range haresources.PragmaKeys() {
		if k.Check == nil || k.Explain == "" {
			t.Errorf("pragma %s has no check or no explanation", k.Name)
		}
	}
}

// same is what survives formatting: everything but places.
func same(t haresources.Table) haresources.Table {
	out := haresources.Table{}
	for _, g := range t.Groups {
		g.Line = 0
		g.Resources = slices.Clone(g.Resources)
		for i := range g.Resources {
			g.Resources[i].Line, g.Resources[i].Col = 0, 0
		}
		out.Groups = append(out.Groups, g)
	}
	return out
}

// FuzzParse: no input panics; every fault has a place in the file; what parses without an error survives being formatted
// and parsed again.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join(testdata, "*.haresources"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, faults := haresources.Parse("f", strings.NewReader(text))
		lines := strings.Count(text, "\n") + 1
		for _, fa := range faults {
			if fa.Line < 1 || fa.Line > lines || fa.Message == "" {
				t.Errorf("fault without a place: %v", fa)
			}
		}
		for _, g := range table.Groups {
			if len(g.Resources) == 0 || g.Preferred == "" || g.Line < 1 || g.Line > lines {
				t.Errorf("half a group: %+v", g)
			}
		}
		if faults.Err() != nil {
			return
		}
		again, faults := haresources.Parse("f", strings.NewReader(table.String()))
		if faults.Err() != nil || !reflect.DeepEqual(same(table), same(again)) {
			t.Errorf("%q\nformatted:\n%s\nfaults: %v\ngot  %+v\nwant %+v", text, table, faults, again, table)
		}
	})
}
