package daemon

import (
	"github.com/sirupsen/logrus"

	"hapair/heartbeat"
)

// severity ranks a log line as Heartbeat does (protocol section 11.1).
type severity int

// The severities, mildest first.
const (
	sevDebug severity = iota
	sevInfo
	sevNotice
	sevWarn
	sevError
	sevCrit
)

// severities holds, for each severity, the word in a log line, syslog's number and logrus' level.
var severities = [...]struct {
	word   string
	syslog int
	level  logrus.Level
}{
	sevDebug:  {"debug", 7, logrus.DebugLevel},
	sevInfo:   {"info", 6, logrus.InfoLevel},
	sevNotice: {"notice", 5, logrus.InfoLevel},
	sevWarn:   {"WARN", 4, logrus.WarnLevel},
	sevError:  {"ERROR", 3, logrus.ErrorLevel},
	sevCrit:   {"CRIT", 2, logrus.ErrorLevel},
}

// String is the word in a log line.
func (s severity) String() string { return severities[s].word }

// severityOf translates the level of a core's report.
func severityOf(l heartbeat.Level) severity {
	switch l {
	case heartbeat.Debug:
		return sevDebug
	case heartbeat.Warn:
		return sevWarn
	case heartbeat.LevelError:
		return sevError
	case heartbeat.Crit:
		return sevCrit
	}
	return sevInfo
}
