package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// LeaseDir is where a daemon's lease is kept between its runs: on the kernel's file system for pinned maps.
const LeaseDir = defaultBPF + "/hapair"

// Mechanism is what part of the kernel enforces a lease.
type Mechanism string

// The mechanisms, best first.
const (
	MechanismBPF Mechanism = "bpf"      // tc programs: exact, outlives the daemon, untouched by firewall reloads
	MechanismNFT Mechanism = "nftables" // set elements with a time-out: coarser, lost by `nft flush ruleset`, see docs/safety.md
)

// What can be wrong with a lease. Test with errors.Is.
var (
	// ErrNoLease says that a group is not protected: Protect did not name it.
	ErrNoLease = errors.New("no lease is kept for this group")
	// ErrLeaseTaken says that something stands where the lease would have to stand: another program's tc filter.
	ErrLeaseTaken = errors.New("another program has the place of the lease")
)

// Protection is what a group must not do once its lease has ended.
type Protection struct {
	Group string       // its name, by which a later process finds the lease again
	Addrs []netip.Addr // nobody is answered for these: no packet, no ARP, no neighbour discovery; nothing leaves from them
	// Interfaces of a router pair: what comes by or leaves by them on its way between others is dropped, but what is for this machine
	// itself is not.
	Interfaces []string
	MACs       []net.HardwareAddr // virtual hardware addresses: nothing is received for them, nothing leaves from them
}

// Lease is the right to answer for groups, held by the kernel: an instant for each group, after which the kernel itself drops what would
// be an answer, whatever has become of this process. A group that Protect names is mute until Renew; one that it does not name is not
// touched. Safe for concurrent use.
type Lease struct {
	mu        sync.Mutex // over everything but renewals
	mechanism leaser
	attached  map[string]bool // interfaces asked for
	list      []Protection
	closed    bool
}

// leaser is one mechanism. Calls of ensure, detach and protect do not overlap.
type leaser interface {
	kind() Mechanism
	grain() time.Duration
	// ensure sees to it that the lease is enforced on an interface, and says whether it had to do something.
	ensure(ifname string) (changed bool, err error)
	detach(ifname string) error
	protect(list []Protection) error
	renew(group string, until time.Duration) error
	rename(from, to string) error
	share(from, to string) error
	until(group string) (time.Duration, error)
	dropped(group string) (uint64, error)
	// watch calls changed when something happened that may have hurt the lease, until ctx ends.
	watch(ctx context.Context, changed func()) error
	close() error
	remove() error
}

// OpenLease opens the lease that is pinned in a directory, usually LeaseDir, and makes it where there is none. It works on the network
// namespace of the calling thread, and keeps it. Where BPF is refused it falls back on nftables (see Mechanism); the error tells why
// neither is to be had.
func OpenLease(dir string) (*Lease, error) {
	l, err := OpenLeaseBy(MechanismBPF, dir)
	if err == nil {
		return l, nil
	}
	l, second := OpenLeaseBy(MechanismNFT, dir)
	if second == nil {
		return l, nil
	}
	return nil, errors.Join(err, second)
}

// OpenLeaseBy is OpenLease with one mechanism only. The directory does not matter to nftables.
func OpenLeaseBy(m Mechanism, dir string) (*Lease, error) {
	var mechanism leaser
	var err error
	switch m {
	case MechanismBPF:
		mechanism, err = openBPFLease(dir)
	case MechanismNFT:
		mechanism, err = openNFTLease()
	default:
		err = fmt.Errorf("no mechanism %q: bpf or nftables", m)
	}
	if err != nil {
		return nil, fmt.Errorf("open lease (%s): %w", m, err)
	}
	return &Lease{mechanism: mechanism, attached: map[string]bool{}}, nil
}

// Mechanism says what enforces the lease.
func (l *Lease) Mechanism() Mechanism { return l.mechanism.kind() }

// Grain is how long after its end a lease may still be in force: what a lease must be shorter than the peer's patience, besides the
// time that frames take.
func (l *Lease) Grain() time.Duration { return l.mechanism.grain() }

// Attach enforces the lease on an interface. It must stand before an address of a protected group does. If the interface is not there
// (ErrNoInterface), Keep attaches it when it comes. ErrLeaseTaken says that another program's filter would see packets first.
func (l *Lease) Attach(ifname string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return os.ErrClosed
	}
	l.attached[ifname] = true
	if _, err := l.mechanism.ensure(ifname); err != nil {
		return fmt.Errorf("attach the lease to %s: %w", ifname, err)
	}
	return nil
}

// Detach ends the enforcement on an interface, and leaves no trace there. An interface that is gone is not an error.
func (l *Lease) Detach(ifname string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return os.ErrClosed
	}
	delete(l.attached, ifname)
	if err := l.mechanism.detach(ifname); err != nil {
		return fmt.Errorf("detach the lease from %s: %w", ifname, err)
	}
	return nil
}

// Protect says what all groups with a lease are. It replaces what an earlier call, or an earlier process, has said: the lease of a group
// that is named again goes on as it is, a new one is mute, and one that is not named any more is forgotten and its addresses are free.
// An address, interface or hardware address belongs to one group.
func (l *Lease) Protect(list []Protection) error {
	if err := checkProtections(list); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mechanism.protect(list); err != nil {
		return fmt.Errorf("protect addresses: %w", err)
	}
	l.list = slices.Clone(list)
	return nil
}

