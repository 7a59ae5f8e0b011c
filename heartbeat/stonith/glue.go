package stonith

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// glueTypes are the compiled plugins of cluster-glue, which only its program `stonith` can drive. Not among them: suicide, which
// cannot fence another node, and those that have a kind of their own here.
var glueTypes = []string{
	"apcmaster", "apcmastersnmp", "apcsmart", "baytech", "bladehpi", "cyclades", "drac3", "ibmhmc", "ipmilan", "nw_rpc100s",
	"rcd_serial", "rps10", "vacm", "wti_mpc", "wti_nps",
}

// glue is one of cluster-glue's compiled plugins.
type glue struct {
	spec Spec
	env  Environment

	mu   sync.Mutex
	prog *program
}

// openGlue makes a device of such a type.
func openGlue(s Spec, e Environment) (Fencer, error) { return &glue{spec: s, env: e}, nil }

// Name is the type.
func (d *glue) Name() string { return d.spec.Type }

// Locate looks for the program stonith.
func (d *glue) Locate() error {
	_, err := d.locate()
	return err
}

func (d *glue) locate() (string, error) {
	path, err := find(d.spec.Type, "stonith", d.env.agentDirs())
	if err != nil {
		f := fail(d.spec.Type, CauseMissing, "%s is driven by the program stonith, which was not found", d.spec.Type)
		f.Remedy = "install cluster-glue"
		return "", f
	}
	return path, nil
}

// command finds the program and adds type and parameters to the arguments. Parameters on the stonith_host line can be seen by
// everybody in the list of processes; those in a file cannot.
func (d *glue) command(args ...string) (program, []string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.prog == nil {
		path, err := d.locate()
		if err != nil {
			return program{}, nil, err
		}
		d.prog = &program{path: path, tag: d.spec.Type, timeout: d.env.timeout(), log: d.env.Log, env: d.env.environ()}
	}
	all := []string{"-t", d.spec.Type}
	if d.spec.File != "" {
		if _, err := d.spec.text(); err != nil {
			return program{}, nil, err
		}
		all = append(all, "-F", d.spec.File)
	} else {
		all = append(all, "-p", d.spec.Params)
	}
	return *d.prog, append(all, args...), nil
}

// call runs one command and explains its failure.
func (d *glue) call(ctx context.Context, what string, args ...string) (result, error) {
	p, all, err := d.command(args...)
	if err != nil {
		return result{}, err
	}
	r := p.call(ctx, "", all...)
	if r.err == nil {
		return r, nil
	}
	f := classify(d.spec.Type, r, what)
	for _, line := range r.all() {
		if strings.Contains(line, "Invalid STONITH") {
			f.Cause, f.What = CauseParameter, "parameters were refused"
			f.Remedy = "they are, in this order: " + d.names(ctx, p)
		}
	}
	return r, f
}

// names asks for the parameters' names.
func (d *glue) names(ctx context.Context, p program) string {
	return strings.Join(strings.Fields(strings.Join(p.call(ctx, "", "-t", d.spec.Type, "-n").answer, " ")), " ")
}

// Fence runs the verb; exit code 0 is the plugin's word.
func (d *glue) Fence(ctx context.Context, node string, how Verb) (Evidence, error) {
	began := time.Now()
	ev := Evidence{Device: d.spec.Type, Certain: true}
	_, err := d.call(ctx, how.String()+" "+node, "-T", how.String(), node)
	ev.Took = time.Since(began)
	if err == nil {
		ev.Seen = []string{fmt.Sprintf("%s %s: exit code 0", how, node)}
	}
	return ev, err
}

// Check asks for the device's status and the hosts that it can reset.
func (d *glue) Check(ctx context.Context) error {
	if _, err := d.call(ctx, "status", "-S"); err != nil {
		return err
	}
	r, err := d.call(ctx, "list of hosts", "-l")
	if err != nil {
		return err
	}
	var list []string
	for _, line := range r.answer {
		list = append(list, hosts(line)...)
	}
	for _, h := range d.spec.Hosts {
		if !handles(list, h) {
			return fail(d.spec.Type, CauseHost, "it can reset %s, but not %s", strings.Join(list, ", "), h)
		}
	}
	return nil
}
