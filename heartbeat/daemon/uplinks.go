package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hapair/haresources"
	"hapair/heartbeat"
	"hapair/heartbeat/config"
	"hapair/heartbeat/host"
)

// uplinks watches the interfaces that the resource groups serve on. A cable that is out is known here for certain, without asking anybody: the core
// is told at once when one has no carrier, or is down or gone, and again when that has lasted for deadtime; and so of its end. A nil one watches none.
type uplinks struct {
	manager locator
	post    func(heartbeat.Unfit)
	look    func(name string) (host.Interface, error)

	mu       sync.Mutex
	patience time.Duration
	groups   map[string][]string // interfaces, by group
	devices  map[string]uplink   // what was seen last of each
	told     map[string]heartbeat.Unfit
	timer    *time.Timer
	ended    bool
}

// uplink is one interface.
type uplink struct {
	wrong  string // why nobody is reached over it, or was until a moment ago; "" where all is well
	absent bool
	since  time.Time // when that began, or ended
	well   bool
}

// newUplinks makes the watcher; apply gives it something to watch, and close ends it.
func newUplinks(m locator, post func(heartbeat.Unfit)) *uplinks {
	return &uplinks{manager: m, post: post, look: host.InterfaceByName, devices: map[string]uplink{}, told: map[string]heartbeat.Unfit{}}
}

// apply watches the interfaces of a configuration.
func (u *uplinks) apply(ctx context.Context, c *config.Config) {
	if u == nil {
		return
	}
	groups := map[string][]string{}
	for _, g := range c.Table.Groups {
		places, _ := u.manager.Locations(ctx, g.Name) // what cannot be found is said where the lease is made
		groups[g.Name] = interfacesOf(places)
	}
	u.mu.Lock()
	u.groups, u.patience = groups, c.Deadtime
	for name := range u.told {
		if _, still := groups[name]; !still {
			delete(u.told, name)
		}
	}
	u.mu.Unlock()
	u.examine()
}

// interfacesOf lists each interface once.
func interfacesOf(places []haresources.Location) (list []string) {
	for _, p := range places {
		if !slices.Contains(list, p.Interface) {
			list = append(list, p.Interface)
		}
	}
	return list
}

// examine looks at every interface; it is called when something about the network has changed, and when patience ends.
func (u *uplinks) examine() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	next := u.lookAll(time.Now())
	for group, list := range u.groups {
		verdict := u.verdict(group, list)
		before, said := u.told[group]
		if !said {
			before = heartbeat.Unfit{Group: group}
		}
		if u.told[group] = verdict; verdict != before {
			u.post(verdict)
		}
	}
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
	if next > 0 {
		u.timer = time.AfterFunc(next, u.examine)
	}
}

// lookAll sees how every interface is, and says when one will have been so for long enough; 0 for none. Call it locked.
func (u *uplinks) lookAll(now time.Time) (next time.Duration) {
	seen := map[string]bool{}
	for _, list := range u.groups {
		for _, name := range list {
			if seen[name] {
				continue
			}
			seen[name] = true
			d, known := u.devices[name]
			wrong, absent := u.wrong(name)
			switch well := wrong == ""; {
			case well && !known:
				d = uplink{well: true, since: now.Add(-u.patience)}
			case well && !d.well:
				d.well, d.since = true, now
			case !well && (d.well || !known):
				d = uplink{wrong: wrong, absent: absent, since: now}
			case !well:
				d.wrong, d.absent = wrong, absent
			}
			left := u.patience - now.Sub(d.since)
			if d.well && left <= 0 {
				d.wrong, d.absent = "", false
			}
			if left > 0 && (next == 0 || left < next) {
				next = left
			}
			u.devices[name] = d
		}
	}
	return next
}

// verdict joins what is known of a group's interfaces; call it locked.
func (u *uplinks) verdict(group string, list []string) heartbeat.Unfit {
	verdict := heartbeat.Unfit{Group: group, Absent: true, Settling: true}
	var settled, settling []string
	for _, name := range list {
		d := u.devices[name]
		if d.wrong == "" {
			continue
		}
		verdict.Absent = verdict.Absent && d.absent
		if d.well || time.Since(d.since) < u.patience {
			settling = append(settling, d.wrong)
		} else {
			settled = append(settled, d.wrong)
		}
	}
	if len(settled) > 0 {
		verdict.Settling = false
		verdict.Reason = strings.Join(settled, "; ")
	} else if verdict.Reason = strings.Join(settling, "; "); verdict.Reason == "" {
		return heartbeat.Unfit{Group: group}
	}
	return verdict
}

// wrong says why nobody is reached over an interface, "" where all is well. absent: it is down or gone, which a resource may be there to mend.
func (u *uplinks) wrong(name string) (what string, absent bool) {
	i, err := u.look(name)
	switch {
	case err != nil:
		return fmt.Sprintf("interface %s is gone", name), true
	case !i.Up:
		return fmt.Sprintf("interface %s is down", name), true
	case !i.Carrier && i.Kind == "bridge":
		return fmt.Sprintf("interface %s has no carrier (no port of the bridge is up)", name), true // as it is before a guest is plugged in
	case !i.Carrier:
		return fmt.Sprintf("interface %s has no carrier (cable, switch port)", name), false
	}
	return "", false
}

// close ends the watching.
func (u *uplinks) close() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	if u.timer != nil {
		u.timer.Stop()
	}
}
