package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/vishvananda/netns"
)

// MachineSpec is what a machine has when it is booted.
type MachineSpec struct {
	Name    string            // its host name
	Ports   []Port            // its network interfaces
	Binds   []Bind            // private files; /run, /var/log and /dev are private anyway
	Cables  map[string]*End   // device path → the end of the cable that is plugged in there
	Sysctls map[string]string // path below /proc/sys → value, set before any interface exists
	Routes  []Route           // beside those that the addresses bring
}

// Machine is a booted machine.
type Machine struct {
	Name  string
	Done  <-chan struct{} // closed when its process 1 has ended, and with it everything on it
	Ports []*Plug         // its cables, at the switches' end, in the order of the specification

	pid      int
	pidSpace string // identifies its process namespace
	dir      string
	cables   []*End
	ns       netns.NsHandle

	mu      sync.Mutex
	control *os.File
	encoder *json.Encoder
	nextID  int
	pending map[int]*Process
}

// Boot starts a machine. Files that it wrote to its /run in an earlier life are gone, those in /var/log are kept.
func (l *Lab) Boot(spec MachineSpec) (*Machine, error) {
	dir, err := l.freshMachine(spec.Name)
	if err != nil {
		return nil, err
	}
	m := &Machine{Name: spec.Name, dir: dir, pending: map[int]*Process{}}
	s := setup{Hostname: spec.Name, Dir: dir, Binds: spec.Binds, Sysctls: spec.Sysctls, Serials: map[string]string{}}
	for path, end := range spec.Cables {
		terminal, err := end.plug()
		if err != nil {
			return nil, fmt.Errorf("boot %s: %w", spec.Name, err)
		}
		s.Serials[path] = terminal
		m.cables = append(m.cables, end)
	}
	if err := m.startInit(s); err != nil {
		return nil, fmt.Errorf("boot %s: %w", spec.Name, err)
	}
	if err := m.connect(spec); err != nil {
		m.PowerOff()
		return nil, fmt.Errorf("boot %s: %w", spec.Name, err)
	}
	return m, nil
}

// freshMachine makes a machine's own directories; only the logs of an earlier life are kept.
func (l *Lab) freshMachine(name string) (string, error) {
	dir := filepath.Join(base, "machines", name)
	for _, sub := range []string{"run", "dev"} {
		if err := os.RemoveAll(filepath.Join(dir, sub)); err != nil {
			return "", fmt.Errorf("clear the old %s of %s: %w", sub, name, err)
		}
	}
	for _, sub := range []string{"run/lock", "run/lock/subsys", "dev", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return "", fmt.Errorf("make the directories of %s: %w", name, err)
		}
	}
	return dir, nil
}

// startInit starts the machine's process 1 and waits until it has made itself at home.
func (m *Machine) startInit(s setup) error {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a control line: %w", err)
	}
	syscall.SetNonblock(pair[0], true)
	m.control = os.NewFile(uintptr(pair[0]), "control of "+m.Name)
	far := os.NewFile(uintptr(pair[1]), "control")
	m.encoder = json.NewEncoder(m.control)
	done, started := make(chan struct{}), make(chan error)
	m.Done = done
	go m.hold(far, started, done)
	if err := <-started; err != nil {
		m.control.Close()
		return err
	}
	decoder := json.NewDecoder(m.control)
	if err := m.encoder.Encode(s); err != nil {
		return fmt.Errorf("tell process 1 what to be: %w", err)
	}
	var first reply
	if err := decoder.Decode(&first); err != nil {
		return fmt.Errorf("hear from process 1: %w", err)
	}
	if first.Error != "" {
		return errors.New(first.Error)
	}
	go m.listen(decoder)
	return nil
}

// hold starts process 1 from a thread that lives as long as it does, since the kernel ties its death signal to it.
func (m *Machine) hold(far *os.File, started chan<- error, done chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(done)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{machineName}
	cmd.ExtraFiles = []*os.File{far}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true, Cloneflags: syscall.CLONE_NEWNS |
		syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS}
	err := cmd.Start()
	far.Close()
	if err == nil {
		m.pid = cmd.Process.Pid
		m.pidSpace, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", m.pid))
	}
	started <- err
	if cmd.Process != nil {
		cmd.Wait()
	}
}

