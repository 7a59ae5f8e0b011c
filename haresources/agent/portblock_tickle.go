package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hapair/heartbeat/host"
)

// tickleSchedule is when clients are tickled after the ports are open: the first packet may be lost, and the neighbour
// table of a router in between may be stale.
var tickleSchedule = []time.Duration{0, 300 * time.Millisecond, time.Second, 3 * time.Second}

// mostClients bounds the list.
const mostClients = 100_000

// listFile is where the list of clients is: the name and the format are those of the OCF agent, so that a pair can change
// over.
func (p *portblock) listFile() string {
	name := p.addrText()
	if name == "" {
		name = p.proto + "-" + strings.ReplaceAll(p.portSet(), ", ", ",")
	}
	return filepath.Join(p.dir, name)
}

// clients are the connections to the ports.
func (p *portblock) clients() (list []host.Connection, err error) {
	all, err := host.Connections()
	for _, c := range all {
		if p.covers(c) && len(list) < mostClients {
			list = append(list, c)
		}
	}
	return list, err
}

// covers says whether a connection is one to the ports, from another machine.
func (p *portblock) covers(c host.Connection) bool {
	if p.addr.IsValid() && c.Local.Addr() != p.addr || c.Remote.Addr() == c.Local.Addr() || c.Remote.Addr().IsLoopback() {
		return false
	}
	for _, r := range p.ports {
		if port := int(c.Local.Port()); port >= r.first && port <= r.last {
			return true
		}
	}
	return false
}

// save writes the list of clients to the shared directory. A failure is told, and holds nothing up.
func (p *portblock) save(ctx context.Context) {
	list, err := p.clients()
	if err == nil {
		var b bytes.Buffer
		for _, c := range list {
			fmt.Fprintf(&b, "%v\t%v\n", c.Local, c.Remote)
		}
		err = replaceFile(p.listFile(), b.Bytes())
	}
	p.note(ctx, "keep the list of clients", err)
}

// replaceFile writes a file so that it is whole at every instant; one that is the same already is left alone.
func replaceFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".hapair-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// note remembers what went wrong.
func (p *portblock) note(ctx context.Context, what string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed = err; err != nil {
		p.failed = fmt.Errorf("%s: %w", what, err)
		say(ctx, "WARN: "+p.failed.Error())
	}
}

// tickle tells the clients of the node before us, at once and on the schedule.
func (p *portblock) tickle(ctx context.Context) {
	list, err := p.saved()
	p.note(ctx, "read the list of clients", err)
	if len(list) == 0 {
		return
	}
	err = host.Tickle(list)
	p.note(ctx, "tickle clients", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tickled = len(list)
	p.tickleLater(list, 1)
}

// tickleLater does the next step of the schedule; call it locked.
func (p *portblock) tickleLater(list []host.Connection, step int) {
	if step >= len(tickleSchedule) {
		p.tickling = nil
		return
	}
	p.tickling = time.AfterFunc(tickleSchedule[step]-tickleSchedule[step-1], func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.tickling == nil {
			return // ended meanwhile
		}
		p.failed = host.Tickle(p.lost(list))
		p.tickleLater(list, step+1)
	})
}

// lost are those of the connections that have not been made anew: tickling one that lives would do no harm, but no good.
func (p *portblock) lost(list []host.Connection) []host.Connection {
	now, err := host.Connections()
	if err != nil {
		return list
	}
	alive := make(map[host.Connection]bool, len(now))
	for _, c := range now {
		alive[c] = true
	}
	var lost []host.Connection
	for _, c := range list {
		if !alive[c] {
			lost = append(lost, c)
		}
	}
	return lost
}

// endTickling ends the schedule.
func (p *portblock) endTickling() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tickling != nil {
		p.tickling.Stop()
		p.tickling = nil
	}
}

// saved reads the list of clients.
func (p *portblock) saved() (list []host.Connection, err error) {
	text, err := os.ReadFile(p.listFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the first time
	}
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan() && len(list) < mostClients; {
		fields := strings.Fields(scanner.Text())
		if len(fields) != 2 {
			continue
		}
		local, localErr := netip.ParseAddrPort(fields[0])
		remote, remoteErr := netip.ParseAddrPort(fields[1])
		c := host.Connection{Local: local, Remote: remote}
		if localErr == nil && remoteErr == nil && p.covers(c) {
			list = append(list, c)
		}
	}
	return list, err
}

// forgetClients ends this machine's half of the connections, so that nothing of them is left when the group comes back.
func (p *portblock) forgetClients(ctx context.Context) {
	if p.proto != "tcp" {
		return
	}
	list, err := p.clients()
	for _, c := range list {
		if e := c.Forget(); e != nil {
			if errors.Is(e, errors.ErrUnsupported) {
				return // the connections end by themselves, later
			}
			err = e
		}
	}
	p.note(ctx, "end the connections", err)
}
