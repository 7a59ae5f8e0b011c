package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/host"
)

// firewall is the resource Firewall::ACTIVE[::STANDBY]: the rules of the node that holds the group, and optionally other
// ones for the node that does not. Without those the active rules stay loaded when the group goes.
//
// Rules are tried in a namespace of their own before they are loaded, loaded in one transaction that replaces exactly the
// tables that they consist of, and read back. When they cannot be loaded, the rules that are there stay.
type firewall struct {
	env    Environment
	paths  map[role]string // of roleActive and, if there is one, roleStandby
	table  host.Table      // that holds our mark
	redo   chan struct{}   // asks the watcher to look at the files again
	nft    *host.NFT       // nil until it is needed
	loaded handles         // nil when not loaded by this process

	caching sync.Mutex
	cache   map[role]*compiled

	faulty  sync.Mutex
	kept    error // why the rules of another role are in force
	untried error // why the rules of a role would not be loaded; nil where kept says it

	mu   sync.Mutex
	seen struct {
		generation uint32 // 0 for none
		state      haresources.State
	}
	describe string
}

// openFirewall makes the agent.
func openFirewall(env Environment, r haresources.Resource) (haresources.Agent, error) {
	if len(r.Args) < 1 || len(r.Args) > 2 {
		return nil, errors.New("Firewall takes one or two arguments: Firewall::FILE of the active node[::FILE of the standby node]")
	}
	f := &firewall{
		env: env, paths: map[role]string{roleActive: r.Args[0]}, cache: map[role]*compiled{}, redo: make(chan struct{}, 1),
		table: host.Table{Family: "inet", Name: ownTable + "firewall_" + mix(r.Args[0], "")[:8]},
	}
	if len(r.Args) == 2 {
		f.paths[roleStandby] = r.Args[1]
	}
	for _, path := range f.paths {
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("the path of the rules must begin with a slash: %s", path)
		}
	}
	return f, nil
}

// Timeout leaves room for rulesets with tens of thousands of elements.
func (f *firewall) Timeout(op haresources.Operation) time.Duration {
	if op == haresources.OpStatus {
		return 0
	}
	return time.Minute
}

// Configure has changed files loaded after a reload, and those that were complained of tried again.
func (f *firewall) Configure(func(string) string) error {
	f.faulty.Lock()
	again := f.untried != nil
	f.faulty.Unlock()
	if again {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), checkTime)
			defer cancel()
			_ = f.Foresee(ctx) // its error is a complaint
		}()
	}
	select {
	case f.redo <- struct{}{}:
	default:
	}
	return nil
}

// Close ends what Status and Start have opened. The rules stay.
func (f *firewall) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nft == nil {
		return nil
	}
	defer func() { f.nft = nil }()
	return f.nft.Close()
}

// Describe says which rules are in force.
func (f *firewall) Describe() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.describe
}

// Start puts the active rules in force. Where they cannot be loaded and there are other rules, those stay, and Start
// succeeds with a complaint: a takeover does not fail over a mistyped rule.
func (f *firewall) Start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.become(ctx, roleActive)
}

// Stop puts the standby rules in force; without such, the active ones stay.
func (f *firewall) Stop(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.become(ctx, roleStandby)
}

// Standby makes a node ready that does not hold the group: it loads the standby rules or, where there are none, the active
// ones, so that a takeover has nothing left to load.
func (f *firewall) Standby(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, own := f.paths[roleStandby]; own {
		return f.become(ctx, roleStandby)
	}
	return f.load(ctx, roleActive, roleStandby)
}

// Foresee tries the rules of both roles, so that a change has nothing left to try.
func (f *firewall) Foresee(ctx context.Context) error {
	var errs []error
	for _, of := range []role{roleActive, roleStandby} {
		if _, own := f.paths[of]; !own {
			continue
		}
		if _, err := f.compile(ctx, of); err != nil && ctx.Err() == nil {
			errs = append(errs, fmt.Errorf("the %s rules cannot be loaded: %w", of, err))
		}
	}
	err := errors.Join(errs...)
	f.faulty.Lock()
	defer f.faulty.Unlock()
	if f.untried = err; f.kept != nil {
		f.untried = nil
	}
	return err
}

