package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/host"
)

// An upgrade replaces the program of the running daemon by the one that is on disk now, under the same process id: exec. What has to live on
// goes through it as open files and in one variable of the environment; what runs of the resources is not touched. For the peer it is a
// restart of this node that is over long before deadtime, and the kernel's lease bridges it (see heartbeat.Boot).

// upgradeVariable is in the environment of a program that takes over from its predecessor in the same process.
const upgradeVariable = "HEARTBEAT_UPGRADE"

// UpgradeWord is the first word that a program prints which can be upgraded to, when it is asked (`heartbeat upgrade --check`). It changes
// with the meaning of what is handed on.
const UpgradeWord = "upgradable-1"

// legacy is what one program hands to the next. Files are numbers of open ones, 0 for none.
type legacy struct {
	From    string         `json:"from"`  // version
	Begun   time.Duration  `json:"begun"` // on the boot clock
	Lock    int            `json:"lock"`
	Control int            `json:"control"`
	Clients []legacyClient `json:"clients,omitempty"`
}

// legacyClient is a respawn or failfast client that runs.
type legacyClient struct {
	User     string `json:"user"`
	Command  string `json:"command"`
	FailFast bool   `json:"failfast,omitempty"`
	PID      int    `json:"pid"`
	Begun    string `json:"begun,omitempty"` // see host.ProcessBegun

	orphan bool // no child of this process
}

// inherit takes what a predecessor in this process left, nil where there was none. Its files are not handed on to programs.
func inherit() *legacy {
	text := os.Getenv(upgradeVariable)
	if text == "" {
		return nil
	}
	os.Unsetenv(upgradeVariable)
	l := &legacy{}
	if json.Unmarshal([]byte(text), l) != nil {
		return nil
	}
	for _, fd := range []int{l.Lock, l.Control} {
		if fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	l.adoptChildren()
	return l
}

// adoptChildren has every other process that the predecessor started waited for, so that none stays a zombie.
func (l *legacy) adoptChildren() {
	mine := map[int]bool{}
	for _, c := range l.Clients {
		mine[c.PID] = true
	}
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range lists {
		text, _ := os.ReadFile(name)
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && !mine[pid] {
				go unix.Wait4(pid, nil, 0, nil)
			}
		}
	}
}

// claim takes over the predecessor's right to the run directory; without one, or where it is for another directory, it claims it anew.
func (l *legacy) claim(p Paths) (*claim, error) {
	if l == nil || l.Lock <= 2 {
		return claimRunDir(p)
	}
	f := os.NewFile(uintptr(l.Lock), p.Lock())
	have, errA := f.Stat()
	want, errB := os.Stat(p.Lock())
	if errA != nil || errB != nil || !os.SameFile(have, want) {
		f.Close()
		return claimRunDir(p)
	}
	return &claim{lock: f, pidFile: p.PidFile()}, nil
}

// listener is the predecessor's control socket, with whoever waits at it; nil where there is none.
func (l *legacy) listener() *net.UnixListener {
	if l == nil || l.Control <= 2 {
		return nil
	}
	f := os.NewFile(uintptr(l.Control), "control")
	defer f.Close()
	made, err := net.FileListener(f)
	if err != nil {
		return nil
	}
	u, ok := made.(*net.UnixListener)
	if !ok {
		made.Close()
		return nil
	}
	u.SetUnlinkOnClose(true)
	return u
}

// upgrader is the program that a daemon is to be replaced by.
type upgrader struct {
	path string
	next string // what it says of itself
}

// upgradeCheckTime is how long the new program may take to say that it can read the configuration.
const upgradeCheckTime = 10 * time.Second

