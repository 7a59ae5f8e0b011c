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
	step  int // in the schedule, which is that of an address that this program adds itself
	every time.Duration
	sent  int
	fail  error
}

// openSendArp makes the agent.
func openSendArp(env Environment, r haresources.Resource) (haresources.Agent, error) {
	if len(r.Args) == 1 {
		r.Args = []string{withPrefix(r.Args[0])}
	}
	p, err := parsePlacement(r)
	if err != nil {
		return nil, err
	}
	return &sendarp{want: p, mark: newMarker(env, r), every: DefaultRefresh}, nil
}

// Configure reads the pragma announce-refresh.
func (s *sendarp) Configure(pragma func(string) string) error {
	every, err := pragmaTime(pragma, haresources.PragmaRefresh, DefaultRefresh)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.every = every
	return nil
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
	s.step, s.fail = 0, nil
	s.later()
	return s.mark.set()
}

// Adopt goes on announcing after a restart of the daemon.
func (s *sendarp) Adopt(ctx context.Context) error { return s.Start(ctx) }

// later has the next announcement sent, on the schedule and then for as long as the resource is held; call it locked.
func (s *sendarp) later() {
	s.halt()
	pause := s.every
	if s.step < len(pauses) {
		pause = pauses[s.step]
	}
	if pause == 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.timer != timer {
			return // stopped or begun anew meanwhile
		}
		s.fail = s.announce()
		s.step++
		s.later()
	})
	s.timer = timer
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
