package stonith

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"hapair/heartbeat/host"
)

// Cause is why a device did not do what it was asked.
type Cause string

// The causes, as far as a program's answer tells them apart.
const (
	CauseMissing     Cause = "not installed"
	CauseMode        Cause = "not executable"
	CauseWritable    Cause = "writable by others"
	CauseParameter   Cause = "missing parameter"
	CauseUnknown     Cause = "unknown parameter"
	CauseFile        Cause = "parameter file"
	CauseCredentials Cause = "wrong credentials"
	CauseUnreachable Cause = "unreachable"
	CauseHost        Cause = "cannot handle the node"
	CauseProgram     Cause = "a program is missing"
	CauseTimeout     Cause = "no answer in time"
	CauseNotOff      Cause = "not switched off"
	CauseOther       Cause = "failed"
)

// remedies say what to do about a cause where the failure knows nothing better.
var remedies = map[Cause]string{
	CauseMissing:     "install the package with it, or correct its name; `heartbeat fence check` tells when it is found",
	CauseMode:        "chmod 755 it",
	CauseWritable:    "chmod go-w it: whoever can change it could switch this machine off",
	CauseParameter:   "add it to the stonith line of ha.cf",
	CauseUnknown:     "correct the name of the parameter",
	CauseFile:        "the first line that is no comment holds the parameters",
	CauseCredentials: "correct user name and password in the stonith line, and try them by hand",
	CauseUnreachable: "check the device's address, its power and cable, and that this node has a route to it",
	CauseHost:        "correct the host names in the device's parameters",
	CauseProgram:     "install it",
	CauseTimeout:     "look whether the device answers at all; a slow one needs `#hapair: fence-timeout=` in ha.cf",
	CauseNotOff:      "look at the machine, and at whether the device is wired to that machine",
	CauseOther:       "run it by hand as shown by `heartbeat fence check`",
}

// Failure is an error of a device.
type Failure struct {
	Device string
	Cause  Cause
	What   string // what was seen
	Remedy string // what to do
	Err    error  // the error below, if there is one
}

// fail makes a Failure with the cause's own remedy.
func fail(device string, cause Cause, format string, args ...any) *Failure {
	return &Failure{Device: device, Cause: cause, What: fmt.Sprintf(format, args...), Remedy: remedies[cause]}
}

// Error renders device, what was seen, cause and remedy.
func (f *Failure) Error() string {
	text := f.Device + ": " + f.What
	switch f.Cause {
	case CauseCredentials, CauseUnreachable, CauseProgram, CauseHost: // read out of a program's words, which may not say it
		if !strings.Contains(strings.ToLower(f.What), string(f.Cause)) {
			text += ": " + string(f.Cause)
		}
	}
	return text + " (" + f.Remedy + ")"
}

// Unwrap gives the error below.
func (f *Failure) Unwrap() error { return f.Err }

// CauseOf is the cause of an error of this package, CauseOther for any other error.
func CauseOf(err error) Cause {
	var f *Failure
	if errors.As(err, &f) {
		return f.Cause
	}
	return CauseOther
}

// complaints are words of fence agents, plugins and the tools below them, in the order in which they are looked for: what is
// more telling comes first. They are matched in lower case.
var complaints = []struct {
	cause Cause
	words []string
}{
	{CauseProgram, []string{"command was not found", "not found or not accessible", "ipmitool not installed", "not installed",
		"command not found", "modulenotfounderror", "no module named"}},
	{CauseHost, []string{"existing name/uuid"}},
	{CauseParameter, []string{"you have to", "missing; check configuration", "is required", "not specified", "parameter missing",
		"missing parameter", "have to enter", "must specify", "must be set"}},
	{CauseCredentials, []string{"permission denied", "authentication", "unauthorized", "login denied", "login failed", "access denied",
		"invalid user", "invalid password", "invalid credential", "incorrect password", "wrong password", "incorrect login",
		"correct privileges", "password invalid", "error: 401", "error: 403", "http 401", "status 401", "rakp 2", "bad password",
		"host key verification failed"}},
	{CauseUnreachable, []string{"connection refused", "no route to host", "unreachable", "timed out", "timeout", "could not resolve",
		"name or service not known", "unknown host", "connection lost", "unable to establish", "temporary failure in name resolution",
		"connection reset", "no response", "unable to connect"}},
	{CauseHost, []string{"plug is not available", "can not find vm", "cannot find", "no such domain", "failed to get domain",
		"unable to obtain correct plug status", "not controlled"}},
}

// causeOf looks for known complaints in what a program wrote.
func causeOf(lines []string) (cause Cause, line string) {
	for _, c := range complaints {
		for _, l := range lines {
			lower := strings.ToLower(l)
			for _, w := range c.words {
				if !strings.Contains(lower, w) {
					continue
				}
				if c.cause == CauseCredentials && saysUnreachable(lower) {
					return CauseUnreachable, l // "login failed: connection timed out"
				}
				return c.cause, l
			}
		}
	}
	return CauseOther, ""
}

// saysUnreachable tells that nobody was there to log in to.
func saysUnreachable(line string) bool {
	for _, w := range []string{"connection refused", "no route to host", "timed out", "network is unreachable", "could not resolve"} {
		if strings.Contains(line, w) {
			return true
		}
	}
	return false
}

// classify turns the end of a program into a Failure. args is what it was asked.
func classify(device string, r result, args string) *Failure {
	var exit *host.ExitError
	var late *lateError
	switch {
	case errors.As(r.err, &late):
		f := fail(device, CauseTimeout, "%s: no answer in %v", args, late.timeout)
		f.Err = r.err
		if cause, line := causeOf(r.all()); cause == CauseUnreachable || cause == CauseCredentials {
			f.What += ", its last complaint: " + veil(line, r.hidden)
		}
		return f
	case !errors.As(r.err, &exit):
		f := fail(device, CauseOther, "%s: %v", args, r.err)
		f.Err = r.err
		return f
	}
	cause, line := causeOf(r.all())
	if missing := missingCommand(r.all()); cause == CauseOther && missing != "" {
		cause, line = CauseProgram, missing+" is not installed"
	}
	if line == "" {
		line = lastTelling(r)
	}
	f := fail(device, cause, "%s: exit code %d", args, exit.Code)
	if exit.Signal != 0 {
		f.What = fmt.Sprintf("%s: ended by signal %d", args, int(exit.Signal))
	}
	if line != "" {
		f.What += ": " + veil(line, r.hidden)
	}
	f.Err = r.err
	return f
}

// cannotRun is how fence agents say that a command failed, for whatever reason.
var cannotRun = regexp.MustCompile(`(?i)cannot run command '?(/[^\s']+)`)

// missingCommand is a program that an agent could not run and that is not there, "" for none.
func missingCommand(lines []string) string {
	for _, l := range lines {
		if m := cannotRun.FindStringSubmatch(l); m != nil {
			if _, err := os.Stat(m[1]); errors.Is(err, fs.ErrNotExist) {
				return m[1]
			}
		}
	}
	return ""
}

// lastTelling is the last line of output that says something.
func lastTelling(r result) string {
	for _, list := range [][]string{r.errors, r.answer} {
		for i := len(list) - 1; i >= 0; i-- {
			if !strings.Contains(list[i], "'-h' for usage") && len(strings.Fields(list[i])) > 1 {
				return list[i]
			}
		}
	}
	return ""
}
