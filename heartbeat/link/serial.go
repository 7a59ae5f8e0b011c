package link

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hapair/heartbeat/wire"
)

const (
	serialBuffer  = 2 * wire.MaxText       // always room for the rest of the longest frame
	serialTimeout = 500 * time.Millisecond // for a Send without deadline (protocol section 4.5)
	serialLinger  = 300 * time.Millisecond // how long Close lets the last frame drain
	bitsPerByte   = 10                     // start bit, eight data bits, stop bit
)

// mendLine ends whatever half frame is on the line: Heartbeat's reader would take the next frame for its continuation.
const mendLine = "\n<<<\n"

// serial is a heartbeat over a null-modem cable, or a pseudo terminal.
type serial struct {
	spec Spec
	file *os.File
	raw  syscall.RawConn
	lock *ttyLock

	sending sync.Mutex
	torn    bool   // the line may hold half a frame: mendLine goes first
	scratch []byte // mendLine and a frame

	buffer     []byte // received bytes are buffer[start:end]
	start, end int

	once sync.Once
}

func openSerial(spec Spec) (Link, error) {
	speed, err := baudCode(spec.Baud)
	if err != nil {
		return nil, err
	}
	if spec.Device == "" {
		return nil, fmt.Errorf("no device given")
	}
	lock, err := lockTTY(spec.Device)
	if err != nil {
		return nil, err
	}
	file, err := openTTY(spec.Device, speed)
	if err != nil {
		lock.release()
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		lock.release()
		return nil, err
	}
	return &serial{spec: spec, file: file, raw: raw, lock: lock, torn: true, buffer: make([]byte, serialBuffer)}, nil
}

func (l *serial) ID() string   { return l.spec.ID }
func (l *serial) Name() string { return l.spec.Device }
func (l *serial) Kind() string { return l.spec.Kind }

// Send writes a frame once the one before it is on the wire, so that no more than one waits in the kernel: a heartbeat that
// is seconds old is worth nothing. A line that takes nothing until the deadline is stuck: what it holds is thrown away.
func (l *serial) Send(frame []byte, deadline time.Time) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	if deadline.IsZero() {
		deadline = time.Now().Add(serialTimeout)
	}
	if err := l.drain(deadline); err != nil {
		return sendError(&l.spec, err)
	}
	data := frame
	if l.torn {
		l.scratch = append(append(l.scratch[:0], mendLine...), frame...)
		data = l.scratch
	}
	err := l.file.SetWriteDeadline(deadline)
	if err == nil {
		_, err = l.file.Write(data)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.discard()
		err = fmt.Errorf("%w: the line takes nothing", ErrTimeout)
	}
	l.torn = err != nil
	if err != nil {
		return sendError(&l.spec, err)
	}
	return nil
}

// drain waits until the line has sent what it was given. When the deadline comes first: a line that made progress is only
// slow and goes on, with this frame dropped; one that made none is emptied.
func (l *serial) drain(deadline time.Time) error {
	first, err := l.pending()
	for left := first; err == nil && left > 0; left, err = l.pending() {
		rest := time.Until(deadline)
		if rest <= 0 && left < first {
			return fmt.Errorf("%w: still busy with the frame before it (%d baud is slow for this keepalive)", ErrTimeout, l.spec.Baud)
		}
		if rest <= 0 {
			l.discard()
			return fmt.Errorf("%w: the line takes nothing", ErrTimeout)
		}
		time.Sleep(min(l.duration(left), rest))
	}
	return err
}

// duration is how long the line needs for so many bytes.
func (l *serial) duration(bytes int) time.Duration {
	return time.Duration(bytes)*bitsPerByte*time.Second/time.Duration(l.spec.Baud) + time.Millisecond
}

// pending is the number of bytes that the kernel still has to send.
func (l *serial) pending() (n int, err error) {
	cerr := l.raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
	if cerr != nil {
		return 0, ErrClosed
	}
	return n, err
}

// discard throws the kernel's output queue away; what is on the wire of it is half a frame.
func (l *serial) discard() {
	l.torn = true
	_ = l.raw.Control(func(fd uintptr) { _ = unix.IoctlSetInt(int(fd), unix.TCFLSH, unix.TCOFLUSH) })
}

// Receive returns the next frame between its markers; what is no frame is skipped.
func (l *serial) Receive() (Frame, error) {
	for {
		for l.start < l.end {
			advance, token, _ := wire.Split(l.buffer[l.start:l.end], false)
			l.start += advance
			if token != nil {
				return Frame{Data: token, Received: time.Now(), From: l.spec.Device}, nil
			}
			if advance == 0 {
				break
			}
		}
		if err := l.fill(); err != nil {
			return Frame{}, err
		}
	}
}

// fill waits for more bytes and appends them.
func (l *serial) fill() error {
	l.end = copy(l.buffer, l.buffer[l.start:l.end])
	l.start = 0
	if l.end == len(l.buffer) { // Split never holds that much back; if it did, it would be garbage
		l.end = 0
	}
	n, err := l.file.Read(l.buffer[l.end:])
	l.end += n
	switch {
	case errors.Is(err, os.ErrClosed):
		return ErrClosed
	case err != nil: // end of file, EIO: hung up or unplugged
		return fmt.Errorf("receive on %s: %w", l.spec.ID, classify(err))
	}
	return nil
}

// Close lets a frame that is being sent drain, for a short while, and gives the device back.
func (l *serial) Close() error {
	var err error
	l.once.Do(func() {
		l.sending.Lock()
		defer l.sending.Unlock()
		_ = l.drain(time.Now().Add(serialLinger))
		l.discard() // else close would wait half a minute for a stuck line
		err = closeTTY(l.file, l.raw)
		l.lock.release()
	})
	return err
}