// connect opens the machine's network namespace, and plugs its interfaces in.
func (m *Machine) connect(spec MachineSpec) error {
	ns, err := netns.GetFromPid(m.pid)
	if err != nil {
		return fmt.Errorf("open its network namespace: %w", err)
	}
	m.ns = ns
	m.Ports, err = plugAll(ns, spec.Ports, spec.Routes)
	return err
}

// listen hands the replies of process 1 to those who wait for them.
func (m *Machine) listen(decoder *json.Decoder) {
	for {
		var r reply
		if err := decoder.Decode(&r); err != nil {
			break
		}
		m.mu.Lock()
		p := m.pending[r.ID]
		if r.Ended {
			delete(m.pending, r.ID)
		}
		m.mu.Unlock()
		if p != nil {
			p.deliver(r)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, p := range m.pending {
		p.deliver(reply{Ended: true, Exit: 137, Error: m.Name + " lost power"})
		delete(m.pending, id)
	}
	m.control.Close()
	m.control = nil
}

// Process is a program started on a machine.
type Process struct {
	Ended <-chan struct{} // closed when it has ended

	machine *Machine
	pid     int // in the machine's own numbering
	ended   chan struct{}
	started chan struct{}
	once    sync.Once
	result  Result
	err     error
}

// Result is how a program ended.
type Result struct {
	Exit   int    // 128 + signal for a process that a signal ended
	Output string // standard output and error together, at most 1 MiB
}

func (p *Process) deliver(r reply) {
	if r.Error != "" {
		p.err = errors.New(r.Error)
	}
	if r.Ended {
		p.result = Result{Exit: r.Exit, Output: r.Output}
	} else {
		p.pid = r.Pid
	}
	p.once.Do(func() { close(p.started) })
	if r.Ended {
		close(p.ended)
	}
}

// Wait returns how the program ended, or the error that kept it from starting.
func (p *Process) Wait(ctx context.Context) (Result, error) {
	select {
	case <-p.ended:
		return p.result, p.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// environment is what programs on a machine get, besides what they are given.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"}

// Start starts a program on the machine, with its output appended to a file there (below /var/log, say).
func (m *Machine) Start(log string, argv ...string) (*Process, error) {
	for _, c := range m.cables {
		c.free()
	}
	p, err := m.request(request{Argv: argv, Env: environment, Log: log})
	if err != nil {
		return nil, err
	}
	<-p.started
	select {
	case <-p.ended:
		if p.err != nil {
			return nil, p.err
		}
	default:
	}
	return p, nil
}

// Run runs a program on the machine and returns how it ended. Only a program that could not be run at all, or not in
// time, is an error.
func (m *Machine) Run(ctx context.Context, argv ...string) (Result, error) {
	p, err := m.request(request{Argv: argv, Env: environment})
	if err != nil {
		return Result{}, err
	}
	result, err := p.Wait(ctx)
	if err != nil {
		return result, fmt.Errorf("run %s on %s: %w", strings.Join(argv, " "), m.Name, err)
	}
	return result, nil
}

func (m *Machine) request(r request) (*Process, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.control == nil {
		return nil, fmt.Errorf("%s has no power", m.Name)
	}
	m.nextID++
	r.ID = m.nextID
	p := &Process{machine: m, ended: make(chan struct{}), started: make(chan struct{})}
	p.Ended = p.ended
	m.pending[r.ID] = p
	if err := m.encoder.Encode(r); err != nil {
		delete(m.pending, r.ID)
		return nil, fmt.Errorf("ask %s to run %s: %w", m.Name, r.Argv[0], err)
	}
	return p, nil
}

// Alive says whether the machine has power.
func (m *Machine) Alive() bool {
	select {
	case <-m.Done:
		return false
	default:
		return true
	}
}

// LogDir is where the laboratory sees the machine's /var/log.
func (m *Machine) LogDir() string { return filepath.Join(m.dir, "log") }

// PowerOff pulls the plug: first every cable goes dead, at one instant for whoever watches, then every process.
func (m *Machine) PowerOff() {
	for _, p := range m.Ports {
		p.Pull()
	}
	for _, c := range m.cables {
		c.silence()
	}
	if m.pid > 0 && m.Alive() {
		syscall.Kill(m.pid, syscall.SIGKILL)
		<-m.Done
	}
	for _, c := range m.cables {
		c.unplug() // not before: its programs would see the line end
	}
	for _, p := range m.Ports {
		p.remove()
	}
	if m.ns > 0 {
		m.ns.Close()
	}
}
