package migration_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// questions are what operators' scripts ask; %[1]s is the node's own name, %[2]s the other's.
var questions = []string{
	"cl_status hbstatus", "cl_status -m hbstatus", "cl_status listnodes", "cl_status listnodes -n", "cl_status listnodes -p", "cl_status listnodes -m",
	"cl_status nodestatus %[1]s", "cl_status nodestatus %[2]s", "cl_status -m nodestatus %[2]s", "cl_status nodestatus nobody", "cl_status nodestatus",
	"cl_status nodetype nobody", "cl_status nodeweight nobody", "cl_status listhblinks nobody",
	"cl_status nodetype %[2]s", "cl_status nodetype -m %[2]s", "cl_status nodeweight %[2]s", "cl_status nodeweight -m %[2]s",
	"cl_status listhblinks %[2]s", "cl_status listhblinks -m %[2]s", "cl_status listhblinks -v %[2]s",
	"cl_status hblinkstatus %[2]s eth0", "cl_status hblinkstatus -m %[2]s eth1", "cl_status hblinkstatus %[2]s eth7", "cl_status hblinkstatus %[2]s",
	"cl_status rscstatus", "cl_status rscstatus -m", "cl_status hbparameter -p deadtime", "cl_status hbparameter -m -p keepalive",
	"cl_status hbparameter -p auto_failback", "cl_status clientstatus %[1]s nobody", "cl_status nonsense", "cl_status", "cl_status -h",
	"ResourceManager listkeys alpha", `ResourceManager listkeys ".*"`, "ResourceManager listkeys beta", "ResourceManager allkeys",
	"ResourceManager ourkeys", "ResourceManager otherkeys", "ResourceManager statgroup 10.77.0.100/24/eth0",
	"ResourceManager status 10.77.0.100/24/eth0", "ResourceManager status witness::word", "ResourceManager nonsense",
	"hb_standby --help", "hb_standby nonsense", "hb_takeover --help", "hb_takeover nonsense", "hb_standby all all",
	"/usr/libexec/heartbeat/heartbeat -s", "/usr/libexec/heartbeat/heartbeat -V", "/usr/libexec/heartbeat/heartbeat -Z", "/usr/libexec/heartbeat/heartbeat",
	"HA_DIR=/etc/ha.d HA_FUNCS=/etc/ha.d/shellfuncs HA_DEBUGLOG= /etc/ha.d/harc nonsense",
	"/etc/init.d/heartbeat status", "/etc/init.d/heartbeat nonsense", "test -f /var/lock/subsys/heartbeat",
}

// stoppedQuestions are asked on a node whose daemon is stopped.
var stoppedQuestions = []string{
	"cl_status hbstatus", "cl_status -m hbstatus", "cl_status listnodes", "cl_status nodestatus %[2]s", "cl_status rscstatus", "cl_status listhblinks %[2]s",
	"cl_status hbparameter -p deadtime", "cl_status clientstatus %[1]s nobody", "cl_status nodetype %[2]s",
	"/usr/libexec/heartbeat/heartbeat -s", "/usr/libexec/heartbeat/heartbeat -k", "/etc/init.d/heartbeat status", "/etc/init.d/heartbeat stop",
	"ResourceManager listkeys alpha", "ResourceManager verifyallidle", "ResourceManager status 10.77.0.100/24/eth0", "test -f /var/lock/subsys/heartbeat",
}

// better are the exit codes of Linux-HA and of hapair where Linux-HA's is a mistake.
var better = map[string][2]string{
	// It leaves its pid file when it is stopped properly, and takes itself for dead then.
	"/usr/libexec/heartbeat/heartbeat -s": {"1", "3"}, "/etc/init.d/heartbeat status": {"1", "3"},
}

// answers are what a node said to them, by question: exit code and output.
type answers map[string]string

// ask asks a node everything.
func (s *site) ask(n int) answers {
	a := s.askAll(n, questions)
	if n == alpha {
		out, _ := s.run(n, "cat /var/log/environment")
		a["environment"] = out
	}
	return a
}

