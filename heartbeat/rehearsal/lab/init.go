package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// control is the descriptor on which a machine's process 1 talks to the laboratory.
const control = 3

// machineMain is process 1 of a machine: it mounts what is private there, then runs what it is asked to and reaps
// whatever ends. When the laboratory goes away, so does the machine.
func machineMain() int {
	link := os.NewFile(control, "control")
	syscall.CloseOnExec(control)
	decoder, encoder := json.NewDecoder(link), json.NewEncoder(link)
	var s setup
	if err := decoder.Decode(&s); err != nil {
		return 2
	}
	err := s.apply()
	if err != nil {
		encoder.Encode(reply{Error: err.Error()})
		return 1
	}
	encoder.Encode(reply{})
	i := &initProcess{encoder: encoder, waiting: map[int]*child{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD) // before anything is run: what ended unheard would never be collected
	go i.reap(signals)
	for {
		var r request
		if err := decoder.Decode(&r); err != nil {
			return 0
		}
		i.run(r)
	}
}

// apply makes the machine: name, sysctls, private directories, devices.
func (s setup) apply() error {
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	unix.Mount("sysfs", "/sys", "sysfs", 0, "") // some containers refuse; then the host's interfaces are seen there
	for name, value := range s.Sysctls {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set sysctl %s: %w", name, err)
		}
	}
	if err := s.devices(); err != nil {
		return err
	}
	for _, b := range s.Binds {
		if err := s.show(b); err != nil {
			return fmt.Errorf("show %s: %w", b.Target, err)
		}
	}
	if err := bind(filepath.Join(s.Dir, "log"), "/var/log"); err != nil {
		return fmt.Errorf("make /var/log private: %w", err)
	}
	// Last: it hides the laboratory's own files.
	if err := bind(filepath.Join(s.Dir, "run"), "/run"); err != nil {
		return fmt.Errorf("make /run private: %w", err)
	}
	return upLoopback()
}

// show makes one bind. Its target is below /run, or a directory or file that exists: nothing is made on the host for it.
func (s setup) show(b Bind) error {
	if rest, ok := strings.CutPrefix(b.Target, "/run/"); ok {
		return bind(b.Source, filepath.Join(s.Dir, "run", rest))
	}
	if _, err := os.Stat(b.Target); err != nil {
		return err
	}
	return bind(b.Source, b.Target)
}

// devices gives the machine a /dev of its own: the harmless devices, terminals, and the serial lines.
func (s setup) devices() error {
	dev := filepath.Join(s.Dir, "dev")
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := bind("/dev/"+name, filepath.Join(dev, name)); err != nil {
			return fmt.Errorf("make /dev private: %w", err)
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := os.MkdirAll(filepath.Join(dev, name), 0o777); err != nil {
			return fmt.Errorf("make /dev private: %w", err)
		}
	}
	for link, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(dev, link)); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make /dev private: %w", err)
		}
	}
	for path, terminal := range s.Serials {
		relative, ok := strings.CutPrefix(path, "/dev/")
		if !ok {
			return fmt.Errorf("serial line %s is not below /dev", path)
		}
		if err := bind(terminal, filepath.Join(dev, relative)); err != nil {
			return fmt.Errorf("connect serial line %s: %w", path, err)
		}
	}
	if err := mountAt("devpts", filepath.Join(dev, "pts"), "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	return bind(dev, "/dev")
}

// child is a process that somebody asked for and waits for.
type child struct {
	id     int
	output chan string // yields what it printed, once nobody can print any more; nil when that went to a log
}

type initProcess struct {
	mu      sync.Mutex // held over fork, so that a child is known before it is reaped
	encoder *json.Encoder
	waiting map[int]*child
}

// run starts a program and says so.
func (i *initProcess) run(r request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	pid, c, err := start(r)
	if err != nil {
		i.encoder.Encode(reply{ID: r.ID, Ended: true, Exit: 127, Error: err.Error()})
		return
	}
	i.waiting[pid] = c
	i.encoder.Encode(reply{ID: r.ID, Pid: pid})
}

// start forks the program of a request, in a session of its own.
func start(r request) (int, *child, error) {
	os.Setenv("PATH", pathOf(r.Env))
	program, err := exec.LookPath(r.Argv[0])
	if err != nil {
		return 0, nil, err
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		return 0, nil, err
	}
	defer null.Close()
	c := &child{id: r.ID}
	out, err := c.sink(r.Log)
	if err != nil {
		return 0, nil, err
	}
	defer out.Close()
	pid, err := syscall.ForkExec(program, r.Argv, &syscall.ProcAttr{
		Dir: "/", Env: r.Env, Files: []uintptr{null.Fd(), out.Fd(), out.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, nil, fmt.Errorf("start %s: %w", program, err)
	}
	return pid, c, nil
}

// sink is where a child's output goes: to a log, or collected for the reply. What a daemon's grandchildren print after
// the child has ended is not waited for.
func (c *child) sink(log string) (*os.File, error) {
	if log != "" {
		return os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	}
	f, err := os.CreateTemp("/run", ".output-")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	reader, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		f.Close()
		return nil, err
	}
	c.output = make(chan string, 1)
	go func() {
		<-c.output // the child has ended
		text, _ := io.ReadAll(io.LimitReader(reader, 1<<20))
		reader.Close()
		c.output <- string(text)
	}()
	return f, nil
}

// pathOf is the PATH in an environment.
func pathOf(env []string) string {
	for _, e := range env {
		if p, ok := strings.CutPrefix(e, "PATH="); ok {
			return p
		}
	}
	return "/usr/sbin:/usr/bin:/sbin:/bin"
}

// reap collects every process that ends in the machine, and reports those that were asked for.
func (i *initProcess) reap(signals <-chan os.Signal) {
	for range signals {
		for i.reapOne() {
		}
	}
}

// reapOne collects one ended process, and says whether there may be more.
func (i *initProcess) reapOne() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if errors.Is(err, syscall.EINTR) {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	c, ok := i.waiting[pid]
	if !ok {
		return true
	}
	delete(i.waiting, pid)
	r := reply{ID: c.id, Pid: pid, Ended: true, Exit: status.ExitStatus()}
	if status.Signaled() {
		r.Exit = 128 + int(status.Signal())
	}
	if c.output != nil {
		c.output <- ""
		r.Output = <-c.output
	}
	i.encoder.Encode(r)
	return true
}
