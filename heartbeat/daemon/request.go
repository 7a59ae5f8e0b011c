package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hapair/heartbeat"
)

// loopPatience bounds how long a client waits for the loop, which answers in microseconds unless the machine itself stands
// still.
const loopPatience = 2 * time.Second

// inLoop runs f in the loop and waits until it did. It fails when the loop does not come round in time; f may still run later.
func (e *engine) inLoop(ctx context.Context, patience time.Duration, f func()) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan struct{})
	e.in.post(func() {
		f()
		close(done)
	})
	return e.outcome(ctx, done)
}

// outcome waits until something that the loop was given is done. What is done is never denied: it may itself have ended the loop, as an upgrade does, and
// everything else with it, before anybody came to look.
func (e *engine) outcome(ctx context.Context, done <-chan struct{}) error {
	var err error
	select {
	case <-done:
		return nil
	case <-e.ended:
		err = fmt.Errorf("heartbeat is ending")
	case <-ctx.Done():
		err = fmt.Errorf("the main loop does not answer: %w", ctx.Err())
	}
	select {
	case <-done:
		return nil
	default:
		return err
	}
}

// request hands the core a person's wish and returns its answer.
func (e *engine) request(ctx context.Context, r heartbeat.Request) error {
	answer := make(chan error, 1)
	err := e.inLoop(ctx, loopPatience, func() {
		e.lastRequest++
		r.ID = e.lastRequest
		e.replies[r.ID] = answer
		e.loop.step(e.clock(), r)
		delete(e.replies, r.ID)
	})
	if err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	default:
		return fmt.Errorf("the request was not answered")
	}
}

// replied passes the core's answer on to whoever waits for it.
func (e *engine) replied(a heartbeat.Reply) {
	if answer := e.replies[a.ID]; answer != nil {
		answer <- a.Err
	}
}

// answer serves one request of the control socket.
func (e *engine) answer(ctx context.Context, who caller, r Request) Reply {
	switch r.Command {
	case CommandStatus:
		s, err := e.status(ctx)
		return Reply{OK: err == nil, Status: s, Error: sentence(err)}
	case CommandParameter:
		if value, ok := e.conf().Directive(r.Name); ok {
			return Reply{OK: true, Value: value}
		}
		return Reply{Error: fmt.Sprintf("there is no parameter %q", r.Name)}
	case CommandClient:
		return Reply{OK: true, Value: e.clientState(r.Name)}
	case CommandMove:
		return e.answerMove(ctx, who, r)
	case CommandConfirmDead, CommandFenced:
		return e.answerConfirm(ctx, who, r)
	case CommandPause:
		return e.answerPause(ctx, who, r)
	case CommandReload:
		e.log.Infof("Reload asked for by %s", who)
		faults, err := e.reload(ctx)
		if trouble := (*troubleError)(nil); errors.As(err, &trouble) {
			return Reply{OK: true, Value: err.Error(), Faults: faults}
		}
		return Reply{OK: err == nil, Error: sentence(err), Faults: faults}
	case CommandCompare:
		return e.answerCompare(ctx)
	case CommandDoctor:
		return e.answerDoctor(ctx)
	case CommandUpgrade:
		return e.answerUpgrade(ctx, who)
	case CommandTable:
		return Reply{OK: true, Value: e.conf().Table.String()}
	case CommandResource:
		return e.answerResource(ctx, who, r)
	case CommandDebug:
		e.log.SetDebug(r.Level)
		return Reply{OK: true, Value: fmt.Sprint(e.log.Debug())}
	}
	if r.Command == CommandCleanup {
		r.Group = e.groupOf(r.Group)
	}
	kind, known := requestKinds[r.Command]
	if !known {
		return Reply{Error: fmt.Sprintf("unknown command %q", r.Command)}
	}
	err := e.request(ctx, heartbeat.Request{Kind: kind, Which: r.Which, Group: r.Group, By: who.String()})
	return Reply{OK: err == nil, Error: sentence(err)}
}

// groupOf is the group that a person means by its name, or by a resource of it.
func (e *engine) groupOf(word string) string {
	m, ok := e.manager.(handy)
	if _, found := e.conf().Table.Group(word); found || !ok {
		return word
	}
	if group, _, err := m.Place(word); err == nil {
		return group
	}
	return word
}

// sentence is an error's text, "" for none.
func sentence(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// clientState answers `cl_status clientstatus`: ipfail runs inside this daemon.
func (e *engine) clientState(name string) string {
	if name == "ipfail" && e.conf().IPFail || e.clients != nil && e.clients.online(name) {
		return "online"
	}
	return "offline"
}

// answerMove gives or takes one group, depending on who has it.
func (e *engine) answerMove(ctx context.Context, who caller, r Request) Reply {
	s, err := e.status(ctx)
	if err != nil {
		return Reply{Error: sentence(err)}
	}
	for _, g := range s.Groups {
		if g.Name != r.Group {
			continue
		}
		kind := heartbeat.RequestTakeover
		if g.Owner == s.Node {
			kind = heartbeat.RequestStandby
		}
		err := e.request(ctx, heartbeat.Request{Kind: kind, Group: g.Name, By: who.String()})
		return Reply{OK: err == nil, Error: sentence(err)}
	}
	return Reply{Error: fmt.Sprintf("no resource group %q in haresources", r.Group)}
}

// answerConfirm takes a person's word that the peer is off. The name is asked for so that nobody confirms the wrong node.
func (e *engine) answerConfirm(ctx context.Context, who caller, r Request) Reply {
	if peer := e.conf().Peer; r.Name == "" || r.Name != peer {
		return Reply{Error: fmt.Sprintf("the peer is %q, not %q", peer, r.Name)}
	}
	kind := heartbeat.RequestConfirmDead
	if r.Command == CommandFenced {
		kind = heartbeat.RequestFenced
	}
	err := e.request(ctx, heartbeat.Request{Kind: kind, By: who.String()})
	return Reply{OK: err == nil, Error: sentence(err)}
}
