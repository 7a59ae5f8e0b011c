package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"hapair/heartbeat/config"
	"hapair/heartbeat/daemon"
	"hapair/heartbeat/host"
)

// The classic command line (protocol section 11.2).
const (
	classicOptions  = "dDkMrRsvWlC:Vf"
	classicUsage    = "\nUsage: heartbeat [-dDkMrRsvWlVf] [-C Current-resource-state]\n\t-C only valid with -R\n\t-r is mutually exclusive with -R\n"
	classicRevision = "958e11be8686759f1b99204c17812f2c2633b169" // of the release whose behaviour this is
)

// classic does what the options of Linux-HA's program ask for.
func (a *app) classic(args []string) int {
	o, err := getopt(classicOptions, args)
	if err != nil || len(o.rest) > 0 || o.has('C') && !o.has('R') || o.has('r') && o.has('R') || o.has('C') && !slices.Contains([]string{"none", "local", "foreign", "all"}, o.value['C']) {
		if err != nil {
			fmt.Fprintf(a.err, "heartbeat: %v\n", err)
		}
		fmt.Fprint(a.err, classicUsage)
		return exitUsage
	}
	switch {
	case o.has('V'):
		fmt.Fprintf(a.out, "%s (node: %s)\n", daemon.ClassicVersion, classicRevision)
		return exitOK
	case o.has('D'), o.has('W'):
		return a.defaults(o.has('W'))
	case o.has('s'):
		return a.classicStatus()
	case o.has('k'):
		return a.classicStop()
	case o.has('R'):
		return a.classicRestart()
	case o.has('r'):
		if code, running := a.classicReload(); running {
			return code
		}
	}
	return a.classicStart(o)
}

// classicStart starts the daemon: with -f in this process, else in the background.
func (a *app) classicStart(o options) int {
	if pid, state := daemon.Running(a.dirs.paths()); state == daemon.PidRunning {
		fmt.Fprintf(a.err, "%v\n", &daemon.RunningError{PID: pid})
		return exitOK
	}
	run := daemon.Options{Paths: a.dirs.paths(), Verbosity: o.given['d'], NoRealtime: o.has('l'), Unmanaged: o.has('M')}
	if o.has('f') {
		return a.exitCode(a.run(run))
	}
	return a.background(o)
}

// exitCode reports an error of a command and returns its exit code.
func (a *app) exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var e *exit
	if !errors.As(err, &e) {
		e = &exit{exitFailure, err}
	}
	if e.cause != nil {
		fmt.Fprintf(a.err, "ERROR: %v\n", e.cause)
	}
	return e.code
}

// background starts the daemon as a process of its own and returns when it works, or has said why it does not.
func (a *app) background(o options) int {
	self, err := os.Executable()
	if err != nil {
		return a.exitCode(err)
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return a.exitCode(err)
	}
	defer ready.Close()
	p := a.dirs.paths()
	args := []string{"run", "--config", p.Config, "--state", p.State, "--run", p.Run, fmt.Sprintf("--debug=%d", o.given['d']),
		fmt.Sprintf("--no-realtime=%v", o.has('l')), fmt.Sprintf("--no-resources=%v", o.has('M'))}
	said, err := os.CreateTemp("", "heartbeat-start-") // what it says until it works; a pipe would outlive its reader
	if err != nil {
		return a.exitCode(err)
	}
	defer said.Close()
	os.Remove(said.Name())
	cmd := exec.Command(self, args...)
	cmd.Args[0] = "heartbeat"
	cmd.Env = append(os.Environ(), readyFile+"=3")
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = "/", said, []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return a.exitCode(err)
	}
	theirs.Close()
	word, _ := io.ReadAll(ready)
	if len(word) > 0 {
		cmd.Process.Release()
		return exitOK
	}
	err = cmd.Wait()
	said.Seek(0, io.SeekStart)
	io.Copy(a.err, said)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() > 0 {
		return ended.ExitCode()
	}
	return exitFailure
}

