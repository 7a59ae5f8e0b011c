package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// ErrNotRunning is in the error of Dial when no daemon answers in that run directory.
var ErrNotRunning = errors.New("heartbeat is not running")

// DeniedError says that this user may not do what was asked.
type DeniedError struct{ Reason string }

// Error is the daemon's sentence.
func (e *DeniedError) Error() string { return e.Reason }

// Client talks to a running daemon. It is not safe for concurrent use.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
}

// Dial connects to the daemon of a run directory.
func Dial(ctx context.Context, p Paths) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", p.Control())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (%s: %v)", ErrNotRunning, p.Control(), errors.Unwrap(errors.Unwrap(err)))
	case err != nil:
		return nil, fmt.Errorf("reach the daemon: %w", err)
	}
	return &Client{conn: conn, in: bufio.NewReader(conn)}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Call sends one request and waits for its answer or the end of ctx. What the daemon refuses is an error: a *DeniedError
// where another user might be allowed.
func (c *Client) Call(ctx context.Context, r Request) (*Reply, error) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	line, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		return nil, c.lost(ctx, err)
	}
	answer, err := c.in.ReadBytes('\n')
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	var reply Reply
	if err := json.Unmarshal(answer, &reply); err != nil {
		return nil, fmt.Errorf("understand the daemon: %w", err)
	}
	switch {
	case reply.OK:
		return &reply, nil
	case reply.Denied:
		return &reply, &DeniedError{Reason: reply.Error}
	}
	return &reply, errors.New(reply.Error)
}

// lost explains a broken connection.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the daemon did not answer: %w", context.Cause(ctx))
	}
	return fmt.Errorf("the daemon ended the connection: %w", err)
}

// FetchStatus connects, asks for the status and closes.
func FetchStatus(ctx context.Context, p Paths) (*Status, error) {
	c, err := Dial(ctx, p)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	reply, err := c.Call(ctx, Request{Command: CommandStatus})
	if err != nil {
		return nil, err
	}
	return reply.Status, nil
}
