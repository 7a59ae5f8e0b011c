package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bpfLease is the lease as tc programs enforce it.
type bpfLease struct {
	dir       string
	maps      *leaseMaps
	deadlines []byte // the map of deadlines, in this process's memory: a renewal is one store
	programs  [2]*ebpf.Program
	netlink   *netlink.Handle
	view      *View
	watcher   *os.File

	mu     sync.RWMutex
	number map[string]uint32 // of each group that is known to this process
	closed bool
}

// bpfGrain is what a look at the clock costs.
const bpfGrain = 100 * time.Microsecond

func openBPFLease(dir string) (_ *bpfLease, err error) {
	b := &bpfLease{dir: dir, number: map[string]uint32{}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.maps, err = openMaps(dir); err != nil {
		return nil, err
	}
	// In the kernel a map's memory is mapped in whole pages.
	size := (8*maxLeases + os.Getpagesize() - 1) &^ (os.Getpagesize() - 1)
	if b.deadlines, err = unix.Mmap(b.maps.deadlines.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map the lease's deadlines: %w", err)
	}
	for _, d := range []direction{ingress, egress} {
		spec := &ebpf.ProgramSpec{Name: "hapair_" + d.String(), Type: ebpf.SchedCLS, License: leaseLicense, Instructions: leaseProgram(d, b.maps)}
		if b.programs[d], err = ebpf.NewProgram(spec); err != nil {
			return nil, fmt.Errorf("load the program for %v: %w", d, err)
		}
	}
	if b.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if b.view, err = NewView(); err != nil {
		return nil, err
	}
	b.watcher, err = watchNetlink(unix.NETLINK_ROUTE, unix.RTMGRP_LINK|unix.RTMGRP_TC)
	return b, err
}

func (b *bpfLease) kind() Mechanism      { return MechanismBPF }
func (b *bpfLease) grain() time.Duration { return bpfGrain }

// deadline is where a group's deadline is.
func (b *bpfLease) deadline(number uint32) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&b.deadlines[8*number]))
}

// known finds a group's number, also one that an earlier process gave it. The caller holds b.mu for reading.
func (b *bpfLease) known(group string) (uint32, error) {
	if b.closed {
		return 0, os.ErrClosed
	}
	if number, ok := b.number[group]; ok {
		return number, nil
	}
	var number uint32
	err := b.maps.names.Lookup(keyOf(group), &number)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, ErrNoLease
	}
	if err == nil && number >= maxLeases {
		err = fmt.Errorf("number %d is beyond %d: the map was made by another program", number, maxLeases)
	}
	return number, err
}

func (b *bpfLease) renew(group string, until time.Duration) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	number, err := b.known(group)
	if err == nil {
		b.deadline(number).Store(uint64(until))
	}
	return err
}

func (b *bpfLease) rename(from, to string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	number, err := b.known(from)
	if err != nil {
		return err
	}
	if _, err := b.known(to); !errors.Is(err, ErrNoLease) {
		return errors.Join(err, errors.New("there is one of that name already"))
	}
	if err := b.maps.names.Update(keyOf(to), number, ebpf.UpdateAny); err != nil {
		return err
	}
	b.number[to] = number
	delete(b.number, from)
	return b.maps.names.Delete(keyOf(from))
}

func (b *bpfLease) share(from, to string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	whole, err := b.known(from)
	if err != nil {
		return err
	}
	if _, err := b.known(to); !errors.Is(err, ErrNoLease) {
		return errors.Join(err, errors.New("there is one of that name already"))
	}
	taken, err := b.taken()
	if err != nil {
		return err
	}
	part, err := b.newNumber(to, taken)
	if err != nil {
		return err
	}
	b.number[to] = part
	b.deadline(part).Store(b.deadline(whole).Load())
	return nil
}

// taken are the numbers that groups have. The caller holds b.mu.
func (b *bpfLease) taken() (map[uint32]bool, error) {
	taken := map[uint32]bool{}
	entries := b.maps.names.Iterate()
	for key, number := (nameKey{}), uint32(0); entries.Next(&key, &number); {
		taken[number] = true
	}
	return taken, entries.Err()
}

func (b *bpfLease) until(group string) (time.Duration, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	number, err := b.known(group)
	if err != nil {
		return 0, err
	}
	return time.Duration(b.deadline(number).Load()), nil
}

func (b *bpfLease) dropped(group string) (sum uint64, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	number, err := b.known(group)
	if err != nil {
		return 0, err
	}
	var each []uint64
	if err := b.maps.drops.Lookup(number, &each); err != nil {
		return 0, err
	}
	for _, n := range each {
		sum += n
	}
	return sum, nil
}

// wanted is what the maps shall hold.
type wanted struct {
	names      map[nameKey]uint32
	ipv4       map[[4]byte]uint32
	ipv6       map[[16]byte]uint32
	macs       map[[8]byte]uint32
	interfaces map[[4]byte]uint32
}

