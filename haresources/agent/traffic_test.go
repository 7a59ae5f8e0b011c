package agent_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// listen has a TCP server echo on a node until the node ends.
func (s *server) listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	return nil
}

// dial has a TCP client stay connected, and connect anew whenever the connection ends; each is noted for "traffic".
func (s *server) dial(address string) {
	note := func(format string, args ...any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.traffic = append(s.traffic, fmt.Sprintf(format, args...))
	}
	go func() {
		for {
			c, err := net.DialTimeout("tcp", address, 5*time.Second)
			if err != nil {
				note("refused: %v", err)
				time.Sleep(20 * time.Millisecond)
				continue
			}
			c.Write([]byte("x"))
			if _, err = c.Read(make([]byte, 1)); err == nil {
				note("connected")
				_, err = c.Read(make([]byte, 1))
			}
			note("lost: %v", err)
			c.Close()
		}
	}()
}

// notes is what the clients have noted.
func (s *server) notes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.traffic, "\n")
}

// flow is a TCP connection on which something is asked and answered all the time.
type flow struct {
	answers int
	end     error
}

// flow begins several connections; none is ever made anew.
func (s *server) flow(address string, count int) {
	for range count {
		f := &flow{}
		s.mu.Lock()
		s.flows = append(s.flows, f)
		s.mu.Unlock()
		go func() {
			err := s.ask(f, address)
			s.mu.Lock()
			defer s.mu.Unlock()
			f.end = err
		}()
	}
}

// ask asks on one connection until it ends.
func (s *server) ask(f *flow, address string) error {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	for buf := make([]byte, 100); ; {
		if _, err := c.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
		s.mu.Lock()
		f.answers++
		s.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
}

// flowing is the number of connections that live and have had an answer within the last while, and why others have ended.
func (s *server) flowing() string {
	s.mu.Lock()
	before := make([]int, len(s.flows))
	for i, f := range s.flows {
		before[i] = f.answers
	}
	s.mu.Unlock()
	time.Sleep(300 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	alive, why := 0, ""
	for i, f := range s.flows {
		if f.end == nil && f.answers > before[i] {
			alive++
		} else if f.end != nil {
			why = f.end.Error()
		}
	}
	return fmt.Sprintf("%d of %d %s", alive, len(s.flows), why)
}
