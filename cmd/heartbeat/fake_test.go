package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hapair/heartbeat/daemon"
)

// fakeDaemon answers on a control socket as the daemon does, with a status that the test may change.
type fakeDaemon struct {
	run string

	mu     sync.Mutex
	status daemon.Status
	refuse string
	got    []daemon.Request
}

// startFake serves until the test ends.
func startFake(t *testing.T) *fakeDaemon {
	t.Helper()
	f := &fakeDaemon{run: t.TempDir(), status: pairStatus()}
	l, err := net.Listen("unix", filepath.Join(f.run, "control"))
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		tasks.Wait()
	})
	return f
}

func (f *fakeDaemon) serve(conn net.Conn) {
	defer conn.Close()
	for in := bufio.NewScanner(conn); in.Scan(); {
		var r daemon.Request
		json.Unmarshal(in.Bytes(), &r)
		json.NewEncoder(conn).Encode(f.answer(r))
	}
}

func (f *fakeDaemon) answer(r daemon.Request) daemon.Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.Command {
	case daemon.CommandStatus:
		s := f.status
		return daemon.Reply{OK: true, Status: &s}
	case daemon.CommandParameter:
		if r.Name == "deadtime" {
			return daemon.Reply{OK: true, Value: "30"}
		}
		return daemon.Reply{Error: fmt.Sprintf("there is no parameter %q", r.Name)}
	case daemon.CommandClient:
		return daemon.Reply{OK: true, Value: map[bool]string{true: "online", false: "offline"}[r.Name == "ipfail"]}
	}
	f.got = append(f.got, r)
	return daemon.Reply{OK: f.refuse == "", Error: f.refuse}
}

// change alters the status.
func (f *fakeDaemon) change(how func(*daemon.Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(&f.status)
}

// requests is what was asked for beyond questions.
func (f *fakeDaemon) requests() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var words []string
	for _, r := range f.got {
		words = append(words, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", r.Command, r.Which, r.Group, r.Name)), " "))
	}
	return strings.Join(words, "; ")
}

// pairStatus is a healthy pair seen from alpha.
func pairStatus() daemon.Status {
	return daemon.Status{
		Schema: 1, Node: "alpha", State: "active", Member: "active", Health: daemon.Healthy, Holds: []string{"local"}, Classic: "local", Managed: true,
		Peer: daemon.PeerView{Name: "beta", State: "active", Holds: []string{}, Kind: "hapair", LastHeardMS: 80},
		Links: []daemon.LinkView{
			{ID: "bcast eth0", Name: "eth0", Kind: "bcast", State: "up", LastHeardMS: 80},
			{ID: "ucast eth1 10.0.0.2", Name: "eth1", Kind: "ucast", State: "dead", LastHeardMS: 125000},
			{ID: "serial /dev/ttyS0", Name: "/dev/ttyS0", Kind: "serial", State: "unusable", LastHeardMS: -1, Reason: "no such device"},
		},
		Pings: []daemon.PingView{{Name: "10.0.0.254", Up: true, LastHeardMS: 40}, {Name: "routers", LastHeardMS: -1}},
		Groups: []daemon.GroupView{
			{Name: "10.0.0.1", Node: "alpha", Owner: "alpha", State: "held", Since: "2026-11-02T07:26:54.123Z", Reason: "both nodes came up",
				Resources: []daemon.ResourceView{{Spec: "10.0.0.1", State: "running"}, {Spec: "apache2", State: "running"}}},
			{Name: "mail", Node: "beta", Owner: "beta", State: "idle", Since: "2026-11-02T07:26:54.123Z", Reason: "beta holds it",
				Resources: []daemon.ResourceView{{Spec: "mail", State: "stopped"}}},
		},
		Transitions: []daemon.TransitionView{{Time: "2026-11-02T07:26:54.123Z", What: "Acquiring resource group: alpha 10.0.0.1", Reason: "both nodes came up"}},
	}
}

// call runs one command line against directories of the test's own.
func call(t *testing.T, run string, words ...string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{out: &o, err: &e, dirs: directories{config: t.TempDir(), state: t.TempDir(), run: run}}
	if name := words[0]; name == "heartbeat" && !isClassic(words[1:]) {
		code = a.dispatch(name, append(words[1:], "--run", run))
	} else {
		code = a.dispatch(name, words[1:])
	}
	return code, strings.ReplaceAll(o.String(), fmt.Sprint(os.Getpid()), "PID"), strings.ReplaceAll(e.String(), fmt.Sprint(os.Getpid()), "PID")
}
