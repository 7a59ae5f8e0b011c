package daemon

import "path/filepath"

// The classic directories (protocol section 0.1).
const (
	DefaultConfigDir = "/etc/ha.d"
	DefaultStateDir  = "/var/lib/heartbeat"
	DefaultRunDir    = "/run/heartbeat"
)

// Paths says where one node keeps what. The zero value is not usable: see NewPaths.
type Paths struct {
	Config string // ha.cf, haresources, authkeys, scripts
	State  string // what survives a restart: generation, uuid, epochs, journal; and the FIFO
	Run    string // control socket and lock
}

// NewPaths fills the classic directories in for empty arguments.
func NewPaths(config, state, run string) Paths {
	or := func(dir, classic string) string {
		if dir == "" {
			return classic
		}
		return filepath.Clean(dir)
	}
	return Paths{Config: or(config, DefaultConfigDir), State: or(state, DefaultStateDir), Run: or(run, DefaultRunDir)}
}

// PidFile is the classic /run/heartbeat.pid, or heartbeat.pid inside any other run directory.
func (p Paths) PidFile() string {
	if p.Run == DefaultRunDir {
		return p.Run + ".pid"
	}
	return filepath.Join(p.Run, "heartbeat.pid")
}

// Control is the control socket.
func (p Paths) Control() string { return filepath.Join(p.Run, "control") }

// Lock is locked by the running daemon, so that two can never work in one run directory.
func (p Paths) Lock() string { return filepath.Join(p.Run, "lock") }

// Clients says which respawn clients run, for a daemon that follows one that was killed.
func (p Paths) Clients() string { return filepath.Join(p.Run, "clients") }

// Operations says which scripts run, for a daemon that follows one that was killed.
func (p Paths) Operations() string { return filepath.Join(p.Run, "operations") }

// FIFO takes messages from local programs.
func (p Paths) FIFO() string { return filepath.Join(p.State, "fifo") }

// Journal is the history of transitions, one JSON object a line.
func (p Paths) Journal() string { return filepath.Join(p.State, "journal.jsonl") }

// Record is what the next start begins from: epochs and held groups.
func (p Paths) Record() string { return filepath.Join(p.State, "state.json") }

// Timing is what was measured of the peer's heartbeats.
func (p Paths) Timing() string { return filepath.Join(p.State, "timing.json") }

// RCDir holds the scripts that messages run (protocol section 8.2).
func (p Paths) RCDir() string { return filepath.Join(p.Config, "rc.d") }
