package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hapair/haresources"
	"hapair/heartbeat/config"
	"hapair/heartbeat/rehearsal/require"
)

var update = flag.Bool("update", false, "write the parts of docs/man that come from the program anew")

// roff makes text safe for a manual page: no line of it is an order, no character an escape.
func roff(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, `\`, `\e`), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
		lines[i] = strings.ReplaceAll(lines[i], "-", `\-`)
	}
	return strings.Join(lines, "\n")
}

var sentenceEnd = regexp.MustCompile(`([\w)"\x60][.?!]) +`)

// prose is roff for running text, in which each sentence begins a line.
func prose(text string) string { return roff(sentenceEnd.ReplaceAllString(text, "$1\n")) }

// commandPage describes a command and those below it.
func commandPage(out *strings.Builder, c *cobra.Command) {
	if c.HasParent() {
		fmt.Fprintf(out, ".Ss %s\n", roff(c.UseLine()))
		long := c.Long
		if long == "" {
			long = c.Short + "."
		}
		for i, paragraph := range strings.Split(strings.TrimSpace(long), "\n\n") {
			if i > 0 {
				out.WriteString(".Pp\n")
			}
			fmt.Fprintln(out, prose(paragraph))
		}
		var flags strings.Builder
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" || c.InheritedFlags().Lookup(f.Name) != nil {
				return
			}
			name, usage := pflag.UnquoteUsage(f)
			flags.WriteString(".It ")
			if f.Shorthand != "" {
				fmt.Fprintf(&flags, "Fl %s , ", f.Shorthand)
			}
			fmt.Fprintf(&flags, "Fl \\-%s", roff(f.Name))
			if name != "" {
				fmt.Fprintf(&flags, " Ar %s", name)
			}
			fmt.Fprintf(&flags, "\n%s", prose(usage))
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
				fmt.Fprintf(&flags, " (default %s)", roff(f.DefValue))
			}
			flags.WriteString("\n")
		})
		if flags.Len() > 0 {
			fmt.Fprintf(out, ".Bl -tag -width Ds\n%s.El\n", flags.String())
		}
	}
	for _, child := range c.Commands() {
		if child.IsAvailableCommand() && child.Name() != "help" {
			commandPage(out, child)
		}
	}
}

// generated are the parts of the pages that come from the program, by page and name.
func generated(t *testing.T) map[string]string {
	t.Helper()
	var commands, pragmas, linePragmas strings.Builder
	commandPage(&commands, (&app{}).root())
	pragmas.WriteString(".Bl -tag -width Ds\n")
	for _, k := range config.PragmaKeys() {
		fmt.Fprintf(&pragmas, ".It %s= Ns Ar %s\n%s.\n", "Cm "+roff(k.Name), strings.ReplaceAll(k.Kind, "|", " | "), roff(sentence(k.Explain)))
		if k.Default != "" {
			fmt.Fprintf(&pragmas, "Default %s.\n", roff(k.Default))
		}
	}
	pragmas.WriteString(".El\n")
	linePragmas.WriteString(".Bl -tag -width Ds\n")
	for _, k := range haresources.PragmaKeys() {
		scope := ""
		if k.Scoped {
			scope = " Ns Oo @ Ns Ar resource Oc"
		}
		fmt.Fprintf(&linePragmas, ".It Cm %s%s Ns = Ns Ar value\n%s.\n", roff(k.Name), scope, roff(sentence(k.Explain)))
	}
	linePragmas.WriteString(".El\n")
	reference, err := os.ReadFile("../../ha.d/heartbeat.toml.reference")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../haresources/agent/kinds.go")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, m := range regexp.MustCompile(`(?m)^\t"(\w+)": +open`).FindAllStringSubmatch(string(source), -1) {
		kinds = append(kinds, m[1])
	}
	return map[string]string{
		"heartbeat.8 commands":       commands.String(),
		"ha.cf.5 pragmas":            pragmas.String(),
		"haresources.5 pragmas":      linePragmas.String(),
		"haresources.5 kinds":        ".Cm " + strings.Join(kinds, " , ") + "\nneed no script.\n",
		"heartbeat.toml.5 reference": roff(strings.TrimRight(string(reference), "\n")) + "\n",
		"cl_status.1 help":           roff(clHelp),
	}
}

// sentence begins with a capital letter.
func sentence(text string) string {
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".")
}

// TestManualPagesAreCurrent: what the pages say of commands, flags, pragmas and keys is what the program has. go test -update writes it.
func TestManualPagesAreCurrent(t *testing.T) {
	for place, want := range generated(t) {
		page, name, _ := strings.Cut(place, " ")
		path := filepath.Join("../../docs/man", page)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		begin, end := fmt.Sprintf(".\\\" begin %s\n", name), fmt.Sprintf(".\\\" end %s\n", name)
		before, rest, found := strings.Cut(string(text), begin)
		got, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Errorf("%s has no place for %s", page, name)
			continue
		}
		if got == want {
			continue
		}
		if !*update {
			t.Errorf("%s: %s are not those of the program: go test ./cmd/heartbeat -run Manual -update", page, name)
			continue
		}
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManualPagesNameEveryDirective: no directive of ha.cf is without a word, and none is invented.
func TestManualPagesNameEveryDirective(t *testing.T) {
	source, err := os.ReadFile("../../heartbeat/config/directive.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/man/ha.cf.5")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"udp": true, "hbaping": true, "rds": true, "tipc": true, "openais": true}
	for _, m := range regexp.MustCompile(`\{name: "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		known[m[1]] = true
	}
	if len(known) < 50 {
		t.Fatalf("only %d directives were found", len(known))
	}
	for name := range known {
		if !regexp.MustCompile(`\b` + name + `\b`).Match(page) {
			t.Errorf("ha.cf(5) does not mention %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\.It Cm (\w+) `).FindAllStringSubmatch(strings.Split(string(page), ".Sh PRAGMAS")[0], -1) {
		if !known[m[1]] {
			t.Errorf("ha.cf(5) explains %s, which is no directive", m[1])
		}
	}
}

// TestManualPagesAreWellFormed has mandoc and man look at each page.
func TestManualPagesAreWellFormed(t *testing.T) {
	pages, _ := filepath.Glob("../../docs/man/*.[1-8]")
	if len(pages) < 8 {
		t.Fatalf("there are only the pages %v", pages)
	}
	for _, tool := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"man", "--warnings", "-l", "-Tutf8"}} {
		t.Run(tool[0], func(t *testing.T) {
			require.Tool(t, tool[0], "the manual pages")
			for _, page := range pages {
				cmd := exec.Command(tool[0], append(tool[1:], page)...)
				cmd.Env = append(os.Environ(), "MANROFFSEQ=", "MANWIDTH=100", "LC_ALL=C.UTF-8")
				cmd.Dir, _ = filepath.Abs("../../docs/man")
				cmd.Args[len(cmd.Args)-1] = filepath.Base(page)
				if strings.HasPrefix(string(mustRead(t, page)), ".so ") {
					continue // a second name of another page, found only where they are installed
				}
				var said bytes.Buffer
				cmd.Stderr = &said
				if tool[0] == "mandoc" {
					cmd.Stdout = &said
				}
				if err := cmd.Run(); err != nil || said.Len() > 0 {
					t.Errorf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, said.String())
				}
			}
		})
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
