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
