package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Bounds on what a program's output may cost: the rest of a longer line is dropped, and so are further lines.
const (
	maxLine  = 2048
	maxLines = 2000
)

// output takes the output of one program line by line. A background process that the program started may hold the other end
// of the pipe open for ever, so that the end of the output is not the end of the file: it is what was there when the
// program ended.
type output struct {
	read, write *os.File
	line        func(string)
	done        chan struct{} // closed when the reader returned

	mu      sync.Mutex
	partial []byte // the line that is not yet complete
	last    string // the last line that was not empty
	count   int
	eof     bool
}

// newOutput makes the pipe; the writing end is for the program.
func newOutput(line func(string)) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	if line == nil {
		line = func(string) {}
	}
	return &output{read: r, write: w, line: line, done: make(chan struct{})}, nil
}

// abandon closes both ends of a pipe that no program was started with.
func (o *output) abandon() {
	o.read.Close()
	o.write.Close()
}

// start closes our writing end and reads the other one until interrupted or at its end.
func (o *output) start() {
	o.write.Close()
	go func() {
		defer close(o.done)
		buf := make([]byte, 4096)
		for {
			n, err := o.read.Read(buf)
			o.take(buf[:n])
			if err != nil {
				o.eof = !errors.Is(err, os.ErrDeadlineExceeded)
				return
			}
		}
	}()
}

// take splits what arrived into lines.
func (o *output) take(data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(data) > 0 {
		head, rest, complete := bytes.Cut(data, []byte("\n"))
		if room := maxLine - len(o.partial); room > 0 {
			o.partial = append(o.partial, head[:min(room, len(head))]...)
		}
		if complete {
			o.endLine()
		}
		data = rest
	}
}

// endLine hands on the line that is complete.
func (o *output) endLine() {
	text := printable(o.partial)
	o.partial = o.partial[:0]
	if text == "" {
		return
	}
	o.last = text
	switch o.count++; {
	case o.count <= maxLines:
		o.line(text)
	case o.count == maxLines+1:
		o.line("… further output dropped")
	}
}

// printable makes a line of output fit for a log: valid text, no control characters.
func printable(line []byte) string {
	text := strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			return -1
		}
		return r
	}, string(line))
	return strings.TrimSpace(text)
}

// finish takes what the ended program still left in the pipe, and turns the error of exec.Cmd.Wait into an *ExitError.
func (o *output) finish(err error) error {
	o.interrupt()
	if !o.eof {
		o.drain()
	}
	o.mu.Lock()
	o.endLine()
	last := o.last
	o.mu.Unlock()
	if o.eof {
		o.read.Close()
	} else {
		drainBeside(o.read)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	result := &ExitError{Code: exit.ExitCode(), Last: last}
	if status.Signaled() {
		result.Signal = status.Signal()
	}
	return result
}

// interrupt ends the reader.
func (o *output) interrupt() {
	_ = o.read.SetReadDeadline(time.Unix(1, 0))
	<-o.done
}

// drain takes what is in the pipe now, without waiting for more.
func (o *output) drain() {
	_ = o.read.SetReadDeadline(time.Time{})
	raw, err := o.read.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 4096)
	for budget := 64; budget > 0; budget-- { // a pipe holds 16 of these; a process may still be writing
		var n int
		readErr := raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), buf)
			return true
		})
		if readErr != nil || err != nil || n <= 0 {
			o.eof = n == 0 && err == nil && readErr == nil
			return
		}
		o.take(buf[:n])
	}
}

// release gives up on a program that is stuck; what it may still write goes nowhere.
func (o *output) release() {
	o.interrupt()
	drainBeside(o.read)
}

// lastLine is the last line of output for the end of a message, "" when there was none.
func (o *output) lastLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last == "" {
		return ""
	}
	return "; its last output: " + o.last
}

// drainBeside reads to the end what background processes still write into a pipe. A process of its own does it, since it
// must go on when this daemon ends or is killed: a service with its output on a pipe that nobody reads would hang, or die
// of SIGPIPE.
func drainBeside(r *os.File) {
	path, err := exec.LookPath("cat")
	if err == nil {
		cmd := Command(path)
		cmd.Stdin, cmd.Env, cmd.Dir = r, []string{}, "/"
		if err = Start(cmd); err == nil {
			r.Close()
			go func() { _ = cmd.Wait() }()
			return
		}
	}
	_ = r.SetReadDeadline(time.Time{})
	go func() {
		defer r.Close()
		buf := make([]byte, 4096)
		for {
			if _, err := r.Read(buf); err != nil {
				return
			}
		}
	}()
}
