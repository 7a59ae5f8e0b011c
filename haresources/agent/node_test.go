package agent_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hapair/haresources"
	"hapair/haresources/agent"
	"hapair/heartbeat/fault"
	"hapair/heartbeat/rehearsal/require"
)

// node is another process of this test, alone in its own network and mount namespaces, that runs agents on request. Agents
// that start programs can be tested in no other way: a program begins in the namespace of its process.
type node struct {
	t      testing.TB
	cmd    *exec.Cmd
	encode *json.Encoder
	decode *json.Decoder
}

// order is what a node is asked to do.
type order struct {
	Op    string // a haresources.Operation, or check, standby, prepare, announce, describe, watch, reports, sh
	Spec  string // the resource, or the command for sh
	Pass  []agent.Pass
	Env   []string // beside PATH
	Limit time.Duration

	Pragmas map[string]string // for configure
}

// reply is its answer.
type reply struct {
	Err    string
	State  string
	Output string
	Faults []string
}

// nodeMark in the environment makes this program a node instead of a test.
const nodeMark = "HAPAIR_TEST_NODE"

func init() {
	if os.Getenv(nodeMark) != "" {
		serveNode()
		os.Exit(0)
	}
}

// newNode starts a node.
func newNode(t testing.TB) *node {
	t.Helper()
	require.Root(t, "agents in network namespaces of their own")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nodeMark+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	n := &node{t: t, cmd: cmd, encode: json.NewEncoder(in), decode: json.NewDecoder(bufio.NewReader(out))}
	n.sh("mount --make-rprivate /; mount -t sysfs sysfs /sys; ip link set lo up")
	return n
}

// do sends an order and waits for the answer.
func (n *node) do(o order) reply {
	n.t.Helper()
	var r reply
	if err := n.encode.Encode(o); err != nil {
		n.t.Fatalf("%s %s: %v", o.Op, o.Spec, err)
	}
	if err := n.decode.Decode(&r); err != nil {
		n.t.Fatalf("%s %s: %v", o.Op, o.Spec, err)
	}
	return r
}

// must sends an order that has to succeed.
func (n *node) must(o order) reply {
	n.t.Helper()
	r := n.do(o)
	if r.Err != "" {
		n.t.Fatalf("%s %s: %s\n%s", o.Op, o.Spec, r.Err, r.Output)
	}
	return r
}

// sh runs a shell command on the node.
func (n *node) sh(command string) string {
	n.t.Helper()
	return n.must(order{Op: "sh", Spec: command}).Output
}

// start, stop and status do what they say.
func (n *node) start(spec string) reply { n.t.Helper(); return n.must(order{Op: "start", Spec: spec}) }
func (n *node) stop(spec string) reply  { n.t.Helper(); return n.must(order{Op: "stop", Spec: spec}) }

// expect compares the state of a resource.
func (n *node) expect(spec, state string) reply {
	n.t.Helper()
	r := n.do(order{Op: "status", Spec: spec})
	if r.State != state {
		n.t.Fatalf("status of %s: %s (%s), not %s", spec, r.State, r.Err, state)
	}
	return r
}

// serveNode is the other process.
func serveNode() {
	s := &server{agents: map[string]haresources.Agent{}, stops: map[string]func(){}}
	decode, encode := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if decode.Decode(&o) != nil {
			for _, a := range s.agents {
				if c, ok := a.(interface{ Close() error }); ok {
					c.Close()
				}
			}
			return
		}
		if encode.Encode(s.serve(o)) != nil {
			return
		}
	}
}

// server is a node as seen from inside.
type server struct {
	agents map[string]haresources.Agent
	stops  map[string]func()

	mu      sync.Mutex
	reports []string
	traffic []string
	flows   []*flow
}

