package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// errTaken says that an address cannot be added, since another machine answers for it.
var errTaken = errors.New("another machine has the address")

// question is an address that is asked for before it is added.
type question struct {
	owner  *address
	device string
	within time.Duration
}

// askForDuplicates asks, for those addresses whose line wants it and which are not here yet, whether another machine answers for them; all
// at once. The error names one that does. It is not locked while it waits.
func (k *keeper) askForDuplicates(ctx context.Context, list []*address) error {
	questions, err := k.questions(list)
	if err != nil {
		return err
	}
	answers := make([]error, len(questions))
	var all sync.WaitGroup
	for i, q := range questions {
		all.Go(func() { answers[i] = q.ask(ctx) })
	}
	all.Wait()
	return errors.Join(answers...)
}

// questions are those to be asked for a list of addresses.
func (k *keeper) questions(list []*address) (questions []question, err error) {
	var wanting []*address
	k.mu.Lock()
	for _, a := range list {
		if a.probe > 0 && k.held[a] == nil {
			wanting = append(wanting, a)
		}
	}
	k.mu.Unlock()
	if len(wanting) == 0 {
		return nil, nil
	}
	states, err := k.examine(wanting)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var known devices
	for i, a := range wanting {
		if states[i] != haresources.Stopped {
			continue
		}
		_, device, err := a.want.resolve(k.netlink, &known)
		if err != nil {
			return nil, err
		}
		questions = append(questions, question{a, device.Name, a.probe})
	}
	return questions, nil
}

// ask asks. Where nobody can be asked, on a tunnel or without a carrier, nobody has the address.
func (q question) ask(ctx context.Context) error {
	found, err := host.Probe(ctx, q.device, q.owner.want.addr, netip.Addr{}, q.within)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil || len(found) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %v answers for %v on %s (asked for %v, as %s says)", errTaken, found[0], q.owner.want.addr, q.device, q.within, haresources.PragmaProbe)
}
