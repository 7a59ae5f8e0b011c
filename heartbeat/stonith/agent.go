package stonith

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// agent is a fence agent: a program that reads key=value lines from standard input and describes itself in XML.
type agent struct {
	spec Spec
	env  Environment

	mu     sync.Mutex
	ready  bool
	prog   program
	params []param
	plugs  map[string]string // node → plug, from pcmk_host_map
	meta   *metadata
}

// statusOff is a fence agent's exit code for a machine that is off.
const statusOff = 2

// The parameters that are meant for whoever drives the agent, not for the agent; the names are Pacemaker's.
const (
	hostMap  = "pcmk_host_map"
	hostList = "pcmk_host_list"
)

// openAgent makes a device of type fence_NAME.
func openAgent(s Spec, e Environment) (Fencer, error) {
	a := &agent{spec: s, env: e, plugs: map[string]string{}}
	if s.File != "" {
		return a, nil // read when it is needed: it may be mended meanwhile
	}
	list, err := assignments(s.Type, s.Params)
	if err != nil {
		return nil, err
	}
	if fixed := fixedPlug(list); fixed != "" && s.Shared {
		e.Log(Warn, fmt.Sprintf("%s: the line is for all nodes (*) but names one machine, %s: one of the nodes would switch itself off. "+
			"Write one stonith_host line for each node, or %s=NODE:PLUG;NODE:PLUG", s.Type, fixed, hostMap))
	}
	return a, nil
}

// fixedPlug is the machine that a line names, "" when it names none.
func fixedPlug(list []param) string {
	for _, p := range list {
		if p.name == "plug" || p.name == "port" {
			return p.name + "=" + p.value
		}
	}
	return ""
}

// Name is the type as in ha.cf.
func (a *agent) Name() string { return a.spec.Type }

// Locate looks for the agent.
func (a *agent) Locate() error {
	_, err := a.locate()
	return err
}

func (a *agent) locate() (string, error) { return find(a.spec.Type, a.spec.Type, a.env.agentDirs()) }

// prepare finds the agent, reads its metadata and its parameters; once it succeeded not again.
func (a *agent) prepare(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ready {
		return nil
	}
	path, err := a.locate()
	if err != nil {
		return err
	}
	a.prog = program{path: path, tag: a.spec.Type, timeout: a.env.timeout(), log: a.env.Log, env: a.env.environ("PYTHONWARNINGS=ignore")}
	text, err := a.spec.text()
	if err != nil {
		return err
	}
	list, err := assignments(a.spec.Type, text)
	if err != nil {
		return err
	}
	a.take(list)
	a.prog.hide(a.params)
	r := a.prog.call(ctx, "action=metadata\n", "-o", "metadata")
	if r.err != nil {
		return classify(a.spec.Type, r, "metadata")
	}
	if a.meta, err = readMetadata(r.answer); err != nil {
		f := fail(a.spec.Type, CauseOther, "%v", err)
		f.Remedy = "is it a fence agent? See what `" + path + " -o metadata` prints"
		return f
	}
	a.ready = true
	return nil
}

// take keeps the agent's own parameters and reads the others.
func (a *agent) take(list []param) {
	a.params = nil
	for _, p := range list {
		switch {
		case p.name == hostMap:
			for _, pair := range hosts(p.value) {
				node, plug, _ := strings.Cut(pair, ":")
				a.plugs[strings.ToLower(node)] = plug
			}
		case p.name == hostList, p.name == "action":
		default:
			a.params = append(a.params, p)
		}
	}
}

// input is what the agent reads for one action on one machine.
func (a *agent) input(action, node string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "action=%s\n", action)
	plug := a.meta.plug()
	mapped := a.plugs[strings.ToLower(node)]
	for _, p := range a.params {
		if mapped != "" && (p.name == "plug" || p.name == "port") {
			continue
		}
		fmt.Fprintf(&b, "%s=%s\n", p.name, p.value)
	}
	if node != "" && plug != "" && (mapped != "" || fixedPlug(a.params) == "") {
		if mapped == "" {
			mapped = node
		}
		fmt.Fprintf(&b, "%s=%s\n", plug, mapped)
	}
	if node != "" && a.meta.parameter("nodename") {
		fmt.Fprintf(&b, "nodename=%s\n", node)
	}
	return b.String()
}

