package daemon

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
)

// readied is a manager that notes when it was prepared for a takeover, and when that was undone.
type readied struct {
	mu    sync.Mutex
	begin time.Time
	calls []string
}

func (r *readied) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, time.Since(r.begin).String()+" "+what)
}

func (r *readied) Acquire(context.Context, string) error         { r.note("acquire"); return nil }
func (r *readied) Release(context.Context, string) error         { r.note("release"); return nil }
func (r *readied) Examine(context.Context, string) (bool, error) { return false, nil }
func (r *readied) Announce(context.Context, string) error        { return nil }
func (r *readied) Resources(string) []haresources.ResourceStatus { return nil }
func (r *readied) Prepares(string) bool                          { return true }
func (r *readied) Standby(_ context.Context, _ string) error     { r.note("standby"); return nil }
func (r *readied) Prepare(_ context.Context, _ string, _ func(netip.Addr) bool) error {
	r.note("prepare")
	return nil
}

// TestPreparationIsUndone: after fifteen seconds where somebody asked for the takeover, soon after the time in which the silent peer would have
// died; not while a later preparation stands; and at once where the program ends: addresses that were added mute answer when the lease that keeps them so is gone.
func TestPreparationIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &readied{begin: time.Now()}
		in := newInbox()
		log := newLog(0)
		defer log.Close()
		g := newGroups(t.Context(), r, in, log)
		prepare := func(within time.Duration) {
			g.do("web", heartbeat.Prepare{Op: 1, Group: "web", Within: within})
			synctest.Wait()
			for _, v := range in.takePosted() {
				if f, ok := v.(func()); ok {
					f()
				}
			}
		}
		prepare(0)
		time.Sleep(20 * time.Second)
		prepare(500 * time.Millisecond)
		time.Sleep(time.Second)
		prepare(500 * time.Millisecond)
		time.Sleep(10 * time.Second)
		prepare(0)
		time.Sleep(time.Second)
		g.end()
		want := "0s prepare, 15s standby, 20s prepare, 21s prepare, 23.5s standby, 31s prepare, 32s standby"
		if got := strings.Join(r.calls, ", "); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	})
}
