package agent

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"time"

	"hapair/heartbeat/fault"
)

// checkTime bounds the trial of a ruleset.
const checkTime = 30 * time.Second

// Check tries the rules of each role, without loading them.
func (f *firewall) Check() fault.List {
	var list fault.List
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	for _, r := range []role{roleActive, roleStandby} {
		if path, own := f.paths[r]; own {
			list = append(list, checkRules(ctx, f.env, path)...)
		}
	}
	return list
}

// Words in a ruleset that a person should know more about.
var (
	flowtableWord = regexp.MustCompile(`(?m)^\s*flowtable\s`)
	offloadWord   = regexp.MustCompile(`(?m)^\s*flags\s+.*\boffload\b`)
)

// checkRules looks at the rules of one role.
func checkRules(ctx context.Context, env Environment, path string) (list fault.List) {
	source, err := readRules(path)
	if err != nil {
		return fault.List{fileFault(path, err)}
	}
	for _, file := range source.files {
		list = append(list, checkWords(file)...)
	}
	if os.Geteuid() != 0 {
		list.Addf(fault.Fault{File: path, Severity: fault.Notice}, "run `heartbeat check` as root", "the rules themselves were not tried: only root can")
		return list
	}
	c, err := compile(ctx, env, path)
	if err != nil {
		return append(list, fileFault(path, err))
	}
	if c.flushes {
		list.Addf(fault.Fault{File: path, Severity: fault.Notice}, "leave `flush ruleset` out: the tables of this file are replaced anyway",
			"empties the whole ruleset: with every switch the rules of other programs (containers, fail2ban) go too")
	}
	for _, chain := range c.chains {
		if early(chain) && (chain.Drop || len(chain.Rules) > 0) {
			list.Addf(fault.Fault{File: path, Severity: fault.Warning}, fmt.Sprintf("let udp dport %s pass in it, or use a chain with the hook input", ports(env.Pass)),
				"chain %v %s works before the IP layer, where heartbeats are not let through by themselves", chain.Table, chain.Name)
		}
	}
	return list
}

// checkWords finds what works, but not with everything else here.
func checkWords(f ruleFile) (list fault.List) {
	for _, word := range []struct {
		find    *regexp.Regexp
		message string
	}{
		{flowtableWord, "a flowtable forwards packets past the rules, and past the check whether this node may still answer"},
		{offloadWord, "hardware offload forwards packets past this machine's kernel, and past the check whether this node may still answer"},
	} {
		if at := word.find.FindIndex(f.text); at != nil {
			list.Addf(fault.Fault{File: f.path, Line: lineAt(f.text, at[1]), Severity: fault.Warning}, "", "%s", word.message)
		}
	}
	return list
}

// lineAt is the line of a position in a text, from 1.
func lineAt(text []byte, position int) int {
	line := 1
	for _, b := range text[:position] {
		if b == '\n' {
			line++
		}
	}
	return line
}