// run asks for one action.
func (a *agent) run(ctx context.Context, action, node string) result {
	return a.prog.call(ctx, a.input(action, node))
}

// Fence switches the machine off and asks whether it is off. Where the agent knows only reboot, its yes has to do.
func (a *agent) Fence(ctx context.Context, node string, how Verb) (Evidence, error) {
	began := time.Now()
	ev := Evidence{Device: a.spec.Type, Certain: true}
	if err := a.prepare(ctx); err != nil {
		return ev, err
	}
	if err := a.meta.check(a.spec.Type, a.params); CauseOf(err) == CauseParameter {
		return ev, err
	}
	if len(a.plugs) > 0 && a.plugs[strings.ToLower(node)] == "" {
		return ev, fail(a.spec.Type, CauseHost, "%s names no plug for %s", hostMap, node)
	}
	action := a.actionFor(how)
	r := a.run(ctx, action, node)
	ev.Took = time.Since(began)
	if r.err != nil {
		return ev, a.explain(ctx, r, action, node)
	}
	ev.Seen = append(ev.Seen, seen(action, r))
	if action == "off" && a.meta.action("status") {
		err := a.confirmOff(ctx, node, &ev)
		ev.Took = time.Since(began)
		if err != nil {
			return ev, err
		}
	}
	ev.LeftOff = how == Reset && action == "off" && a.meta.switchesOn()
	return ev, nil
}

// actionFor chooses the agent's action. Off and its proof come before reboot: it is sooner certain, for the machine's start is
// not waited for.
func (a *agent) actionFor(how Verb) string {
	if how != Reset {
		return how.String()
	}
	cycles := slices.ContainsFunc(a.params, func(p param) bool { return p.name == "method" && p.value == "cycle" })
	if a.meta.action("off") && !cycles {
		return "off"
	}
	return "reboot"
}

// How often an agent that said "off" is asked for the proof where it has trouble to tell, and how long between.
const (
	proofTries = 3
	proofPause = 500 * time.Millisecond
)

