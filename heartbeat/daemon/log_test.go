package daemon

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hapair/haresources"
)

var logTime = time.Date(2026, time.November, 2, 7, 26, 54, 123e6, time.Local)

func TestLogLinesAreHeartbeats(t *testing.T) {
	f := lineFormat{node: "alpha", pid: 41, syslog: true}
	old := lineFormat{node: "alpha", pid: 41}
	tests := []struct {
		sev         severity
		want, older string
	}{
		{sevDebug, "Nov  2 07:26:54 alpha heartbeat: [41]: debug: text\n", "heartbeat[41]: 2026/11/02_07:26:54 debug: text\n"},
		{sevInfo, "Nov  2 07:26:54 alpha heartbeat: [41]: info: text\n", "heartbeat[41]: 2026/11/02_07:26:54 info: text\n"},
		{sevNotice, "Nov  2 07:26:54 alpha heartbeat: [41]: notice: text\n", "heartbeat[41]: 2026/11/02_07:26:54 notice: text\n"},
		{sevWarn, "Nov  2 07:26:54 alpha heartbeat: [41]: WARN: text\n", "heartbeat[41]: 2026/11/02_07:26:54 WARN: text\n"},
		{sevError, "Nov  2 07:26:54 alpha heartbeat: [41]: ERROR: text\n", "heartbeat[41]: 2026/11/02_07:26:54 ERROR: text\n"},
		{sevCrit, "Nov  2 07:26:54 alpha heartbeat: [41]: CRIT: text\n", "heartbeat[41]: 2026/11/02_07:26:54 CRIT: text\n"},
	}
	for _, tt := range tests {
		r := record{at: logTime, sev: tt.sev, text: "text"}
		if got := string(f.line(r)); got != tt.want {
			t.Errorf("line = %q, want %q", got, tt.want)
		}
		if got := string(old.line(r)); got != tt.older {
			t.Errorf("line with syslogmsgfmt off = %q, want %q", got, tt.older)
		}
	}
	if got, want := string(f.datagram(record{at: logTime, sev: sevWarn, text: "text"}, facilities["local7"])), "<188>Nov  2 07:26:54 heartbeat: [41]: WARN: text"; got != want {
		t.Errorf("datagram = %q, want %q", got, want)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü\ttab": "plain äöü\ttab", "forged\nline": `forged\x0aline`, "\x1b[31mred": `\x1b[31mred`, "bad \xff utf": `bad \xff utf`, "c1 \u009b": `c1 \x9b`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// gate is a sink that waits until it is opened.
type gate struct {
	memorySink
	open    chan struct{}
	waiting chan struct{}
	once    sync.Once
}

func (g *gate) write(r record) error {
	g.once.Do(func() { close(g.waiting) })
	<-g.open
	return g.memorySink.write(r)
}

func TestLogNeverBlocksAndTellsWhatItLost(t *testing.T) {
	g := &gate{open: make(chan struct{}), waiting: make(chan struct{})}
	log := newLog(0, g)
	log.Infof("first")
	<-g.waiting
	for i := range logQueue + 10 {
		log.Infof("line %d", i)
	}
	log.Debugf("not wanted")
	if got := log.Dropped(); got != 10 {
		t.Errorf("dropped = %d, want 10", got)
	}
	close(g.open)
	log.Close()
	lines := strings.Split(g.text(), "\n")
	if len(lines) != logQueue+2 || lines[0] != "info: first" || !strings.HasPrefix(lines[1], "WARN: 10 log lines were lost here") {
		t.Errorf("%d lines, beginning %q", len(lines), lines[:2])
	}
}

func TestLogSplitsLines(t *testing.T) {
	s := &memorySink{}
	log := newLog(0, s)
	log.Errorf("one\ntwo\n\n")
	log.Close()
	if got := s.text(); got != "ERROR: one\nERROR: two" {
		t.Errorf("lines = %q", got)
	}
}

func TestFileSinkFollowsRotationAndLevel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ha-log")
	s := &fileSink{format: lineFormat{node: "alpha", pid: 1}, path: path, least: sevInfo}
	defer s.close()
	put := func(at time.Time, sev severity, text string) {
		t.Helper()
		if err := s.write(record{at: at, sev: sev, text: text}); err != nil {
			t.Fatal(err)
		}
	}
	put(logTime, sevInfo, "one")
	put(logTime, sevDebug, "hidden")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	put(logTime.Add(2*rotationCheck), sevInfo, "two")
	first, _ := os.ReadFile(path + ".1")
	second, _ := os.ReadFile(path)
	if !bytes.HasSuffix(first, []byte("info: one\n")) || !bytes.HasSuffix(second, []byte("info: two\n")) || bytes.Count(second, []byte("\n")) != 1 {
		t.Errorf("files hold %q and %q", first, second)
	}
}

func TestSyslogSinkReconnects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := &syslogSink{format: lineFormat{pid: 41}, facility: facilities["daemon"], path: path}
	defer s.close()
	r := record{at: logTime, sev: sevInfo, text: "text"}
	if err := s.write(r); err == nil {
		t.Error("writing without a syslog daemon succeeded")
	}
	first := listenUnixgram(t, path)
	if err := s.write(r); err != nil {
		t.Fatal(err)
	}
	if got, want := receiveUnixgram(t, first), "<30>Nov  2 07:26:54 heartbeat: [41]: info: text"; got != want {
		t.Errorf("syslog got %q, want %q", got, want)
	}
	first.Close()
	os.Remove(path)
	second := listenUnixgram(t, path)
	if err := s.write(r); err != nil {
		t.Errorf("after a restart of syslog: %v", err)
	}
	receiveUnixgram(t, second)
}

// listenUnixgram makes a datagram socket that lives as long as the test.
func listenUnixgram(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// receiveUnixgram waits for one datagram.
func receiveUnixgram(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 1000)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestSinksForConfiguration(t *testing.T) {
	for _, tt := range []struct {
		conf LogConfig
		want int
	}{
		{LogConfig{Facility: "local0", File: "/f", DebugFile: "/d"}, 3},
		{LogConfig{Facility: "none", File: "/f"}, 1},
		{LogConfig{Facility: "none"}, 0},
		{LogConfig{Facility: "daemon"}, 1},
		{LogConfig{Facility: "daemon", File: "/f", Stderr: true}, 1},
	} {
		if got := len(sinksFor(tt.conf)); got != tt.want {
			t.Errorf("%+v makes %d sinks, want %d", tt.conf, got, tt.want)
		}
	}
}

func TestResourceEventsInHeartbeatsWords(t *testing.T) {
	s := &memorySink{}
	log := newLog(0, s)
	for _, e := range []haresources.Event{
		{Resource: "apache2", Operation: haresources.OpStart, Phase: haresources.Begin},
		{Resource: "apache2", Operation: haresources.OpStart, Phase: haresources.Output, Line: "Starting web server"},
		{Resource: "apache2", Operation: haresources.OpStop, Phase: haresources.Retry, Err: os.ErrInvalid},
		{Resource: "apache2", Operation: haresources.OpStatus, Phase: haresources.Begin},
		{Resource: "apache2", Operation: haresources.OpStart, Phase: haresources.End, Took: 1234567 * time.Microsecond,
			Err: &haresources.OperationError{Resource: "apache2", Operation: haresources.OpStart, Err: os.ErrPermission}},
		{Resource: "10.0.0.1", Operation: haresources.OpWatch, Phase: haresources.End, Err: os.ErrNotExist},
	} {
		logResource(log, e)
	}
	log.Close()
	want := `info: Running apache2 start
info: apache2 start: Starting web server
WARN: Retrying failed stop operation [apache2]: invalid argument
ERROR: start of "apache2": permission denied (after 1.235s)
WARN: Resource 10.0.0.1: file does not exist`
	if got := s.text(); got != want {
		t.Errorf("lines:\n%s\nwant:\n%s", got, want)
	}
}
