package lab

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cable is a serial null-modem cable between two machines. Each time a machine boots it gets a fresh terminal.
type Cable struct {
	Name string // what is printed
	Ends [2]*End

	cut atomic.Bool
}

// End is one end of a Cable.
type End struct {
	cable *Cable
	other *End
	loss  atomic.Int64 // pieces lost of a thousand that are sent from here

	mu     sync.Mutex
	master *os.File // nil while nothing is plugged in
	line   *os.File // the machine's side, held open for good: a terminal nobody has open makes the master's reads fail
	hear   func([]byte)
	silent bool // the machine's power is about to be cut
}

// silence has nothing more come from this end.
func (e *End) silence() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.silent = true
}

// Listen has f called with everything that is sent from this end, also what is lost on its way. f must not keep the bytes.
func (e *End) Listen(f func([]byte)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hear = f
}

// patience is how long the far end may take to make room for what arrives; what does not fit then is lost, as on a wire.
const patience = 20 * time.Millisecond

// NewCable makes a cable with both ends loose.
func (l *Lab) NewCable(name string) *Cable {
	c := &Cable{Name: name}
	for i := range c.Ends {
		c.Ends[i] = &End{cable: c}
	}
	c.Ends[0].other, c.Ends[1].other = c.Ends[1], c.Ends[0]
	return c
}

// Cut pulls the cable (true) or connects it again; both machines keep their serial port.
func (c *Cable) Cut(cut bool) { c.cut.Store(cut) }

// Lose drops the given share, from 0 to 1, of what is sent from this end, in pieces as they come.
func (e *End) Lose(share float64) { e.loss.Store(int64(share * 1000)) }

// plug opens a terminal pair for this end and returns the path of the machine's side.
func (e *End) plug() (string, error) {
	e.unplug()
	master, err := os.OpenFile(base+"/pts/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return "", fmt.Errorf("open a terminal: %w", err)
	}
	number, err := terminalNumber(master)
	if err != nil {
		master.Close()
		return "", fmt.Errorf("open a terminal: %w", err)
	}
	path := fmt.Sprintf("%s/pts/%d", base, number)
	line, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return "", fmt.Errorf("open a terminal: %w", err)
	}
	e.mu.Lock()
	e.master, e.line, e.silent = master, line, false
	e.mu.Unlock()
	go e.relay(master)
	return path, nil
}

// terminalNumber unlocks the machine's side, makes both raw and returns its number.
func terminalNumber(master *os.File) (number uint32, err error) {
	raw, err := master.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			return
		}
		if number, err = unix.IoctlGetUint32(int(fd), unix.TIOCGPTN); err != nil {
			return
		}
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err != nil {
			return
		}
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
	})
	if controlErr != nil {
		return 0, controlErr
	}
	return number, err
}

// relay carries what the machine at this end writes to the other end, until this end is unplugged.
func (e *End) relay(master *os.File) {
	buffer := make([]byte, 4096)
	for {
		n, err := master.Read(buffer)
		if err != nil {
			return
		}
		e.mu.Lock()
		hear, silent := e.hear, e.silent
		e.mu.Unlock()
		if silent {
			continue
		}
		if hear != nil {
			hear(buffer[:n])
		}
		if e.cable.cut.Load() || rand.Int64N(1000) < e.loss.Load() {
			continue
		}
		e.other.put(buffer[:n])
	}
}

// unplug takes whatever is plugged in out again.
func (e *End) unplug() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.master != nil {
		e.master.Close()
		e.line.Close()
		e.master, e.line = nil, nil
	}
}

// free lifts an exclusive open that its owner did not live to end: a real line forgets it with the last close, a terminal
// that is still open here does not.
func (e *End) free() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.line == nil {
		return
	}
	if raw, err := e.line.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { unix.IoctlSetInt(int(fd), unix.TIOCNXCL, 0) })
	}
}

// Inject puts bytes on the wire towards one end, as interference does.
func (c *Cable) Inject(end int, b []byte) { c.Ends[end].put(b) }

// put makes bytes arrive at the machine at this end.
func (e *End) put(b []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.master != nil {
		e.master.SetWriteDeadline(time.Now().Add(patience))
		e.master.Write(b)
	}
}
