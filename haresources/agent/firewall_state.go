package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"hapair/heartbeat/host"
)

// role is what rules are for.
type role string

// The roles. A node has the rules of one of them, or none of ours.
const (
	roleNone    role = ""
	roleActive  role = "active"
	roleStandby role = "standby"
)

// mark is the note about what is loaded that stands in the kernel beside the rules, and goes when somebody removes all
// rules: a table of our own with a chain ROLE_DIGEST, and a chain of.FAMILY.NAME for each table that the rules consist of.
type mark struct {
	role   role
	digest string // keptDigest when the rules of another role were kept
	tables []host.Table
}

// keptDigest stands in a mark for rules that are not those of the role, since those could not be loaded.
const keptDigest = "kept"

// mix makes one digest of two things.
func mix(digest, more string) string {
	sum := sha256.Sum256([]byte(digest + "\x00" + more))
	return hex.EncodeToString(sum[:8])
}

// chains are the names that render the mark.
func (m mark) chains() []string {
	list := []string{string(m.role) + "_" + m.digest}
	for _, t := range m.tables {
		list = append(list, "of."+t.Family+"."+t.Name)
	}
	return list
}

// script are the commands for nft that write the mark.
func (m mark) script(t host.Table) string {
	var b strings.Builder
	b.WriteString(removeTable(t))
	fmt.Fprintf(&b, "add table %v\n", t)
	for _, name := range m.chains() {
		fmt.Fprintf(&b, "add chain %v %s\n", t, name)
	}
	return b.String()
}

// readMark finds the mark in a table.
func readMark(r host.Ruleset, t host.Table) (m mark) {
	for _, c := range r.Chains {
		if c.Table != t {
			continue
		}
		if rest, found := strings.CutPrefix(c.Name, "of."); found {
			family, name, _ := strings.Cut(rest, ".")
			m.tables = append(m.tables, host.Table{Family: family, Name: name})
		} else if name, digest, found := strings.Cut(c.Name, "_"); found {
			m.role, m.digest = role(name), digest
		}
	}
	return m
}

// handles are the rules that we have loaded, by chain.
type handles map[string][]host.Rule

// differs says how the rules differ from those that were loaded, "" when they do not. What others have added, such as
// further rules behind ours, is no difference. Without handles, from before a restart, rules are only counted.
func (c *compiled) differs(r host.Ruleset, loaded handles) string {
	for _, want := range c.chains {
		have, found := r.Chain(want.Table, want.Name)
		if !found {
			return fmt.Sprintf("chain %v %s is missing", want.Table, want.Name)
		}
		if have.Hook != want.Hook || have.Type != want.Type || have.Drop != want.Drop {
			return fmt.Sprintf("chain %v %s has another type, hook or policy", want.Table, want.Name)
		}
		if missing := missingRules(want, have, loaded); missing > 0 {
			return fmt.Sprintf("chain %v %s lacks %d of its %d rules", want.Table, want.Name, missing, len(want.Rules))
		}
		if len(want.Rules) > 0 && want.Rules[0].Comment == passComment && have.Rules[0].Comment != passComment {
			return fmt.Sprintf("chain %v %s has a rule before the one that lets heartbeats pass", want.Table, want.Name)
		}
	}
	for _, t := range c.tables {
		if !slices.Contains(r.Tables, t) {
			return fmt.Sprintf("table %v is missing", t)
		}
	}
	return ""
}

// missingRules counts the rules of a chain that are gone.
func missingRules(want, have host.Chain, loaded handles) int {
	if loaded == nil {
		return len(want.Rules) - len(have.Rules)
	}
	there := make(map[uint64]bool, len(have.Rules))
	for _, rule := range have.Rules {
		there[rule.Handle] = true
	}
	missing := 0
	for _, rule := range loaded[chainKey(want)] {
		if !there[rule.Handle] {
			missing++
		}
	}
	return missing
}

// handlesOf notes the rules of our tables.
func (c *compiled) handlesOf(r host.Ruleset) handles {
	loaded := handles{}
	for _, chain := range r.Chains {
		if slices.Contains(c.tables, chain.Table) {
			loaded[chainKey(chain)] = chain.Rules
		}
	}
	return loaded
}

func chainKey(c host.Chain) string { return c.Table.String() + " " + c.Name }

// protects says whether there are any rules that filter what comes in or goes through.
func protects(r host.Ruleset) bool {
	return slices.ContainsFunc(r.Chains, func(c host.Chain) bool {
		return (c.Hook == host.HookInput || c.Hook == host.HookForward) && c.Type == "filter" && (c.Drop || len(c.Rules) > 0) &&
			!isOwn(c.Table)
	})
}