// serve does what is asked.
func (s *server) serve(o order) (r reply) {
	if o.Limit == 0 {
		o.Limit = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Limit)
	defer cancel()
	if o.Op == "sh" {
		cmd := exec.CommandContext(ctx, "/bin/sh", "-ec", o.Spec)
		out, err := cmd.CombinedOutput()
		r.Output = string(out)
		if err != nil {
			r.Err = err.Error()
		}
		return r
	}
	switch o.Op {
	case "listen":
		if err := s.listen(o.Spec); err != nil {
			r.Err = err.Error()
		}
		return r
	case "dial":
		s.dial(o.Spec)
		return r
	case "flows":
		s.flow(o.Spec, 20)
		return r
	case "flowing":
		r.Output = s.flowing()
		return r
	case "traffic":
		r.Output = s.notes()
		return r
	case "reach", "reach soon":
		patience := time.Second
		if o.Op == "reach soon" {
			patience = 20 * time.Millisecond
		}
		if err := echo(o.Spec, patience); err != nil {
			r.Err = err.Error()
		}
		return r
	}
	a, err := s.agent(o)
	if err != nil {
		return reply{Err: err.Error()}
	}
	err = s.operate(haresources.WithOutput(ctx, func(line string) { r.Output += line + "\n" }), a, o, &r)
	if err != nil {
		r.Err = err.Error()
	}
	return r
}

// agent opens the agent of a resource once.
func (s *server) agent(o order) (haresources.Agent, error) {
	if a := s.agents[o.Spec]; a != nil {
		return a, nil
	}
	table, faults := haresources.Parse("test", strings.NewReader("node "+o.Spec+"\n"))
	if err := faults.Err(); err != nil {
		return nil, err
	}
	env := agent.Environment{Paths: agent.DefaultPaths("/nonexistent"), Node: "node", Environ: append([]string{"PATH=" + os.Getenv("PATH")}, o.Env...), Pass: o.Pass}
	a, err := agent.Open(env)(table.Groups[0].Resources[0])
	if err == nil {
		s.agents[o.Spec] = a
	}
	return a, err
}

// operate does one thing with an agent.
func (s *server) operate(ctx context.Context, a haresources.Agent, o order, r *reply) error {
	switch o.Op {
	case "start":
		return a.Start(ctx)
	case "stop":
		return a.Stop(ctx)
	case "status":
		state, err := a.Status(ctx)
		r.State = state.String()
		return err
	case "check":
		for _, f := range a.(interface{ Check() fault.List }).Check() {
			r.Faults = append(r.Faults, f.Error())
		}
		return nil
	case "standby":
		return a.(interface{ Standby(context.Context) error }).Standby(ctx)
	case "prepare":
		return a.(interface{ Prepare(context.Context) error }).Prepare(ctx)
	case "follow":
		return a.(haresources.Follower).Follow(ctx)
	case "mute", "voice":
		m := a.(haresources.Muter)
		if o.Op == "mute" {
			return m.AddMute(ctx, []haresources.Agent{a})
		}
		return m.Voice(ctx, []haresources.Agent{a})
	case "announce":
		return a.(haresources.Announcer).Announce(ctx)
	case "describe":
		r.Output = a.(haresources.Describer).Describe()
		return nil
	case "forget":
		if stop := s.stops[o.Spec]; stop != nil {
			stop()
		}
		if c, ok := a.(interface{ Close() error }); ok {
			c.Close()
		}
		delete(s.agents, o.Spec)
		delete(s.stops, o.Spec)
		return nil
	case "watch":
		s.stops[o.Spec] = a.(haresources.Watcher).Watch(func(state haresources.State, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reports = append(s.reports, fmt.Sprintf("%v: %v", state, err))
		})
		return nil
	case "reports":
		s.mu.Lock()
		defer s.mu.Unlock()
		r.Output = strings.Join(s.reports, "\n")
		return nil
	case "configure":
		return a.(haresources.Configurer).Configure(func(key string) string { return o.Pragmas[key] })
	}
	return errors.New("unknown order " + o.Op)
}

// cable joins two nodes: interface a of the one and interface b of the other, both up.
func cable(t testing.TB, one *node, a string, two *node, b string) {
	t.Helper()
	out, err := exec.Command("ip", "link", "add", "name", a, "netns", fmt.Sprint(one.cmd.Process.Pid), "type", "veth",
		"peer", "name", b, "netns", fmt.Sprint(two.cmd.Process.Pid)).CombinedOutput()
	if err != nil {
		t.Fatalf("make cable: %v: %s", err, out)
	}
	one.sh("ip link set " + a + " up")
	two.sh("ip link set " + b + " up")
}

// eventually waits until a condition holds.
func eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
