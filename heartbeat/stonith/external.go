package stonith

import (
	"context"
	"encoding/xml"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// external is one of cluster-glue's external plugins (protocol section 9): a program that gets its parameters in the
// environment, the verb and the node as arguments, and says yes by exit code 0.
type external struct {
	spec    Spec
	env     Environment
	trusted bool // its yes proves something; false for those that ask the node itself to go

	mu     sync.Mutex
	ready  bool
	prog   program
	params []param
	hosts  []string // that it says it can reset; empty until asked
}

// openExternal makes a device of type external/NAME.
func openExternal(s Spec, e Environment) (Fencer, error) {
	if s.Type == "external/ssh" {
		return openSSH(s, e)
	}
	return &external{spec: s, env: e, trusted: true}, nil
}

// openSSH makes a device that asks the very node that is to be fenced to reboot.
func openSSH(s Spec, e Environment) (Fencer, error) {
	e.Log(Crit, s.Type+": this is no fencing: it asks the node that does not answer to reboot itself, and takes silence for success. "+
		"For tests only: with it, both nodes can end up writing to the same disk")
	s.Type = "external/ssh"
	return &external{spec: s, env: e}, nil
}

// Name is the type as in ha.cf.
func (d *external) Name() string { return d.spec.Type }

// Locate looks for the plugin.
func (d *external) Locate() error {
	_, err := d.locate()
	return err
}

func (d *external) locate() (string, error) {
	return find(d.spec.Type, strings.TrimPrefix(d.spec.Type, "external/"), d.env.pluginDirs())
}

// plainName is a parameter's name; anything else that a plugin prints is noise.
var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// prepare finds the plugin and works out its parameters, once it succeeded not again.
func (d *external) prepare(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready {
		return nil
	}
	path, err := d.locate()
	if err != nil {
		return err
	}
	d.prog = program{
		path: path, tag: d.spec.Type, timeout: d.env.timeout(), log: d.env.Log,
		// Without HA_LOGFILE its log tool would write to syslog, where we could not read why it failed.
		env: d.env.environ("HA_LOGTAG="+d.spec.Type, "HA_LOGD=no", "HA_LOGFACILITY=none", "HA_LOGFILE=/dev/stderr"),
	}
	if d.params, err = d.parameters(ctx); err != nil {
		return err
	}
	d.prog.hide(d.params)
	for _, p := range d.params {
		d.prog.env = append(d.prog.env, p.name+"="+p.value)
	}
	d.ready = true
	return nil
}

// parameters asks the plugin for its parameters' names and gives them their values.
func (d *external) parameters(ctx context.Context) ([]param, error) {
	text, err := d.spec.text()
	if err != nil {
		return nil, err
	}
	r := d.prog.call(ctx, "", "getconfignames")
	if r.err != nil {
		return nil, classify(d.spec.Type, r, "getconfignames")
	}
	var names []string
	for _, line := range r.answer {
		for _, w := range strings.Fields(line) {
			if plainName.MatchString(w) {
				names = append(names, w)
			}
		}
	}
	if first := assignment.FindString(text); first != "" {
		known := append(slices.Clone(names), d.optional(ctx)...)
		if slices.Contains(known, strings.TrimSuffix(first, "=")) {
			return d.assigned(text, names, known)
		}
	}
	return positional(d.spec.Type, text, names)
}

// assigned reads key=value parameters, which reach those that have no place on the line.
func (d *external) assigned(text string, required, known []string) ([]param, error) {
	list, err := assignments(d.spec.Type, text)
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for _, p := range list {
		has[p.name] = true
		if !slices.Contains(known, p.name) {
			return nil, unknownParameter(d.spec.Type, p.name, known)
		}
	}
	for _, name := range required {
		if !has[name] {
			return nil, fail(d.spec.Type, CauseParameter, "parameter %s is missing", name)
		}
	}
	return list, nil
}

// optional asks for the parameters that the plugin describes beside those of getconfignames.
func (d *external) optional(ctx context.Context) []string {
	r := d.prog.call(ctx, "", "getinfo-xml")
	var described struct {
		Parameters []struct {
			Name string `xml:"name,attr"`
		} `xml:"parameter"`
	}
	if r.err != nil || xml.Unmarshal([]byte(strings.Join(r.answer, "\n")), &described) != nil {
		return nil
	}
	var names []string
	for _, p := range described.Parameters {
		names = append(names, p.Name)
	}
	return names
}

// Fence runs the verb. Exit code 0 is the device's word that it is done, as in Linux-HA.
func (d *external) Fence(ctx context.Context, node string, how Verb) (Evidence, error) {
	began := time.Now()
	ev := Evidence{Device: d.spec.Type, Certain: d.trusted}
	if err := d.prepare(ctx); err != nil {
		return ev, err
	}
	d.mu.Lock()
	list := d.hosts
	d.mu.Unlock()
	if len(list) > 0 && !handles(list, node) {
		return ev, fail(d.spec.Type, CauseHost, "it resets %s, but not %s", strings.Join(list, ", "), node)
	}
	r := d.prog.call(ctx, "", how.String(), node)
	ev.Took = time.Since(began)
	if r.err != nil {
		return ev, d.explain(r, how.String()+" "+node)
	}
	ev.Seen = append(ev.Seen, fmt.Sprintf("%s %s: exit code 0", how, node))
	if !d.trusted {
		ev.Seen = append(ev.Seen, "which proves nothing: the node itself was asked")
	}
	return ev, nil
}

// Check asks the device for its status, and for the hosts that it can reset.
func (d *external) Check(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if r := d.prog.call(ctx, "", "status"); r.err != nil {
		return d.explain(r, "status")
	}
	r := d.prog.call(ctx, "", "gethosts")
	if r.err != nil {
		return d.explain(r, "gethosts")
	}
	var list []string
	for _, line := range r.answer {
		list = append(list, hosts(line)...)
	}
	d.mu.Lock()
	d.hosts = list
	d.mu.Unlock()
	if len(list) == 0 {
		return fail(d.spec.Type, CauseHost, "it names no host that it can reset")
	}
	for _, h := range d.spec.Hosts {
		if !handles(list, h) {
			return fail(d.spec.Type, CauseHost, "it can reset %s, but not %s", strings.Join(list, ", "), h)
		}
	}
	return nil
}

// explain is classify with the command to try by hand.
func (d *external) explain(r result, args string) *Failure {
	f := classify(d.spec.Type, r, args)
	f.Remedy += "; by hand: " + strings.TrimSpace("env "+shown(d.params)+" "+d.prog.path+" "+args)
	return f
}
