package agent

import (
	"errors"
	"fmt"
	"time"

	"hapair/haresources"
	"hapair/heartbeat/host"
)

// pauses are the times between an address's announcements: at 0, 0.05, 0.1, 0.2, 1, 5 and 30 s after it was added. After
// these it is announced at its refresh interval.
var pauses = []time.Duration{
	50 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 800 * time.Millisecond, 4 * time.Second, 25 * time.Second,
}

// Bounds on repeated announcements: so many addresses of one interface in so much time. The first announcement of an address
// is not bounded.
const (
	burstSize  = 128
	burstPause = 10 * time.Millisecond
)

// retryPause is the time between two attempts to put back an address that cannot be put back.
const retryPause = time.Second

// restart begins the schedule anew.
func (h *holding) restart(now time.Time) { h.step, h.due = 0, now }

// advance plans the next announcement.
func (h *holding) advance(refresh time.Duration, now time.Time) {
	switch {
	case h.step < len(pauses):
		h.due = now.Add(pauses[h.step])
		h.step++
	case refresh > 0:
		h.due = now.Add(refresh)
	default:
		h.due = time.Time{}
	}
}

// announce sends the announcements of some holdings now; call it locked.
func (k *keeper) announce(batch []*holding) {
	list := make([]host.Announcement, 0, 2*len(batch))
	from := make([]*holding, 0, 2*len(batch))
	for _, h := range batch {
		forms := []host.Form{host.FormRequest, host.FormReply}
		if h.address.Prefix.Addr().Is6() {
			forms = forms[:1]
		}
		for _, form := range forms {
			list = append(list, host.Announcement{Addr: h.address.Prefix.Addr(), Device: h.device, Form: form})
			from = append(from, h)
		}
	}
	errs := k.announcer.Send(list)
	for i, h := range from {
		if errs != nil && errs[i] != nil {
			h.failed++
			h.lastError = errs[i]
		} else if h.device.Announces() {
			h.announced++
		}
	}
}

// announceAgain announces an address at once, and again on the schedule of a new one.
func (k *keeper) announceAgain(a *address) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[a]
	if h == nil {
		return errors.New("the address is not held")
	}
	if h.broken != nil {
		return h.broken
	}
	before := h.failed
	h.restart(time.Now())
	k.announce([]*holding{h})
	h.advance(a.refresh, time.Now())
	k.rouse()
	if h.failed > before {
		return h.lastError
	}
	return nil
}

// rouse has the schedule looked at again.
func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// schedule sends what is due, until ended.
func (k *keeper) schedule(wake, ended <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(k.work(time.Now()))
		select {
		case <-ended:
			return
		case <-wake:
		case <-timer.C:
		}
	}
}

// work does what is due and says when to come again.
func (k *keeper) work(now time.Time) time.Duration {
	k.mu.Lock()
	if k.watch == nil {
		k.mu.Unlock()
		return time.Hour
	}
	var reports reports
	var batch []*holding
	next := now.Add(time.Hour)
	for a, h := range k.held {
		switch {
		case h.due.IsZero():
			continue
		case h.due.After(now):
		case h.broken != nil:
			k.repair(a, h, now, &reports)
		case !k.mayBurst(h.device.Index, now):
			h.due = k.bursts[h.device.Index].begin.Add(burstPause)
		default:
			if h.device.Ready() { // else it is announced when the carrier is back
				batch = append(batch, h)
			}
			h.advance(a.refresh, now)
		}
		if !h.due.IsZero() && h.due.Before(next) {
			next = h.due
		}
	}
	k.announce(batch)
	k.mu.Unlock()
	reports.send()
	return max(time.Until(next), time.Millisecond)
}

// burst counts what was announced again on one interface since begin.
type burst struct {
	begin time.Time
	count int
}

// mayBurst counts one repeated announcement on an interface, unless there were too many of late; call it locked.
func (k *keeper) mayBurst(index int, now time.Time) bool {
	b := k.bursts[index]
	if now.Sub(b.begin) >= burstPause {
		b = burst{begin: now}
	}
	if b.count >= burstSize {
		return false
	}
	b.count++
	k.bursts[index] = b
	return true
}

// reports are what is to be told about addresses once the lock is released: whoever is told may ask back.
type reports []func()

// add notes something to tell; call it locked.
func (r *reports) add(a *address, s haresources.State, err error) {
	if tell := a.report; tell != nil {
		*r = append(*r, func() { tell(s, err) })
	}
}

func (r reports) send() {
	for _, tell := range r {
		tell()
	}
}

// repair puts an address back; call it locked.
func (k *keeper) repair(a *address, h *holding, now time.Time, reports *reports) {
	const window, most = 10 * time.Second, 10
	for len(h.repairs) > 0 && now.Sub(h.repairs[0]) > window {
		h.repairs = h.repairs[1:]
	}
	if len(h.repairs) >= most { // somebody does not want it here
		h.due = now.Add(retryPause)
		h.repairs = h.repairs[1:]
		reports.add(a, haresources.Failed, fmt.Errorf("%w; %d times within %v: something on this machine keeps removing it", h.broken, most, window))
		return
	}
	address, device, err := a.want.resolve(k.netlink, &devices{})
	if err == nil {
		var existed bool
		if existed, err = k.netlink.AddAddress(address); existed && !h.gone() {
			h.broken = nil // nobody removed it: this was news of long ago
			return
		}
	}
	if err != nil {
		h.due = now.Add(retryPause)
		if h.lastError == nil || h.lastError.Error() != err.Error() {
			h.lastError = err
			reports.add(a, haresources.Failed, fmt.Errorf("%w, and cannot be put back: %w", h.broken, err))
		}
		return
	}
	reports.add(a, haresources.Running, fmt.Errorf("%w: put back and announced", h.broken))
	k.keep(a, &holding{
		address: address, device: device, repairs: append(h.repairs, now), repaired: h.repaired + 1, announced: h.announced, failed: h.failed,
	})
	h = k.held[a]
	h.restart(now)
	k.announce([]*holding{h})
	h.advance(a.refresh, now)
}
