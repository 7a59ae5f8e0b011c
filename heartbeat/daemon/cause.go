package daemon

import "strings"

// causes sort the reasons that the core gives for taking and giving a group, for figures: the first that a reason contains is its cause. The
// words are those of package heartbeat; a test holds them against its scenarios.
var causes = []struct{ words, cause string }{
	{"failed: ", "resource-failed"},
	{"is not fit", "check"},
	{"ipfail", "connectivity"},
	{"asked for", "request"},
	{"holds it too", "split"},
	{"stood still", "stall"},
	{"service network", "stall"}, // the peer took over meanwhile
	{"isolated", "isolated"},
	{"was not heard within initdead", "peer-silent"},
	{"is dead", "peer-dead"},
	{"said goodbye", "peer-stopped"},
	{"is stopping", "peer-stopped"},
	{"this node stops", "stop"},
	{"by a reload", "reload"},
	{"cannot run it", "resource-failed"},
	{"preferred node and nobody", "start"},
	{"found running at start", "restart"},
	{"runs alone", "start"},
	{"returned to its preferred node", "failback"},
	{"handed it over", "hand-over"},
	{"handed over", "hand-over"},
	{"hand-over", "hand-over"},
	{"claims", "start"}, // with Linux-HA
}

// otherCause is what no rule names.
const otherCause = "other"

// causeOf is the cause of a reason.
func causeOf(reason string) string {
	for _, c := range causes {
		if strings.Contains(reason, c.words) {
			return c.cause
		}
	}
	return otherCause
}
