package rehearsal

import (
	"regexp"
	"strings"
)

// How Heartbeat, and hapair with an ha.cf, log: month, day, time, host, program, process, level, text; and how their scripts do.
var (
	daemonLine = regexp.MustCompile(`^(?:[A-Z][a-z]{2} [ 0-9]\d [\d:.]+ \S+ )?heartbeat(?:\[\d+\])?: (?:\[\d+\]: )?(\w+): (.*)$`)
	scriptLine = regexp.MustCompile(`^(\S+?)\((\S*?)\)\[\d+\]:\s+\d{4}/\d\d/\d\d_[\d:]+ (\w+): (.*)$`)
	scriptOld  = regexp.MustCompile(`^\d{4}/\d\d/\d\d_[\d:]+\s+(\w+)(?:\(\S*\))?\[\d+\]:\s+(.*)$`)

	// longName is a resource with arguments, which as the name of a group makes every line too long.
	longName = regexp.MustCompile(`\b([A-Z]\w+)::\S{30,}`)
)

// telling are the words of log lines at level info that belong in a time line.
var telling = []string{
	"is dead", "takeover", "take over", "took over", "acquir", "releas", "standby", "shutdown", "returning after partition", "resources",
	"Status update", "status", "link", "Running", "restart", "peer", "silent", "announc", "stop", "start", "group", "failback", "owns", "split",
}

// dull are lines that are not shown all the same.
var dull = []string{"Configuration validated", "Gmain_timeout", "Pacemaker support", "AUTH:", "Initial dead time", "core dump", "Core", "G_main", "harc",
	"Logging daemon is disabled", "Consider setting", "Cannot lock ourselves", "No Previous generation", "No local resources", "may be too small", "Resource is stopped", "ip-request-resp",
	"Comm_now_up", "set to: 'up'", ": status up", ": status init", "leads to this node itself", "started on port"}

// shortLog strips from a log line what the time line says already, and says whether it is worth showing.
func shortLog(line string) (text string, show bool) {
	level, text := "info", line
	if m := daemonLine.FindStringSubmatch(line); m != nil {
		level, text = m[1], m[2]
	} else if m := scriptLine.FindStringSubmatch(line); m != nil {
		level, text = m[3], m[1]+": "+m[4]
	} else if m := scriptOld.FindStringSubmatch(line); m != nil {
		text = m[1] + ": " + m[2]
	}
	text = longName.ReplaceAllString(text, "$1::…")
	for _, word := range dull {
		if strings.Contains(text, word) {
			return text, false
		}
	}
	if strings.EqualFold(level, "debug") {
		return text, false
	}
	if !strings.EqualFold(level, "info") {
		return level + ": " + text, true
	}
	for _, word := range telling {
		if strings.Contains(text, word) {
			return text, true
		}
	}
	return text, false
}
