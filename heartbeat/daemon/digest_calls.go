package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"hapair/heartbeat"
	"hapair/heartbeat/wire"
)

// Two daemons of ours ask each other what travels in no heartbeat, by two messages of the reliability layer:
//
//	hapair-ask   id what arg
//	hapair-tell  id part=I/N text, or error
//
// They are signed as all messages, repeated where they are lost, and go on one link that is fast, so that a serial line is not held up.
// A Linux-HA peer is asked nothing.
const (
	askType  = "hapair-ask"
	tellType = "hapair-tell"
)

// The bounds of asking.
const (
	tellChunk      = 1000 // bytes of an answer in one message
	tellMost       = 64 << 10
	tellPause      = 2 * time.Millisecond
	begunKept      = 64
	askAgain       = time.Second // an answer that has not begun by then is asked for again
	answersAtATime = 2
)

// calls is both ends of the questions between the two daemons.
type calls struct {
	e       *engine
	ctx     context.Context
	answers map[string]func(ctx context.Context, arg string) (string, error) // by what
	tasks   sync.WaitGroup

	mu      sync.Mutex
	working int
	begun   []string // questions that were begun to be answered, oldest first: each is answered once
	waiting map[string]*call
}

// call is a question whose answer is awaited.
type call struct {
	parts []string
	have  int
	done  chan error // capacity one
}

// newCalls makes the ends; ctx ends whatever they do.
func newCalls(ctx context.Context, e *engine) *calls {
	return &calls{e: e, ctx: ctx, answers: map[string]func(context.Context, string) (string, error){}, waiting: map[string]*call{}}
}

// errClassicPeer says that the peer cannot be asked.
var errClassicPeer = errors.New("the peer is Linux-HA Heartbeat, which tells nothing of its files: compare them by hand")

// reachable says why the peer cannot be asked now; nil where it can.
func reachable(s heartbeat.Status) error {
	switch {
	case s.Peer.Name == "":
		return errors.New("there is no peer: this node runs alone by its configuration")
	case s.Peer.State == "dead" || s.Peer.State == "unknown" || s.Peer.State == "left":
		return fmt.Errorf("%s cannot be asked: it is %s", s.Peer.Name, s.Peer.State)
	case s.Peer.Kind == "linux-ha":
		return errClassicPeer
	case s.Member != "active" || s.Peer.State != "active":
		return fmt.Errorf("%s cannot be asked yet: it is %s, and this node %s", s.Peer.Name, s.Peer.State, s.Member)
	}
	return nil
}

// ask puts a question to the peer's daemon and waits for the answer.
func (c *calls) ask(ctx context.Context, what, arg string) (string, error) {
	s, _, err := c.e.coreStatus(ctx)
	if err == nil {
		err = reachable(s)
	}
	if err != nil {
		return "", err
	}
	var random [8]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	q := &call{done: make(chan error, 1)}
	c.mu.Lock()
	c.waiting[id] = q
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, id)
	}()
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		m := wire.New(askType)
		m.Add("dest", s.Peer.Name)
		m.Add("id", id)
		m.Add("what", what)
		m.Add("arg", arg)
		c.submit(s, m)
		select {
		case err := <-q.done:
			return strings.Join(q.parts, ""), err
		case <-again.C:
			if s, _, err = c.e.coreStatus(ctx); err == nil {
				err = reachable(s)
			}
			if err != nil {
				return "", err
			}
		case <-ctx.Done():
			return "", fmt.Errorf("%s did not answer: %w", s.Peer.Name, ctx.Err())
		case <-c.ctx.Done():
			return "", errors.New("heartbeat is ending")
		}
	}
}

// submit sends a message on the best link for it.
func (c *calls) submit(s heartbeat.Status, m wire.Message) {
	on := ""
	for _, l := range s.Links {
		if l.State == "up" && l.Kind != "serial" && l.Kind != kindMirror {
			on = l.ID
			break
		}
	}
	c.e.in.post(heartbeat.Submit{Msg: m, Link: on})
}

// message takes what belongs here; it runs in the loop.
func (c *calls) message(m wire.Message) bool {
	kind := m.Kind()
	if kind != askType && kind != tellType {
		return false
	}
	if c == nil || m.Get("src") == "" || m.Get("src") != c.e.conf().Peer {
		return true // our own, as the core shows it to local programs
	}
	if kind == tellType {
		c.told(m)
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.begun, m.Get("id")) || c.working >= answersAtATime || c.ctx.Err() != nil {
		return true // it has been heard before, or asks again
	}
	c.working++
	if c.begun = append(c.begun, m.Get("id")); len(c.begun) > begunKept {
		c.begun = c.begun[1:]
	}
	m = m.Clone()
	c.tasks.Go(func() {
		c.tell(m)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.working--
	})
	return true
}

// tell answers a question.
func (c *calls) tell(m wire.Message) {
	answer := c.answers[m.Get("what")]
	text, err := "", fmt.Errorf("hapair %s does not know the question %q", Version, m.Get("what"))
	if answer != nil {
		text, err = answer(c.ctx, m.Get("arg"))
	}
	if err == nil && len(text) > tellMost {
		err = fmt.Errorf("the answer is too long: %d bytes", len(text))
	}
	s, _, statusErr := c.e.coreStatus(c.ctx)
	if statusErr != nil {
		return
	}
	say := func(part, text, wrong string) {
		r := wire.New(tellType)
		r.Add("dest", m.Get("src"))
		r.Add("id", m.Get("id"))
		r.Add("part", part)
		if r.Add("text", text); wrong != "" {
			r.Add("error", wrong)
		}
		c.submit(s, r)
	}
	if err != nil {
		say("1/1", "", err.Error())
		return
	}
	count := max(1, (len(text)+tellChunk-1)/tellChunk)
	for i := range count {
		say(fmt.Sprintf("%d/%d", i+1, count), text[i*tellChunk:min(len(text), (i+1)*tellChunk)], "")
		select {
		case <-time.After(tellPause):
		case <-c.ctx.Done():
			return
		}
	}
}

// told takes a part of an answer.
func (c *calls) told(m wire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.waiting[m.Get("id")]
	if q == nil {
		return
	}
	if text := m.Get("error"); text != "" {
		q.end(errors.New(text))
		return
	}
	number, count, _ := strings.Cut(m.Get("part"), "/")
	i, err1 := strconv.Atoi(number)
	n, err2 := strconv.Atoi(count)
	if err1 != nil || err2 != nil || i < 1 || n < i || n > tellMost/tellChunk+1 || q.parts != nil && len(q.parts) != n {
		return
	}
	if q.parts == nil {
		q.parts = make([]string, n)
	}
	if text := m.Get("text"); q.parts[i-1] == "" {
		q.parts[i-1] = text
		if q.have++; q.have == n {
			q.end(nil)
		}
	}
}

// end wakes who waits, once.
func (q *call) end(err error) {
	select {
	case q.done <- err:
	default:
	}
}