// confirmOff asks whether the machine is off. "On" is a lie of the device; no answer leaves the agent's own yes.
func (a *agent) confirmOff(ctx context.Context, node string, ev *Evidence) error {
	var r result
	for try := range proofTries {
		if try > 0 {
			select {
			case <-time.After(proofPause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		r = a.run(ctx, "status", node)
		switch r.code() {
		case statusOff:
			ev.Seen = append(ev.Seen, "status: off")
			return nil
		case 0:
			return fail(a.spec.Type, CauseNotOff, "it said that %s is off, but its status is on", node)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ev.Seen = append(ev.Seen, "status could not be had: "+classify(a.spec.Type, r, "status").What)
	return nil
}

// seen is one step for the log.
func seen(action string, r result) string {
	if len(r.answer) > 0 {
		return action + ": " + veil(r.answer[len(r.answer)-1], r.hidden)
	}
	return action + ": exit code 0"
}

// Power asks for the state of the machine.
func (a *agent) Power(ctx context.Context, node string) (Power, error) {
	if err := a.prepare(ctx); err != nil {
		return PowerUnknown, err
	}
	if !a.meta.action("status") {
		return PowerUnknown, fail(a.spec.Type, CauseOther, "it has no action status")
	}
	r := a.run(ctx, "status", node)
	switch r.code() {
	case 0:
		return PowerOn, nil
	case statusOff:
		return PowerOff, nil
	}
	return PowerUnknown, a.explain(ctx, r, "status", node)
}

// Check compares the parameters with the metadata, asks the device whether it works, and each machine's state.
func (a *agent) Check(ctx context.Context) error {
	if err := a.prepare(ctx); err != nil {
		return err
	}
	if err := a.meta.check(a.spec.Type, a.params); err != nil {
		return err
	}
	if !a.meta.action("off") && !a.meta.action("reboot") {
		return fail(a.spec.Type, CauseHost, "it can neither switch off nor reboot a machine")
	}
	node := ""
	if len(a.spec.Hosts) > 0 {
		node = a.spec.Hosts[0]
	}
	if len(a.plugs) > 0 && node != "" && a.plugs[strings.ToLower(node)] == "" {
		return fail(a.spec.Type, CauseHost, "%s names no plug for %s", hostMap, node)
	}
	if r := a.run(ctx, "monitor", node); r.err != nil {
		return a.explain(ctx, r, "monitor", node)
	}
	if !a.meta.action("status") {
		return nil
	}
	for _, h := range a.spec.Hosts {
		if _, err := a.Power(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// explain is classify with the command to try by hand, and with a look at the network where the agent's own words leave open
// whether the device does not answer or does not let us in.
func (a *agent) explain(ctx context.Context, r result, action, node string) *Failure {
	args := strings.TrimSpace(action + " " + node)
	f := classify(a.spec.Type, r, args)
	if slices.ContainsFunc(r.all(), func(l string) bool { return strings.Contains(strings.ToLower(l), "unable to connect/login") }) || f.Cause == CauseTimeout {
		if cause := a.reach(ctx, f); cause != "" {
			f.Cause, f.Remedy = cause, remedies[cause]
		}
	}
	a.listen(ctx, f, action, node)
	list := append([]param{{"action", action}}, a.params...)
	if plug := a.meta.plug(); plug != "" && fixedPlug(a.params) == "" && node != "" {
		list = append(list, param{plug, node})
	}
	f.Remedy += fmt.Sprintf("; by hand: printf '%%s\\n' %s | %s", shown(list), a.prog.path)
	return f
}

// listen has the agent say more where its own words tell little: most say the same of a machine that they do not know, of an
// address that does not answer and of a wrong password, and only their chatter has what the tool below them said. What switches is not repeated.
func (a *agent) listen(ctx context.Context, f *Failure, action, node string) {
	vague := f.Cause == CauseOther || f.Cause == CauseHost && strings.Contains(strings.ToLower(f.What), "unable to obtain correct plug status")
	if !vague || action != "monitor" && action != "status" || !a.meta.parameter("verbose") || ctx.Err() != nil {
		return
	}
	r := a.prog.call(ctx, a.input(action, node)+"verbose=1\n")
	lines := slices.DeleteFunc(r.all(), func(l string) bool {
		return strings.Contains(l, "Executing:") || strings.Contains(l, "Running command:") || strings.Contains(l, "ERROR:")
	})
	cause, line := causeOf(lines)
	if cause == CauseOther || cause == CauseParameter {
		return
	}
	f.Cause, f.Remedy = cause, remedies[cause]
	f.What += ", for: " + veil(line, r.hidden)
}

// reach tries the device's TCP port, where the agent has one.
func (a *agent) reach(ctx context.Context, f *Failure) Cause {
	value := func(names ...string) string {
		for _, name := range names {
			for _, p := range a.params {
				if p.name == name {
					return p.value
				}
			}
		}
		for _, name := range names {
			if v := a.meta.fallback(name); v != "" {
				return v
			}
		}
		return ""
	}
	address, port := value("ip", "ipaddr"), value("ipport")
	if address == "" || port == "" || strings.HasPrefix(a.spec.Type, "fence_ipmi") {
		return ""
	}
	at := net.JoinHostPort(address, port)
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		f.What += "; " + at + " does not answer: " + err.Error()
		return CauseUnreachable
	}
	conn.Close()
	if f.Cause == CauseTimeout {
		return ""
	}
	f.What += "; " + at + " answers"
	return CauseCredentials
}
