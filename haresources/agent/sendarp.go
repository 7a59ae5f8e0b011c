package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// sendarp is the resource SendArp::ADDRESS[/PREFIX]/INTERFACE: the address, which something else configures, is announced.
type sendarp struct {
	want  placement
	mark  marker
	mu    sync.Mutex
	timer *time.Timer
	step  int
	sent  int
	fail  error
}

// sendSchedule is when an address is announced after the start: as one that this program adds itself.
var sendSchedule = []time.Duration{0, 200 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second}

// openSendArp makes the agent.
func openSendArp(env Environment, r haresources.Resource) (haresources.Agent, error) {
	if len(r.Args) == 1 {
		r.Args = []string{withPrefix(r.Args[0])}
	}
	p, err := parsePlacement(r)
	if err != nil {
		return nil, err
	}
	return &sendarp{want: p, mark: newMarker(env, r)}, nil
}

// withPrefix turns ADDRESS/INTERFACE, which is the form of the stock script, into ADDRESS/32/INTERFACE.
func withPrefix(arg string) string {
	address, rest, found := strings.Cut(arg, "/")
	if !found || rest == "" || rest[0] >= '0' && rest[0] <= '9' {
		return arg
	}
	bits := "32"
	if strings.Contains(address, ":") {
		bits = "128"
	}
	return address + "/" + bits + "/" + rest
}

// Start announces the address, at once and then on the schedule.
func (s *sendarp) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.announce(); err != nil {
		return err
	}
	s.step = 1
	s.later()
	return s.mark.set()
}

// later has the next announcement of the schedule sent; call it locked.
func (s *sendarp) later() {
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.step >= len(sendSchedule) {
		return
	}
	s.timer = time.AfterFunc(sendSchedule[s.step]-sendSchedule[s.step-1], func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.timer == nil {
			return // stopped meanwhile
		}
		if s.fail = s.announce(); s.fail == nil {
			s.step++
			s.later()
		}
	})
}

// announce sends both forms, if the address is still here.
func (s *sendarp) announce() error {
	n, err := host.OpenNetlink()
	if err != nil {
		return err
	}
	defer n.Close()
	list, err := n.ListAddresses(0)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(a host.Address) bool { return a.Prefix.Addr() == s.want.addr })
	if at < 0 {
		return fmt.Errorf("%v is not on this machine, so that it is not announced: on the line, it has to stand before SendArp", s.want.addr)
	}
	var d host.Device
	if s.want.device != "" {
		d, err = n.Device(s.want.device)
	} else {
		d, err = n.DeviceByIndex(list[at].Index)
	}
	if err != nil {
		return err
	}
	a, err := host.OpenAnnouncer()
	if err != nil {
		return err
	}
	defer a.Close()
	both := []host.Announcement{{Addr: s.want.addr, Device: &d, Form: host.FormRequest}, {Addr: s.want.addr, Device: &d, Form: host.FormReply}}
	if s.want.addr.Is6() {
		both = both[:1]
	}
	if err := errors.Join(a.Send(both)...); err != nil {
		return err
	}
	s.sent += len(both)
	return nil
}

// Stop ends the schedule.
func (s *sendarp) Stop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt()
	return s.mark.clear()
}

func (s *sendarp) halt() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// Close ends the schedule.
func (s *sendarp) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt()
	return nil
}

// Announce begins the schedule anew.
func (s *sendarp) Announce(ctx context.Context) error { return s.Start(ctx) }

// Status says whether Start was called since Stop.
func (s *sendarp) Status(context.Context) (haresources.State, error) { return s.mark.status() }

// Timeout is the same for every operation.
func (s *sendarp) Timeout(haresources.Operation) time.Duration { return addressTimeout }

// Describe counts.
func (s *sendarp) Describe() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return fmt.Sprintf("%d announcements; the last one: %v", s.sent, s.fail)
	}
	return fmt.Sprintf("%d announcements", s.sent)
}
