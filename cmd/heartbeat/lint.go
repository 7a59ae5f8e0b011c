package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// lintSteps are what a script is asked to do, and how many starts are in force afterwards.
var lintSteps = []struct {
	operation string
	running   bool
	why       string
}{
	{"start", true, "a start must succeed"},
	{"start", true, "a start of what runs already must succeed: heartbeat may ask twice"},
	{"status", true, "status must say that it runs (words \"running\" or \"OK\", exit code 0)"},
	{"stop", false, "a stop must succeed"},
	{"stop", false, "a stop of what does not run must succeed: a node stops everything before it gives it away"},
	{"status", false, "status must say that it does not run (words \"stopped\" or \"not running\", exit code 3)"},
}

// The words that Heartbeat looks for in what a script answers to status.
var (
	lintNot = regexp.MustCompile(`(?s)[Nn][Oo][Tt] .*[Rr]unning`)
	lintYes = regexp.MustCompile(`[Rr]unning|OK`)
)

func (a *app) lintCommand() *cobra.Command {
	timeout := time.Minute
	c := &cobra.Command{
		Use: "lint-script PATH [ARGUMENT …]", Short: "Try whether a resource script conforms: start, start, status, stop, stop, status", Args: cobra.MinimumNArgs(1),
		Long: "Run a resource script with start, start, status, stop, stop, status, in namespaces of its own for processes, network, names and\n" +
			"mounts, and say what does not conform. Files that it changes are not protected: / is the real one.\n" +
			"Exit code 0: it conforms; 1: it does not.",
		RunE: func(_ *cobra.Command, args []string) error { return a.lint(args, timeout) },
	}
	c.Flags().Var((*timeFlag)(&timeout), "timeout", "for each of the six calls")
	c.Flags().SetInterspersed(false)
	return c
}

// lintShell runs the six calls as the first process of the namespaces: a shell, which also reaps what a script leaves behind. It writes the
// exit code of each call on descriptor 3 and its output into a file of its own.
const lintShell = `ip link set lo up 2>/dev/null
dir=$1 limit=$2; shift 2; n=0
for op in start start status stop stop status; do
	n=$((n+1))
	timeout -k 3 "$limit" "$@" "$op" >"$dir/$n" 2>&1 </dev/null
	echo $? >"$dir/$n.code"
done`

// lint runs the calls and judges them.
func (a *app) lint(args []string, timeout time.Duration) error {
	path, err := filepath.Abs(args[0])
	if err != nil {
		return &exit{exitFailure, err}
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return &exit{exitFailure, fmt.Errorf("%s is no executable file", path)}
	}
	dir, err := os.MkdirTemp("", "heartbeat-lint-")
	if err != nil {
		return &exit{exitFailure, err}
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 6*(timeout+5*time.Second))
	defer cancel()
	inside := append([]string{"--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", lintShell, "lint", dir,
		fmt.Sprintf("%.3f", timeout.Seconds()), path}, args[1:]...)
	cmd := exec.CommandContext(ctx, "unshare", inside...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if text, err := cmd.CombinedOutput(); err != nil && !hasFile(dir, "1.code") {
		return &exit{exitFailure, fmt.Errorf("make namespaces: %w: %s (this needs root)", err, strings.TrimSpace(string(text)))}
	}
	if faults := a.judgeLint(dir); faults > 0 {
		return &exit{exitFailure, fmt.Errorf("%s does not conform: %d of 6 calls", path, faults)}
	}
	fmt.Fprintf(a.out, "%s conforms.\n", path)
	return nil
}

// hasFile says whether a directory holds a file.
func hasFile(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return !errors.Is(err, os.ErrNotExist)
}

// judgeLint prints each call with its verdict and returns how many are wrong.
func (a *app) judgeLint(dir string) (faults int) {
	for i, step := range lintSteps {
		code, _ := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.code", i+1)))
		text, _ := os.ReadFile(filepath.Join(dir, fmt.Sprint(i+1)))
		exitCode, output := strings.TrimSpace(string(code)), strings.TrimSpace(string(text))
		verdict := "ok"
		switch problem := lintProblem(step.operation, step.running, exitCode, output); {
		case problem != "":
			faults++
			verdict = "WRONG: " + problem + "; " + step.why
		}
		fmt.Fprintf(a.out, "%-6s  exit %-3s  %s\n", step.operation, exitCode, verdict)
		for line := range strings.Lines(output) {
			fmt.Fprintf(a.out, "        | %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return faults
}

// lintProblem says what is wrong with one call, "" for nothing.
func lintProblem(operation string, running bool, code, output string) string {
	switch {
	case code == "":
		return "it was not run"
	case code == "124" || code == "137":
		return "it did not end in time"
	case operation != "status" && code != "0":
		return "it failed"
	case operation != "status":
		return ""
	}
	says := lintYes.MatchString(output) && !lintNot.MatchString(output)
	switch {
	case says && !running:
		return "Heartbeat reads that it runs"
	case !says && running:
		return "Heartbeat does not read that it runs"
	case running && code != "0":
		return "the exit code says that it does not run"
	case !running && code == "0":
		return "the exit code says that it runs"
	}
	return ""
}
