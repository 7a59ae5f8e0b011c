package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
)

// Check is a script that says whether this node is fit to serve: `#hapair: check=NAME:/path[,interval=2s][,timeout=2s][,rise=2][,fall=3]
// [,action=handover|tell]` in ha.cf.
type Check struct {
	Name, Path        string
	Interval, Timeout time.Duration // between the beginnings of two runs; for one run
	Rise, Fall        int           // successes, and failures, in a row that change the verdict
	Tell              bool          // a failure is only told; false: the node's groups go to the other one
	Line              int
}

// String is the check as the pragma writes it.
func (k Check) String() string {
	action := "handover"
	if k.Tell {
		action = "tell"
	}
	return fmt.Sprintf("%s:%s,interval=%s,timeout=%s,rise=%d,fall=%d,action=%s", k.Name, k.Path, k.Interval, k.Timeout, k.Rise, k.Fall, action)
}

// The defaults of a check.
const (
	checkInterval = 2 * time.Second
	checkRise     = 2
	checkFall     = 3
)

// shortestCheck is the shortest time for a check.
const shortestCheck = 10 * time.Millisecond

// watchPragmas are the keys about watching and about groups that move too often.
func watchPragmas() []PragmaKey {
	return []PragmaKey{
		{Name: "check", Kind: "check", repeatedly: true, hint: "check=NAME:/path,interval=2s,timeout=2s,rise=2,fall=3,action=handover (or tell)",
			Explain: "a script that says whether this node is fit to serve: after fall failures in a row its groups are handed to a fit peer (action=tell only " +
				"raises an alarm), after rise successes all is well again",
			set: func(c *Config, value string) bool {
				k, err := ParseCheck(value)
				if err != nil || slices.ContainsFunc(c.Checks, func(o Check) bool { return o.Name == k.Name }) {
					return false
				}
				c.Checks = append(c.Checks, k)
				return true
			}},
		{Name: "damping-moves", Kind: "number", Default: "4", hint: "a number from 2 on; 0 for never",
			Explain: "so many moves of a group within damping-window, and it stays where it is until nothing has moved it for so long",
			set: func(c *Config, value string) bool {
				n, err := strconv.Atoi(value)
				if err != nil || n < 0 || n == 1 {
					return false
				}
				c.DampMoves = n
				return true
			}},
		timePragma("damping-window", "5m", "the time within which damping-moves are counted", func(c *Config) *time.Duration { return &c.DampWindow }),
	}
}

// ParseCheck reads the value of the pragma check.
func ParseCheck(value string) (Check, error) {
	k := Check{Interval: checkInterval, Rise: checkRise, Fall: checkFall}
	words := strings.Split(value, ",")
	var found bool
	if k.Name, k.Path, found = strings.Cut(words[0], ":"); !found || k.Name == "" || !filepath.IsAbs(k.Path) {
		return k, errors.New("it begins with NAME:/path")
	}
	for _, w := range words[1:] {
		key, text, _ := strings.Cut(w, "=")
		if err := k.set(key, text); err != nil {
			return k, fmt.Errorf("%s: %w", w, err)
		}
	}
	if k.Timeout == 0 {
		k.Timeout = k.Interval
	}
	return k, nil
}

// set sets one field by its word.
func (k *Check) set(key, text string) (err error) {
	switch key {
	case "interval":
		k.Interval, err = positive(text)
	case "timeout":
		k.Timeout, err = positive(text)
	case "rise":
		k.Rise, err = atLeastOne(text)
	case "fall":
		k.Fall, err = atLeastOne(text)
	case "action":
		k.Tell = text == "tell"
		if text != "tell" && text != "handover" {
			err = errors.New("handover or tell")
		}
	default:
		err = errors.New("interval, timeout, rise, fall or action")
	}
	return err
}

func positive(text string) (time.Duration, error) {
	d, err := haresources.ParseDuration(text)
	if err == nil && d < shortestCheck {
		return 0, errors.New("a time from 10ms on")
	}
	return d, err
}

func atLeastOne(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, errors.New("a number from 1 on")
	}
	return n, nil
}

// StopPolicy is what is done when a group cannot be stopped: as its pragma on-stop-failure says, else fence-self where there is a watchdog or
// a fencing device, else block.
func (c *Config) StopPolicy(g haresources.Group) string {
	if p := g.Pragmas[haresources.PragmaStopFailure]; p != "" {
		return p
	}
	if c.Watchdog != "" || len(c.FencingLevels()) > 0 {
		return haresources.StopFenceSelf
	}
	return haresources.StopBlock
}

// checkStopFailure refuses a policy that lets two nodes destroy what both hold, and says where another one does not suffice.
func (l *loader) checkStopFailure(g haresources.Group) {
	at := fault.Fault{File: l.cfg.Table.File, Line: g.Line, Severity: fault.Error}
	switch policy := l.cfg.StopPolicy(g); {
	case policy == haresources.StopIgnore && PrefersSafety(g):
		l.faults.Addf(at, "fence-self or block", "on-stop-failure=ignore on a group with a mount or the like: both nodes would write to it")
	case policy == haresources.StopFenceSelf && l.cfg.Watchdog == "" && len(l.cfg.FencingLevels()) == 0:
		at.Severity = fault.Warning
		l.faults.Addf(at, "configure a watchdog or a fencing device", "on-stop-failure=fence-self without a watchdog or fencing device: nothing resets this machine if its kernel cannot")
	}
}
