package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// compiled is the rules of one role, tried and ready to be loaded.
type compiled struct {
	source  string           // digest of the files
	digest  string           // of the files and of what passes
	script  string           // replaces its own tables, whatever was in them
	dir     string           // that relative includes are looked for in
	tables  []host.Table     // that the rules consist of
	chains  []host.Chain     // as they read back once they are loaded
	flushes bool             // the files empty the whole ruleset first
	rules   int              // without those that let heartbeats pass
	changes []host.NFTChange // the same as script for the kernel; nil when only the program can load it
	indexes map[string]int   // the interfaces when it was made
}

// ownTable is how the names of this program's own tables begin.
const ownTable = "hapair_"

// canary is a table that only a file which empties the whole ruleset removes.
const canary = ownTable + "canary"

// compile reads the rules of a role and tries them in a namespace of their own: what they make there is what they will make
// here. Nothing on this machine changes.
func compile(ctx context.Context, env Environment, path string) (*compiled, error) {
	source, err := readRules(path)
	if err != nil {
		return nil, err
	}
	body, err := source.script(ctx, env)
	if err != nil {
		return nil, err
	}
	r, err := newRehearsal(env, source)
	if err != nil {
		return nil, fmt.Errorf("try the rules of %s: %w", path, err)
	}
	defer r.close()
	found, err := r.load(ctx, "table inet "+canary+"\n"+body)
	if err != nil {
		return nil, incomplete(path, err)
	}
	c := &compiled{source: source.digest, digest: source.digest, dir: r.dir, flushes: true}
	for _, t := range found.Tables {
		switch {
		case t.Name == canary:
			c.flushes = false
		case isOwn(t):
			return nil, fault.Fault{File: path, Severity: fault.Error, Message: fmt.Sprintf("the name of table %v belongs to this program", t), Hint: "give it another name"}
		default:
			c.tables = append(c.tables, t)
		}
	}
	if len(c.tables) == 0 {
		return nil, fault.Fault{File: path, Severity: fault.Error, Message: "makes no table: the node would be without rules"}
	}
	c.compose(body, found, env.now().Pass)
	changes, again, err := r.again(ctx, c.script)
	if err != nil {
		return nil, fmt.Errorf("try the rules of %s a second time: %w", path, err)
	}
	c.expect(again)
	c.indexes = r.indexes
	r.capture(ctx, c, changes)
	return c, nil
}

// incomplete explains why a file that nft might accept on a machine with rules is refused.
func incomplete(path string, err error) error {
	var f fault.Fault
	if !errors.As(err, &f) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if strings.Contains(f.Message, "No such file or directory") {
		f.Hint = "the file has to work on an empty ruleset too: it may not add to, or delete, what it has not made itself"
	}
	return f
}

// compose writes the script that replaces the rules by those of body: first everything that the tables held goes, last come
// the rules that let heartbeats pass, at the head of each chain that could stop them.
func (c *compiled) compose(body string, found host.Ruleset, passes []Pass) {
	var b strings.Builder
	for _, t := range c.tables {
		b.WriteString(removeTable(t))
	}
	b.WriteString(body)
	for _, chain := range found.Chains {
		if guarded(chain) && !isOwn(chain.Table) {
			for _, command := range passRules(chain, passes) {
				b.WriteString(command + "\n")
				c.digest = mix(c.digest, command)
			}
		}
	}
	c.script = b.String()
}

// removeTable removes a table whether it is there or not.
func removeTable(t host.Table) string { return fmt.Sprintf("add table %v\ndelete table %v\n", t, t) }

// expect notes what the rules look like once they are loaded.
func (c *compiled) expect(r host.Ruleset) {
	for _, chain := range r.Chains {
		if slices.Contains(c.tables, chain.Table) {
			c.chains = append(c.chains, chain)
			for _, rule := range chain.Rules {
				if rule.Comment != passComment {
					c.rules++
				}
			}
		}
	}
}

// rehearsal is a namespace in which rules are tried.
type rehearsal struct {
	env     Environment
	dir     string
	machine *host.Isolated
	nft     *host.NFT
	indexes map[string]int // of this machine's interfaces
}

// newRehearsal makes a namespace with interfaces named as this machine's, so that rules may name them.
func newRehearsal(env Environment, source ruleSource) (*rehearsal, error) {
	devices, err := devicesHere()
	if err != nil {
		return nil, err
	}
	r := &rehearsal{env: env, dir: filepath.Dir(source.files[0].path), indexes: indexes(devices)}
	if r.machine, err = host.Isolate(devices); err != nil {
		return nil, err
	}
	r.machine.Do(func() { r.nft, err = host.OpenNFT() })
	if err != nil {
		r.machine.Close()
		return nil, err
	}
	return r, nil
}

// load loads a script and says what is there then.
func (r *rehearsal) load(ctx context.Context, script string) (host.Ruleset, error) {
	lines, err := tool{name: "nft", args: []string{"-f", "-"}, stdin: script, dir: r.dir, inside: r.machine}.run(ctx, r.env)
	if err != nil {
		return host.Ruleset{}, locate(lines, err)
	}
	return r.nft.List()
}

func (r *rehearsal) close() {
	r.nft.Close()
	r.machine.Close()
}

// isOwn says whether a table is one of this program's own.
func isOwn(t host.Table) bool { return strings.HasPrefix(t.Name, ownTable) }
