package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// Exit codes of OCF agents (Open Cluster Framework, resource agent API).
const (
	ocfSuccess       = 0
	ocfGeneric       = 1
	ocfArgs          = 2
	ocfUnimplemented = 3
	ocfPerm          = 4
	ocfInstalled     = 5
	ocfConfigured    = 6
	ocfNotRunning    = 7
	ocfPromoted      = 8
	ocfFailedPromote = 9
)

// ocfMeanings says what an exit code means.
var ocfMeanings = map[int]string{
	ocfGeneric: "generic error", ocfArgs: "the arguments are wrong", ocfUnimplemented: "the agent does not know this operation",
	ocfPerm: "insufficient privilege", ocfInstalled: "a program it needs is not installed",
	ocfConfigured: "the resource is not configured correctly", ocfNotRunning: "not running",
	ocfPromoted: "running as promoted", ocfFailedPromote: "failed as promoted",
}

// ocf is a resource that an OCF agent runs.
type ocf struct {
	env      Environment
	provider string
	kind     string
	params   []string // name=value
	advice   timeouts
	refused  atomic.Bool // the agent has refused to start, for what it was given; it runs nothing
	examining
	absence
}

// openOCF makes an agent for ocf:PROVIDER:TYPE::name=value….
func openOCF(env Environment, r haresources.Resource) (haresources.Agent, error) {
	provider, kind, found := strings.Cut(r.Name, ":")
	if !found {
		return nil, errors.New("not an OCF agent: write ocf:PROVIDER:TYPE")
	}
	for _, arg := range r.Args {
		if name, _, found := strings.Cut(arg, "="); !found || !variable(name) {
			return nil, fmt.Errorf("%q is no parameter: write name=value", arg)
		}
	}
	return &ocf{env: env, provider: provider, kind: kind, params: r.Args}, nil
}

// variable says whether a name can be that of an environment variable.
func variable(name string) bool {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// path is where the agent is.
func (o *ocf) path() string {
	return filepath.Join(o.env.Paths.OCFRoot, "resource.d", o.provider, o.kind)
}

// instance is a name for this resource that no other one has: agents keep their state in files of that name.
func (o *ocf) instance() string {
	safe := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}
	name := strings.Map(safe, strings.Join(append([]string{o.kind}, o.params...), "_"))
	return name[:min(len(name), 200)]
}

// program is the agent with an operation.
func (o *ocf) program(action string, limit time.Duration) (host.Program, error) {
	path := o.path()
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return host.Program{}, fmt.Errorf("cannot locate OCF agent %s:%s: %w", o.provider, o.kind, err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return host.Program{}, fmt.Errorf("OCF agent %s is no executable file", path)
	}
	more := []string{
		"OCF_ROOT=" + o.env.Paths.OCFRoot, "OCF_RA_VERSION_MAJOR=1", "OCF_RA_VERSION_MINOR=1",
		"OCF_RESOURCE_INSTANCE=" + o.instance(), "OCF_RESOURCE_TYPE=" + o.kind, "OCF_RESOURCE_PROVIDER=" + o.provider,
		"__OCF_ACTION=" + action, "LC_ALL=C",
	}
	if limit > 0 {
		more = append(more, fmt.Sprintf("OCF_RESKEY_CRM_meta_timeout=%d", limit.Milliseconds()))
	}
	for _, p := range o.params {
		more = append(more, "OCF_RESKEY_"+p)
	}
	p := host.Program{Path: path, Args: []string{action}, Env: o.env.environ(more...)}
	if action != "meta-data" { // which does nothing to the resource
		p.Ledger, p.Key = o.env.now().Ledger, strings.Join(append([]string{"ocf", o.provider, o.kind}, o.params...), "::")
	}
	return p, nil
}

// do runs one operation and explains its exit code.
func (o *ocf) do(ctx context.Context, action string) error {
	var left time.Duration
	if end, limited := ctx.Deadline(); limited {
		left = time.Until(end)
	}
	p, err := o.program(action, left)
	if err != nil {
		return fmt.Errorf("%w: %w", errAbsent, err)
	}
	err = run(ctx, p)
	if meaning := ocfMeanings[exitCode(err)]; meaning != "" {
		return fmt.Errorf("%s: %w", meaning, err)
	}
	return err
}

// errAbsent is in the error of an operation whose agent cannot be found.
var errAbsent = errors.New("nothing was run")

// Start runs the agent with "start".
func (o *ocf) Start(ctx context.Context) error {
	err := o.do(ctx, "start")
	if errors.Is(err, errAbsent) {
		return err
	}
	o.refused.Store(refusal(err) && !o.ran.Load())
	if o.refused.Load() {
		return err
	}
	return o.did(haresources.OpStart, err)
}

// refusal says whether an agent did nothing because of what it was given, or because of what is missing here.
func refusal(err error) bool {
	switch exitCode(err) {
	case ocfArgs, ocfUnimplemented, ocfInstalled, ocfConfigured:
		return true
	}
	return false
}

// Stop runs the agent with "stop".
func (o *ocf) Stop(ctx context.Context) error {
	err := o.do(ctx, "stop")
	if errors.Is(err, errAbsent) {
		return o.stop(ctx, err)
	}
	if refusal(err) && o.refused.Load() {
		if tell := haresources.OutputTo(ctx); tell != nil {
			tell(err.Error() + ": it refused to start, so there is nothing to stop")
		}
		return nil
	}
	return o.did(haresources.OpStop, err)
}

// Status runs the agent with "monitor". An agent whose program is not installed here runs nothing here.
func (o *ocf) Status(ctx context.Context) (haresources.State, error) {
	if err := o.last(); err != nil {
		return haresources.Unknown, err
	}
	err := o.do(ctx, "monitor")
	o.note(err)
	if errors.Is(err, errAbsent) {
		return o.state(err)
	}
	switch exitCode(err) {
	case ocfSuccess, ocfPromoted:
		return o.saw(haresources.Running, nil)
	case ocfNotRunning, ocfInstalled:
		return o.saw(haresources.Stopped, nil)
	case ocfGeneric, ocfFailedPromote:
		return o.saw(haresources.Failed, err)
	}
	return haresources.Unknown, err
}

// Timeout is what the agent's meta-data advises.
func (o *ocf) Timeout(op haresources.Operation) time.Duration {
	action := string(op)
	if op == haresources.OpStatus {
		action = "monitor"
	}
	return o.timeouts()[action]
}