// Lingers is true: what rules this node is left with does not concern the one that holds the group now.
func (f *firewall) Lingers() bool { return true }

// Transparent says that an address need not wait for it once Prepare has loaded the active rules.
func (f *firewall) Transparent() bool { return true }

// Prepare loads the active rules before the group is taken over.
func (f *firewall) Prepare(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.load(ctx, roleActive, roleStandby)
}

// become puts the rules of a role in force.
func (f *firewall) become(ctx context.Context, to role) error {
	if _, own := f.paths[to]; !own {
		return f.remark(to)
	}
	err := f.load(ctx, to, to)
	if err == nil {
		return nil
	}
	return f.keep(ctx, to, err)
}

// remark notes another role for the rules that are loaded, if they are ours.
func (f *firewall) remark(to role) error {
	r, err := f.list()
	if err != nil {
		return err
	}
	m := readMark(r, f.table)
	if m.role == roleNone || m.role == to {
		return nil
	}
	m.role = to
	f.forget()
	f.describe = "loaded, " + string(to)
	return f.nft.MarkTable(f.table, m.chains()...)
}

// load puts the rules of a role in force, noted as those of another one.
func (f *firewall) load(ctx context.Context, content, as role) error {
	c, err := f.compile(ctx, content)
	if err != nil {
		return err
	}
	r, err := f.list()
	if err != nil {
		return err
	}
	before := readMark(r, f.table)
	now := mark{role: as, digest: c.digest, tables: c.tables}
	if before.digest != c.digest || c.differs(r, f.loaded) != "" {
		return f.replace(ctx, c, before, now)
	}
	f.settle(c, as)
	if before.role == as {
		return nil
	}
	return f.nft.MarkTable(f.table, now.chains()...)
}

// replace loads rules, and reads them back. When somebody else changed them in that instant, they are loaded once more.
func (f *firewall) replace(ctx context.Context, c *compiled, before, now mark) error {
	script, own, err := f.transaction(ctx, c, before, now)
	if err != nil {
		return err
	}
	var difference string
	for range 2 {
		if !f.replay(c, before, now, own) {
			if err := f.loadScript(ctx, c, script); err != nil {
				return err
			}
		}
		r, err := f.list()
		if err != nil {
			return err
		}
		if difference = c.differs(r, nil); difference == "" {
			f.loaded = c.handlesOf(r)
			f.settle(c, now.role)
			return nil
		}
	}
	return fmt.Errorf("loaded the rules, and found them changed at once: %s", difference)
}

// transaction is the script for nft: the rules, without what only the rules before them consisted of, and the mark. own says
// that it brings other tables of this program back.
func (f *firewall) transaction(ctx context.Context, c *compiled, before, now mark) (script string, own bool, err error) {
	var gone, tables string
	for _, t := range before.tables {
		gone += removeTable(t)
	}
	if c.flushes {
		if tables, err = f.ownTables(ctx); err != nil {
			return "", false, err
		}
	}
	return gone + c.script + tables + now.script(f.table), tables != "", nil
}

// ownTables are the commands that make the other tables of this program again, after a file has emptied the ruleset. Sets
// come back empty: what lived in them with a time-out must not begin to live anew.
func (f *firewall) ownTables(ctx context.Context) (string, error) {
	r, err := f.list()
	if err != nil {
		return "", err
	}
	var script string
	for _, t := range r.Tables {
		if t == f.table || !isOwn(t) {
			continue
		}
		lines, err := tool{name: "nft", args: []string{"-s", "-t", "list", "table", t.Family, t.Name}}.run(ctx, f.env)
		if err != nil {
			return "", err
		}
		for _, line := range lines {
			script += line + "\n"
		}
	}
	return script, nil
}

// keep leaves the rules that are there in force, when those of a role cannot be loaded.
func (f *firewall) keep(ctx context.Context, to role, why error) error {
	r, err := f.list()
	if err == nil && to == roleActive && !protects(r) {
		r, err = f.fallBack(ctx, r)
	}
	if err != nil {
		return errors.Join(why, err)
	}
	if ctx.Err() != nil || to == roleActive && !protects(r) {
		return fmt.Errorf("%w; there are no other rules to keep", why)
	}
	f.forget()
	kept := fmt.Errorf("the %s rules could not be loaded, the rules before them stay in force: %w", to, why)
	f.complain(kept)
	f.describe = kept.Error()
	if say := haresources.OutputTo(ctx); say != nil {
		say("ERROR: " + f.describe)
	}
	m := readMark(r, f.table)
	m.role, m.digest = to, keptDigest
	return f.nft.MarkTable(f.table, m.chains()...)
}

