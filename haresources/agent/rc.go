package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hapair/heartbeat/host"
)

// RCTimeout bounds one script of rc.d: it delays the messages behind it, never the heartbeat.
const RCTimeout = 2 * time.Minute

// maxRCName is the longest message type that a script can be for (protocol section 8.2).
const maxRCName = 31

// RCResult says what became of a message for rc.d.
type RCResult struct {
	Path   string // the script, "" where there is none for this type of message
	Ran    bool
	Reason string // why a script that is there was not run
}

// RunRC runs the script of rc.d for a message, if there is one, as harc does: it gets the type as its argument and each
// field F as HA_F in its environment, which cannot replace a variable of env itself. fields holds string fields only. line
// is called for each line that the script writes; nil drops them. The error is that of the script. One at a time is the
// caller's duty.
func RunRC(ctx context.Context, env Environment, fields map[string]string, line func(string)) (RCResult, error) {
	kind := strings.ToLower(fields["t"])
	if kind == "" || len(kind) > maxRCName || strings.HasPrefix(kind, ".") || strings.ContainsAny(kind, "/\x00") {
		return RCResult{}, nil
	}
	path := filepath.Join(env.Paths.RCDir, kind)
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return RCResult{}, nil
	}
	if info.Mode()&0o111 == 0 {
		return RCResult{Path: path, Reason: "not executable"}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return RCResult{Path: path}, fmt.Errorf("read %s: %w", path, err)
	}
	if word := handsGroups(string(text)); word != "" {
		return RCResult{Path: path, Reason: fmt.Sprintf("calls %s, which the daemon does itself: put additions into hooks/", word)}, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, RCTimeout, fmt.Errorf("did not end within %v", RCTimeout))
	defer cancel()
	p := host.Program{Path: path, Args: []string{kind}, Env: messageEnvironment(env, fields), Line: line}
	if err := p.Run(ctx); err != nil {
		return RCResult{Path: path, Ran: true}, fmt.Errorf("%s %s: %w", path, kind, err)
	}
	return RCResult{Path: path, Ran: true}, nil
}

// handsGroups is the program by which a stock script of rc.d starts or stops groups, "" where a script calls none.
func handsGroups(text string) string {
	for _, word := range []string{"mach_down", "ResourceManager", "hb_standby"} {
		if mentions(text, word) {
			return word
		}
	}
	return ""
}

// messageEnvironment is env's environment with the fields of a message.
func messageEnvironment(env Environment, fields map[string]string) []string {
	var more []string
	for name, value := range fields {
		if variable("HA_"+name) && !strings.Contains(value, "\x00") {
			more = append(more, "HA_"+name+"="+value)
		}
	}
	slices.Sort(more)
	return env.environ(append(more, env.Environ...)...) // the last one of a name counts
}
