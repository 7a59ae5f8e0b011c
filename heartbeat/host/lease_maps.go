package host

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// maxLeases is how many groups can have a lease on one machine.
const maxLeases = 1024

// maxLeased is how many addresses, and how many interfaces and hardware addresses, all groups together may have.
const maxLeased = 16384

// leaseVersion is the layout of the maps. A daemon of another version finds maps of its own beside them.
const leaseVersion = "v1"

// What the programs need not look for, in the map of features.
const (
	featureMACs       = 1
	featureInterfaces = 2
)

var nativeLittle = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// leaseMap is one map of the kernel.
type leaseMap = ebpf.Map

// leaseMaps is what the programs look at. All are pinned: they outlive this process.
type leaseMaps struct {
	names      *leaseMap // hash of a group's name → its number
	deadlines  *leaseMap // number → boot-time nanoseconds at which the lease ends
	drops      *leaseMap // number → packets dropped, on each processor
	ipv4, ipv6 *leaseMap // address → number
	macs       *leaseMap // hardware address and two zero bytes → number
	interfaces *leaseMap // index of a router group's interface → number
	features   *leaseMap // one number: which of macs and interfaces have entries
}

// nameKey is how a group is found again by another process: its name may be of any length.
type nameKey [16]byte

func keyOf(name string) nameKey {
	sum := sha256.Sum256([]byte(name))
	return nameKey(sum[:16])
}

// openMaps opens the maps that are pinned in a directory, and makes those that are not.
func openMaps(dir string) (*leaseMaps, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("prepare memory for the lease: %w", err)
	}
	if err := mountBPF(dir); err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, leaseVersion)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m := &leaseMaps{}
	for _, s := range m.specs() {
		s.spec.Name = s.name
		opened, err := pinnedMap(dir, s.spec)
		if err != nil {
			m.Close()
			return nil, fmt.Errorf("make the lease's map %s: %w", s.name, err)
		}
		*s.place = opened
	}
	return m, nil
}

// mapSpec is one map to be made.
type mapSpec struct {
	place **leaseMap
	name  string
	spec  *ebpf.MapSpec
}

func (m *leaseMaps) specs() []mapSpec {
	hash := func(key uint32) *ebpf.MapSpec {
		return &ebpf.MapSpec{Type: ebpf.Hash, KeySize: key, ValueSize: 4, MaxEntries: maxLeased, Flags: unix.BPF_F_NO_PREALLOC}
	}
	array := func(kind ebpf.MapType, value, entries uint32) *ebpf.MapSpec {
		return &ebpf.MapSpec{Type: kind, KeySize: 4, ValueSize: value, MaxEntries: entries}
	}
	return []mapSpec{
		{&m.names, "names", hash(16)},
		{&m.deadlines, "deadlines", mappable(array(ebpf.Array, 8, maxLeases))},
		{&m.drops, "drops", array(ebpf.PerCPUArray, 8, maxLeases)},
		{&m.ipv4, "ipv4", hash(4)},
		{&m.ipv6, "ipv6", hash(16)},
		{&m.macs, "macs", hash(8)},
		{&m.interfaces, "interfaces", hash(4)},
		{&m.features, "features", array(ebpf.Array, 4, 1)},
	}
}

// mappable lets processes have the map in their memory.
func mappable(spec *ebpf.MapSpec) *ebpf.MapSpec {
	spec.Flags |= unix.BPF_F_MMAPABLE
	return spec
}

// pinnedMap opens one map or makes it.
func pinnedMap(dir string, spec *ebpf.MapSpec) (*leaseMap, error) {
	spec.Pinning = ebpf.PinByName
	return ebpf.NewMapWithOptions(spec, ebpf.MapOptions{PinPath: dir})
}

// Close lets the maps go; the kernel keeps them, and the programs go on looking at them.
func (m *leaseMaps) Close() error {
	var errs []error
	for _, s := range m.specs() {
		if *s.place != nil {
			errs = append(errs, (*s.place).Close())
		}
	}
	return errors.Join(errs...)
}

// defaultBPF is where the kernel's file system for pinned maps belongs.
const defaultBPF = "/sys/fs/bpf"

// mountBPF sees to it that a directory is on the file system that pinned maps live in: if it is not there (a container, a network
// namespace with a /sys of its own), it is mounted, at its usual place or at the directory itself.
func mountBPF(dir string) error {
	at := dir
	if dir == defaultBPF || strings.HasPrefix(dir, defaultBPF+"/") {
		at = defaultBPF
	}
	for range 2 {
		if err := os.MkdirAll(dir, 0o700); err == nil && isBPF(dir) {
			return nil
		}
		if isBPF(at) {
			break
		}
		if err := os.MkdirAll(at, 0o700); err != nil {
			return fmt.Errorf("make %s for pinned maps: %w", at, err)
		}
		if err := unix.Mount("bpf", at, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
			return fmt.Errorf("mount the file system for pinned maps at %s: %w", at, err)
		}
	}
	if !isBPF(dir) {
		return fmt.Errorf("%s is not on the file system for pinned maps (bpf), and cannot be made there", dir)
	}
	return nil
}

func isBPF(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.BPF_FS_MAGIC
}
