package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"hapair/heartbeat/host"
)

// tool is one call of a program of the system.
type tool struct {
	name   string
	args   []string
	stdin  string
	dir    string
	inside *host.Isolated // where it runs; nil is this machine
}

// toolDirs are where the system's programs are, behind what PATH says: a daemon's PATH often lacks sbin.
var toolDirs = []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"}

// findTool is the path of a program.
func findTool(env Environment, name string) (string, error) {
	var dirs []string
	for _, entry := range env.now().Environ {
		if path, found := strings.CutPrefix(entry, "PATH="); found {
			dirs = filepath.SplitList(path)
		}
	}
	for _, dir := range append(dirs, toolDirs...) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("the program %s is not installed", name)
}

// run runs the program to its end and returns the lines that it wrote, both to standard output and to standard error. Its
// messages are in English.
func (t tool) run(ctx context.Context, env Environment) (lines []string, err error) {
	path, err := findTool(env, t.name)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // the last line may come from another goroutine than the others
	p := host.Program{
		Path: path, Args: t.args, Dir: t.dir, Stdin: []byte(t.stdin), Env: env.environ("LC_ALL=C"),
		Ledger: env.now().Ledger, Key: strings.Join(append([]string{t.name}, t.args...), " "),
		Line: func(line string) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, line)
		},
	}
	do := p.Run
	if t.inside != nil {
		do = func(ctx context.Context) error { return t.inside.Run(ctx, p) }
	}
	err = unkillable(do(ctx))
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		err = fmt.Errorf("%s: %w", t.name, err)
	}
	return lines, err
}
