package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hapair/heartbeat/rehearsal/lab"
)

// linuxHA is Linux-HA Heartbeat 3.0.6, as Debian's packages heartbeat and resource-agents install it.
type linuxHA struct{}

const (
	linuxHADaemon  = "/usr/libexec/heartbeat/heartbeat"
	linuxHAShare   = "/usr/share/heartbeat"
	linuxHAIPFail  = "/usr/libexec/heartbeat/ipfail"
	linuxHAStonith = "/usr/lib/stonith/plugins/external" // where its external plugins are
	linuxHALog     = "ha-log"
	linuxHADebug   = "ha-debug"
)

func (linuxHA) name() string { return LinuxHA }

func (linuxHA) available() error {
	if os.Geteuid() != 0 {
		return errors.New("linux-ha needs root: it changes to users that a user namespace does not have")
	}
	for _, path := range []string{linuxHADaemon, linuxHAShare + "/hb_standby", lab.HostPath("/etc/ha.d/harc"), lab.HostPath("/etc/ha.d/resource.d/IPaddr2"), lab.HostPath("/etc/ha.d/shellfuncs")} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("linux-ha is not installed here (no %s): apt-get install heartbeat resource-agents", path)
		}
	}
	if _, err := user.Lookup("hacluster"); err != nil {
		return fmt.Errorf("linux-ha is not installed properly: %w", err)
	}
	return nil
}

// install adds the package's own files to the rehearsed ones, and puts the log where the rehearsal reads it.
func (linuxHA) install(n *node, c copies) error {
	if err := c.write(n.etc, nodeFiles{
		node:     n.index,
		extra:    []string{"logfile /var/log/" + linuxHALog, "debugfile /var/log/" + linuxHADebug, "logfacility none", "use_logd no"},
		replaces: []string{"logfile", "debugfile", "logfacility", "use_logd"},
		classic:  true,
		ipfail:   linuxHAIPFail,
	}); err != nil {
		return err
	}
	for _, name := range []string{"harc", "rc.d", "resource.d", "shellfuncs"} {
		if err := addTree(lab.HostPath("/etc/ha.d/"+name), filepath.Join(n.etc, name)); err != nil {
			return fmt.Errorf("copy the files of linux-ha: %w", err)
		}
	}
	if err := mendFIFO(filepath.Join(n.etc, "shellfuncs")); err != nil {
		return err
	}
	if c.fencing != nil {
		if err := n.addPlugins(lab.HostPath(linuxHAStonith), filepath.Join(n.etc, "stonith.d", powerPlugin)); err != nil {
			return err
		}
	}
	return ownedDirs(n.lib)
}

// mendFIFO has linux-ha's scripts write each message to its FIFO at once. As installed they write it in pieces, of which the daemon, when it happens to
// read in between, takes the first for a whole message and drops the rest: hb_standby and hb_takeover are lost then, and after a takeover the daemon
// waits for ever for the word that it has ended (rscstatus: transition). And with msgfmt netstring the daemon ends what it writes there itself without a new
// line, so that the same becomes of a script's message that follows within a second: hence the line's end before it. What is rehearsed here is what two programs do with each other, not that.
func mendFIFO(path string) error {
	text, err := readFile(path)
	if err != nil {
		return err
	}
	const pieces = `(echo ">>>"; cat -; echo "<<<")	| cat - >> $HA_FIFO`
	if !strings.Contains(text, pieces) {
		return fmt.Errorf("this is another linux-ha than the one that is known here: its shellfuncs has no %q", pieces)
	}
	return writeFile(path, strings.Replace(text, pieces, `whole=$(cat -); printf '\n>>>\n%s\n<<<\n' "$whole" >> $HA_FIFO`, 1), 0o755)
}

// addPlugins makes the node's own copy of the directory of plugins, with the laboratory's device in it.
func (n *node) addPlugins(from, plugin string) error {
	n.plugins = filepath.Join(filepath.Dir(n.etc), "plugins")
	if err := addTree(from, n.plugins); err != nil {
		return fmt.Errorf("copy the plugins of linux-ha: %w", err)
	}
	text, err := readFile(plugin)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(n.plugins, powerPlugin), text, 0o755)
}

// ownedDirs makes the directories that the package has below /var/lib/heartbeat.
func ownedDirs(lib string) error {
	u, err := user.Lookup("hacluster")
	if err != nil {
		return fmt.Errorf("find the user of linux-ha: %w", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	for _, d := range []struct {
		path string
		own  bool
	}{{"cores/root", false}, {"cores/nobody", false}, {"cores/hacluster", true}, {"ccm", true}, {"crm", true}, {"pengine", true}} {
		path := filepath.Join(lib, d.path)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("make the directories of linux-ha: %w", err)
		}
		if d.own {
			if err := os.Chown(path, uid, gid); err != nil {
				return fmt.Errorf("make the directories of linux-ha: %w", err)
			}
		}
	}
	return nil
}

func (linuxHA) prepare(ctx context.Context, n *node) error {
	_, err := mustSucceed(ctx, n, "sh", "-ec", "install -d -o hacluster -g haclient -m 0750 /run/heartbeat /run/heartbeat/ccm /run/heartbeat/dopd; "+
		"install -d -m 1755 /run/heartbeat/rsctmp /run/resource-agents")
	return err
}

func (linuxHA) start(ctx context.Context, n *node) error {
	_, err := mustSucceed(ctx, n, linuxHADaemon)
	return err
}

// stop returns when the daemon has ended, which takes it three seconds and more.
func (linuxHA) stop(ctx context.Context, n *node) error {
	_, err := mustSucceed(ctx, n, linuxHADaemon, "-k")
	return err
}

// command runs hb_standby or hb_takeover, or re-reads the files. A command goes through a FIFO, where linux-ha at times
// loses it and says so; an operator would repeat it, and so does this.
func (linuxHA) command(ctx context.Context, n *node, words ...string) error {
	if words[0] == "reload" {
		_, err := mustSucceed(ctx, n, linuxHADaemon, "-r")
		return err
	}
	path := filepath.Join(n.machine.LogDir(), linuxHALog)
	for range 3 {
		before, err := readFile(path)
		if err != nil {
			return err
		}
		if _, err := mustSucceed(ctx, n, append([]string{linuxHAShare + "/hb_" + words[0]}, words[1:]...)...); err != nil {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		after, err := readFile(path)
		if err != nil || !strings.Contains(after[min(len(before), len(after)):], "Message with zero fields") {
			return err
		}
	}
	return fmt.Errorf("hb_%s on %s: linux-ha lost it three times in its FIFO", words[0], n.name)
}

func (l linuxHA) settled(ctx context.Context, n *node) (bool, error) {
	held, err := l.holdings(ctx, n)
	return err == nil && held != "transition", err
}

// holdings is what cl_status says that the node holds.
func (linuxHA) holdings(ctx context.Context, n *node) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := n.machine.Run(ctx, "cl_status", "rscstatus")
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(r.Output)
	if r.Exit != 0 {
		return "", fmt.Errorf("cl_status rscstatus on %s: exit %d: %s", n.name, r.Exit, lastLines(text, 2))
	}
	return text, nil
}

func (l linuxHA) view(ctx context.Context, n *node, other string) (view, error) {
	held, err := l.holdings(ctx, n)
	if err != nil {
		return view{}, err
	}
	r, err := n.machine.Run(ctx, "cl_status", "nodestatus", other)
	if err != nil {
		return view{}, err
	}
	return view{holds: held, peer: strings.TrimSpace(r.Output)}, nil
}
