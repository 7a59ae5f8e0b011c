package daemon

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// sink is one place that log lines go to. It is used by the log's own goroutine only and may block it.
type sink interface {
	write(r record) error
	close()
}

// streamSink writes to a file that somebody else opened: standard error.
type streamSink struct {
	format lineFormat
	out    io.Writer
}

func (s *streamSink) write(r record) error {
	_, err := s.out.Write(s.format.line(r))
	return err
}

func (s *streamSink) close() {}

// fileSink appends to a file, which it opens again when it was rotated away.
type fileSink struct {
	format  lineFormat
	path    string
	least   severity
	file    *os.File
	checked time.Time
}

// rotationCheck is how often at most a log file is compared with what its name now leads to.
const rotationCheck = time.Second

func (s *fileSink) write(r record) error {
	if r.sev < s.least {
		return nil
	}
	if s.file != nil && r.at.Sub(s.checked).Abs() > rotationCheck {
		s.checked = r.at
		s.reopen()
	}
	if s.file == nil {
		f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		s.file = f
	}
	_, err := s.file.Write(s.format.line(r))
	return err
}

// reopen lets go of the file unless its name still leads to it.
func (s *fileSink) reopen() {
	if s.file == nil {
		return
	}
	named, err := os.Stat(s.path)
	if err == nil {
		if open, err := s.file.Stat(); err == nil && os.SameFile(named, open) {
			return
		}
	}
	s.close()
}

func (s *fileSink) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// syslogSink sends datagrams to the local syslog socket.
type syslogSink struct {
	format   lineFormat
	facility int
	path     string // /dev/log
	conn     net.Conn
}

// syslogPatience bounds one write to a syslog daemon that does not read.
const syslogPatience = 200 * time.Millisecond

func (s *syslogSink) write(r record) error {
	for attempt := 0; ; attempt++ {
		err := s.send(r)
		if err == nil || attempt > 0 {
			return err
		}
		s.close() // syslog may have been restarted: one fresh connection
	}
}

func (s *syslogSink) send(r record) error {
	if s.conn == nil {
		conn, err := net.DialTimeout("unixgram", s.path, syslogPatience)
		if err != nil {
			return fmt.Errorf("reach syslog: %w", err)
		}
		s.conn = conn
	}
	s.conn.SetWriteDeadline(time.Now().Add(syslogPatience))
	_, err := s.conn.Write(s.format.datagram(r, s.facility))
	return err
}

func (s *syslogSink) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
