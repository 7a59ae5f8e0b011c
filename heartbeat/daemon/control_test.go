package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testServer serves a control socket that answers with what it was asked.
func testServer(t *testing.T) Paths {
	t.Helper()
	p := NewPaths("", "", t.TempDir())
	log := newLog(0)
	s, err := newServer(p.Control(), nil, log, func(_ context.Context, who caller, r Request) Reply {
		switch r.Command {
		case CommandStatus:
			return Reply{OK: true, Status: &Status{Schema: StatusSchema, Node: "alpha"}}
		case CommandStop:
			return Reply{Error: "this node is stopping"}
		}
		return Reply{OK: true, Value: fmt.Sprintf("%s %s %v", r.Command, r.Which, who.may)}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() {
		s.close()
		log.Close()
	})
	return p
}

func TestControlAnswers(t *testing.T) {
	p := testServer(t)
	c, err := Dial(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 { // one connection serves several requests
		r, err := c.Call(t.Context(), Request{Command: CommandStandby, Which: "local"})
		if err != nil || r.Value != "standby local true" {
			t.Errorf("reply = %+v, %v", r, err)
		}
	}
	if _, err := c.Call(t.Context(), Request{Command: CommandStop}); err == nil || err.Error() != "this node is stopping" {
		t.Errorf("a refusal: %v", err)
	}
	s, err := FetchStatus(t.Context(), p)
	if err != nil || s.Node != "alpha" {
		t.Errorf("status = %+v, %v", s, err)
	}
	info, err := os.Stat(p.Control())
	if err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("socket mode: %v, %v", info.Mode(), err)
	}
}

func TestControlWithoutADaemon(t *testing.T) {
	p := NewPaths("", "", t.TempDir())
	if _, err := FetchStatus(t.Context(), p); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.Control(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := FetchStatus(t.Context(), p); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a socket that a dead daemon left behind: %v", err)
	}
}

func TestControlRefusesStrangersChanges(t *testing.T) {
	s := &server{answer: func(context.Context, caller, Request) Reply { return Reply{OK: true} }}
	stranger := caller{uid: 12345, pid: 1}
	for _, command := range []Command{CommandStandby, CommandTakeover, CommandMove, CommandCleanup, CommandConfirmDead, CommandStop, CommandQuit, CommandReload, CommandDebug, "new"} {
		line, _ := json.Marshal(Request{Command: command})
		if r := s.reply(stranger, line); r.OK || !r.Denied || !strings.Contains(r.Error, "haclient") {
			t.Errorf("%s by a stranger: %+v", command, r)
		}
	}
	for command := range reads {
		line, _ := json.Marshal(Request{Command: command})
		if r := s.reply(stranger, line); !r.OK {
			t.Errorf("%s by a stranger: %+v", command, r)
		}
	}
	if r := s.reply(caller{may: true}, []byte("garbage")); r.OK || r.Error == "" {
		t.Errorf("garbage: %+v", r)
	}
}

func TestControlSurvivesLongLinesAndManyClients(t *testing.T) {
	p := testServer(t)
	long, err := net.Dial("unix", p.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	long.Write([]byte(strings.Repeat("x", 2*controlLine)))
	long.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := long.Read(make([]byte, 1)); err == nil {
		t.Errorf("a line of %d bytes was answered (%d)", 2*controlLine, n)
	}
	var idle []net.Conn
	for range controlClients + 5 {
		c, err := net.Dial("unix", p.Control())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	for _, c := range idle {
		c.Close()
	}
	await(t, func() bool {
		_, err := FetchStatus(context.Background(), p)
		return err == nil
	})
}

func TestPeerGroups(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	who, err := (&server{group: os.Getgid()}).identify(conn)
	if err != nil || who.uid != os.Getuid() || who.pid != os.Getpid() || !who.may {
		t.Errorf("identify = %+v, %v", who, err)
	}
}