// checkProtections refuses what cannot be meant.
func checkProtections(list []Protection) error {
	owner := map[string]string{}
	for _, p := range list {
		things := []string{"group " + p.Group}
		for _, a := range p.Addrs {
			if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
				return fmt.Errorf("protect group %s: %v is no address of a machine", p.Group, a)
			}
			things = append(things, bare(a).String())
		}
		for _, name := range p.Interfaces {
			things = append(things, "interface "+name)
		}
		for _, mac := range p.MACs {
			if len(mac) != 6 {
				return fmt.Errorf("protect group %s: %v is no virtual hardware address: it has %d bytes instead of 6", p.Group, mac, len(mac))
			}
			things = append(things, "hardware address "+mac.String())
		}
		for _, thing := range things {
			if other, taken := owner[thing]; taken {
				return fmt.Errorf("protect group %s: %s is in group %s already", p.Group, thing, other)
			}
			owner[thing] = p.Group
		}
	}
	return nil
}

// bare is an address as it stands in packets.
func bare(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Renew lets a group answer until an instant of CLOCK_BOOTTIME, and not longer. It costs a few nanoseconds, never waits, and does not
// depend on how many addresses the group has. An instant that has passed is as good as Expire, so that a renewal which was held up does
// no harm. ErrNoLease means that the group is not protected.
func (l *Lease) Renew(group string, until time.Duration) error {
	if err := l.mechanism.renew(group, max(until, 0)); err != nil {
		return fmt.Errorf("renew the lease of %s: %w", group, err)
	}
	return nil
}

// Rename gives a group's lease to the group of another name, which goes on with it: to be followed by a Protect that names it so.
func (l *Lease) Rename(from, to string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mechanism.rename(from, to); err != nil {
		return fmt.Errorf("rename the lease of %s to %s: %w", from, to, err)
	}
	return nil
}

// Share begins a new group's lease as that of another one is, of which it was a part: to be followed by a Protect that names both.
func (l *Lease) Share(from, to string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mechanism.share(from, to); err != nil {
		return fmt.Errorf("begin the lease of %s as that of %s: %w", to, from, err)
	}
	return nil
}

// Expire makes a group mute at once.
func (l *Lease) Expire(group string) error { return l.Renew(group, 0) }

// Until is when a group's lease ends or ended, on CLOCK_BOOTTIME; 0 after Expire and before the first Renew. It tells a new process
// what its predecessor left in force: never the lease of another boot of the machine, since nothing of it survives one.
func (l *Lease) Until(group string) (time.Duration, error) {
	until, err := l.mechanism.until(group)
	if err != nil {
		return 0, fmt.Errorf("read the lease of %s: %w", group, err)
	}
	return until, nil
}

// Dropped is how many packets the kernel has dropped because a group's lease had ended. On a node that does not serve the group it
// counts what clients with a stale neighbour table send.
func (l *Lease) Dropped(group string) (uint64, error) {
	n, err := l.mechanism.dropped(group)
	if err != nil {
		return 0, fmt.Errorf("read the lease of %s: %w", group, err)
	}
	return n, nil
}

// keepSettle is how long Keep waits after a change before it looks, so that a burst of them is one look; keepInterval is how often it
// looks although nothing was reported.
const (
	keepSettle   = 2 * time.Millisecond
	keepInterval = 10 * time.Second
)

// Keep enforces the lease again wherever it was lost: an interface was made anew, somebody deleted the filter. It runs until ctx ends
// or the lease is closed. notify is told of each repair, and once of each new reason why one fails; it may be nil.
func (l *Lease) Keep(ctx context.Context, notify func(ifname string, err error)) error {
	changes := make(chan struct{}, 1)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- l.mechanism.watch(watching, func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		})
	}()
	said := map[string]string{}
	tick := time.NewTicker(keepInterval)
	defer tick.Stop()
	for {
		for ifname, err := range l.repair() {
			if err != nil && said[ifname] == err.Error() {
				continue
			}
			delete(said, ifname)
			if err != nil {
				said[ifname] = err.Error()
			}
			if notify != nil {
				notify(ifname, err)
			}
		}
		select {
		case <-changes:
			time.Sleep(keepSettle)
		case <-tick.C:
		case err := <-ended:
			if ctx.Err() != nil || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return fmt.Errorf("watch over the lease: %w", err)
		}
	}
}

// repair looks at every interface, and returns those that it repaired or could not.
func (l *Lease) repair() map[string]error {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]error{}
	if l.closed {
		return found
	}
	for _, ifname := range slices.Sorted(maps.Keys(l.attached)) {
		changed, err := l.mechanism.ensure(ifname)
		if changed || err != nil && !errors.Is(err, ErrNoInterface) {
			found[ifname] = err
		}
	}
	if len(found) > 0 && l.list != nil {
		if err := l.mechanism.protect(l.list); err != nil { // a new interface has a new index
			found[""] = fmt.Errorf("protect addresses: %w", err)
		}
	}
	return found
}

// Close ends the use of the lease by this process. Everything stays in force in the kernel: what is renewed runs out.
func (l *Lease) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.mechanism.close()
}

// Remove takes the lease out of the kernel: nothing is mute any more, on any interface. For a polite stop, after every address was
// released, and for an administrator who runs the service without this program.
func (l *Lease) Remove() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return os.ErrClosed
	}
	if err := l.mechanism.remove(); err != nil {
		return fmt.Errorf("remove the lease: %w", err)
	}
	l.closed = true
	return l.mechanism.close()
}
