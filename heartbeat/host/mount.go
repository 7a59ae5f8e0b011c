package host

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is one mounted file system, as the kernel lists it: nothing of the file system itself is touched to learn this, so
// that a dead disk or file server holds nobody up.
type Mount struct {
	ID      int
	Device  string // MAJOR:MINOR
	Root    string // the part of the file system that is mounted
	Point   string // where
	Options string // of this mount
	Type    string // ext4, nfs4, …
	Source  string // the device or server
	Super   string // options of the file system: "ro" here and not in Options is a file system that has seen an error
}

// ReadOnly says whether the file system itself refuses writes.
func (m Mount) ReadOnly() bool { return slices.Contains(strings.Split(m.Super, ","), "ro") }

// Mounts lists what is mounted, in the order in which it was.
func Mounts() ([]Mount, error) { return mountsOf("self") }

// mountsOf lists the mounts of a process.
func mountsOf(pid string) ([]Mount, error) {
	text, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return parseMounts(text), nil
}

// parseMounts reads the kernel's list: ID PARENT DEVICE ROOT POINT OPTIONS [TAG…] - TYPE SOURCE SUPER.
func parseMounts(text []byte) (list []Mount) {
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+3 {
			continue
		}
		m := Mount{Device: fields[2], Root: unescape(fields[3]), Point: unescape(fields[4]), Options: fields[5], Type: fields[dash+1], Source: unescape(fields[dash+2])}
		m.ID, _ = strconv.Atoi(fields[0])
		if len(fields) > dash+3 {
			m.Super = fields[dash+3]
		}
		list = append(list, m)
	}
	return list
}

// unescape undoes the kernel's \040 for a blank and the like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// MountedAt finds the file system that is on top at a directory, and says whether there is one.
func MountedAt(list []Mount, dir string) (Mount, bool) {
	for _, m := range slices.Backward(list) {
		if m.Point == dir {
			return m, true
		}
	}
	return Mount{}, false
}

// MountsBelow lists what is mounted below a directory, deepest first.
func MountsBelow(list []Mount, dir string) (below []Mount) {
	for _, m := range list {
		if strings.HasPrefix(m.Point, strings.TrimSuffix(dir, "/")+"/") {
			below = append(below, m)
		}
	}
	slices.SortStableFunc(below, func(a, b Mount) int { return cmp.Compare(strings.Count(b.Point, "/"), strings.Count(a.Point, "/")) })
	return below
}

// User is a process that keeps a file system from being unmounted.
type User struct {
	PID  int
	Name string
	How  []string // what it uses: "works in /srv/www", "open file /srv/log", …; a few of them
}

// String is the process with the first thing that it uses.
func (u User) String() string {
	text := fmt.Sprintf("%d (%s)", u.PID, u.Name)
	if len(u.How) > 0 {
		text += " " + u.How[0]
	}
	return text
}

// mostUses bounds the list in a User.
const mostUses = 3

// MountUsers finds the processes that use any of the mounts, other than this one and process 1. It reads /proc only.
func MountUsers(mounts []Mount) ([]User, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var users []User
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		u := User{PID: pid}
		u.find(mounts)
		if len(u.How) > 0 {
			name, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
			u.Name = strings.TrimSpace(string(name))
			users = append(users, u)
		}
	}
	return users, nil
}

// find looks for everything that a process can use of the mounts.
func (u *User) find(mounts []Mount) {
	dir := "/proc/" + strconv.Itoa(u.PID) + "/"
	for _, link := range []struct{ name, how string }{{"cwd", "works in "}, {"root", "has its root in "}, {"exe", "is the program "}} {
		if target, err := os.Readlink(dir + link.name); err == nil && on(mounts, target) {
			u.add(link.how + target)
		}
	}
	entries, _ := os.ReadDir(dir + "fd")
	for _, e := range entries {
		if u.full() {
			return
		}
		target, err := os.Readlink(dir + "fd/" + e.Name())
		if err == nil && (on(mounts, target) || openOn(mounts, dir+"fdinfo/"+e.Name())) {
			u.add("has open " + target)
		}
	}
	u.findMapped(mounts, dir+"maps")
}

