package host

import (
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// selector waits for the sockets of all links and the loop's timer with one goroutine. The runtime's poller has a goroutine
// for each, and wakes a second thread when two are ready together, as the links of a pair always are: that was a fifth of
// what a node costs when idle.
type selector struct {
	file *os.File
	raw  syscall.RawConn

	next  int32
	ready map[int32]func() // guarded by selecting

	events [16]unix.EpollEvent
	count  int
}

// selecting is the process's selector; there is one while something is selected on.
var selecting struct {
	sync.Mutex
	now *selector
}

func newSelector() (*selector, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("create epoll", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // an epoll can itself be waited for: this one in the runtime's
		unix.Close(fd)
		return nil, os.NewSyscallError("create epoll", err)
	}
	s := &selector{file: os.NewFile(uintptr(fd), "selector"), ready: map[int32]func(){}}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, os.NewSyscallError("create epoll", err)
	}
	go s.run()
	return s, nil
}

// OnReadable has ready called, by the process's selector, as often as there is something to read from the socket, until the
// socket is closed and forget called. ready must take something or learn an error each time, and must not wait. The socket
// must be one that is read with TryRead.
func (s *Socket) OnReadable(ready func()) (forget func(), err error) {
	return selectOn(s.raw, unix.EPOLLIN, ready)
}

// selectOn adds a descriptor to the process's selector.
func selectOn(raw syscall.RawConn, events uint32, ready func()) (forget func(), err error) {
	selecting.Lock()
	defer selecting.Unlock()
	s := selecting.now
	if s == nil {
		if s, err = newSelector(); err != nil {
			return nil, err
		}
		selecting.now = s
	}
	s.next++
	key := s.next
	err = control(raw, func(fd int) error {
		return control(s.raw, func(epoll int) error {
			return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: key})
		})
	})
	if err != nil {
		s.forget(-1)
		return nil, os.NewSyscallError("add to epoll", err)
	}
	s.ready[key] = ready
	return func() {
		selecting.Lock()
		defer selecting.Unlock()
		s.forget(key)
	}, nil
}

// forget ends the calls for a descriptor, and with the last one the selector. It is called under selecting's lock.
func (s *selector) forget(key int32) {
	delete(s.ready, key)
	if len(s.ready) == 0 && selecting.now == s {
		selecting.now = nil
		s.file.Close()
	}
}

// control calls f with the descriptor, which must not be kept.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

func (s *selector) run() {
	wait := s.wait
	for s.raw.Read(wait) == nil {
		for _, e := range s.events[:s.count] {
			selecting.Lock()
			ready := s.ready[e.Fd]
			selecting.Unlock()
			if ready != nil {
				ready()
			}
		}
	}
}

func (s *selector) wait(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&s.events)), uintptr(len(s.events)), 0, 0, 0)
	if errno != 0 {
		n = 0
	}
	s.count = int(n)
	return n > 0
}
