package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

const (
	programPrefix = "heartbeat-rehearsal:" // of argv[0], so that ps shows what a process is for
	machineName   = programPrefix + "machine"
)

// Program runs inside the namespaces that Enter made. It reads its input from in and reports to out; out is what Enter
// hands on, line by line. A non-nil error is reported to Enter's caller in words.
type Program func(in json.RawMessage, out io.Writer) error

// Divert takes over the process when Enter or Boot started it, and then never returns. Otherwise it returns at once. It
// must be called first in main, or in TestMain.
func Divert(programs map[string]Program) {
	name, ok := strings.CutPrefix(os.Args[0], programPrefix)
	if !ok {
		return
	}
	if os.Args[0] == machineName {
		os.Exit(machineMain())
	}
	program, ok := programs[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "this binary holds no rehearsal program %q\n", name)
		os.Exit(2)
	}
	os.Exit(programMain(program))
}

// programMain is process 1 of the laboratory.
func programMain(program Program) int {
	decoder := json.NewDecoder(os.Stdin)
	var in json.RawMessage
	if err := decoder.Decode(&in); err != nil {
		fmt.Fprintln(os.Stderr, "read the rehearsal's input:", err)
		return 2
	}
	go func() {
		// The caller keeps our standard input open for as long as it lives.
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	if err := program(in, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Enter runs the named program of this same binary in fresh namespaces and calls line for each line that it writes. It
// returns when the program has ended and all that it started is gone. When ctx ends, everything in there is killed.
func Enter(ctx context.Context, name string, input any, line func([]byte)) error {
	in, err := json.Marshal(input)
	if err != nil {
		return fmt.Errorf("encode the rehearsal's input: %w", err)
	}
	// A child with a parent-death signal dies with the thread that started it, so that thread must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var complaint strings.Builder
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{programPrefix + name}
	cmd.SysProcAttr = namespaces(syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS)
	cmd.SysProcAttr.Setpgid = true // the terminal's Ctrl-C reaches the caller only, which then ends everything
	cmd.Stderr = &complaint
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("open a pipe: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("open a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make namespaces: %w%s", err, namespaceHint(err))
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
	defer stdin.Close()
	if _, err := stdin.Write(append(in, '\n')); err != nil {
		cmd.Process.Kill()
	}
	readLines(stdout, line)
	return ended(ctx, cmd.Wait(), complaint.String())
}

// ended words how the laboratory's process 1 ended.
func ended(ctx context.Context, err error, complaint string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	complaint = strings.TrimSpace(complaint)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && complaint != "" {
		return errors.New(complaint)
	}
	return fmt.Errorf("run the laboratory: %w: %s", err, complaint)
}

// namespaces is how a process enters new namespaces of the given kinds, dying with the thread that made it. Who is not
// root gets a user namespace as well, in which he is.
func namespaces(flags uintptr) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// namespaceHint says what to do when the kernel refuses namespaces.
func namespaceHint(err error) string {
	if os.Geteuid() == 0 {
		return " (is this a container without CAP_SYS_ADMIN? run on a machine, or give the container --privileged)"
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
		return " (unprivileged user namespaces are switched off here: run as root, or see sysctl user.max_user_namespaces)"
	}
	return ""
}

// readLines calls line for each line of r until it ends; lines may be of any length.
func readLines(r io.Reader, line func([]byte)) {
	decoder := json.NewDecoder(r)
	for {
		var raw json.RawMessage
		if decoder.Decode(&raw) != nil {
			io.Copy(io.Discard, r)
			return
		}
		line(raw)
	}
}