func (u *User) full() bool { return len(u.How) >= mostUses }

func (u *User) add(how string) {
	if !u.full() && !slices.Contains(u.How, how) {
		u.How = append(u.How, how)
	}
}

// on says whether a path is on one of the mounts.
func on(mounts []Mount, path string) bool {
	path = strings.TrimSuffix(path, " (deleted)")
	return slices.ContainsFunc(mounts, func(m Mount) bool {
		return path == m.Point || strings.HasPrefix(path, strings.TrimSuffix(m.Point, "/")+"/")
	})
}

// openOn says whether an open file is on one of the mounts, by the number of the mount.
func openOn(mounts []Mount, fdinfo string) bool {
	text, err := os.ReadFile(fdinfo)
	if err != nil {
		return false
	}
	_, after, found := strings.Cut(string(text), "mnt_id:")
	if !found {
		return false
	}
	first, _, _ := strings.Cut(strings.TrimSpace(after), "\n")
	id, err := strconv.Atoi(strings.TrimSpace(first))
	return err == nil && slices.ContainsFunc(mounts, func(m Mount) bool { return m.ID == id })
}

// findMapped looks for files that are mapped into memory.
func (u *User) findMapped(mounts []Mount, maps string) {
	f, err := os.Open(maps)
	if err != nil {
		return
	}
	defer f.Close()
	for scanner := bufio.NewScanner(io.LimitReader(f, 4<<20)); scanner.Scan() && !u.full(); {
		fields := strings.SplitN(scanner.Text(), "/", 2)
		if len(fields) == 2 && on(mounts, "/"+fields[1]) {
			u.add("has mapped /" + fields[1])
		}
	}
}

// KernelUsers names what, beside processes, keeps one of the mounts busy: swap files, loop devices, exports to NFS clients,
// and copies in the mount namespaces of other processes.
func KernelUsers(mounts []Mount) (list []string) {
	if text, err := os.ReadFile("/proc/swaps"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, _, _ := strings.Cut(line, " "); on(mounts, unescape(name)) {
				list = append(list, "swap file "+unescape(name))
			}
		}
	}
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && on(mounts, strings.TrimSpace(string(text))) {
			list = append(list, fmt.Sprintf("loop device %s on %s", strings.Split(file, "/")[3], strings.TrimSpace(string(text))))
		}
	}
	for _, file := range []string{"/proc/fs/nfsd/exports", "/var/lib/nfs/etab"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 0 && on(mounts, unescape(fields[0])) {
				list = append(list, "NFS export "+unescape(fields[0]))
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// OtherMounts names processes in whose own mount namespaces the device of a mount is still mounted.
func OtherMounts(device string) (list []User) {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil
	}
	entries, _ := os.ReadDir("/proc")
	seen := map[string]bool{own: true}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		space, err := os.Readlink("/proc/" + e.Name() + "/ns/mnt")
		if err != nil || seen[space] {
			continue
		}
		seen[space] = true
		mounts, _ := mountsOf(e.Name())
		for _, m := range mounts {
			if m.Device == device {
				name, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
				list = append(list, User{PID: pid, Name: strings.TrimSpace(string(name)), How: []string{"has it mounted at " + m.Point + " in a mount namespace of its own"}})
				break
			}
		}
	}
	return list
}

// DeviceNumber is MAJOR:MINOR of a block device, and whether path is one.
func DeviceNumber(path string) (string, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", false
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), true
}

// DeviceBusy says whether the kernel holds a block device for itself: a file system on it, or something above it.
func DeviceBusy(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		unix.Close(fd)
	}
	return errors.Is(err, unix.EBUSY)
}

// Detach takes a file system out of the directory tree although it is in use: those who use it keep it until they end.
func Detach(point string) error {
	if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("detach %s: %w", point, err)
	}
	return nil
}

// Signal sends a signal to a process; one that has ended is not an error.
func Signal(pid int, signal unix.Signal) error {
	if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	return nil
}