// classicStatus is -s.
func (a *app) classicStatus() int {
	pid, state := daemon.Running(a.dirs.paths())
	if state != daemon.PidRunning {
		fmt.Fprintln(a.out, "heartbeat is stopped. No process")
		if state == daemon.PidStale {
			return exitFailure
		}
		return exitNotRunning
	}
	uname, local := a.names()
	fmt.Fprintf(a.out, "heartbeat OK [pid %d et al] is running on %s [%s]...\n", pid, uname, local)
	return exitOK
}

// names is `uname -n` and this node's name in the cluster.
func (a *app) names() (uname, local string) {
	uname, _ = host.NodeName("") // no directory: no nodeinfo
	local, err := host.NodeName(a.dirs.paths().Config)
	if err != nil {
		local = uname
	}
	return uname, local
}

// stopPoll is how often a stopping daemon is looked at. Linux-HA looks once a second.
const stopPoll = 50 * time.Millisecond

// classicStop is -k.
func (a *app) classicStop() int {
	pid, state := daemon.Running(a.dirs.paths())
	if state != daemon.PidRunning {
		fmt.Fprintln(a.err, "INFO: Heartbeat already stopped.")
		return exitOK
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		fmt.Fprintf(a.err, "ERROR: Could not kill pid %d\n", pid)
		if errors.Is(err, syscall.EPERM) {
			return daemon.ExitPermission
		}
		return exitFailure
	}
	for {
		if now, state := daemon.Running(a.dirs.paths()); state != daemon.PidRunning || now != pid {
			return exitOK
		}
		time.Sleep(stopPoll)
	}
}

// classicReload is -r: the configuration is checked first, and a bad one is not even signalled. running tells whether there
// was a daemon.
func (a *app) classicReload() (code int, running bool) {
	pid, state := daemon.Running(a.dirs.paths())
	if state != daemon.PidRunning {
		return exitOK, false
	}
	c, faults := daemon.LoadConfig(a.dirs.paths())
	if faults.Err() != nil {
		fmt.Fprintln(a.err, faults.Error())
		fmt.Fprintf(a.err, "INFO: Config errors: Heartbeat pid %d NOT restarted\n", pid)
		if daemon.ConfigExit(c) == daemon.ExitPermission {
			return daemon.ExitPermission, true
		}
		return exitFailure, true
	}
	fmt.Fprintf(a.err, "INFO: Signalling heartbeat pid %d to reread config files\n", pid)
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		fmt.Fprintf(a.err, "ERROR: Could not signal pid %d: %v\n", pid, err)
		return exitFailure, true
	}
	return exitOK, true
}

// classicRestart is -R, by which Linux-HA's program takes over from itself. This one changes while it runs.
func (a *app) classicRestart() int {
	pid, state := daemon.Running(a.dirs.paths())
	if state != daemon.PidRunning {
		fmt.Fprintln(a.err, "ERROR: heartbeat is not running.")
		return daemon.ExitConfig
	}
	fmt.Fprintf(a.err, "ERROR: Heartbeat already running [pid %d].\n", pid)
	return exitFailure
}

// defaults prints the configuration that an empty ha.cf means.
func (a *app) defaults(wiki bool) int {
	dir, err := os.MkdirTemp("", "heartbeat-defaults-")
	if err != nil {
		return a.exitCode(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(dir+"/ha.cf", nil, 0o600); err != nil {
		return a.exitCode(err)
	}
	c, _ := config.Load(dir)
	if wiki {
		fmt.Fprintln(a.out, "||'''Directive'''||'''Default'''||")
	}
	for _, d := range c.Directives {
		if wiki {
			fmt.Fprintf(a.out, "||%s||%s||\n", d.Name, d.Value)
		} else {
			fmt.Fprintf(a.out, "%s %s\n", d.Name, d.Value)
		}
	}
	return exitOK
}
