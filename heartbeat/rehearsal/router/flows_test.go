package router_test

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// flows are connections on which data goes to and fro all the time.
type flows struct {
	echoed []atomic.Uint64 // messages that came back, of each connection
	marked []uint64
}

// Each connection carries a message of so many bytes so often.
const (
	messageSize  = 64
	messagePause = 50 * time.Millisecond
	perFamily    = 100
)

// carry begins connections from the client through the pair to the server: IPv4, which the rules give another source, and IPv6 as it is.
func (s *site) carry() (*flows, error) {
	f := &flows{echoed: make([]atomic.Uint64, 2*perFamily), marked: make([]uint64, 2*perFamily)}
	at := 0
	for _, to := range []string{"203.0.113.254:7000", "[2001:db8:1::fe]:7000"} {
		var listener net.Listener
		err := s.server.Do(func() (err error) {
			listener, err = net.Listen("tcp", to)
			return err
		})
		if err != nil {
			return nil, err
		}
		go answer(listener)
		for range perFamily {
			var c net.Conn
			err := s.client.Do(func() (err error) {
				c, err = net.DialTimeout("tcp", to, patience)
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("connection %d: %w", at, err)
			}
			go f.flow(c, &f.echoed[at])
			at++
		}
	}
	return f, nil
}

// answer sends back what comes. A source NAT that were not applied would show in the client's own address.
func answer(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(c, c) }() // its end shows on the other side
	}
}

// flow sends messages, one after the echo of the one before; a connection that is reset ends it.
func (f *flows) flow(c net.Conn, echoed *atomic.Uint64) {
	message := make([]byte, messageSize)
	for {
		if _, err := c.Write(message); err != nil {
			return
		}
		if _, err := io.ReadFull(c, message); err != nil {
			return
		}
		echoed.Add(1)
		time.Sleep(messagePause)
	}
}

func (f *flows) count() int { return len(f.echoed) }

// mark has moving count what comes back from now on.
func (f *flows) mark() {
	for i := range f.echoed {
		f.marked[i] = f.echoed[i].Load()
	}
}

// moving is the number of connections on which something came back since the mark, beyond what was on its way.
func (f *flows) moving() (n int) {
	for i := range f.echoed {
		if f.echoed[i].Load() > f.marked[i]+1 {
			n++
		}
	}
	return n
}
