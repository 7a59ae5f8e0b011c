package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"syscall"
)

// hapair is this program.
type hapair struct{}

// Where things are on a machine that runs hapair.
const (
	hapairBinary = "/run/rehearsal/heartbeat"
	hapairLog    = "heartbeat.log"
)

func (hapair) name() string     { return Hapair }
func (hapair) available() error { return nil }

func (hapair) install(n *node, c copies) error {
	return c.write(n.etc, nodeFiles{node: n.index})
}

func (hapair) prepare(context.Context, *node) error { return nil }

func (hapair) start(_ context.Context, n *node) error {
	p, err := n.machine.Start("/var/log/"+hapairLog, hapairBinary, "run", "--config", "/etc/ha.d", "--state", "/var/lib/heartbeat",
		"--run", "/run/heartbeat", "--log", "stderr")
	if err != nil {
		return fmt.Errorf("start hapair on %s: %w", n.name, err)
	}
	n.daemon = p
	return nil
}

func (hapair) stop(ctx context.Context, n *node) error {
	if n.daemon == nil {
		return fmt.Errorf("stop hapair on %s: it does not run", n.name)
	}
	if err := n.daemon.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop hapair on %s: %w", n.name, err)
	}
	r, err := n.daemon.Wait(ctx)
	if err != nil {
		return fmt.Errorf("stop hapair on %s: wait for its end: %w", n.name, err)
	}
	if r.Exit != 0 {
		return fmt.Errorf("stop hapair on %s: it ended with exit code %d", n.name, r.Exit)
	}
	return nil
}

func (hapair) command(ctx context.Context, n *node, words ...string) error {
	if words[0] == "reload" {
		return n.daemon.Signal(syscall.SIGHUP)
	}
	_, err := mustSucceed(ctx, n, append(append([]string{hapairBinary}, words...), "--run", "/run/heartbeat")...)
	return err
}

// hapairStatus is what a rehearsal reads of `heartbeat status --json`.
type hapairStatus struct {
	State string   `json:"state"`
	Holds []string `json:"holds"`
	Peer  struct {
		State string   `json:"state"`
		Holds []string `json:"holds"`
	} `json:"peer"`

	ByMirror    bool `json:"by_mirror"`
	PeerAnswers bool `json:"peer_answers"`
	Links       []struct {
		State string `json:"state"`
	} `json:"links"`
}

// says tells whether a status has this word for what is wrong.
func (s hapairStatus) says(what string) bool {
	switch what {
	case "by mirror":
		return s.ByMirror
	case "peer answers": // who serves hears nobody, and whom nobody asks for anything does not look
		return s.PeerAnswers || len(s.Holds) > 0
	case "oneway": // the one node says that the link works in one direction only, and the other hears nothing on it
		return slices.ContainsFunc(s.Links, func(l struct {
			State string `json:"state"`
		}) bool {
			return l.State == "oneway" || l.State == "dead"
		})
	}
	return false
}

func (hapair) status(ctx context.Context, n *node) (hapairStatus, error) {
	r, err := n.machine.Run(ctx, hapairBinary, "status", "--json", "--run", "/run/heartbeat")
	if err != nil {
		return hapairStatus{}, err
	}
	var s hapairStatus
	if err := json.Unmarshal([]byte(r.Output), &s); err != nil {
		return s, fmt.Errorf("read the status of %s: %w: %s", n.name, err, lastLines(r.Output, 3))
	}
	return s, nil
}

func (h hapair) settled(ctx context.Context, n *node) (bool, error) {
	s, err := h.status(ctx, n)
	return err == nil && (s.State == "active" || s.State == "standby"), err
}

func (h hapair) view(ctx context.Context, n *node, _ string) (view, error) {
	s, err := h.status(ctx, n)
	if err != nil {
		return view{}, err
	}
	v := view{holds: holdsWord(s.Holds), peer: s.Peer.State, peerHolds: holdsWord(s.Peer.Holds)}
	if s.State == "transition" {
		v.holds = s.State
	}
	return v, nil
}

// holdsWord words a list of sets as cl_status does.
func holdsWord(sets []string) string {
	switch len(sets) {
	case 0:
		return "none"
	case 1:
		return sets[0]
	}
	return "all"
}

// binaryPath is the file of the program that hapair nodes run.
func binaryPath(binary string) (string, error) {
	if binary != "" {
		return binary, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program's own file: %w", err)
	}
	return path, nil
}