func (s *site) askAll(n int, questions []string) answers {
	a := answers{}
	for _, q := range questions {
		if strings.Contains(q, "%[") {
			q = fmt.Sprintf(q+"%[3]s", s.nodes[n].Name, s.nodes[1-n].Name, "")
		}
		command := q
		for _, tool := range []string{"ResourceManager", "hb_standby", "hb_takeover"} {
			if strings.HasPrefix(q, tool) {
				command = "HA_CURHOST=" + s.nodes[n].Name + " /usr/share/heartbeat/" + q
			}
		}
		// The standard output and the exit code are what scripts look at.
		out, exit := s.run(n, command+" 2>/dev/null")
		a[q] = plain(q, out, exit)
	}
	return a
}

// variable is what differs between two runs of one program.
var variable = regexp.MustCompile(`pid [0-9]+`)

// plain is an answer without what differs between two runs, blanks at line ends, and the order of lines.
func plain(question, out string, exit int) string {
	var lines []string
	for l := range strings.Lines(variable.ReplaceAllString(out, "pid N")) {
		lines = append(lines, strings.TrimRight(l, " \n"))
	}
	slices.Sort(lines)
	if differs[question] != "" {
		return fmt.Sprint(exit)
	}
	return fmt.Sprintf("%d %q", exit, lines)
}

// differs are the questions of which the exit code alone has to be the same, and why; what matters of it stands in the table of
// docs/migrate.md.
var differs = map[string]string{
	"cl_status": "a help text in our words", "cl_status -h": "a help text in our words",
	"hb_standby --help": "usage", "hb_standby nonsense": "usage", "hb_takeover --help": "usage", "hb_takeover nonsense": "usage", "hb_standby all all": "usage",
	"ResourceManager statgroup 10.77.0.100/24/eth0": "Linux-HA prints nothing here, its documents say ALL, NONE or SOME",
	"cl_status rscstatus":                           "a standby that prefers no group holds `local` for Linux-HA, for us none", "cl_status rscstatus -m": "likewise",
}

// missing are variables that resource scripts do not get from hapair, and why nobody can miss them.
var missing = map[string]string{
	"HA_COMPRESSION": "an internal name of HA_compression", "HA_OSTATUS": "of the message that Linux-HA happens to be handling",
	"HA_deadping": "the default, which it writes into its own directives", "HA_LOGFACILITY": "empty where ha.cf says none",
	"HA_auth": "a field of that message", "HA_dest": "a field of that message", "HA_hg": "a field of that message", "HA_ipaddr": "a field of that message",
	"HA_ld": "a field of that message", "HA_ok": "a field of that message", "HA_seq": "a field of that message", "HA_src": "a field of that message",
	"HA_t": "a field of that message", "HA_ts": "a field of that message", "HA_ttl": "a field of that message", "HA_weown": "a field of that message",
}

// compare holds the answers of hapair against those of Linux-HA in the same place.
func (s *site) compare(theirs, ours [2]answers) {
	same, all := 0, 0
	for n := range theirs {
		for q, want := range theirs[n] {
			if q == "environment" {
				s.compareEnvironment(want, ours[n][q])
				continue
			}
			all++
			switch got := ours[n][q]; {
			case got == want:
				same++
			case better[q][0] != "" && strings.HasPrefix(want, better[q][0]+" ") && got == better[q][1]+strings.TrimPrefix(want, better[q][0]):
			default:
				s.fail("%s: %s: Linux-HA says %s, hapair %s", s.nodes[n].Name, q, want, got)
			}
		}
	}
	s.report(line{Step: fmt.Sprintf("%d of %d answers are the same", same, all), Holder: s.answering()})
}

// compareEnvironment compares what resource scripts get.
func (s *site) compareEnvironment(theirs, ours string) {
	names := func(text string) (all []string) {
		for l := range strings.Lines(text) {
			if name, _, ok := strings.Cut(l, "="); ok && (strings.HasPrefix(name, "HA_") || strings.HasPrefix(name, "OCF_")) {
				all = append(all, strings.TrimRight(l, "/\n")) // a slash at the end of a directory
			}
		}
		return all
	}
	have := names(ours)
	for _, l := range names(theirs) {
		name, _, _ := strings.Cut(l, "=")
		if missing[name] != "" || slices.Contains(have, l) {
			continue
		}
		at := slices.IndexFunc(have, func(h string) bool { return strings.HasPrefix(h, name+"=") })
		if at < 0 {
			s.fail("resource scripts lack %s", l)
		} else {
			s.fail("resource scripts get %s, from Linux-HA %s", have[at], l)
		}
	}
	if os.Getenv("HEARTBEAT_SHOW") != "" {
		s.report(line{Text: theirs + "\n---\n" + ours})
	}
}
