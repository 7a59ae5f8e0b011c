package agent

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// Paths are where scripts are looked for.
type Paths struct {
	Dir         string // configuration: /etc/ha.d
	ResourceDir string // Heartbeat's resource scripts: /etc/ha.d/resource.d
	InitDir     string // init scripts: /etc/init.d
	RCDir       string // scripts for messages: /etc/ha.d/rc.d
	HooksDir    string // programs for events: /etc/ha.d/hooks
	OCFRoot     string // /usr/lib/ocf; agents are in resource.d/PROVIDER/TYPE below it
}

// DefaultPaths are the classic places, for a configuration directory ("" is /etc/ha.d).
func DefaultPaths(dir string) Paths {
	if dir == "" {
		dir = "/etc/ha.d"
	}
	return Paths{
		Dir: dir, ResourceDir: filepath.Join(dir, "resource.d"), InitDir: "/etc/init.d", RCDir: filepath.Join(dir, "rc.d"),
		HooksDir: filepath.Join(dir, "hooks"), OCFRoot: "/usr/lib/ocf",
	}
}

// Environment is what agents know of the node that they work for.
type Environment struct {
	Paths   Paths
	Node    string   // own name, for hooks
	Peer    string   // the other node's, for hooks; "" for none
	Environ []string // the whole environment of every program that is run (protocol section 8.3)
	Pass    []Pass   // what no Firewall may hold up

	Ledger *host.Ledger // where programs that work on a resource are written down while they run; nil for nowhere

	HookTimeout time.Duration // how long each program of a hook may take; 0 is HookTimeout

	current func() Environment // what it is after a reload; nil where there is none
}

// now is the environment of the configuration in force.
func (env Environment) now() Environment {
	if env.current == nil {
		return env
	}
	return env.current()
}

// environ is the environment of a program: env's, with more, of which the last one of a name counts.
func (env Environment) environ(more ...string) []string {
	list := append(append([]string(nil), env.now().Environ...), more...)
	last := make(map[string]int, len(list))
	for i, entry := range list {
		name, _, _ := strings.Cut(entry, "=")
		last[name] = i
	}
	kept := list[:0]
	for i, entry := range list {
		if name, _, _ := strings.Cut(entry, "="); last[name] == i {
			kept = append(kept, entry)
		}
	}
	return kept
}

// Open returns the Opener for a node. Agents that it makes share what can be shared: one netlink socket and one announcer
// for all addresses, from the first address that is touched to the Close of the last one.
func Open(env Environment) haresources.Opener {
	return OpenLive(func() Environment { return env })
}

// OpenLive is Open for an environment that changes while the daemon runs. Its Paths and Node do not change.
func OpenLive(current func() Environment) haresources.Opener {
	k := newKeeper()
	return func(r haresources.Resource) (haresources.Agent, error) {
		env := current()
		env.current = current
		switch r.Class {
		case haresources.ClassHeartbeat:
			if native(env.Paths, r.Name) {
				return openAddress(k, r)
			}
			if open := ownKind(env.Paths, r.Name); open != nil {
				return open(env, r)
			}
			return &script{env: env, name: r.Name, args: r.Args, dirs: []string{env.Paths.ResourceDir, env.Paths.InitDir}, own: ownedByText}, nil
		case haresources.ClassLSB:
			return &script{env: env, name: r.Name, args: r.Args, dirs: []string{env.Paths.InitDir}, own: ownedByCode}, nil
		case haresources.ClassOCF:
			return openOCF(env, r)
		case haresources.ClassSystemd:
			return openSystemd(r), nil
		}
		return nil, fmt.Errorf("unknown class %q", r.Class)
	}
}

// nativeNames are the resources that need no script.
var nativeNames = map[string]bool{"IPaddr": true, "IPaddr2": true, "IPv6addr": true}

// native says whether a resource is handled without a script: see the package comment.
func native(p Paths, name string) bool {
	if !nativeNames[name] {
		return false
	}
	text, err := os.ReadFile(filepath.Join(p.ResourceDir, name))
	return err != nil || stock(text)
}

// shipped are scripts that a distribution installs for Heartbeat and that do the work themselves: these very bytes are not a site's own.
var shipped = map[string]bool{
	"bec5a5bb4e2f0603106c29624623cb3c8aa2c308267852c3005b9d690e0f1f0e": true, // drbddisk of drbd-utils 9
}

// stock says whether a script is one that nobody wrote for this site.
func stock(text []byte) bool {
	return stockWrapper(string(text)) || shipped[fmt.Sprintf("%x", sha256.Sum256(text))]
}

// stockWrapper says whether a script does nothing but hand over to an OCF agent.
func stockWrapper(text string) bool {
	return mentions(text, "ra_execocf") || mentions(text, "/resource.d/heartbeat/")
}

// mentions says whether a shell script contains a word outside of its comments.
func mentions(text, word string) bool {
	for line := range strings.Lines(text) {
		if before, _, found := strings.Cut(line, word); found && !strings.Contains(before, "#") {
			return true
		}
	}
	return false
}