// prepareUpgrade finds the program on disk and has it read the configuration, so that what cannot work is refused while this one still runs.
func (n *node) prepareUpgrade(ctx context.Context) (upgrader, error) {
	path, err := os.Executable()
	if err != nil {
		return upgrader{}, fmt.Errorf("find this program: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, upgradeCheckTime, fmt.Errorf("did not end within %v", upgradeCheckTime))
	defer cancel()
	var said []string
	p := host.Program{Path: path, Args: []string{"upgrade", "--check", "--config", n.Paths.Config, "--state", n.Paths.State, "--run", n.Paths.Run},
		Env: os.Environ(), Line: func(line string) { said = append(said, line) }}
	err = p.Run(ctx)
	text := strings.Join(said, "\n")
	word, next, _ := strings.Cut(text, " ")
	switch {
	case err != nil && (strings.Contains(text, "unknown command") || strings.Contains(text, "unknown flag")):
		return upgrader{}, fmt.Errorf("%s cannot take over from a running daemon: it is older than that; use `heartbeat -R`, which restarts the daemon and leaves the resources running", path)
	case err != nil:
		return upgrader{}, fmt.Errorf("%s would not start, and nothing was changed: %w\n%s", path, err, text)
	case word != UpgradeWord:
		return upgrader{}, fmt.Errorf("%s cannot take over from this daemon (%q): use `heartbeat -R`, which restarts the daemon and leaves the resources running", path, text)
	}
	return upgrader{path: path, next: next}, nil
}

// errMoving says why an upgrade has to wait.
func errMoving(what string) error {
	return fmt.Errorf("%s is being started or stopped: try again when it is at rest", what)
}

// moving names a group or resource that something is done to, "" for none. Only the loop calls it.
func (e *engine) moving() string {
	for name := range e.groups.queues {
		return "resource group " + name
	}
	for _, g := range e.conf().Table.Groups {
		for _, r := range e.manager.Resources(g.Name) {
			if r.Doing == haresources.OpStart || r.Doing == haresources.OpStop {
				return "resource " + r.Spec
			}
		}
	}
	return ""
}

// answerUpgrade replaces this daemon. The answer leaves before that; its value is what the new program says of itself.
func (e *engine) answerUpgrade(ctx context.Context, who caller) Reply {
	if e.prepareUpgrade == nil {
		return Reply{Error: "this daemon cannot be upgraded"}
	}
	if !e.reloads.TryLock() {
		return Reply{Error: "the configuration is being read again: try again when that is over"}
	}
	defer e.reloads.Unlock()
	u, err := e.prepareUpgrade(ctx)
	if err != nil {
		return Reply{Error: err.Error()}
	}
	if e.keeper != nil {
		select { // what has to be on disk is written while heartbeats still go out
		case <-e.keeper.kept():
		case <-time.After(endPatience):
		}
	}
	var busy string
	err = e.inLoop(ctx, loopPatience, func() {
		if busy = e.moving(); busy == "" && e.loop.halt == nil {
			e.upgrade = &u
			e.loop.halt = &heartbeat.Halt{Reason: "upgrade"}
		}
	})
	switch {
	case err != nil:
		return Reply{Error: err.Error()}
	case busy != "":
		return Reply{Error: errMoving(busy).Error()}
	case e.upgrade == nil:
		return Reply{Error: "heartbeat is ending"}
	}
	e.log.Infof("Upgrade from %s to %s asked for by %s: nothing is released", Version, u.next, who)
	return Reply{OK: true, Value: u.next}
}

// replace is the last thing that an upgraded program does. It returns only if neither the new program nor this one can be executed.
func (n *node) replace(u upgrader, control *server) error {
	e := n.engine
	begun := realClock().Boot
	e.sd.reloading()
	l := legacy{From: Version, Begun: begun, Clients: e.clients.legacy()}
	socket, err := control.keep()
	if err != nil {
		n.log.Errorf("Control socket: %v: it is opened anew", err)
	} else {
		l.Control = int(socket.Fd())
	}
	l.Lock = int(n.claim.lock.Fd())
	n.closeFiles()
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	n.log.Close()
	env := append(os.Environ(), upgradeVariable+"="+string(text))
	syscall.ForkLock.Lock() // a script that is started now must not get the files, and with them the claim to the run directory
	defer syscall.ForkLock.Unlock()
	for _, fd := range []int{l.Lock, l.Control} {
		if fd > 2 {
			unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
	}
	err = unix.Exec(u.path, os.Args, env)
	return errors.Join(fmt.Errorf("execute %s: %w", u.path, err), unix.Exec("/proc/self/exe", os.Args, env))
}
