package agent

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
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
		list = append(list, checkDrops(file, env.now().Pass)...)
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

// A rule that drops packets to UDP ports, in the words of nft and of iptables-save.
var (
	dropWord    = regexp.MustCompile(`\b(drop|reject|DROP|REJECT)\b`)
	portsOfRule = regexp.MustCompile(`\budp\s+dport\s+(\{[^}]*\}|[\w-]+)|-p udp\b.*--dports? ([\d:,]+)`)
	portOrRange = regexp.MustCompile(`(\d+)(?:\s*[-:]\s*(\d+))?`)
)

// checkDrops warns of rules that mean to drop what the pair itself sends. It passes all the same, as long as it is this program that has
// loaded the rules.
func checkDrops(f ruleFile, passes []Pass) (list fault.List) {
	number := 0
	for line := range strings.Lines(string(f.text)) {
		number++
		rule, _, _ := strings.Cut(line, "#")
		words := portsOfRule.FindStringSubmatch(rule)
		if words == nil || !dropWord.MatchString(rule) {
			continue
		}
		for _, p := range passes {
			if p.Port > 0 && coversPort(words[1]+words[2], p.Port) {
				list.Addf(fault.Fault{File: f.path, Line: number, Severity: fault.Warning}, "take the port out of the rule",
					"this rule drops UDP port %d, which the nodes of the pair speak by: that passes before it as long as heartbeat has loaded the rules, and no longer when something else loads them", p.Port)
				break
			}
		}
	}
	return list
}

// coversPort says whether a port is among those that a rule names.
func coversPort(names string, port int) bool {
	for _, m := range portOrRange.FindAllStringSubmatch(names, -1) {
		var first, last int
		_, _ = fmt.Sscan(m[1], &first) // digits: cannot fail, or is too large for a port
		if last = first; m[2] != "" {
			_, _ = fmt.Sscan(m[2], &last)
		}
		if port >= first && port <= last {
			return true
		}
	}
	return false
}