// fallBack loads the standby rules on a node that has no rules at all, such as one that has just started, and says what is there then.
func (f *firewall) fallBack(ctx context.Context, r host.Ruleset) (host.Ruleset, error) {
	if _, own := f.paths[roleStandby]; !own || f.load(ctx, roleStandby, roleStandby) != nil {
		return r, nil
	}
	return f.list()
}

// settle notes that rules are in force.
func (f *firewall) settle(c *compiled, as role) {
	f.complain(nil)
	f.forget()
	passing := 0
	for _, chain := range c.chains {
		if len(chain.Rules) > 0 && chain.Rules[0].Comment == passComment {
			passing++
		}
	}
	f.describe = fmt.Sprintf("%s, %d rules in %d chains, heartbeats pass first in %d of them", as, c.rules, len(c.chains), passing)
	if as == roleStandby {
		f.describe = "loaded, " + f.describe
	}
}

// complain notes why other rules than those of the role are in force, or nil.
func (f *firewall) complain(kept error) {
	f.faulty.Lock()
	defer f.faulty.Unlock()
	if f.kept = kept; kept != nil {
		f.untried = nil
	}
}

// forget has the next Status look at everything.
func (f *firewall) forget() { f.seen.generation = 0 }

// list reads the rules of this machine.
func (f *firewall) list() (host.Ruleset, error) {
	if f.nft == nil {
		n, err := host.OpenNFT()
		if err != nil {
			return host.Ruleset{}, err
		}
		f.nft = n
	}
	return f.nft.List()
}

// compile is the rules of a role, from the cache while the files are the same. It may be called by several at once.
func (f *firewall) compile(ctx context.Context, of role) (*compiled, error) {
	path := f.paths[of]
	source, err := readRules(path)
	if err != nil {
		return nil, err
	}
	f.caching.Lock()
	c := f.cache[of]
	f.caching.Unlock()
	if c != nil && c.source == source.digest {
		return c, nil
	}
	if c, err = compile(ctx, f.env, path); err != nil {
		return nil, err
	}
	f.caching.Lock()
	defer f.caching.Unlock()
	f.cache[of] = c
	return c, nil
}

// Status says whether the active rules are in force. As long as nothing at all has changed in the kernel's rules it asks for
// their generation only.
func (f *firewall) Status(ctx context.Context) (haresources.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nft != nil && f.seen.generation != 0 {
		if g, err := f.nft.Generation(); err == nil && g == f.seen.generation {
			return f.seen.state, nil
		}
	}
	r, err := f.list()
	if err != nil {
		return haresources.Unknown, err
	}
	state, err := f.judge(ctx, r)
	if err == nil {
		f.seen.generation, f.seen.state = r.Generation, state
	}
	return state, err
}

// judge says what a ruleset means for the resource.
func (f *firewall) judge(ctx context.Context, r host.Ruleset) (haresources.State, error) {
	m := readMark(r, f.table)
	if m.role != roleActive {
		return haresources.Stopped, nil
	}
	if m.digest == keptDigest {
		if f.Complaint() == nil {
			f.describe = "the rules of another role are in force, since the active ones could not be loaded"
		}
		return haresources.Running, nil
	}
	c, err := f.compile(ctx, roleActive)
	if err != nil || c.digest != m.digest {
		f.describe = "active; the files have changed since they were loaded: `heartbeat reload` loads them"
		return haresources.Running, nil
	}
	if difference := c.differs(r, f.loaded); difference != "" {
		return haresources.Failed, fmt.Errorf("somebody has changed the rules: %s", difference)
	}
	if f.describe == "" {
		f.settle(c, roleActive)
	}
	return haresources.Running, nil
}

// fileFault makes any error a fault of the file.
func fileFault(path string, err error) fault.Fault {
	var f fault.Fault
	if errors.As(err, &f) {
		return f
	}
	return fault.Fault{File: path, Severity: fault.Error, Message: err.Error()}
}
