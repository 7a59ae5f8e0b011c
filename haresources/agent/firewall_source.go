package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
)

// ruleSource is the rules of one role as they stand in files.
type ruleSource struct {
	files  []ruleFile
	digest string // of all of it, included files too; changes when any of them does
}

// ruleFile is one file.
type ruleFile struct {
	path string
	text []byte
}

// maxRules bounds the size of one file: larger ones are not meant to be rules.
const maxRules = 16 << 20

// readRules reads the rules in a file, or in all files NAME.nft of a directory in the order of their names.
func readRules(path string) (s ruleSource, err error) {
	paths := []string{path}
	if info, err := os.Stat(path); err != nil {
		return s, fault.Fault{File: path, Severity: fault.Error, Message: "cannot read the rules: " + cause(err), Hint: "write a file for nft there"}
	} else if info.IsDir() {
		if paths, err = filepath.Glob(filepath.Join(globQuote(path), "*.nft")); err == nil && len(paths) == 0 {
			return s, fault.Fault{File: path, Severity: fault.Error, Message: "no file *.nft in this directory of rules"}
		}
	}
	slices.Sort(paths)
	sum := sha256.New()
	for _, p := range paths {
		text, err := readRuleFile(p)
		if err != nil {
			return s, fault.Fault{File: p, Severity: fault.Error, Message: "cannot read the rules: " + cause(err)}
		}
		s.files = append(s.files, ruleFile{p, text})
		addToDigest(sum, p, text)
		digestIncludes(sum, filepath.Dir(p), text, 0)
	}
	s.digest = hex.EncodeToString(sum.Sum(nil))[:16]
	return s, nil
}

// cause is an error of the file system without the path, which the caller names.
func cause(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// globQuote makes a pattern that matches exactly a path.
func globQuote(path string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(path, `\$0`)
}

func readRuleFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > maxRules {
		return nil, fmt.Errorf("larger than %d MiB", maxRules>>20)
	}
	return os.ReadFile(path)
}

func addToDigest(sum hash.Hash, path string, text []byte) {
	fmt.Fprintf(sum, "%s\x00%d\x00", path, len(text))
	sum.Write(text)
}

// includeLine finds the file that a line of a ruleset includes. A name with a variable in it is not followed: a change of
// such a file goes unnoticed until the file that includes it changes.
var includeLine = regexp.MustCompile(`(?m)^\s*include\s+["']([^"'$]+)["']`)

// digestIncludes adds included files to the digest. One that cannot be read is nft's to complain about.
func digestIncludes(sum hash.Hash, dir string, text []byte, depth int) {
	if depth > 16 {
		return
	}
	for _, m := range includeLine.FindAllSubmatch(text, -1) {
		name := string(m[1])
		candidates := []string{name}
		if !filepath.IsAbs(name) {
			candidates = []string{filepath.Join(dir, name), filepath.Join("/etc", name)}
		}
		for _, pattern := range candidates {
			paths, _ := filepath.Glob(pattern)
			for _, p := range paths {
				if included, err := readRuleFile(p); err == nil {
					addToDigest(sum, p, included)
					digestIncludes(sum, dir, included, depth+1)
				}
			}
			if len(paths) > 0 {
				break
			}
		}
	}
}

// script is the rules as nft reads them.
func (s ruleSource) script(ctx context.Context, env Environment) (string, error) {
	var b strings.Builder
	for _, f := range s.files {
		if !f.legacy() {
			fmt.Fprintf(&b, "include %q\n", f.path)
			continue
		}
		text, err := f.translate(ctx, env)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// legacy says whether the file was written by iptables-save: its first word is a table with a star before it.
func (f ruleFile) legacy() bool {
	for line := range bytes.Lines(f.text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' {
			return line[0] == '*'
		}
	}
	return false
}

// legacyIPv6 says whether such a file is for ip6tables: it says so itself, or its name ends in 6 or v6.rules.
func (f ruleFile) legacyIPv6() bool {
	if bytes.Contains(f.text, []byte("ip6tables-save")) {
		return true
	}
	name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(f.path), ".rules"), ".nft")
	return strings.HasSuffix(name, "6") || strings.Contains(name, "ip6tables")
}

// translate has the system's converter write the rules for nft. A rule that it cannot express is an error: a firewall with
// a rule missing is none.
func (f ruleFile) translate(ctx context.Context, env Environment) (string, error) {
	name := "iptables-restore-translate"
	if f.legacyIPv6() {
		name = "ip6tables-restore-translate"
	}
	text, err := convert(ctx, env, name, f.path)
	if err != nil {
		return "", f.located(0, "cannot be converted for nft: "+err.Error())
	}
	for line := range strings.Lines(text) {
		if rest, lost := strings.CutPrefix(line, "# -t "); lost {
			_, rule, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return "", f.located(f.lineOf(rule), "nft has no word for this rule of iptables: "+rule)
		}
	}
	return text, nil
}

// convert runs the converter. Its output goes through a file: it may be long.
func convert(ctx context.Context, env Environment, name, path string) (string, error) {
	program, err := findTool(env, name)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "hapair-rules-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out")
	lines, err := tool{name: "sh", args: []string{"-c", `exec "$0" -f "$1" > "$2"`, program, path, out}}.run(ctx, env)
	if err != nil {
		if len(lines) > 0 {
			return "", errors.New(lines[0])
		}
		return "", err
	}
	text, err := os.ReadFile(out)
	return string(text), err
}

// lineOf finds a rule, as the converter prints it, in the file; 0 when it is not there.
func (f ruleFile) lineOf(rule string) int {
	scanner := bufio.NewScanner(bytes.NewReader(f.text))
	for n := 1; scanner.Scan(); n++ {
		if strings.Join(strings.Fields(scanner.Text()), " ") == strings.Join(strings.Fields(rule), " ") {
			return n
		}
	}
	return 0
}

func (f ruleFile) located(line int, message string) error {
	return fault.Fault{File: f.path, Line: line, Severity: fault.Error, Message: message, Hint: "write the rules for nft"}
}

// nftFault finds the first error in what nft has written: FILE:LINE:COLUMN-COLUMN: Error: TEXT.
var nftFault = regexp.MustCompile(`^(?:internal:0:0-0: )?(.+?):(\d+):(\d+)-\d+: Error: (.+)$`)

// locate turns what nft has written into a fault at its place, or err where that says nothing.
func locate(lines []string, err error) error {
	for _, line := range lines {
		m := nftFault.FindStringSubmatch(line)
		if m == nil || m[1] == "/dev/stdin" {
			continue
		}
		f := fault.Fault{File: m[1], Severity: fault.Error, Message: m[4]}
		fmt.Sscan(m[2], &f.Line)
		fmt.Sscan(m[3], &f.Col)
		if f.Message == "Interface does not exist" {
			f.Hint = "iifname and oifname match by name, also one that appears later"
		}
		return f
	}
	if len(lines) > 0 {
		return fmt.Errorf("%w: %s", err, strings.Join(lines[:min(len(lines), 3)], " | "))
	}
	return err
}
