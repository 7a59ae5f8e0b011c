package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of the control socket.
const (
	controlClients  = 32
	controlLine     = 64 << 10
	controlIdle     = 5 * time.Minute
	controlPatience = 5 * time.Second // for one answer to be read by the client
)

// caller is who sits at the other end of a control connection.
type caller struct {
	uid, pid int
	may      bool // make changes
}

// String names the caller for log and journal.
func (c caller) String() string {
	name := "uid " + strconv.Itoa(c.uid)
	if u, err := user.LookupId(strconv.Itoa(c.uid)); err == nil {
		name = u.Username
	}
	return fmt.Sprintf("%s (pid %d)", name, c.pid)
}

// server is the control socket.
type server struct {
	answer func(ctx context.Context, who caller, r Request) Reply
	log    *Log
	group  int // gid of haclient, -1 when there is none

	listener *net.UnixListener
	slots    chan struct{}
	tasks    sync.WaitGroup
	ctx      context.Context
	cancel   context.CancelFunc
}

// controlGroup is the group whose members may make changes, as in Linux-HA.
const controlGroup = "haclient"

// newServer opens the socket, or goes on with one that a predecessor opened; start serves it.
func newServer(path string, l *net.UnixListener, log *Log, answer func(context.Context, caller, Request) Reply) (*server, error) {
	if l == nil {
		var err error
		if l, err = openControl(path); err != nil {
			return nil, fmt.Errorf("open control socket: %w", err)
		}
	}
	s := &server{answer: answer, log: log, group: -1, listener: l, slots: make(chan struct{}, controlClients)}
	if g, err := user.LookupGroup(controlGroup); err == nil {
		s.group, _ = strconv.Atoi(g.Gid)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// openControl makes the socket.
func openControl(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil { // reading is for all; each change asks for credentials
		l.Close()
		return nil, err
	}
	return l, nil
}

// keep ends the serving as close does, but leaves the socket open for a successor, with whoever connects meanwhile.
func (s *server) keep() (*os.File, error) {
	f, err := s.listener.File()
	if err == nil {
		s.listener.SetUnlinkOnClose(false)
	}
	s.cancel()
	s.listener.Close()
	idle := make(chan struct{})
	go func() {
		s.tasks.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-time.After(keepPatience): // whoever does not read its answer does without
	}
	return f, err
}

// keepPatience is how long a successor waits for answers to be read.
const keepPatience = 100 * time.Millisecond

// start accepts connections until close.
func (s *server) start() { s.tasks.Go(s.accept) }

func (s *server) accept() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Errorf("Control socket: %v", err)
			select {
			case <-time.After(time.Second): // out of file descriptors: do not spin
			case <-s.ctx.Done():
				return
			}
			continue
		}
		select {
		case s.slots <- struct{}{}:
			s.tasks.Go(func() {
				defer func() { <-s.slots }()
				s.serve(conn)
			})
		default:
			conn.Close()
		}
	}
}

// close ends the socket and all connections.
func (s *server) close() {
	s.cancel()
	s.listener.Close()
	s.tasks.Wait()
}

// serve answers one connection until it closes.
func (s *server) serve(conn *net.UnixConn) {
	defer conn.Close()
	stop := context.AfterFunc(s.ctx, func() { conn.CloseRead() })
	defer stop()
	who, err := s.identify(conn)
	if err != nil {
		return
	}
	in := bufio.NewScanner(conn)
	in.Buffer(nil, controlLine)
	out := json.NewEncoder(conn)
	for s.ctx.Err() == nil {
		conn.SetReadDeadline(time.Now().Add(controlIdle))
		if !in.Scan() {
			return
		}
		reply := s.reply(who, in.Bytes())
		conn.SetWriteDeadline(time.Now().Add(controlPatience))
		if out.Encode(reply) != nil {
			return
		}
	}
}

// reply answers one line.
func (s *server) reply(who caller, line []byte) Reply {
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		return Reply{Error: "not a request: " + err.Error()}
	}
	if !reads[r.Command] && !who.may {
		return Reply{Denied: true, Error: fmt.Sprintf("%s may not do this: be root, or a member of the group %s", who, controlGroup)}
	}
	return s.answer(s.ctx, who, r)
}

// identify asks the kernel who connected.
func (s *server) identify(conn *net.UnixConn) (caller, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return caller{}, err
	}
	var cred *unix.Ucred
	var groups []int
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if credErr == nil && s.group >= 0 {
			groups = peerGroups(int(fd))
		}
	})
	if err := errors.Join(err, credErr); err != nil {
		return caller{}, err
	}
	who := caller{uid: int(cred.Uid), pid: int(cred.Pid)}
	who.may = who.uid == 0 || who.uid == os.Geteuid() ||
		s.group >= 0 && (int(cred.Gid) == s.group || slices.Contains(groups, s.group))
	return who, nil
}

// peerGroups lists the supplementary groups of the process at the other end, nil where the kernel does not tell.
func peerGroups(fd int) []int {
	const most = 1024
	raw, err := getsockoptBytes(fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS, 4*most)
	if err != nil {
		return nil
	}
	groups := make([]int, 0, len(raw)/4)
	for i := 0; i+4 <= len(raw); i += 4 {
		groups = append(groups, int(nativeUint32(raw[i:])))
	}
	return groups
}
