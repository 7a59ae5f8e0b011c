package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hapair/heartbeat/host"
	"hapair/heartbeat/rehearsal/require"
)

// script writes an executable shell script.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// lines collects output.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "|")
}

var plainEnv = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}

// alive tells whether a process exists and is not a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

// waitFor polls a condition about other processes.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 5 s for %s", what)
		}
	}
}

// readPid reads a pid that a script wrote to a file.
func readPid(t *testing.T, file string) int {
	t.Helper()
	var pid int
	waitFor(t, file, func() bool {
		text, _ := os.ReadFile(file)
		var err error
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

func TestProgramOutput(t *testing.T) {
	var got lines
	p := host.Program{
		Path: script(t, "echo one $1; echo; echo two >&2; cat; printf '\\033[1mthree\\r'; exit 3"),
		Args: []string{"x"}, Env: plainEnv, Stdin: []byte("in\n"), Line: got.add,
	}
	err := p.Run(context.Background())
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || exit.Last != "[1mthree" {
		t.Fatalf("error %#v", err)
	}
	if want := "one x|two|in|[1mthree"; got.text() != want {
		t.Errorf("output %q, want %q", got.text(), want)
	}
	if want := "exit code 3: [1mthree"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestProgramSignalled(t *testing.T) {
	err := host.Program{Path: script(t, "kill -KILL $$"), Env: plainEnv}.Run(context.Background())
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL || exit.Code != -1 {
		t.Fatalf("error %v", err)
	}
}

func TestProgramInheritsNothing(t *testing.T) {
	signal.Ignore(syscall.SIGUSR2)
	defer signal.Reset(syscall.SIGUSR2)
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var got lines
	body := `grep -h -e SigIgn -e SigBlk /proc/self/status; echo "$(ls /proc/$$/fd | tr '\n' ' ')"; env; pwd; ps -o sid= -p $$ | tr -d ' '; echo $$`
	p := host.Program{Path: script(t, body), Env: []string{"A=b", plainEnv[0]}, Line: got.add}
	if err := p.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	out := strings.Split(got.text(), "|")
	if len(out) < 7 {
		t.Fatalf("output %q", out)
	}
	for _, mask := range out[:2] {
		if bits, err := strconv.ParseUint(strings.Fields(mask)[1], 16, 64); err != nil || bits&(1<<31-1) != 0 {
			t.Errorf("signals are ignored or blocked: %s %v", mask, err)
		}
	}
	if fds := strings.Fields(out[2]); len(fds) > 5 { // 3 is the substitution's, 10 the script
		t.Errorf("file descriptors %v", fds)
	}
	if env := strings.Join(out[3:len(out)-3], " "); !strings.Contains(env, "A=b") || strings.Contains(env, "HOME=") {
		t.Errorf("environment %q", env)
	}
	if dir := out[len(out)-3]; dir != "/" {
		t.Errorf("directory %q", dir)
	}
	if out[len(out)-1] != out[len(out)-2] {
		t.Errorf("session %s of process %s", out[len(out)-2], out[len(out)-1])
	}
}

func TestProgramNotRealtime(t *testing.T) {
	require.Root(t, "that children do not inherit realtime scheduling")
	if err := host.Realtime(1); err != nil {
		t.Logf("realtime refused here: %v; only ordinary scheduling is checked", err)
	}
	t.Cleanup(func() { _ = host.Timesharing() })
	for range 20 {
		var got lines
		if err := (host.Program{Path: script(t, "cut -d' ' -f41 /proc/self/stat"), Env: plainEnv, Line: got.add}).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got.text() != "0" {
			t.Fatalf("child has scheduling policy %s", got.text())
		}
	}
}

// TestProgramLeavesDaemon: a background process keeps the output open; the program is over all the same, its output is
// whole, and the background process can go on writing.
func TestProgramLeavesDaemon(t *testing.T) {
	dir := t.TempDir()
	body := `(echo $BASHPID; sh -c 'echo $$ >` + dir + `/pid; exec >&1; while :; do echo noise || exit; echo x >>` + dir + `/wrote; sleep 0.01; done') & 
i=0; while [ ! -s ` + dir + `/pid ]; do sleep 0.01; done; echo started; exit 0`
	var got lines
	begin := time.Now()
	if err := (host.Program{Path: script(t, body), Env: plainEnv, Line: got.add}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if !strings.Contains(got.text(), "started") {
		t.Errorf("output %q", got.text())
	}
	pid := readPid(t, filepath.Join(dir, "pid"))
	defer syscall.Kill(pid, syscall.SIGKILL)
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, "wrote"))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	before := size()
	waitFor(t, "the background process to go on", func() bool { return size() > before+20 })
	if !alive(pid) {
		t.Error("the background process did not survive")
	}
}

func TestProgramTimeout(t *testing.T) {
	for _, tt := range []struct{ name, body string }{
		{"sleeps", "echo $$ >$1; echo waiting; sleep 60"},
		{"ignores TERM", "trap '' TERM; echo $$ >$1; echo waiting; while :; do sleep 60; done"},
		{"child ignores TERM", "sh -c \"trap '' TERM; echo \\$\\$ >$1; while :; do sleep 60; done\" & echo waiting; wait"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			cause := errors.New("no end within 300ms")
			ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, cause)
			defer cancel()
			begin := time.Now()
			p := host.Program{Path: script(t, tt.body), Args: []string{pidFile}, Env: plainEnv, Grace: 200 * time.Millisecond}
			err := p.Run(ctx)
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), "waiting") {
				t.Errorf("error %v", err)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
			pid := readPid(t, pidFile)
			waitFor(t, "the process to be gone", func() bool { return !alive(pid) })
		})
	}
}

func TestProgramCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("released")
	cancel(cause)
	if err := (host.Program{Path: "/nonexistent"}).Run(ctx); !errors.Is(err, cause) {
		t.Error(err)
	}
}

func TestProgramStartErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"):         "no such file",
		write("crlf", "#!/bin/sh\r\nexit 0"):  "interpreter",
		write("noshebang", "exit 0\n"):        "#!INTERPRETER",
		write("interp", "#!/no/such/thing\n"): "interpreter",
	} {
		if err := (host.Program{Path: path}).Run(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", filepath.Base(path), err, want)
		}
	}
}

func TestProgramFlood(t *testing.T) {
	var got lines
	p := host.Program{Path: script(t, "yes | head -n 100000; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo last; exit 1"), Env: plainEnv, Line: got.add}
	err := p.Run(context.Background())
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Last != "last" {
		t.Errorf("error %.100v", err)
	}
	if n := len(got.all); n != 2001 {
		t.Errorf("%d lines", n)
	}
}

func TestProgramErrorsApart(t *testing.T) {
	var out, errs lines
	err := host.Program{Path: "/bin/sh", Args: []string{"-c", "echo answer; echo complaint >&2; exit 3"}, Line: out.add, Errors: errs.add}.Run(t.Context())
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || exit.Last != "complaint" || out.text() != "answer" || errs.text() != "complaint" {
		t.Errorf("out %q, errors %q, %v", out.text(), errs.text(), err)
	}
	err = host.Program{Path: "/bin/sh", Args: []string{"-c", "echo answer; exit 1"}, Line: out.add, Errors: errs.add}.Run(t.Context())
	if !errors.As(err, &exit) || exit.Last != "answer" {
		t.Errorf("without a complaint: %v", err)
	}
}

// TestStuckChildOfAKilledScript: a script is killed for its time-out, and its child sleeps in the kernel. That is no end: the child goes on when
// the disk is back.
func TestStuckChildOfAKilledScript(t *testing.T) {
	const untested = "a script whose child sleeps in the kernel"
	require.Root(t, untested)
	require.Tool(t, "mkfs.ext4", untested)
	require.Tool(t, "fsfreeze", untested)
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	shell := func(script string) error {
		out, err := exec.Command("sh", "-ec", script).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := shell("mkdir " + mount + "; truncate -s 16M " + image + "; mkfs.ext4 -q " + image + "; mount -o loop " + image + " " + mount); err != nil {
		require.Skip(t, untested, "a file system in a file cannot be mounted here: "+err.Error())
	}
	t.Cleanup(func() { _ = shell("umount -l " + mount) })
	if err := shell("fsfreeze -f " + mount); err != nil {
		require.Skip(t, untested, "a file system cannot be frozen here: "+err.Error())
	}
	t.Cleanup(func() { _ = exec.Command("fsfreeze", "-u", mount).Run() })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	p := host.Program{Path: "/bin/sh", Args: []string{"-c", "touch " + mount + "/up; echo done"}, Env: os.Environ(), Grace: 100 * time.Millisecond}
	err := p.Run(ctx)
	var stuck *host.StuckError
	if !errors.As(err, &stuck) || !errors.Is(err, host.ErrStuck) {
		t.Fatalf("the end of a script whose child is in the kernel: %v", err)
	}
	if err := shell("fsfreeze -u " + mount); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stuck.Ended:
	case <-time.After(10 * time.Second):
		t.Error("its end is not noticed")
	}
}
