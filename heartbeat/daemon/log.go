package daemon

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// LogConfig says where log lines go, as ha.cf does.
type LogConfig struct {
	Node         string // this node's name, the host in each line
	Facility     string // syslog facility, "" or "none" for no syslog
	File         string // info and above, "" for none
	DebugFile    string // everything, "" for none
	SyslogFormat bool   // syslogmsgfmt
	Debug        int    // ha.cf's debug: above 0 lets debug lines through
	Stderr       bool   // to standard error, and nowhere else
}

// logQueue is how many lines may wait for a slow disk before further ones are dropped and counted.
const logQueue = 1024

// Log is Heartbeat's log. Its methods never block: lines go through a bounded queue to one goroutine, and what does not fit
// is counted, and said so as soon as lines can be written again.
type Log struct {
	logger  *logrus.Logger
	queue   chan record
	dropped atomic.Uint64
	unsaid  uint64 // dropped and not yet told, the goroutine's own
	debug   atomic.Int32
	mu      sync.Mutex // guards sinks
	sinks   []sink
	closing chan struct{}
	done    chan struct{}
}

// NewLog starts a log. Close it to have the last lines written.
func NewLog(c LogConfig) *Log {
	return newLog(c.Debug, sinksFor(c)...)
}

// newLog starts a log that writes to the sinks.
func newLog(debug int, sinks ...sink) *Log {
	l := &Log{
		logger:  logrus.New(),
		queue:   make(chan record, logQueue),
		sinks:   sinks,
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	l.logger.SetOutput(io.Discard)
	l.logger.SetFormatter(noFormat{})
	l.logger.AddHook(queueHook{l})
	l.SetDebug(debug)
	go l.run()
	return l
}

// sinksFor opens what a configuration asks for; where it asks for nothing, syslog's daemon facility.
func sinksFor(c LogConfig) []sink {
	format := newLineFormat(c.Node, c.SyslogFormat)
	if c.Stderr {
		return []sink{&streamSink{format: format, out: os.Stderr}}
	}
	var sinks []sink
	facility, known := facilities[c.Facility]
	if c.Facility == "" && c.File == "" && c.DebugFile == "" {
		facility, known = facilities["daemon"], true
	}
	if known {
		sinks = append(sinks, &syslogSink{format: format, facility: facility, path: "/dev/log"})
	}
	if c.File != "" {
		sinks = append(sinks, &fileSink{format: format, path: c.File, least: sevInfo})
	}
	if c.DebugFile != "" {
		sinks = append(sinks, &fileSink{format: format, path: c.DebugFile, least: sevDebug})
	}
	return sinks
}

// noFormat is logrus' formatter: sinks have formats of their own.
type noFormat struct{}

// Format implements logrus.Formatter.
func (noFormat) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

// severityField carries the exact severity through logrus, which has no CRIT below a fatal error and no notice.
const severityField = "severity"

// queueHook moves entries from logrus to the queue.
type queueHook struct{ log *Log }

// Levels implements logrus.Hook.
func (queueHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook; it never blocks.
func (h queueHook) Fire(e *logrus.Entry) error {
	sev, ok := e.Data[severityField].(severity)
	if !ok {
		sev = sevInfo
	}
	for text := range strings.SplitSeq(e.Message, "\n") {
		if text = strings.TrimRight(text, " \r\t"); text == "" {
			continue
		}
		select {
		case h.log.queue <- record{at: e.Time, sev: sev, text: printable(text)}:
		default:
			h.log.dropped.Add(1)
		}
	}
	return nil
}

// logf writes one line of that severity; a newline in it begins another.
func (l *Log) logf(sev severity, format string, args ...any) {
	level := severities[sev].level
	if !l.logger.IsLevelEnabled(level) {
		return
	}
	l.logger.WithField(severityField, sev).Log(level, fmt.Sprintf(format, args...))
}

// Debugf is for developers and for `debug 1`.
func (l *Log) Debugf(format string, args ...any) { l.logf(sevDebug, format, args...) }

// Infof says what happens.
func (l *Log) Infof(format string, args ...any) { l.logf(sevInfo, format, args...) }

// Noticef says what is worth knowing and needs nothing done.
func (l *Log) Noticef(format string, args ...any) { l.logf(sevNotice, format, args...) }

// Warnf says what should be looked at.
func (l *Log) Warnf(format string, args ...any) { l.logf(sevWarn, format, args...) }

// Errorf says what went wrong.
func (l *Log) Errorf(format string, args ...any) { l.logf(sevError, format, args...) }

// Critf says what somebody has to act on.
func (l *Log) Critf(format string, args ...any) { l.logf(sevCrit, format, args...) }

// Dropped is how many lines were lost because they could not be written fast enough.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Debug is the debug level, as ha.cf's `debug`.
func (l *Log) Debug() int { return int(l.debug.Load()) }

// SetDebug changes the debug level.
func (l *Log) SetDebug(level int) {
	level = min(max(level, 0), 255)
	l.debug.Store(int32(level))
	if level > 0 {
		l.logger.SetLevel(logrus.DebugLevel)
	} else {
		l.logger.SetLevel(logrus.InfoLevel)
	}
}

// Reconfigure sends further lines where c says, and opens files again.
func (l *Log) Reconfigure(c LogConfig) {
	sinks := sinksFor(c)
	l.mu.Lock()
	old := l.sinks
	l.sinks = sinks
	l.mu.Unlock()
	closeSinks(old)
	l.SetDebug(c.Debug)
}

// closePatience bounds how long Close waits for the last lines.
const closePatience = time.Second

// Close writes what is queued, for at most a second, and ends the log.
func (l *Log) Close() {
	close(l.closing)
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-l.done:
	case <-patience.C:
	}
}

// run is the log's goroutine.
func (l *Log) run() {
	defer close(l.done)
	for {
		select {
		case r := <-l.queue:
			l.emit(r)
		case <-l.closing:
			l.drain()
			l.mu.Lock()
			closeSinks(l.sinks)
			l.mu.Unlock()
			return
		}
	}
}

// drain writes what is still queued.
func (l *Log) drain() {
	for {
		select {
		case r := <-l.queue:
			l.emit(r)
		default:
			return
		}
	}
}

// emit hands one record to every sink, and tells of what was lost before it. What a sink cannot write is lost for that sink
// alone: there is nobody left to complain to.
func (l *Log) emit(r record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if dropped := l.dropped.Load(); dropped > l.unsaid {
		lost := record{at: r.at, sev: sevWarn, text: fmt.Sprintf("%d log lines were lost here: they could not be written fast enough", dropped-l.unsaid)}
		l.unsaid = dropped
		for _, s := range l.sinks {
			s.write(lost)
		}
	}
	for _, s := range l.sinks {
		s.write(r)
	}
}

// closeSinks closes all.
func closeSinks(sinks []sink) {
	for _, s := range sinks {
		s.close()
	}
}
