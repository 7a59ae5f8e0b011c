package stonith

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// meatware asks a person (protocol section 9). It has no time limit: the node stays unfenced until somebody has seen to it.
type meatware struct {
	hosts []string
	run   string
	log   func(Level, string)
}

// openMeatware makes a device of type meatware; its parameter is the list of hosts.
func openMeatware(s Spec, e Environment) (Fencer, error) {
	list, err := hostParameter(s)
	if err != nil {
		return nil, err
	}
	run := e.Run
	if run == "" {
		run = "/run"
	}
	return &meatware{hosts: list, run: run, log: e.Log}, nil
}

// hostParameter is the one parameter of meatware and null.
func hostParameter(s Spec) ([]string, error) {
	text, err := s.text()
	if err != nil {
		return nil, err
	}
	list := hosts(strings.TrimPrefix(text, "hostlist="))
	if len(list) == 0 {
		return nil, fail(s.Type, CauseParameter, "parameter hostlist is missing")
	}
	return list, nil
}

// Name is the type.
func (*meatware) Name() string { return "meatware" }

// Fence calls for the operator and waits until `heartbeat confirm-dead` ends ctx, or meatclient answers.
func (m *meatware) Fence(ctx context.Context, node string, how Verb) (Evidence, error) {
	began := time.Now()
	ev := Evidence{Device: m.Name(), Certain: true}
	if how == On {
		return ev, nil
	}
	if !handles(m.hosts, node) {
		return ev, fail(m.Name(), CauseHost, "its hosts are %s, not %s", strings.Join(m.hosts, ", "), node)
	}
	m.log(Crit, fmt.Sprintf("OPERATOR INTERVENTION REQUIRED to reset %s.", node))
	m.log(Crit, fmt.Sprintf(`Run "heartbeat confirm-dead %s" (or "meatclient -c %s") AFTER power-cycling the machine.`, node, node))
	if err := m.await(ctx, node); err != nil {
		return ev, err
	}
	ev.Took = time.Since(began)
	ev.Seen = []string{"the operator confirmed by meatclient that " + node + " was reset"}
	return ev, nil
}

// await reads what meatclient writes into the FIFO of the node.
func (m *meatware) await(ctx context.Context, node string) error {
	path := filepath.Join(m.run, "meatware."+node)
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		m.log(Warn, fmt.Sprintf("meatware: %s: %v: meatclient cannot answer, `heartbeat confirm-dead %s` can", path, err, node))
		<-ctx.Done()
		return context.Cause(ctx)
	}
	defer os.Remove(path)
	fifo, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("meatware: %w", err)
	}
	defer fifo.Close()
	defer context.AfterFunc(ctx, func() { fifo.Close() })()
	in := bufio.NewReader(fifo)
	want := "meatware reply " + node
	var have string
	for {
		c, err := in.ReadByte()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("meatware: %w", err)
		}
		if c == '\n' || c == 0 {
			have = ""
			continue
		}
		if have += string(c); strings.EqualFold(have, want) {
			return nil
		}
		if len(have) > 256 {
			have = ""
		}
	}
}

// Check always succeeds: a person cannot be tried out.
func (m *meatware) Check(context.Context) error {
	return nil
}

// null says yes and does nothing.
type null struct {
	hosts []string
	log   func(Level, string)
}

// openNull makes a device of type null; its parameter is the list of hosts.
func openNull(s Spec, e Environment) (Fencer, error) {
	list, err := hostParameter(s)
	if err != nil {
		return nil, err
	}
	e.Log(Crit, "null: this is no fencing: it does nothing and says yes. For tests only: with it, both nodes can end up writing to the same disk")
	return &null{hosts: list, log: e.Log}, nil
}

// Name is the type.
func (*null) Name() string { return "null" }

// Fence says yes.
func (d *null) Fence(ctx context.Context, node string, how Verb) (Evidence, error) {
	ev := Evidence{Device: d.Name(), Seen: []string{"nothing was done: a null device always says yes"}}
	if !handles(d.hosts, node) {
		return ev, fail(d.Name(), CauseHost, "its hosts are %s, not %s", strings.Join(d.hosts, ", "), node)
	}
	if err := ctx.Err(); err != nil {
		return ev, context.Cause(ctx)
	}
	d.log(Info, "Host null-"+how.String()+": "+node)
	return ev, nil
}

// Check always succeeds.
func (*null) Check(context.Context) error { return nil }