// protect first adds and changes, then takes away, so that nothing that stays protected is unprotected for a moment. A number is given
// to another group only after everything that led to it is gone.
func (b *bpfLease) protect(list []Protection) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return os.ErrClosed
	}
	w, err := b.plan(list)
	if err != nil {
		return err
	}
	var features uint32
	if len(w.macs) > 0 {
		features |= featureMACs
	}
	if len(w.interfaces) > 0 {
		features |= featureInterfaces
	}
	return errors.Join(
		fill(b.maps.ipv4, w.ipv4), fill(b.maps.ipv6, w.ipv6), fill(b.maps.macs, w.macs), fill(b.maps.interfaces, w.interfaces),
		b.maps.features.Update(uint32(0), features, ebpf.UpdateAny),
		prune(b.maps.ipv4, w.ipv4), prune(b.maps.ipv6, w.ipv6), prune(b.maps.macs, w.macs), prune(b.maps.interfaces, w.interfaces),
		b.forget(w.names))
}

// plan gives every group its number, and collects what belongs to it. A new group's lease is ended before anything leads to it.
func (b *bpfLease) plan(list []Protection) (w wanted, err error) {
	w = wanted{map[nameKey]uint32{}, map[[4]byte]uint32{}, map[[16]byte]uint32{}, map[[8]byte]uint32{}, map[[4]byte]uint32{}}
	taken, err := b.taken()
	if err != nil {
		return w, err
	}
	for _, p := range list {
		number, err := b.known(p.Group)
		if errors.Is(err, ErrNoLease) {
			number, err = b.newNumber(p.Group, taken)
		}
		if err != nil {
			return w, err
		}
		taken[number], w.names[keyOf(p.Group)], b.number[p.Group] = true, number, number
		for _, addr := range p.Addrs {
			w.address(bare(addr), number)
		}
		for _, mac := range p.MACs {
			w.macs[macKey(mac)] = number
		}
		for _, name := range p.Interfaces {
			// One that is not there has nothing to drop; Keep comes again when it is.
			if i, err := b.view.Interface(name); err == nil {
				w.interfaces[[4]byte(binary.NativeEndian.AppendUint32(nil, uint32(i.Index)))] = number
			} else if !errors.Is(err, ErrNoInterface) {
				return w, err
			}
		}
	}
	return w, nil
}

func (w *wanted) address(addr netip.Addr, number uint32) {
	if addr.Is4() {
		w.ipv4[addr.As4()] = number
	} else {
		w.ipv6[addr.As16()] = number
	}
}

func macKey(mac net.HardwareAddr) (key [8]byte) {
	copy(key[:], mac)
	return key
}

func (b *bpfLease) newNumber(group string, taken map[uint32]bool) (uint32, error) {
	for number := range uint32(maxLeases) {
		if !taken[number] {
			b.deadline(number).Store(0)
			return number, b.maps.names.Update(keyOf(group), number, ebpf.UpdateAny)
		}
	}
	return 0, fmt.Errorf("there are more than %d groups", maxLeases)
}

// forget ends the leases of all groups but those.
func (b *bpfLease) forget(names map[nameKey]uint32) error {
	for name := range b.number {
		if _, ok := names[keyOf(name)]; !ok {
			delete(b.number, name)
		}
	}
	var gone []nameKey
	entries := b.maps.names.Iterate()
	for key, number := (nameKey{}), uint32(0); entries.Next(&key, &number); {
		if _, ok := names[key]; !ok {
			gone = append(gone, key)
			b.deadline(min(number, maxLeases-1)).Store(0)
		}
	}
	errs := []error{entries.Err()}
	for _, key := range gone {
		errs = append(errs, b.maps.names.Delete(key))
	}
	return errors.Join(errs...)
}

// fill puts entries into a map.
func fill[K comparable](m *leaseMap, entries map[K]uint32) error {
	for key, number := range entries {
		if err := m.Update(key, number, ebpf.UpdateAny); err != nil {
			return err
		}
	}
	return nil
}

// prune takes all other entries out of it.
func prune[K comparable](m *leaseMap, entries map[K]uint32) error {
	var gone []K
	var key K
	var number uint32
	all := m.Iterate()
	for all.Next(&key, &number) {
		if _, ok := entries[key]; !ok {
			gone = append(gone, key)
		}
	}
	errs := []error{all.Err()}
	for _, key := range gone {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// close lets go of everything; the kernel keeps the maps for their pins and the programs for their interfaces.
func (b *bpfLease) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	var errs []error
	if b.deadlines != nil {
		errs = append(errs, unix.Munmap(b.deadlines))
	}
	for _, p := range b.programs {
		errs = append(errs, p.Close())
	}
	if b.maps != nil {
		errs = append(errs, b.maps.Close())
	}
	if b.netlink != nil {
		b.netlink.Close()
	}
	if b.view != nil {
		b.view.Close()
	}
	if b.watcher != nil {
		errs = append(errs, b.watcher.Close())
	}
	return errors.Join(errs...)
}

// remove detaches the programs from every interface and takes the pins away.
func (b *bpfLease) remove() error {
	list, err := b.view.Interfaces()
	errs := []error{err}
	for _, i := range list {
		errs = append(errs, b.detach(i.Name))
	}
	return errors.Join(append(errs, os.RemoveAll(filepath.Join(b.dir, leaseVersion)))...)
}

func (b *bpfLease) watch(ctx context.Context, changed func()) error {
	defer context.AfterFunc(ctx, func() { b.watcher.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 32<<10)
	for {
		if _, err := b.watcher.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		changed()
	}
}

// watchNetlink opens a socket that has something to read whenever the kernel tells those groups something.
func watchNetlink(protocol int, groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("open netlink", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("watch netlink", err)
	}
	return os.NewFile(uintptr(fd), "netlink"), nil
}
