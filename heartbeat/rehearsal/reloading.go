package rehearsal

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The changes of haresources that a rehearsal makes while everything runs, on the first line of the file.
const (
	addLast     = "a further address at its end"
	moveToFront = "that address at its beginning"
	takeAway    = "without that address"
)

var changeLine = verb{words: "re-read haresources on %[1]s with another first line: %[2]s", do: doChangeLine}

// reloading are scenarios of haresources that change while the pair serves.
func reloading() []scenario {
	change := func(name, what string) phase {
		return phase{name: name, steps: []step{{do: changeLine, on: active, what: what}, {do: watchQuietly, on: both, span: span{plus: 500 * time.Millisecond}},
			{do: changeLine, on: standby, what: what}}, hold: span{plus: time.Second}, outage: unseen(), dual: single()}
	}
	return []scenario{{name: "reload-line", about: "an address is added to a line of haresources, put first, and removed, on one node after the other", needs: oursBoth,
		phases: []phase{change("add", addLast), change("put first", moveToFront), change("remove", takeAway)}}}
}

// doChangeLine changes the first line of haresources and has it read again.
func doChangeLine(ctx context.Context, r *run, node int, s step) error {
	extra, err := r.world.extraAddress()
	if err != nil {
		return err
	}
	return each(node, func(i int) error {
		n := r.world.nodes[i]
		path := filepath.Join(n.etc, "haresources")
		text, err := readFile(path)
		if err != nil {
			return err
		}
		changed, err := changeFirstLine(text, extra, s.what)
		if err != nil {
			return err
		}
		if err := writeFile(path, changed, 0o644); err != nil {
			return err
		}
		_, err = mustSucceed(ctx, n, hapairBinary, "reload", "--run", "/run/heartbeat")
		return err
	})
}

// changeFirstLine changes the resources of the first group in a haresources file.
func changeFirstLine(text, extra, how string) (string, error) {
	lines := strings.Split(text, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return l != "" && l[0] != '#' })
	if i < 0 {
		return "", fmt.Errorf("change the first line of haresources: there is none")
	}
	line, comment, commented := strings.Cut(lines[i], " #")
	words := slices.DeleteFunc(strings.Fields(line), func(w string) bool { return w == extra })
	switch how {
	case addLast:
		words = append(words, extra)
	case moveToFront:
		words = slices.Insert(words, 1, extra)
	case takeAway:
	default:
		return "", fmt.Errorf("change the first line of haresources: %q is no change", how)
	}
	lines[i] = strings.Join(words, " ")
	if commented {
		lines[i] += " #" + comment
	}
	return strings.Join(lines, "\n"), nil
}

// extraAddress is an address that nobody has, next to the first one that floats, as a resource.
func (w *world) extraAddress() (string, error) {
	if len(w.pair.services) == 0 {
		return "", fmt.Errorf("no address floats in this configuration")
	}
	n := w.pair.services[0].network
	for _, s := range n.subnets {
		if !s.prefix.Contains(w.pair.services[0].addr) {
			continue
		}
		taken := s.taken
		var free netip.Addr
		s.taken = map[netip.Addr]bool{}
		for a := range taken {
			s.taken[a] = true
		}
		err := s.give(&free, 4)
		s.taken = taken
		return fmt.Sprintf("%s/%d/%s", free, s.prefix.Bits(), n.device), err
	}
	return "", fmt.Errorf("%s is in no network of the pair", w.pair.services[0].addr)
}
