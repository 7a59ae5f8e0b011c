package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hapair/heartbeat/host"
)

// HookTimeout is how long each program of a hook may take, unless Environment says otherwise.
const HookTimeout = 10 * time.Second

// HookEvents are the events that hooks can be for.
var HookEvents = []string{
	"pre-acquire", "post-acquire", "pre-release", "post-release", "became-active", "became-standby", "resource-failed",
	"peer-lost", "peer-back", "split-found", "split-ended",
}

// HookEvent is what the administrator's programs are told.
type HookEvent struct {
	Event  string // one of HookEvents
	Group  string // "" where the event is not about one group
	Reason string
	Time   time.Time
	Facts  map[string]string // more of them, by lower-case name: peer, resource, action
}

// RunHook runs the executable files in hooks/EVENT.d, in the order of their names, each for at most its time. They get
// the facts as HA_EVENT, HA_EVENT_GROUP, HA_EVENT_REASON, … and as one JSON object on standard input. line is called for
// each line that one of them writes; nil drops them. One that fails does not keep the others from running; the error joins
// what went wrong, and never means that the event must not happen.
func RunHook(ctx context.Context, env Environment, e HookEvent, line func(hook, line string)) error {
	dir := filepath.Join(env.Paths.HooksDir, e.Event+".d")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	environ, stdin := e.facts(env)
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		run, err := runnable(path)
		if err != nil || !run {
			errs = append(errs, err)
			continue
		}
		p := host.Program{Path: path, Args: []string{e.Event}, Env: environ, Stdin: stdin}
		if line != nil {
			p.Line = func(text string) { line(path, text) }
		}
		if err := runLimited(ctx, p, env.HookTimeout); err != nil {
			errs = append(errs, fmt.Errorf("hook %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// runLimited runs one program of a hook within its time.
func runLimited(ctx context.Context, p host.Program, limit time.Duration) error {
	if limit <= 0 {
		limit = HookTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("did not end within %v", limit))
	defer cancel()
	return p.Run(ctx)
}

// leftovers are the endings of names that editors and package managers leave behind.
var leftovers = []string{"~", ".bak", ".orig", ".swp", ".disabled", ".rpmsave", ".rpmnew", ".dpkg-old", ".dpkg-dist", ".dpkg-new", ".dpkg-tmp"}

// runnable says whether a file in a hook's directory is to be run, and complains of one that looks as if it should be.
func runnable(path string) (bool, error) {
	name := filepath.Base(path)
	if strings.HasPrefix(name, ".") || slices.ContainsFunc(leftovers, func(end string) bool { return strings.HasSuffix(name, end) }) {
		return false, nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return false, fmt.Errorf("hook %s: %w", path, err)
	case info.IsDir(), strings.EqualFold(name, "README"):
		return false, nil
	case info.Mode()&0o111 == 0:
		return false, fmt.Errorf("hook %s is not executable: not run", path)
	}
	return true, nil
}

// facts renders the event for the environment and for standard input.
func (e HookEvent) facts(env Environment) (environ []string, stdin []byte) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	all := maps.Clone(e.Facts)
	if all == nil {
		all = map[string]string{}
	}
	all["group"], all["reason"], all["node"] = e.Group, e.Reason, env.Node
	all["time"] = e.Time.Format("2006-01-02T15:04:05.000Z07:00")
	object := map[string]any{"schema": 1, "event": e.Event}
	more := []string{"HA_EVENT=" + e.Event}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] == "" {
			continue
		}
		object[name] = all[name]
		more = append(more, "HA_EVENT_"+strings.ToUpper(name)+"="+strings.ReplaceAll(all[name], "\x00", ""))
	}
	stdin, _ = json.Marshal(object) // strings and a number: cannot fail
	return env.environ(more...), append(stdin, '\n')
}
