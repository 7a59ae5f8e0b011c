package stonith

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"hapair/heartbeat/host"
)

// lateError says that a program did not end in time.
type lateError struct{ timeout time.Duration }

// Error renders the time-out.
func (e *lateError) Error() string { return fmt.Sprintf("no answer in %v", e.timeout) }

// program is one executable that drives a device.
type program struct {
	path    string
	tag     string // before each line of the log
	env     []string
	timeout time.Duration
	log     func(Level, string)
	hidden  []string // passwords and the like, which no line may show
}

// hide has no line show what is secret in parameters: some agents write the commands that they run, passwords and all.
func (p *program) hide(list []param) {
	p.hidden = nil
	for _, s := range list {
		if secret(s.name) && len(s.value) >= shortestSecret {
			p.hidden = append(p.hidden, s.value)
		}
	}
}

// shortestSecret is how long a value is at least that is taken out of every line: shorter ones are in many words.
const shortestSecret = 4

// veil is a line without secrets.
func veil(line string, hidden []string) string {
	for _, s := range hidden {
		line = strings.ReplaceAll(line, s, "…")
	}
	return line
}

// result is what one call gave.
type result struct {
	answer []string // lines of standard output
	errors []string // lines of standard error
	err    error    // nil: exit code 0
	hidden []string // what a person must not be shown of it
}

// all is everything that the program wrote, complaints first.
func (r result) all() []string { return append(append([]string{}, r.errors...), r.answer...) }

// code is the exit code, -1 when there is none.
func (r result) code() int {
	var exit *host.ExitError
	switch {
	case r.err == nil:
		return 0
	case errors.As(r.err, &exit):
		return exit.Code
	}
	return -1
}

// keptLines bounds what is remembered of a chatty program.
const keptLines = 2000

// call runs the program once. What it writes to standard error goes to the log at once.
func (p program) call(ctx context.Context, stdin string, args ...string) result {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, &lateError{p.timeout})
	defer cancel()
	var mu sync.Mutex
	var r result
	keep := func(list *[]string, line string) {
		mu.Lock()
		defer mu.Unlock()
		if len(*list) < keptLines {
			*list = append(*list, line)
		}
	}
	err := host.Program{
		Path: p.path, Args: args, Env: p.env, Stdin: []byte(stdin), Grace: time.Second,
		Line: func(line string) { keep(&r.answer, line) },
		Errors: func(line string) {
			keep(&r.errors, line)
			p.log(Info, p.tag+": "+veil(line, p.hidden))
		},
	}.Run(ctx)
	mu.Lock()
	defer mu.Unlock()
	r.err = err
	return result{answer: r.answer, errors: r.errors, err: err, hidden: p.hidden}
}

// find looks for a program in directories and checks that it may be run: by nobody's grace but root's.
func find(device, name string, dirs []string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
		return "", fail(device, CauseMissing, "%q is no name of a program", name)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", &Failure{Device: device, Cause: CauseMissing, What: err.Error(), Remedy: remedies[CauseMissing], Err: err}
		case !info.Mode().IsRegular():
			continue
		case info.Mode()&0o111 == 0:
			return "", fail(device, CauseMode, "%s is not executable (mode %04o)", path, info.Mode().Perm())
		case info.Mode()&0o022 != 0:
			return "", fail(device, CauseWritable, "%s is writable by group or others (mode %04o) and therefore not run", path, info.Mode().Perm())
		}
		return path, nil
	}
	return "", fail(device, CauseMissing, "%s was found in none of %s", name, strings.Join(dirs, ", "))
}

// pluginDirs are where external plugins are looked for.
func (e Environment) pluginDirs() []string {
	own := e.ownDir()
	dirs := []string{own, filepath.Join(own, "external")}
	for _, lib := range []string{"/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib"} {
		dirs = append(dirs, filepath.Join(e.Root, lib, "stonith/plugins/external"))
	}
	return dirs
}

// agentDirs are where fence agents and the program `stonith` are looked for.
func (e Environment) agentDirs() []string {
	dirs := []string{e.ownDir()}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin"} {
		dirs = append(dirs, filepath.Join(e.Root, dir))
	}
	return dirs
}

// ownDir is where an administrator puts devices of his own.
func (e Environment) ownDir() string {
	dir := e.Dir
	if dir == "" {
		dir = "/etc/ha.d"
	}
	return filepath.Join(dir, "stonith.d")
}

// glueDirs are where cluster-glue keeps the programs that its plugins call (ha_log.sh).
var glueDirs = []string{"/usr/share/cluster-glue", "/usr/lib/cluster-glue", "/usr/libexec/cluster-glue", "/usr/lib/heartbeat"}

// environ is what every program gets: the daemon's choice, and a PATH that begins with cluster-glue's own programs.
func (e Environment) environ(extra ...string) []string {
	path := "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
	var env []string
	for _, v := range e.Environ {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			path = value
			continue
		}
		env = append(env, v)
	}
	for i := len(glueDirs) - 1; i >= 0; i-- {
		if info, err := os.Stat(glueDirs[i]); err == nil && info.IsDir() {
			path = glueDirs[i] + ":" + path
		}
	}
	return append(append(env, "PATH="+path), extra...)
}
