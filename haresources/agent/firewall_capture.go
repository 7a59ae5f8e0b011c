package agent

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"hapair/heartbeat/host"
)

// The program nft needs tens of milliseconds to load the smallest ruleset: too long for a takeover. So the transaction that
// it sends to the kernel is read from its debugging output while the rules are tried, and sent again by ourselves when they
// are loaded, which takes less than a millisecond. It is only used when this has been seen to give exactly the same rules;
// else the program loads them.

// again loads the script on top of what it has loaded before, and says what is there then, and which transaction did it:
// nil when that cannot be read.
func (r *rehearsal) again(ctx context.Context, script string) (changes []host.NFTChange, found host.Ruleset, err error) {
	err = r.scratch(func(dir string) (err error) {
		changes, err = r.debug(ctx, script, filepath.Join(dir, "debug"))
		return err
	})
	if err == nil {
		found, err = r.nft.List()
		return changes, found, err
	}
	found, err = r.load(ctx, script)
	return nil, found, err
}

// capture tries a transaction. Without one that gives the same rules the program is used.
func (r *rehearsal) capture(ctx context.Context, c *compiled, changes []host.NFTChange) {
	if changes == nil {
		return
	}
	_ = r.scratch(func(dir string) error {
		want, err := r.print(ctx, filepath.Join(dir, "want"))
		if err == nil {
			err = r.nft.Commit(changes)
		}
		if err != nil {
			return err
		}
		have, err := r.print(ctx, filepath.Join(dir, "have"))
		if err != nil || !bytes.Equal(want, have) {
			return err
		}
		if now, err := r.nft.List(); err == nil && c.differs(now, nil) == "" {
			c.changes = changes
		}
		return nil
	})
}

// scratch makes a directory for the length of a call.
func (r *rehearsal) scratch(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "hapair-rules-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return f(dir)
}

// toFile runs nft with its output in a file: there may be more of it than is kept of a program's output.
func (r *rehearsal) toFile(ctx context.Context, path, stdin string, args ...string) error {
	program, err := findTool(r.env, "nft")
	if err != nil {
		return err
	}
	words := append([]string{"-c", `out="$1"; program="$2"; shift 2; exec "$program" "$@" > "$out" 2>&1`, "sh", path, program}, args...)
	_, err = tool{name: "sh", args: words, stdin: stdin, dir: r.dir, inside: r.machine}.run(ctx, r.env)
	return err
}

// debug loads a script, and returns the transaction that does it.
func (r *rehearsal) debug(ctx context.Context, script, path string) ([]host.NFTChange, error) {
	if err := r.toFile(ctx, path, script, "--debug=mnl", "-f", "-"); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return host.ReadNFTDebug(f, func(rule host.Rule) bool { return rule.Comment == passComment })
}

// print is the ruleset as nft writes it.
func (r *rehearsal) print(ctx context.Context, path string) ([]byte, error) {
	if err := r.toFile(ctx, path, "", "-s", "list", "ruleset"); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// indexes are the interfaces by name: rules that name one by iif or oif hold its index.
func indexes(devices []host.Device) map[string]int {
	list := make(map[string]int, len(devices))
	for _, d := range devices {
		list[d.Name] = d.Index
	}
	return list
}

// stillThere says whether the interfaces that the rules may name by index are what they were. One that has come since, such as that of a
// container, is in no rule.
func (c *compiled) stillThere(now map[string]int) bool {
	for name, index := range c.indexes {
		if now[name] != index {
			return false
		}
	}
	return true
}

// devicesHere lists the interfaces of this machine.
func devicesHere() ([]host.Device, error) {
	n, err := host.OpenNetlink()
	if err != nil {
		return nil, err
	}
	defer n.Close()
	return n.Devices()
}

// replay loads the rules by their transaction. It says whether it did; the program has to where it did not.
func (f *firewall) replay(c *compiled, before, now mark, own bool) bool {
	if c.changes == nil || own {
		return false
	}
	devices, err := devicesHere()
	if err != nil || !c.stillThere(indexes(devices)) {
		return false
	}
	var all []host.NFTChange
	for _, t := range before.tables {
		all = append(all, host.RemoveTable(t)...)
	}
	all = append(append(all, c.changes...), host.MakeMark(f.table, now.chains()...)...)
	return f.nft.Commit(all) == nil
}

// loadScript has the program load the rules.
func (f *firewall) loadScript(ctx context.Context, c *compiled, script string) error {
	lines, err := tool{name: "nft", args: []string{"-f", "-"}, stdin: script, dir: c.dir}.run(ctx, f.env)
	if err != nil {
		return locate(lines, fmt.Errorf("load the rules: %w", err))
	}
	return nil
}
