package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/host"
)

// servingOn is a manager whose groups serve on interfaces.
type servingOn map[string][]string

func (p servingOn) Locations(_ context.Context, group string) (list []haresources.Location, _ error) {
	for _, name := range p[group] {
		list = append(list, haresources.Location{Interface: name})
	}
	return list, nil
}

// TestUplinks: what the kernel says of the interfaces of a group reaches the core at once, and again when it has lasted for deadtime.
func TestUplinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		well := host.Interface{Up: true, Carrier: true}
		now := map[string]host.Interface{"eth0": well, "eth1": well, "br0": {Up: true, Kind: "bridge"}}
		var said []heartbeat.Unfit
		u := newUplinks(servingOn{"a": {"eth0", "eth1"}, "b": {"eth1"}, "c": {"br0"}, "d": nil}, func(v heartbeat.Unfit) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, v)
		})
		heard := func() []heartbeat.Unfit {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			list := said
			said = nil
			return list
		}
		u.look = func(name string) (host.Interface, error) {
			mu.Lock()
			defer mu.Unlock()
			if i, ok := now[name]; ok {
				return i, nil
			}
			return host.Interface{}, errors.New("gone")
		}
		change := func(name string, i *host.Interface) {
			mu.Lock()
			if i == nil {
				delete(now, name)
			} else {
				now[name] = *i
			}
			mu.Unlock()
			u.examine()
		}
		expect := func(want ...heartbeat.Unfit) {
			t.Helper()
			if got := heard(); len(want)+len(got) > 0 && fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("said %v, want %v", got, want)
			}
		}
		c := &config.Config{Deadtime: time.Second}
		for _, name := range []string{"a", "b", "c", "d"} {
			c.Table.Groups = append(c.Table.Groups, haresources.Group{Name: name})
		}
		u.apply(t.Context(), c)
		bridge := heartbeat.Unfit{Group: "c", Reason: "interface br0 has no carrier (no port of the bridge is up)", Absent: true, Settling: true}
		expect(bridge)
		time.Sleep(1001 * time.Millisecond)
		bridge.Settling = false
		expect(bridge)

		out := heartbeat.Unfit{Group: "a", Reason: "interface eth0 has no carrier (cable, switch port)"}
		moment := out
		moment.Settling = true
		change("eth0", &host.Interface{Up: true})
		expect(moment)
		time.Sleep(900 * time.Millisecond)
		change("eth0", &well)
		time.Sleep(999 * time.Millisecond)
		expect() // a cable that was out for a moment
		time.Sleep(2 * time.Millisecond)
		expect(heartbeat.Unfit{Group: "a"})

		change("eth0", &host.Interface{Up: true})
		time.Sleep(999 * time.Millisecond)
		expect(moment)
		time.Sleep(2 * time.Millisecond)
		expect(out)
		change("eth0", &well)
		expect(moment)
		time.Sleep(1001 * time.Millisecond)
		expect(heartbeat.Unfit{Group: "a"})

		change("eth1", nil)
		heard()
		time.Sleep(1001 * time.Millisecond)
		gone := "interface eth1 is gone"
		if got := heard(); len(got) != 2 || got[0].Reason != gone || got[1].Reason != gone || !got[0].Absent || !got[1].Absent {
			t.Errorf("said %v of a and b", got)
		}
		change("eth0", &host.Interface{Up: true})
		expect(heartbeat.Unfit{Group: "a", Reason: gone})
		time.Sleep(1001 * time.Millisecond)
		expect(heartbeat.Unfit{Group: "a", Reason: "interface eth0 has no carrier (cable, switch port); interface eth1 is gone"})

		c.Table.Groups = c.Table.Groups[:1]
		u.apply(t.Context(), c) // a reload says nothing anew
		expect()
		u.close()
		change("eth0", &well)
		expect()
	})
}
