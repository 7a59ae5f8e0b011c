package daemon

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// record is one line on its way to the sinks.
type record struct {
	at   time.Time
	sev  severity
	text string
}

// lineFormat turns records into the lines of Heartbeat's log files (protocol section 11.1).
type lineFormat struct {
	node   string
	pid    int
	syslog bool // ha.cf's syslogmsgfmt: the form of /var/log/messages, else the older one
}

// newLineFormat is the format of this process.
func newLineFormat(node string, syslog bool) lineFormat {
	return lineFormat{node: node, pid: os.Getpid(), syslog: syslog}
}

// line renders one record, with a newline at the end.
func (f lineFormat) line(r record) []byte {
	if f.syslog {
		return fmt.Appendf(nil, "%s %s heartbeat: [%d]: %s: %s\n", r.at.Format(time.Stamp), f.node, f.pid, r.sev, r.text)
	}
	return fmt.Appendf(nil, "heartbeat[%d]: %s %s: %s\n", f.pid, r.at.Format("2006/01/02_15:04:05"), r.sev, r.text)
}

// datagram renders one record for the syslog socket; facility is syslog's number.
func (f lineFormat) datagram(r record, facility int) []byte {
	return fmt.Appendf(nil, "<%d>%s heartbeat: [%d]: %s: %s", facility<<3|severities[r.sev].syslog, r.at.Format(time.Stamp), f.pid, r.sev, r.text)
}

// printable makes text safe for a log: what came from the network or a script must not forge a line or drive a terminal.
func printable(text string) string {
	clean := func(r rune) bool {
		return r >= ' ' && r != 0x7f && r != '\uFFFD' && (r < 0x80 || r > 0x9f) || r == '\t'
	}
	if strings.IndexFunc(text, func(r rune) bool { return !clean(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case clean(r):
			b.WriteRune(r)
		case r == '\uFFFD':
			fmt.Fprintf(&b, `\x%02x`, text[i])
		default:
			fmt.Fprintf(&b, `\x%02x`, r)
		}
	}
	return b.String()
}

// facilities are syslog's, by ha.cf's names for them (`logfacility`).
var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "security": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8,
	"cron": 9, "authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21,
	"local6": 22, "local7": 23,
}
